# Helpers of the tests that mount 360-for-you, the strict one: for three_sixty*.bats.
#
#   $D             the draft that mount_360 makes, "Building scan"
#   $T/src         what is to be in it

load lib

# mount_360 [SECTION.KEY=VALUE...]
mount_360() {
    mount_drive account.type=360 "account.endpoint=$URL_360" "account.token=$TOKEN_360" \
        account.publish=manual "$@"
    D="$S/Building scan"
    [ -d "$D" ] || on mkdir "$D"
}

# photos COUNT BYTES [DIR]: files of random bytes, "photo 1.jpg" …
photos() {
    local i dir=${3:-$T/src}
    for ((i = 1; i <= $1; i++)); do
        random "$dir/photo $i.jpg" "$2"
    done
}

# fill [SECONDS]: copies all of $T/src into the draft
fill() {
    within "${1:-20}" cp "$T/src"/* "$D/"
}

# state_is PATH PATTERN: its state begins so
state_is() {
    # shellcheck disable=SC2053 # a pattern
    [[ $(xattr "$1" state) == $2* ]]
}

# complete [SECONDS]: all files of the draft are in its session
complete() {
    wait_until "${1:-20}" state_is "$D" "draft: complete"
}

# publish [DIR [SECONDS]]
publish() {
    within "${2:-40}" "$PM" publish "${1:-$D}" >"$T/publish.out" 2>&1 || {
        cat "$T/publish.out" >&2
        return 1
    }
}

# What the service has as its projects, and its sessions in one of the states: open used deleted expired
projects() {
    emu_get 360/projects | jq "${1:-length}"
}

sessions() {
    emu_get 360/sessions | jq "[.[] | select(.state == \"$1\")] | length"
}

# The session that has the draft's files.
session_id() {
    emu_get 360/sessions | jq -r '[.[] | select(.state == "open" and (.files | length > 0))][-1].id'
}

# one_project [DIR]: the service has one project, and in it the files of the folder; names may differ
one_project() {
    local name
    equal "projects" "$(projects)" 1
    name=$(projects '.[0].name' | jq -r .)
    equal "files" "$(emu_get 360/digest "project=$name" | cut -d' ' -f1 | sort)" \
        "$(digest_of "${1:-$T/src}" | cut -d' ' -f1 | sort)"
}

# Bytes of content that came to the service, of calls whose path holds TEXT.
bytes_in() {
    emu_get log/summary "match=${1:-}" | jq -r '.bytes_in.put // 0'
}

# kill_360, so that it comes back as after a power cut
restart_emulator() {
    kill_emulator
    start_emulator
}
