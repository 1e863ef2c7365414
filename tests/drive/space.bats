load lib

# Room: the state folder is on a small disk of its own.

MIB=1048576

setup() {
    new_place
    mkdir "$T/disk"
    mount -t tmpfs -o size=64M,mode=700 none "$T/disk" 2>/dev/null ||
        skip "no disk can be mounted here"
    STATE=$T/disk/state
    start_emulator
}

teardown() {
    local bad=0
    [ -n "${BATS_TEST_COMPLETED:-}" ] || show_failure
    emu_delete faults >/dev/null 2>&1 || true
    end_drive || bad=1
    check_breaches || bad=1
    stop_emulator
    no_reports || bad=1
    if mountpoint -q "$T/disk"; then umount "$T/disk" || umount -l "$T/disk" || bad=1; fi
    rm -rf --one-file-system "${T:?}"/* || bad=1
    return "$bad"
}

# Uploads begin, and stand still.
hold_uploads() {
    fault '{"endpoint":"upload","stall_in":1000}'
    fault '{"endpoint":"update","stall_in":1000}'
}

begun() {
    [ "$(status_json | jq "[.uploads[]|select(.state|startswith(\"uploading\"))]|length")" -gt 0 ]
}

# No more of the file comes, though who writes it goes on.
stands_still() {
    local was
    was=$(on stat -c %s "$1")
    [ "$was" -gt 0 ] || return 1
    sleep 0.5
    [ "$(on stat -c %s "$1")" = "$was" ]
}

@test "more than the disk holds is copied in: what is sent makes room" {
    local i
    mount_drive cache.min_free=8M upload.delay=0
    for i in {1..120}; do random "$T/src/f$i" $MIB; done
    within 120 cp "$T"/src/* "$S/"
    sync_drive 100
    service_has "$T/src" /
}

# bats test_tags=quick
@test "on a full disk a write is refused, what was written before stays, and is sent" {
    local held
    mount_drive cache.min_free=8M upload.delay=100ms
    random "$T/big" $((80 * MIB))
    fails_with "No space left" dd if="$T/big" of="$S/big" bs=1M status=none
    held=$(on stat -c %s "$S/big")
    [ "$held" -ge $((40 * MIB)) ]
    on cmp -n "$held" "$T/big" "$S/big"
    head -c "$held" "$T/big" >"$T/src/big"
    sync_drive 60
    service_has "$T/src" /
}

@test "a disk without one free byte loses nothing, and uploads go on" {
    local held
    mount_drive cache.min_free=0 upload.delay=1h
    random "$T/src/first" $((5 * MIB))
    on cp "$T/src/first" "$S/first"
    dd if=/dev/zero of="$T/disk/ballast" bs=4K status=none 2>/dev/null || true
    fails_with "No space left" cp "$T/src/first" "$S/second"
    on cmp "$T/src/first" "$S/first"
    if [ -e "$S/second" ]; then
        held=$(on stat -c %s "$S/second")
        on cmp -n "$held" "$T/src/first" "$S/second"
        rm "$T/disk/ballast"
        on rm "$S/second"
        dd if=/dev/zero of="$T/disk/ballast" bs=4K status=none 2>/dev/null || true
    fi
    sync_drive
    service_has "$T/src" /
    rm "$T/disk/ballast"
    on cp "$T/src/first" "$T/src/third"
    on cp "$T/src/first" "$S/third"
    sync_drive
    service_has "$T/src" /
}

# bats test_tags=quick
fill_disk() {
    dd if=/dev/zero of="$T/disk/ballast" bs=4K status=none 2>/dev/null || true
}

# Takes no room of its own on the disk that is full.
unsent_on_a_full_disk() {
    mount_drive cache.min_free=0 upload.delay=1h
    random "$T/src/first" $((3 * MIB))
    on cp "$T/src/first" "$S/first"
    umount_drive
    fill_disk
}

@test "a drive whose disk became full meanwhile is not mounted, and loses nothing" {
    unsent_on_a_full_disk
    fails_with "no room on the disk" "$PM" -c "$CONF" -f "$MNT"
    equal "set aside" "$(find "$STATE" -name '*damaged*')" ""
    rm "$T/disk/ballast"
    start_daemon
    sync_drive 60
    service_has "$T/src" /
}

@test "a drive with room in reserve is mounted though its disk became full, and sends" {
    mount -o remount,size=160M "$T/disk"
    unsent_on_a_full_disk
    start_daemon
    sync_drive 60
    service_has "$T/src" /
    equal "set aside" "$(find "$STATE" -name '*damaged*')" ""
}

@test "who waits for room is ended by a signal at once, and holds up nobody" {
    local signal writer
    seed_text /other.txt "other"
    mount_drive cache.min_free=8M upload.delay=100ms
    random "$T/src/first" $((35 * MIB))
    hold_uploads
    on cp "$T/src/first" "$S/first"
    wait_until 10 begun
    for signal in TERM KILL; do
        dd if="$T/src/first" of="$S/second" bs=1M status=none 3>&- 2>/dev/null &
        writer=$!
        disown "$writer" # or the shell would tell of its end
        wait_until 10 stands_still "$S/second"
        equal "other.txt" "$(on cat "$S/other.txt")" "other"
        on ls -l "$S" >"$T/out"
        on mkdir "$S/d$signal"
        ! gone "$writer"
        kill -"$signal" "$writer"
        wait_until 3 gone "$writer"
    done
    on rm "$S/second"
    on rmdir "$S/dTERM" "$S/dKILL"
    clear_faults
    sync_drive 60
    remote_is /first sha256 "$(sha256sum <"$T/src/first" | cut -d' ' -f1)"
}

@test "who waits for an upload that stands still is refused, and nothing is lost" {
    mount_drive cache.min_free=8M upload.delay=100ms net.op_timeout=3s
    random "$T/src/first" $((35 * MIB))
    hold_uploads
    on cp "$T/src/first" "$S/first"
    wait_until 10 begun
    run within 30 dd if="$T/src/first" of="$S/second" bs=1M status=none
    [ "$status" -ne 0 ]
    [[ $output == *"No space left"* ]]
    on rm "$S/second"
    clear_faults
    sync_drive 60
    service_has "$T/src" /
}

@test "forty writers that wait for room take little memory, and all come to an end" {
    local i writers=()
    mount_drive cache.min_free=8M upload.delay=100ms
    random "$T/src/first" $((35 * MIB))
    hold_uploads
    on cp "$T/src/first" "$S/first"
    wait_until 10 begun
    for i in {1..40}; do
        random "$T/src/w$i" $((2 * MIB))
        within 100 dd if="$T/src/w$i" of="$S/w$i" bs=1M status=none 3>&- &
        writers+=($!)
    done
    sleep 3
    clear_faults
    for i in "${writers[@]}"; do wait "$i"; done
    sync_drive 100
    service_has "$T/src" /
    sanitized || at_most "KiB resident" "$(peak_rss)" $((64 * 1024))
}

# bats test_tags=quick
@test "evict drops what is cached, and keeps what is not sent or in use" {
    seed '{"path":"/big.bin","size":5000000,"seed":3}'
    mount_drive cache.min_free=8M upload.delay=1h
    on cat "$S/big.bin" >"$T/big"
    [ "$(xattr "$S/big.bin" cached)" = 5000000 ]
    random "$T/src/mine" 1000000
    on cp "$T/src/mine" "$S/mine"
    run -1 on "$PM" evict "$S"
    [[ $output == *"/s/mine: not sent yet"* && $output == *"1 dropped"* ]]
    [ "$(xattr "$S/big.bin" cached)" = 0 ]
    run -1 on "$PM" evict "$S/big.bin"
    [[ $output == *"nothing of it is kept here"* ]]
    on cmp "$T/big" "$S/big.bin"
    on setfattr -n user.polymount.evict -v 1 "$S/big.bin"
    [ "$(xattr "$S/big.bin" cached)" = 0 ]
    sync_drive
    remote_is /mine sha256 "$(sha256sum <"$T/src/mine" | cut -d' ' -f1)"
}
