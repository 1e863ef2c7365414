# ShareMy3D on the drive: files dropped into uploads/ become models. The service is the strict emulator
# with its storage host.

load lib_uploads

# bats test_tags=quick
@test "a file dropped into uploads/ becomes a model, and is found there again, also after a remount and without the index" {
    random "$T/src/Book ö.ply" 300000
    mount_sm3d
    equal "empty" "$(on ls "$U" | wc -l)" 0
    drop "$T/src/Book ö.ply"
    on touch -d 2020-02-03 "$U/Book ö.ply"
    sync_drive
    one_of "$T/src/Book ö.ply"
    equal "model" "$(made '.[0] | "\(.name) \(.resumable) \(.downloadable)"')" "Book ö false false"
    equal "state" "$(xattr "$U/Book ö.ply" state)" synced
    equal "time" "$(mtime "$U/Book ö.ply")" "$(date -d 2020-02-03 +%s).000000000"
    local id posts
    id=$(made '.[0].id')
    posts=$(requests model_new)
    equal "id" "$(field "$U/Book ö.ply" modelId)" "$id"
    equal "file of the model" "$(on ls "$S/models/$id" | tr '\n' ' ')" "Book ö.ply info.json "
    remount
    equal "after a remount" "$(on ls "$U")" "Book ö.ply"
    equal "time, still" "$(mtime "$U/Book ö.ply")" "$(date -d 2020-02-03 +%s).000000000"
    on cmp "$U/Book ö.ply" "$T/src/Book ö.ply"
    umount_drive
    rm "$STATE"/index.db*
    remount
    equal "without the index" "$(on ls "$U")" "Book ö.ply"
    on cmp "$U/Book ö.ply" "$T/src/Book ö.ply"
    equal "models begun" "$(requests model_new)" "$posts"
}

# empty_folder DIR
empty_folder() {
    equal "entries" "$(on ls "$1" | wc -l)" 0 2>/dev/null
}

@test "what was sent is in uploads/ though no list has it yet, also after a crash, until it is removed elsewhere" {
    random "$T/src/a.ply" 100000
    option sm3d.list_lag_ms 60000
    mount_sm3d cache.attr_timeout=100ms
    drop "$T/src/a.ply"
    sync_drive
    crash_drive
    remount
    for _ in 1 2 3; do
        equal "listed" "$(on ls "$U")" a.ply
        sleep 0.2
    done
    on cmp "$U/a.ply" "$T/src/a.ply"
    emu_post sm3d/remove "{\"id\":\"$(made '.[0].id')\"}"
    wait_until 10 empty_folder "$U"
}

@test "what is larger than 8 MiB goes as a resumable upload, in one PUT on a good line" {
    random "$T/src/scan.ply" 30000001
    mount_sm3d
    drop "$T/src/scan.ply"
    sync_drive 60
    one_of "$T/src/scan.ply"
    equal "resumable" "$(made '.[0].resumable')" true
    equal "PUTs" "$(requests session_put)" 1
    equal "left" "$(left_uploading)" 0
}

@test "rsync -a into uploads/ twice sends nothing the second time, also after a remount; --delete removes only what this drive made" {
    local i
    for i in 1 2 3 4 5; do random "$T/src/part $i.ply" $((i * 10000)); done
    seed_model '{"size":100,"filename":"others.ply","name":"Others"}'
    mount_sm3d
    within 60 rsync -a "$T/src"/*.ply "$U/"
    sync_drive
    equal "models" "$(made)" 5
    for i in 1 2 3 4 5; do one_of "$T/src/part $i.ply"; done
    forget_traffic
    within 60 rsync -a "$T/src"/*.ply "$U/"
    sync_drive
    equal "changes" "$(changes)" 0
    remount
    within 60 rsync -a "$T/src"/*.ply "$U/"
    sync_drive
    equal "changes after a remount" "$(changes)" 0
    rm "$T/src/part 2.ply" "$T/src/part 4.ply"
    within 60 rsync -a --delete "$T/src/" "$U/"
    sync_drive
    equal "models" "$(made '[.[].filename] | sort | join(",")')" "part 1.ply,part 3.ply,part 5.ply"
    equal "others" "$(emu_get sm3d/items kind=model | jq '[.[] | select(.seeded)] | length')" 1
    equal "shown" "$(on ls "$U" | wc -l)" 3
}

# order METHOD...: of the changes to models at the service
order() {
    emu_get log | jq -r '[.[] | select(.endpoint == "model_new" or .endpoint == "model_delete") | .endpoint] | join(" ")'
}

@test "another file over one that was sent is another model, and the old one goes only after that" {
    random "$T/src/a.ply" 20000
    random "$T/src/b.ply" 30000
    mount_sm3d
    drop "$T/src/a.ply"
    sync_drive
    local first second
    first=$(made '.[0].id')
    cp "$T/src/b.ply" "$T/src/a.ply"
    forget_traffic
    within 30 rsync -a "$T/src/a.ply" "$U/"
    sync_drive
    equal "models" "$(made)" 1
    one_of "$T/src/a.ply"
    second=$(made '.[0].id')
    [ "$first" != "$second" ]
    equal "order" "$(order)" "model_new model_delete"
    equal "shown" "$(on ls "$U")" a.ply
    on cmp "$U/a.ply" "$T/src/b.ply"
    random "$T/src/a.ply" 40000
    forget_traffic
    on rm "$U/a.ply"
    drop "$T/src/a.ply"
    sync_drive
    one_of "$T/src/a.ply"
    equal "order after unlink and create" "$(order)" "model_new model_delete"
    equal "left" "$(made)" 1
    remount
    on cmp "$U/a.ply" "$T/src/a.ply"
}

@test "while what is replaced cannot be deleted yet, the folder shows one file, the new one" {
    random "$T/src/a.ply" 20000
    random "$T/src/b.ply" 30000
    mount_sm3d cache.attr_timeout=100ms
    drop "$T/src/a.ply"
    sync_drive
    fault '{"endpoint":"model_delete","status":500}'
    drop "$T/src/b.ply" .a.ply.Xy12zZ
    on mv "$U/.a.ply.Xy12zZ" "$U/a.ply"
    wait_until 20 asked_for_deletion
    local lists
    lists=$(requests models)
    wait_until 20 listed_since "$lists"
    equal "shown" "$(on ls -A "$U")" a.ply
    on cmp "$U/a.ply" "$T/src/b.ply"
    equal "whole models" "$(made)" 2
    clear_faults
    sync_drive
    one_of "$T/src/b.ply" a.ply
    equal "shown" "$(on ls -A "$U")" a.ply
}

asked_for_deletion() {
    [ "$(requests model_delete)" -gt 0 ]
}

# listed_since N: uploads/ was listed twice since there were N lists
listed_since() {
    on ls "$U" >/dev/null
    [ "$(requests models)" -ge $(($1 + 2)) ]
}

@test "who reads a model reads it to its end, though its file in uploads/ is replaced, or another renamed over it" {
    local i id
    random "$T/src/new.ply" 20000
    mount_sm3d cache.attr_timeout=100ms
    for i in 1 2; do
        random "$T/src/a$i.ply" 20000000
        drop "$T/src/a$i.ply"
    done
    drop "$T/src/new.ply" b.ply
    sync_drive 60
    umount_drive
    rm "$STATE"/index.db* # so that nothing of them is here
    remount
    on ls "$U" >"$T/shown"
    for i in 1 2; do
        id=$(made ".[] | select(.filename == \"a$i.ply\").id")
        [ $i = 1 ] && exec 7<"$S/models/$id/a$i.ply" || exec 8<"$S/models/$id/a$i.ply"
    done
    head -c 1000 <&7 >"$T/got1"
    head -c 1000 <&8 >"$T/got2"
    drop "$T/src/new.ply" .a1.ply.Xy12zZ
    on mv "$U/.a1.ply.Xy12zZ" "$U/a1.ply"
    on mv "$U/b.ply" "$U/a2.ply"
    sync_drive 60
    equal "models" "$(made)" 2
    within 20 cat <&7 >>"$T/got1"
    within 20 cat <&8 >>"$T/got2"
    exec 7<&- 8<&-
    cmp "$T/got1" "$T/src/a1.ply"
    cmp "$T/got2" "$T/src/a2.ply"
}

@test "a replacement that the service refuses leaves the old model" {
    random "$T/src/a.ply" 20000
    mount_sm3d
    drop "$T/src/a.ply"
    sync_drive
    fault '{"endpoint":"model_new","status":400}'
    random "$T/src/b.ply" 30000
    on cp "$T/src/b.ply" "$U/.a.ply.Xy12zZ"
    on mv "$U/.a.ply.Xy12zZ" "$U/a.ply"
    wait_until 20 state_is "$U/a.ply" failed
    one_of "$T/src/a.ply"
    equal "deleted" "$(requests model_delete)" 0
}

@test "a removal from uploads/ deletes the model, and can be taken back until then" {
    random "$T/src/a.ply" 20000
    mount_sm3d
    drop "$T/src/a.ply"
    sync_drive
    on rm "$U/a.ply"
    on "$PM" undelete "$U/a.ply"
    sync_drive
    equal "taken back" "$(made)" 1
    on rm "$U/a.ply"
    sync_drive
    equal "models" "$(made)" 0
    equal "shown" "$(on ls "$U" | wc -l)" 0
    remount
    equal "shown after a remount" "$(on ls "$U" | wc -l)" 0
}

@test "a removal that the service refuses, though the model is there, is reported, and the file is back" {
    random "$T/src/a.ply" 20000
    mount_sm3d
    drop "$T/src/a.ply"
    sync_drive
    fault '{"endpoint":"model_delete","status":400}'
    on rm "$U/a.ply"
    sync_drive || true
    equal "shown" "$(on ls "$U")" a.ply
    [[ $(xattr "$U/a.ply" error) == *"ordered by a fault"* ]]
    clear_faults
    on rm "$U/a.ply"
    sync_drive
    equal "models" "$(made)" 0
}

@test "a sent file cannot be written to, and says so; what is not sent yet can" {
    random "$T/src/a.ply" 20000
    mount_sm3d upload.delay=3s
    drop "$T/src/a.ply"
    append "$U/a.ply" more
    echo more | tr -d '\n' >>"$T/src/a.ply"
    sync_drive
    one_of "$T/src/a.ply"
    fails_with "Operation not permitted" dd if=/dev/zero of="$U/a.ply" bs=1 count=1 conv=notrunc
    fails_with "Operation not permitted" truncate -s 5 "$U/a.ply"
    [[ $(xattr "$U/a.ply" error) == *"put another file over it"* ]]
    on cmp "$U/a.ply" "$T/src/a.ply"
    equal "models" "$(made)" 1
}

@test "a sent file that is renamed within uploads/ is the same model; to elsewhere it is EXDEV" {
    random "$T/src/a.ply" 20000
    random "$T/src/b.ply" 30000
    mount_sm3d
    drop "$T/src/a.ply"
    drop "$T/src/b.ply"
    sync_drive
    local id
    id=$(made '.[] | select(.filename == "a.ply").id')
    forget_traffic
    on mv "$U/a.ply" "$U/c.ply"
    sync_drive
    equal "changes" "$(changes)" 0
    equal "id" "$(field "$U/c.ply" modelId)" "$id"
    remount
    equal "shown" "$(on ls "$U" | tr '\n' ' ')" "b.ply c.ply "
    on cmp "$U/c.ply" "$T/src/a.ply"
    on mv "$U/c.ply" "$U/b.ply" # over another one that was sent
    sync_drive
    equal "models" "$(made '[.[].id] | join(" ")')" "$id"
    equal "shown" "$(on ls "$U")" b.ply
    on cmp "$U/b.ply" "$T/src/a.ply"
    local to
    for to in "$S/x" "$S/models/x" "$S/uploads-backgrounds/x.ply"; do
        run -1 on python3 -c 'import os, sys; os.rename(*sys.argv[1:])' "$U/b.ply" "$to"
        [[ $output == *"Invalid cross-device link"* ]]
    done
    equal "still" "$(on ls "$U")" b.ply
}

@test "an empty file is not sent by itself, but what it becomes" {
    mount_sm3d
    on touch "$U/a.ply"
    sync_drive
    equal "begun" "$(requests model_new)" 0
    equal "state" "$(xattr "$U/a.ply" state)" local
    write "$U/a.ply" "solid"
    sync_drive
    equal "models" "$(made '.[0].size')" 5
    equal "state" "$(xattr "$U/a.ply" state)" synced
}

@test "names are fitted to what the service takes; a file name that is too long fails and says so" {
    local long
    long=$(printf 'ä%.0s' {1..40})
    random "$T/src/x.ply" 1000
    mount_sm3d
    drop "$T/src/x.ply"
    drop "$T/src/x.ply" "$long.ply"
    sync_drive
    equal "names" "$(made '[.[].name] | sort | join("|")')" "x model|$(printf 'ä%.0s' {1..25})"
    drop "$T/src/x.ply" "$long$long.ply"
    wait_until 20 state_is "$U/$long$long.ply" failed
    [[ $(xattr "$U/$long$long.ply" error) == *"at most 100"* ]]
    equal "begun" "$(requests model_new)" 2
}

# png FILE WIDTH HEIGHT: as much of one as tells its size, and some more
png() {
    printf '\x89PNG\r\n\x1a\n\0\0\0\rIHDR' >"$1"
    printf "$(printf '\\x%02x' 0 0 $(($2 / 256)) $(($2 % 256)) 0 0 $(($3 / 256)) $(($3 % 256)))" >>"$1"
    random "$1.rest" 20000
    cat "$1.rest" >>"$1"
    rm "$1.rest"
}

@test "a picture dropped into uploads-backgrounds/ is a background, a panorama if it is twice as wide as high, and stays readable" {
    png "$T/src/land.png" 4096 2048
    png "$T/src/wall.png" 1600 1200
    mount_sm3d
    local B=$S/uploads-backgrounds i
    on cp "$T/src/land.png" "$T/src/wall.png" "$B/"
    sync_drive
    equal "types" "$(backgrounds '[.[] | "\(.filename) \(.type)"] | sort | join(",")')" \
        "land.png PANORAMA,wall.png IMAGE"
    equal "state" "$(xattr "$B/land.png" state)" synced
    remount
    equal "shown" "$(on ls "$B" | tr '\n' ' ')" "land.png wall.png "
    forget_traffic
    within 30 rsync -a "$T/src/" "$B/"
    sync_drive
    for i in land wall; do on cmp "$B/$i.png" "$T/src/$i.png"; done
    equal "folder" "$(on ls "$S/backgrounds/$(backgrounds '.[0].id')")" info.json
    on rm "$B/wall.png"
    sync_drive
    equal "left" "$(backgrounds '[.[].filename] | join(",")')" land.png
}

@test "the account says whether what is dropped may be downloaded, and its password, which the disk forgets" {
    local secret=Dragon$RANDOM$RANDOM
    random "$T/src/a.ply" 20000
    mount_sm3d account.downloadable=yes "account.password_command=echo $secret"
    drop "$T/src/a.ply"
    sync_drive
    equal "model" "$(made '.[0] | "\(.downloadable) \(.password)"')" "true $secret"
    equal "has one" "$(field "$U/a.ply" hasPassword)" true
    umount_drive
    run -1 grep -r -l -a -F "$secret" "$STATE" "$LOG"
}

@test "a service that repeats the password in its refusal does not bring it into errors, status and log" {
    local secret=Dragon$RANDOM$RANDOM
    random "$T/src/a.ply" 20000
    mount_sm3d "account.password_command=echo $secret"
    fault "{\"endpoint\":\"model_new\",\"status\":400,\"body\":\"{\\\"message\\\":\\\"$secret is too weak\\\"}\"}"
    drop "$T/src/a.ply"
    wait_until 20 state_is "$U/a.ply" failed
    [[ $(xattr "$U/a.ply" error) == *"refuses it"* ]]
    [[ $(on "$PM" status "$MNT") != *"$secret"* ]]
    umount_drive
    run -1 grep -r -l -a -F "$secret" "$STATE" "$LOG"
}

@test "a password that is too long is refused, never cut" {
    random "$T/src/a.ply" 20000
    mount_sm3d "account.password_command=printf %0101d 7"
    drop "$T/src/a.ply"
    wait_until 20 state_is "$U/a.ply" failed
    [[ $(xattr "$U/a.ply" error) == *"password is longer"* ]]
    equal "begun" "$(requests model_new)" 0
}
