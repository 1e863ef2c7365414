load lib

setup() {
    new_place
    start_emulator
    mount_drive "$@"
}

# again KEY=VALUE...: the drive with other settings
again() {
    umount_drive
    mount_drive "$@"
}

# Uploads and updates that the service has seen
sent() {
    echo $(($(requests upload) + $(requests update)))
}

@test "touch makes an empty file, here and on the service" {
    on touch "$S/empty.txt"
    equal "size" "$(on stat -c %s "$S/empty.txt")" 0
    sync_drive
    equal "size on the service" "$(remote /empty.txt size)" 0
}

# bats test_tags=quick
@test "folders are made and removed, here and on the service" {
    on mkdir -p "$S/a/b/c"
    sync_drive
    equal "folders" "$(emu_get tree | jq '[.[]|select(.type=="dir")]|length')" 3
    on rmdir "$S/a/b/c"
    on rmdir "$S/a/b"
    sync_drive
    equal "objects" "$(remote_count /)" 1
    on rm -r "$S/a"
    sync_drive
    equal "objects" "$(remote_count /)" 0
}

# bats test_tags=quick
@test "rm -r of a tree removes it here at once and on the service" {
    seed '{"dir":"/tree/in","count":30,"size":100}'
    seed_text /tree/x.txt "x"
    on rm -r "$S/tree"
    equal "left" "$(on ls -A "$S")" ""
    sync_drive
    equal "objects" "$(remote_count /)" 0
}

@test "a file is deleted here at once, on the service only after delete_delay" {
    seed_text /a.txt "a"
    again upload.delete_delay=3s
    on rm "$S/a.txt"
    run ! on stat "$S/a.txt"
    sleep 1
    equal "on the service" "$(remote_text /a.txt)" "a"
    wait_until 10 absent /a.txt
}

# bats test_tags=quick
@test "saving by temporary file and rename updates the object, which keeps its id" {
    seed_text /model.obj "version 1"
    local id
    id=$(remote /model.obj id)
    on cat "$S/model.obj" >/dev/null
    write "$S/model.obj.tmp" "version 2, longer"
    on mv "$S/model.obj.tmp" "$S/model.obj"
    equal "content" "$(on cat "$S/model.obj")" "version 2, longer"
    sync_drive
    equal "on the service" "$(remote_text /model.obj)" "version 2, longer"
    equal "id" "$(remote /model.obj id)" "$id"
    equal "objects" "$(remote_count /)" 1
    wait_until 10 settled
    write "$S/model.obj.tmp" "3"
    on mv "$S/model.obj.tmp" "$S/model.obj"
    sync_drive
    equal "on the service" "$(remote_text /model.obj)" "3"
    equal "id" "$(remote /model.obj id)" "$id"
    equal "objects" "$(remote_count /)" 1
}

# bats test_tags=quick
@test "a file that was never sent is renamed and moved, and arrives under its last name only" {
    again upload.delay=1h
    write "$S/one.txt" "1"
    on mkdir "$S/dir"
    on mv "$S/one.txt" "$S/two.txt"
    on mv "$S/two.txt" "$S/dir/three.txt"
    run ! on stat "$S/one.txt"
    sync_drive
    equal "files" "$(emu_get tree | jq -r '[.[]|select(.type=="file")|.path]|join(" ")')" /dir/three.txt
}

@test "rm and write of one name before the removal was sent is an update" {
    seed_text /a.txt "old"
    local id
    id=$(remote /a.txt id)
    on rm "$S/a.txt"
    write "$S/a.txt" "newer"
    sync_drive
    equal "on the service" "$(remote_text /a.txt)" "newer"
    equal "id" "$(remote /a.txt id)" "$id"
}

# bats test_tags=quick
@test "what is appended and truncated arrives, as one object with its id" {
    write "$S/log.txt" "one "
    append "$S/log.txt" "two "
    sync_drive
    local id
    id=$(remote /log.txt id)
    append "$S/log.txt" "three"
    sync_drive
    equal "appended" "$(remote_text /log.txt)" "one two three"
    on truncate -s 3 "$S/log.txt"
    sync_drive
    equal "truncated" "$(remote_text /log.txt)" "one"
    on truncate -s 5 "$S/log.txt"
    sync_drive
    equal "extended" "$(remote_text /log.txt | xxd -p)" "6f6e650000"
    on bash -c ': >"$1"' - "$S/log.txt"
    sync_drive
    equal "emptied" "$(remote /log.txt size)" 0
    write "$S/log.txt" "again"
    sync_drive
    equal "rewritten" "$(remote_text /log.txt)" "again"
    equal "id" "$(remote /log.txt id)" "$id"
    equal "objects" "$(remote_count /)" 1
}

@test "a file that is open for writing is not sent before it is closed" {
    exec 7>"$S/open.txt"
    printf 'first ' >&7
    sleep 1
    sync_drive 2 || true
    equal "uploads" "$(sent)" 0
    printf 'second' >&7
    exec 7>&-
    wait_until 10 nothing_pending
    equal "on the service" "$(remote_text /open.txt)" "first second"
    equal "uploads" "$(sent)" 1
}

# bats test_tags=quick
@test "what is written during an upload goes up too" {
    fault '{"endpoint":"upload","delay_ms":1500}'
    write "$S/a.txt" "before"
    sleep 0.8
    append "$S/a.txt" ", during"
    sync_drive
    equal "on the service" "$(remote_text /a.txt)" "before, during"
    equal "objects" "$(remote_count /)" 1
}

@test "many saves in a row are one upload" {
    again upload.delay=1s
    local i
    for i in {1..20}; do write "$S/busy.txt" "version $i"; done
    wait_until 10 nothing_pending
    equal "on the service" "$(remote_text /busy.txt)" "version 20"
    at_most "uploads" "$(sent)" 2
}

@test "a file that is removed before it was sent never reaches the service" {
    again upload.delay=1s
    write "$S/never.txt" "secret"
    on rm "$S/never.txt"
    sleep 1.5
    sync_drive
    equal "uploads" "$(sent)" 0
    equal "pending" "$(pending)" 0
}

# bats test_tags=quick
@test "a removed file that is still open can be read and written, and stays removed" {
    write "$S/gone.txt" "still here"
    sync_drive
    exec 7<>"$S/gone.txt"
    on rm "$S/gone.txt"
    equal "content" "$(cat <&7)" "still here"
    printf 'more' >&7
    exec 7>&-
    sync_drive
    run -0 absent /gone.txt
    equal "pending" "$(pending)" 0
}

@test "what is written to a removed file that is still open stays, though its service tells a digest of what it had" {
    seed '{"path":"/gone.bin","size":3000000}'
    fault '{"endpoint":"download","header":"x-goog-hash: crc32c=AAAAAA=="}'
    on ls "$S" >/dev/null
    exec 7<>"$S/gone.bin"
    on rm "$S/gone.bin"
    printf 'more' >&7 # of what the rest is fetched
    equal "size" "$(on cat <&7 | wc -c)" 2999996
    sleep 1 # whatever is done with the whole of it
    exec 8<"/proc/self/fd/7"
    equal "content" "$(on head -c 4 <&8)" "more"
    exec 7>&- 8<&-
}

@test "what systems and file managers litter stays on this machine" {
    local name
    on mkdir "$S/dir"
    for name in .DS_Store ._scan.obj Thumbs.db desktop.ini .directory; do
        write "$S/dir/$name" "litter"
    done
    sync_drive
    equal "uploads" "$(sent)" 0
    remount
    for name in .DS_Store ._scan.obj Thumbs.db desktop.ini .directory; do
        equal "$name" "$(on cat "$S/dir/$name")" "litter"
    done
    on rm -r "$S/dir"
    sync_drive
    equal "objects" "$(remote_count /)" 0
}

@test "temporary names stay on this machine until they are renamed" {
    write "$S/film.mp4.part" "half"
    write "$S/.scan.obj.Xy12Za" "rsync's"
    write "$S/x.crdownload" "browser's"
    sleep 1.5
    equal "uploads" "$(sent)" 0
    on mv "$S/film.mp4.part" "$S/film.mp4"
    on mv "$S/.scan.obj.Xy12Za" "$S/scan.obj"
    wait_until 10 remote_is /film.mp4 size 4
    wait_until 10 remote_is /scan.obj size 7
    equal "uploads" "$(sent)" 2
    sync_drive # now even those
    equal "x.crdownload" "$(remote /x.crdownload size)" 9
}

@test "a folder with something in it cannot be removed" {
    seed_text /full/a.txt "a"
    fails_with "Directory not empty" rmdir "$S/full"
    on mkdir "$S/new"
    write "$S/new/b.txt" "b"
    fails_with "Directory not empty" rmdir "$S/new"
}

# bats test_tags=quick
@test "a folder that somebody fills before its removal is sent stays" {
    seed '{"path":"/dir","type":"dir"}'
    again upload.delete_delay=1h cache.attr_timeout=1s
    on rmdir "$S/dir"
    seed_text /dir/theirs.txt "precious"
    sync_drive || true
    equal "theirs" "$(remote_text /dir/theirs.txt)" "precious"
    wait_until 5 on test -f "$S/dir/theirs.txt"
    equal "pending" "$(pending)" 0
}

# bats test_tags=quick
@test "what the drive cannot do is refused with an errno that programs understand" {
    write "$S/a.txt" "a"
    local long
    long=$(printf 'x%.0s' {1..256})
    fails_with "File name too long" touch "$S/$long"
    fails_with "Operation not permitted" ln -s target "$S/link"
    fails_with "Operation not permitted" ln "$S/a.txt" "$S/hard"
    fails_with "Operation not permitted" mkfifo "$S/fifo"
    fails_with "Operation not permitted" mknod "$S/dev" c 1 3
    fails_with "Operation not permitted" touch "$MNT/file"
    fails_with "Operation not permitted" mkdir "$MNT/folder"
    fails_with "busy" rmdir "$S"
    fails_with "Operation not permitted" mkdir "$S/.Trash-1000"
    fails_with "Operation not permitted" mkdir "$S/.Trash"
    fails_with "File exists" mkdir "$S/a.txt"
    fails_with "Not a directory" ls "$S/a.txt/x"
    fails_with "No such file" cat "$S/none"
    fails_with "Is a directory" rm "$S"
    fails_with "Invalid or incomplete multibyte" touch "$S/$(printf 'a\xffb')"
    on mkdir "$S/dir"
    fails_with "Is a directory" dd if=/dev/null of="$S/dir"
    fails_with "" mv -T "$S/a.txt" "$S/dir"
    sync_drive
}

@test "a trash folder that the service has is listed, looked up, read and removed; none can be made" {
    seed_text /.Trash-1000/files/old.txt "thrown away"
    again upload.delete_delay=0s cache.attr_timeout=1s
    on ls -A "$S" | grep -q -x -F .Trash-1000
    equal "in it" "$(on cat "$S/.Trash-1000/files/old.txt")" "thrown away"
    on find "$S" >"$T/found"
    fails_with "Operation not permitted" mkdir "$S/.Trash"
    on mv "$S/.Trash-1000/files/old.txt" "$S/back.txt"
    fails_with "Operation not permitted" mv "$S/back.txt" "$S/.Trash-1001"
    on rm -r "$S/.Trash-1000"
    sync_drive
    absent /.Trash-1000
    equal "back" "$(remote_text /back.txt)" "thrown away"
    fails_with "Operation not permitted" mkdir "$S/.Trash-1000"
}

# bats test_tags=quick
@test "attributes of the user's are kept over a remount, and not sent" {
    write "$S/a.txt" "a"
    on setfattr -n user.colour -v red "$S/a.txt"
    on setfattr -n user.empty "$S/a.txt"
    sync_drive
    local before
    before=$(sent)
    on setfattr -n user.size -v big "$S/a.txt"
    remount
    equal "names" "$(on getfattr --absolute-names "$S/a.txt" | grep ^user | sort | tr '\n' ' ')" \
        "user.colour user.empty user.size "
    equal "colour" "$(on getfattr --absolute-names --only-values -n user.colour "$S/a.txt")" red
    on setfattr -x user.colour "$S/a.txt"
    fails_with "No such attribute" getfattr -n user.colour "$S/a.txt"
    sleep 1
    equal "uploads" "$(sent)" "$before"
}

# bats test_tags=quick
@test "the drive's own attributes answer by name, are not listed, and cannot be set" {
    seed_text /remote.txt "far"
    write "$S/a.txt" "abc"
    sync_drive
    equal "state" "$(xattr "$S/a.txt" state)" synced
    equal "id" "$(xattr "$S/a.txt" id)" "$(remote /a.txt id)"
    equal "cached" "$(xattr "$S/a.txt" cached)" 3
    [ -n "$(xattr "$S/a.txt" version)" ]
    remount_cold
    equal "state before reading" "$(xattr "$S/remote.txt" state)" remote
    equal "cached before reading" "$(xattr "$S/remote.txt" cached)" 0
    on cat "$S/remote.txt" >/dev/null
    equal "state after reading" "$(xattr "$S/remote.txt" state)" cached
    equal "listed" "$(on getfattr --absolute-names -m - "$S/a.txt")" ""
    fails_with "" setfattr -n user.polymount.state -v x "$S/a.txt"
    fails_with "not supported" setfattr -n trusted.x -v x "$S/a.txt"
}

@test "the state attribute tells queued from sent" {
    again upload.delay=1h
    write "$S/a.txt" "a"
    equal "state" "$(xattr "$S/a.txt" state)" queued
    write "$S/.DS_Store" "b"
    equal "state of litter" "$(xattr "$S/.DS_Store" state)" local
    sync_drive
    equal "state" "$(xattr "$S/a.txt" state)" synced
}

# bats test_tags=quick
@test "inode numbers are the same after a remount, a conversion and an update" {
    seed_text /theirs.txt "t"
    on mkdir "$S/dir"
    write "$S/dir/ours.obj" "o"
    local a b c
    a=$(inode "$S/theirs.txt") b=$(inode "$S/dir") c=$(inode "$S/dir/ours.obj")
    sync_drive
    equal "after the upload" "$(inode "$S/dir/ours.obj")" "$c"
    wait_until 10 settled
    append "$S/dir/ours.obj" "more"
    sync_drive
    remount
    equal "theirs" "$(inode "$S/theirs.txt")" "$a"
    equal "folder" "$(inode "$S/dir")" "$b"
    equal "ours" "$(inode "$S/dir/ours.obj")" "$c"
}

# bats test_tags=quick
@test "times, modes and owners that a program sets are kept over a remount and a conversion" {
    again cache.attr_timeout=500ms
    write "$S/a.obj" "a"
    on mkdir "$S/dir"
    on chmod 600 "$S/a.obj"
    on chmod 700 "$S/dir"
    on chown 1234:5678 "$S/a.obj"
    on touch -d '2001-02-03 04:05:06.789' "$S/a.obj"
    on touch -d '1999-12-31 23:59:59' "$S/dir"
    local before
    before=$(on stat -c '%a %u %g %.3Y' "$S/a.obj")
    equal "before" "$before" "600 1234 5678 $(date -d '2001-02-03 04:05:06' +%s).789"
    sync_drive
    wait_until 10 settled
    sleep 0.6
    on ls -l "$S" >/dev/null
    equal "after the conversion" "$(on stat -c '%a %u %g %.3Y' "$S/a.obj")" "$before"
    remount
    equal "after a remount" "$(on stat -c '%a %u %g %.3Y' "$S/a.obj")" "$before"
    equal "folder" "$(on stat -c '%a %Y' "$S/dir")" "700 $(date -d '1999-12-31 23:59:59' +%s)"
}

@test "files and folders nobody touched are the mounter's, 0644 and 0755" {
    seed_text /dir/a.txt "a"
    equal "file" "$(on stat -c '%a %u' "$S/dir/a.txt")" "644 $(id -u)"
    equal "folder" "$(on stat -c '%a %u' "$S/dir")" "755 $(id -u)"
    equal "blocks" "$(on stat -c %b "$S/dir/a.txt")" 1
}

# bats test_tags=quick
@test "df and statfs say what may be written" {
    local size used avail before after
    before=$(df -B1 --output=avail "$T" | tail -1)
    read -r size used avail < <(on df -B1 --output=size,used,avail "$S" | tail -1)
    run -0 test "$size" -gt 0
    run -0 test "$avail" -gt 0
    at_most "available" "$avail" "$size"
    after=$(df -B1 --output=avail "$T" | tail -1) # other tests use the disk, too
    at_most "available, against the disk's" "$avail" $((before > after ? before : after))
    equal "length of names" "$(on stat -f -c %l "$S")" 255
}

# bats test_tags=quick
@test "the drive's status is a JSON file that is found but not listed" {
    equal "listed" "$(on ls -A "$MNT")" "s"
    on jq -e '.pid == '"$DRIVE_PID"' and (.version|length>0) and .pending == 0' \
        "$MNT/.polymount/status.json" >/dev/null
    equal "state_dir" "$(on jq -r .state_dir "$MNT/.polymount/status.json")" "$STATE"
    on grep -q '^polymount_pending 0' "$MNT/.polymount/metrics"
    fails_with "" touch "$MNT/.polymount/x"
    fails_with "" rm "$MNT/.polymount/status.json"
    run ! on stat "$S/.polymount"
}

# bats test_tags=quick
@test "cp -a, tar, find, sed -i and editors work as on a disk" {
    mkdir -p "$T/src/p/q"
    random "$T/src/p/a.bin" 70000
    printf 'alpha\nbeta\n' >"$T/src/p/q/t.txt"
    on cp -a "$T/src/p" "$S/p"
    on sed -i 's/beta/gamma/' "$S/p/q/t.txt"
    sed -i 's/beta/gamma/' "$T/src/p/q/t.txt"
    on tar -C "$S" -cf "$T/p.tar" p
    on tar -C "$S" -xf "$T/p.tar" --transform 's,^p,r,'
    cp -a "$T/src/p" "$T/src/r"
    equal "found" "$(on find "$S" -type f | wc -l)" 4
    on bash -c 'echo delta >>"$1"' - "$S/r/q/t.txt"
    echo delta >>"$T/src/r/q/t.txt"
    sync_drive
    service_has "$T/src" /
    on diff -r "$T/src" "$S"
}

# bats test_tags=quick
@test "fsync returns when the file is safe here, and a crash does not lose it" {
    again upload.delay=1h
    random "$T/src/x.bin" 300000
    on dd if="$T/src/x.bin" of="$S/x.bin" bs=64K conv=fsync status=none
    crash_drive
    remount
    on cmp "$T/src/x.bin" "$S/x.bin"
    sync_drive
    service_has "$T/src" /
}

# bats test_tags=quick
@test "with on_close = wait a closed file is on the service" {
    again upload.on_close=wait
    write "$S/a.txt" "there"
    equal "on the service" "$(remote_text /a.txt)" "there"
    fault '{"endpoint":"upload","count":1,"status":413}'
    run ! write "$S/b.txt" "refused"
}

# bats test_tags=quick
@test "with read_only = yes nothing can be changed, and all be read" {
    seed_text /dir/a.txt "a"
    again account.read_only=yes
    equal "content" "$(on cat "$S/dir/a.txt")" "a"
    fails_with "Read-only" touch "$S/new"
    fails_with "Read-only" mkdir "$S/new"
    fails_with "Read-only" rm "$S/dir/a.txt"
    fails_with "Read-only" dd if=/dev/null of="$S/dir/a.txt"
}

@test "exclusive creation and rename without replacing see what is there" {
    seed_text /a.txt "a"
    write "$S/b.txt" "b"
    run ! on bash -c 'set -C; echo x >"$1"' - "$S/a.txt"
    on mv -n "$S/b.txt" "$S/a.txt"
    equal "a" "$(on cat "$S/a.txt")" "a"
    sync_drive
    equal "a on the service" "$(remote_text /a.txt)" "a"
}
