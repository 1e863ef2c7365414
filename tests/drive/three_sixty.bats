# Folders that become projects of 360-for-you, with the strict service: every reading of its document,
# and every way in which it, or the line, fails.

load lib_drafts

# bats test_tags=quick
@test "a folder of photographs becomes one project with exactly these" {
    photos 12 20000
    mount_360
    fill
    complete
    publish
    one_project
    equal "requests that opened" "$(requests open)" 1
    equal "bytes sent" "$(bytes_in)" $((12 * 20000))
    equal "title" "$(projects '.[0].title')" '"Building scan"'
    on diff -r "$T/src" "$D"
}

@test "files go up side by side, as many as upload.parallel says" {
    photos 8 5000
    fault '{"endpoint":"put","delay_ms":400}'
    mount_360 upload.parallel=3
    fill
    complete
    equal "at once" "$(emu_get log | jq '[.[] | select(.endpoint == "put")] | [.[] as $x |
        [.[] | select(.t_ms <= $x.t_ms and .t_ms + .ms > $x.t_ms)] | length] | max')" 3
    in_session
}

# --- readings of the document

# What any draft may hold: photographs, a scan in pieces, an empty file, names that are not plain.
all_sorts() {
    photos 3 20000
    truncate -s 20M "$T/src/scan.e57"
    printf end >>"$T/src/scan.e57"
    random "$T/src/Süd  halle.JPG" 3000
    random "$T/src/süd_halle.jpg" 4000
    [ "${1:-}" = "no empty" ] || : >"$T/src/empty.txt"
}

# holds NAME DIR: the project has exactly the folder's contents
holds() {
    local slug
    slug=$(on getfattr --absolute-names --only-values -n user.polymount.id "$S/$1")
    equal "files of $1" "$(emu_get 360/digest "project=$slug" | cut -d' ' -f1 | sort)" \
        "$(digest_of "$2" | cut -d' ' -f1 | sort)"
}

# under NAME OPTIONS: a folder becomes a project under this reading
under() {
    echo "# under $2"
    D="$S/$1"
    emu_post options "$2"
    on mkdir "$D"
    fill
    complete
    publish "$D"
    holds "$1" "$T/src"
    on diff -r "$T/src" "$D"
}

@test "a folder becomes a project whatever the service keeps of a PUT, and makes of names" {
    all_sorts
    mount_360
    on rmdir "$D"
    under plain '{"360.torn":"drop"}'
    under short '{"360.short_every":3,"360.overlap":"truncate","360.flatten":"underscore","360.name_case":"exact"}'
    under shorter '{"360.short_every":2,"360.torn":"entry","360.flatten":"utf8"}'
}

@test "a folder becomes a project whatever becomes of sessions, slugs and lists of projects" {
    all_sorts
    mount_360
    on rmdir "$D"
    under gone '{"360.used_session":"gone","360.gone_status":400,"360.expires_s":3600}'
    under other '{"360.slug":"other","360.expiry_from":"last_put","360.list":"array"}'
    under taken '{"360.slug":"taken","360.list":"object","360.session_counts":"received"}'
    remount
    under last '{"360.list":"none","360.used_session":"kept"}'
}

@test "where the service takes no empty files this is said of the file" {
    all_sorts
    mount_360
    option 360.empty_files '"length_required"'
    fill
    wait_until 20 state_is "$D/empty.txt" "failed: "
    xattr "$D/empty.txt" error | grep -q empty
    fails_with "empty.txt failed" "$PM" publish "$D"
    on rm "$D/empty.txt" "$T/src/empty.txt"
    complete
    publish
    one_project
}

# --- faults

# in_session: the draft's session has exactly these files
in_session() {
    equal "files in the session" "$(emu_get 360/digest "session=$(session_id)" | cut -d' ' -f1 | sort)" \
        "$(digest_of "$T/src" | cut -d' ' -f1 | sort)"
}

# each FAULT...: each happens to the PUTs of a photograph of its own
each() {
    local i=0 what
    photos $# 3000
    for what; do
        i=$((i + 1))
        fault "{\"endpoint\":\"put\",\"match\":\"photo_$i.\",$what}"
    done
}

all_were_hit() {
    equal "faults that did not happen" "$(emu_get faults | jq -c '[.[] | select(.hits == 0)]')" "[]"
}

@test "a file goes up though its PUTs are refused for a while, or their answers are not to be had" {
    each '"status":500,"count":2' '"status":503,"retry_after":1,"count":1' '"status":408,"count":1' \
        '"status":429,"retry_after":1,"count":1' '"status":502,"processed":true,"count":1' \
        '"cut":5,"count":1' '"garbage":true,"count":1' '"body":"","count":1' '"body":"{}","count":2' \
        '"wrong_length":5,"count":1' '"wrong_length":-5,"count":1' '"status":500,"early":true,"count":1' \
        '"status":409,"count":1' '"status":504,"body":"<html>","count":1'
    mount_360
    fill
    complete 40
    all_were_hit
    in_session
    publish
    one_project
}

@test "a file goes up though the line breaks, and goes on where the service says" {
    each '"reset":"before","count":1' '"reset":"after","count":2' '"delay_ms":300,"count":1' \
        '"reset":"during","reset_at":1000,"count":2' '"stall":0,"count":1' '"stall_in":1000,"count":1' \
        '"status":409,"body":"{\"error\":\"non_contiguous_chunk\",\"received\":0}","count":1'
    fault '{"endpoint":"put","match":"scan","skip":1,"count":1,"status":409,
        "body":"{\"error\":\"non_contiguous_chunk\",\"received\":5}"}'
    fault '{"endpoint":"put","match":"scan","skip":2,"count":1,"reset":"during","reset_at":1000000}'
    truncate -s 20M "$T/src/scan.e57"
    mount_360 upload.parallel=8
    fill
    wait_until 20 stalled_alone
    emu_delete faults # which ends what stalls
    complete 40
    in_session
    publish
    one_project
}

# All is sent but what stalls.
stalled_alone() {
    [ "$(emu_get 360/sessions | jq '[.[].files[] | select(.complete)] | length')" -ge 7 ]
}

# whatever ENDPOINT FAULT...: each happens before a draft goes up
whatever() {
    local endpoint=$1 what
    shift
    for what; do
        fault "{\"endpoint\":\"$endpoint\",\"count\":1,$what}"
    done
}

@test "a draft goes up whatever happens when its session is opened" {
    photos 2 1000
    whatever open '"status":429,"retry_after":1' '"reset":"after"' '"garbage":true' '"body":"{}"'
    mount_360 upload.parallel=1
    fill
    complete 60
    all_were_hit
    equal "sessions opened" "$(requests open)" 5
    in_session
}
