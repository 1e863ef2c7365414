load lib

# Drafts of 360-for-you in a random workload (crash_360.py): the daemon is killed again and again, the
# server too, which breaks, refuses and forgets. PM_CRASH_ROUNDS and PM_CRASH_SEED as in crash.bats;
# PM_CRASH_HOW is "" for a service without faults, "faults long" for one whose answers also stall, or are lost
# where finding that out takes long.
ROUNDS=${PM_CRASH_ROUNDS:-8}
SEED=${PM_CRASH_SEED:-1}
HOW=${PM_CRASH_HOW-faults}

setup() {
    new_place # it starts its emulator itself
}

@test "crashes of the drive and the server make each draft that was published one project, and no other" {
    local status=0
    URL=x TOKEN=x
    write_conf upload.delay=50ms cache.attr_timeout=200ms account.type=360 account.publish=manual
    echo "# seed $SEED, $ROUNDS rounds" >&3
    # shellcheck disable=SC2086 # words
    within $((120 + ROUNDS * 30)) python3 -B "$BATS_TEST_DIRNAME/crash_360.py" "$PM" "$MNT" s "$CONF" x "$LOG" \
        "$SEED" "$ROUNDS" "$EMU" "$T/emu" $HOW >"$T/crash.out" 2>&1 3>&- || status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 150 "$T/crash.out" >&2
        return 1
    fi
    tail -n 1 "$T/crash.out" | sed 's/^/# /' >&3
}
