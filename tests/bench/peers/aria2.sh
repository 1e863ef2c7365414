# aria2, with as many connections as it makes: what the line gives to a download in pieces.
PEER_CAN="sm3dseq"
use_service

get_model() {
    aria2c -q -x16 -s16 -k1M --file-allocation=none --allow-overwrite=true -d "$SRV/service" -o got.bin \
        "$(curl -sf -H "Authorization: Bearer $SM3D_TOKEN" "$SHAREMY3D/models/$MODEL/original" | jq -r .downloadUrl)"
}
export SRV
export -f get_model

limit_sm3dseq() {
    local STATS_PORT=$STORAGE_STATS
    seed_big_sm3d
    snap
    timed s bash -c get_model
    costs ""
}
