#!/usr/bin/env bash
# Everything, longer: tests/soak.sh [PART...], or all of them, in order. No part keeps another from running;
# the last lines are the totals of all. Some hours; PM_UNIT_ROUNDS, PM_INJECT_ROUNDS, PM_CRASH_ROUNDS and
# FUZZ_SECONDS make it shorter, PM_CRASH_SEED repeats crashes.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/parts.bash

jobs=-j$(nproc)
inject=PM_INJECT_ROUNDS=${PM_INJECT_ROUNDS:-100000} # until no call is left to fail
crash_rounds=${PM_CRASH_ROUNDS:-1000}
crash_runs=4
seed=${PM_CRASH_SEED:-$(date +%s)}
unit_rounds=PM_UNIT_ROUNDS=${PM_UNIT_ROUNDS:-4000}
unset PM_INJECT_ROUNDS PM_UNIT_ROUNDS PM_CRASH_ROUNDS PM_CRASH_SEED # other parts run as they always do

units() {
    part "unit, long" "$jobs" check-unit "$inject" "$unit_rounds" PM_UNIT_TIMEOUT=7200
}

drive() {
    part "drive" "$jobs" check-drive
}

# The rounds without faults of the service, and as many with them, in runs of a seed each: a run mostly
# waits for its kills. Then a quarter as many of drafts, and of what is dropped into uploads/.
crashes() {
    local i how
    for ((i = 0; i < crash_runs; i++)); do
        part "crashes, seed $((seed + i))" check-drive FILES=tests/drive/crash.bats JOBS=2 \
            PM_CRASH_SEED=$((seed + i)) PM_CRASH_ROUNDS=$((crash_rounds / crash_runs)) >"$PARTS/crashes.$i" 2>&1 &
    done
    wait
    part "drops" check-drive FILES=tests/drive/crash_sm3d.bats PM_CRASH_SEED="$seed" \
        PM_CRASH_ROUNDS=$((crash_rounds / 4)) >"$PARTS/crashes.drops" 2>&1 &
    for how in "" "faults" "faults long"; do
        part "drafts: ${how:-no faults}" check-drive FILES=tests/drive/crash_360.bats PM_CRASH_HOW="$how" \
            PM_CRASH_SEED="$seed" PM_CRASH_ROUNDS=$((crash_rounds / 4)) >"$PARTS/crashes.$how" 2>&1 &
    done
    wait
    cat "$PARTS"/crashes.*
}

# 500 photographs and 3 GiB, and more files than 360-for-you takes in a minute.
whole_drafts() {
    part "drafts, whole size" check-drive FILES=tests/drive/three_sixty_many.bats PM_FULL=1
}

disk_faults() {
    part "disk faults" check-drive FILES=tests/drive/inject.bats "$inject"
}

sanitized() {
    for variant in "address,undefined" "thread"; do
        part "$variant: unit" "$jobs" SANITIZE="$variant" check-unit
        part "$variant: drive" "$jobs" SANITIZE="$variant" check-drive
    done
}

fuzz() {
    part "fuzz" "$jobs" fuzz FUZZ_SECONDS="${FUZZ_SECONDS:-120}"
}

[ $# -gt 0 ] || set -- units drive crashes whole_drafts disk_faults sanitized fuzz
make "$jobs" tests
for name; do "$name"; done
totals
