load lib_360

# What the emulator promises of 360-for-you to the tests of the drive: every documented answer comes,
# and a client that keeps to the document meets no breach. (emulator_360_rules.bats: one that does not
# always does.)

# --- clients that keep to the document ----------------------------------------------------------

# bats test_tags=quick
@test "emulator, 360: files uploaded as the document shows become one project" {
    mkdir "$T/scan"
    random "$T/scan/floor.e57" 1000000
    random "$T/scan/a.jpg" 5000
    : >"$T/scan/empty.txt"
    open_session
    upload floor.e57 "$T/scan/floor.e57" 300000
    put a.jpg "$T/scan/a.jpg"
    says 200 '. == {received: 5000, total: 5000, complete: true}'
    put empty.txt "$T/scan/empty.txt"
    says 200 '. == {received: 0, total: 0, complete: true}'
    api GET "/uploads/$ID"
    says 200 ".upload_id == \"$ID\" and ([.files[]|.name] == [\"floor.e57\", \"a.jpg\", \"empty.txt\"])
        and all(.files[]; .complete and .received == .total)"
    create_of "$ID"
    says 201 ". == {name: \"$ID\", status: 0, message: \"processing_started\"}"
    wait_until 5 ready "$ID"
    says 200 ".name == \"$ID\" and .title == \"Of $ID\" and .size == 1005000 and .errors == null"
    held "project=$ID" "$T/scan"
    held "session=$ID" "$T/scan"
    equal "projects" "$(emu_get 360/projects | jq length)" 1
}

@test "emulator, 360: a project is queued, works, and is ready; or is stuck, or has errors" {
    emu_post options '{"360.queue_ms":60000,"360.process_ms":0}'
    create '{"download_link":"https://example.com/a.zip"}'
    api GET "/projects/$(told name)"
    says 200 '.status == 0 and (keys == ["name", "status"])'
    emu_post options '{"360.queue_ms":0,"360.process_ms":60000}'
    create '{"download_link":"https://example.com/b.zip"}'
    api GET "/projects/$(told name)"
    says 200 '.status >= 1 and .status < 100 and (keys == ["name", "status"])'
    emu_post options '{"360.process_ms":0,"360.stuck_at":40}'
    create '{"download_link":"https://example.com/c.zip"}'
    api GET "/projects/$(told name)"
    says 200 '.status == 40'
    emu_post options '{"360.stuck_at":-1,"360.errors":"cannot read scan"}'
    create '{"download_link":"https://example.com/d.zip","title":"D"}'
    api GET "/projects/$(told name)"
    says 200 '.status == 100 and .errors == "cannot read scan" and .title == "D"'
    option 360.errors_form '"list"'
    create '{"download_link":"https://example.com/e.zip"}'
    api GET "/projects/$(told name)"
    says 200 '.errors == ["cannot read scan"] and (.title|length > 0)'
    api GET /projects/nosuch
    refused 404 project_not_found
}

@test "emulator, 360: projects can be seeded, listed where that is served, and removed" {
    emu_post 360/seed '{"name":"tower","title":"A tower","size":77,"status":100}'
    emu_post 360/seed '{"name":"bridge","title":"A bridge","status":30}'
    api GET /projects
    refused 405 method_not_allowed
    option 360.list '"array"'
    api GET /projects
    says 200 '[.[]|.name] == ["tower", "bridge"] and .[0].size == 77'
    option 360.list '"object"'
    api GET /projects
    says 200 '[.projects[]|.status] == [100, 30]'
    api GET /projects/tower
    says 200 '.title == "A tower" and .views == 0'
    emu_post 360/remove '{"name":"tower"}'
    api GET /projects/tower
    refused 404 project_not_found
}

# bats test_tags=quick
@test "emulator, 360: a broken upload goes on from what was received, after any break" {
    random "$T/src/a.e57" 400000
    open_session
    api GET "/uploads/$ID/a.e57"
    refused 404 file_not_found
    fault '{"endpoint":"put","reset":"during","reset_at":50000,"count":1}'
    chunk a.e57 "$T/src/a.e57" 0 100000
    equal "status" "$CODE" 000
    api GET "/uploads/$ID/a.e57"
    refused 404 file_not_found
    fault '{"endpoint":"put","reset":"after","count":1}'
    chunk a.e57 "$T/src/a.e57" 0 100000
    equal "status" "$CODE" 000
    api GET "/uploads/$ID/a.e57"
    says 200 '.received == 100000 and .total == 400000 and .complete == false'
    kill_emulator
    start_emulator
    fault '{"endpoint":"put","match":"/a.e57","status":503,"count":1}'
    upload a.e57 "$T/src/a.e57" 150000
    held "session=$ID" "$T/src"
}

@test "emulator, 360: what came of a torn PUT may be kept, dropped, or leave an entry" {
    random "$T/src/a.e57" 400000
    open_session
    fault '{"endpoint":"put","reset":"during","reset_at":100000}'
    option 360.torn '"entry"'
    put a.e57 "$T/src/a.e57"
    wait_until 5 progress a.e57 0 0
    option 360.torn '"keep"'
    put a.e57 "$T/src/a.e57"
    wait_until 5 progress a.e57 100000 400000
    clear_faults
    upload a.e57 "$T/src/a.e57" 400000
    held "session=$ID" "$T/src"
}

@test "emulator, 360: bytes sent again overwrite in place, and a complete file stays as it is" {
    random "$T/src/a.e57" 300000
    open_session
    chunk a.e57 "$T/src/a.e57" 0 200000
    chunk a.e57 "$T/src/a.e57" 0 100000
    says 200 '.received == 200000'
    chunk a.e57 "$T/src/a.e57" 150000 150000
    says 200 '.complete'
    put a.e57 "$T/src/a.e57"
    says 200 '. == {received: 300000, total: 300000, complete: true}'
    chunk a.e57 "$T/src/a.e57" 10 1000
    says 200 '.complete and .received == 300000'
    held "session=$ID" "$T/src"
    option 360.overlap '"truncate"'
    chunk b.e57 "$T/src/a.e57" 0 200000
    chunk b.e57 "$T/src/a.e57" 0 100000
    says 200 '.received == 100000'
}

@test "emulator, 360: bytes that the service has lost are asked for again without blame" {
    random "$T/src/a.e57" 300000
    open_session
    chunk a.e57 "$T/src/a.e57" 0 200000
    emu_post 360/rewind "{\"session\":\"$ID\",\"name\":\"a.e57\",\"received\":70000}"
    chunk a.e57 "$T/src/a.e57" 200000 100000
    refused 409 non_contiguous_chunk
    says 409 '.received == 70000'
    upload a.e57 "$T/src/a.e57" 300000
    emu_post 360/rewind "{\"session\":\"$ID\",\"name\":\"a.e57\",\"received\":0}"
    create_of "$ID"
    refused 400 project_creation_failed
    upload a.e57 "$T/src/a.e57" 300000
    option 360.short_every 1
    chunk b.e57 "$T/src/a.e57" 0 100000
    says 200 '.received == 50000 and .complete == false'
    chunk b.e57 "$T/src/a.e57" 50000 1
    chunk b.e57 "$T/src/a.e57" 50000 250000
    says 200 '.received == 175000'
    option 360.short_every 0
    upload b.e57 "$T/src/a.e57" 300000
    cp "$T/src/a.e57" "$T/src/b.e57"
    held "session=$ID" "$T/src"
}

@test "emulator, 360: zeros cost no disk" {
    truncate -s 20M "$T/src/a.las"
    open_session
    chunk a.las "$T/src/a.las" 0 10000000
    upload a.las "$T/src/a.las" 20000000
    held "session=$ID" "$T/src"
    at_most "bytes on disk" "$(du -s -B1 "$T/emu/360" | cut -f1)" 1000000
}

# --- names and limits ---------------------------------------------------------------------------

# kept AS NAME-IN-THE-URL: a small file of that name
kept() {
    put "$2" "$T/src/x"
    says 200 .complete
    breached "changes this name to \\\"$1\\\"" "${@:3}"
    api GET "/uploads/$ID"
    says 200 "any(.files[]; .name == \"$1\")"
}

@test "emulator, 360: names are flattened, which is a breach; a plain one is kept" {
    printf x >"$T/src/x"
    open_session
    put Plain_name-1.2.jpg "$T/src/x"
    says 200 .complete
    breached
    kept ab.jpg a%2Fb.jpg
    kept cd.jpg c/d.jpg "with slashes"
    kept spaceinside.jpg space%20inside.jpg
    kept UPPER.jpg UPPER.JPG
    kept edge.png ._edge-_.png
    kept grn.jpg gr%C3%BCn.jpg
    kept "$(printf 'n%.0s' {1..100}).jpg" "$(printf 'n%.0s' {1..101}).jpg"
    put %C3%BC.jpg "$T/src/x"
    refused 400 invalid_filename
    breached "changes this name to \\\"\\\""
    option 360.flatten '"underscore"'
    kept e_f.jpg e%2Ff.jpg
    option 360.flatten '"utf8"'
    put gr%C3%BCn.png "$T/src/x"
    says 200 .complete
    breached
}

@test "emulator, 360: disallowed extensions and sizes are refused with list and limit" {
    random "$T/src/a.jpg" 1000
    open_session
    put a.exe "$T/src/a.jpg"
    refused 415 extension_not_allowed
    says 415 '.extension == "exe" and (.allowed|index("e57")) and (.allowed|index("exe")|not)'
    put README "$T/src/a.jpg"
    says 415 '.extension == ""'
    option 360.extension_form '"dot"'
    option 360.allowed '"jpg,e57"'
    put a.png "$T/src/a.jpg"
    says 415 '.extension == ".png" and .allowed == [".jpg", ".e57"]'
    emu_post options '{"360.file_max":2000,"360.session_max":2500}'
    chunk b.jpg "$T/src/a.jpg" 0 10 2001
    refused 413 file_too_large
    says 413 '.limit == 2000'
    put a.jpg "$T/src/a.jpg"
    chunk b.jpg "$T/src/a.jpg" 0 10 1501
    refused 413 session_too_large
    says 413 '.limit == 2500'
    option 360.session_counts '"received"'
    chunk b.jpg "$T/src/a.jpg" 0 1000 1501
    says 200
    chunk b.jpg "$T/src/a.jpg" 0 10 1501
    says 200
    head -c 1501 /dev/zero >"$T/src/b.jpg"
    chunk b.jpg "$T/src/b.jpg" 1000 501
    refused 413 session_too_large
}

@test "emulator, 360: an account's limits are refused with their codes" {
    printf x >"$T/src/a.jpg"
    open_session
    put a.jpg "$T/src/a.jpg"
    emu_post 360/seed '{"name":"old","size":100}'
    option 360.quota 100
    api POST /uploads
    refused 402 storage_quota_exceeded
    create_of "$ID"
    refused 402 storage_quota_exceeded
    emu_post options '{"360.quota":0,"360.project_limit":1}'
    create_of "$ID"
    refused 403 project_limit_reached
    emu_post options '{"360.project_limit":0,"360.email_verified":false}'
    create_of "$ID"
    refused 403 email_not_verified
    emu_post options '{"360.email_verified":true,"360.tariff":"no_project"}'
    create_of "$ID"
    refused 403 tariff
    option 360.tariff '"no_upload"'
    api POST /uploads
    refused 403 tariff_forbids_upload
    option 360.tariff '"no_api"'
    api GET "/uploads/$ID"
    refused 403 tariff_does_not_allow_api
    emu_post options '{"360.tariff":"full","360.scope":"read"}'
    api GET "/uploads/$ID"
    refused 403 insufficient_scope
    api GET /projects/old
    says 200
    option 360.scope '"write"'
    api GET /projects/old
    refused 403 insufficient_scope
    create_of "$ID"
    says 201
}

@test "emulator, 360: a missing, wrong or misplaced token is refused" {
    send GET /projects/x
    refused 401 missing_bearer_token
    breached "no Authorization"
    send GET /projects/x -H "Authorization: $KEY"
    refused 401 missing_bearer_token
    breached 'no \"Bearer TOKEN\"'
    send GET /projects/x -H "Authorization: Bearer $TOKEN"
    refused 401 invalid_api_key
    breached "the token of another service"
    api GET /projects/x -H "Authorization: Bearer $KEY"
    refused 401 missing_bearer_token
    breached "two Authorizations"
    api GET "/projects/x?key=$KEY"
    breached "the token stands in the URL" "a query"
    create "{\"download_link\":\"https://example.com/a.zip\",\"title\":\"$KEY\"}"
    breached "the token stands in the body"
    option 360.token '"sk_new"'
    api GET /projects/x
    refused 401 invalid_api_key
    KEY=sk_new
    api GET /projects/x
    refused 404 project_not_found
}

# --- sessions -----------------------------------------------------------------------------------

@test "emulator, 360: a session ends when it is deleted or its time is over, with all its files" {
    random "$T/src/a.jpg" 1000
    open_session
    put a.jpg "$T/src/a.jpg"
    emu_post 360/expire "{\"session\":\"$ID\"}"
    put a.jpg "$T/src/a.jpg"
    refused 404 upload_session_not_found
    api GET "/uploads/$ID"
    refused 404 upload_session_not_found
    create_of "$ID"
    refused 404 upload_session_not_found
    equal "files left" "$(emu_get 360/digest "session=$ID")" ""
    equal "state" "$(emu_get 360/sessions | jq -r '.[0].state')" expired
    option 360.gone_status 400
    api GET "/uploads/$ID"
    refused 400 invalid_upload_id
    sleep 1.1
    put a.jpg "$T/src/a.jpg"
    breached "said to be over"
    option 360.expires_s 0
    api POST /uploads
    ID=$(told upload_id)
    option 360.gone_status 404
    api GET "/uploads/$ID/a.jpg"
    refused 404 upload_session_not_found
    option 360.expires_s 1000
    open_session
    put a.jpg "$T/src/a.jpg"
    local _
    for _ in 1 2; do
        api DELETE "/uploads/$ID"
        says 200 '. == {deleted: true}'
    done
    api GET "/uploads/$ID/a.jpg"
    refused 404 upload_session_not_found
}

@test "emulator, 360: a session's time may begin anew with each PUT" {
    random "$T/src/a.jpg" 1000
    emu_post options '{"360.expires_s":100,"360.expiry_from":"creation"}'
    open_session
    option 360.expires_s 100000
    put a.jpg "$T/src/a.jpg"
    equal "prolonged" "$(emu_get 360/sessions | jq '.[0].expires_in_ms > 100000')" false
    option 360.expiry_from '"last_put"'
    chunk b.jpg "$T/src/a.jpg" 0 10
    equal "prolonged" "$(emu_get 360/sessions | jq '.[0].expires_in_ms > 100000')" true
}

@test "emulator, 360: an id that was never given out is a breach" {
    local id code
    for id in short abcdefghi abcd%2Fefg; do
        api GET "/uploads/$id"
        refused 400 invalid_upload_id
        breached "has not their form"
    done
    api GET /uploads/abcdefgh/a.jpg
    refused 404 upload_session_not_found
    breached "never given out"
    api DELETE /uploads/abcdefgh
    says 200 .deleted
    breached "never given out"
    create_of abcdefgh
    refused 404 upload_session_not_found
    breached "never given out"
}

# --- faults -------------------------------------------------------------------------------------

@test "emulator, 360: faults hit its endpoints" {
    printf x >"$T/src/a.jpg"
    open_session
    put a.jpg "$T/src/a.jpg"
    fault '{"endpoint":"open","status":503,"retry_after":0,"count":1}'
    api POST /uploads
    refused 503 server_error
    fault '{"endpoint":"open","reset":"before","count":1}'
    api POST /uploads
    equal "status" "$CODE" 000
    equal "sessions" "$(emu_get 360/sessions | jq length)" 1
    fault '{"endpoint":"progress","match":"a.jpg","garbage":true,"count":1}'
    api GET "/uploads/$ID/a.jpg"
    fails_with "parse" jq . <<<"$BODY"
    fault '{"endpoint":"session","cut":5,"count":1}'
    api GET "/uploads/$ID"
    equal "cut" "$BODY" '{"upl'
    fault '{"endpoint":"create","status":400,"body":"{\"error\":\"project_creation_failed\"}","count":1}'
    create_of "$ID"
    refused 400 project_creation_failed
    fault '{"endpoint":"create","delay_ms":300,"status":504,"processed":true,"count":1}'
    local start=${EPOCHREALTIME/./}
    create_of "$ID"
    refused 504 server_error
    equal "projects" "$(emu_get 360/projects | jq length)" 1
    at_most "300 ms" 300000 $((${EPOCHREALTIME/./} - start))
    fault '{"endpoint":"project","status":429,"retry_after":60,"count":1}'
    api GET "/projects/$ID"
    refused 429 rate_limited
    api GET "/projects/$ID"
    breached "Retry-After"
    fault '{"endpoint":"projects","status":401,"count":1}'
    api GET /projects
    refused 401 invalid_api_key
    fault '{"endpoint":"discard","stall":0,"count":1}'
    api DELETE "/uploads/$ID" -m 1
    equal "status" "$CODE" 000
    equal "state" "$(emu_get 360/sessions | jq -r '.[0].state')" deleted
}
