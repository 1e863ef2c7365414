load lib

# A random workload (crash.py) on a drive whose daemon is killed again and again: 15 times without faults of
# the service, and 15 times with them. PM_CRASH_ROUNDS and PM_CRASH_SEED say how often, and with which
# seed: what is done is the seed's, when the kill comes is not.
ROUNDS=${PM_CRASH_ROUNDS:-15}
SEED=${PM_CRASH_SEED:-1}

# crash_loop [faults]
crash_loop() {
    local status=0
    option convert_ms 50
    option copy_ms 50
    write_conf upload.delay=50ms upload.delete_delay=100ms upload.delete_guard=0
    echo "# seed $SEED, $ROUNDS rounds" >&3
    within $((120 + ROUNDS * 30)) python3 -B "$BATS_TEST_DIRNAME/crash.py" "$PM" "$MNT" s "$CONF" "$CTL" "$LOG" \
        "$SEED" "$ROUNDS" "$@" >"$T/crash.out" 2>&1 3>&- || status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 150 "$T/crash.out" >&2
        return 1
    fi
    tail -n 1 "$T/crash.out" | sed 's/^/# /' >&3
}

@test "crashes at random moments lose nothing that was closed, tear nothing, and bring nothing back" {
    crash_loop
}

@test "crashes with a service that breaks, refuses and stalls lose nothing, either" {
    crash_loop faults
}
