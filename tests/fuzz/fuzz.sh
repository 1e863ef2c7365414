#!/bin/sh
# Runs libFuzzer programs: tests/fuzz/fuzz.sh SECONDS PROGRAM..., two at a time where there are
# processors. What they learn goes to corpus/NAME beside the programs, what they find to crash-*,
# timeout-* and the like there. FUZZ_FLAGS are more options of libFuzzer's. Prints a line a program; last
# comes one line "N passed, N failed".
set -u

seconds=$1
shift
here=$(dirname "$0")

run() { # PROGRAM
    name=${1##*/fuzz_}
    dir=$(dirname "$1")
    mkdir -p "$dir/corpus/$name"
    "$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=4096 \
        -print_final_stats=1 -verbosity=1 -dict="$here/words.dict" \
        -artifact_prefix="$dir/$name-" ${FUZZ_FLAGS-} "$dir/corpus/$name" "$here/corpus/$name" \
        >"$dir/$name.log" 2>&1
    status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$dir/$name.log")
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$dir/$name.log")
    cov=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\).*/\1 edges, \2 features/p' "$dir/$name.log" | tail -n 1)
    if [ $status -eq 0 ]; then
        echo "ok $name: $runs runs, $rate/s, $cov"
    else
        echo "--- $name: exit status $status, see $dir/$name.log"
        tail -n 40 "$dir/$name.log"
        : >"$dir/$name.failed"
    fi
}

for program in "$@"; do
    rm -f "$(dirname "$program")/${program##*/fuzz_}.failed"
done
first=
for program in "$@"; do
    run "$program" &
    if [ -n "$first" ] || [ "$(nproc)" -lt 2 ]; then
        wait
        first=
    else
        first=$!
    fi
done
wait
failed=0
for program in "$@"; do
    [ ! -e "$(dirname "$program")/${program##*/fuzz_}.failed" ] || failed=$((failed + 1))
done
echo "$(($# - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
