load lib_sm3d

# The emulator's storage host is no invention of ours: the client library that Google publishes for its
# own, from npm, uploads to it and reads from it. `make deps` installs it outside the tracked files.

# google VERB URL FILE [ARGUMENT...]
google() {
    local npm=$BATS_TEST_DIRNAME/../../build/npm
    [ -d "$npm/node_modules/@google-cloud/storage" ] || {
        echo "Google's library is not there: make deps" >&2
        return 1
    }
    PM_NPM=$npm within 60 node "$BATS_TEST_DIRNAME/google.mjs" "$@"
}

puts() {
    requests session_put
}

@test "Google's library uploads to a session that it is given, at once and in chunks" {
    local chunk
    random "$T/src/a.ply" 1000000
    for chunk in '' 262144; do
        new_session "$T/src/a.ply"
        google put "$PUT" "$T/src/a.ply" $chunk >"$T/told"
        jq -e ".size == 1000000 and .md5Hash == \"$(openssl md5 -binary "$T/src/a.ply" | base64)\"" "$T/told"
        holds "$T/src/a.ply"
    done
    equal "PUTs" "$(puts)" 5
}

@test "Google's library goes on after breaks, and from a mark below what it has sent" {
    random "$T/src/a.ply" 2000000
    new_session "$T/src/a.ply"
    piece "$T/src/a.ply" 0 524288 # by somebody else, before
    option sm3d.short_every 3
    fault '{"endpoint":"session_put","skip":1,"count":1,"status":503}'
    google put "$PUT" "$T/src/a.ply" 524288
    holds "$T/src/a.ply"
    equal "queries, one after the break" "$(requests session_query)" 2
}

@test "Google's library is told when the bytes it has read are not those that are kept" {
    random "$T/src/a.ply" 1000000
    random "$T/src/b.ply" 1000000
    new_session "$T/src/a.ply"
    piece "$T/src/a.ply" 0 524288
    run ! google put "$PUT" "$T/src/b.ply" 262144
    [[ $output == *"did not match the data from the server"* || $output == *mismatch* ]]
    breached "unknown endpoint" # it would remove the object, through another of Google's services
}

@test "Google's library reads signed URLs, whole with their hash, and in ranges" {
    local form
    seed_model '{"size":3000000}'
    emu_get sm3d/content "id=$ID" >"$T/plain"
    for form in v2 v4; do
        option sm3d.url_form "\"$form\""
        link
        google get "$GET" "$T/out"
        cmp "$T/out" "$T/plain"
        google get "$GET" "$T/out" 1000000 1999999
        cmp "$T/out" <(tail -c +1000001 "$T/plain" | head -c 1000000)
    done
    fault '{"endpoint":"storage","header":"x-goog-hash: crc32c=AAAAAA==","count":1}'
    run ! google get "$GET" "$T/out"
    [[ $output == *"did not match the data from the server"* ]]
    option signed_ttl_s 0
    option sm3d.url_form '"v2"'
    link
    run ! google get "$GET" "$T/out"
    [[ $output == *ExpiredToken* ]]
}

@test "Google's library unpacks what is stored with gzip, and finds its hash right" {
    seed_model '{"size":500000,"gzip":true}'
    emu_get sm3d/content "id=$ID" >"$T/plain"
    link
    google get "$GET" "$T/out"
    cmp "$T/out" "$T/plain"
}
