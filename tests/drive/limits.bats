load lib

# When the service says that it is too much, and when to come again.
setup() {
    new_place
    start_emulator
    seed_text /d/a.txt "content of a"
    seed_text /d/unread.txt "not read yet"
    seed_text /unseen/x.txt "x"
    mount_drive cache.attr_timeout=200ms "$@"
    on ls "$S" "$S/d" >/dev/null
    on cat "$S/d/a.txt" >/dev/null
}

# too_much ENDPOINT SECONDS: the next such call, once
too_much() {
    fault "$(jq -nc --arg e "$1" --argjson s "$2" '{endpoint:$e,count:1,status:429,retry_after:$s}')"
}

was_told() {
    emu_get log | jq -e 'any(.[]; .status==429)' >/dev/null
}

# Milliseconds from the refusal to the first request after it
pause_kept() {
    emu_get log | jq '(map(select(.status==429))|first) as $r | map(select(.n>$r.n))|first|.t_ms-$r.t_ms'
}

waits_until() {
    status_json | jq -r '.accounts[0].waits_until // 0'
}

# bats test_tags=quick
@test "after kill -9 and a remount nothing is asked before the time that the service had set" {
    too_much upload 6
    write "$S/d/new.txt" "patience"
    wait_until 10 was_told
    crash_drive
    start_daemon
    equal "known folders" "$(on ls "$S/d" | paste -sd' ')" "a.txt new.txt unread.txt"
    equal "what was read" "$(on cat "$S/d/a.txt")" "content of a"
    write "$S/d/second.txt" "made meanwhile"
    sync_drive
    run -0 test "$(pause_kept)" -ge 5800
    equal "new.txt" "$(remote_text /d/new.txt)" "patience"
    equal "second.txt" "$(remote_text /d/second.txt)" "made meanwhile"
    equal "objects" "$(remote_count /d)" 4
}

@test "an unmount and a mount with another name for the account do not forget it either" {
    too_much upload 6
    write "$S/d/new.txt" "patience"
    wait_until 10 was_told
    umount_drive
    sed -i 's/^\[account s\]/[account t]/' "$CONF"
    start_daemon
    S=$MNT/t
    equal "unseen" "$(on ls "$S/unseen")" "x.txt"
    run -0 test "$(pause_kept)" -ge 5800
    sync_drive
    equal "new.txt" "$(remote_text /d/new.txt)" "patience"
}

# bats test_tags=quick
@test "status says until when the service asked to wait, and what waits for it" {
    local now
    too_much upload 3600
    write "$S/d/new.txt" "patience"
    wait_until 10 was_told
    wait_until 5 eval '[ "$(waits_until)" != 0 ]'
    now=$(date +%s)
    run -0 test "$(waits_until)" -ge $((now + 3500)) -a "$(waits_until)" -le $((now + 3601))
    run -0 on "$PM" status "$MNT"
    [[ $output == *"account s "*": the service asked to wait until "[0-9]*:[0-9]*:[0-9]* ]]
    [[ $output == *"new.txt"*"waiting: the service asked to wait until "* ]]
    [[ $(xattr "$S/d/new.txt" state) == "waiting: the service asked to wait until "* ]]
    run -1 on "$PM" sync --timeout 2 "$MNT"
    [[ $output == *"1 left"*"s asked to wait until "* && $output == *"new.txt: the service asked to wait"* ]]
    umount_drive
    start_daemon
    run -0 test "$(waits_until)" -ge $((now + 3500)) -a "$(waits_until)" -le $((now + 3601))
    equal "requests since" "$(emu_get log | jq 'last|.status')" 429
}

# bats test_tags=quick
@test "who would have to wait longer than op_timeout is told at once that it is busy" {
    local start=$SECONDS
    too_much list 3600
    fails_with "busy" ls "$S/unseen"
    fails_with "busy" ls "$S/unseen"
    fails_with "busy" cat "$S/d/unread.txt"
    fails_with "busy" stat "$S/unseen/x.txt"
    equal "known" "$(on ls "$S/d" | paste -sd' ')" "a.txt unread.txt"
    equal "read before" "$(on cat "$S/d/a.txt")" "content of a"
    write "$S/d/new.txt" "taken"
    on mkdir "$S/made"
    at_most "seconds" $((SECONDS - start)) 19 # one that waits takes 20
    equal "requests since" "$(emu_get log | jq 'last|.status')" 429
    equal "pending" "$(pending)" 2
}

@test "a wait shorter than op_timeout is waited for, unseen" {
    too_much download 3
    equal "content" "$(on cat "$S/d/unread.txt")" "not read yet"
    run -0 test "$(pause_kept)" -ge 2800
    forget_traffic
    too_much list 3
    equal "unseen" "$(on ls "$S/unseen")" "x.txt"
    run -0 test "$(pause_kept)" -ge 2800
}
