# Folders that become projects, as programs meet them. The service is the one in memory: what it made is
# told by the drive; test_draft.c looks at what came there.

load lib

setup() {
    new_place
}

mount_drafts() {
    mount_drive account.type=memory-draft account.endpoint= account.token= account.publish=manual "$@"
    on mkdir "$S/Building scan"
    D="$S/Building scan"
}

state_is() {
    [[ $(xattr "$1" state) == "$2"* ]]
}

publish() {
    within 30 "$PM" publish "$1" >"$T/publish.out" 2>&1 || {
        cat "$T/publish.out" >&2
        return 1
    }
}

some_scans() {
    for i in 1 2 3 4 5; do
        random "$T/src/photo $i.jpg" $((i * 20000))
    done
}

# bats test_tags=quick
@test "rsync -a twice sends nothing the second time, before and after publishing" {
    some_scans
    mount_drafts
    on rsync -a "$T/src/" "$D/"
    equal "before publishing" "$(on rsync -ai "$T/src/" "$D/" | grep -c photo)" 0
    publish "$D"
    equal "after publishing" "$(on rsync -ai "$T/src/" "$D/" | grep -c photo)" 0
    on diff -r "$T/src" "$D"
    equal "state" "$(xattr "$D/photo 1.jpg" state)" synced
}

@test "a published folder is read-only for every program, and stays over a remount" {
    some_scans
    mount_drafts
    on cp "$T/src"/* "$D/"
    publish "$D"
    remount # the service in memory forgot the project; the drive did not
    fails_with "Read-only file system" touch "$D/new"
    fails_with "Read-only file system" rm "$D/photo 1.jpg"
    fails_with "Read-only file system" mv "$D/photo 1.jpg" "$D/other.jpg"
    fails_with "Read-only file system" dd if=/dev/zero of="$D/photo 1.jpg" count=1 status=none
    fails_with "Operation not permitted" rmdir "$D"
    fails_with "Operation not permitted" mv "$D" "$S/Other"
    on diff -r "$T/src" "$D"
}

@test "only folders are made in the root, and none in them" {
    mount_drafts
    fails_with "Operation not permitted" touch "$S/file"
    fails_with "Operation not permitted" mkdir "$D/sub"
    fails_with "Operation not permitted" ln -s a "$D/link"
    fails_with "Operation not permitted" touch "$D/setup.exe"
    on rmdir "$D"
    equal "left" "$(ls -A "$S")" ""
}

@test "files of a draft are saved, renamed and removed as on a local disk, sent or not" {
    some_scans
    mount_drafts
    on cp "$T/src"/* "$D/"
    wait_until 20 state_is "$D" "draft: complete"
    on mv "$D/photo 1.jpg" "$D/first.jpg"
    on rm "$D/photo 2.jpg"
    write "$D/photo 3.jpg" changed
    write "$T/src/new" replaced
    on cp "$T/src/new" "$D/.photo 4.jpg.Ab12Cd"
    on mv "$D/.photo 4.jpg.Ab12Cd" "$D/photo 4.jpg"
    on mv "$D" "$S/Title"
    D=$S/Title
    wait_until 20 state_is "$D" "draft: complete"
    publish "$D"
    equal "names" "$(cd "$D" && printf '%s|' *)" "first.jpg|photo 3.jpg|photo 4.jpg|photo 5.jpg|"
    on cmp "$T/src/photo 1.jpg" "$D/first.jpg"
    equal "content" "$(on cat "$D/photo 3.jpg" "$D/photo 4.jpg")" changedreplaced
}

@test "a draft goes on after a crash of the drive" {
    some_scans
    mount_drafts
    on cp "$T/src"/* "$D/"
    crash_drive
    remount
    wait_until 20 state_is "$D" "draft: complete"
    publish "$D"
    on diff -r "$T/src" "$D"
}

@test ".project.json answers by name: options before publishing, the record after" {
    some_scans
    mount_drafts
    on cp "$T/src"/* "$D/"
    write "$D/.project.json" '{"privacy_mode": 1}'
    equal "names" "$(ls -A "$D" | grep -c project)" 0
    equal "options" "$(on jq .privacy_mode "$D/.project.json")" 1
    fails_with "Invalid argument" dd if=/dev/zero of="$D/.project.json" bs=3 count=1 conv=fsync status=none
    write "$D/.project.json" '{"privacy_mode": 1}'
    publish "$D"
    wait_until 10 record_is 100
    fails_with "Read-only file system" dd if=/dev/zero of="$D/.project.json" count=1 status=none
    equal "names" "$(ls -A "$D" | grep -c project)" 0
}

record_is() {
    [ "$(on jq .percent "$D/.project.json")" = "$1" ]
}

@test "publishing by hand says why it does not, status says what a draft waits for" {
    mount_drafts
    fails_with "there is nothing in it" "$PM" publish "$D"
    fails_with "it is no draft" "$PM" publish "$S"
    write "$D/a" 1
    write "$D/.hold" ""
    fails_with ".hold is in it" "$PM" publish "$D"
    on "$PM" status "$MNT" | grep -q "Building scan.*\.hold is in it"
    on rm "$D/.hold"
    on setfattr -n user.polymount.publish -v "" "$D"
    wait_until 20 state_is "$D" synced
    fails_with "published already" "$PM" publish "$D"
}

@test "a published folder is forgotten after its last copies were dropped, and stays so" {
    some_scans
    mount_drafts
    on cp "$T/src"/* "$D/"
    publish "$D"
    fails_with "evict --last-copy" "$PM" forget "$D"
    on "$PM" evict --last-copy "$D"
    on "$PM" forget "$D"
    equal "names" "$(ls -A "$S")" ""
    remount
    equal "names after a remount" "$(ls -A "$S")" ""
}
