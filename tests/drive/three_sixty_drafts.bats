# A draft for 360-for-you while it changes: what becomes of what was sent already.

load lib_drafts

# no_session: all that were opened, but one that is used, are given up there
no_session() {
    [ "$(sessions open)" = 0 ]
}

half_sent() {
    wait_until 20 sent_names "$1"
}

# sent_names COUNT: the service has so many files of the draft whole
sent_names() {
    [ "$(emu_get 360/sessions | jq '[.[] | select(.state == "open").files[] | select(.complete)] | length')" -ge "$1" ]
}

# bats test_tags=quick
@test "overwriting, renaming and deleting in a half-uploaded draft ends in a project of exactly its content" {
    photos 8 30000
    mount_360
    fault '{"endpoint":"put","match":"photo_8","stall_in":1000}'
    fill
    half_sent 7
    random "$T/src/photo 1.jpg" 40000
    on cp "$T/src/photo 1.jpg" "$D/"
    on rm "$D/photo 2.jpg" "$T/src/photo 2.jpg"
    on mv "$D/photo 3.jpg" "$D/first.jpg"
    mv "$T/src/photo 3.jpg" "$T/src/first.jpg"
    clear_faults
    complete
    publish
    one_project
    on diff -r "$T/src" "$D"
    wait_until 10 no_session
    equal "discarded" "$(sessions deleted)" 1
}

@test "a file that is removed before anything of it was sent costs no new session" {
    photos 3 20000
    fault '{"endpoint":"put","count":1,"stall_in":0}'
    mount_360 upload.parallel=1
    fill
    wait_until 10 one_is_under_way
    on rm "$D/photo 3.jpg" "$T/src/photo 3.jpg"
    clear_faults
    complete
    publish
    one_project
    equal "sessions opened" "$(requests open)" 1
}

one_is_under_way() {
    [ "$(requests put photo_1)" = 1 ]
}

@test "rsync -a twice sends nothing the second time: in a draft, published, after a remount" {
    photos 5 30000
    mount_360
    on rsync -a "$T/src/" "$D/"
    complete
    forget_traffic
    equal "names before publishing" "$(on rsync -ai "$T/src/" "$D/" | grep -c photo)" 0
    remount
    complete
    equal "names after a remount" "$(on rsync -ai "$T/src/" "$D/" | grep -c photo)" 0
    publish
    equal "names after publishing" "$(on rsync -ai "$T/src/" "$D/" | grep -c photo)" 0
    remount
    equal "names at last" "$(on rsync -ai "$T/src/" "$D/" | grep -c photo)" 0
    equal "sent" "$(requests put)" 0
    equal "projects made" "$(requests create)" 1
    one_project
}

@test "a draft that is removed gives its session up on the service" {
    photos 4 10000
    mount_360
    fill
    complete
    on rm "$D"/*
    on rmdir "$D"
    wait_until 10 no_session
    equal "projects" "$(projects)" 0
    equal "left" "$(ls -A "$S")" ""
}

@test "giving a session up is tried again until the service has done it, over a crash" {
    photos 2 10000
    mount_360
    fill
    complete
    fault '{"endpoint":"discard","status":503}'
    on rm -r "$D"
    wait_until 10 requested discard
    crash_drive
    clear_faults
    remount
    wait_until 10 no_session
}

requested() {
    [ "$(requests "$1")" -ge "${2:-1}" ]
}

@test "a draft goes on where it was after a remount, and asks for the session's list once" {
    photos 6 30000
    truncate -s 24M "$T/src/scan.e57"
    mount_360
    fault '{"endpoint":"put","match":"photo_6","stall_in":0}'
    fault '{"endpoint":"put","match":"scan","skip":1,"stall_in":0}'
    fill
    half_sent 5
    umount_drive
    clear_faults
    forget_traffic
    remount
    complete
    equal "lists" "$(requests session)" 1
    equal "looks at a file" "$(requests progress)" 0
    equal "photographs sent" "$(requests put photo)" 1
    equal "bytes of the scan" "$(bytes_in scan)" $((16 << 20))
    equal "sessions opened" "$(requests open)" 0
    publish
    one_project
}

@test "a folder's name given anew becomes the project's title" {
    photos 2 1000
    mount_360
    fill
    complete
    on mv "$D" "$S/Another title"
    publish "$S/Another title"
    one_project
    equal "title" "$(projects '.[0].title')" '"Another title"'
    equal "sessions opened" "$(requests open)" 1
}

# bats test_tags=quick
@test "names are sent as the service keeps them, and shown as the user has them" {
    random "$T/src/Halle Süd.JPG" 1000
    random "$T/src/halle süd.jpg" 2000
    random "$T/src/Halle_S_d.jpg" 3000
    random "$T/src/..photo.jpg" 4000
    random "$T/src/日本.e57" 5000
    random "$T/src/$(printf 'x%.0s' {1..180}).ply" 6000
    random "$T/src/$(printf 'x%.0s' {1..190}).ply" 7000
    mount_360
    on rsync -a "$T/src/" "$D/"
    complete
    publish
    one_project
    on diff -r "$T/src" "$D"
    equal "names there" "$(projects '.[0].files | length')" 7
}

@test "a lone link file becomes a project of what it leads to" {
    mount_360
    write "$D/scan.url" $'[InternetShortcut]\r\nURL=https://example.org/scan.zip\r\n'
    complete
    publish
    equal "asked for" "$(projects '.[0].request.download_link')" '"https://example.org/scan.zip"'
    equal "title" "$(projects '.[0].title')" '"Building scan"'
    equal "sessions opened" "$(requests open)" 0
    equal "state" "$(xattr "$D/scan.url" state)" synced
}

@test "a link file that is not alone is a file like any other" {
    mount_360
    emu_post options '{"360.allowed":"url,jpg"}'
    write "$D/scan.url" $'[InternetShortcut]\r\nURL=https://example.org/scan.zip\r\n'
    complete
    write "$D/a.jpg" photo
    complete
    publish
    on cp "$D/scan.url" "$D/a.jpg" "$T/src/"
    one_project
}

@test ".project.json takes the options of the project and shows its record" {
    emu_post options '{"360.errors":"one photo is blurred","360.known_fields":"coordinate_system"}'
    photos 2 1000
    mount_360 cache.attr_timeout=200ms
    write "$D/.project.json" '{"title":"Dome","privacy_mode":0,"coordinate_system":"EPSG:25832"}'
    fill
    complete
    publish
    one_project
    equal "title" "$(projects '.[0].title')" '"Dome"'
    equal "asked for" "$(projects '.[0].request | [.privacy_mode, .coordinate_system]' | jq -c .)" '[0,"EPSG:25832"]'
    wait_until 10 record_has '.status == 100 and .errors == "one photo is blurred"'
}

record_has() {
    on cat "$D/.project.json" | jq -e "$1" >/dev/null
}
