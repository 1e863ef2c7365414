# The services that polymount speaks to, as an origin of the rig: the emulator, afresh for each step, its
# data in memory as those of the rig's nginx. For the files of peers/, which begin with `use_service`.

EMU=$PM_BUILD/polymount-emulator
PM=$PM_BUILD/polymount

make_service_data() {
    local file
    SCAN=$T/native/scan.e57 PHOTOS=$T/native/photos CHUNKS=$T/native/chunks PLY=$T/native/scan.ply
    ln "$T/native/big.bin" "$SCAN" && ln "$SCAN" "$PLY" && mkdir "$PHOTOS" "$CHUNKS" || return 1
    for file in "$T"/native/small/*; do
        ln "$file" "$PHOTOS/${file##*/}.jpg" || return 1
    done
    split -a 4 -d -b 8M "$SCAN" "$CHUNKS/" && cat "$SCAN" "$PHOTOS"/* "$CHUNKS"/* >/dev/null
}

use_service() {
    PEER_ORIGIN=127.0.0.1:$((BASE + 5))
    peer_origin_start() { service_start; }
    peer_origin_stop() { service_stop; }
    peer_requests() { curl -s "$CTL/log/summary" | jq '.total // 0'; }
}

# service_line: the storage host is as far away as the service, on a line of its own
service_line() {
    STORAGE_STATS=$((BASE + 8))
    "$T/bin/wanproxy" --listen $((BASE + 7)) --to 127.0.0.1:$((BASE + 6)) --stats $STORAGE_STATS \
        $(proxy_args) &
    LINE_PID=$!
}

service_start() {
    local ready=$T/log/service
    service_line
    rm -rf "$SRV/service" "$ready"
    mkdir -p "$SRV/service"
    "$EMU" --data "$SRV/service" --api $((BASE + 5)) --storage $((BASE + 6)) --public-api "$URL" \
        --public-storage "http://127.0.0.1:$((BASE + 7))" >"$ready" 2>>"$T/log/service.err" &
    SERVICE_PID=$!
    for _ in $(seq 100); do
        [ -s "$ready" ] && break
        sleep 0.05
    done
    read -r CTL SMARTSHAPE TOKEN THREE_SIXTY KEY SHAREMY3D SM3D_TOKEN < <(
        jq -r '[.control, .smartshape, .token, .three_sixty, .three_sixty_token, .sharemy3d, .sharemy3d_token] |
            join(" ")' "$ready")
    CTL=http://127.0.0.1:$((BASE + 5))/_control # not by the line
    export SMARTSHAPE TOKEN THREE_SIXTY KEY SHAREMY3D SM3D_TOKEN SCAN PLY PHOTOS CHUNKS
}

# A client that broke a rule was not measured, but something else.
service_stop() {
    local breaches
    breaches=$(curl -s "$CTL/breaches")
    [ "$breaches" = "[]" ] || say "$PEER $W broke the service's rules: $breaches"
    kill "$SERVICE_PID" "$LINE_PID"
    wait "$SERVICE_PID" "$LINE_PID" 2>/dev/null
    rm -rf "$SRV/service"
}

seed_big() {
    curl -sf "$CTL/seed" -d "{\"path\":\"/big.bin\",\"size\":$((BIG_MIB << 20)),\"seed\":1}" >/dev/null
}

# seed_big_sm3d: MODEL is its id
seed_big_sm3d() {
    MODEL=$(curl -sf "$CTL/sm3d/seed" -d "{\"size\":$((BIG_MIB << 20)),\"filename\":\"big.ply\",\"seed\":1}" |
        jq -r .id)
    export MODEL
}

# until_sent START COUNT BYTES: gives done_s, -1 if the service has anything else by now than so many
# complete files.
until_sent() {
    local took held
    took=$(since "$1")
    held=$("$4" | jq -r '"\(length) \(map(.size) | add)"')
    if [ "$held" = "$2 $3" ]; then
        emit done_s "$took"
    else
        emit done_s -1
        say "$PEER $W: the service has $held, not $2 $3"
    fi
}

sent_360() { curl -s "$CTL/360/sessions" | jq '[.[].files[] | select(.complete) | {size: .total}]'; }
sent_smartshape() { curl -s "$CTL/tree?path=/" | jq '[.[] | select(.type == "file")]'; }
sent_sm3d() { curl -s "$CTL/sm3d/items?kind=model" | jq '[.[] | select(.generation > 0) | {size: .held}]'; }

sent_big_360() { until_sent "$1" 1 $((BIG_MIB << 20)) sent_360; }
sent_small_360() { until_sent "$1" "$SMALL_N" $((SMALL_N * SMALL_KIB * 1024)) sent_360; }
sent_big_sm3d() { until_sent "$1" 1 $((BIG_MIB << 20)) sent_sm3d; }
sent_big_smartshape() { until_sent "$1" 1 $((BIG_MIB << 20)) sent_smartshape; }
