load lib

# A daemon runs for weeks: whatever is done, refused, or given up, it keeps nothing of it.

setup() {
    new_place
    start_emulator
    seed '{"path":"/far.bin","size":30000000,"seed":1}'
    seed '{"dir":"/many","count":30,"size":20000}'
    mount_drive cache.attr_timeout=300ms cache.max_size=40M upload.delay=500ms upload.delete_delay=0 \
        upload.delete_guard=0 net.op_timeout=2s "$@"
}

threads() {
    ls "/proc/$DRIVE_PID/task" | wc -l
}

# Of the daemon, without sockets: idle connections come and go.
descriptors() {
    find "/proc/$DRIVE_PID/fd" -type l -printf '%l\n' 2>/dev/null | grep -c -v '^socket:'
}

sockets() {
    find "/proc/$DRIVE_PID/fd" -type l -printf '%l\n' 2>/dev/null | grep -c '^socket:'
}

resident() {
    awk '/^VmRSS:/ { print $2 }' "/proc/$DRIVE_PID/status"
}

# do_round N: what users, and programs that are ended, do; much of it fails
do_round() {
    local n=$1 name=$((n % 20))
    case $((n % 15)) in
    0) timeout -k 5 -s INT 0.05 cat "$S/far.bin" >/dev/null ;;
    1) fault '{"endpoint":"download","match":"many","stall":1000,"count":1}' && timeout -k 5 -s INT 0.3 cat "$S/many/file-0000$((10 + n % 20)).bin" >/dev/null ;;
    2) mkdir "$S/many" || ln -s x "$S/link" || rmdir "$S/many" || mv "$S/many" "$MNT/" ;;
    3) printf '%s' "$n" >"$S/n$name.txt" ;;
    4) mkdir -p "$S/dir$name/below" && printf '%s' "$n" >"$S/dir$name/below/x" ;;
    5) rm -rf "$S/dir$((name - 1))" ;;
    6) mv "$S/n$name.txt" "$S/moved$name.txt" ;;
    7) fault '{"endpoint":"list","status":500,"count":2}' && ls -l "$S/many" >/dev/null ;;
    8) fault '{"endpoint":"upload","reset":"after","count":1}' && printf '%s' "$n" >"$S/up$n.txt" && rm -f "$S/up$((n - 15)).txt" ;;
    9) dd if=/dev/urandom of="$S/far.bin" bs=1000 count=1 seek="$n" conv=notrunc status=none ;;
    10) getfattr -n user.polymount.state "$S/far.bin" && setfattr -n user.own -v "$n" "$S/far.bin" ;;
    11) exec 6<"$S/many/file-000001.bin" && tail -c 10 <&6 && exec 6<&- ;;
    12) "$PM" -c "$CONF" "$MNT" || "$PM" -c "$CONF" -f "$T" || "$PM" umount "$T" || "$PM" status "$MNT" ;;
    13) emu_post replace "{\"path\":\"/many/file-000002.bin\",\"size\":$((20000 + n)),\"seed\":$n}" && cat "$S/many/file-000002.bin" ;;
    14) exec 6<>"$S/gone" && rm "$S/gone" && echo "$n" >&6 && exec 6>&- && truncate -s "$n" "$S/n$name.txt" ;;
    esac >/dev/null 2>&1 </dev/null || true
}

quiet_again() { # THREADS DESCRIPTORS
    [ "$(threads)" -le "$1" ] && [ "$(descriptors)" -le "$2" ]
}

@test "after 600 operations, many interrupted or refused, no thread, descriptor or memory is kept" {
    local n threads descriptors resident
    for n in {1..300}; do do_round "$n"; done
    clear_faults
    sync_drive 60
    sleep 11 # threads that have nothing to do are gone
    threads=$(threads) descriptors=$(descriptors) resident=$(resident)
    for n in {301..600}; do do_round "$n"; done
    clear_faults
    sync_drive 60
    alive
    wait_until 15 quiet_again "$threads" "$descriptors" || {
        echo "threads $threads, then $(threads); descriptors $descriptors, then $(descriptors)" >&2
        ls -l "/proc/$DRIVE_PID/fd" >&2
        false
    }
    at_most "idle connections" "$(sockets)" 30
    echo "# $threads threads, $descriptors descriptors; $resident KiB, then $(resident)" >&3
    sanitized || at_most "KiB resident" "$(resident)" $((resident + 3000))
    equal "failed" "$(status_json | jq -c .failed)" "[]"
    ls -R "$S" >/dev/null
    sleep 1
    diff <(digest_of "$S") <(emu_get digest path=/) >&2
}
