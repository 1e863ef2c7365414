# Helpers of the tests that speak to ShareMy3D's emulator themselves, with curl: for emulator_sm3d*.bats.

load lib_api

setup() {
    new_place
    start_emulator
    API=$URL_SM3D KEY=$TOKEN_SM3D
    JSON='Content-Type: application/json'
    MIB=$((1024 * 1024))
}

# at METHOD URL [CURL-OPTION...]: the same as send for a whole URL, as the service gave it
at() {
    : >"$T/body"
    CODE=$(curl -s -m 20 --path-as-is -g -o "$T/body" -D "$T/head" -w '%{http_code}' -X "$1" \
        "${@:3}" "$2") || true
    BODY=$(tr -d '\0' <"$T/body")
}

# xml CODE NAME: the storage host said no
xml() {
    local name=${BODY#*<Code>}
    equal "answer" "$CODE ${name%%</Code>*}" "$1 $2"
}

# post KIND JSON: KIND is models or backgrounds
post() {
    api POST "/$1/upload" -H "$JSON" -d "$2"
}

# new FILE [JSON-MEMBERS]: a model of that file is begun; ID and PUT are its id and uploadUrl
new() {
    post models "{\"size\":$(stat -c %s "$1"),\"filename\":\"${1##*/}\",\"name\":\"Of ${1##*/}\"${2:+,$2}}"
    equal "status" "$CODE" 201
    ID=$(told modelId)
    PUT=$(jq -r .uploadUrl <<<"$BODY")
}

# new_session FILE
new_session() {
    new "$1" '"resumable":true'
}

# put FILE [CURL-OPTION...]: to $PUT, as the document shows it
put() {
    at PUT "$PUT" -H 'Content-Type:' -H 'Expect:' -T - "${@:2}" <"$1"
}

# piece FILE START LENGTH [TOTAL] [CURL-OPTION...]: one chunk to the session $PUT
piece() {
    local total=${4:-$(stat -c %s "$1")}
    tail -c +$(($2 + 1)) "$1" | head -c "$3" >"$T/piece"
    at PUT "$PUT" -H 'Content-Type:' -H "Content-Range: bytes $2-$(($2 + $3 - 1))/$total" \
        --data-binary @"$T/piece" "${@:5}"
}

# query [TOTAL]: what is kept
query() {
    at PUT "$PUT" -H "Content-Range: bytes */${1:-*}" -H 'Content-Length: 0'
}

# kept N: the last answer was an unfinished session's, with so many bytes; 0: no Range at all
kept() {
    equal "status" "$CODE" 308
    equal "Range" "$(header Range)" "$([ "$1" = 0 ] || echo "bytes=0-$(($1 - 1))")"
    equal "Location" "$(header Location)" ""
}

# finish FILE CHUNK: sends the rest as Google's documents show it, from what is kept
finish() {
    local size from range
    size=$(stat -c %s "$1")
    query "$size"
    while :; do
        case $CODE in
        200 | 201) return ;;
        308) range=$(header Range) ;;
        *) query "$size" && continue ;;
        esac
        from=$((${range:+${range#*-} + 1} + 0))
        piece "$1" "$from" $((size - from < $2 ? size - from : $2))
    done
}

# upload FILE [JSON-MEMBERS]: the whole of it
upload() {
    new "$@"
    put "$1"
    equal "status" "$CODE" 200
}

# link [ID]: URL is the downloadUrl of the model
link() {
    api GET "/models/${1:-$ID}/original"
    equal "status" "$CODE" 200
    GET=$(jq -r .downloadUrl <<<"$BODY")
}

# is STATUS [ID]: the model's
is() {
    api GET "/models/${2:-$ID}/info"
    [ "$CODE $(told status)" = "200 $1" ]
}

# holds FILE [ID]: the service has exactly these bytes of the model
holds() {
    emu_get sm3d/content "id=${2:-$ID}" | cmp - "$1"
}

# seed_model JSON: ID is its id
seed_model() {
    ID=$(curl -sS --fail-with-body -m 30 -X POST -d "$1" "$CTL/sm3d/seed" | jq -r .id)
}

# session MEMBER: of the only session
session() {
    emu_get sm3d/sessions | jq -r ".[-1].$1"
}
