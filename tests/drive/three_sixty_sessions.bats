# Sessions of 360-for-you that end, lose something or are limited: what becomes of the draft.

load lib_drafts

# --- the end of a session

@test "a session that ended while it was used is replaced, and all is sent once more" {
    for status in 404 400; do
        rm -f "$T/src"/*
        photos 4 5000
        option 360.gone_status "$status"
        [ -n "$DRIVE_PID" ] || mount_360
        D="$S/ended $status"
        on mkdir "$D"
        on cp "$T/src/photo 1.jpg" "$T/src/photo 2.jpg" "$D/"
        complete
        emu_post 360/expire '{}'
        fill # two more, and two anew
        complete
        publish
        project_has "$D"
    done
    equal "sessions opened" "$(requests open)" 4
}

# project_has FOLDER: the project has what is in $T/src
project_has() {
    local slug
    slug=$(on getfattr --absolute-names --only-values -n user.polymount.id "$1")
    equal "files" "$(emu_get 360/digest "project=$slug" | cut -d' ' -f1 | sort)" \
        "$(digest_of "$T/src" | cut -d' ' -f1 | sort)"
}

@test "a session that ended while nothing happened is found out before the project is asked for" {
    photos 3 5000
    mount_360
    fill
    complete
    emu_post 360/expire '{}'
    publish
    one_project
    equal "asked for" "$(requests create)" 1
    equal "sessions opened" "$(requests open)" 2
}

@test "a session that ended while nobody had the drive mounted is replaced" {
    photos 3 5000
    mount_360
    fill
    complete
    umount_drive
    emu_post 360/expire '{}'
    remount
    complete
    publish
    one_project
}

@test "sessions that end before all is sent are not opened for ever: the user is told" {
    photos 2 1000
    mount_360
    fault '{"endpoint":"put","status":404,"body":"{\"error\":\"upload_session_not_found\"}"}'
    fill
    wait_until 30 some_failed
    at_most "sessions opened" "$(requests open)" 4
    clear_faults
    on "$PM" retry "$D"
    complete
    publish
    one_project
}

some_failed() {
    status_json | jq -e '.failed | length > 0' >/dev/null
}

# --- what the service lost

@test "what the service lost of a file is sent again before the project is made" {
    photos 3 50000
    truncate -s 20M "$T/src/scan.e57"
    mount_360
    fill
    complete
    emu_post 360/rewind "{\"session\":\"$(session_id)\",\"name\":\"photo_2.jpg\",\"received\":20000}"
    emu_post 360/rewind "{\"session\":\"$(session_id)\",\"name\":\"scan.e57\",\"received\":3000000}"
    forget_traffic
    publish
    one_project
    equal "bytes of the photograph" "$(bytes_in photo)" 30000
    equal "bytes of the scan" "$(bytes_in scan)" $(((20 << 20) - 3000000))
}

@test "what the service lost of a file on its way is sent again from there" {
    truncate -s 24M "$T/src/scan.e57"
    mount_360
    fault '{"endpoint":"put","match":"scan","skip":1,"count":1,"stall_in":0}'
    fill
    wait_until 20 has_received scan.e57 8388608
    emu_post 360/rewind "{\"session\":\"$(session_id)\",\"name\":\"scan.e57\",\"received\":1000}"
    emu_delete faults
    complete
    publish
    one_project
}

has_received() {
    emu_get 360/sessions | jq -e ".[] | .files[] | select(.name == \"$1\" and .received >= $2)" >/dev/null
}

@test "after a lost commit answer and a session that lost a file nothing is made of less" {
    photos 2 5000
    mount_360
    fill
    complete
    fault '{"endpoint":"create","count":1,"status":400,"body":"{\"error\":\"project_creation_failed\"}"}'
    publish
    one_project
}

@test "whatever happens to looks at sessions and files, a draft goes on after a remount" {
    photos 3 5000
    truncate -s 24M "$T/src/scan.e57"
    fault '{"endpoint":"put","match":"scan","skip":1,"stall_in":0}'
    mount_360
    fill
    wait_until 20 has_received scan.e57 8388608
    crash_drive
    clear_faults
    for what in '"garbage":true' '"body":"{}"'; do
        fault "{\"endpoint\":\"session\",\"count\":1,$what}"
    done
    fault '{"endpoint":"put","match":"scan","count":1,"reset":"after"}'
    fault '{"endpoint":"progress","count":1,"body":"{}"}'
    forget_traffic
    remount
    complete 60
    equal "photographs sent again" "$(requests put photo)" 0
    publish
    one_project
}

@test "whatever happens when a session is given up, it is given up" {
    photos 1 1000
    for what in '"status":500' '"reset":"after"' '"garbage":true' '"status":429,"retry_after":1' '"cut":2'; do
        fault "{\"endpoint\":\"discard\",\"count\":1,$what}"
    done
    mount_360
    fill
    complete
    on rm -r "$D"
    wait_until 60 none_open
}

none_open() {
    [ "$(sessions open)" = 0 ]
}

@test "whatever happens to looks at a project, its record comes" {
    photos 1 1000
    mount_360 cache.attr_timeout=100ms
    fill
    complete
    publish
    for what in '"status":500' '"garbage":true' '"body":"{}"' '"reset":"before"' '"status":404'; do
        fault "{\"endpoint\":\"project\",\"count\":1,$what}"
    done
    wait_until 40 record_is 100
    on diff -r "$T/src" "$D"
    [ -d "$D" ]
}

# --- rates

@test "a demanded pause is kept by every call, and told" {
    photos 3 5000
    fault '{"endpoint":"put","count":1,"status":429,"retry_after":6}'
    mount_360
    fill
    wait_until 10 says_why "rate_limited\|limit of .*chunks\|asked to wait until"
    complete
    publish
    one_project
}

says_why() {
    on "$PM" status "$MNT" | grep -q "$1"
}

@test "the limits are kept over crashes and remounts, and status tells what waits for which" {
    option 360.open_limit 30
    photos 1 1000
    mount_360
    on rmdir "$D"
    for round in 1 2 3; do
        for i in 1 2 3 4 5 6 7 8; do
            on mkdir "$S/$round.$i"
            on cp "$T/src/photo 1.jpg" "$S/$round.$i/"
        done
        wait_until 30 opened $((8 * round))
        if [ "$round" = 2 ]; then remount; else
            crash_drive
            remount
        fi
    done
    for i in 1 2 3 4 5 6 7 8; do
        on mkdir "$S/last.$i"
        on cp "$T/src/photo 1.jpg" "$S/last.$i/"
    done
    wait_until 30 says_why "limit of .*sessions opened in an hour"
    at_most "sessions opened" "$(requests open)" 30
}

opened() {
    [ "$(requests open)" -ge "$1" ]
}

# less FORM SHAPE: a hundredth of what is documented is allowed, and a 429 tells of it so
less() {
    emu_post options "{\"360.rate_breach\":false,\"360.rate_percent\":1,\"360.rate_minute_ms\":1500,
        \"360.rate_hour_ms\":3000,\"360.retry_after\":\"$1\",\"360.rate_shape\":\"$2\"}"
    D="$S/less $1"
    on mkdir "$D"
    fill
    complete 60
    publish "$D" 60
    project_has "$D"
}

@test "where the service allows less than it says, that costs time only" {
    photos 16 500
    mount_360
    on rmdir "$D"
    less seconds sliding
    less date fixed
}

# --- what an account may not

@test "a key that may not upload is told of, and the draft goes on when it may" {
    photos 2 1000
    option 360.scope '"read"'
    mount_360
    fill
    wait_until 20 says_why insufficient_scope
    emu_post options '{"360.scope":"both","360.email_verified":false}'
    wait_until 40 says_why email_not_verified
    option 360.email_verified true
    complete 60
    publish
    one_project
}

@test "more than a project may hold is told of the files that are too much, and the rest is published" {
    photos 2 1000
    random "$T/big.jpg" 50000
    option 360.session_max 20000
    mount_360
    fill
    complete
    on cp "$T/big.jpg" "$D/"
    wait_until 20 says_why "session_too_large\|no project over"
    on rm "$D/big.jpg"
    complete 40
    publish
    one_project
}

# --- projects that others made

@test "a project of the account is reached by its address, and asked for once" {
    local slug
    slug=$(curl -sS -m 30 -X POST -H 'Content-Type: application/json' --data-binary '{"title":"Old","size":5}' \
        "$CTL/360/seed" | jq -r .name)
    mount_360
    forget_traffic
    [ -d "$S/$slug" ]
    equal "title" "$(on jq -r .title "$S/$slug/.project.json")" Old
    fails_with "Read-only file system" touch "$S/$slug/new.jpg"
    [ ! -e "$S/nothing-like-it" ]
    [ ! -e "$S/nothing-like-it" ]
    equal "looks for the missing one" "$(requests project nothing)" 1
    [ ! -e "$S/not a slug.txt" ]
    equal "looks for what is no address" "$(requests project slug)" 0
}

@test "names that are not there are asked for at most ten times a minute" {
    mount_360
    forget_traffic
    for i in {1..40}; do
        [ ! -e "$S/name$i" ]
    done
    at_most "looks" "$(requests project)" 10
}

@test "a project that the service never finishes is published, and tells how far it is" {
    option 360.stuck_at 40
    photos 1 1000
    mount_360 cache.attr_timeout=100ms
    fill
    publish
    wait_until 10 record_is 40
    fails_with "Read-only file system" touch "$D/new.jpg"
}

record_is() {
    [ "$(on cat "$D/.project.json" | jq .status)" = "$1" ]
}

@test "where the service lists its projects they are in the folder, and no name is asked for" {
    option 360.list '"array"'
    emu_post 360/seed '{"name":"one","title":"First"}'
    emu_post 360/seed '{"name":"two","title":"Second"}'
    mount_360
    equal "names" "$(on ls "$S" | LC_ALL=C sort | tr '\n' ' ')" "Building scan one two "
    forget_traffic
    [ ! -e "$S/three" ]
    equal "looks" "$(requests project)" 0
}
