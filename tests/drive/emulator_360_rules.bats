load lib_360

# What the emulator promises of 360-for-you to the tests of the drive: whoever breaks a rule of its
# document makes a breach.

# --- gaps, lengths, two at once -----------------------------------------------------------------

@test "emulator, 360: a gap is refused and a breach" {
    random "$T/src/a.e57" 300000
    open_session
    chunk a.e57 "$T/src/a.e57" 100000 100000
    refused 409 non_contiguous_chunk
    says 409 '.received == 0'
    breached "a gap"
    chunk a.e57 "$T/src/a.e57" 0 100000
    chunk a.e57 "$T/src/a.e57" 100001 100000
    says 409 '.received == 100000'
    breached "a gap"
}

@test "emulator, 360: a second PUT of a file at the same time is a breach, unless the first was given up" {
    random "$T/src/a.e57" 300000
    open_session
    curl -s -m 100 -o /dev/null --limit-rate 5k -X PUT -H "Authorization: Bearer $KEY" -H "$TYPE" \
        --data-binary @"$T/src/a.e57" "$URL_360/uploads/$ID/a.e57" 3>&- &
    local first=$!
    wait_until 5 under_way
    chunk b.e57 "$T/src/a.e57" 0 100000
    says 200
    breached
    chunk a.e57 "$T/src/a.e57" 0 100000
    breached "a second PUT of this file"
    kill -9 $first
    wait $first || true
    put a.e57 "$T/src/a.e57"
    says 200 .complete
}

under_way() {
    emu_get log | jq -e 'any(.[]; .endpoint == "put" and .status == 0)' >/dev/null
}

# wrong CODE ERROR BREACH RANGE [CURL-OPTION...]: a PUT of 100 bytes
wrong() {
    api PUT "/uploads/$ID/w.e57" -H "$TYPE" -H "Content-Range: $4" --data-binary @"$T/src/hundred" \
        "${@:5}"
    refused "$1" "$2"
    breached "$3"
}

@test "emulator, 360: a length or range that does not fit is refused and a breach" {
    random "$T/src/hundred" 100
    open_session
    wrong 400 chunk_length_mismatch "100 bytes are announced" "bytes 0-98/100"
    wrong 400 chunk_length_mismatch "100 bytes are announced" "bytes 0-100/300"
    wrong 400 chunk_length_mismatch "100 bytes came" "bytes 0-98/100" -H 'Transfer-Encoding: chunked'
    wrong 400 chunk_length_mismatch "100 bytes came" "bytes 0-100/200" -H 'Transfer-Encoding: chunked'
    local range
    for range in "bytes 0-99/99" "bytes 5-4/200" "0-99/100" "bytes=0-99/100" "bytes 0-99/*" \
        "bytes */100" "bytes -5-94/100" "bytes 0-99/100 " "bytes 0-99/99999999999999999999"; do
        wrong 400 invalid_content_range "Content-Range" "$range"
    done
    api PUT "/uploads/$ID/w.e57" -H "$TYPE" -H 'Transfer-Encoding: chunked' --data-binary @"$T/src/hundred"
    refused 411 length_required
    breached "without Content-Length"
    api PUT "/uploads/$ID/w.e57" --data-binary @"$T/src/hundred"
    says 200 .complete
    breached 'Content-Type \"application/x-www-form-urlencoded\"'
    option 360.empty_files '"length_required"'
    : >"$T/src/empty"
    put e.txt "$T/src/empty"
    refused 411 length_required
    breached
}

@test "emulator, 360: another total, or another content of a complete file, is a breach" {
    random "$T/src/a.jpg" 1000
    random "$T/src/b.jpg" 1000
    open_session
    chunk a.jpg "$T/src/a.jpg" 0 500
    chunk a.jpg "$T/src/a.jpg" 500 100 1001
    refused 400 invalid_content_range
    breached "a total of 1001 bytes"
    chunk a.jpg "$T/src/a.jpg" 500 500
    put a.jpg "$T/src/b.jpg"
    says 200 .complete
    breached "another content"
    chunk a.jpg "$T/src/a.jpg" 0 1000 2000
    says 200 '.complete and .total == 1000'
    breached "another content"
    put A.jpg "$T/src/b.jpg"
    breached "another content"
    rm "$T/src/b.jpg"
    held "session=$ID" "$T/src"
    option 360.name_case '"exact"'
    put A.jpg "$T/src/a.jpg"
    cp "$T/src/a.jpg" "$T/src/A.jpg"
    held "session=$ID" "$T/src"
}

# --- projects -----------------------------------------------------------------------------------

# bats test_tags=quick
@test "emulator, 360: a second project of one session is a breach, whether made or not" {
    printf x >"$T/src/a.jpg"
    open_session
    put a.jpg "$T/src/a.jpg"
    fault '{"endpoint":"create","reset":"after","count":1}'
    create_of "$ID"
    equal "status" "$CODE" 000
    equal "projects" "$(emu_get 360/projects | jq length)" 1
    create_of "$ID"
    says 201 ".name != \"$ID\""
    breached "again for"
    equal "projects" "$(emu_get 360/projects | jq length)" 2
    option 360.used_session '"gone"'
    create_of "$ID"
    refused 404 upload_session_not_found
    breached "again for"
    api GET "/uploads/$ID"
    refused 404 upload_session_not_found
    option 360.used_session '"kept"'
    put b.jpg "$T/src/a.jpg"
    says 200
    breached "that project"
    create '{"download_link":"https://example.com/a.zip","title":"A"}'
    create '{"download_link":"https://example.com/a.zip","title":"B"}'
    breached
    create '{"download_link":"https://example.com/a.zip","title":"A"}'
    breached "again for"
    api DELETE "/uploads/$ID"
    says 200 .deleted
    equal "files" "$(emu_get 360/digest "project=$ID" | wc -l)" 2
}

@test "emulator, 360: a project's name may be another than the upload_id, which may be somebody else's" {
    printf x >"$T/src/a.jpg"
    open_session
    put a.jpg "$T/src/a.jpg"
    option 360.slug '"other"'
    create_of "$ID"
    says 201 ".name != \"$ID\""
    api GET "/projects/$ID"
    refused 404 project_not_found
    open_session
    put a.jpg "$T/src/a.jpg"
    option 360.slug '"taken"'
    create_of "$ID"
    says 201 ".name != \"$ID\""
    api GET "/projects/$ID"
    says 200 '.title == "Somebody else'\''s"'
}

# no_project CODE ERROR BREACH JSON
no_project() {
    create "$4"
    refused "$1" "$2"
    breached "$3"
}

@test "emulator, 360: what cannot become a project is refused and a breach" {
    random "$T/src/a.jpg" 1000
    option 360.rate_percent 1000
    open_session
    no_project 400 project_creation_failed "without files" "{\"upload_id\":\"$ID\"}"
    chunk a.jpg "$T/src/a.jpg" 0 500
    no_project 400 project_creation_failed "1 incomplete files" "{\"upload_id\":\"$ID\"}"
    chunk a.jpg "$T/src/a.jpg" 500 500
    no_project 400 upload_id_or_download_link_required "neither" '{"title":"x"}'
    no_project 400 provide_either_upload_id_or_download_link "both" \
        "{\"upload_id\":\"$ID\",\"download_link\":\"https://example.com/\"}"
    no_project 400 invalid_upload_id "has not their form" '{"upload_id":"x"}'
    no_project 400 project_creation_failed "no http address" '{"download_link":"file:///etc/passwd"}'
    no_project 400 invalid_request "is no string" "{\"upload_id\":\"$ID\",\"title\":5}"
    no_project 400 invalid_request "is no string" '{"upload_id":null}'
    no_project 400 invalid_request "is not 0, 1 or 2" "{\"upload_id\":\"$ID\",\"privacy_mode\":\"2\"}"
    no_project 400 invalid_request "is not 0, 1 or 2" "{\"upload_id\":\"$ID\",\"privacy_mode\":3}"
    no_project 400 invalid_request "no JSON object" "{\"upload_id\":\"$ID\""
    no_project 400 invalid_request "no JSON object" '[]'
    option 360.known_fields '"video_fps,levels"'
    create "{\"upload_id\":\"$ID\",\"levels\":5,\"frobnicate\":1}"
    says 201
    breached '\"frobnicate\" is no documented field'
    api POST /projects -H 'Content-Type: text/plain' -d '{"download_link":"https://example.com/a"}'
    says 201
    breached 'Content-Type \"text/plain\"'
}

# --- requests that no document knows ------------------------------------------------------------

@test "emulator, 360: unknown endpoints, methods, queries and bodies are breaches" {
    open_session
    api POST "/uploads/$ID"
    refused 405 method_not_allowed
    breached "wrong method"
    api HEAD "/uploads/$ID" -I
    breached "wrong method"
    local path
    for path in / /uploads/ /upload "/uploads/$ID/" /projects/x/y/z; do
        api GET "$path"
        refused 404 not_found
        emu_get breaches | grep -q "unknown endpoint"
        emu_delete breaches
    done
    api GET "/uploads/$ID?page=2"
    breached "a query"
    api DELETE "/uploads/$ID" -d x
    breached "a body"
}

# --- rates --------------------------------------------------------------------------------------

# spend N METHOD PATH [CURL-OPTION...]: N requests in one go; prints how many were answered 429. In
# PATH, [A-B] counts.
spend() {
    curl -s -m 20 -o /dev/null -w '%{http_code}\n' -X "$2" -H "Authorization: Bearer $KEY" "${@:4}" \
        "$URL_360$3?[1-$1]" | grep -c 429 || true
}

# limit NAME N METHOD PATH [CURL-OPTION...]: N are answered, the next one is not
limit() {
    equal "limit of $1" "$(emu_get 360/rates | jq ".$1.limit - .$1.used")" "$2"
    equal "refused of $1" "$(spend "$2" "${@:3}")" 0
    emu_delete breaches # of the queries that curl counts with
    api "${@:3}"
    refused 429 rate_limited
    breached "requests of this kind"
    [ "$(header Retry-After)" -ge 1 ]
    at_most "Retry-After of $1" "$(header Retry-After)" \
        $(("$(emu_get 360/rates | jq ".$1.window_ms")" / 1000))
}

@test "emulator, 360: every rate of the table is kept, and one request more is a breach" {
    open_session
    emu_delete 360/rates
    equal "the table" "$(emu_get 360/rates | jq -c '[.[]|[.limit, .window_ms / 1000]]')" \
        "[[30,3600],[1200,60],[600,60],[120,60],[60,60],[10,3600],[60,60]]"
    emu_post options '{"360.rate_percent":10,"360.rate_minute_ms":3600000}'
    limit open 3 POST /uploads
    limit put 120 PUT "/uploads/$ID/a.jpg" -H "$TYPE" -d x
    limit progress 60 GET "/uploads/$ID/a.jpg"
    limit session 12 GET "/uploads/$ID"
    limit discard 6 DELETE "/uploads/$ID"
    limit create 1 POST /projects -H "$JSON" -d '{"download_link":"https://example.com/a.zip"}'
    limit project 6 GET /projects/x
}

@test "emulator, 360: windows slide or follow each other, and outlive a crash of the service" {
    emu_post options '{"360.rate_percent":10,"360.rate_minute_ms":60000}'
    equal "refused" "$(spend 6 GET /projects/x)" 0
    kill_emulator
    start_emulator
    emu_post options '{"360.rate_percent":10,"360.rate_breach":false}'
    api GET /projects/x
    refused 429 rate_limited
    emu_delete 360/rates
    emu_delete breaches
    option 360.rate_minute_ms 1000
    equal "refused" "$(spend 6 GET /projects/x)" 0
    sleep 1
    api GET /projects/x
    refused 404 project_not_found
    emu_delete breaches
    emu_post options '{"360.rate_shape":"fixed","360.rate_minute_ms":2000000000}'
    emu_delete 360/rates
    equal "refused" "$(spend 7 GET /projects/x)" 1
    emu_delete breaches
}

@test "emulator, 360: a Retry-After is told in every form, and to come before it is over is a breach" {
    emu_post options '{"360.rate_percent":1,"360.rate_breach":false}'
    api POST /uploads
    says 201
    api POST /uploads
    refused 429 rate_limited
    equal "Retry-After" "$(header Retry-After)" 3600
    breached
    sleep 1.1
    api POST /uploads
    breached "before the time that a 429's Retry-After had set"
    emu_post options '{"360.retry_after":"date","360.rate_counts_refused":false}'
    api POST /uploads
    at_most "distance" $(($(date -d "$(header Retry-After)" +%s) - $(date +%s))) 3601
    option 360.retry_after '"none"'
    emu_delete breaches
    api POST /uploads
    refused 429 rate_limited
    equal "Retry-After" "$(header Retry-After)" ""
}
