load lib

ENDPOINTS=(list download upload update mkdir delete)

setup() {
    new_place
    start_emulator
    seed '{"path":"/d/content.bin","size":3000000,"seed":9}'
    seed_text /d/old.txt "old"
    seed_text /d/going.txt "to be removed"
    seed '{"path":"/d/empty","type":"dir"}'
    mkdir -p "$T/src"
    emu_get content path=/d/content.bin >"$T/src/content.bin"
    mount_drive "$@"
}

# Whoever asks is answered in the end: right, or with an errno that says what is wrong.
answers() {
    local out=$1
    shift
    if within 30 "$@" >"$out" 2>"$T/err"; then
        return 0
    fi
    if ! grep -E 'Input/output error|timed out|busy|Connection refused|Stale' "$T/err"; then
        echo "an unfit error: $(cat "$T/err")" >&2
        return 1
    fi
    wait_until 20 answers_now "$out" "$@"
}

answers_now() {
    local out=$1
    shift
    on "$@" >"$out" 2>"$T/err"
}

# survives FAULT [ENDPOINT...]: the first requests to each endpoint fail so. In the end all that was
# asked for is done, once, and nothing else.
survives() {
    local fault=$1 endpoint id
    shift
    [ $# -gt 0 ] || set -- "${ENDPOINTS[@]}"
    id=$(remote /d/old.txt id)
    for endpoint; do
        fault "$(jq -c --arg e "$endpoint" '.+{endpoint:$e,count:1}' <<<"$fault")"
    done
    answers "$T/list" ls "$S/d"
    equal "list" "$(tr '\n' ' ' <"$T/list")" "content.bin empty going.txt old.txt "
    answers "$T/content" cat "$S/d/content.bin"
    cmp "$T/content" "$T/src/content.bin"

    random "$T/src/new.bin" 150000
    on cp "$T/src/new.bin" "$S/d/new.bin"
    printf 'new words' >"$T/src/old.txt"
    write "$S/d/old.txt" "new words"
    mkdir -p "$T/src/made/deeper"
    on mkdir -p "$S/d/made/deeper"
    printf 'below' >"$T/src/made/deeper/x.txt"
    write "$S/d/made/deeper/x.txt" "below"
    on rm "$S/d/going.txt"
    on rmdir "$S/d/empty"
    sync_drive 60
    service_has "$T/src" /d
    equal "objects" "$(remote_count /d)" 6
    equal "id of old.txt" "$(remote /d/old.txt id)" "$id"
    on diff -r "$T/src" "$S/d"
    equal "pending" "$(pending)" 0
    equal "failed" "$(status_json | jq -c .failed)" "[]"
    for endpoint; do
        run -0 jq -e --arg e "$endpoint" 'map(select(.endpoint==$e)|.hits)|add>0' <<<"$(emu_get faults)"
    done
}

# bats test_tags=quick
@test "status 500 costs nothing but time" {
    survives '{"status":500}'
}

@test "status 503 with Retry-After costs nothing but that time" {
    survives '{"status":503,"retry_after":1}'
}

@test "status 429 costs nothing but time" {
    survives '{"status":429,"retry_after":1}'
}

@test "status 429 without Retry-After costs nothing but time" {
    survives '{"status":429}'
}

@test "status 502 in the middle of an upload's body costs nothing but time" {
    survives '{"status":502,"early":true}' upload update
}

@test "a connection that breaks before the request is carried out costs nothing but time" {
    survives '{"reset":"before"}'
}

# bats test_tags=quick
@test "a connection that breaks after the request was carried out makes no second object" {
    survives '{"reset":"after"}'
}

# bats test_tags=quick
@test "a connection that breaks while a body is sent costs nothing but time" {
    survives '{"reset":"during","reset_at":1000}' upload
}

# bats test_tags=quick
@test "an answer that is cut makes no second object and no half file" {
    survives '{"cut":7}'
}

# bats test_tags=quick
@test "an answer of broken JSON makes no second object" {
    survives '{"garbage":true}' list upload update mkdir delete
}

@test "an answer of HTML makes no second object" {
    survives '{"body":"<html><body>Bad gateway</body></html>"}' list upload update mkdir delete
}

@test "an empty answer makes no second object" {
    survives '{"body":""}' list upload update mkdir delete
}

@test "answers that take two seconds are waited for" {
    survives '{"delay_ms":2000}'
}

@test "a body shorter than promised is not taken for the file" {
    survives '{"wrong_length":1000}' download
}

# bats test_tags=quick
@test "a body longer than promised is not taken for the file" {
    survives '{"wrong_length":-1000}' download
}

# bats test_tags=quick
@test "a server that ignores ranges once is read right" {
    survives '{"ignore_range":true}' download
}

# bats test_tags=quick
@test "a list that comes back broken once is asked for again, unseen" {
    local broken
    for broken in '{"garbage":true}' '{"cut":7}' '{"body":"<html></html>"}'; do
        fault "$(jq -c '.+{endpoint:"list",count:1}' <<<"$broken")"
        equal "list after $broken" "$(on ls "$S/d" 2>&1 | wc -l)" 4
        remount_cold
    done
}

@test "a list that fails for good fails with an errno, and nothing known is lost" {
    on ls "$S/d" >/dev/null
    umount_drive
    mount_drive cache.attr_timeout=500ms
    on ls "$S/d" >/dev/null
    fault '{"endpoint":"list","status":500}'
    sleep 0.6
    equal "known list" "$(on ls "$S/d" | wc -l)" 4
    equal "known file" "$(on stat -c %s "$S/d/old.txt")" 3
    fails_with "Input/output error" ls "$S/d/empty"
}

@test "a known folder whose list is refused still lists, and takes what is made and written" {
    local status
    on ls "$S/d" >/dev/null
    umount_drive
    mount_drive cache.attr_timeout=200ms
    on ls "$S/d" >/dev/null
    for status in 400 402 403 409 429 401; do
        clear_faults
        fault "{\"endpoint\":\"list\",\"status\":$status}"
        sleep 0.3
        equal "known list, then $status" "$(on ls "$S/d" | grep -c -v made)" 4
        on mkdir "$S/d/made-$status"
        write "$S/d/made-$status/x.txt" "$status"
        sleep 2.1 # what just failed is not asked again for a moment
        equal "known list, again" "$(on ls "$S/d" | grep -c -v made)" 4
        on ls "$S/d/made-$status" >/dev/null
    done
    clear_faults
    sync_drive
    equal "objects" "$(remote_count /d)" $((4 + 2 * 6))
}

@test "a download that is refused says so: permission denied" {
    on ls "$S/d" >/dev/null
    fault '{"endpoint":"download","status":403}'
    fails_with "Permission denied" cat "$S/d/content.bin"
}

# bats test_tags=quick
@test "an upload that is refused for good is kept, reported, and fails the sync" {
    fault '{"endpoint":"upload","status":413}'
    write "$S/d/kept.txt" "kept"
    run -1 within 30 "$PM" sync "$MNT"
    [[ $output == *kept.txt* ]]
    equal "failed" "$(status_json | jq -r '.failed[0].path')" "/s/d/kept.txt"
    [[ $(xattr "$S/d/kept.txt" state) == failed:* ]]
    [ -n "$(xattr "$S/d/kept.txt" error)" ]
    equal "content" "$(on cat "$S/d/kept.txt")" "kept"
    clear_faults
    remount
    equal "content after a remount" "$(on cat "$S/d/kept.txt")" "kept"
    append "$S/d/kept.txt" " and sent"
    sync_drive
    equal "on the service" "$(remote_text /d/kept.txt)" "kept and sent"
}

@test "errors in a row do not make an upload give up" {
    fault '{"endpoint":"upload","count":2,"status":500}'
    write "$S/d/stubborn.txt" "in the end"
    sync_drive 60
    equal "on the service" "$(remote_text /d/stubborn.txt)" "in the end"
}

# bats test_tags=quick
@test "a sync with a time limit ends in time, and says what is left" {
    fault '{"endpoint":"upload","status":500}'
    write "$S/d/late.txt" "later"
    local start=$SECONDS
    run -1 within 20 "$PM" sync --timeout 2 "$MNT"
    at_most "seconds" $((SECONDS - start)) $((6 * SLOW))
    [[ $output == *late.txt* ]]
    clear_faults
    sync_drive
    equal "on the service" "$(remote_text /d/late.txt)" "later"
}
