#!/usr/bin/env bash
# How fast is polymount, against what people would pick instead, on the same simulated line? See
# README.md beside this file.
#   bench.sh [-p "LINE ..."] [-w "ROW ..."] [-t "TOOL ..."] [-r REPS] [-o FILE.csv]
#   bench.sh table FILE.csv...      the medians as a Markdown table
set -u
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd "$HERE/../.." && pwd)
RIG=${RIG:-$TOP/../shared/rig}
PM_BUILD=${PM_BUILD:-$TOP/build}

stop() {
    echo "bench: $*" >&2
    exit 2
}

usage() {
    sed -n '2,5s/^# *//p' "$0" >&2
    exit 2
}

show_table() {
    awk -v titles="$HERE/rows.txt" -f "$HERE/table.awk" "$@"
    printf '\n%s; Linux %s, %s processors; %s; %s; %s.\n' "$(date +%F)" "$(uname -r)" "$(nproc)" \
        "$("$PM_BUILD/polymount" --version | head -n 1)" "$(curl --version | cut -d' ' -f1,2 | head -n 1)" \
        "load average $(awk -F, '$3 == "load1" { print $6 }' "$@" | sort -g | sed -n '1p;$p' | paste -sd -)"
}

if [ "${1:-}" = table ]; then
    shift
    [ $# -gt 0 ] || usage
    show_table "$@"
    exit
fi

PROFILES='wan home' WORKLOADS='' PEERS='' REPS=5 OUT=''
while getopts p:w:t:r:o: option; do
    case $option in
    p) PROFILES=$OPTARG ;;
    w) WORKLOADS=$OPTARG ;;
    t) PEERS=$OPTARG ;;
    r) REPS=$OPTARG ;;
    o) OUT=$(realpath -m "$OPTARG") ;;
    *) usage ;;
    esac
done
: "${WORKLOADS:=$(sed -n 's/^\([a-z0-9]*\) .*/\1/p' "$HERE/rows.txt" | paste -sd ' ')}"
: "${PEERS:=$(sed -n 's/^# *tools: //p' "$HERE/rows.txt")}"

if [ -z "$OUT" ]; then # a file that is named is added to
    OUT=$PM_BUILD/bench.csv
    rm -f "$OUT"
fi

[ -e "$RIG/lib.sh" ] || stop "there is no rig in $RIG: name the folder with lib.sh and wanproxy.c in RIG"
[ "$(id -u)" = 0 ] || stop "the rig mounts and needs root"
[ -x "$PM_BUILD/polymount" ] || stop "there is no polymount in $PM_BUILD: make all"
for program in cc curl jq; do
    command -v $program >/dev/null || stop "$program is missing: make deps deps-bench"
done
command -v nginx >/dev/null || nginx() { :; } # the origin of the rig's own tools; ours have another

. "$RIG/lib.sh"
. "$HERE/service.bash"
export LC_ALL=C.UTF-8
RIG_HOME=$RIG PROFILE=${PROFILES%% *}
rig_up || stop "the rig does not come up"
trap rig_down EXIT
trap 'exit 130' INT TERM
make_service_data || stop "the data cannot be made"

# The rig looks for a tool below RIG_HOME: ours go before its own.
RIG_HOME=$T/home
mkdir -p "$RIG_HOME/peers"
ln -s "$RIG"/peers/*.sh "$RIG_HOME/peers/"
ln -sf "$HERE"/peers/*.sh "$RIG_HOME/peers/"

for PROFILE in $PROFILES; do
    CUR_ORIGIN=none                # the link is made anew
    for rep in $(seq "$REPS"); do # tools take turns, so that what else the machine does hits all
        for row in $WORKLOADS; do
            for peer in $PEERS; do
                run_one "$peer" "$row" "$rep"
            done
        done
    done
done
show_table "$OUT"
