load lib

# How a drive ends, and what a user takes back.
setup() {
    new_place
    start_emulator
    seed_text /d/a.txt "content of a"
    seed_text /d/b.txt "content of b"
    mount_drive "$@"
    on ls "$S" "$S/d" >/dev/null
}

again() {
    umount_drive
    mount_drive "$@"
    on ls "$S" "$S/d" >/dev/null
}

sends_upload() {
    [ $(($(requests upload) + $(requests update))) -gt 0 ]
}

not_mounted() {
    ! grep -q " $MNT fuse" /proc/self/mounts
}

# in_folder PROCESS FOLDER: it is there, or has ended
in_folder() {
    [ "$(readlink "/proc/$1/cwd")" = "$2" ] || gone "$1"
}

# --- unmounting

# bats test_tags=quick
@test "umount --wait of what the service refuses says so, and the drive stays and works" {
    fault '{"endpoint":"upload","status":413}'
    again upload.delay=1h
    write "$S/d/big.txt" "too big"
    run -1 within 30 "$PM" umount --wait "$MNT"
    [[ $output == *"big.txt"*"stays mounted"* ]]
    alive
    equal "a.txt" "$(on cat "$S/d/a.txt")" "content of a"
    clear_faults
    on "$PM" retry "$S/d/big.txt"
    run -0 within 30 "$PM" umount --wait "$MNT"
    [[ $output == *"nothing is queued"* ]]
    reap
    equal "big.txt" "$(remote_text /d/big.txt)" "too big"
}

# bats test_tags=quick
@test "a program that is just leaving does not keep a drive from being unmounted" {
    (cd "$S" && exec sleep 0.5) &
    local leaving=$!
    wait_until 5 in_folder "$leaving" "$S"
    umount_drive
    wait "$leaving"
    mount_drive
}

@test "a drive in use that is not unmounted goes on: reading, writing, sending" {
    exec 7<"$S/d/a.txt" 8>"$S/d/open.txt"
    run -1 on "$PM" umount "$MNT"
    [[ $output == *"in use"* ]]
    run -124 within 4 "$PM" umount --wait "$MNT"
    [[ $output == *"1 left"*"open for writing"* ]]
    echo "and on" >&8
    equal "the open one" "$(cat <&7)" "content of a"
    write "$S/d/new.txt" "new"
    exec 7<&- 8>&-
    sync_drive
    equal "open.txt" "$(remote_text /d/open.txt)" "and on"
    equal "new.txt" "$(remote_text /d/new.txt)" "new"
    run -0 on "$PM" umount "$MNT"
    reap
}

# bats test_tags=quick
@test "a lazy unmount with a file open: what is written and closed later is kept, then the daemon ends" {
    again upload.delay=1h
    exec 8>"$S/d/open.txt"
    write "$S/d/a.txt" "changed"
    on fusermount3 -u -z "$MNT"
    wait_until 5 not_mounted
    echo "written after it" >&8
    alive
    exec 8>&-
    reap
    start_daemon
    equal "open.txt" "$(on cat "$S/d/open.txt")" "written after it"
    equal "a.txt" "$(on cat "$S/d/a.txt")" "changed"
    sync_drive
    equal "open.txt" "$(remote_text /d/open.txt)" "written after it"
    equal "a.txt" "$(remote_text /d/a.txt)" "changed"
}

@test "while a lazily unmounted drive still has a file open, another mount says who has the state folder" {
    exec 8>"$S/d/open.txt"
    on fusermount3 -u -z "$MNT"
    wait_until 5 not_mounted
    run -1 on "$PM" -c "$CONF" "$MNT"
    [[ $output == *"$MNT"* ]]
    exec 8>&-
    reap
    start_daemon
    sync_drive
}

# ends_soon_while ENDPOINT COMMAND...: it stalls meanwhile; SIGTERM ends the drive within seconds
ends_soon_while() {
    local start endpoint=$1
    shift
    fault "$(jq -nc --arg e "$endpoint" '{endpoint:$e,stall:0}')"
    "$@"
    wait_until 10 eval '[ "$(requests '"$endpoint"')" -gt 0 ]'
    start=$SECONDS
    kill -TERM "$DRIVE_PID"
    reap
    at_most "seconds with $endpoint stalled" $((SECONDS - start)) $((6 * SLOW))
    clear_faults
    forget_traffic
    start_daemon
}

# bats test_tags=quick
@test "whatever the service hangs in, SIGTERM ends the drive within seconds, and it goes on after the next mount" {
    random "$T/src/new.bin" 3000000
    again upload.delete_delay=0s cache.attr_timeout=100ms
    forget_traffic
    ends_soon_while upload on cp "$T/src/new.bin" "$S/d/new.bin"
    ends_soon_while mkdir on mkdir "$S/made"
    ends_soon_while update write "$S/d/a.txt" "changed"
    ends_soon_while delete on rm "$S/d/b.txt"
    ends_soon_while copy on mv "$S/d/a.txt" "$S/d/moved.txt"
    sync_drive 60
    equal "new.bin" "$(remote /d/new.bin sha256)" "$(sha256sum <"$T/src/new.bin" | cut -d' ' -f1)"
    equal "moved.txt" "$(remote_text /d/moved.txt)" "changed"
    equal "all" "$(emu_get tree path=/ | jq -c '[.[].path]|sort')" '["/d","/d/moved.txt","/d/new.bin","/made"]'
}

# cut_while_writing COMMAND...: it ends the drive while a program writes
cut_while_writing() {
    local pid start=$SECONDS size
    dd if=/dev/zero of="$S/d/long.bin" bs=64K 2>"$T/dd.err" 3>&- &
    pid=$!
    wait_until 10 eval '[ "$(on stat -c %s "$S/d/long.bin" 2>/dev/null || echo 0)" -gt 1000000 ]'
    start=$SECONDS
    "$@" || true
    reap || true
    at_most "seconds" $((SECONDS - start)) 10
    wait_until 5 gone "$pid"
    grep -q "not connected\|Input/output\|aborted" "$T/dd.err"
    not_mounted || umount -l "$MNT"
    start_daemon
    equal "state" "$(xattr "$S/d/long.bin" state)" interrupted
    size=$(on stat -c %s "$S/d/long.bin")
    run -0 test "$size" -gt 1000000
    equal "the other" "$(on cat "$S/d/a.txt")" "changed"
    on "$PM" retry "$S/d/long.bin"
    sync_drive 60
    equal "size" "$(remote /d/long.bin size)" "$size"
}

@test "SIGTERM while a program writes: the drive goes within seconds, and what was not closed is no whole file" {
    again upload.delay=1h
    write "$S/d/a.txt" "changed"
    cut_while_writing kill -TERM "$DRIVE_PID"
}

@test "a forced unmount while a program writes: what was not closed is no whole file" {
    again upload.delay=1h
    write "$S/d/a.txt" "changed"
    cut_while_writing umount -f "$MNT"
}

# bats test_tags=quick
@test "an unmount before anything was sent, again and again, sends all of it once in the end" {
    local i
    again upload.delay=2s
    for i in 1 2 3; do
        write "$S/d/f$i.txt" "file $i"
        umount_drive
        start_daemon
    done
    sync_drive
    for i in 1 2 3; do equal "f$i" "$(remote_text "/d/f$i.txt")" "file $i"; done
    equal "objects" "$(remote_count /d)" 5
    equal "uploads" "$(requests upload)" 3
}

# --- taking back

# bats test_tags=quick
@test "undelete takes a removal back that was not sent yet" {
    again upload.delete_delay=1h
    on rm "$S/d/a.txt"
    run ! on stat "$S/d/a.txt"
    run -0 on "$PM" undelete "$S/d/a.txt"
    equal "a.txt" "$(on cat "$S/d/a.txt")" "content of a"
    equal "pending" "$(pending)" 0
    sync_drive
    equal "removals sent" "$(requests delete)" 0
    run -1 on "$PM" undelete "$S/d/a.txt"
    [[ $output == *"a.txt"* ]]
    run -1 on "$PM" undelete "$S/d/none.txt"
    [[ $output == *"none.txt"* ]]
}

# bats test_tags=quick
@test "undelete takes a folder back with all in it, also after a crash" {
    seed_text /d/sub/x.txt "x"
    again upload.delete_delay=1h cache.attr_timeout=100ms
    on ls -R "$S/d" >/dev/null
    on rm -r "$S/d"
    crash_drive
    start_daemon
    run ! on stat "$S/d"
    run -0 on "$PM" undelete "$S/d"
    equal "list" "$(on find "$S/d" -printf '%P ' | tr ' ' '\n' | sort | paste -sd' ')" " a.txt b.txt sub sub/x.txt"
    equal "x.txt" "$(on cat "$S/d/sub/x.txt")" "x"
    sync_drive
    equal "removals sent" "$(requests delete)" 0
    equal "objects" "$(remote_count /d)" 4
}

# bats test_tags=quick
@test "what was removed and sent, or whose name was given again, cannot be taken back, and undelete says so" {
    again upload.delete_delay=0s
    on rm "$S/d/a.txt"
    sync_drive
    absent /d/a.txt
    run -1 on "$PM" undelete "$S/d/a.txt"
    [[ $output == *"a.txt"* ]]
    again upload.delete_delay=1h
    on rm "$S/d/b.txt"
    on mkdir "$S/d/b.txt"
    run -1 on "$PM" undelete "$S/d/b.txt"
    [[ $output == *"b.txt"* ]]
    sync_drive
    equal "all" "$(emu_get tree path=/d | jq -c '[.[]|[.path,.type]]')" '[["/d/b.txt","dir"]]'
}

# bats test_tags=quick
@test "an unmount while many wait in a sync ends all of them and the daemon" {
    local i pids=()
    export MALLOC_PERTURB_=170 # what was freed is not as it was
    again
    on "$PM" pause "$MNT"
    write "$S/kept.txt" "kept"
    (cd "$S" && on mkdir m{1..100}) # to count them takes a moment
    for i in {1..12}; do # each tells of its progress at another moment
        "$PM" sync "$MNT" >/dev/null 2>&1 3>&- &
        pids+=($!)
        sleep 0.05
    done
    sleep 0.3
    umount_drive
    for i in "${pids[@]}"; do wait_until 5 gone "$i"; done
    mount_drive
    on "$PM" resume "$MNT"
    sync_drive
    equal "kept" "$(remote_text /kept.txt)" "kept"
}
