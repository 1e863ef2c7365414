# The service's own example: chunks of 8 MiB one after another, here over one connection that is kept.
. "$HERE/peers/curl.sh"
PEER_CAN="360big"

put_chunks() {
    local base size at=0 file len next=''
    base=$THREE_SIXTY/uploads/$(open_session)
    size=$(stat -c %s "$SCAN")
    for file in "$CHUNKS"/*; do
        len=$(stat -c %s "$file")
        printf '%surl="%s"\nupload-file="%s"\noutput=/dev/null\nheader="Expect:"\n' "$next" "$base/scan.e57" "$file"
        printf 'header="Authorization: Bearer %s"\nheader="Content-Type: application/octet-stream"\n' "$KEY"
        printf 'header="Content-Range: bytes %d-%d/%d"\nfail\nsilent\n' $at $((at + len - 1)) "$size"
        next=$'next\n' at=$((at + len))
    done | curl -K -
}
export -f put_chunks

limit_360big() {
    START=$(now)
    timed cp_s bash -c put_chunks
    sent_big_360 "$START"
    costs ""
}
unset -f limit_360small limit_seq limit_sm3dup limit_ttfb limit_upload
