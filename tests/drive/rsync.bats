load lib

setup() {
    new_place
    start_emulator
    mkdir -p "$T/src/sub/deep"
    local i
    for i in 1 2 3 4 5; do
        random "$T/src/model $i.obj" $((i * 10000))
        random "$T/src/sub/scan-$i.e57" $((i * 20001))
    done
    : >"$T/src/sub/deep/empty"
    echo "text" >"$T/src/sub/notes.txt"
    chmod 640 "$T/src/sub/notes.txt"
    touch -d '2020-02-29 12:34:56.789012345' "$T/src/sub/notes.txt"
    touch -d '2001-01-01' "$T/src/sub/deep"
}

copy() {
    within 60 rsync -a "$@" "$T/src/" "$S/dst/"
}

# A run with these options finds nothing to do: no line, and not a byte of any file.
nothing_to_do() {
    local said
    said=$(copy -i --stats "$@")
    if grep -E '^[<>ch.*][fdLDS]' <<<"$said" || ! grep -q 'regular files transferred: 0$' <<<"$said"; then
        echo "$said" >&2
        return 1
    fi
}

ids() {
    emu_get tree path=/dst | jq -r '.[]|"\(.id) \(.path)"' | sort
}

# bats test_tags=quick
@test "rsync -a a second time sends nothing" {
    mount_drive
    copy
    nothing_to_do
    sync_drive
    nothing_to_do
    service_has "$T/src" /dst
}

@test "rsync -a sends nothing after a remount" {
    mount_drive
    copy
    sync_drive
    remount
    nothing_to_do
}

# bats test_tags=quick
@test "rsync -a sends nothing after the service has converted the files and moved their times" {
    option convert_ms 2000
    mount_drive cache.attr_timeout=500ms
    copy
    sync_drive
    wait_until 10 settled /dst
    run -0 test "$(remote "/dst/model 1.obj" updated)" -gt "$(remote "/dst/model 1.obj" created)"
    sleep 0.6 # the lists are old now
    nothing_to_do
    sleep 0.6
    nothing_to_do
    remount
    nothing_to_do
    equal "uploads" "$(requests upload)" 12
    equal "updates" "$(requests update)" 0
}

@test "rsync -c, which reads everything, sends nothing either" {
    mount_drive cache.attr_timeout=500ms
    copy
    sync_drive
    wait_until 10 settled /dst
    sleep 0.6
    nothing_to_do -c
}

@test "rsync -c through an empty cache sends nothing" {
    mount_drive
    copy
    sync_drive
    wait_until 10 settled /dst
    remount_cold
    nothing_to_do -c --no-times --no-perms --omit-dir-times
}

# Changes one file in the middle and one at its end, and adds one.
change_source() {
    printf 'CHANGED' | dd of="$T/src/model 3.obj" bs=1 seek=10000 conv=notrunc status=none
    random "$T/more" 5000
    cat "$T/more" >>"$T/src/sub/scan-2.e57"
    random "$T/src/new.obj" 777
    touch -d '2022-02-02' "$T/src/model 3.obj" "$T/src/sub/scan-2.e57" # rsync looks at seconds only
}

# Everything is on the service as in the source, and what was there before kept its id.
updated_in_place() {
    local id path
    sync_drive
    service_has "$T/src" /dst
    while read -r id path; do
        absent "$path" || equal "id of $path" "$(remote "$path" id)" "$id"
    done <"$T/ids"
    on diff -r "$T/src" "$S/dst"
}

prepare() {
    mount_drive
    copy
    sync_drive
    wait_until 10 settled /dst
    ids >"$T/ids"
    change_source
}

@test "rsync updates changed files, which keep their ids" {
    prepare
    copy
    updated_in_place
}

# bats test_tags=quick
@test "rsync --inplace updates changed files, which keep their ids" {
    prepare
    copy --inplace
    updated_in_place
}

@test "rsync --inplace over files that are not cached keeps what it does not write" {
    prepare
    remount_cold
    copy --inplace --no-whole-file
    updated_in_place
}

@test "rsync --append sends what was added to a file, and its id stays" {
    prepare
    copy --append
    copy # --append leaves alone what is no shorter
    updated_in_place
}

@test "rsync --append-verify sends what was added, and mends what differs before it" {
    prepare
    on rm "$S/dst/model 5.obj"
    head -c 30000 "$T/src/model 5.obj" | on dd of="$S/dst/model 5.obj" bs=4K status=none
    printf 'TORN' | on dd of="$S/dst/model 5.obj" bs=1 seek=2000 conv=notrunc status=none
    copy --append-verify
    copy # --append-verify leaves alone what is no shorter
    updated_in_place
}

# bats test_tags=quick
@test "rsync --backup keeps the old content of files that are not cached, and the ids stay" {
    prepare
    mkdir "$T/old"
    cp -a "$S/dst/." "$T/old/"
    remount_cold
    find "$T/src" -type f -exec touch -d '2021-03-04 05:06:07' {} + # so that all are copied
    copy --backup
    wait_until 20 remote_is "/dst/model 3.obj" sha256 "$(sha256sum <"$T/src/model 3.obj" | cut -d' ' -f1)"
    (cd "$T/old" && find . -type f -exec mv {} {}~ \;)
    on diff -r "$T/old" "$S/dst" | grep -v "^Only in $S/dst" | diff /dev/null - >&2
    on diff -r "$T/src" "$S/dst" | grep -v "^Only in $S/dst.*~$" | diff /dev/null - >&2
    equal "backups" "$(on find "$S/dst" -name '*~' | wc -l)" 12
    equal "backups on the service" "$(emu_get tree path=/dst | jq '[.[]|select(.path|endswith("~"))]|length')" 0
    on find "$S/dst" -name '*~' -delete
    updated_in_place
}

@test "rsync --backup-dir moves what it replaces and deletes there" {
    prepare
    mkdir "$T/old"
    cp -a "$S/dst/." "$T/old/"
    rm "$T/src/sub/scan-1.e57"
    copy --delete --backup --backup-dir="$S/kept"
    on cmp "$S/kept/model 3.obj" "$T/old/model 3.obj"
    on cmp "$S/kept/sub/scan-2.e57" "$T/old/sub/scan-2.e57"
    on cmp "$S/kept/sub/scan-1.e57" "$T/old/sub/scan-1.e57"
    on diff -r "$T/src" "$S/dst"
    sync_drive
    service_has "$T/src" /dst
    service_has "$S/kept" /kept
    equal "kept" "$(emu_get tree path=/kept | jq '[.[]|select(.type=="file")]|length')" 3
}

@test "rsync --partial updates changed files, which keep their ids" {
    prepare
    copy --partial --no-whole-file
    updated_in_place
}

@test "rsync -c finds a change that size and time hide" {
    prepare
    copy
    sync_drive
    local when
    when=$(stat -c %y "$T/src/model 1.obj")
    printf 'X' | dd of="$T/src/model 1.obj" bs=1 seek=5000 conv=notrunc status=none
    touch -d "$when" "$T/src/model 1.obj"
    copy -c
    updated_in_place
}

# bats test_tags=quick
@test "rsync --delete removes here and on the service what the source has no more" {
    prepare
    rm "$T/src/sub/scan-1.e57"
    rm -r "$T/src/sub/deep"
    copy --delete
    updated_in_place
    run -0 absent "/dst/sub/scan-1.e57"
    run -0 absent "/dst/sub/deep"
}

@test "rsync leaves no temporary file on the service" {
    mount_drive upload.delay=0
    copy
    sync_drive
    service_has "$T/src" /dst
    equal "uploads of temporary names" "$(emu_get log | jq '[.[]|select(.endpoint=="upload")|.path+.query|select(test("/\\."))]|length')" 0
}

# bats test_tags=quick
@test "rsync -aX carries no attribute of the drive's" {
    mount_drive
    setfattr -n user.colour -v red "$T/src/sub/notes.txt"
    copy -X
    sync_drive
    mkdir "$T/back"
    within 60 rsync -aX "$S/dst/" "$T/back/"
    on diff -r "$T/src" "$T/back"
    equal "attributes" "$(getfattr -d -m - --absolute-names "$T/back/sub/notes.txt" | grep -c =)" 1
    nothing_to_do -X
}
