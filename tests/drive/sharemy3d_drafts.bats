# Folders made in ShareMy3D's uploads/: drafts of a model with its particulars. Nothing of one is sent before it
# is committed; then it is one model. The service is the strict emulator with its storage host.

load lib

# mount_sm3d [SECTION.KEY=VALUE...]: U is uploads/
mount_sm3d() {
    mount_drive account.type=sharemy3d "account.endpoint=$URL_SM3D" "account.token=$TOKEN_SM3D" \
        account.publish=manual "$@"
    U=$S/uploads
}

state_is() {
    # shellcheck disable=SC2053 # a pattern
    [[ $(xattr "$1" state) == $2* ]]
}

publish() {
    within 40 "$PM" publish "$1" >"$T/publish.out" 2>&1 || {
        cat "$T/publish.out" >&2
        return 1
    }
}

# items [JQ]: what the service has
items() {
    emu_get "sm3d/items?kind=${KIND:-model}" | jq -r "${1:-length}"
}

# one_model FILE: it is all that the service has, whole
one_model() {
    wait_until 20 active 1
    equal "models" "$(items)" 1
    emu_get sm3d/content "id=$(items '.[0].id')" | within 60 cmp - "$1"
}

active() {
    [ "$(items 'map(select(.status == "ACTIVE")) | length')" = "$1" ]
}

alone() {
    [ "$(items)" = 1 ]
}

# posts: of models that were begun
posts() {
    requests model_new
}

no_breach() {
    equal "breaches" "$(emu_get breaches)" "[]"
}

# bats test_tags=quick
@test "a folder with a model and its particulars becomes that model after a quiet time, and nothing is sent before" {
    random "$T/src/Book.ply" 300000
    mount_sm3d "account.publish=idle 5s"
    on mkdir "$U/Red book"
    on cp "$T/src/Book.ply" "$U/Red book/"
    write "$U/Red book/info.json" '{"name":"The red book","description":"A book","downloadable":true}'
    state_is "$U/Red book" "draft: is sent in "
    equal "POSTs before" "$(posts)" 0
    wait_until 30 state_is "$U/Red book" synced
    one_model "$T/src/Book.ply"
    equal "particulars" "$(items '.[0] | "\(.name)|\(.description)|\(.filename)|\(.downloadable)"')" \
        "The red book|A book|Book.ply|true"
    equal "listed" "$(on ls "$U/Red book" | tr '\n' ' ')" "Book.ply info.json "
    equal "document" "$(on jq -r .name "$U/Red book/info.json")" "The red book"
    equal "link" "$(on readlink "$S/models/$(items '.[0].id')")" "../uploads/Red book"
    equal "by the link" "$(on jq -r .modelId "$S/models/$(items '.[0].id')/info.json")" "$(items '.[0].id')"
    equal "POSTs" "$(posts)" 1
    no_breach
}

@test "publish, sync and the attribute commit a draft at once; without a name the model has the folder's" {
    random "$T/src/a.ply" 1000
    mount_sm3d
    for how in publish sync attribute; do
        on mkdir "$U/by $how"
        on cp "$T/src/a.ply" "$U/by $how/"
    done
    publish "$U/by publish"
    equal "models" "$(items)" 1
    on setfattr -n user.polymount.publish -v "" "$U/by attribute"
    wait_until 30 state_is "$U/by attribute" synced
    equal "models" "$(items)" 2
    sync_drive
    state_is "$U/by sync" synced
    equal "names" "$(items 'map(.name) | sort | join("|")')" "by attribute|by publish|by sync"
    equal "listed" "$(on ls "$U" | tr '\n' '|')" "by attribute|by publish|by sync|"
    remount
    equal "after a remount" "$(on ls "$U" "$U/by sync" | tr '\n' '|')" \
        "$(printf '%s|' "$U:" "by attribute" "by publish" "by sync" "" "$U/by sync:" a.ply info.json)"
    no_breach
}

@test "what holds a draft is told, and nothing of it is sent: two models, broken particulars, a password too long, .hold" {
    random "$T/src/a.ply" 1000
    mount_sm3d "account.publish=idle 1s"
    on mkdir "$U/two" "$U/broken" "$U/long" "$U/held" "$U/empty" "$U/nothing"
    for d in two broken long nothing held; do write "$U/$d/.hold" ""; done
    for d in two broken long held; do on cp "$T/src/a.ply" "$U/$d/"; done
    on cp "$T/src/a.ply" "$U/two/b.ply"
    on touch "$U/nothing/a.ply"
    fails_with "Invalid argument" dd of="$U/broken/info.json" if=<(printf '{"name": ') status=none
    fails_with "Invalid argument" dd of="$U/long/info.json" \
        if=<(printf '{"password":"%101d"}' 7) status=none
    for d in two broken long nothing; do on rm "$U/$d/.hold"; done
    wait_until 20 state_is "$U/two" "failed: there are two files to be sent in it, a.ply and b.ply"
    wait_until 20 state_is "$U/broken" "failed: info.json: line 1"
    wait_until 20 state_is "$U/long" "failed: info.json: the password is longer than 100 bytes"
    wait_until 20 state_is "$U/nothing" "failed: a.ply is empty"
    state_is "$U/held" "waiting: .hold is in it"
    state_is "$U/empty" "draft: empty"
    on "$PM" status "$MNT" >"$T/status"
    grep -q "two.*failed: there are two files" "$T/status"
    grep -q "held.*waiting: .hold is in it" "$T/status"
    fails_with "Operation not permitted" mkdir "$U/held/textures"
    equal "POSTs" "$(posts)" 0
    on rm "$U/two/b.ply"
    write "$U/broken/info.json" '{"name":"mended"}'
    write "$U/long/info.json" "$(printf '{"password":"%100d"}' 7)"
    wait_until 30 active 3
    equal "passwords" "$(items 'map(.password // "" | length) | sort | join(" ")')" "0 0 100"
    on rm -r "$U/held" "$U/empty" "$U/nothing"
    equal "POSTs" "$(posts)" 3
    no_breach
}

@test "a password is sent, is in no attribute, and is gone from the disk when the service has it" {
    random "$T/src/a.ply" 1000
    mount_sm3d
    on mkdir "$U/secret"
    write "$U/secret/info.json" '{"name":"secret","password":"Tr0ub4dor&3"}'
    on cp "$T/src/a.ply" "$U/secret/"
    publish "$U/secret"
    equal "password" "$(items '.[0].password')" "Tr0ub4dor&3"
    ! grep -r -q -F "Tr0ub4dor" "$STATE"
    ! grep -q -F "Tr0ub4dor" "$LOG"
    on getfattr --absolute-names -d "$U/secret" "$U/secret/info.json" "$U/secret/a.ply" >"$T/attributes"
    equal "attribute" "$(on getfattr --absolute-names --only-values -n user.sharemy3d.hasPassword "$U/secret")" true
    fails_with "" getfattr --absolute-names -n user.sharemy3d.password "$U/secret"
    ! grep -q -F "Tr0ub4dor" "$T/attributes" "$U/secret/info.json" "$MNT/.polymount/status.json"
    umount_drive
    ! grep -r -q -F "Tr0ub4dor" "$STATE"
}

@test "what programs leave beside the model is not sent: cp -r, file managers, temporary names, litter" {
    random "$T/src/a.ply" 200000
    echo '{"name":"copied"}' >"$T/src/info.json"
    mount_sm3d
    on cp -r "$T/src" "$U/copied"
    on mkdir "$U/dragged"
    write "$U/dragged/.DS_Store" litter
    on cp "$T/src/a.ply" "$U/dragged/.goutputstream-AB12CD"
    on cp "$T/src/a.ply" "$U/dragged/b.ply.part"
    on mv "$U/dragged/.goutputstream-AB12CD" "$U/dragged/a.ply"
    publish "$U/copied"
    publish "$U/dragged"
    wait_until 20 active 2
    equal "sent" "$(items 'map("\(.name) \(.filename)") | sort | join("|")')" "copied a.ply|dragged a.ply"
    equal "listed" "$(on ls -A "$U/dragged" | tr '\n' ' ')" ".DS_Store a.ply b.ply.part info.json "
    sync_drive
    equal "POSTs" "$(posts)" 2
    no_breach
}

@test "rsync -a twice sends nothing the second time, also after a remount" {
    random "$T/src/a.ply" 200000
    touch -d '2020-02-02 02:02:02' "$T/src/a.ply"
    mount_sm3d
    on rsync -a "$T/src/" "$U/a/"
    publish "$U/a"
    equal "again" "$(on rsync -ai "$T/src/" "$U/a/" | grep -c a.ply)" 0
    remount
    equal "after a remount" "$(on rsync -ai "$T/src/" "$U/a/" | grep -c a.ply)" 0
    sync_drive
    equal "POSTs" "$(posts)" 1
    one_model "$T/src/a.ply"
}

@test "a draft killed before, in the middle of and after its commit is one model" {
    random "$T/src/a.ply" 30000000
    mount_sm3d
    on mkdir "$U/a"
    on cp "$T/src/a.ply" "$U/a/"
    write "$U/a/info.json" '{"name":"killed","password":"pw"}'
    crash_drive
    remount
    state_is "$U/a" "draft: complete"
    equal "POSTs before" "$(posts)" 0
    fault '{"endpoint":"session_put","stall_in":8000000}'
    on setfattr -n user.polymount.publish -v "" "$U/a"
    wait_until 20 state_is "$U/a" "uploading [1-9]"
    crash_drive
    clear_faults
    remount
    wait_until 60 state_is "$U/a" synced
    crash_drive
    remount
    wait_until 20 state_is "$U/a" synced
    one_model "$T/src/a.ply"
    equal "particulars" "$(items '.[0] | "\(.name) \(.password)"')" "killed pw"
    ! grep -r -q -F '"pw"' "$STATE"
    no_breach
}

@test "lost answers make one model" {
    local n=0 endpoint
    random "$T/src/a.ply" 300000
    mount_sm3d
    for endpoint in model_new object_put model; do
        n=$((n + 1))
        on mkdir "$U/lost $n"
        on cp "$T/src/a.ply" "$U/lost $n/"
        write "$U/lost $n/info.json" "{\"name\":\"lost $endpoint\"}"
        fault "{\"endpoint\":\"$endpoint\",\"count\":1,\"reset\":\"after\"}"
        publish "$U/lost $n"
        clear_faults
    done
    wait_until 30 active 3
    equal "models" "$(items 'map(.name) | sort | join("|")')" "lost model|lost model_new|lost object_put"
}

@test "what is changed or removed while it is sent leaves nothing half there" {
    random "$T/src/a.ply" 30000000
    mount_sm3d
    fault '{"endpoint":"session_put","stall_in":8000000}'
    on mkdir "$U/changed" "$U/removed"
    for d in changed removed; do
        on cp "$T/src/a.ply" "$U/$d/"
        on setfattr -n user.polymount.publish -v "" "$U/$d"
        wait_until 20 state_is "$U/$d" "uploading [1-9]"
    done
    clear_faults
    on rm -r "$U/removed"
    write "$U/changed/info.json" '{"name":"changed"}'
    random "$T/src/small.ply" 2000
    on cp "$T/src/small.ply" "$U/changed/a.ply"
    wait_until 60 state_is "$U/changed" synced
    wait_until 30 alone
    one_model "$T/src/small.ply"
    equal "name" "$(items '.[0].name')" changed
    equal "listed" "$(on ls "$U")" changed
}

@test "a draft's folder is renamed before and after it is committed, and only its name here changes" {
    random "$T/src/a.ply" 1000
    mount_sm3d
    on mkdir "$U/a"
    on cp "$T/src/a.ply" "$U/a/"
    on mv "$U/a" "$U/b"
    publish "$U/b"
    equal "name" "$(items '.[0].name')" "b model"
    on mv "$U/b" "$U/c"
    sync_drive
    equal "listed" "$(on ls "$U")" c
    equal "file" "$(on ls "$U/c" | tr '\n' ' ')" "a.ply info.json "
    on cmp "$T/src/a.ply" "$U/c/a.ply"
    remount
    equal "after a remount" "$(on ls "$U")" c
    on cmp "$T/src/a.ply" "$U/c/a.ply"
    equal "POSTs" "$(posts)" 1
    one_model "$T/src/a.ply"
}

@test "rm -r of a draft's folder removes the model; another of that name is another model" {
    random "$T/src/a.ply" 1000
    random "$T/src/b.ply" 2000
    mount_sm3d upload.delete_delay=1s
    on mkdir "$U/a" "$U/unsent"
    on cp "$T/src/a.ply" "$U/a/"
    on cp "$T/src/a.ply" "$U/unsent/"
    publish "$U/a"
    one_model "$T/src/a.ply"
    local id
    id=$(items '.[0].id')
    on rm -r "$U/a" "$U/unsent"
    on mkdir "$U/a"
    on cp "$T/src/b.ply" "$U/a/"
    publish "$U/a"
    sync_drive
    one_model "$T/src/b.ply"
    [ "$(items '.[0].id')" != "$id" ]
    equal "listed" "$(on ls "$U")" a
    equal "removals" "$(requests model_delete)" 1
    no_breach
}

@test "a background's draft gives its type" {
    printf '\x89PNG\r\n\x1a\n' >"$T/src/a.png"
    head -c 1000 /dev/zero >>"$T/src/a.png"
    mount_sm3d
    on mkdir "$S/uploads-backgrounds/sky"
    on cp "$T/src/a.png" "$S/uploads-backgrounds/sky/"
    fails_with "Invalid argument" dd of="$S/uploads-backgrounds/sky/info.json" if=<(echo '{"type":"SKY"}') status=none
    write "$S/uploads-backgrounds/sky/info.json" '{"type":"PANORAMA","name":"The sky"}'
    publish "$S/uploads-backgrounds/sky"
    KIND=background
    equal "background" "$(items '.[0] | "\(.name) \(.type) \(.filename)"')" "The sky PANORAMA a.png"
    on cmp "$T/src/a.png" "$S/uploads-backgrounds/sky/a.png"
}
