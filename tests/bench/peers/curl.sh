# One curl, one connection that is kept: what the line gives to one upload or download. It is never slower
# than it need be: no Expect: 100-continue.
PEER_CAN="360big 360small seq sm3dup ttfb upload"
use_service

open_session() {
    curl -sf -X POST -H "Authorization: Bearer $KEY" "$THREE_SIXTY/uploads" | jq -r .upload_id
}

put_big() {
    curl -sf -o /dev/null -H Expect: -H "Authorization: Bearer $KEY" -H "Content-Type: application/octet-stream" \
        -T "$SCAN" "$THREE_SIXTY/uploads/$(open_session)/scan.e57"
}

put_small() {
    local base file
    base=$THREE_SIXTY/uploads/$(open_session)
    for file in "$PHOTOS"/*; do
        printf 'url="%s"\nupload-file="%s"\noutput=/dev/null\n' "$base/${file##*/}" "$file"
    done | curl -sf -H Expect: -H "Authorization: Bearer $KEY" -H "Content-Type: application/octet-stream" -K -
}

get_big() {
    curl -sf -o /dev/null -H "Authorization: Bearer $TOKEN" "$@" "$SMARTSHAPE/file/download/private/big.bin"
}

post_big() {
    curl -sf -o /dev/null -H Expect: -H "Authorization: Bearer $TOKEN" -F "file=@$SCAN" \
        "$SMARTSHAPE/file/upload/?path=/"
}

put_model() {
    local url
    url=$(curl -sf -H "Authorization: Bearer $SM3D_TOKEN" -H "Content-Type: application/json" \
        -d "{\"size\":$(stat -c %s "$PLY"),\"filename\":\"scan.ply\",\"name\":\"Scan\"}" \
        "$SHAREMY3D/models/upload" | jq -r .uploadUrl)
    curl -sf -o /dev/null -H Expect: -H Content-Type: -T "$PLY" "$url"
}
export -f open_session put_big put_small get_big post_big put_model

limit_360big() {
    START=$(now)
    timed cp_s bash -c put_big
    sent_big_360 "$START"
    costs ""
}

limit_360small() {
    START=$(now)
    timed cp_s bash -c put_small
    sent_small_360 "$START"
    costs ""
}

limit_seq() {
    seed_big
    timed s bash -c get_big
    costs ""
}

limit_sm3dup() {
    local STATS_PORT=$STORAGE_STATS
    snap
    START=$(now)
    timed cp_s bash -c put_model
    sent_big_sm3d "$START"
    costs ""
}

limit_ttfb() {
    seed_big
    timed s bash -c 'get_big -r 0-4095'
    costs ""
}

limit_upload() {
    START=$(now)
    timed cp_s bash -c post_big
    sent_big_smartshape "$START"
    costs ""
}
