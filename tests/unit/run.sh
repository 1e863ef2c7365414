#!/bin/sh
# Runs cmocka programs: tests/unit/run.sh PROGRAM... Shows the output of those that fail; last comes
# one line "N passed, N failed". A program that dies counts as one failed test.
set -u

passed=0
failed=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

# The sum of the numbers that the sed pattern finds.
count() { sed -n "$1" "$log" | awk '{ n += $1 } END { print n + 0 }'; }

for program in "$@"; do
    emulator=$(dirname "$program")/../polymount-emulator
    if [ -x "$emulator" ]; then
        PM_EMULATOR=$(realpath "$emulator")
        export PM_EMULATOR
    fi
    CMOCKA_MESSAGE_OUTPUT=STDOUT timeout "${PM_UNIT_TIMEOUT:-300}" "$program" >"$log" 2>&1
    status=$?
    good=$(count 's/^\[  PASSED  \] \([0-9]*\) test(s).*/\1/p')
    bad=$(count 's/^\[  FAILED  \] \([0-9]*\) test(s).*/\1/p')
    if [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1 # it crashed, a sanitizer complained, or time ran out
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    if [ "$bad" -gt 0 ]; then
        echo "--- $program: exit status $status"
        grep -v -E '^\[ RUN      \]|^\[       OK \]' "$log"
    else
        echo "ok $(basename "$program"): $good"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
