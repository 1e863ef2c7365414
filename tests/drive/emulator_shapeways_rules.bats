load lib_shapeways

# What the emulator promises of Shapeways to the tests of the drive: tokens are had and lost as documented,
# and whoever breaks a rule makes a breach.

# --- signatures ---------------------------------------------------------------------------------

# vector METHOD URL OAUTH-HEADER-PARAMETERS SECRETS SIGNATURE [FORM-BODY]: the emulator signs like that
vector() {
    local order
    order=$(jq -n --arg m "$1" --arg u "$2" --arg h "OAuth $3" --arg s "$4 " --arg f "${6:-}" '{method: $m, url: $u, header: $h,
        form: $f, consumer_secret: ($s|split(" ")[0]), token_secret: ($s|split(" ")[1])}')
    SIGNED=$(curl -sS --fail-with-body -m 30 -X POST -d "$order" "$CTL/shapeways/sign")
    equal "signature of $1 $2" "$(jq -r .signature <<<"$SIGNED")" "$5"
}

# bats test_tags=quick
@test "emulator, Shapeways: signatures are those of the RFC's and others' examples" {
    local sha1='oauth_signature_method="HMAC-SHA1"'
    local photos="oauth_consumer_key=\"dpf43f3p2l4k3l03\", $sha1" resource='oauth_token="nnch734d00sl2jdk"'
    vector POST https://photos.example.net/initiate "realm=\"Photos\", $photos, oauth_timestamp=\"137131200\",
        oauth_nonce=\"wIjqoS\", oauth_callback=\"http%3A%2F%2Fprinter.example.com%2Fready\"" \
        kd94hf93k423kf44 74KNZJeDHnMBp0EMJ9ZHt/XKycU=
    vector POST https://photos.example.net/token "$photos, oauth_token=\"hh5s93j4hdidpola\", oauth_timestamp=\"137131201\",
        oauth_nonce=\"walatlh\", oauth_verifier=\"hfdp7dh39dks9884\"" \
        "kd94hf93k423kf44 hdhd0244k9j7ao03" gKgrFCywp7rO0OXSjdot/IHF7IU=
    vector GET 'http://photos.example.net/photos?file=vacation.jpg&size=original' "$photos, $resource,
        oauth_timestamp=\"137131202\", oauth_nonce=\"chapoH\"" "kd94hf93k423kf44 pfkkdhi9sl3r4s00" MdpQcU8iPSUjWoN/UDMsK2sui9I=
    vector GET 'http://PHOTOS.example.net:80/photos?size=original&file=vacation.jpg' "$photos, $resource,
        oauth_timestamp=\"1191242096\", oauth_nonce=\"kllo9940pd9333jh\", oauth_version=\"1.0\"" \
        "kd94hf93k423kf44 pfkkdhi9sl3r4s00" tR3+Ty81lMeYAr/Fid0kMTYa/WM=
    vector POST 'http://example.com/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b' "oauth_consumer_key=\"9djdj82h48djs9d2\",
        oauth_token=\"kkk9d7dh3k39sjv7\", $sha1, oauth_timestamp=\"137131201\", oauth_nonce=\"7d8f3e4a\"" \
        "j49sk3j29djd dh893hdasih9" r6/TJjbCOr97/+UU0NsvSne7s5g= 'c2&a3=2+q'
    equal "base string" "$(jq -r .base <<<"$SIGNED")" \
        'POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7'
    local twitter="oauth_consumer_key=\"xvz1evFS4wEEPTGEFPHBog\", $sha1, oauth_timestamp=\"1318622958\", oauth_version=\"1.0\",
        oauth_nonce=\"kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg\",
        oauth_token=\"370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb\""
    local secrets='kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE'
    local status='status=Hello%20Ladies%20%2b%20Gentlemen%2c%20a%20signed%20OAuth%20request%21'
    vector POST 'https://api.twitter.com/1/statuses/update.json?include_entities=true' "$twitter" "$secrets" \
        tnnArxj06cWHq44gCs1OSKk/jLY= "$status"
    vector POST 'https://api.twitter.com/1.1/statuses/update.json?include_entities=true' "$twitter" "$secrets" \
        hCtSmYh+iHYCEqBWrE7C7hYmtUk= "$status"
    local ours="oauth_consumer_key=\"ck\", oauth_token=\"tk\", oauth_nonce=\"n0nce\", $sha1,
        oauth_timestamp=\"1369408638\", oauth_version=\"1.0\"" api=https://api.shapeways.com
    vector GET "$api/models/v1?page=2" "$ours" "cs ts" PY2XXLg1XoP86EhzXPYvGX6hX7E=
    vector POST "$api/models/v1" "$ours" "cs ts" rnAlZP7J58TyaJucgq7k8jEOH5A=
    vector GET "$api/models/1114694/files/0/v1?file=1" "$ours" "cs ts" 75vTsrr2LDKk+NO92yfzmLSIEKc=
    vector GET "$api/oauth1/request_token/v1" "${ours/oauth_token=\"tk\"/oauth_callback=\"oob\"}" cs Kxi2D6mWaBCBwUMLt2fQryPQ8BM=
    local wiki
    for wiki in '"consumer_secret":"cs" egQqG5AJep5sJ7anhXju1unge2I=' '"consumer_secret":"cs","token_secret":"ts" VZVjXceV7JgPq/dOTnNmEfO0Fv8='; do
        equal "signature" "$(curl -sS -m 30 -d "{\"base\":\"bs\",${wiki% *}}" "$CTL/shapeways/sign" | jq -r .signature)" "${wiki##* }"
    done
}

@test "emulator, Shapeways: a wrong signature is refused and a breach, which shows the base string" {
    CONSUMER_SECRET=other
    call GET '/models/v1?page=2'
    says 401 '.result == "failure" and .reason == "Invalid signature"'
    breached "the signature is wrong; the base string is GET&http%3A%2F%2F127.0.0.1%3A"
    CONSUMER_SECRET=$SECRET_SW
    header_for GET "$API/models/v1"
    send GET '/models/v1?page=1' -H "$AUTH"
    says 401
    breached "page%3D1"
    header_for GET "$API/models/v1"
    send GET /printers/v1 -H "$AUTH"
    says 401
    breached "the signature is wrong"
    option shapeways.consumer_secret '"another"' # the user's key was changed: no fault of the client's
    call GET /models/v1
    says 401
    breached
    CONSUMER_SECRET=another
    call GET /models/v1
    says 200
    breached
}

@test "emulator, Shapeways: a nonce is taken once for a time, consumer and token" {
    NONCE=once TIMESTAMP=$EPOCHSECONDS
    call GET /models/v1
    says 200
    call GET /printers/v1
    says 401
    breached "the nonce was used before"
    kill_emulator
    start_emulator
    call GET /models/v1
    says 401
    breached "the nonce was used before"
    TIMESTAMP=$((TIMESTAMP + 1))
    call GET /models/v1
    says 200
    NONCE=$(printf 'n%.0s' {1..255})
    call GET /models/v1
    says 401
    breached "oauth_nonce has not 1 to 254"
}

@test "emulator, Shapeways: a time too far from the service's is refused, and Date tells it" {
    option shapeways.clock_s 86400
    call GET /models/v1
    says 401 '.reason|test("oauth_timestamp")'
    breached
    local ahead=$(($(date -d "$(header Date)" +%s) - EPOCHSECONDS))
    [ $ahead -gt 86000 ] && [ $ahead -lt 87000 ]
    TIMESTAMP=$((EPOCHSECONDS + ahead))
    call GET /models/v1
    says 200
    TIMESTAMP=''
    sleep 1.1
    call GET /models/v1
    says 401
    breached "it was told so before"
    TIMESTAMP=soon
    call GET /models/v1
    says 401
    breached "no number of seconds"
}

@test "emulator, Shapeways: a header that is not as documented is refused and a breach" {
    VERSION=1.0A
    call GET /models/v1
    says 401
    breached "oauth_version is not 1.0"
    VERSION=''
    call GET /models/v1
    says 200
    breached
    MORE=(oauth_body_hash=abc)
    call GET /models/v1
    says 200
    breached "oauth_body_hash"
    MORE=(oauth_nonce=second)
    call GET /models/v1
    says 401
    breached "oauth_nonce: 2 times"
    MORE=()
    header_for GET "$API/models/v1"
    send GET /models/v1 -H "${AUTH/HMAC-SHA1/PLAINTEXT}"
    says 401
    breached "not HMAC-SHA1"
    send GET /models/v1 -H "$AUTH" -H "$AUTH"
    says 401
    breached "two Authorizations"
    send GET /models/v1 -H 'Authorization: OAuth oauth_nonce=5'
    says 401
    breached "a parameter without a value in quotes"
    send GET /models/v1 -H "Authorization: Bearer $TOKEN"
    says 401
    breached "the token of another service"
    send GET "/models/v1?x=$TOKEN_SECRET_SW" -H "$AUTH"
    breached "the token stands in the URL" "the signature is wrong"
}

@test "emulator, Shapeways: who brings no credentials gets an answer like any other, with nothing in it" {
    send GET /models/v1
    equal "answer" "$CODE $BODY $(header Content-Type)" "200  text/html; charset=UTF-8"
    option shapeways.no_credentials '"401"'
    send GET /models/v1
    says 401 '.result == "failure"'
    breached "no Authorization" "no Authorization"
    ACCESS=unknown
    call GET /models/v1
    says 401 '.reason == "Invalid token"'
    option shapeways.bad_credentials '"html"'
    call GET /models/v1
    equal "status" "$CODE" 403
    option shapeways.bad_credentials '"empty"'
    call GET /models/v1
    equal "answer" "$CODE $BODY" "200 "
    CONSUMER=unknown
    call GET /models/v1
    breached
}

# --- how tokens are had -------------------------------------------------------------------------

# request_token [CALLBACK]: the first step; REQUEST and REQUEST_SECRET
request_token() {
    ACCESS='' MORE=(${1:+"oauth_callback=$1"})
    call GET /oauth1/request_token/v1
    MORE=()
    equal "status" "$CODE" 200
    URL_LOGIN=$(form authentication_url)
    REQUEST=${URL_LOGIN##*oauth_token=} REQUEST_SECRET=$(form oauth_token_secret)
}

# access_token VERIFIER: the third
access_token() {
    ACCESS=$REQUEST ACCESS_SECRET=$REQUEST_SECRET MORE=("oauth_verifier=$1")
    call GET /oauth1/access_token/v1
    MORE=()
}

@test "emulator, Shapeways: three steps with a PIN lead to a token" {
    request_token oob
    [[ $BODY != *"&oauth_token="* && $BODY == *oauth_callback_confirmed=true* ]]
    equal "place of the login" "${URL_LOGIN%%\?*}" "$API/login"
    access_token 123456
    says 401 '.reason == "Invalid verifier"'
    curl -sS -m 20 "$URL_LOGIN" | grep -q Allow
    local pin
    pin=$(curl -sS -m 20 "$URL_LOGIN&allow=1" | sed -n 's/.*id="pin">\([0-9]*\)<.*/\1/p')
    access_token "$pin"
    equal "status" "$CODE" 200
    ACCESS=$(form oauth_token) ACCESS_SECRET=$(form oauth_token_secret)
    call GET /models/v1
    says 200
    breached
    access_token "$pin"
    says 401
    breached "became an access token already"
}

@test "emulator, Shapeways: three steps with a callback send the browser to it" {
    request_token http://localhost:8765/callback
    local grant
    grant=$(curl -sS --fail-with-body -m 20 -d '{}' "$CTL/shapeways/grant")
    equal "redirect" "$(jq -r .redirect <<<"$grant")" \
        "http://localhost:8765/callback?oauth_token=$REQUEST&oauth_verifier=$(jq -r .verifier <<<"$grant")"
    access_token "$(jq -r .verifier <<<"$grant")"
    equal "status" "$CODE" 200
    option shapeways.token_form '"separate"'
    request_token http://127.0.0.1:8765/callback
    equal "token" "$(form oauth_token)" "$REQUEST"
    equal "redirect" "$(curl -s -m 20 -o /dev/null -w '%{redirect_url}' "$URL_LOGIN&allow=0")" \
        "http://127.0.0.1:8765/callback?oauth_token=$REQUEST&denied=1"
    access_token 1
    says 401 '.reason == "The user denied access"'
    emu_post options '{"shapeways.login_url":"foreign","shapeways.request_ttl_s":0}'
    request_token
    [[ $URL_LOGIN != "$API"* ]]
    access_token 1
    says 401 '.reason == "The request token has expired"'
    breached
    request_token https://example.com/callback
    breached "leads away from this machine"
}

@test "emulator, Shapeways: a token that was revoked is refused, and a client that cannot believe it makes a breach" {
    emu_post shapeways/revoke "{\"token\":\"$ACCESS\"}"
    local urls=() lines i
    for ((i = 0; i < 17; i++)); do urls+=("$API/models/v1"); done
    header_for GET "${urls[@]}"
    mapfile -t lines <<<"$AUTH"
    send GET /models/v1 -H "${lines[0]}"
    says 401 '.reason == "Token revoked"'
    for ((i = 1; i < 16; i++)); do curl -s -m 20 -o /dev/null -H "${lines[i]}" "$API/models/v1"; done
    breached
    send GET /models/v1 -H "${lines[16]}"
    breached "this token was refused 16 times already"
}

# bearer [CURL-OPTION...]: BEARER is a new token
bearer() {
    send POST /oauth2/token -d grant_type=client_credentials "$@"
    says 200 '.token_type == "bearer" and .expires_in >= 0'
    BEARER=$(told access_token)
}

@test "emulator, Shapeways: OAuth2's client credentials lead to a token for a while" {
    bearer -u "$CONSUMER:$CONSUMER_SECRET"
    says 200 '.expires_in == 3600'
    KEY=$BEARER
    api GET /models/v1
    says 200
    bearer -d "client_id=$CONSUMER" -d "client_secret=$CONSUMER_SECRET"
    send POST /oauth2/token -d grant_type=client_credentials -u "$CONSUMER:wrong"
    says 401 '.error == "invalid_client"'
    option shapeways.oauth2_ttl_s 0
    bearer -u "$CONSUMER:$CONSUMER_SECRET"
    KEY=$BEARER
    api GET /models/v1
    says 401 '.reason == "Access token expired"'
    breached
    sleep 1.1
    api GET /models/v1
    breached "it was told so before"
    option shapeways.auth '"oauth2"'
    call GET /models/v1
    says 401 '.reason == "OAuth1 is over"'
    option shapeways.auth '"oauth1"'
    send POST /oauth2/token -d grant_type=client_credentials -u "$CONSUMER:$CONSUMER_SECRET"
    says 400
    breached
    send POST /oauth2/token -d grant_type=password -H "$JSON"
    breached "not a form's" "is not client_credentials"
}

# --- a client that breaks a rule ----------------------------------------------------------------

@test "emulator, Shapeways: a body that is not called JSON is refused as if its signature were wrong" {
    local type
    header_for PUT "$API/models/1/info/v1"
    for type in 'Content-Type: application/x-www-form-urlencoded' 'Content-Type:'; do
        send PUT /models/1/info/v1 -H "$AUTH" -d '{"title":"x"}' -H "$type"
        says 401 '.reason == "Invalid signature"'
        breached "not application/json"
    done
    call PUT /models/1/info/v1 -d '{"title":'
    says 400
    breached "no JSON object"
    option shapeways.invalid_status 500
    call PUT /models/1/info/v1 -d '[]'
    says 500 '.result == "failure"'
    breached "no JSON object"
}

@test "emulator, Shapeways: unknown calls, parameters and wrong types are breaches" {
    seed_model '{"size":10}'
    call PUT "/models/$ID/v1" -d '{"title":"x"}' # some libraries do
    says 405
    breached "wrong method"
    call GET "/model/$ID/v1"
    says 404
    breached "unknown endpoint"
    call GET /api/v1
    says 404
    breached "unknown endpoint"
    call GET '/models/v1?limit=5'
    says 200
    breached "limit is no documented parameter"
    call GET '/models/v1?page=0'
    says 400
    breached "pages begin with 1"
    call GET "/models/$ID/files/0/v1?file=yes"
    says 400
    breached "neither 0 nor 1"
    call GET "/models/$ID/files/0/v1?file=1" -H 'Range: bytes=0-5'
    says 200
    breached "a Range"
    call GET /models/v1 -d '{}'
    says 200
    breached "a body, where none is documented"
    call PUT "/models/$ID/info/v1" -d '{"title":"New","isClaimable":1,"secretKey":"x"}'
    says 200 '.title == "New" and .isClaimable == 0'
    breached "isClaimable is no documented" "secretKey is no documented"
    call PUT "/models/$ID/info/v1" -d '{"materials":{"6":{"markup":1,"price":5}}}'
    breached "price of a material"
    local wrong
    for wrong in '"title":5' '"isPublic":"1"' '"isPublic":2' '"tags":"a"' '"categories":{"1":{}}' '"defaultMaterialId":"6"' '"materials":[6]'; do
        call PUT "/models/$ID/info/v1" -d "{$wrong}"
        says 400 '.reason|startswith("\n")'
        breached "is not"
    done
    call POST /price/v1 -d '{"volume":"1"}'
    says 400
    breached "is not a number"
    call POST /price/v1 -d '{"volume":1}'
    says 400 '.reason == "\narea is required"'
    breached "required parameter is missing"
}

@test "emulator, Shapeways: a file without its declarations, its name or its text is refused" {
    random "$T/src/a.stl" 1000
    local without
    for without in hasRightsToModel acceptTermsAndConditions fileName file; do
        body "$T/src/a.stl" percent "\"fileName\":\"a.stl\",$RIGHTS"
        sed -i "s/\"$without\":/\"modelId\":1,\"old_$without\":/" "$T/upload"
        call POST /models/1/files/v1 --data-binary @"$T/upload"
        says 400 ".reason == \"\\n$without is required\""
        breached "old_$without" "a required parameter is missing: $without"
    done
    body "$T/src/a.stl" percent '"fileName":"a.stl","hasRightsToModel":1,"acceptTermsAndConditions":0'
    call POST /models/v1 --data-binary @"$T/upload"
    says 400 '.reason|test("Terms and Conditions")'
    breached
    option shapeways.terms '"open"'
    post_file /models/v1 "$T/src/a.stl"
    says 403 '.reason|test("Terms and Conditions")'
    option shapeways.terms '"accepted"'
    breached
    post_file /models/v1 "$T/src/a.stl" percent '"uploadScale":0'
    says 400
    breached "uploadScale"
    : >"$T/src/empty.stl"
    post_file /models/v1 "$T/src/empty.stl"
    says 400 '.reason == "\nfile is empty"'
    breached
    body "$T/src/a.stl" base64 "\"fileName\":\"a.stl\",$RIGHTS" # with line breaks
    sed -i -z 's/\n/\\n/g' "$T/upload"
    option shapeways.file_form '"either"'
    call POST /models/v1 --data-binary @"$T/upload"
    says 200 ".fileMd5Checksum == \"$(md5 "$T/src/a.stl")\""
    breached "no base64"
    printf '{"file":"a%%2Fb+","fileName":"b.stl",%s}' "$RIGHTS" >"$T/upload"
    call POST /models/v1 --data-binary @"$T/upload"
    breached "some '+' are not"
    printf '{"file":"abc","fileName":"c.stl",%s}' "$RIGHTS" >"$T/upload"
    call POST /models/v1 --data-binary @"$T/upload"
    breached "no whole base64"
}

@test "emulator, Shapeways: the wrong form again, a second after its MD5 was told, is a breach" {
    printf '\xfb\xef\xbe' >"$T/src/a.stl" # ++++
    printf '\xfb\xef\xbe1' >"$T/src/b.stl"
    new "$T/src/a.stl" plain '"title":"x"' || true
    says 400 '.reason == "\nfile is empty"' # nothing is left of it
    post_file /models/v1 "$T/src/b.stl" plain
    says 200
    breached
    sleep 1.1
    post_file "/models/$(jq -r .modelId <<<"$BODY")/files/v1" "$T/src/b.stl" plain
    breached "in the form that had another MD5 before"
    post_file /models/v1 "$T/src/a.stl" percent
    says 200 '.contentLength == "3"'
    breached
}

@test "emulator, Shapeways: a second POST for one drop is a breach, but for one that looked and found nothing" {
    random "$T/src/a.stl" 1000
    new "$T/src/a.stl"
    post_file /models/v1 "$T/src/a.stl"
    says 200
    breached "a second POST for one drop"
    random "$T/src/b.stl" 1000
    fault '{"endpoint":"sw_model_new","reset":"after","count":1}'
    post_file /models/v1 "$T/src/b.stl"
    post_file /models/v1 "$T/src/b.stl"
    breached "was not looked up"
    random "$T/src/c.stl" 1000
    fault '{"endpoint":"sw_model_new","status":504,"processed":true,"count":1}'
    post_file /models/v1 "$T/src/c.stl"
    equal "status" "$CODE" 504
    call GET /models/v1
    post_file /models/v1 "$T/src/c.stl"
    breached "was listed since"
    random "$T/src/d.stl" 1000
    option shapeways.list_lag_ms 60000
    fault '{"endpoint":"sw_model_new","reset":"after","count":1}'
    post_file /models/v1 "$T/src/d.stl"
    call GET /models/v1
    post_file /models/v1 "$T/src/d.stl"
    says 200
    breached
}

@test "emulator, Shapeways: what was sent is not sent again because its answer was lost" {
    seed_model '{"size":10}'
    random "$T/src/a.stl" 1000
    fault '{"endpoint":"sw_file_new","reset":"after","count":1}'
    post_file "/models/$ID/files/v1" "$T/src/a.stl"
    post_file "/models/$ID/files/v1" "$T/src/a.stl"
    says 200 '.modelVersion == "2"'
    breached "a second POST of one content: it became version 1"
    post_file "/models/$ID/files/v1" "$T/src/a.stl" # the user wrote the same once more
    breached
    fault '{"endpoint":"sw_file_new","delay_ms":10000,"count":1}'
    header_for POST "$API/models/$ID/files/v1"
    fails_with "" curl -s -m 0.5 -H "$AUTH" -H "$JSON" --data-binary @"$T/upload" "$API/models/$ID/files/v1"
    wait_until 10 has_versions 5 # it was given up, and became a version all the same
    post_file "/models/$ID/files/v1" "$T/src/a.stl"
    breached "a second POST of one content: it became version 4"
    post_photo "$T/src/a.stl"
    post_photo "$T/src/a.stl"
    says 200 '.photoCount == "2"'
    breached "this photograph was sent before"
    local item="{\"modelId\":$ID,\"materialId\":6,\"quantity\":2}"
    fault '{"endpoint":"sw_cart_add","cut":0,"count":1}'
    call POST /orders/cart/v1 -d "$item"
    call POST /orders/cart/v1 -d "$item"
    breached "the cart was not read between"
    emu_delete shapeways/cart
    fault '{"endpoint":"sw_cart_add","cut":0,"count":1}'
    call POST /orders/cart/v1 -d "$item"
    call GET /orders/cart/v1
    says 200 '.itemCount == "2"'
    call POST /orders/cart/v1 -d "$item"
    says 200
    breached
}

has_versions() {
    [ "$(stored '.versions|length')" = "$1" ]
}

@test "emulator, Shapeways: a version of another program that nobody looked at is not replaced or deleted" {
    seed_model '{"size":10}'
    random "$T/src/a.stl" 1000
    call GET "/models/$ID/v1"
    emu_post shapeways/version "{\"id\":$ID,\"size\":20}"
    post_file "/models/$ID/files/v1" "$T/src/a.stl"
    breached "a new version, but version 1 of another program was never looked at"
    emu_post shapeways/version "{\"id\":$ID,\"size\":30}"
    call GET /models/v1
    post_file "/models/$ID/files/v1" "$T/src/a.stl"
    says 200 '.modelVersion == "4"'
    breached
    emu_post shapeways/version "{\"id\":$ID,\"size\":40}"
    call DELETE "/models/$ID/v1"
    says 200
    breached "deleted, but version 5 of another program"
    call DELETE "/models/$ID/v1"
    says 400
    option shapeways.gone_status 404
    call DELETE "/models/$ID/v1"
    says 404
    breached
}

@test "emulator, Shapeways: two new versions of one model at once are a breach" {
    seed_model '{"size":10}'
    random "$T/src/a.stl" 1000
    fault '{"endpoint":"sw_file_new","delay_ms":3000,"count":1}'
    body "$T/src/a.stl" percent "\"fileName\":\"a.stl\",$RIGHTS"
    cp "$T/upload" "$T/first"
    header_for POST "$API/models/$ID/files/v1"
    curl -s -m 20 -o /dev/null -H "$AUTH" -H "$JSON" --data-binary @"$T/first" "$API/models/$ID/files/v1" 3>&- &
    local pid=$!
    wait_until 10 hit_once
    random "$T/src/b.stl" 1000
    post_file "/models/$ID/files/v1" "$T/src/b.stl"
    says 200
    wait "$pid"
    breached "two new versions of one model at once"
}

hit_once() {
    [ "$(emu_get faults | jq '.[0].hits')" = 1 ]
}

@test "emulator, Shapeways: more calls than the rate allows are a breach, and so is one that headers forbade" {
    emu_post options '{"shapeways.rate_limit":2,"shapeways.rate_window_ms":60000}'
    call GET /models/v1
    call GET /models/v1
    says 200
    breached
    call GET /models/v1
    says 429 '.result == "failure"'
    breached "more than 2 calls in 60000 ms"
    emu_delete shapeways/rate
    emu_post shapeways/spend '{"count":1}'
    call GET /models/v1
    equal "Remaining" "$(header X-RateLimit-Remaining)" 0
    sleep 1.1
    call GET /models/v1
    says 429
    breached "before the time that X-RateLimit-Retry-InSeconds had set"
    emu_delete shapeways/rate
    emu_post options '{"shapeways.rate_window_ms":1000,"shapeways.rate_headers":false,"shapeways.rate_breach":false}'
    call GET /models/v1
    call GET /models/v1
    equal "header" "$(header X-RateLimit-Limit)" ""
    sleep 1.1
    call GET /models/v1
    says 200
    breached
}
