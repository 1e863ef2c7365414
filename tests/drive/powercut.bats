load lib

# A power cut: the state folder is on a disk of its own, an image; what was written to the image by
# then is all that the machine finds when the power is back.
#
# bats file_tags=alone

setup() {
    new_place
    local why
    why=$(make_disk 2>&1) || skip "no disk can be made here: $why"
    STATE=$T/disk/state
    start_emulator
}

make_disk() {
    truncate -s 200M "$T/image"
    mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$T/image" || return 1
    mkdir -p "$T/disk"
    mount -o loop "$T/image" "$T/disk"
}

# The power fails now: what is not in the image yet never comes there, and the daemon does no more.
cut_power() {
    kill -STOP "$DRIVE_PID"
    stop_disk "$T/disk"
    cp --sparse=always "$T/image" "$T/cut"
    crash_drive
    wait_until 10 umount "$T/disk" 2>/dev/null
    mv "$T/cut" "$T/image"
    mount -o loop "$T/image" "$T/disk"
}

# EXT4_IOC_SHUTDOWN, without a flush of its log
stop_disk() {
    python3 - "$1" <<'PY'
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(fd, 0x8004587d, struct.pack("I", 2))
PY
}

# What came to one of the databases' logs is on the disk, whatever becomes of the rest.
only_on_disk() {
    sync -d "$STATE/$1.db-wal"
}

teardown_disk() {
    if mountpoint -q "$T/disk"; then umount "$T/disk" || umount -l "$T/disk"; fi
}

teardown() {
    local bad=0
    [ -n "${BATS_TEST_COMPLETED:-}" ] || show_failure
    emu_delete faults >/dev/null 2>&1 || true
    end_drive || bad=1
    check_breaches || bad=1
    stop_emulator
    no_reports || bad=1
    teardown_disk || bad=1
    rm -rf --one-file-system "${T:?}"/* || bad=1
    return "$bad"
}

# copy_and_fsync FROM TO: the file is there and was answered to be on the disk
copy_and_fsync() {
    on dd if="$1" of="$2" bs=64K conv=fsync status=none
}

state_is() {
    [ "$(xattr "$1" state)" = "$2" ]
}

@test "what fsync answered for survives a power cut right after it, and arrives" {
    mount_drive upload.delay=1h
    local i
    on mkdir "$S/made"
    for i in 1 2 3; do
        random "$T/src/f$i" $((i * 1000000))
        copy_and_fsync "$T/src/f$i" "$S/made/f$i"
    done
    cut_power
    mount_drive
    for i in 1 2 3; do on cmp "$T/src/f$i" "$S/made/f$i"; done
    sync_drive
    service_has "$T/src" /made
}

@test "what was closed five seconds before a power cut survives it, and arrives" {
    seed_text /old.txt "old"
    mount_drive upload.delay=1h
    on mkdir "$S/made"
    random "$T/src/big" 20000000
    on cp "$T/src/big" "$S/made/big"
    local i
    for i in {1..50}; do
        echo "small $i" >"$T/src/s$i"
        on cp "$T/src/s$i" "$S/made/s$i"
    done
    write "$S/old.txt" "new"
    sleep 6
    cut_power
    mount_drive
    equal "old.txt" "$(on cat "$S/old.txt")" "new"
    on cmp "$T/src/big" "$S/made/big"
    sync_drive
    service_has "$T/src" /made
    equal "old.txt" "$(remote_text /old.txt)" "new"
}

@test "a file rewritten after its fsync is after a power cut as it was, as it is, or interrupted, never torn and sent" {
    mount_drive upload.delay=1h
    random "$T/one" 3000000
    random "$T/two" 3000000
    copy_and_fsync "$T/one" "$S/x.bin"
    on cp "$T/two" "$S/x.bin"
    cut_power
    mount_drive
    if ! state_is "$S/x.bin" interrupted; then
        on cmp "$T/one" "$S/x.bin" || on cmp "$T/two" "$S/x.bin"
        sync_drive
        remote_is /x.bin sha256 "$(sha256sum <"$T/one" | cut -d' ' -f1)" ||
            remote_is /x.bin sha256 "$(sha256sum <"$T/two" | cut -d' ' -f1)"
    else
        within 20 "$PM" sync --timeout 3 "$MNT" || true
        run -0 absent /x.bin
    fi
}

@test "what was read before a power cut is read right after it" {
    seed '{"path":"/big.bin","size":60000000,"seed":7}'
    emu_get content path=/big.bin >"$T/want"
    mount_drive
    on head -c 30000000 "$S/big.bin" >/dev/null
    cut_power
    mount_drive
    on cmp "$T/want" "$S/big.bin"
    remount
    on cmp "$T/want" "$S/big.bin"
}

# Three changes of names, the last of which makes room for a new file under an old name
change_names() {
    on mv "$S/a" "$S/b"
    on rm "$S/gone"
    on mkdir "$S/new"
    on mv "$S/c" "$S/new/c"
    write "$S/c" "another c"
}

names_are_changed() {
    equal "b" "$(on cat "$S/b")" "a"
    equal "new/c" "$(on cat "$S/new/c")" "c"
    equal "c" "$(on cat "$S/c")" "another c"
    equal "names" "$(cd "$S" && on ls | tr '\n' ' ')" "b c new "
}

# Of each the service has one, another is only here
make_names() {
    seed_text /a "a"
    seed_text /gone "gone"
    mount_drive upload.delay=1h upload.delete_delay=1h
    write "$S/c" "c"
    on sync "$S/c"
}

@test "what was renamed and removed right before an fsync stays so" {
    make_names
    change_names
    on sync "$S/c"
    cut_power
    mount_drive
    names_are_changed
    sync_drive
    names_are_changed
    equal "objects" "$(remote_count /)" 4
    equal "new/c" "$(remote_text /new/c)" "c"
}

@test "an fsync of a folder keeps what was made, renamed and removed in it" {
    make_names
    on mv "$S/a" "$S/b"
    on rm "$S/gone"
    on mkdir "$S/new"
    on mv "$S/c" "$S/new/c"
    on sync "$S"
    cut_power
    mount_drive
    equal "b" "$(on cat "$S/b")" "a"
    equal "new/c" "$(on cat "$S/new/c")" "c"
    equal "names" "$(cd "$S" && on ls | tr '\n' ' ')" "b new "
    sync_drive
    equal "objects" "$(remote_count /)" 3
}

@test "what was renamed and removed five seconds before a power cut stays so" {
    make_names
    change_names
    sleep 6
    cut_power
    mount_drive
    names_are_changed
    sync_drive
    equal "objects" "$(remote_count /)" 4
    equal "c" "$(remote_text /c)" "another c"
}

@test "a power cut that leaves the index ahead of the journal leaves what was done whole" {
    make_names
    change_names
    only_on_disk index
    cut_power
    mount_drive
    equal "b" "$(on cat "$S/b")" "a"
    equal "new/c" "$(on cat "$S/new/c")" "c"
    equal "names" "$(cd "$S" && on ls | tr '\n' ' ')" "b c new "
    run -1 grep "made anew" "$LOG"
    sync_drive || on "$PM" retry "$S/c" # only its content may not have come to the disk
    sync_drive
    equal "objects" "$(remote_count /)" 4
}

@test "a power cut that leaves the journal ahead of the index mixes nothing up" {
    local i
    make_names
    change_names
    only_on_disk journal
    cut_power
    for i in 1 2 3 4; do seed_text "/theirs$i" "theirs $i"; done
    mount_drive
    wait_until 10 on test -e "$S/theirs4"
    for i in 1 2 3 4; do equal "theirs$i" "$(on cat "$S/theirs$i")" "theirs $i"; done
    equal "b" "$(on cat "$S/b")" "a"
    equal "new/c" "$(on cat "$S/new/c")" "c"
    run -1 on test -e "$S/gone"
}

# Copies, and in a soak (PM_SOAK: how many rounds) renames and removals, until the drive is gone; what
# is written is known in $T/was.
work_on() {
    local i
    for i in {1..60}; do
        random "$T/piece" $((RANDOM * 40))
        touch "$T/was/$(sha256sum <"$T/piece" | cut -d' ' -f1)"
        cp "$T/piece" "$S/f$((RANDOM % 9)).bin" || return 0
        [ -n "${PM_SOAK:-}" ] || continue
        case $((RANDOM % 4)) in
        0) mv "$S/f$((RANDOM % 9)).bin" "$S/f$((RANDOM % 9)).bin" || true ;;
        1) rm -f "$S/f$((RANDOM % 9)).bin" || true ;;
        esac
    done
} 2>/dev/null

# Each file that is not said to be broken is one of what was written, and each sure one what it was.
nothing_is_torn() {
    local f
    for f in "$S"/f*.bin; do
        [ -e "$f" ] || continue
        state_is "$f" interrupted && continue
        if [ ! -e "$T/was/$(on sha256sum <"$f" | cut -d' ' -f1)" ]; then
            echo "${f##*/} is what nobody wrote: $(xattr "$f" state), $(stat -c %s "$f") bytes" >&2
            return 1
        fi
    done
    for f in "$T"/sure/*.bin; do
        [ ! -e "$f" ] || on cmp "$f" "$S/${f##*/}"
    done
}

# A broken-off try of what was given up may have arrived: the next list shows it.
shows_what_the_service_has() {
    digest_of "$S" >"$T/shown"
    emu_get digest path=/ | diff "$T/shown" - >/dev/null
}

@test "power cuts at random moments serve and send nothing that was not written" {
    local round f sum
    mkdir "$T/was" "$T/sure"
    touch "$T/was/$(sha256sum </dev/null | cut -d' ' -f1)" # made, and not written to by then
    for ((round = 0; round < ${PM_SOAK:-6}; round++)); do
        mount_drive upload.delay=300ms upload.delete_delay=300ms
        nothing_is_torn
        work_on 3>&- &
        local writer=$!
        sleep "0.$((RANDOM % 10))"
        random "$T/sure$round" 500000
        copy_and_fsync "$T/sure$round" "$S/sure$round.bin"
        mv "$T/sure$round" "$T/sure/sure$round.bin"
        sleep "0.$((RANDOM % 10))"
        case $((RANDOM % 3)) in
        0) only_on_disk index ;;
        1) only_on_disk journal ;;
        esac
        cut_power
        wait "$writer" || true
    done
    mount_drive
    nothing_is_torn
    on "$PM" discard "$MNT" >/dev/null 2>&1 || true # what is said to be broken, if anything is
    sync_drive
    emu_get digest path=/ | while read -r sum f; do
        [ -e "$T/was/$sum" ] || [ -e "$T/sure/$f" ] || { echo "$f on the service is what nobody wrote" >&2; exit 1; }
    done
    for f in "$T"/sure/*; do remote_is "/${f##*/}" sha256 "$(sha256sum <"$f" | cut -d' ' -f1)"; done
    wait_until 20 shows_what_the_service_has || {
        emu_get digest path=/ | diff -u "$T/shown" - >&2
        return 1
    }
    # what an index of before the cut knows of an object may be of before its last update
    equal "breaches" "$(emu_get breaches | jq -c 'map(select(contains("is not one a-b inside")|not))')" "[]"
    emu_delete breaches
}

# --- a disk that is full

@test "a full disk says so and loses nothing, and uploads go on" {
    local held i
    mount_drive upload.delay=1h cache.min_free=0
    random "$T/src/first" 5000000
    on cp "$T/src/first" "$S/first"
    on mkdir "$S/many"
    mkdir "$T/many"
    for i in {1..40}; do echo "file $i" >"$T/many/$i"; done
    on cp "$T"/many/* "$S/many/"
    dd if=/dev/zero of="$T/disk/ballast" bs=1M status=none 2>/dev/null || true
    fails_with "No space left" cp "$T/src/first" "$S/second"
    on cmp "$T/src/first" "$S/first"
    held=$(on stat -c %s "$S/second")
    if [ "$held" -gt 0 ]; then # what was answered before is there
        on cmp -n "$held" "$T/src/first" "$S/second"
    fi
    on rm "$S/second"
    sync_drive
    service_has "$T/many" /many
    remote_is /first sha256 "$(sha256sum <"$T/src/first" | cut -d' ' -f1)"
    rm "$T/disk/ballast"
    on cp "$T/src/first" "$S/third"
    sync_drive
    remote_is /third sha256 "$(sha256sum <"$T/src/first" | cut -d' ' -f1)"
    equal "objects" "$(remote_count /)" 43
}
