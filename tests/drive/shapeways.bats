# Shapeways on the drive: models and their versions, files that come inside of JSON, the print shop. The service
# is the strict emulator.

load lib

setup() {
    new_place
    start_emulator
}

# mount_sw [SECTION.KEY=VALUE...]
mount_sw() {
    mount_drive account.type=shapeways "account.endpoint=$URL_SW" "account.consumer_key=$KEY_SW" \
        "account.consumer_secret=$SECRET_SW" "account.access_token=$TOKEN_SW" \
        "account.access_secret=$TOKEN_SECRET_SW" "$@"
}

# seed_model JSON: ID is its id (of the first, if there are several)
seed_model() {
    ID=$(curl -sS --fail-with-body -m 30 -X POST -d "$1" "$CTL/shapeways/seed" | jq -r .id)
}

# is_of FILE ID [VERSION]: it has the bytes of the model
is_of() {
    emu_get shapeways/content "id=$2" ${3:+"version=$3"} | within 60 cmp - "$1"
}

no_breach() {
    equal "breaches" "$(emu_get breaches)" "[]"
}

account_error() {
    status_json | jq -r '.accounts[0].error'
}

@test "1,000 models: 28 list requests cold and none while fresh; a folder that is opened costs one, once" {
    local id
    seed_model '{"count":1000,"size":10}'
    mount_sw cache.attr_timeout=10m
    within 60 ls "$S/models" >"$T/ids"
    equal "models" "$(wc -l <"$T/ids")" 1000
    within 60 ls -l "$S/models" >/dev/null
    equal "requests" "$(requests sw_models) $(requests sw_model)" "28 0"
    head -20 "$T/ids" >"$T/some"
    while read -r id; do
        on ls -l "$S/models/$id" "$S/models/$id/versions" >>"$T/listed"
        on cat "$S/models/$id/info.json" | jq -e ".modelId|tonumber == $id" >/dev/null
    done <"$T/some"
    equal "files" "$(grep -c 'model-.*stl$' "$T/listed")" 20
    equal "requests" "$(requests sw_models) $(requests sw_model) $(requests sw_file)" "28 20 0"
    no_breach
}

# bats test_tags=quick
@test "a model's folder has its file, info.json and each version; its title leads there" {
    seed_model '{"title":"Big / bracket","fileName":"bracket.stl","size":1000,"versions":2,"description":"d"}'
    emu_post shapeways/version "{\"id\":$ID,\"text\":\"another\",\"fileName\":\"b2.stl\"}"
    mount_sw
    equal "names" "$(on ls "$S/models/$ID" | tr '\n' ' ')" "b2.stl info.json versions "
    equal "versions" "$(on ls "$S/models/$ID/versions" | tr '\n' ' ')" "0 1 2 "
    equal "content" "$(on cat "$S/models/$ID/b2.stl")" another
    is_of "$S/models/$ID/versions/0/bracket.stl" "$ID" 0
    is_of "$S/models/$ID/versions/1/bracket.stl" "$ID" 1
    equal "newest version" "$(on cat "$S/models/$ID/versions/2/b2.stl")" another
    equal "by its title" "$(on cat "$S"/by-title/Big*/b2.stl)" another
    equal "title" "$(on getfattr --absolute-names --only-values -n user.shapeways.title "$S/models/$ID")" \
        "Big / bracket"
    equal "info" "$(on jq -r '"\(.title) \(.description)"' "$S/models/$ID/info.json")" "Big / bracket d"
    on cat "$S/models/$ID/info.json" >"$T/info"
    refute_secrets "$T/info" "$ID"
    fails_with "not permitted" rm "$S/models/$ID/b2.stl"
    fails_with "not permitted" touch "$S/models/new"
    no_breach
}

# refute_secrets FILE ID: the keys that let anybody in are not in it
refute_secrets() {
    local key
    for key in $(emu_get shapeways/models | jq -r ".[]|select(.id|tostring == \"$2\")|.secretKey, .claimKey|strings"); do
        [ -z "$key" ] || ! grep -qF -- "$key" "$1"
    done
}

@test "a new version is seen, and what was open before stays what it was" {
    seed_model '{"title":"a","fileName":"a.stl","text":"first"}'
    mount_sw cache.attr_timeout=100ms
    exec 7<"$S/models/$ID/a.stl"
    equal "content" "$(on cat "$S/models/$ID/a.stl")" first
    emu_post shapeways/version "{\"id\":$ID,\"text\":\"second\"}"
    sleep 1
    equal "what is open" "$(cat <&7)" first
    exec 7<&-
    wait_until 10 eval "[ \"\$(on cat '$S/models/$ID/a.stl')\" = second ]"
    equal "old version" "$(on cat "$S/models/$ID/versions/0/a.stl")" first
    no_breach
}

@test "60 MB come byte-equal, the first of them before the answer has ended, in 64 MiB of memory" {
    seed_model '{"title":"scan","fileName":"scan.stl","size":62914560,"seed":7}'
    mount_sw
    on ls "$S/models/$ID" >/dev/null
    option shapeways.hold_at 4000000
    exec 7<"$S/models/$ID/scan.stl"
    within 60 head -c 1000000 <&7 >"$T/scan"
    equal "requests for it" "$(requests sw_file)" 1
    option shapeways.hold_at 0
    within 60 cat <&7 >>"$T/scan"
    exec 7<&-
    is_of "$T/scan" "$ID"
    equal "requests for it" "$(requests sw_file)" 1
    sanitized || at_most "KiB resident" "$(peak_rss)" 65536
    no_breach
}

@test "whatever the document leaves open, the same is read" {
    local ways way n=0
    mount_sw cache.attr_timeout=1s
    for ways in 'numbers:"numbers" flags:"bool" slashes:false unicode:"utf8" data_at:"first" model_data:"absent"
            empty_list:"array" empty_object:"object" list_title:"modelTitle" history:"array"' \
        'numbers:"mixed" flags:"strings" data_at:"last" model_data:"whole" empty_list:"absent" empty_object:"null"
            list_order:"oldest" no_version:"refused"' 'checksums:"null"'; do
        for way in $ways; do option "shapeways.${way%%:*}" "${way#*:}"; done
        seed_model "{\"title\":\"caf\\u00e9 / $((++n))\",\"fileName\":\"part $n.stl\",\"size\":$((n * 77)),\"versions\":2}"
        wait_until 10 test -d "$S/models/$ID"
        is_of "$S/models/$ID/part $n.stl" "$ID"
        is_of "$S/models/$ID/versions/0/part $n.stl" "$ID" 0
        equal "title" "$(on jq -r .title "$S/models/$ID/info.json")" "café / $n"
        equal "cart" "$(on jq -r .itemCount "$S/cart.json")" 0
        equal "by its title" "$(on cat "$S"/by-title/*"$n"/versions/1/*.stl | cmp - "$S/models/$ID/part $n.stl")" ""
    done
    no_breach
}

@test "the print shop can be read, and a call tells a whole folder" {
    mount_sw cache.attr_timeout=10m
    equal "materials" "$(on cat "$S"/materials/*.json | jq -rs 'map(.title|type)|unique|join(" ")')" string
    equal "printers" "$(on ls "$S/printers" | tr '\n' ' ')" "1.json 2.json 3.json 4.json "
    on jq -e .title "$S/categories/70.json" >/dev/null
    on jq -e .rateLimit "$S/account.json" >/dev/null
    equal "cart" "$(on jq -r .itemCount "$S/cart.json")" 0
    equal "requests" "$(requests sw_materials) $(requests sw_printers) $(requests sw_categories) $(requests sw_cart)" \
        "1 1 1 1"
    no_breach
}

@test "a clock that is wrong is no hindrance" {
    seed_model '{"title":"a","text":"x"}'
    option shapeways.clock_s 5000
    mount_sw
    equal "models" "$(on ls "$S/models")" "$ID"
}

@test "a wrong key, a token that was revoked: a clear line, and the drive goes on when it is mended" {
    seed_model '{"title":"a","fileName":"a.stl","text":"content"}'
    option shapeways.consumer_secret '"another"'
    mount_sw cache.attr_timeout=100ms
    fails_with "denied" ls "$S/models"
    [[ $(account_error) == "keys refused: "* ]]
    option shapeways.consumer_secret '""'
    on "$PM" resume "$MNT"
    equal "content" "$(on cat "$S/models/$ID/a.stl")" content
    emu_post shapeways/revoke "{\"token\":\"$TOKEN_SW\"}"
    wait_until 10 eval 'on ls "$S/models" >/dev/null; [[ $(account_error) == "keys refused: "* ]]'
    equal "what was read before" "$(on cat "$S/models/$ID/a.stl")" content
}

@test "with OAuth 2 two keys are enough, and its token is renewed unseen" {
    seed_model '{"title":"a","text":"x"}'
    option shapeways.oauth2_ttl_s 4
    mount_drive account.type=shapeways "account.endpoint=$URL_SW" account.auth=oauth2 \
        "account.consumer_key=$KEY_SW" "account.consumer_secret=$SECRET_SW" cache.attr_timeout=100ms
    for _ in 1 2 3 4 5 6; do
        equal "models" "$(on ls "$S/models")" "$ID"
        sleep 1
    done
    [ "$(requests sw_oauth2)" -ge 2 ]
    no_breach
}

@test "another program's calls count, and a wait that is too long is said to be one" {
    seed_model '{"count":200,"size":10}'
    mount_sw net.op_timeout=2s
    on ls "$S/materials" >/dev/null
    emu_post shapeways/spend '{"count":144}'
    on ls "$S/printers" >/dev/null # its answer says how few are left
    fails_with "busy" ls "$S/models"
    [[ $(status_json | jq -r '.accounts[0]|tostring') == *"calls in 5 minutes"* ]]
    equal "refused for the rate" "$(emu_get log | jq '[.[]|select(.status == 429)]|length')" 0
    no_breach
}

@test "login gets the keys in three steps, and the drive works with them" {
    local pid
    seed_model '{"title":"a","text":"x"}'
    (umask 077 && printf '; mine\n[cache]\ndir = %s\n[account s]\ntype = shapeways\nendpoint = %s\n' "$STATE" "$URL_SW" >"$CONF")
    mkfifo "$T/typed"
    "$PM" -c "$CONF" login shapeways --name s <"$T/typed" >"$T/said" 2>"$T/asked" 3>&- &
    pid=$!
    exec 7>"$T/typed"
    printf '%s\n%s\n' "$KEY_SW" "$SECRET_SW" >&7
    wait_until 10 grep -q "oauth_token=" "$T/said"
    curl -sS --fail-with-body -m 10 -X POST -d '{}' "$CTL/shapeways/grant" | jq -r .verifier >&7
    echo yes >&7
    exec 7>&-
    wait "$pid"
    grep -qx "; mine" "$CONF"
    grep -qx "accept_terms = yes" "$CONF"
    equal "mode" "$(stat -c %a "$CONF")" 600
    ! grep -qF "$SECRET_SW" "$T/said" "$T/asked"
    start_daemon
    equal "models" "$(on ls "$S/models")" "$ID"
    no_breach
}

# bats test_tags=quick
@test "login that is given up or makes no sense changes nothing" {
    write_conf
    cp "$CONF" "$T/before"
    fails_with "unknown type" "$PM" -c "$CONF" login nothing </dev/null
    fails_with "of another type" "$PM" -c "$CONF" login shapeways --name s </dev/null
    fails_with "gives out its token itself" "$PM" -c "$CONF" login smartshape --name s </dev/null
    fails_with "nothing was changed" "$PM" -c "$CONF" login shapeways </dev/null
    run -2 on "$PM" login
    cmp "$CONF" "$T/before"
}
