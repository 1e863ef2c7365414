#!/bin/sh
# Runs cmocka programs: tests/unit/run.sh PROGRAM..., JOBS of them at a time (default 1). Shows the output
# of those that fail; last comes one line "N passed, N failed". A program that dies counts as one failed
# test.
set -u

passed=0
failed=0
logs=$(mktemp -d) || exit 1
trap 'rm -rf "$logs"' EXIT
export logs

# The sum of the numbers that the sed pattern finds.
count() { sed -n "$1" "$log" | awk '{ n += $1 } END { print n + 0 }'; }

# shellcheck disable=SC2016 # each program's shell is to see them
printf '%s\n' "$@" | xargs -P "${JOBS:-1}" -I PROGRAM sh -c '
    log=$logs/$(basename "$1")
    emulator=$(dirname "$1")/../polymount-emulator
    if [ -x "$emulator" ]; then
        PM_EMULATOR=$(realpath "$emulator")
        export PM_EMULATOR
    fi
    CMOCKA_MESSAGE_OUTPUT=STDOUT timeout "${PM_UNIT_TIMEOUT:-300}" "$1" >"$log" 2>&1
    echo $? >"$log.status"' run PROGRAM

for program in "$@"; do
    log=$logs/$(basename "$program")
    status=$(cat "$log.status")
    good=$(count 's/^\[  PASSED  \] \([0-9]*\) test(s).*/\1/p')
    bad=$(count 's/^\[  FAILED  \] \([0-9]*\) test(s).*/\1/p')
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
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
