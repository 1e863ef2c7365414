# ShareMy3D on the drive: models and backgrounds, their files behind signed URLs. The service is the strict
# emulator with its storage host.

load lib

setup() {
    new_place
    start_emulator
}


# mount_sm3d [SECTION.KEY=VALUE...]
mount_sm3d() {
    mount_drive account.type=sharemy3d "account.endpoint=$URL_SM3D" "account.token=$TOKEN_SM3D" "$@"
}

# seed_model JSON: ID is its id
seed_model() {
    ID=$(curl -sS --fail-with-body -m 30 -X POST -d "$1" "$CTL/sm3d/seed" | jq -r .id)
}

# field PATH NAME
field() {
    on getfattr --absolute-names --only-values -n "user.sharemy3d.$2" -- "$1" 2>/dev/null
}

field_is() {
    [ "$(field "$1" "$2")" = "$3" ]
}

# holds FILE [ID]: it has the bytes of the model
holds() {
    emu_get sm3d/content "id=${2:-$ID}" | within 60 cmp - "$1"
}

no_breach() {
    equal "breaches" "$(emu_get breaches)" "[]"
}

# api_calls: of the API and of the storage
api_calls() {
    echo "$(requests models) $(requests original) $(requests storage) $(requests model)"
}

@test "1,234 models: 13 list requests cold, none while fresh, none for ls -l; find makes two a model, once for good" {
    seed_model '{"count":1234,"size":10}'
    mount_sm3d cache.attr_timeout=10m
    equal "models" "$(within 60 ls "$S/models" | wc -l)" 1234
    equal "requests cold" "$(api_calls)" "13 0 0 0"
    within 60 ls -l "$S/models" >/dev/null
    equal "requests of ls -l" "$(requests total)" 13
    on ls "$S/models" >"$T/ids"
    head -40 "$T/ids" >"$T/some"
    while read -r id; do on find "$S/models/$id"; done <"$T/some" >"$T/found"
    equal "found" "$(grep -c '/model-[0-9]*.ply$' "$T/found")" 40
    equal "requests of find" "$(api_calls)" "13 40 40 0"
    remount
    while read -r id; do on find "$S/models/$id"; done <"$T/some" >"$T/again"
    diff "$T/found" "$T/again"
    equal "requests of another find" "$(requests original) $(requests storage)" "40 40"
    no_breach
}

# bats test_tags=quick
@test "a model is a folder with its particulars and its file, found by its name and its status, too" {
    seed_model '{"size":300000,"filename":"Book ö.ply","name":"Test model","description":"A book","views":3}'
    mount_sm3d
    equal "root" "$(on ls "$S" | tr '\n' ' ')" "backgrounds by-name by-status models uploads uploads-backgrounds "
    equal "files" "$(on ls "$S/models/$ID" | tr '\n' ' ')" "Book ö.ply info.json "
    equal "id" "$(on jq -r .modelId "$S/by-name/Test model/info.json")" "$ID"
    equal "link" "$(on readlink "$S/by-status/ACTIVE/$ID")" "../../models/$ID"
    equal "length of a link" "$(on stat -c %s "$S/by-name/Test model")" $((10 + ${#ID}))
    holds "$S/by-name/Test model/Book ö.ply"
    equal "again" "$(on sha256sum <"$S/by-status/ACTIVE/$ID/Book ö.ply" | cut -c1-64)" \
        "$(emu_get sm3d/digest | cut -c1-64)"
    equal "attributes" "$(for n in status numViews hasPassword downloadable description; do
        field "$S/models/$ID" $n && echo; done | tr '\n' '|')" "ACTIVE|3|false|false|A book|"
    equal "listed" "$(on getfattr --absolute-names -d "$S/models/$ID")" ""
    equal "id of the node" "$(xattr "$S/models/$ID" id)" "$ID"
    no_breach
}

@test "status, views and particulars are those of the last list, and links go where the status is" {
    seed_model '{"size":10,"name":"Moves"}'
    mount_sm3d cache.attr_timeout=200ms
    equal "views" "$(field "$S/models/$ID" numViews)" 0
    on ls "$S/by-status/ACTIVE/$ID/" >/dev/null
    emu_post sm3d/set "{\"id\":\"$ID\",\"views\":12,\"status\":\"FAILED\",\"name\":\"Moved\"}"
    list_told() { [ "$(field "$S/models/$ID" numViews)$(on jq -r .name "$S/models/$ID/info.json")" = 12Moved ]; }
    wait_until 10 list_told
    link_moved() { on test -L "$S/by-status/FAILED/$ID" && ! on test -L "$S/by-status/ACTIVE/$ID"; }
    wait_until 10 link_moved
    link_renamed() { on test -L "$S/by-name/Moved" && ! on test -L "$S/by-name/Moves"; }
    wait_until 10 link_renamed
    equal "model requests" "$(requests model)" 0
    no_breach
}

# read_short_lived FORM: a model is read in four times the life of its URLs
read_short_lived() {
    option signed_ttl_s 2
    option sm3d.url_form "\"$1\""
    seed_model "{\"size\":50331648,\"filename\":\"big.ply\",\"seed\":7}"
    mount_sm3d net.limit_down=10M
    within 100 cp "$(on find "$S/models/$ID" -size +40M)" "$T/copy"
    holds "$T/copy"
    [ "$(requests original)" -ge 3 ]
    no_breach
}

@test "a model whose URLs live shorter than it takes to read it comes whole, and nobody sees a renewal" {
    read_short_lived v4
}

@test "the same with URLs of the older form" {
    read_short_lived v2
}

@test "the same with URLs that do not say how long they live: the storage does, by refusing them" {
    read_short_lived opaque
}

@test "a service that wants the token alone is served so, after one refusal" {
    option sm3d.auth '"bare"'
    seed_model '{"size":1000}'
    mount_sm3d
    holds "$S/models/$ID/model.ply"
    equal "refusals" "$(emu_get log | jq '[.[]|select(.status==401)]|length')" 1
    remount
    on cat "$S/models/$ID/info.json" >/dev/null
    equal "refusals" "$(emu_get log | jq '[.[]|select(.status==401)]|length')" 1
}

@test "ranges are not of two generations: a model that was replaced meanwhile is ESTALE, then the new one" {
    seed_model '{"size":20000000,"filename":"a.ply","seed":1}'
    mount_sm3d cache.attr_timeout=10m
    exec 7<"$S/models/$ID/a.ply"
    equal "begin" "$(on head -c 65536 <&7 | wc -c)" 65536
    emu_post sm3d/replace "{\"id\":\"$ID\",\"size\":20000000,\"seed\":2}"
    run -1 within 30 tail -c +15000000 "$S/models/$ID/a.ply"
    [[ $output == *"Stale file handle"* ]]
    exec 7<&-
    holds "$S/models/$ID/a.ply"
    no_breach
}

@test "an object that the storage unpacks on the way is read right, whatever range was asked for" {
    seed_model '{"size":5000000,"filename":"packed.ply","gzip":true}'
    mount_sm3d
    equal "middle" "$(on tail -c +3000001 "$S/models/$ID/packed.ply" | head -c 1000 | sha256sum)" \
        "$(emu_get sm3d/content "id=$ID" | tail -c +3000001 | head -c 1000 | sha256sum)"
    holds "$S/models/$ID/packed.ply"
    no_breach
}

@test "what does not have the digest that the storage tells is not kept" {
    seed_model '{"size":3000000,"filename":"a.ply"}'
    fault '{"endpoint":"storage","header":"x-goog-hash: crc32c=AAAAAA=="}'
    mount_sm3d
    on cat "$S/models/$ID/a.ply" >/dev/null || true
    says_so() { [[ $(xattr "$S/models/$ID/a.ply" error) == *digest* ]]; }
    wait_until 10 says_so
    dropped() { [ "$(xattr "$S/models/$ID/a.ply" cached)" = 0 ]; }
    wait_until 10 dropped
    clear_faults
    holds "$S/models/$ID/a.ply"
    is_cached() { [ "$(xattr "$S/models/$ID/a.ply" state)" = cached ]; }
    wait_until 10 is_cached
}

@test "every form of the storage's headers is read: names, hashes" {
    local form
    for form in disposition header path; do
        option sm3d.filename_in "\"$form\""
        seed_model "{\"size\":100,\"filename\":\"A $form.ply\",\"name\":\"Model $form\"}"
    done
    option sm3d.hashes '"joined"'
    mount_sm3d
    for form in disposition header path; do
        option sm3d.filename_in "\"$form\""
        equal "$form" "$(on ls "$S/by-name/Model $form/")" "A $form.ply
info.json"
    done
    option sm3d.hashes '"none"'
    holds "$S/by-name/Model path/A path.ply"
}

@test "what is not there yet is not shown: a model that is uploaded elsewhere has its particulars only" {
    seed_model '{"size":100,"status":"UPLOADING","name":"Half"}'
    mount_sm3d
    equal "files" "$(on ls "$S/by-name/Half/")" info.json
    equal "requests" "$(requests original)" 0
    no_breach
}

@test "models, backgrounds and links cannot be changed: EPERM, and nothing is sent" {
    seed_model '{"size":100,"filename":"a.ply","name":"Fixed"}'
    seed_model '{"size":100,"filename":"a.jpg","name":"Land","kind":"background"}'
    mount_sm3d
    local M=$S/by-name/Fixed p
    on ls "$M/" "$S/backgrounds/$ID" >/dev/null
    equal "background" "$(on ls "$S/backgrounds/$ID")" info.json
    fails_with "Operation not permitted" touch "$S/models/new"
    fails_with "Operation not permitted" mkdir "$S/models/new"
    [[ $(xattr "$S/models" error) == *uploads/* ]]
    fails_with "Operation not permitted" rm "$M"
    fails_with "Operation not permitted" mv "$M" "$S/by-name/Other"
    fails_with "Operation not permitted" mv "$M/a.ply" "$M/b.ply"
    fails_with "Operation not permitted" cp "$M/info.json" "$M/a.ply"
    fails_with "Operation not permitted" truncate -s 0 "$M/info.json"
    fails_with "Operation not permitted" ln -s x "$S/by-name/y"
    for p in models by-name by-status by-status/ACTIVE; do
        fails_with "" rmdir "$S/$p"
        fails_with "" mv "$S/$p" "$S/x"
    done
    equal "changes" "$(emu_get log | jq '[.[]|select(.method!="GET")]|length')" 0
    no_breach
}
