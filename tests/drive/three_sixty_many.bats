# 500 photographs and one large scan on their way to 360-for-you, over crashes of both ends. In the
# checks there are fewer: PM_FULL=1 (make soak) has the whole size.

load lib_drafts

# many: $T/src has them; their number and sizes are in N and BIG
many() {
    N=60 BIG=$((96 << 20))
    if [ -n "${PM_FULL:-}" ]; then N=500 BIG=$((3 << 30)); fi
    photos "$N" 102400
    truncate -s "$BIG" "$T/src/floor.e57"
    for at in 0 $((BIG / 3)) $((BIG - 5)); do
        printf 'scan' | dd of="$T/src/floor.e57" bs=1 seek="$at" conv=notrunc status=none
    done
}

# A piece of the scan gets stuck, after so many others; photographs go up slowly.
stuck_after() {
    fault "{\"endpoint\":\"put\",\"match\":\"floor\",\"skip\":$1,\"stall_in\":400000}"
    fault '{"endpoint":"put","match":"photo","delay_ms":40}'
}

# The drive dies in the middle of a piece of the scan.
crash_amid() {
    wait_until 60 was_hit
    crash_drive
    clear_faults
    wait_until 10 nothing_under_way
}

was_hit() {
    [ "$(emu_get faults | jq '.[0].hits')" -gt 0 ]
}

# The service has noticed that the drive is gone.
nothing_under_way() {
    [ "$(emu_get log | jq '[.[] | select(.endpoint == "put" and .status == 0 and .ms == 0)] | length')" = 0 ]
}

# Keeps what the service saw until now; what is under way there it has not counted yet.
keep_log() {
    emu_get log | jq -c '.[] | select(.endpoint == "put")' >>"$T/log.put"
}

count_sent() {
    emu_get 360/sessions | jq '[.[].files[] | select(.complete)] | length'
}

sent_at_least() {
    [ "$(count_sent)" -ge "$1" ]
}

@test "photographs and a large scan become one project over crashes of the drive and the service" {
    local twice big chunk
    many
    option 360.torn '"drop"'
    stuck_after 1
    mount_360 upload.parallel=4
    within 300 cp --sparse=always "$T/src"/* "$D/"
    wait_until 60 sent_at_least $((N / 5))
    crash_amid
    stuck_after 1
    remount
    wait_until 60 sent_at_least $((N / 2))
    wait_until 60 was_hit
    keep_log
    restart_emulator
    stuck_after 2
    crash_amid
    keep_log
    forget_traffic
    remount
    complete 240
    equal "lists of the session at the remount" "$(requests session)" 1
    publish "$D" 120
    keep_log
    equal "sessions" "$(emu_get 360/sessions | jq length)" 1
    one_project
    twice=$(jq -s '[.[] | select(.path | test("floor") | not)] | group_by(.path)
        | map(select(([.[] | select(.status == 200)] | length) > 1)) | length' "$T/log.put")
    equal "finished files that were sent again" "$twice" 0
    big=$(jq -s '[.[] | select(.path | test("floor")).in] | add' "$T/log.put")
    chunk=$(jq -s '[.[] | select(.path | test("floor")).in] | max' "$T/log.put")
    [ -z "${PM_FULL:-}" ] || echo "# $N photographs, $((big - BIG)) bytes of the scan twice, in $SECONDS s" >&3
    at_most "bytes of the scan" "$big" $((BIG + 2 * chunk))
}

@test "more files than the service takes in a minute go up within its rate" {
    [ -n "${PM_FULL:-}" ] || skip "a minute and more: PM_FULL=1"
    for i in {1..1400}; do printf %s "$i" >"$T/src/photo $i.jpg"; done
    mount_360 upload.parallel=8
    within 200 cp "$T/src"/* "$D/"
    complete 400
    publish
    one_project
    equal "PUTs" "$(requests put)" 1400
}
