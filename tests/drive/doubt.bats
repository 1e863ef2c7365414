load lib

# Answers that leave in doubt what the service did, or has: of everything there is one in the end, under
# its own name, and nothing is removed that nobody saw.

setup() {
    new_place
    start_emulator
    seed_text /old.txt "old"
    seed '{"path":"/d","type":"dir"}'
    mount_drive upload.delay=0 upload.delete_delay=0
    on ls -R "$S" >/dev/null
}

# once PATH TEXT: the service has it so, and beside it what was there before, no more
once() {
    equal "$1" "$(remote_text "$1")" "$2"
    equal "objects" "$(remote_count /)" "${3:-3}"
    equal "failed" "$(status_json | jq -c .failed)" "[]"
}

# bats test_tags=quick
@test "an upload whose answer names an object that is none makes one object" {
    fault '{"endpoint":"upload","body":"{\"success\":true,\"fileId\":\"aaaaaaaaaaaaaaaaaaaaaaaa\"}","count":1}'
    write "$S/f.txt" "text"
    sync_drive
    once /f.txt "text"
}

# bats test_tags=quick
@test "an upload whose object is known only a moment later makes one object" {
    fault '{"endpoint":"details","status":404,"count":2}'
    write "$S/f.txt" "text"
    sync_drive
    once /f.txt "text"
}

# bats test_tags=quick
@test "an upload whose object is busy for a moment makes one object" {
    fault '{"endpoint":"details","status":409,"count":1}'
    write "$S/f.txt" "text"
    sync_drive
    once /f.txt "text"
}

# bats test_tags=quick
@test "a conflict where nothing has the name makes no name beside it" {
    fault '{"endpoint":"upload","status":409,"count":1}'
    write "$S/f.txt" "text"
    sync_drive
    once /f.txt "text"
}

# bats test_tags=quick
@test "an upload whose answer is lost, and that the next list lacks, makes one object and no name beside it" {
    fault '{"endpoint":"upload","reset":"after","count":1}'
    fault '{"endpoint":"list","body":"{\"data\":[]}","count":1}'
    write "$S/f.txt" "text"
    sync_drive
    once /f.txt "text"
    equal "uploads" "$(emu_get log | jq '[.[]|select(.endpoint=="upload")]|length')" 2
}

# bats test_tags=quick
@test "a name that somebody else took while an upload's answer was lost is theirs, and ours goes beside it" {
    fault '{"endpoint":"upload","reset":"before","count":1}'
    fault '{"endpoint":"list","body":"{\"data\":[]}","count":1}'
    on "$PM" pause "$MNT"
    write "$S/f.txt" "text"
    seed_text /f.txt "theirs, and longer"
    on "$PM" resume "$MNT"
    sync_drive
    once /f.txt "theirs, and longer" 4
    local copy
    copy=$(emu_get tree path=/ | jq -r '.[].path|select(contains("conflict"))')
    equal "ours" "$(remote_text "$copy")" "text"
}

# bats test_tags=quick
@test "an update that the service refuses as a conflict, once, makes no name beside it" {
    fault '{"endpoint":"update","status":409,"count":1}'
    write "$S/old.txt" "new"
    sync_drive
    once /old.txt "new" 2
}

# bats test_tags=quick
@test "a rename whose copy, or whose source's removal, meets a conflict for a moment ends as a rename" {
    fault '{"endpoint":"delete","status":409,"count":1}'
    fault '{"endpoint":"copy","status":409,"count":1}'
    on mv "$S/old.txt" "$S/new.txt"
    sync_drive
    once /new.txt "old" 2
}

# bats test_tags=quick
@test "a rename that the service refuses is taken back, and told" {
    fault '{"endpoint":"copy","status":400,"count":1}'
    on mv "$S/old.txt" "$S/new.txt"
    sync_drive
    once /old.txt "old" 2
    equal "here" "$(on cat "$S/old.txt")" "old"
    run ! on stat "$S/new.txt"
    [[ $(xattr "$S/old.txt" error) == *"ordered by a fault"* ]]
}

# bats test_tags=quick
@test "a file that is removed while it is sent, and written to by who has it open, leaves nothing to be done" {
    fault '{"endpoint":"upload","reset":"before","count":3}'
    write "$S/gone.txt" "text"
    exec 6<>"$S/gone.txt"
    sleep 0.5
    on rm "$S/gone.txt"
    echo "more than that" >&6
    exec 6>&-
    sync_drive
    once /old.txt "old" 2
}

# bats test_tags=quick
@test "an element of a list that is no object makes the list an error" {
    remount_cold
    on ls "$S" >/dev/null
    fault '{"endpoint":"list","body":"[17,\"x\"]"}'
    fails_with "Input/output error" ls "$S/d"
}

# bats test_tags=quick
@test "an entry without a name is shown, cannot be touched, and keeps its folder" {
    seed '{"path":"/d/x","name":"","text":"precious"}'
    seed '{"path":"/d/x","name":"","text":"precious, too"}'
    remount_cold
    equal "entries" "$(on ls -A "$S/d" | wc -l)" 2
    run ! on rmdir "$S/d"
    local f
    echo "new" >"$T/src/file"
    for f in "$S"/d/*; do
        run ! on cat "$f"
        on cp "$T/src/file" "$f"
        run -1 within 20 "$PM" sync "$MNT"
        [[ $(xattr "$f" state) == failed:* ]]
        on rm "$f"
    done
    on rmdir "$S/d" || true
    sync_drive
    equal "objects" "$(remote_count /)" 4
    alive
    equal "breaches" "$(emu_get breaches)" "[]"
}
