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
projects=$mnt/360
models=$mnt/sharemy3d
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

# Prints a command and runs it; counts it, and a failure.
step() {
    local shown="${*//$scratch/.}"
    printf '$ %s\n' "${shown//$polymount/polymount}"
    steps=$((steps + 1))
    "$@" && return 0
    printf '  FAILED (exit status %d)\n' "$?"
    bad=$((bad + 1))
    return 1
}

# The same of a claim, of which a function of this script is the proof.
check() {
    local claim=$1
    shift
    printf -- '- %s\n' "$claim"
    steps=$((steps + 1))
    "$@" && return 0
    printf '  FAILED\n'
    bad=$((bad + 1))
    return 1
}

sha() { sha256sum <"$1" | cut -d' ' -f1; }

# The emulator's own view of a file of SmartShape.
service_says() { curl -fsS --get --data-urlencode "path=$1" "$control/file"; }

# $1 here, $2 there, by their SHA-256.
is_equal() {
    printf '  here:    %s\n  service: %s\n' "$1" "$2"
    [ "$1" = "$2" ]
}

service_holds() {
    local answer
    answer=$(service_says "$2") && is_equal "$(sha "$1")" "$(jq -r .sha256 <<<"$answer")"
}

service_lacks() { ! service_says "$1" >/dev/null 2>&1; }

# Of 360-for-you: the newest project, what it was asked to be, and what was sent for it.
newest_project() { curl -fsS "$control/360/projects" | jq -c '.[-1]'; }

project_holds() {
    local name digest
    name=$(newest_project | jq -r .name) || return 1
    digest=$(curl -fsS "$control/360/digest?project=$name") || return 1
    is_equal "$(cd "$1" && sha256sum -- *.ply | sha256sum | cut -d' ' -f1)" \
        "$(sha256sum <<<"$digest" | cut -d' ' -f1)"
}

project_is_titled() { [ "$(newest_project | jq -r .title)" = "$1" ]; }

# Of ShareMy3D: a model as another machine made it, and what the service has of a model by its id.
seed_model() {
    curl -fsS -d '{"filename":"hall.ply","name":"Town hall","size":2000000}' "$control/sm3d/seed" | jq -r .id
}

model_is() { is_equal "$(sha "$1")" "$(curl -fsS "$control/sm3d/content?id=$2" | sha256sum | cut -d' ' -f1)"; }

model_is_gone() { ! curl -fsS "$control/sm3d/items?kind=model" | jq -e --arg id "$1" 'any(.[]; .id==$id)' >/dev/null; }

model_of() { curl -fsS "$control/sm3d/items?kind=model" | jq -r --arg f "$1" '.[]|select(.filename==$f).id'; }

is_unchangeable() { ! dd if=/dev/null of="$1" conv=notrunc status=none 2>/dev/null && says "$1" polymount.error; }

says() { getfattr --absolute-names --only-values -n "user.$2" "$1" && echo; }

refuses_and_says() { ! touch "$1/new.ply" 2>/dev/null && says "$1" polymount.error; }

is_read_only() { ! touch "$1/another.ply" 2>/dev/null; }

is_dropped() { [ -f "$1" ] && ! cat "$1" >/dev/null 2>&1; }

sends_nothing() {
    local out
    out=$("$@") || return 1
    # A name ending in / is a folder whose time is looked at; files must not appear.
    ! grep -qE '^[<>c]f' <<<"$out"
}

for tool in curl getfattr jq rsync; do
    command -v $tool >/dev/null || {
        echo "demo: $tool is missing: make deps demo" >&2
        exit 1
    }
done
mkdir -p "$HOME" "$scratch/work"

say "Mount a drive, with a simulated SmartShape, 360-for-you and ShareMy3D behind it"
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
check "the service holds these bytes" service_holds "$scratch/work/bracket.stl" /bracket.stl

say "Read a sample out"
sample=$(find "$cloud" -path "$cloud/[Ss]ample*" -type f | sort | head -n 1)
if [ -n "$sample" ] && step cp "$sample" "$scratch/work/sample"; then
    check "what was read is what the service holds" service_holds "$scratch/work/sample" "${sample#"$cloud"}"
else
    echo "  FAILED: no sample"
    bad=$((bad + 1))
fi

say "rsync a folder; the second run sends nothing"
mkdir -p "$scratch/work/parts/small"
for i in 1 2 3; do head -c $((i * 100000)) /dev/urandom >"$scratch/work/parts/small/part-$i.stl"; done
step rsync -a --itemize-changes "$scratch/work/parts/" "$cloud/parts/"
step "$polymount" sync "$mnt"
check "the service holds a file of it" \
    service_holds "$scratch/work/parts/small/part-3.stl" /parts/small/part-3.stl
check "rsync again sends no file" \
    sends_nothing rsync -a --itemize-changes "$scratch/work/parts/" "$cloud/parts/"

say "Remove a file"
step rm "$cloud/bracket.stl"
step "$polymount" sync "$mnt"
check "the service no longer has it" service_lacks /bracket.stl

say "On 360-for-you a folder becomes a project: copy one in, say what it shall be, publish it"
mkdir "$scratch/work/House"
for i in 1 2; do head -c $((i * 1000000)) /dev/urandom >"$scratch/work/House/floor-$i.ply"; done
step cp -r "$scratch/work/House" "$projects/"
echo '{"title": "Our house"}' >"$scratch/work/project.json"
step cp "$scratch/work/project.json" "$projects/House/.project.json"
step "$polymount" status "$mnt"
step "$polymount" publish "$projects/House"
check "the service has a project of these bytes" project_holds "$scratch/work/House"
check "it has the title" project_is_titled "Our house"
check "a project cannot be changed: its folder is read-only" is_read_only "$projects/House"

say "360-for-you gives no file back: what was sent stays here, readable, until you drop it"
step cmp "$projects/House/floor-2.ply" "$scratch/work/House/floor-2.ply"
step "$polymount" evict --last-copy "$projects/House/floor-2.ply"
step ls -l "$projects/House"
check "it is listed, and cannot be read any more" is_dropped "$projects/House/floor-2.ply"

say "On ShareMy3D a model is a folder: find one by its name, read it, see what the service says of it"
model=$(seed_model)
step ls "$models"
step ls -l "$models/by-name" "$models/by-name/Town hall/"
step cp "$models/by-name/Town hall/hall.ply" "$scratch/work/hall.ply"
check "what was read is what the service holds" model_is "$scratch/work/hall.ply" "$model"
step says "$models/models/$model" sharemy3d.status
check "nothing is made beside the models, and the folder says where instead" refuses_and_says "$models/models"
step rm -r "$models/models/$model"
step "$polymount" sync "$mnt"
check "the service has the model no more" model_is_gone "$model"

say "A file that is put into uploads/ becomes a model; rsync sends it once"
step rsync -a --itemize-changes "$scratch/work/House/" "$models/uploads/"
step "$polymount" sync "$mnt"
step ls -l "$models/uploads" "$models/by-name"
model=$(model_of floor-2.ply)
check "the service holds these bytes" model_is "$scratch/work/House/floor-2.ply" "$model"
check "rsync again sends no file" \
    sends_nothing rsync -a --itemize-changes "$scratch/work/House/" "$models/uploads/"
check "what was sent cannot be changed, and says so" is_unchangeable "$models/uploads/floor-2.ply"
step rm "$models/uploads/floor-2.ply"
step "$polymount" sync "$mnt"
check "the service has the model no more" model_is_gone "$model"

say "How it stands"
step "$polymount" status "$mnt"

say "Unmount"
step "$polymount" umount "$mnt"

printf '\n%d steps, %d failed\n' "$steps" "$bad"
[ "$bad" -eq 0 ]
