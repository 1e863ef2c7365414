load lib_sm3d

# What the emulator promises of ShareMy3D's storage host, which is Google's: signed URLs, reading, and
# resumable uploads, for a client that keeps to their documents.

# --- signed URLs --------------------------------------------------------------------------------

# has PATTERN...: the downloadUrl has such parameters, in this order
has() {
    local pattern rest=${GET#*\?}
    for pattern; do
        [[ $rest =~ (^|&)$pattern ]]
        rest=${rest#*"${BASH_REMATCH[0]}"}
    done
}

@test "emulator, ShareMy3D: signed URLs come in every form, and all of them work" {
    local form
    random "$T/src/a.ply" 1000
    for form in v2 v4 lower opaque; do
        emu_post options "{\"sm3d.notice_ms\":0,\"sm3d.url_form\":\"$form\",\"sm3d.put_form\":\"$form\"}"
        upload "$T/src/a.ply"
        link
        case $form in
        v2) has GoogleAccessId=.*%40 'Expires=[0-9]{10}' 'Signature=.*%3D%3D$' ;;
        v4) has X-Goog-Algorithm=GOOG4-RSA-SHA256 'X-Goog-Credential=[^&/]+%2Fgoog4_request' \
            'X-Goog-Date=[0-9]{8}T[0-9]{6}Z' X-Goog-Expires=300 X-Goog-SignedHeaders=host \
            'X-Goog-Signature=[0-9a-f]{512}$' ;;
        lower) has x-goog-date=.*Z x-goog-expires=300 'x-goog-signature=[0-9a-f]{512}$' ;;
        opaque) [[ $GET == *\?ticket=* && $GET != *xpires* ]] ;;
        esac
        at GET "$GET"
        cmp "$T/body" "$T/src/a.ply"
    done
    new_session "$T/src/a.ply"
    query
    equal "secrets in the log" "$(emu_get log | grep -c -i -E '(signature|upload_id|ticket)=[^.]')" 0
    equal "queries in the log" "$(emu_get log | grep -c 'upload_id=\.\.\.')" 1
}

# bats test_tags=quick
@test "emulator, ShareMy3D: a signed URL ends when it says, with an error as XML" {
    option sm3d.put_ttl_s 0
    random "$T/src/a.ply" 1000
    new "$T/src/a.ply"
    put "$T/src/a.ply"
    xml 400 ExpiredToken
    seed_model '{"size":1000}'
    link
    at GET "$GET" -r 0-9
    equal "status" "$CODE" 206
    option sm3d.clock_s 200
    at GET "$GET" -r 0-9
    equal "status before" "$CODE" 206
    option sm3d.clock_s 301
    at GET "$GET" -r 0-9
    xml 400 ExpiredToken
    emu_post options '{"signed_ttl_s":0,"sm3d.expired_status":403,"sm3d.url_form":"v2"}'
    link
    at GET "$GET"
    xml 403 AccessDenied
}

@test "emulator, ShareMy3D: a signed URL is good only as it was given out" {
    local url
    random "$T/src/a.ply" 1000
    seed_model '{"size":1000}'
    link
    for url in "$GET&x=1" "${GET/originals/Originals}" "${GET%?}" "${GET/Expires=300/Expires=301}" \
        "${GET%%\?*}?${GET#*&}"; do
        at GET "$url"
        [ "$CODE" = 403 ]
    done
    at GET "${GET%%\?*}"
    xml 403 AccessDenied
    at HEAD "$GET" -I
    equal "status" "$CODE" 403
    at GET "$GET" -H 'x-goog-if-generation-match: 1'
    xml 403 SignatureDoesNotMatch
    option sm3d.head '"allowed"'
    at HEAD "$GET" -I
    equal "answer" "$CODE $(header Content-Length)" "200 1000"
    new "$T/src/a.ply" # V2: it covers what was not signed, too
    at PUT "$PUT" -H 'Content-Type: model/ply' --data-binary @"$T/src/a.ply"
    xml 403 SignatureDoesNotMatch
    at PUT "$PUT" -H 'Content-Type:' --data-binary @"$T/src/a.ply" \
        -H "Content-MD5: $(openssl md5 -binary "$T/src/a.ply" | base64)"
    xml 403 SignatureDoesNotMatch
    option sm3d.put_form '"v4"'
    mv "$T/src/a.ply" "$T/src/b.ply"
    new "$T/src/b.ply"
    at PUT "$PUT" -H 'Content-Type:' -H 'Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==' --data-binary @"$T/src/b.ply"
    xml 400 BadDigest
    at PUT "$PUT" -H 'Content-Type: model/ply' --data-binary @"$T/src/b.ply"
    equal "status" "$CODE" 200
}

# --- reading ------------------------------------------------------------------------------------

@test "emulator, ShareMy3D: objects are described as Google describes them, and served in ranges" {
    local md5 crc
    random "$T/src/a.ply" 1000
    upload "$T/src/a.ply"
    wait_until 5 is ACTIVE
    link
    at GET "$GET" -r 100-199
    equal "status" "$CODE" 206
    cmp "$T/body" <(tail -c +101 "$T/src/a.ply" | head -c 100)
    equal "range" "$(header Content-Range)" "bytes 100-199/1000"
    md5=$(openssl md5 -binary "$T/src/a.ply" | base64)
    equal "ETag" "$(header ETag)" "\"$(md5sum <"$T/src/a.ply" | cut -c-32)\""
    equal "length" "$(header x-goog-stored-content-length) $(header x-goog-stored-content-encoding)" "1000 identity"
    [[ $(header x-goog-generation) =~ ^[0-9]{16}$ ]]
    equal "hash lines" "$(header x-goog-hash | wc -l)" 2
    crc=$(header x-goog-hash | sed -n 's/crc32c=//p')
    equal "MD5" "$(header x-goog-hash | sed -n 's/md5=//p')" "$md5"
    at GET "$GET" -H 'If-Match: "no"'
    xml 412 PreconditionFailed
    option sm3d.hashes '"joined"'
    at GET "$GET"
    equal "hashes" "$(header x-goog-hash)" "crc32c=$crc,md5=$md5"
    option sm3d.hashes '"crc32c"'
    at GET "$GET"
    equal "hashes" "$(header x-goog-hash)" "crc32c=$crc"
    [[ $(header ETag) == '"C'* ]]
    emu_post options '{"sm3d.goog_headers":false,"etag":false}'
    at GET "$GET"
    equal "headers" "$CODE$(header x-goog-hash)$(header x-goog-generation)$(header ETag)" 200
    option range false
    at GET "$GET" -r 0-9
    equal "status" "$CODE" 200
}

@test "emulator, ShareMy3D: CRC32C and MD5 are those of the test vectors" {
    local vector text crc md5
    for vector in '123456789 4waSgw== JfnnlDI7RTiF9RgfG2JNCw==' 'a wdBDMA== DMF1ucDxtqgxw5niaXcmYQ=='; do
        read -r text crc md5 <<<"$vector"
        seed_model "{\"text\":\"$text\"}"
        link
        at GET "$GET"
        equal "hashes of $text" "$(header x-goog-hash | tr '\n' ' ')" "crc32c=$crc md5=$md5 "
    done
}

@test "emulator, ShareMy3D: another content of a model has another generation" {
    seed_model '{"text":"the first"}'
    link
    at GET "$GET"
    local first
    first=$(header x-goog-generation)
    emu_post sm3d/replace "{\"id\":\"$ID\",\"text\":\"the second\"}"
    at GET "$GET"
    equal "content" "$BODY" "the second"
    [ "$(header x-goog-generation)" -gt "$first" ]
    is ACTIVE
    says 200 '.size == 10'
}

@test "emulator, ShareMy3D: an object stored with gzip is unpacked on the way, or comes as stored" {
    seed_model '{"size":200000,"seed":5,"gzip":true}'
    emu_get sm3d/content "id=$ID" >"$T/plain"
    link
    at GET "$GET" -r 5-9
    equal "status" "$CODE" 200
    cmp "$T/body" "$T/plain"
    equal "headers" "$(header x-goog-stored-content-encoding)$(header Content-Encoding)$(header Content-Length)" gzip
    local length
    length=$(header x-goog-stored-content-length)
    [ "$length" -gt 200000 ]
    at GET "$GET" -H 'Accept-Encoding: gzip'
    equal "headers" "$(header Content-Encoding) $(header Content-Length)" "gzip $length"
    cp "$T/body" "$T/packed"
    gzip -dc <"$T/packed" | cmp - "$T/plain"
    equal "MD5" "$(header x-goog-hash | sed -n 's/md5=//p')" "$(openssl md5 -binary "$T/packed" | base64)"
    at GET "$GET" -H 'Accept-Encoding: gzip' -r 5-9
    equal "status" "$CODE" 206
    cmp "$T/body" <(tail -c +6 "$T/packed" | head -c 5)
}

# named FORM HEADER-OR-PATTERN: where the name of the model's file shows
named() {
    option sm3d.filename_in "\"$1\""
    seed_model "$(jq -n --arg f "$2" '{filename: $f, text: "x"}')"
    link
    at GET "$GET"
    equal "status" "$CODE" 200
    equal "$1" "$(header Content-Disposition)" "$3"
}

@test "emulator, ShareMy3D: the file's name shows in the answer, in the path, or not at all" {
    named disposition Book.ply 'attachment; filename="Book.ply"'
    [[ $GET == *response-content-disposition=attachment%3B%20filename%3D%22Book.ply%22* ]]
    named header 'Größe "1".ply' \
        $'attachment; filename="Gr____e \\"1\\".ply"; filename*=UTF-8\'\'Gr%C3%B6%C3%9Fe%20%221%22.ply'
    named disposition ../../etc/passwd 'attachment; filename="../../etc/passwd"'
    named path 'a b+ö.ply' ''
    [[ $GET == */originals/$ID/a%20b%2B%C3%B6.ply\?* ]]
    named none Book.ply ''
    [[ $GET != *Book* ]]
}

# --- resumable uploads --------------------------------------------------------------------------

# holding NUMBER...: the session has kept one of these
holding() {
    [[ " $* " == *" $(session received) "* ]]
}

# bats test_tags=quick
@test "emulator, ShareMy3D: a resumable upload tells what it keeps, and goes on after any break" {
    random "$T/src/a.ply" 1000000
    new_session "$T/src/a.ply"
    [[ $PUT == *\?uploadType=resumable\&name=originals%2F$ID\&upload_id=* ]]
    query
    kept 0
    piece "$T/src/a.ply" 0 262144
    kept 262144
    fault '{"endpoint":"session_put","reset":"during","reset_at":300000,"count":1}'
    piece "$T/src/a.ply" 262144 737856
    equal "status" "$CODE" 000
    wait_until 5 holding 524288 786432
    local from
    from=$(session received)
    query 1000000
    kept "$from"
    fault '{"endpoint":"session_put","reset":"after","count":1}'
    piece "$T/src/a.ply" "$from" $((1000000 - from))
    query 1000000
    says 200 '.size == "1000000" and .kind == "storage#object" and (.md5Hash|length == 24) and (.crc32c|length == 8)'
    equal "MD5" "$(told md5Hash)" "$(openssl md5 -binary "$T/src/a.ply" | base64)"
    holds "$T/src/a.ply"
    wait_until 5 is ACTIVE
    equal "state" "$(session state)" done
}

@test "emulator, ShareMy3D: sessions of signed URLs answer with headers only" {
    local form
    random "$T/src/a.ply" 600000
    for form in xml start; do
        option sm3d.resumable_form "\"$form\""
        new_session "$T/src/a.ply"
        if [ $form = start ]; then
            at POST "$PUT" -H 'x-goog-resumable: start' -H 'Content-Type:' -H 'Content-Length: 0'
            equal "status" "$CODE" 201
            PUT=$(header Location)
        fi
        [[ $PUT == */sharemy3d/originals/$ID\?upload_id=* ]]
        piece "$T/src/a.ply" 0 524288
        kept 524288
        piece "$T/src/a.ply" 524288 75712
        equal "answer" "$CODE$BODY $(header x-goog-stored-content-length)" "200 600000"
        holds "$T/src/a.ply"
    done
    option sm3d.put_form '"v4"'
    new_session "$T/src/a.ply"
    at POST "$PUT" -H 'Content-Type:' -H 'Content-Length: 0'
    xml 403 SignatureDoesNotMatch
    at PUT "$PUT" -H 'Content-Type:' --data-binary @"$T/src/a.ply"
    xml 403 SignatureDoesNotMatch
}

@test "emulator, ShareMy3D: the mark may lie below what was sent, also after the last chunk" {
    random "$T/src/a.ply" 1500000
    new_session "$T/src/a.ply"
    option sm3d.short_every 1
    piece "$T/src/a.ply" 0 524288
    kept 262144
    piece "$T/src/a.ply" 262144 1237856
    kept 786432
    option sm3d.short_every 0
    emu_post sm3d/rewind "{\"id\":\"$ID\",\"received\":0}"
    piece "$T/src/a.ply" 786432 713568
    equal "status" "$CODE" 503
    [[ $BODY == *Content-Range*786432* && $(header Content-Type) == text/plain* ]]
    query
    kept 0
    finish "$T/src/a.ply" 524288
    holds "$T/src/a.ply"
}

@test "emulator, ShareMy3D: bytes that are kept already are ignored, a whole body needs no range" {
    random "$T/src/a.ply" 700000
    new_session "$T/src/a.ply"
    piece "$T/src/a.ply" 0 524288
    piece "$T/src/a.ply" 262144 437856
    equal "status" "$CODE" 200
    holds "$T/src/a.ply"
    new_session "$T/src/a.ply"
    at PUT "$PUT" -H 'Content-Type:' --data-binary @"$T/src/a.ply"
    equal "status" "$CODE" 200
    holds "$T/src/a.ply"
    option sm3d.empty '"accepted"'
    : >"$T/src/empty.ply"
    new_session "$T/src/empty.ply"
    query 0
    equal "status" "$CODE" 200
    holds "$T/src/empty.ply"
}

# holds_between FROM TO: the session has kept so many
holds_between() {
    local received
    received=$(session received)
    [ "$received" -ge "$1" ] && [ "$received" -le "$2" ]
}

@test "emulator, ShareMy3D: of a broken PUT multiples of 256 KiB are kept, or nothing, or all that came" {
    random "$T/src/a.ply" 900000
    fault '{"endpoint":"session_put","reset":"during","reset_at":700000}'
    option sm3d.torn '"drop"'
    new_session "$T/src/a.ply"
    piece "$T/src/a.ply" 0 900000
    query
    kept 0
    option sm3d.torn '"bytes"'
    piece "$T/src/a.ply" 0 900000
    wait_until 5 holds_between 700000 900000
    clear_faults
    finish "$T/src/a.ply" 900000
    holds "$T/src/a.ply"
}

@test "emulator, ShareMy3D: a session dies of age, of a break, or is cancelled" {
    random "$T/src/a.ply" 600000
    new_session "$T/src/a.ply"
    piece "$T/src/a.ply" 0 262144
    emu_post sm3d/break "{\"id\":\"$ID\"}"
    query
    equal "status" "$CODE" 410
    new_session "$T/src/a.ply"
    emu_post sm3d/break "{\"id\":\"$ID\",\"status\":404}"
    query
    equal "status" "$CODE" 404
    new_session "$T/src/a.ply"
    at DELETE "$PUT"
    equal "status" "$CODE" 499
    query
    equal "status" "$CODE" 410
    equal "state" "$(session state)" cancelled
    emu_post options '{"sm3d.session_s":0,"sm3d.session_from":"last_put"}'
    new_session "$T/src/a.ply"
    query
    equal "status" "$CODE" 404
    equal "state" "$(session state)" expired
}

@test "emulator, ShareMy3D: hashes that are sent along are compared" {
    random "$T/src/a.ply" 1000
    new_session "$T/src/a.ply"
    piece "$T/src/a.ply" 0 1000 1000 -H 'x-goog-hash: crc32c=AAAAAA==,md5=1B2M2Y8AsgTpgAmY7PhCfg=='
    equal "answer" "$CODE $BODY" "400 $BODY"
    is UPLOADING
    piece "$T/src/a.ply" 0 1000 1000 -H "x-goog-hash: md5=$(openssl md5 -binary "$T/src/a.ply" | base64)"
    equal "status" "$CODE" 200
    holds "$T/src/a.ply"
}

@test "emulator, ShareMy3D: a model that was deleted leaves its session, whose bytes nobody sees" {
    random "$T/src/a.ply" 600000
    new_session "$T/src/a.ply"
    piece "$T/src/a.ply" 0 262144
    api DELETE "/models/$ID"
    piece "$T/src/a.ply" 262144 337856
    equal "status" "$CODE" 200
    api GET /models
    says 200 '.models == []'
}

@test "emulator, ShareMy3D: zeros cost no disk" {
    truncate -s 20M "$T/src/a.ply"
    new_session "$T/src/a.ply"
    piece "$T/src/a.ply" 0 10485760
    finish "$T/src/a.ply" 20971520
    holds "$T/src/a.ply"
    at_most "bytes on disk" "$(du -s -B1 "$T/emu" | cut -f1)" 2000000
}
