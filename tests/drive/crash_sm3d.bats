load lib_uploads

# uploads/ of ShareMy3D in a random workload (crash_sm3d.py): the daemon is killed again and again, the
# service loses answers, breaks, ends sessions and lists late. PM_CRASH_ROUNDS, PM_CRASH_SEED and
# PM_CRASH_HOW as in crash_360.bats; there is nothing that takes long. Only with PM_CRASH_ROUNDS (make soak):
# it still finds models that a lost answer left without bytes.
ROUNDS=${PM_CRASH_ROUNDS:-6}
SEED=${PM_CRASH_SEED:-1}
HOW=${PM_CRASH_HOW-faults}

@test "crashes of the drive make each file that was dropped one model, and leave nothing else of it" {
    local status=0
    [ -n "${PM_CRASH_ROUNDS:-}" ] || skip "with PM_CRASH_ROUNDS"
    write_conf account.type=sharemy3d "account.endpoint=$URL_SM3D" "account.token=$TOKEN_SM3D" \
        account.publish=manual upload.delay=50ms upload.delete_delay=1s cache.attr_timeout=200ms \
        net.limit_up=30000000
    echo "# seed $SEED, $ROUNDS rounds" >&3
    # shellcheck disable=SC2086 # words
    within $((120 + ROUNDS * 30)) python3 -B "$BATS_TEST_DIRNAME/crash_sm3d.py" "$PM" "$MNT" s "$CONF" "$CTL" \
        "$LOG" "$SEED" "$ROUNDS" "$T/src" $HOW >"$T/crash.out" 2>&1 3>&- || status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 150 "$T/crash.out" >&2
        return 1
    fi
    tail -n 1 "$T/crash.out" | sed 's/^/# /' >&3
}
