load lib_sm3d

# What the emulator promises of ShareMy3D to the tests of the drive: every documented answer comes, and
# a client that keeps to the documents meets no breach. (emulator_sm3d_storage.bats: the storage host's
# part; emulator_sm3d_rules.bats: a client that does not always keep to them.)

# bats test_tags=quick
@test "emulator, ShareMy3D: a model made as the document shows becomes active, and is read by a signed URL" {
    random "$T/src/Book.ply" 300000
    new "$T/src/Book.ply"
    says 201 '.class == "UploadModelResponse" and (.modelId|test("^[0-9a-f]{32}$")) and (keys|length == 3)'
    is UPLOADING
    put "$T/src/Book.ply"
    equal "status" "$CODE" 200
    wait_until 5 is ACTIVE
    says 200 '.class == "RetrieveModelResponse" and .name == "Of Book.ply" and .description == ""
        and .hasPassword == false and .downloadable == false and .size == 300000 and .numViews == 0
        and (.timeCreated|. > 1e9 and . < 1e10)'
    link
    says 200 '.class == "DownloadOriginalResponse"'
    at GET "$GET"
    cmp "$T/body" "$T/src/Book.ply"
    holds "$T/src/Book.ply"
    api DELETE "/models/$ID"
    says 200 '. == {class: "DeleteModelResponse"}'
    at GET "$GET"
    xml 404 NoSuchKey
    api GET "/models/$ID/info"
    says 404 '.message|length > 0'
}

@test "emulator, ShareMy3D: states take the time that they are told to, and may stick or fail" {
    emu_post options '{"sm3d.notice_ms":0,"sm3d.process_ms":60000}'
    random "$T/src/a.ply" 100
    random "$T/src/b.bad" 100
    upload "$T/src/a.ply"
    is PROCESSING
    emu_post options '{"sm3d.notice_ms":60000,"sm3d.process_ms":0}'
    upload "$T/src/a.ply"
    is UPLOADING
    api GET "/models/$ID/original" # not yet; but who has sent the bytes may well ask
    says 404
    emu_post options '{"sm3d.notice_ms":0}'
    upload "$T/src/a.ply"
    is ACTIVE
    upload "$T/src/b.bad"
    is FAILED
    option sm3d.stuck '"PROCESSING"'
    upload "$T/src/a.ply"
    is PROCESSING
    emu_post sm3d/set "{\"id\":\"$ID\",\"status\":\"FAILED\",\"views\":7,\"name\":\"Renamed\"}"
    is FAILED
    says 200 '.numViews == 7 and .name == "Renamed"'
    emu_post options '{"sm3d.stuck":"","sm3d.stale":"FAILED","sm3d.session_s":0}'
    new_session "$T/src/a.ply"
    is FAILED
}

# page QUERY JQ-CONDITION
page() {
    api GET "/models?$1"
    says 200 "$2"
}

@test "emulator, ShareMy3D: lists are paged, sorted and filtered as the document shows" {
    emu_post sm3d/seed '{"count":35,"size":10,"created":1485557110000}'
    page 'limit=3&offset=6&sort=-name' '.class == "GetModelListResponse" and .meta.totalCount == 35
        and [.models[]|.name] == ["Model 000029", "Model 000028", "Model 000027"]
        and .models[0].timeCreated == 1485557110 and (.models[0]|has("filename")|not)'
    local base=$URL_SM3D/models
    says 200 ".meta == {totalCount: 35, first: \"$base?limit=3&offset=0&sort=-name\",
        prev: \"$base?limit=3&offset=3&sort=-name\", next: \"$base?limit=3&offset=9&sort=-name\",
        last: \"$base?limit=3&offset=33&sort=-name\"}"
    page 'limit=3&offset=33' '.meta.next == null and (.models|length == 2)'
    page '' '(.models|length == 20) and .meta.prev == null and .models[0].name == "Model 000001"'
    page 'offset=99' '.models == [] and .meta.totalCount == 35'
    seed_model '{"name":"Zebra","views":9,"status":"FAILED","size":1,"created":1485557000000}'
    seed_model '{"name":"Ape","status":"UPLOADING","created":1485559000000}'
    page 'sort=time&limit=1' '.models[0].name == "Zebra"'
    page 'sort=-time&limit=1' '.models[0].name == "Ape"'
    page 'sort=-views,name&limit=2' '[.models[]|.name] == ["Zebra", "Ape"]'
    page 'status=FAILED,UPLOADING&sort=name' '[.models[]|.name] == ["Ape", "Zebra"] and .meta.totalCount == 2
        and (.meta.last|endswith("&status=FAILED%2CUPLOADING&sort=name"))'
    page 'status=PROCESSING' '.models == []'
}

@test "emulator, ShareMy3D: a list's links and the order of equal ones may be of no use" {
    emu_post sm3d/seed '{"count":30,"size":10}'
    option sm3d.links '"foreign"'
    api GET "/models?limit=5"
    [[ $(jq -r .meta.next <<<"$BODY") == http://127.0.0.1:*/models?limit=5* ]]
    [[ $(jq -r .meta.next <<<"$BODY") != "$URL_SM3D"* ]]
    option sm3d.links '"none"'
    page limit=5 '.meta == {totalCount: 30, first: null, prev: null, next: null, last: null}'
    option sm3d.ties '"shuffled"'
    local first
    api GET "/models?limit=30"
    first=$BODY
    api GET "/models?limit=30"
    [ "$BODY" != "$first" ]
    equal "all of them" "$(jq -c '[.models[]|.name]|sort' <<<"$BODY")" "$(jq -c '[.models[]|.name]|sort' <<<"$first")"
    emu_post options '{"sm3d.ties":"kept","sm3d.list_lag_ms":60000}'
    random "$T/src/a.ply" 10
    upload "$T/src/a.ply"
    page limit=1 '.meta.totalCount == 30'
}

@test "emulator, ShareMy3D: a model has what it was made with" {
    random "$T/src/a.ply" 10
    upload "$T/src/a.ply" '"description":"Größe","password":"geheim","downloadable":true'
    is UPLOADING || true
    says 200 '.description == "Größe" and .hasPassword and .downloadable'
    equal "password" "$(emu_get sm3d/items | jq -r '.[0].password')" geheim
    upload "$T/src/a.ply" '"password":""'
    api GET "/models/$ID/info"
    says 200 '.hasPassword == false'
    option sm3d.empty_password '"set"'
    upload "$T/src/a.ply" '"password":""'
    api GET "/models/$ID/info"
    says 200 .hasPassword
    post models '{"size":10,"filename":"a.exe","name":"Abc"}'
    says 400
    post models '{"size":0,"filename":"a.ply","name":"Abc"}'
    says 400
    option sm3d.empty '"accepted"'
    option sm3d.created_status 200
    post models '{"size":0,"filename":"a.ply","name":"Abc"}'
    says 200
    PUT=$(jq -r .uploadUrl <<<"$BODY") ID=$(told modelId)
    : >"$T/src/empty"
    put "$T/src/empty"
    equal "status" "$CODE" 200
    wait_until 5 is ACTIVE
}

@test "emulator, ShareMy3D: backgrounds are made, told and removed, without size and file name" {
    random "$T/src/a.jpg" 500
    post backgrounds '{"size":500,"filename":"a.jpg","name":"Landscape","type":"PANORAMA"}'
    says 201 '.class == "UploadBackgroundResponse" and (.backgroundId|length == 32)'
    PUT=$(jq -r .uploadUrl <<<"$BODY") ID=$(told backgroundId)
    put "$T/src/a.jpg"
    holds "$T/src/a.jpg"
    api GET "/backgrounds/$ID/info"
    says 200 ".backgroundId == \"$ID\" and .type == \"PANORAMA\" and .name == \"Landscape\"
        and (keys == [\"backgroundId\", \"class\", \"name\", \"status\", \"timeCreated\", \"type\"])"
    emu_post sm3d/seed '{"kind":"background","name":"Sea","description":"Blue","size":5}'
    api GET '/backgrounds?sort=-name'
    says 200 '.class == "GetBackgroundListResponse" and [.backgrounds[]|.description] == ["Blue", null]
        and .meta.totalCount == 2 and (.backgrounds[0]|has("size")|not)'
    api GET "/models/$ID/info"
    says 404
    api DELETE "/backgrounds/$ID"
    says 200 '. == {class: "DeleteBackgroundResponse"}'
    api DELETE "/backgrounds/$ID"
    says 404
    post backgrounds '{"size":500,"filename":"a.ply","name":"Landscape","type":"IMAGE"}'
    says 400
}

@test "emulator, ShareMy3D: the token is taken in either form, or in one" {
    send GET /models -H "Authorization: Bearer $KEY"
    says 200
    send GET /models -H "Authorization: $KEY"
    says 401
    option sm3d.auth '"bare"'
    send GET /models -H "Authorization: Bearer $KEY"
    says 401 '.class == "ErrorResponse"'
    send GET /models -H "Authorization: $KEY"
    says 200
    option sm3d.auth '"both"'
    api GET /models
    says 200
    option sm3d.token '"00new"'
    api GET /models
    says 401
    KEY=00new
    api GET /models
    says 200
}

@test "emulator, ShareMy3D: an error's body may be anything" {
    option sm3d.errors '"plain"'
    api GET "/models/$(printf '0%.0s' {1..32})/info"
    says 404 'type == "string"'
    option sm3d.errors '"html"'
    option sm3d.gone_status 400
    api GET "/models/$(printf '0%.0s' {1..32})/info"
    equal "answer" "$CODE ${BODY:0:6}" "400 <html>"
    option sm3d.errors '"empty"'
    api GET "/models/$(printf '0%.0s' {1..32})/info"
    equal "answer" "$CODE $BODY" "400 "
    fault '{"endpoint":"models","status":503,"retry_after":1,"count":1}'
    api GET /models
    equal "answer" "$CODE $(header Retry-After)" "503 1"
}

@test "emulator, ShareMy3D: the original may wait for the model to be active or downloadable" {
    emu_post options '{"sm3d.notice_ms":0,"sm3d.process_ms":60000,"sm3d.original_when":"ACTIVE"}'
    random "$T/src/a.ply" 10
    upload "$T/src/a.ply"
    api GET "/models/$ID/original"
    says 404
    option sm3d.original_status 400
    api GET "/models/$ID/original"
    says 400
    emu_post options '{"sm3d.original_when":"uploaded","sm3d.original_for":"downloadable"}'
    api GET "/models/$ID/original"
    says 401
    upload "$T/src/a.ply" '"downloadable":true'
    link
}

@test "emulator, ShareMy3D: the service's clock may be another, and shows" {
    option sm3d.clock_s 86400
    random "$T/src/a.ply" 10
    upload "$T/src/a.ply"
    wait_until 5 is ACTIVE
    link
    local ahead=$(($(date -d "$(header Date)" +%s) - $(date +%s)))
    [ "$ahead" -gt 86000 ] && [ "$ahead" -lt 87000 ]
    [[ $GET == *"X-Goog-Date=$(date -u -d "$(header Date)" +%Y%m%d)"* ]]
    at GET "$GET"
    equal "status" "$CODE" 200
}

@test "emulator, ShareMy3D: what is kept outlives a crash of the service" {
    random "$T/src/a.ply" 300000
    random "$T/src/b.ply" 900000
    upload "$T/src/a.ply"
    local a=$ID
    new_session "$T/src/b.ply"
    piece "$T/src/b.ply" 0 524288
    kill_emulator
    start_emulator
    query
    kept 524288
    finish "$T/src/b.ply" 262144
    holds "$T/src/b.ply"
    holds "$T/src/a.ply" "$a"
    equal "digest" "$(emu_get sm3d/digest made=1)" "$(digest_of "$T/src")"
}

@test "emulator, ShareMy3D: faults find a model by its names" {
    random "$T/src/a.ply" 10
    random "$T/src/b.ply" 10
    upload "$T/src/a.ply"
    fault '{"endpoint":"model_delete","match":"Of a.ply","status":500,"count":1}'
    fault '{"endpoint":"object_put","match":"b.ply","reset":"after","count":1}'
    api DELETE "/models/$ID"
    says 500
    new "$T/src/b.ply"
    put "$T/src/b.ply"
    equal "status" "$CODE" 000
    holds "$T/src/b.ply"
    put "$T/src/b.ply" # the answer was lost: the same again does no harm
    equal "status" "$CODE" 200
    fault '{"endpoint":"storage","match":"b.ply","status":403,"count":1}'
    wait_until 5 is ACTIVE
    link
    at GET "$GET"
    xml 403 AccessDenied
    fault '{"endpoint":"storage","cut":5,"count":1}'
    at GET "$GET"
    equal "bytes" "$(stat -c %s "$T/body")" 5
}
