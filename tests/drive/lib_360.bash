# Helpers of the tests that speak to 360-for-you's emulator themselves, with curl: for emulator_360*.bats.

load lib_api

setup() {
    new_place
    start_emulator
    API=$URL_360 KEY=$TOKEN_360
    TYPE='Content-Type: application/octet-stream'
    JSON='Content-Type: application/json'
}

# refused CODE ERROR
refused() {
    equal "answer" "$CODE ${BODY%%[,\}]*}" "$1 {\"error\":\"$2\""
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

# progress NAME FROM TO: so much was received
progress() {
    api GET "/uploads/$ID/$1"
    [ "$CODE" = 200 ] && [ "$(told received)" -ge "$2" ] && [ "$(told received)" -le "$3" ]
}
