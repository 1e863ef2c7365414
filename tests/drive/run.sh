#!/bin/sh
# Runs the tests of the mounted drive: tests/drive/run.sh [BATS-OPTION...] [FILE.bats...]; without
# files all in this folder. PM_BUILD names the folder with polymount and polymount-emulator.
# Shows bats' TAP; last comes one line "N passed, N failed", with ", N skipped" if any were.
set -u

here=$(cd "$(dirname "$0")" && pwd) || exit 1
PM_BUILD=${PM_BUILD:-$here/../../build}
PM_BUILD=$(cd "$PM_BUILD" 2>/dev/null && pwd) || {
    echo "drive: no build in PM_BUILD: make all" >&2
    exit 1
}
export PM_BUILD

files=no
for arg in "$@"; do
    case $arg in
    *.bats) files=yes ;;
    esac
done
[ $files = yes ] || set -- "$@" "$here"/*.bats

log=$(mktemp) || exit 1
trap 'rm -f "$log" "$log.status"' EXIT
{
    bats --tap "$@" 2>&1
    echo $? >"$log.status"
} | tee "$log"
status=$(cat "$log.status")

skipped=$(grep -c -E '^ok [0-9]+ .*# skip' "$log")
passed=$(($(grep -c -E '^ok [0-9]+' "$log") - skipped))
failed=$(grep -c -E '^not ok [0-9]+' "$log")
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    failed=1 # bats itself failed: nothing may look as if it had passed
fi
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ]
