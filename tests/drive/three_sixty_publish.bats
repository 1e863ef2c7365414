# When a draft becomes a project of 360-for-you, and that it becomes one only.

load lib_drafts

# folder NAME [FILE]: a draft with a photograph
folder() {
    on mkdir "$S/$1"
    on cp "$T/src/photo 1.jpg" "$S/$1/${2:-photo.jpg}"
}

project_of() {
    emu_get 360/projects | jq -e "any(.[]; .title == \"$1\")" >/dev/null
}

waits() {
    wait_until 20 state_is "$S/$1" "waiting: $2"
}

# --- by itself

@test "a draft is not published by itself while something holds it, says what, and is when that is gone" {
    local fd
    photos 1 5000
    mount_360 account.publish="idle 2s"
    on rmdir "$D"
    on mkdir "$S/open" "$S/failed" "$S/refused" "$S/held"
    exec {fd}>"$S/open/second.jpg"
    on cp "$T/src/photo 1.jpg" "$S/failed/setup.exe"
    fails_with "Operation not permitted" mkdir "$S/refused/sub"
    write "$S/held/.hold" ""
    for name in open failed refused held; do
        on cp "$T/src/photo 1.jpg" "$S/$name/photo.jpg"
    done
    folder temporary photo.jpg.part
    folder "on its own"
    waits open "second.jpg is open"
    waits temporary "photo.jpg.part has a temporary name"
    waits failed "setup.exe failed: *extension_not_allowed*"
    waits refused "sub was refused"
    waits held ".hold is in it"
    wait_until 20 project_of "on its own"
    equal "projects" "$(projects)" 1
    exec {fd}>&-
    on rm "$S/open/second.jpg" "$S/failed/setup.exe" "$S/held/.hold"
    on mv "$S/temporary/photo.jpg.part" "$S/temporary/photo.jpg"
    for name in open failed held temporary; do
        wait_until 20 project_of "$name"
    done
    equal "projects" "$(projects)" 5
    waits refused "sub was refused"
    publish "$S/refused"
    equal "projects" "$(projects)" 6
}

now_ms() {
    date +%s%3N
}

some_project() {
    [ "$(projects)" -gt 0 ]
}

# None of them is a project before so many milliseconds after $since.
idle_since() {
    wait_until 30 some_project
    at_most "milliseconds of idleness" "$2" $(($(now_ms) - $1 + 20))
}

@test "any change in a draft starts the idle time again" {
    local names=(added written renamed removed) since
    photos 1 5000
    mount_360 account.publish="idle 5s"
    on rmdir "$D"
    for name in "${names[@]}"; do
        folder "$name"
        on cp "$T/src/photo 1.jpg" "$S/$name/b.jpg"
        write "$S/$name/.hold" ""
    done
    wait_until 20 all_sent 8
    since=$(now_ms)
    on rm "$S"/*/.hold
    sleep 1
    on cp "$T/src/photo 1.jpg" "$S/added/c.jpg"
    append "$S/written/b.jpg" more
    on mv "$S/renamed/b.jpg" "$S/renamed/c.jpg"
    on rm "$S/removed/b.jpg"
    idle_since "$since" 6000
    for name in "${names[@]}"; do
        wait_until 20 project_of "$name"
    done
    equal "projects" "$(projects)" 4
}

all_sent() {
    [ "$(emu_get 360/sessions | jq '[.[] | select(.state == "open").files[] | select(.complete)] | length')" = "$1" ]
}

@test "a remount starts the idle time again" {
    local since
    photos 1 5000
    mount_360 account.publish="idle 3s"
    fill
    write "$D/.hold" ""
    wait_until 20 all_sent 1
    on rm "$D/.hold"
    umount_drive
    since=$(now_ms)
    remount
    idle_since "$since" 3000
    wait_until 20 state_is "$D" synced
    one_project
}

@test "publish = manual never publishes by itself" {
    photos 1 5000
    mount_360 account.publish=manual
    fill
    complete
    equal "state" "$(xattr "$D" state)" "draft: complete, polymount publish makes it a project"
    equal "projects" "$(projects)" 0
}

# --- asked for

@test "publishing waits for what is not sent yet, and for the project" {
    photos 6 20000
    fault '{"endpoint":"put","delay_ms":300}'
    mount_360 upload.parallel=2
    fill
    publish
    one_project
    equal "state" "$(xattr "$D" state)" synced
}

@test "publish as an attribute does the same" {
    photos 2 20000
    mount_360
    fill
    on setfattr -n user.polymount.publish -v "" "$D"
    wait_until 20 state_is "$D" synced
    one_project
}

@test "what the account may not is said, and publishing goes on when it may" {
    photos 2 1000
    mount_360
    fill
    complete
    option 360.tariff '"no_project"'
    on setfattr -n user.polymount.publish -v "" "$D"
    wait_until 20 state_is "$D" "waiting: the account's tariff does not allow this (tariff)"
    emu_post options '{"360.tariff":"full","360.quota":1}'
    wait_until 20 state_is "$D" "waiting: the account's storage is full (storage_quota_exceeded)"
    option 360.quota 0
    publish
    one_project
}

# --- once

# lost FAULT: the answer to POST /projects is lost so
lost() {
    fault "{\"endpoint\":\"create\",\"count\":1,$1}"
}

@test "a lost answer to the making of a project makes no second one" {
    local n=0
    photos 1 1000
    mount_360
    on rmdir "$D"
    for what in '"reset":"after"' '"status":504,"processed":true' '"garbage":true' '"cut":3' '"body":"{}"' \
        '"body":""' '"status":500,"processed":true'; do
        n=$((n + 1))
        lost "$what"
        folder "Lost $n"
        publish "$S/Lost $n"
    done
    equal "projects" "$(projects)" 7
    equal "asked for" "$(requests create)" 7
}

@test "a crash while a project is made makes no second one" {
    photos 1 1000
    mount_360
    fill
    complete
    lost '"stall":0'
    on setfattr -n user.polymount.publish -v "" "$D"
    wait_until 10 is_asked
    crash_drive
    clear_faults
    remount
    wait_until 20 state_is "$D" synced
    one_project
    equal "asked for" "$(requests create)" 1
}

is_asked() {
    [ "$(projects)" = 1 ]
}

@test "a crash before the service saw that a project is to be made loses nothing" {
    photos 1 1000
    option 360.list '"array"'
    mount_360
    fill
    complete
    lost '"stall_in":0'
    on setfattr -n user.polymount.publish -v "" "$D"
    wait_until 10 was_requested create
    crash_drive
    clear_faults
    remount
    wait_until 40 state_is "$D" synced
    one_project
}

was_requested() {
    [ "$(requests "$1")" -gt 0 ]
}
