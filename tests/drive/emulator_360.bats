load lib

# What the emulator promises of 360-for-you to the tests of the drive: a client that keeps to the
# document meets no breach, one that does not always does, and every documented answer comes.

setup() {
    new_place
    start_emulator
    BASE=$(jq -r .three_sixty "$T/emu.json")
    KEY=$(jq -r .three_sixty_token "$T/emu.json")
    TYPE='Content-Type: application/octet-stream'
    JSON='Content-Type: application/json'
}

# send METHOD PATH [CURL-OPTION...]: the answer's status is in CODE, its body in BODY, its head in
# $T/head; 000 if there was none.
send() {
    : >"$T/body"
    CODE=$(curl -s -m 20 -o "$T/body" -D "$T/head" -w '%{http_code}' -X "$1" "${@:3}" "$BASE$2") || true
    BODY=$(<"$T/body")
}

# The same with the token.
api() {
    send "$@" -H "Authorization: Bearer $KEY"
}

# says CODE [JQ-CONDITION]: what the last answer was
says() {
    equal "status" "$CODE" "$1"
    [ $# -eq 1 ] || jq -e "$2" <<<"$BODY" >/dev/null || {
        echo "$BODY is not: $2" >&2
        return 1
    }
}

# refused CODE ERROR
refused() {
    equal "answer" "$CODE ${BODY%%[,\}]*}" "$1 {\"error\":\"$2\""
}

# told MEMBER: of the last answer's body
told() {
    local rest=${BODY#*"\"$1\":"}
    rest=${rest%%[,\}]*}
    rest=${rest#\"}
    echo "${rest%\"}"
}

header() {
    sed -n "s/^$1: \([^\r]*\)\r$/\1/Ip" "$T/head"
}

# breached [TEXT...]: there are these breaches (as JSON) and no others; they are forgiven
breached() {
    local text said lines
    said=$(emu_get breaches)
    if [ $# -eq 0 ]; then
        equal "breaches" "$said" "[]"
        return
    fi
    mapfile -t lines <<<"$said"
    equal "number of breaches in $said" "${#lines[@]}" $#
    for text; do
        [[ $said == *"$text"* ]] || {
            echo "no breach says '$text': $said" >&2
            return 1
        }
    done
    emu_delete breaches
}

# open_session: its id is in ID
open_session() {
    api POST /uploads
    equal "status" "$CODE" 201
    ID=$(told upload_id)
}

# put NAME FILE [CURL-OPTION...]: the whole file
put() {
    api PUT "/uploads/$ID/$1" -H "$TYPE" --data-binary @"$2" "${@:3}"
}

# chunk NAME FILE START LENGTH [TOTAL]: one piece of it
chunk() {
    local total=${5:-$(stat -c %s "$2")}
    tail -c +$(($3 + 1)) "$2" | head -c "$4" >"$T/chunk"
    api PUT "/uploads/$ID/$1" -H "$TYPE" -H "Content-Range: bytes $3-$(($3 + $4 - 1))/$total" \
        --data-binary @"$T/chunk"
}

# upload NAME FILE CHUNK: as the document's example does it
upload() {
    local size received
    size=$(stat -c %s "$2")
    api GET "/uploads/$ID/$1"
    received=$([ "$CODE" = 200 ] && told received || echo 0)
    while [ "$received" -lt "$size" ]; do
        chunk "$1" "$2" "$received" $((size - received < $3 ? size - received : $3))
        case $CODE in
        200 | 409) received=$(told received) ;;
        5??) ;;
        *) return 1 ;;
        esac
    done
    equal "complete" "$(told complete)" true
}

create() {
    api POST /projects -H "$JSON" -d "$1"
}

create_of() {
    create "{\"upload_id\":\"$1\",\"title\":\"Of $1\",\"privacy_mode\":2}"
}

# held QUERY DIR: the service has exactly the files of the folder, which are complete
held() {
    equal "files" "$(emu_get 360/digest "$1")" "$(digest_of "$2" | sed 's/  */  /')"
}

# ready NAME: the project is made
ready() {
    api GET "/projects/$1"
    [ "$(told status)" = 100 ]
}

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

# progress NAME FROM TO: so much was received
progress() {
    api GET "/uploads/$ID/$1"
    [ "$CODE" = 200 ] && [ "$(told received)" -ge "$2" ] && [ "$(told received)" -le "$3" ]
}

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
        --data-binary @"$T/src/a.e57" "$BASE/uploads/$ID/a.e57" 3>&- &
    local first=$!
    wait_until 5 under_way
    chunk b.e57 "$T/src/a.e57" 0 100000
    says 200 .
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
    says 200 .
    chunk b.jpg "$T/src/a.jpg" 0 10 1501
    says 200 .
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
    says 200 .
    option 360.scope '"write"'
    api GET /projects/old
    refused 403 insufficient_scope
    create_of "$ID"
    says 201 .
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
    says 200 .
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
    says 201 .
    breached '\"frobnicate\" is no documented field'
    api POST /projects -H 'Content-Type: text/plain' -d '{"download_link":"https://example.com/a"}'
    says 201 .
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
        "$BASE$3?[1-$1]" | grep -c 429 || true
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
    says 201 .
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
