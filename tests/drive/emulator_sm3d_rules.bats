load lib_sm3d

# What the emulator promises of ShareMy3D to the tests of the drive: whoever breaks a rule of its
# documents, or of its storage host's, makes a breach.

# --- at the storage host ------------------------------------------------------------------------

# bats test_tags=quick
@test "emulator, ShareMy3D: our token at the storage host is refused and a breach" {
    random "$T/src/a.ply" 1000
    seed_model '{"size":1000}'
    link
    at GET "$GET" -H "Authorization: Bearer $KEY"
    xml 400 InvalidArgument
    breached "an Authorization came to the storage host"
    new_session "$T/src/a.ply"
    at PUT "$PUT" -H "Authorization: $KEY" --data-binary @"$T/src/a.ply"
    equal "status" "$CODE" 400
    at PUT "$PUT&key=$KEY" -H 'Content-Type:' --data-binary @"$T/src/a.ply"
    breached "an Authorization came" "the token stands in the URL" "the session URI is not as it was given out"
}

@test "emulator, ShareMy3D: a chunk that is no multiple of 256 KiB is a breach, refused or rounded" {
    random "$T/src/a.ply" 900000
    new_session "$T/src/a.ply"
    piece "$T/src/a.ply" 0 262145
    equal "status" "$CODE" 400
    breached "a chunk of 262145 bytes is no multiple"
    option sm3d.odd_chunk '"rounded"'
    piece "$T/src/a.ply" 0 400000
    kept 262144
    breached "a chunk of 400000 bytes is no multiple"
    finish "$T/src/a.ply" 524288
    holds "$T/src/a.ply"
}

@test "emulator, ShareMy3D: a gap is refused and a breach" {
    random "$T/src/a.ply" 900000
    new_session "$T/src/a.ply"
    piece "$T/src/a.ply" 262144 262144
    equal "status" "$CODE" 503
    breached "a gap"
    query
    kept 0
}

@test "emulator, ShareMy3D: an expired URL used again is a breach, a second after the refusal" {
    seed_model '{"size":1000}'
    link
    option sm3d.clock_s 301
    curl -s -g -o "$T/body" -o "$T/body" "$GET" "$GET" # before it can know of the first
    breached
    sleep 1.1
    at GET "$GET"
    breached "an expired signed URL was used again"
}

@test "emulator, ShareMy3D: a Content-Range that does not fit is refused and a breach" {
    local range
    random "$T/src/a.ply" 1000
    new_session "$T/src/a.ply"
    for range in "bytes 0-998/1000" "bytes 0-1000/1001" "bytes 5-4/1000" "bytes=0-999/1000" "0-999/1000" \
        "bytes 0-999/999" "bytes -5-994/1000" "bytes 0-999/1000 " "bytes 0-99999999999999999999/*" "bytes */1000"; do
        at PUT "$PUT" -H 'Content-Type:' -H "Content-Range: $range" --data-binary @"$T/src/a.ply"
        equal "status of $range" "$CODE" 400
        breached "Content-Range"
    done
    at PUT "$PUT" -H 'Content-Type:' -H 'Content-Range: bytes 0-999/2000' --data-binary @"$T/src/a.ply"
    equal "status" "$CODE" 400
    breached "a total of 2000 bytes, 1000 were announced"
    at PUT "$PUT" -H 'Content-Range: bytes */1000' -H 'Transfer-Encoding: chunked' -d ''
    equal "status" "$CODE" 411
    breached "without Content-Length: 0"
    new "$T/src/a.ply" '"description":"plain"'
    at PUT "$PUT" -H 'Content-Type:' -H 'Content-Range: bytes 0-999/1000' --data-binary @"$T/src/a.ply"
    xml 400 InvalidArgument
    breached "a second POST" "a Content-Range, but this URL is for the whole at once"
}

@test "emulator, ShareMy3D: two PUTs to one session at a time are a breach, unless the first was given up" {
    random "$T/src/a.ply" 900000
    new_session "$T/src/a.ply"
    curl -s -m 100 -o /dev/null --limit-rate 5k -X PUT -H 'Content-Type:' -T "$T/src/a.ply" "$PUT" 3>&- &
    local first=$!
    wait_until 5 under_way
    query
    kept 0
    breached
    piece "$T/src/a.ply" 0 262144
    breached "a second PUT to this session"
    kill -9 $first
    wait $first || true
    finish "$T/src/a.ply" 900000
    holds "$T/src/a.ply"
}

under_way() {
    emu_get log | jq -e 'any(.[]; .endpoint == "session_put" and .status == 0)' >/dev/null
}

@test "emulator, ShareMy3D: an upload_id that was made up, and a PUT into a session known to be dead, are breaches" {
    random "$T/src/a.ply" 1000
    new_session "$T/src/a.ply"
    local given=$PUT
    PUT=${given}x
    query
    equal "status" "$CODE" 404
    breached "an upload_id that was never given out"
    PUT=${given/originals/Originals}
    query
    breached "the session URI is not as it was given out"
    PUT=$given
    emu_post sm3d/break "{\"id\":\"$ID\"}"
    piece "$T/src/a.ply" 0 1000
    equal "status" "$CODE" 410
    sleep 1.1
    query
    equal "status" "$CODE" 410
    breached
    piece "$T/src/a.ply" 0 1000
    breached "a PUT into a session that was said to be dead"
    at GET "$PUT"
    xml 405 MethodNotAllowed
    breached "wrong method at the storage host"
}

@test "emulator, ShareMy3D: other bytes than were announced are a breach, and fail the model" {
    random "$T/src/a.ply" 1000
    random "$T/src/b.ply" 999
    new "$T/src/a.ply"
    put "$T/src/b.ply"
    breached "999 bytes, 1000 were announced"
    wait_until 5 is FAILED
    put "$T/src/a.ply"
    breached "another content for $ID"
    at PUT "$PUT" -H 'Content-Type:' -H 'Content-Encoding: gzip' --data-binary @"$T/src/a.ply"
    breached "a Content-Encoding"
    emu_post options '{"sm3d.size_mismatch":"kept"}'
    new "$T/src/a.ply"
    put "$T/src/b.ply"
    breached "999 bytes, 1000 were announced"
    wait_until 5 is ACTIVE
}

# --- at the service -----------------------------------------------------------------------------

# bats test_tags=quick
@test "emulator, ShareMy3D: a second POST for one drop is a breach, unless it was lost and looked for" {
    random "$T/src/a.ply" 300000
    fault '{"endpoint":"model_new","reset":"after","count":1}'
    post models '{"size":300000,"filename":"a.ply","name":"Of a.ply"}'
    equal "status" "$CODE" 000
    new "$T/src/a.ply"
    breached "a second POST for one drop: whether there is one was not looked up"
    api GET /models
    new_session "$T/src/a.ply" # two were lost, and looked for
    breached
    piece "$T/src/a.ply" 0 262144
    api GET /models
    new_session "$T/src/a.ply"
    breached "is under way"
    at DELETE "$PUT" # given up
    api GET /models
    local id
    for id in $(jq -r '.models[].modelId' <<<"$BODY"); do api DELETE "/models/$id"; done
    new "$T/src/a.ply"
    breached
    fault '{"endpoint":"object_put","reset":"during","reset_at":1,"count":1}'
    put "$T/src/a.ply"
    equal "status" "$CODE" 000
    option sm3d.put_ttl_s 0 # what was begun cannot be gone on with
    new "$T/src/a.ply"
    breached
    emu_post options '{"sm3d.put_ttl_s":3600,"sm3d.second_post":"fine"}'
    new "$T/src/a.ply"
}

# wrong BREACH JSON: a POST that is refused
wrong() {
    post models "$2"
    says 400 '.class == "ErrorResponse"'
    breached "$1"
}

@test "emulator, ShareMy3D: lengths out of range, wrong types and unknown parameters are breaches" {
    local long
    long=$(printf 'x%.0s' {1..101})
    wrong 'length is out of range: \"name\"' '{"size":1,"filename":"a.ply","name":"ab"}'
    wrong 'length is out of range: \"name\"' "{\"size\":1,\"filename\":\"a.ply\",\"name\":\"${long:0:51}\"}"
    wrong 'length is out of range: \"name\"' '{"size":1,"filename":"a.ply","name":"öö"}'
    wrong 'length is out of range: \"filename\"' "{\"size\":1,\"filename\":\"${long:0:97}.ply\",\"name\":\"abc\"}"
    wrong 'length is out of range: \"description\"' \
        "{\"size\":1,\"filename\":\"a.ply\",\"name\":\"abc\",\"description\":\"$long\"}"
    wrong 'length is out of range: \"password\"' \
        "{\"size\":1,\"filename\":\"a.ply\",\"name\":\"abc\",\"password\":\"$long\"}"
    wrong 'no size' '{"size":"1","filename":"a.ply","name":"abc"}'
    wrong 'no size' '{"size":1.5,"filename":"a.ply","name":"abc"}'
    wrong 'no string' '{"size":1,"filename":"a.ply","name":null}'
    wrong 'neither true nor false' '{"size":1,"filename":"a.ply","name":"abc","resumable":1}'
    wrong 'missing: \"filename\"' '{"size":1,"name":"abc"}'
    wrong 'no JSON object' '{"size":1'
    post backgrounds '{"size":1,"filename":"a.jpg","name":"abc","type":"ÌMAGE"}'
    says 400
    breached 'neither IMAGE nor PANORAMA'
    post backgrounds '{"size":1,"filename":"a.jpg","name":"abc","type":"IMAGE","password":"x"}'
    says 201
    breached '\"password\" is no documented parameter'
    api POST /models/upload -d '{"size":1,"filename":"a.ply","name":"abc"}'
    says 201
    breached "not application/json"
    post models "{\"size\":2,\"filename\":\"a.ply\",\"name\":\"abc\",\"description\":\"$KEY\"}"
    breached "the token stands in the body"
}

@test "emulator, ShareMy3D: lengths are counted in what the option says" {
    local wide
    wide=$(printf '😀%.0s' {1..13}) # 52 bytes, 13 characters, 26 units of UTF-16
    wrong 'length is out of range: \"name\"' "{\"size\":1,\"filename\":\"a.ply\",\"name\":\"$wide\"}"
    option sm3d.lengths '"bytes"'
    wrong 'length is out of range: \"name\"' "{\"size\":1,\"filename\":\"a.ply\",\"name\":\"$wide\"}"
    option sm3d.lengths '"utf16"'
    post models "{\"size\":1,\"filename\":\"a.ply\",\"name\":\"$wide\"}"
    says 201
    wrong 'length is out of range: \"name\"' "{\"size\":1,\"filename\":\"a.ply\",\"name\":\"$wide$wide\"}"
    option sm3d.lengths '"chars"'
    post models "{\"size\":1,\"filename\":\"a.ply\",\"name\":\"$wide$wide\"}"
    says 201
}

@test "emulator, ShareMy3D: a list asked for what is not documented is refused and a breach" {
    local query
    for query in limit=0 limit=101 limit=x offset=-1 sort=size sort=name, status=DONE \
        status= sort= status=ACTIVE,X; do
        api GET "/models?$query"
        says 400
        breached "is no documented value"
    done
    api GET '/backgrounds?sort=views'
    says 400
    breached "is no documented value"
    api GET '/models?page=2'
    says 200
    breached "page is no documented parameter"
}

@test "emulator, ShareMy3D: the original of a model that is still UPLOADING is a breach" {
    seed_model '{"status":"UPLOADING"}'
    api GET "/models/$ID/original"
    says 404
    breached "the original of a model that is still UPLOADING"
}

@test "emulator, ShareMy3D: who ignores a rate limit has a breach" {
    emu_post options '{"sm3d.rate_limit":3,"sm3d.rate_window_ms":60000}'
    local i
    for i in 1 2 3; do api GET /models; done
    says 200
    api GET /models
    says 429
    equal "Retry-After" "$(header Retry-After)" ""
    api GET /models
    api GET /models
    breached
    api GET /models
    breached "it does not slow down"
    emu_delete 360/rates
    option sm3d.retry_after '"seconds"'
    for i in 1 2 3 4; do api GET /models; done
    says 429
    [ "$(header Retry-After)" -gt 50 ]
    sleep 1.1
    api GET /models
    breached "before the time that a 429's Retry-After had set"
}

@test "emulator, ShareMy3D: a missing, wrong or misplaced token is refused" {
    local i
    send GET /models
    says 401
    breached "no Authorization"
    send GET /models -H "Authorization: Bearer $TOKEN"
    says 401
    breached "the token of another service"
    api GET /models -H "Authorization: $KEY"
    says 401
    breached "two Authorizations"
    for i in {1..16}; do send GET /models -H "Authorization: $KEY"; done
    breached
    send GET /models -H "Authorization: $KEY"
    breached "refused 16 times already"
}

@test "emulator, ShareMy3D: calls that the document does not have are refused and breaches" {
    local id
    id=$(printf '0%.0s' {1..32})
    api GET /users
    says 404
    breached "unknown endpoint"
    api PUT "/models/$id"
    says 404
    breached "wrong method"
    api DELETE "/background/$id"
    breached "unknown endpoint"
    api GET "/models/xyz/info"
    says 404
    breached "no id that was ever given out"
    api DELETE "/models/$id?force=1"
    breached "a query, where none is documented"
    api DELETE "/models/$id" -d '{}'
    breached "a body, where none is documented"
}
