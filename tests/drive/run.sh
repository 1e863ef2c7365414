#!/bin/sh
# Runs the tests of the mounted drive: tests/drive/run.sh [--quick] [--jobs N] [BATS-OPTION...]
# [FILE.bats...]; without files all in this folder. --quick: those tagged quick. N files run at a time,
# or of a single one N tests (GNU parallel does it; without it one by one), but for tests tagged alone:
# they measure, or leave nothing of the machine to others, and come last. Up to three tests of which no
# more than a wait ran out while others ran beside them (again.awk) are then run once more, alone.
# PM_BUILD names the folder with polymount and polymount-emulator. Shows bats' TAP; last comes one line
# "N passed, N failed", with ", N skipped" if any were, and ", N only when run again alone: NAME; NAME".
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
    order='matrix.bats moves.bats crash.bats crash_360.bats crash_sm3d.bats leaks.bats offline.bats verify.bats'
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
trap 'rm -f "$log" "$log".*' EXIT
{
    { bats --tap --jobs "$jobs" ${within:+"$within"} --filter-tags "$quick!alone" "$@" 2>&1 || : >"$log.bad"; } |
        tee "$log.beside"
    bats --tap --filter-tags "${quick}alone" "$@" 2>&1 || : >"$log.bad"
} | tee "$log"

skipped=$(grep -c -E '^ok [0-9]+ .*# skip' "$log")
passed=$(($(grep -c -E '^ok [0-9]+' "$log") - skipped))
failed=$(grep -c -E '^not ok [0-9]+' "$log")
if [ $((passed + skipped + failed)) -eq 0 ] || { [ -e "$log.bad" ] && [ "$failed" -eq 0 ]; }; then
    failed=1 # bats itself failed, or found no test: nothing may look as if it had passed
fi

# Runs the test of that name, and no other, successfully: passes_alone NAME BATS-ARGUMENT...
passes_alone() {
    echo "# once more, alone: $1"
    filter=$(printf %s "$1" | sed 's/[][\.*^$+?(){}|]/\\&/g')
    shift
    bats --tap --filter-tags "$quick!alone" -f "^$filter\$" "$@" >"$log.once" 2>&1 </dev/null
    cat "$log.once"
    [ "$(grep -c -E '^(not )?ok ' "$log.once")" -eq 1 ] && grep '^ok 1 ' "$log.once" | grep -q -v '# skip'
}

: >"$log.again"
if [ "$jobs" -gt 1 ] && [ "$failed" -le 3 ]; then
    awk -f "$here/again.awk" "$log.beside" >"$log.again"
fi
again=0 names=
while IFS= read -r name; do
    if passes_alone "$name" "$@"; then
        passed=$((passed + 1)) failed=$((failed - 1)) again=$((again + 1)) names="$names${names:+; }$name"
    fi
done <"$log.again"

said="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || said="$said, $skipped skipped"
[ "$again" -eq 0 ] || said="$said, $again only when run again alone: $names"
echo "$said"
[ "$failed" -eq 0 ]
