# Helpers of the tests that speak to Shapeways' emulator themselves, with curl: for emulator_shapeways*.bats.
# They sign as OAuth1 wants it, by oauth1.py.

load lib_api

setup() {
    new_place
    start_emulator
    API=$URL_SW
    CONSUMER=$KEY_SW CONSUMER_SECRET=$SECRET_SW ACCESS=$TOKEN_SW ACCESS_SECRET=$TOKEN_SECRET_SW
    JSON='Content-Type: application/json'
    CALLS=0 NONCE='' TIMESTAMP='' VERSION=1.0 MORE=()
}

# header_for METHOD URL...: AUTH is the header (of several URLs, a line for each); a test may fix NONCE,
# TIMESTAMP, VERSION ('' for none), ACCESS ('' for none), and add MORE=(NAME=VALUE...).
header_for() {
    local pairs=("oauth_consumer_key=$CONSUMER" "oauth_signature_method=HMAC-SHA1"
        "oauth_nonce=${NONCE:-$BASHPID$RANDOM$((++CALLS))n#}" "oauth_timestamp=${TIMESTAMP:-$EPOCHSECONDS}"
        ${ACCESS:+"oauth_token=$ACCESS"} ${VERSION:+"oauth_version=$VERSION"})
    AUTH=$(OAUTH1_SECRETS="$CONSUMER_SECRET${ACCESS:+ $ACCESS_SECRET}" python3 -IS "$BATS_TEST_DIRNAME/oauth1.py" \
        "$1" "${pairs[@]}" ${MORE[@]+"${MORE[@]}"} -- "${@:2}")
}

# call METHOD PATH [CURL-OPTION...]: signed; see send
call() {
    header_for "$1" "$API$2"
    case $1 in
    POST | PUT) send "$@" -H "$AUTH" -H "$JSON" ;;
    *) send "$@" -H "$AUTH" ;;
    esac
}

# percent, plain: the text that a file (standard input) becomes
percent() {
    base64 -w 0 | LC_ALL=C sed 's/+/%2B/g; s,/,%2F,g; s/=/%3D/g'
}

plain() {
    base64 -w 0
}

RIGHTS='"hasRightsToModel":1,"acceptTermsAndConditions":1'

# body FILE FORM MEMBERS: into $T/upload
body() {
    {
        printf '{"file":"'
        "$2" <"$1"
        printf '",%s}' "$3"
    } >"$T/upload"
}

# post_file PATH FILE [FORM [MEMBERS]]: a new model, or a new version
post_file() {
    body "$2" "${3:-percent}" "\"fileName\":\"${2##*/}\",$RIGHTS${4:+,$4}"
    call POST "$1" --data-binary @"$T/upload"
}

# new FILE [FORM [MEMBERS]]: ID is the model's
new() {
    post_file /models/v1 "$@"
    equal "status" "$CODE" 200
    ID=$(jq -r .modelId "$T/body")
}

# post_photo FILE [MEMBERS]: of the model ID
post_photo() {
    body "$1" percent "\"title\":\"${1##*/}\"${2:+,$2}"
    call POST "/models/$ID/photos/v1" --data-binary @"$T/upload"
}

# holds FILE [QUERY...]: the service has these bytes of the model ID
holds() {
    emu_get shapeways/content "id=$ID" "${@:2}" | cmp - "$1"
}

md5() {
    local sum
    sum=$(md5sum "$1")
    echo "${sum%% *}"
}

# seed_model JSON: ID is its (or the first one's) id
seed_model() {
    ID=$(curl -sS --fail-with-body -m 30 -X POST -d "$1" "$CTL/shapeways/seed" | jq -r .id)
}

# stored JQ: of the service's only model
stored() {
    emu_get shapeways/models | jq -rc ".[-1]$1"
}

# form NAME: a member of the last answer, which is a form; decoded
form() {
    local value=${BODY##*"$1="}
    printf '%b' "$(sed 's/%/\\x/g' <<<"${value%%&*}")"
}

# The document's own reading of answers: numbers, true and false, [] and {}.
as_documented() {
    emu_post options '{"shapeways.numbers":"numbers","shapeways.flags":"bool","shapeways.empty_list":"array",
        "shapeways.empty_object":"object","shapeways.slashes":false,"shapeways.unicode":"utf8"}'
}
