# A curl for each file, as a loop in a shell does it.
. "$HERE/peers/curl.sh"
PEER_CAN="360small"

put_each() {
    local base file
    base=$THREE_SIXTY/uploads/$(open_session)
    for file in "$PHOTOS"/*; do
        curl -sf -o /dev/null -H "Authorization: Bearer $KEY" -H "Content-Type: application/octet-stream" \
            -T "$file" "$base/${file##*/}" || return
    done
}
export -f put_each

limit_360small() {
    START=$(now)
    timed cp_s bash -c put_each
    sent_small_360 "$START"
    costs ""
}
unset -f limit_360big limit_seq limit_sm3dup limit_ttfb limit_upload
