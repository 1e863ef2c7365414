#!/usr/bin/env bash
# Shows the drive at work, for a person to read: mounts the bundled emulator with `polymount demo`
# in a scratch folder, uses it with everyday programs, proves what the service holds, cleans up.
# `make demo` runs it. Exit status: 0 if every step did what it should.
set -u

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
polymount=${PM_BUILD:-$root/build}/polymount
scratch=$(mktemp -d "${TMPDIR:-/tmp}/polymount-demo-XXXXXX") || exit 1
export HOME=$scratch/home XDG_STATE_HOME=$scratch/state XDG_CONFIG_HOME=$scratch/config
mnt=$scratch/drive
cloud=$mnt/smartshape
steps=0
bad=0

clean_up() {
    trap - EXIT INT TERM
    if grep -qs " $mnt fuse" /proc/self/mounts; then
        "$polymount" umount "$mnt" >/dev/null 2>&1 || fusermount3 -u -z "$mnt" 2>/dev/null ||
            umount -l "$mnt" 2>/dev/null
    fi
    # Never into a mount that would not go: that would remove what the service has.
    grep -qs " $mnt " /proc/self/mounts || rm -rf --one-file-system "$scratch"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# Prints a command and runs it; counts a failure.
step() {
    local shown="${*//$scratch/.}"
    printf '$ %s\n' "${shown//$polymount/polymount}"
    steps=$((steps + 1))
    "$@" && return 0
    printf '  FAILED (exit status %d)\n' "$?"
    bad=$((bad + 1))
    return 1
}

sha() { sha256sum <"$1" | cut -d' ' -f1; }

# The emulator's own view of a file of the service.
service_says() { curl -fsS --get --data-urlencode "path=$1" "$control/file"; }

service_holds() {
    local answer
    answer=$(service_says "$2") || return 1
    printf '  the service: %s\n' "$answer"
    [ "$(jq -r .sha256 <<<"$answer")" = "$(sha "$1")" ] &&
        [ "$(jq -r .size <<<"$answer")" = "$(stat -c %s "$1")" ] && echo "  same size, same SHA-256"
}

service_lacks() {
    if service_says "$1" >/dev/null 2>&1; then
        return 1
    fi
    echo "  the service no longer has $1"
}

reads_equal() {
    local answer
    answer=$(service_says "$2") || return 1
    printf '  read here:   %s\n  the service: %s\n' "$(sha "$1")" "$(jq -r .sha256 <<<"$answer")"
    [ "$(sha "$1")" = "$(jq -r .sha256 <<<"$answer")" ]
}

sends_nothing() {
    local out
    out=$("$@") || return 1
    printf '%s\n' "$out"
    # A name ending in / is a folder whose time is looked at; files must not appear.
    ! grep -qE '^[<>c]f' <<<"$out"
}

for tool in curl jq rsync; do
    command -v $tool >/dev/null || {
        echo "demo: $tool is missing: make deps" >&2
        exit 1
    }
done
mkdir -p "$HOME" "$scratch/work"

say "Mount a drive, with a simulated SmartShape behind it"
step "$polymount" demo "$mnt" >"$scratch/said" || {
    cat "$scratch/said"
    exit 1
}
cat "$scratch/said"
control=$(sed -n "s/.*own view: \(http[^)]*\)).*/\1/p" "$scratch/said")
control=${control%/}
[ -n "$control" ] || {
    echo "demo: the emulator's control interface is not known" >&2
    exit 1
}

say "What is there"
step ls -l "$mnt"
step ls -lR "$cloud"

say "Copy a file in, and wait until the service has it"
head -c 3000000 /dev/urandom >"$scratch/work/bracket.stl"
step cp "$scratch/work/bracket.stl" "$cloud/bracket.stl"
step "$polymount" sync "$mnt"
step service_holds "$scratch/work/bracket.stl" /bracket.stl

say "Read a sample out"
sample=$(find "$cloud" -path "$cloud/[Ss]ample*" -type f | sort | head -n 1)
if [ -n "$sample" ] && step cp "$sample" "$scratch/work/sample"; then
    step reads_equal "$scratch/work/sample" "${sample#"$cloud"}"
else
    echo "  FAILED: no sample"
    bad=$((bad + 1))
fi

say "rsync a folder; the second run sends nothing"
mkdir -p "$scratch/work/parts/small"
for i in 1 2 3; do head -c $((i * 100000)) /dev/urandom >"$scratch/work/parts/small/part-$i.stl"; done
step rsync -a --itemize-changes "$scratch/work/parts/" "$cloud/parts/"
step "$polymount" sync "$mnt"
step service_holds "$scratch/work/parts/small/part-3.stl" /parts/small/part-3.stl
step sends_nothing rsync -a --itemize-changes "$scratch/work/parts/" "$cloud/parts/"

say "Remove a file"
step rm "$cloud/bracket.stl"
step "$polymount" sync "$mnt"
step service_lacks /bracket.stl

say "How it stands"
step "$polymount" status "$mnt"

say "Unmount"
step "$polymount" umount "$mnt"

printf '\n%d steps, %d failed\n' "$steps" "$bad"
[ "$bad" -eq 0 ]
