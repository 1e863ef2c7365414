#!/bin/sh
# Replays corpora: tests/fuzz/run.sh PROGRAM..., each fuzz_NAME with tests/fuzz/corpus/NAME. Last
# comes one line "N passed, N failed", counted in files. An empty corpus is a failure.
set -u

passed=0
failed=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

for program in "$@"; do
    name=$(basename "$program")
    set -- "$(dirname "$0")/corpus/${name#fuzz_}"/*
    "$program" "$@" >"$log" 2>&1
    status=$?
    good=$(sed -n '$s/^\([0-9]*\) passed, [0-9]* failed$/\1/p' "$log")
    bad=$(sed -n '$s/^[0-9]* passed, \([0-9]*\) failed$/\1/p' "$log")
    if [ $status -ne 0 ] && [ "${bad:-0}" -eq 0 ]; then
        bad=1
    fi
    passed=$((passed + ${good:-0}))
    failed=$((failed + ${bad:-0}))
    if [ "${bad:-0}" -gt 0 ]; then
        echo "--- $program: exit status $status"
        cat "$log"
    else
        echo "ok $name: ${good:-0}"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
