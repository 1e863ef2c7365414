# Helpers of the tests that drop files into ShareMy3D, the strict one: for sharemy3d_*.bats.
#
#   $S/uploads     where they are dropped
#   $T/src         what is to be in it

load lib

# mount_sm3d [SECTION.KEY=VALUE...]
mount_sm3d() {
    mount_drive account.type=sharemy3d "account.endpoint=$URL_SM3D" "account.token=$TOKEN_SM3D" "$@"
    U=$S/uploads
}

# drop FILE [NAME]: into uploads/
drop() {
    within 30 cp "$1" "$U/${2:-${1##*/}}"
}

# made [JQ-FILTER]: what the service has of models that were not seeded
made() {
    emu_get sm3d/items kind=model | jq -r "[.[] | select(.seeded | not)] | ${1:-length}"
}

# items FILTER: of everything, backgrounds too
backgrounds() {
    emu_get sm3d/items kind=background | jq -r "[.[] | select(.seeded | not)] | ${1:-length}"
}

# one_of FILE: exactly one model was made of it, whole and byte-equal
one_of() {
    local ids
    ids=$(made "[.[] | select(.filename == \"${2:-${1##*/}}\") | .id] | join(\" \")")
    [[ $ids && $ids != *" "* ]] || {
        echo "models of $1: $ids" >&2
        return 1
    }
    emu_get sm3d/content "id=$ids" | within 60 cmp - "$1"
}

# left_uploading: how many models, of ours or not, wait for their bytes
left_uploading() {
    emu_get sm3d/items kind=model | jq '[.[] | select(.status == "UPLOADING")] | length'
}

# changes: requests that change something
changes() {
    emu_get log | jq '[.[] | select(.method != "GET")] | length'
}

# seed_model JSON: ID is its id
seed_model() {
    ID=$(curl -sS --fail-with-body -m 30 -X POST -d "$1" "$CTL/sm3d/seed" | jq -r .id)
}

# field PATH NAME
field() {
    on getfattr --absolute-names --only-values -n "user.sharemy3d.$2" -- "$1" 2>/dev/null
}

state_is() {
    # shellcheck disable=SC2053 # a pattern
    [[ $(xattr "$1" state) == $2* ]]
}
