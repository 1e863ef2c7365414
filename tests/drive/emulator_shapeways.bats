load lib_shapeways

# What the emulator promises of Shapeways to the tests of the drive: every documented answer comes, in the
# way that was recorded or that the document says, and a client that keeps to the document meets no breach.
# (emulator_shapeways_rules.bats: tokens, signatures, and a client that does not always keep to it.)

# bats test_tags=quick
@test "emulator, Shapeways: a file becomes a model and version 0, is told and read as it was" {
    random "$T/src/bracket.stl" 100000
    new "$T/src/bracket.stl" percent '"title":"Größe /1","uploadScale":0.001,"tags":["a","b"],"categories":[12]'
    says 200 ".result == \"success\" and .modelVersion == \"0\" and .title == \"Größe /1\" and .isPublic == 0
        and .fileName == \"bracket.stl\" and .contentLength == \"100000\" and .nextActionSuggestions == []
        and .fileMd5Checksum == \"$(md5 "$T/src/bracket.stl")\" and .materials == [] and .claimKey == \"\"
        and (.categories|keys) == [\"12\"] and (.secretKey|length) == 32"
    holds "$T/src/bracket.stl"
    equal "what is kept" "$(stored '|[.tags, .versions[0].scale, .versions[0].form]')" '[["a","b"],0.001,"percent"]'
    call GET "/models/$ID/v1"
    says 200 '.fileData == null and .modelVersion == "0" and (.printable|type) == "string"'
    call GET "/models/$ID/files/0/v1?file=0"
    says 200 '.fileData == null and .contentLength == "100000"'
    call GET "/models/$ID/files/0/v1?file=1"
    grep -q '\\/' "$T/body"
    jq -r .fileData "$T/body" | base64 -d | cmp - "$T/src/bracket.stl"
    call DELETE "/models/$ID/v1"
    says 200 ".modelId == \"$ID\""
    call GET "/models/$ID/v1"
    says 400 '.result == "failure" and (.reason|length) > 0'
    breached
}

@test "emulator, Shapeways: the wrong form of the file's text ends in other bytes, and MD5 and length tell" {
    head -c 100000 /dev/urandom | sed 's/.*/&\xfb\xff\xbf/' >"$T/src/a.stl" # surely with '+'
    new "$T/src/a.stl" plain
    says 200 ".fileMd5Checksum != \"$(md5 "$T/src/a.stl")\" and (.contentLength|tonumber) < $(stat -c %s "$T/src/a.stl")"
    post_file "/models/$ID/files/v1" "$T/src/a.stl" percent
    says 200 ".modelVersion == \"1\" and .fileMd5Checksum == \"$(md5 "$T/src/a.stl")\""
    holds "$T/src/a.stl"
    option shapeways.file_form '"plain"'
    post_file "/models/$ID/files/v1" "$T/src/a.stl" percent
    says 200 ".modelVersion == \"2\" and .fileMd5Checksum != \"$(md5 "$T/src/a.stl")\""
    post_file "/models/$ID/files/v1" "$T/src/a.stl" plain
    holds "$T/src/a.stl"
    option shapeways.file_form '"either"'
    post_file "/models/$ID/files/v1" "$T/src/a.stl" percent
    holds "$T/src/a.stl"
    post_file "/models/$ID/files/v1" "$T/src/a.stl" plain
    holds "$T/src/a.stl"
    equal "forms" "$(stored '|[.versions[].form]|join(" ")')" "plain percent percent plain percent plain"
    sed -i 's,/,\\/,g; s/"file":"\([^"]*\)A/"file":"\1\\u0041/' "$T/upload" # as JSON may write it
    grep -q '\\u0041' "$T/upload"
    call POST "/models/$ID/files/v1" --data-binary @"$T/upload"
    says 200 ".fileMd5Checksum == \"$(md5 "$T/src/a.stl")\""
    breached
}

@test "emulator, Shapeways: models are listed by 36, and after the last comes null" {
    seed_model '{"count":100,"size":10}'
    call GET /models/v1
    says 200 '(.models|length) == 36 and .models[0].title == "Model 000100" and .models[0].modelVersion == "0"
        and (.models[0].modelId|type) == "string" and (.models[0]|keys) == ["modelId", "modelVersion", "title"]'
    call GET '/models/v1?page=3'
    says 200 '(.models|length) == 28 and .models[-1].title == "Model 000001"'
    call GET '/models/v1?page=4'
    says 200 '.models == null'
    option shapeways.list_order '"oldest"'
    option shapeways.list_title '"modelTitle"'
    call GET /models/v1
    says 200 '.models[0].modelTitle == "Model 000001" and (.models[0]|has("title")|not)'
    option shapeways.empty_list '"absent"'
    call GET '/models/v1?page=4'
    says 200 'has("models")|not'
    as_documented
    call GET '/models/v1?page=4'
    says 200 '.models == [] and .nextActionSuggestions == {}'
    option shapeways.list_lag_ms 60000
    random "$T/src/a.stl" 10
    new "$T/src/a.stl"
    call GET '/models/v1?page=3'
    says 200 '(.models|length) == 28'
    breached
}

@test "emulator, Shapeways: a thousand models are seeded at once, and 28 calls list them" {
    seed_model '{"count":1000,"size":1000,"versions":2,"photos":1}'
    local urls=() lines i
    for ((i = 1; i <= 28; i++)); do urls+=("$API/models/v1?page=$i"); done
    header_for GET "${urls[@]}"
    mapfile -t lines <<<"$AUTH"
    for ((i = 0; i < 28; i++)); do
        printf 'url = "%s"\nheader = "%s"\nnext\n' "${urls[i]}" "${lines[i]//\"/\\\"}"
    done | sed '$d' >"$T/urls"
    curl -sS -m 20 -D "$T/head" -K "$T/urls" | jq -r '.models[]|.title' >"$T/titles"
    equal "models" "$(sort -u "$T/titles" | wc -l)" 1000
    equal "calls left" "$(emu_get shapeways/rate | jq -c .)" '{"limit":150,"window_ms":300000,"used":28}'
    equal "first" "$(emu_get shapeways/models | jq -c '.[0]|[.title, (.versions|length), (.photos|length)]')" \
        '["Model 000001",2,1]'
    breached
}

@test "emulator, Shapeways: a version that is not there is told like the last one, or refused" {
    seed_model '{"text":"solid","fileName":"a.stl","versions":2}'
    emu_post shapeways/version "{\"id\":$ID,\"text\":\"other\",\"fileName\":\"b.stl\"}"
    call GET "/models/$ID/files/1/v1"
    says 200 ".modelVersion == \"1\" and .fileName == \"a.stl\" and .contentLength == \"5\""
    call GET "/models/$ID/files/9/v1"
    says 200 ".modelVersion == \"9\" and .fileName == \"b.stl\" and .fileMd5Checksum == \"$(printf other | md5sum | cut -c1-32)\""
    option shapeways.no_version '"refused"'
    call GET "/models/$ID/files/9/v1"
    says 400 '.reason == "File version not found"'
    breached
}

@test "emulator, Shapeways: particulars are changed, and tags are told by nobody" {
    seed_model '{"size":10}'
    call PUT "/models/$ID/info/v1" -d '{"title":"Neu","description":"Zeile 1\n2","isPublic":true,"isForSale":1,"tags":["x"],
        "materials":{"6":{"markup":1.5,"isActive":1}},"defaultMaterialId":6,"categories":[1,4]}'
    says 200 '.title == "Neu" and .description == "Zeile 1\n2" and .isPublic == 1 and .isForSale == 1 and .isDownloadable == 0
        and .materials == {"6": {markup: "1.500000", isActive: 1}} and .defaultMaterialId == "6" and (has("tags")|not)
        and .categories["4"] == {title: "Games", level: "1", parentId: "0"}'
    equal "tags" "$(stored .tags)" '["x"]'
    call PUT "/models/$ID/info/v1" -d '{"materials":{"5":{"isActive":true}},"categories":[]}'
    says 200 '(.materials|keys) == ["5", "6"] and .categories == [] and .title == "Neu"'
    option shapeways.materials '"replace"'
    call PUT "/models/$ID/info/v1" -d '{"materials":{"5":{"isActive":true}}}'
    says 200 '(.materials|keys) == ["5"]'
    call GET "/models/$ID/info/v1"
    says 200 '.materials["5"].isActive == 1 and .materials["6"].isActive == 0 and .materials["6"].name == "White Strong & Flexible"
        and .materials["6"].basePrice == "1.500000" and (has("fileName")|not)'
    option shapeways.materials_told '"chosen"'
    as_documented
    call GET "/models/$ID/info/v1"
    says 200 ".modelId == $ID and .isPublic == true and (.materials|keys) == [\"5\"] and .materials[\"5\"].markup == 0
        and .categories == {} and .materials[\"5\"].restrictions[\"2\"].restrictionEntityIds == [5]"
    call PUT "/models/$ID/info/v1" -d '{"categories":[99]}'
    says 400 '.reason == "Category not found"'
    emu_post shapeways/set "{\"id\":$ID,\"isClaimable\":true,\"isPublic\":false,\"isForSale\":false}"
    call PUT "/models/$ID/info/v1" -d '{"isPublic":1}'
    says 400
    call GET "/models/$ID/info/v1"
    says 200 '.isClaimable and (.claimKey|length) == 32 and (.isPublic|not)'
    breached
}

@test "emulator, Shapeways: photographs arrive, are measured and counted, and not told again" {
    seed_model '{"size":10}'
    base64 -d >"$T/src/dot.png" <<<iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==
    post_photo "$T/src/dot.png" '"materialId":6,"isDefault":1'
    says 200 ".photoCount == \"1\" and .width == \"1\" and .height == \"1\" and .default == 1 and .materialId == \"6\"
        and .modelId == \"$ID\" and .fileMd5Checksum == \"$(md5 "$T/src/dot.png")\" and .contentLength == \"70\""
    holds "$T/src/dot.png" "photo=$(told photoId)"
    random "$T/src/any.jpg" 100
    post_photo "$T/src/any.jpg"
    says 200 '.photoCount == "2" and .default == 0 and .materialId == null'
    equal "photographs" "$(stored '|[.photos[]|[.title, .default]]')" '[["dot.png",true],["any.jpg",false]]'
    breached
}

@test "emulator, Shapeways: materials, printers and categories are told, all and one" {
    call GET /materials/v1
    says 200 '(.materials|length) == 5 and .materials["26"].supportsColorFiles == 1 and .materials["6"].restrictions == []'
    call GET /materials/5/v1
    says 200 '.materialId == "5" and .title == "Alumide" and .printerId == "3" and .restrictions["2"].restrictionId == "2"'
    call GET /printers/v1
    says 200 '.printers[0] == {printerId: "1", title: "EOSINT P 760", xBoundMin: "0.100000", xBoundMax: "65.000000", yBoundMin:
        "0.100000", yBoundMax: "35.000000", zBoundMin: "0.070000", zBoundMax: "55.000000"}'
    call GET /printers/2/v1
    says 200 '.printerId == "2" and .title == "ZPrinter 650"'
    call GET /categories/v1
    says 200 '.categories["70"] == {title: "Trains", level: "3", parentId: "12"}'
    call GET /categories/101/v1
    says 200 '.category.title == "Jewelry / Rings" and (has("categories")|not)'
    for path in materials printers categories; do
        call GET "/$path/999/v1"
        says 400 '.result == "failure"'
    done
    breached
}

@test "emulator, Shapeways: the cart and prices work as documented" {
    seed_model '{"size":10}'
    call GET /orders/cart/v1
    says 200 '.itemCount == "0" and .items == null'
    call POST /orders/cart/v1 -d "{\"modelId\":$ID}"
    says 200 '. == {result: "success", nextActionSuggestions: []}'
    call POST /orders/cart/v1 -d "{\"modelId\":$ID,\"materialId\":26,\"quantity\":3}"
    call POST /orders/cart/v1 -d "{\"modelId\":$ID,\"quantity\":2}"
    call GET /orders/cart/v1
    says 200 ".itemCount == \"6\" and .items == [{modelId: \"$ID\", materialId: \"6\", quantity: \"3\"},
        {modelId: \"$ID\", materialId: \"26\", quantity: \"3\"}]"
    call POST /orders/cart/v1 -d '{"modelId":1}'
    says 400 '.reason == "Model not found"'
    equal "cart" "$(emu_get shapeways/cart | jq -c 'map(.quantity)')" '[3,3]'
    local box='"area":0.0006,"xBoundMin":0,"xBoundMax":0.01,"yBoundMin":0,"yBoundMax":0.01,"zBoundMin":0,"zBoundMax":0.01'
    call POST /price/v1 -d "{\"volume\":0.000001,$box}"
    says 200 '(.prices|length) == 5 and .prices["6"] == {price: "2.900000", currency: "usd"}'
    call POST /price/v1 -d "{\"volume\":0.000001,$box,\"materials\":[5]}"
    says 200 '.prices == {"5": {price: "2.490000", currency: "usd"}}'
    call POST /price/v1 -d "{\"volume\":0.000001,$box,\"materials\":[7]}"
    says 400
    breached
}

@test "emulator, Shapeways: the rate stands in headers and in /api/v1/, and 429 comes beyond it" {
    emu_post options '{"shapeways.rate_limit":5,"shapeways.rate_window_ms":120000}'
    call GET /api/v1/
    says 200 '.rateLimit.remaining == "4" and .rateLimit_limit == "5" and .rateLimit.windowInSeconds == "120"
        and .rateLimit.retryInSeconds == "0" and (.rateLimit.history|[.[]|tonumber]|add) == 1'
    equal "Limit" "$(header X-RateLimit-Limit)" 5
    equal "Window" "$(header X-RateLimit-Window-InSeconds) $(header X-RateLimit-Window-InMinutes)" "120 2"
    equal "Remaining" "$(header X-RateLimit-Remaining) $(header X-RateLimit-Retry-InSeconds)" "4 0"
    call GET /models/1/v1
    says 400
    equal "of an error" "$(header X-RateLimit-Remaining)" ""
    emu_post shapeways/spend '{"count":2}' # another program with the same key
    option shapeways.history '"array"'
    call GET /api/v1/
    says 200 '.rateLimit.remaining == "0" and (.rateLimit.retryInSeconds|tonumber|. > 110 and . <= 120)
        and (.rateLimit.history|type) == "array"'
    equal "Remaining" "$(header X-RateLimit-Remaining)" 0
    breached
    emu_delete shapeways/rate
    emu_post shapeways/spend '{"count":5}'
    call GET /models/v1 # it could not know
    says 429 '.reason == "Rate limit exceeded"'
    equal "Retry-After" "$(header Retry-After)" ""
    option shapeways.retry_after '"seconds"'
    call GET /models/v1
    [ "$(header Retry-After)" -gt 100 ]
    breached
}

@test "emulator, Shapeways: answers may be as the document says, and as nobody would think" {
    seed_model '{"text":"solid /+","title":"a/b é","fileName":"a.stl"}'
    call GET "/models/$ID/v1"
    [[ $BODY == *'"a\/b \u00e9"'* ]]
    as_documented
    call GET "/models/$ID/v1"
    [[ $BODY == *'"a/b é"'* ]]
    says 200 ".modelId == $ID and .contentLength == 8 and .isForSale == false"
    emu_post options '{"shapeways.model_data":"whole","shapeways.data_at":"first"}'
    call GET "/models/$ID/v1"
    says 200 'keys_unsorted[0] == "fileData" and (.fileData|@base64d) == "solid /+"'
    emu_post options '{"shapeways.model_data":"absent","shapeways.data_at":"last","shapeways.checksums":"null"}'
    call GET "/models/$ID/v1"
    says 200 '(has("fileData")|not) and .fileMd5Checksum == null'
    call GET "/models/$ID/files/0/v1?file=1"
    says 200 'keys_unsorted[-2] == "fileData" and (.fileData|@base64d) == "solid /+"'
    emu_post options '{"shapeways.numbers":"mixed","shapeways.flags":"strings","shapeways.empty_object":"null"}'
    call GET "/models/$ID/v1"
    says 200 ".modelId == \"$ID\" and .contentLength == 8 and .isForSale == \"0\" and .categories == null"
    emu_post options '{"shapeways.gone_status":500,"shapeways.errors":"html"}'
    call GET /models/1/v1
    equal "answer" "$CODE ${BODY:0:6}" "500 <html>"
    option shapeways.errors '"empty"'
    call GET /models/1/v1
    equal "answer" "$CODE $BODY" "500 "
    breached
}

@test "emulator, Shapeways: a file's first bytes can be had before its answer ends" {
    seed_model '{"size":1000000}'
    option shapeways.hold_at 400000
    header_for GET "$API/models/$ID/files/0/v1?file=1"
    curl -s -N -m 20 -H "$AUTH" "$API/models/$ID/files/0/v1?file=1" >"$T/held" 3>&- &
    local pid=$!
    wait_until 10 has_size "$T/held" 400000
    sleep 0.2
    equal "bytes so far" "$(stat -c %s "$T/held")" 400000
    kill -0 "$pid"
    option shapeways.hold_at 0
    wait "$pid"
    emu_get shapeways/content "id=$ID" >"$T/content"
    jq -r .fileData "$T/held" | base64 -d | cmp - "$T/content"
    option shapeways.speed 2000000
    local start=$EPOCHREALTIME
    call GET "/models/$ID/files/0/v1?file=1"
    [ $((${EPOCHREALTIME/./} - ${start/./})) -gt 500000 ]
    jq -r .fileData "$T/body" | base64 -d | cmp - "$T/content"
    breached
}

has_size() {
    [ "$(stat -c %s "$1")" -ge "$2" ]
}

@test "emulator, Shapeways: 66 MB go up and down, and the service's memory stays as it was" {
    head -c 66000000 /dev/urandom >"$T/src/big.stl"
    new "$T/src/big.stl"
    says 200 ".contentLength == \"66000000\" and .fileMd5Checksum == \"$(md5 "$T/src/big.stl")\""
    header_for GET "$API/models/$ID/files/0/v1?file=1"
    curl -s -m 60 -H "$AUTH" "$API/models/$ID/files/0/v1?file=1" >"$T/upload"
    LC_ALL=C sed 's/.*"fileData":"//; s/".*//; s,\\/,/,g' "$T/upload" | base64 -d | cmp - "$T/src/big.stl"
    sanitized || at_most "memory in KiB" "$(awk '/VmHWM/ {print $2}' "/proc/$EMU_PID/status")" 40000
    option shapeways.file_max 64000000
    post_file "/models/$ID/files/v1" "$T/src/big.stl"
    says 400 '.reason == "The file is too large"'
    equal "versions" "$(stored '.versions|length')" 1
    breached
}

@test "emulator, Shapeways: faults find a model by its names, and by those that a body holds" {
    random "$T/src/a.stl" 100
    random "$T/src/b.stl" 100
    fault '{"endpoint":"sw_model_new","match":"b.stl","status":503,"count":1}'
    fault '{"endpoint":"sw_model_new","match":"c.stl","reset":"after","count":1}'
    fault '{"endpoint":"sw_info","match":"a.stl","garbage":true,"count":1}'
    new "$T/src/a.stl"
    post_file /models/v1 "$T/src/b.stl"
    says 503 '.result == "failure"'
    new "$T/src/b.stl"
    call GET "/models/$ID/info/v1"
    says 200
    ID=$((ID - 1))
    call GET "/models/$ID/info/v1"
    fails_with "" jq . "$T/body"
    mv "$T/src/b.stl" "$T/src/c.stl"
    post_file /models/v1 "$T/src/c.stl"
    equal "status" "$CODE" 000
    equal "models" "$(emu_get shapeways/models | jq -c 'map([.title, .versions[0].lost])')" \
        '[["a",false],["b",false],["c",true]]'
    fault '{"endpoint":"sw_file","cut":50,"count":1}'
    call GET "/models/$ID/files/0/v1?file=1"
    equal "bytes" "$(stat -c %s "$T/body")" 50
    fault '{"endpoint":"sw_models","body":"{\"result\":\"success\",\"models\":null}","count":1}'
    call GET /models/v1
    says 200 '.models == null'
    call GET /models/v1
    says 200 '(.models|length) == 3'
    fault '{"endpoint":"sw_models","skip":1,"count":1,"status":500}'
    call GET /models/v1
    says 200
    call GET /models/v1
    says 500
    breached
}

@test "emulator, Shapeways: what is kept outlives a crash of the service" {
    random "$T/src/a.stl" 3000
    new "$T/src/a.stl"
    call POST /orders/cart/v1 -d "{\"modelId\":$ID}"
    kill_emulator
    start_emulator
    holds "$T/src/a.stl"
    equal "digest" "$(emu_get shapeways/digest made=1)" "$(digest_of "$T/src")"
    call GET /orders/cart/v1
    says 200 '.itemCount == "1"'
    equal "Remaining" "$(header X-RateLimit-Remaining)" 147
}
