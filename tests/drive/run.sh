#!/bin/sh
# Runs the tests of the mounted drive: tests/drive/run.sh [--quick] [--jobs N] [BATS-OPTION...]
# [FILE.bats...]; without files all in this folder. --quick: those tagged quick. N files run at a time,
# or of a single one N tests (GNU parallel does it; without it one by one), but for tests tagged alone:
# they measure, or leave nothing of the machine to others, and come last. PM_BUILD names the folder with
# polymount and polymount-emulator. Shows bats' TAP; last comes one line "N passed, N failed", with
# ", N skipped" if any were.
set -u

here=$(cd "$(dirname "$0")" && pwd) || exit 1
PM_BUILD=${PM_BUILD:-$here/../../build}
PM_BUILD=$(cd "$PM_BUILD" 2>/dev/null && pwd) || {
    echo "drive: no build in PM_BUILD: make all" >&2
    exit 1
}
export PM_BUILD

# LeakSanitizer looks at a stopped process: where no process may stop another (containers), leaks
# cannot be looked for, and every program would fail.
if "$PM_BUILD/polymount" --version 2>&1 | grep 'LeakSanitizer has encountered a fatal error'; then
    echo "# leaks are not looked for"
    export PM_FIND_LEAKS=0
fi

quick='' jobs=1
while :; do
    case ${1:-} in
    --quick) quick=quick, ;;
    --jobs) jobs=$2 && shift ;;
    *) break ;;
    esac
    shift
done
if ! parallel --version 2>/dev/null | grep -q GNU; then
    jobs=1
fi

# Within a file bats looks only once a second whether it may start another test: of many files, each is
# run in its order. Those that take long for their size come first, then the largest.
files=0
for arg in "$@"; do
    case $arg in
    *.bats) files=$((files + 1)) ;;
    esac
done
if [ $files -eq 0 ]; then
    cd "$here" || exit 1
    order='matrix.bats moves.bats crash.bats crash_360.bats leaks.bats offline.bats verify.bats'
    # shellcheck disable=SC2045 # our own names have no spaces
    for file in $(ls -S -- *.bats); do
        case " $order " in
        *" $file "*) ;;
        *) order="$order $file" ;;
        esac
    done
    # shellcheck disable=SC2086 # as above
    set -- "$@" $order
fi
within=--no-parallelize-within-files
if [ $files -eq 1 ] || [ "$jobs" -eq 1 ]; then
    within='' # bats wants two jobs for that
fi

log=$(mktemp) || exit 1
trap 'rm -f "$log" "$log.bad"' EXIT
{
    bats --tap --jobs "$jobs" ${within:+"$within"} --filter-tags "$quick!alone" "$@" 2>&1 || : >"$log.bad"
    bats --tap --filter-tags "${quick}alone" "$@" 2>&1 || : >"$log.bad"
} | tee "$log"

skipped=$(grep -c -E '^ok [0-9]+ .*# skip' "$log")
passed=$(($(grep -c -E '^ok [0-9]+' "$log") - skipped))
failed=$(grep -c -E '^not ok [0-9]+' "$log")
if [ $((passed + skipped + failed)) -eq 0 ] || { [ -e "$log.bad" ] && [ "$failed" -eq 0 ]; }; then
    failed=1 # bats itself failed, or found no test: nothing may look as if it had passed
fi
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ]
