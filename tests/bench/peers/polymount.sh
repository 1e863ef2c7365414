# polymount with its default configuration. An upload is over when `polymount sync` says so, which sends
# at once, as curl does, instead of after upload.delay.
PEER_CAN="360big 360small seq sm3dseq sm3dup ttfb upload"
use_service

peer_start() {
    cat >"$T/conf" <<-END
		[cache]
		dir = $CACHE
		[account s]
		type = smartshape
		endpoint = $SMARTSHAPE
		token = $TOKEN
		[account 360]
		type = 360
		endpoint = $THREE_SIXTY
		token = $KEY
		[account sm3d]
		type = sharemy3d
		endpoint = $SHAREMY3D
		token = $SM3D_TOKEN
	END
    chmod 600 "$T/conf"
    "$PM" -c "$T/conf" -f ${BENCH_DEBUG:+-d} "$MNT" >>"$T/log/polymount" 2>&1 &
    PEER_PID=$!
}

# polymount_mounted: cold; and usable, which the rig's await_mount does not promise
polymount_mounted() {
    cold || return
    for _ in $(seq 100); do
        [ -e "$MNT/.polymount/status.json" ] && break
        sleep 0.05
    done
    snap
}

# polymount_send FOLDER FILE...: copied and sent; START is when it began
polymount_send() {
    local into=$1
    shift
    START=$(now)
    timed cp_s cp "$@" "$into/" && timeout "$LIMIT" "$PM" sync "$MNT" >"$T/log/out" 2>&1
}

limit_360big() {
    polymount_mounted && mkdir "$MNT/360/Scan" && polymount_send "$MNT/360/Scan" "$SCAN"
    sent_big_360 "$START"
    costs ""
}

limit_360small() {
    polymount_mounted && mkdir "$MNT/360/Photos" && polymount_send "$MNT/360/Photos" "$PHOTOS"/*
    sent_small_360 "$START"
    costs ""
}

limit_seq() {
    seed_big
    polymount_mounted && stat "$MNT/s/big.bin" >/dev/null && snap &&
        timed s dd if="$MNT/s/big.bin" of=/dev/null bs=1M
    costs ""
}

limit_sm3dseq() {
    local STATS_PORT=$STORAGE_STATS
    seed_big_sm3d
    polymount_mounted && stat "$MNT/sm3d/models/$MODEL/big.ply" >/dev/null && snap &&
        timed s dd if="$MNT/sm3d/models/$MODEL/big.ply" of=/dev/null bs=1M
    costs ""
}

limit_sm3dup() {
    local STATS_PORT=$STORAGE_STATS
    polymount_mounted && ls "$MNT/sm3d/uploads" >/dev/null && polymount_send "$MNT/sm3d/uploads" "$PLY"
    sent_big_sm3d "$START"
    costs ""
}

limit_ttfb() {
    seed_big
    polymount_mounted && stat "$MNT/s/big.bin" >/dev/null && snap && timed s head -c 4096 "$MNT/s/big.bin"
    sleep 1.5
    costs ""
}

limit_upload() {
    polymount_mounted && ls "$MNT/s" >/dev/null && polymount_send "$MNT/s" "$SCAN"
    sent_big_smartshape "$START"
    costs ""
}
