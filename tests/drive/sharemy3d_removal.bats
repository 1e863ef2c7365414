# Removing models and backgrounds on the drive, and what cannot be changed there. The service is the strict
# emulator.

load lib

setup() {
    new_place
    start_emulator
}

# mount_sm3d [SECTION.KEY=VALUE...]
mount_sm3d() {
    mount_drive account.type=sharemy3d "account.endpoint=$URL_SM3D" "account.token=$TOKEN_SM3D" "$@"
}

# seed_model JSON: ID is its id
seed_model() {
    ID=$(curl -sS --fail-with-body -m 30 -X POST -d "$1" "$CTL/sm3d/seed" | jq -r .id)
}

# has ID [KIND]: the service does
has() {
    emu_get sm3d/items "kind=${2:-model}" | jq -e --arg id "$1" 'any(.[]; .id==$id)' >/dev/null
}

lacks() {
    ! has "$@"
}

# deletions: calls that remove something
deletions() {
    emu_get log | jq '[.[]|select(.method=="DELETE")]|length'
}

# refused PATH TEXT COMMAND...: EPERM, and the folder PATH says why
refused() {
    fails_with "Operation not permitted" "${@:3}"
    [[ $(xattr "$1" error) == *"$2"* ]]
}

# bats test_tags=quick
@test "rm -r of a model's folder removes the model, by one call, and the links to it; others stay" {
    seed_model '{"size":1000,"filename":"keep.ply","name":"Keep"}'
    local keep=$ID
    seed_model '{"size":1000,"filename":"book.ply","name":"Book"}'
    mount_sm3d upload.delete_delay=100ms cache.attr_timeout=10m
    on ls "$S/by-status/ACTIVE" "$S/by-name" "$S/models" >/dev/null
    on rm -r "$S/models/$ID"
    equal "models" "$(on ls "$S/models")" "$keep"
    wait_until 10 lacks "$ID"
    wait_until 10 nothing_pending
    equal "deletions" "$(deletions)" 1
    equal "names" "$(on ls "$S/by-name")" Keep
    equal "active ones" "$(on ls "$S/by-status/ACTIVE")" "$keep"
    on cat "$S/models/$keep/keep.ply" >/dev/null
}

# only_model: the id of the only one that the service has
only_model() {
    emu_get sm3d/items kind=model | jq -r '.[0].id'
}

none_left() {
    ! on find "$S/models" "$S/by-name" "$S/uploads" -mindepth 1 | grep -q .
}

@test "a file in uploads/, its model and the links to that go together, whichever is removed" {
    local id
    mount_sm3d upload.delete_delay=0 cache.attr_timeout=10m
    random "$T/src/part.ply" 100000
    on cp "$T/src/part.ply" "$S/uploads/"
    sync_drive
    id=$(only_model)
    on ls "$S/models" "$S/by-name" >/dev/null
    on rm "$S/uploads/part.ply"
    sync_drive
    lacks "$id"
    equal "deletions" "$(deletions)" 1
    wait_until 10 none_left
    CONF_KEYS+=(cache.attr_timeout=200ms)
    remount
    on cp "$T/src/part.ply" "$S/uploads/"
    sync_drive
    id=$(only_model)
    wait_until 10 on ls "$S/models/$id" >/dev/null
    on rm -r "$S/models/$id"
    sync_drive
    lacks "$id"
    wait_until 10 none_left
    equal "deletions" "$(deletions)" 2
}

@test "find -delete and Python's rmtree remove models and backgrounds as rm does" {
    seed_model '{"size":1000,"filename":"a.ply"}'
    local first=$ID second
    seed_model '{"size":1000,"filename":"b.ply"}'
    second=$ID
    seed_model '{"size":1000,"filename":"a.jpg","kind":"background"}'
    mount_sm3d upload.delete_delay=0
    on find "$S/models/$first" -delete
    on python3 -c 'import shutil, sys; shutil.rmtree(sys.argv[1])' "$S/models/$second"
    on rm -rf "$S/backgrounds/$ID"
    sync_drive
    lacks "$first"
    lacks "$second"
    lacks "$ID" background
    equal "deletions" "$(deletions)" 3
    equal "left" "$(on find "$S/models" "$S/backgrounds" -mindepth 1)" ""
}

@test "what is removed in a model's folder is gone here and nothing is sent: undelete or a remount brings it back" {
    seed_model '{"size":1000000,"filename":"a.ply"}'
    mount_sm3d upload.delete_delay=0
    local M=$S/models/$ID
    on ls "$M" >/dev/null
    exec 7<"$M/a.ply"
    on rm "$M/a.ply"
    equal "files" "$(on ls "$M")" info.json
    fails_with "No such file" cat "$M/a.ply"
    fails_with "Directory not empty" rmdir "$M"
    on cmp - <(emu_get sm3d/content "id=$ID") <&7
    exec 7<&-
    equal "undelete" "$(on "$PM" undelete "$M/a.ply" >/dev/null && on ls "$M" | tr '\n' ' ')" "a.ply info.json "
    on rm "$M/a.ply" "$M/info.json"
    equal "files" "$(on ls "$M")" ""
    sync_drive
    remount
    equal "after a remount" "$(on ls "$M" | tr '\n' ' ')" "a.ply info.json "
    on cmp "$M/a.ply" <(emu_get sm3d/content "id=$ID")
    equal "deletions" "$(deletions)" 0
}

@test "a removal that is taken back brings the folder back with what was in it, also after kill -9" {
    seed_model '{"size":1000,"filename":"a.ply"}'
    mount_sm3d upload.delete_delay=10m
    local M=$S/models/$ID
    on rm -r "$M"
    fails_with "No such file" ls "$M"
    on "$PM" undelete "$M"
    equal "files" "$(on ls "$M" | tr '\n' ' ')" "a.ply info.json "
    on rm -r "$M"
    crash_drive
    [[ $(on "$PM" -c "$CONF" status) == *"/models/$ID"* ]]
    remount
    fails_with "No such file" ls "$M"
    on "$PM" undelete "$M"
    on cmp "$M/a.ply" <(emu_get sm3d/content "id=$ID")
    sync_drive
    equal "deletions" "$(deletions)" 0
}

@test "a removal goes on after kill -9, a lost answer and refusals that heal, and deletes once" {
    seed_model '{"size":1000,"filename":"a.ply"}'
    mount_sm3d upload.delete_delay=10m
    on rm -r "$S/models/$ID"
    crash_drive
    fault '{"endpoint":"model_delete","count":1,"status":503}'
    fault '{"endpoint":"model_delete","count":1,"reset":"after"}'
    remount
    sync_drive
    lacks "$ID"
    nothing_pending
    equal "failed" "$(status_json | jq -c .failed)" "[]"
}

@test "a model that somebody else removed meanwhile is gone, in whatever words the service says so" {
    local first
    option sm3d.gone_status 400
    seed_model '{"size":1000,"filename":"a.ply"}'
    first=$ID
    seed_model '{"size":1000,"filename":"b.ply","name":"Beta"}'
    mount_sm3d upload.delete_delay=10m cache.attr_timeout=300ms
    on rm -r "$S/models/$first"
    on ls "$S/models/$ID" "$S/by-name" >/dev/null
    emu_post sm3d/remove "{\"id\":\"$first\"}"
    emu_post sm3d/remove "{\"id\":\"$ID\"}"
    sync_drive
    equal "failed" "$(status_json | jq -c .failed)" "[]"
    wait_until 10 none_left
}

@test "who reads a model that is removed reads it to its end, before it goes" {
    seed_model '{"size":30000000,"filename":"a.ply","seed":3}'
    emu_get sm3d/content "id=$ID" >"$T/whole"
    mount_sm3d upload.delete_delay=0 net.limit_down=15M
    exec 7<"$S/models/$ID/a.ply"
    on dd bs=100000 count=1 iflag=fullblock status=none <&7 >/dev/null
    on rm -r "$S/models/$ID"
    wait_until 20 lacks "$ID"
    within 20 cmp - <(tail -c +100001 "$T/whole") <&7
    exec 7<&-
}

@test "more than half of many models are held until they are allowed: each counts one, whatever was in it" {
    seed_model '{"count":50,"size":10}'
    mount_sm3d upload.delete_delay=10m cache.attr_timeout=10m
    on ls "$S/models" >"$T/ids"
    (cd "$S/models" && head -n 25 "$T/ids" | within 60 xargs rm -r)
    [[ $(on "$PM" status "$MNT") != *allow-deletes* ]]
    (cd "$S/models" && tail -n 1 "$T/ids" | within 60 xargs rm -r)
    [[ $(on "$PM" status "$MNT") == *allow-deletes* ]]
    sync_drive
    equal "deletions" "$(deletions)" 0
    on "$PM" allow-deletes "$MNT"
    sync_drive
    equal "deletions" "$(deletions)" 26
}

@test "what the service gives only to look at stays: EPERM with the reason, fixed folders EBUSY" {
    seed_model '{"size":100,"filename":"a.ply","name":"Fixed"}'
    local M=$S/models/$ID p
    mount_sm3d
    on ls "$M" >/dev/null
    refused "$S/models" uploads/ touch "$S/models/new"
    refused "$S/models" uploads/ mkdir "$S/models/new"
    refused "$S/models" uploads/ mv "$M" "$S/models/other"
    refused "$S/backgrounds" uploads-backgrounds/ touch "$S/backgrounds/new"
    refused "$S/by-name" models/ rm "$S/by-name/Fixed"
    refused "$S/by-name" models/ mv "$S/by-name/Fixed" "$S/by-name/Other"
    refused "$S/by-status/ACTIVE" models/ rm -r "$S/by-status/ACTIVE"
    refused "$M" uploads/ touch "$M/new"
    refused "$M" uploads/ mv "$M/a.ply" "$M/b.ply"
    refused "$M/a.ply" uploads/ dd if=/dev/null of="$M/a.ply" conv=notrunc status=none
    refused "$M/info.json" uploads/ truncate -s 0 "$M/info.json"
    fails_with "Operation not permitted" ln -s x "$S/by-name/y"
    fails_with "Operation not permitted" touch "$S/new"
    for p in models backgrounds by-name by-status by-status/ACTIVE; do
        fails_with "Device or resource busy" rmdir "$S/$p"
        fails_with "Operation not permitted" mv "$S/$p" "$S/x"
    done
    fails_with "Device or resource busy" rmdir "$S"
    equal "changes" "$(emu_get log | jq '[.[]|select(.method!="GET")]|length')" 0
    remount
    CONF_KEYS+=(account.read_only=yes)
    remount
    on ls "$M" >/dev/null
    fails_with "Read-only file system" rm -r "$M"
    has "$ID"
}

@test "fields of a model are told of its folder and its file, and are those of the last list" {
    seed_model '{"size":10,"filename":"a.ply","description":"Old","views":1,"password":"secret"}'
    mount_sm3d cache.attr_timeout=200ms
    local M=$S/models/$ID
    told() {
        local n
        for n in status numViews hasPassword downloadable description; do
            on getfattr --absolute-names --only-values -n "user.sharemy3d.$n" -- "$1" 2>/dev/null || true
            printf '|'
        done
    }
    on ls "$M" >/dev/null
    equal "folder" "$(told "$M")" "ACTIVE|1|true|false|Old|"
    equal "file" "$(told "$M/a.ply")" "ACTIVE|1|true|false|Old|"
    emu_post sm3d/set "{\"id\":\"$ID\",\"views\":12,\"description\":\"New\"}"
    moved() { [ "$(told "$1")" = "ACTIVE|12|true|false|New|" ]; }
    wait_until 10 moved "$M"
    wait_until 10 moved "$M/a.ply"
    equal "model requests" "$(requests model)" 0
}
