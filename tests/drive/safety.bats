load lib

# Another user is at work on the service at the same time. Lists are fresh for a moment only.
setup() {
    new_place
    start_emulator
    seed_text /d/a.txt "first"
    mount_drive cache.attr_timeout=500ms "$@"
    on ls -lR "$S" >/dev/null
}

again() {
    umount_drive
    mount_drive cache.attr_timeout=500ms "$@"
}

theirs() {
    emu_post replace "$(jq -n --arg p "$1" --arg t "$2" '{path:$p,text:$t}')"
}

shows() {
    [ "$(on cat "$1" 2>/dev/null)" = "$2" ]
}

lists() {
    [ "$(on ls -A "$1" | tr '\n' ' ')" = "$2" ]
}

uploads() {
    echo $(($(requests upload) + $(requests update)))
}

# --- crashes

# bats test_tags=quick
@test "after kill -9 what was closed arrives whole, and once" {
    again upload.delay=1h
    random "$T/src/x.bin" 3000000
    on cp "$T/src/x.bin" "$S/x.bin"
    write "$S/d/a.txt" "second"
    on mkdir "$S/made"
    write "$S/made/y.txt" "y"
    on rm -f "$S/made/none"
    crash_drive
    remount
    on cmp "$T/src/x.bin" "$S/x.bin"
    sync_drive
    equal "x.bin" "$(remote /x.bin sha256)" "$(sha256sum <"$T/src/x.bin" | cut -d' ' -f1)"
    equal "a.txt" "$(remote_text /d/a.txt)" "second"
    equal "y.txt" "$(remote_text /made/y.txt)" "y"
    equal "objects" "$(remote_count /)" 5
}

# bats test_tags=quick
@test "after kill -9 during an upload the file arrives once" {
    random "$T/src/x.bin" 2000000
    fault '{"endpoint":"upload","delay_ms":1500,"count":1}'
    on cp "$T/src/x.bin" "$S/x.bin"
    sleep 0.8
    crash_drive
    sleep 1.5 # the service carries it out all the same
    remount
    sync_drive
    equal "x.bin" "$(remote /x.bin sha256)" "$(sha256sum <"$T/src/x.bin" | cut -d' ' -f1)"
    equal "objects" "$(remote_count /)" 3
}

@test "after kill -9 in the middle of an upload's body the file arrives once" {
    again net.limit_up=1M
    random "$T/src/x.bin" 4000000
    on cp "$T/src/x.bin" "$S/x.bin"
    sleep 1.5
    crash_drive
    mount_drive
    sync_drive
    equal "x.bin" "$(remote /x.bin sha256)" "$(sha256sum <"$T/src/x.bin" | cut -d' ' -f1)"
    equal "objects" "$(remote_count /)" 3
}

@test "after kill -9 during an update the object is the new one, with its id" {
    local id
    id=$(remote /d/a.txt id)
    fault '{"endpoint":"update","delay_ms":1500,"count":1}'
    write "$S/d/a.txt" "second, longer"
    sleep 0.8
    crash_drive
    sleep 1.5
    remount
    sync_drive
    equal "a.txt" "$(remote_text /d/a.txt)" "second, longer"
    equal "id" "$(remote /d/a.txt id)" "$id"
    equal "objects" "$(remote_count /)" 2
}

# bats test_tags=quick
@test "after kill -9 with a file open for writing it is kept and said to be interrupted" {
    again upload.delay=1h
    # One that never closes: each end of a child that shares the descriptor would be a close.
    perl -e 'open F, ">", $ARGV[0] or die; syswrite F, "x" x 300000; sleep 60' "$S/open.bin" 3>&- &
    local writer=$!
    wait_until 5 eval '[ "$(on stat -c %s "$S/open.bin" 2>/dev/null)" = 300000 ]'
    crash_drive
    kill "$writer"
    remount
    equal "state" "$(xattr "$S/open.bin" state)" interrupted
    sleep 1
    equal "uploads" "$(uploads)" 0
    equal "size" "$(on stat -c %s "$S/open.bin")" 300000
    run -1 within 20 "$PM" sync "$MNT"
    [[ $output == *open.bin* ]]
    append "$S/open.bin" "now closed"
    sync_drive
    equal "size on the service" "$(remote /open.bin size)" 300010
}

@test "after kill -9 between a file's creation and its first write no empty file goes up" {
    again upload.delay=0
    perl -e 'open F, ">", $ARGV[0] or die; sleep 60' "$S/new.bin" 3>&- &
    local writer=$!
    wait_until 5 on test -e "$S/new.bin"
    touch "$S/empty.bin"
    crash_drive
    kill "$writer"
    remount
    wait_until 10 remote_is /empty.bin size 0
    equal "state" "$(xattr "$S/new.bin" state)" interrupted
    run -0 absent /new.bin
    append "$S/new.bin" "all of it"
    sync_drive
    equal "new.bin" "$(remote_text /new.bin)" "all of it"
}

# bats test_tags=quick
@test "ten crashes at any time lose nothing that was closed" {
    again upload.delay=0
    local i
    for i in {1..10}; do
        write "$S/d/f$i.txt" "content $i"
        write "$S/d/again.txt" "version $i"
        sleep "0.0$((i * 7 % 10))"
        crash_drive
        remount
    done
    sync_drive 60
    for i in {1..10}; do equal "f$i" "$(remote_text "/d/f$i.txt")" "content $i"; done
    equal "again.txt" "$(remote_text /d/again.txt)" "version 10"
    equal "objects" "$(remote_count /d)" 12
}

# bats test_tags=quick
@test "without a delay, files written in pieces arrive whole and without conflicts" {
    again upload.delay=0
    local i
    for i in {1..30}; do
        write "$S/d/f$i.txt" "content $i"
        append "$S/d/f$i.txt" ", and more"
        write "$S/d/again.txt" "version $i"
    done
    sync_drive 60
    for i in {1..30}; do equal "f$i" "$(remote_text "/d/f$i.txt")" "content $i, and more"; done
    equal "again.txt" "$(remote_text /d/again.txt)" "version 30"
    equal "objects" "$(remote_count /d)" 32
}

# bats test_tags=quick
@test "after a crash of the service an upload arrives once" {
    random "$T/src/x.bin" 2000000
    fault '{"endpoint":"upload","delay_ms":3000}'
    on cp "$T/src/x.bin" "$S/x.bin"
    sleep 0.8
    kill_emulator
    start_emulator
    sync_drive 60
    equal "x.bin" "$(remote /x.bin sha256)" "$(sha256sum <"$T/src/x.bin" | cut -d' ' -f1)"
    equal "objects" "$(remote_count /)" 3
}

@test "what is unmounted before the delay is over arrives after the next mount" {
    again upload.delay=3s
    write "$S/late.txt" "late"
    on rm "$S/d/a.txt"
    umount_drive
    equal "uploads" "$(uploads)" 0
    start_daemon
    equal "content" "$(on cat "$S/late.txt")" "late"
    run ! on stat "$S/d/a.txt"
    wait_until 10 remote_is /late.txt size 4
    sync_drive
    run -0 absent /d/a.txt
}

# bats test_tags=quick
@test "an upload recovered after a crash reads with its content, and can be removed" {
    again upload.delay=1h
    random "$T/src/x.bin" 300000
    on cp "$T/src/x.bin" "$S/x.bin"
    wait_until 10 closes_seen
    crash_drive
    remount
    on cmp "$T/src/x.bin" "$S/x.bin"
    on rm "$S/x.bin"
    run ! on stat "$S/x.bin"
    sync_drive
    equal "uploads" "$(uploads)" 0
    crash_drive
    remount
    run ! on stat "$S/x.bin"
    equal "objects" "$(remote_count /)" 2
}

@test "a file renamed while it is uploaded arrives once, under its new name" {
    fault '{"endpoint":"upload","delay_ms":1500,"count":1}'
    random "$T/src/new.bin" 300000
    on cp "$T/src/new.bin" "$S/old.bin"
    wait_until 5 eval '[ "$(uploads)" -gt 0 ]'
    on mv "$S/old.bin" "$S/new.bin"
    sync_drive 60
    remote_is /new.bin sha256 "$(sha256sum <"$T/src/new.bin" | cut -d' ' -f1)"
    run -0 absent /old.bin
    equal "objects" "$(remote_count /)" 3
}

@test "what is queued for one account is never sent to another, and goes when its own is back" {
    again upload.delay=1h
    write "$S/mine.txt" "mine"
    umount_drive
    mount_drive account.endpoint="${URL/127.0.0.1/localhost}"
    on ls "$S" >/dev/null
    run ! on stat "$S/mine.txt"
    within 20 "$PM" sync --timeout 2 "$MNT" || true
    run -0 absent /mine.txt
    umount_drive
    mount_drive
    equal "mine.txt" "$(on cat "$S/mine.txt")" "mine"
    sync_drive
    equal "mine.txt" "$(remote_text /mine.txt)" "mine"
}

# in_one_open FROM: x.txt is written to, then FROM renamed over it, or with - removed, before it is closed
in_one_open() {
    on perl -e 'open F, "+<", "$ARGV[0]/x.txt" or die; syswrite F, "more" or die;
        $ARGV[1] eq "-" ? unlink "$ARGV[0]/x.txt" : rename "$ARGV[0]/$ARGV[1]", "$ARGV[0]/x.txt" or die' "$S" "$1"
}

# bats test_tags=quick
@test "a file renamed over one that is written to leaves nothing to be done" {
    seed_text /x.txt "one"
    seed_text /y.txt "two"
    wait_until 5 on test -e "$S/y.txt"
    in_one_open y.txt
    sync_drive
    equal "x.txt" "$(remote_text /x.txt)" "two"
    run -0 absent /y.txt
}

@test "a file removed while it is written to again, after a try to send it, leaves nothing to be done" {
    seed_text /x.txt "one"
    again upload.delay=0
    on ls -l "$S" >/dev/null
    fault '{"endpoint":"update","reset":"before","count":2}'
    write "$S/x.txt" "first"
    wait_until 5 eval '[ "$(uploads)" -gt 0 ]'
    in_one_open -
    sync_drive
    run -0 absent /x.txt
}

# bats test_tags=quick
@test "a file renamed while it is open is said to be interrupted after a crash" {
    again upload.delay=1h
    perl -e 'open F, "+<", "$ARGV[0]/a.txt" or die; syswrite F, "more"; rename "$ARGV[0]/a.txt",
        "$ARGV[0]/b.txt" or die; sleep 60' "$S/d" 3>&- &
    local writer=$!
    wait_until 5 on test -e "$S/d/b.txt"
    crash_drive
    kill "$writer"
    remount
    equal "state" "$(xattr "$S/d/b.txt" state)" interrupted
}

# --- lost answers

# bats test_tags=quick
@test "an upload whose answer is lost makes one object" {
    fault '{"endpoint":"upload","reset":"after","count":1}'
    write "$S/once.txt" "once"
    sync_drive
    equal "once.txt" "$(remote_text /once.txt)" "once"
    equal "objects" "$(remote_count /)" 3
    equal "shown" "$(on ls -A "$S" | tr '\n' ' ')" "d once.txt "
}

# bats test_tags=quick
@test "an update whose answer is lost makes neither a second object nor a conflict" {
    fault '{"endpoint":"update","reset":"after","count":1}'
    write "$S/d/a.txt" "second, longer"
    sync_drive
    equal "a.txt" "$(remote_text /d/a.txt)" "second, longer"
    equal "objects" "$(remote_count /)" 2
}

@test "an upload whose answer is lost, with the service gone for a while, makes one object" {
    fault '{"endpoint":"upload","reset":"after","count":1}'
    write "$S/once.txt" "once"
    wait_until 5 eval '! absent /once.txt'
    umount_drive
    wait_until 10 settled
    start_daemon
    sync_drive
    equal "objects" "$(remote_count /)" 3
}

# bats test_tags=quick
@test "an update of as many bytes that was broken off is sent, though the one before is converted meanwhile" {
    option convert_ms 500
    write "$S/d/a.txt" "two"
    sync_drive
    fault '{"endpoint":"update","reset":"before","count":1}'
    write "$S/d/a.txt" "TWO"
    sync_drive
    equal "a.txt" "$(remote_text /d/a.txt)" "TWO"
}

@test "a folder's rename whose last answer is lost keeps what was saved in it since" {
    wait_until 5 lists "$S/d" "a.txt "
    fault '{"endpoint":"delete","reset":"after","count":1}'
    on mv "$S/d" "$S/e"
    write "$S/e/a.txt" "saved since"
    sync_drive 60
    equal "a.txt" "$(remote_text /e/a.txt)" "saved since"
    equal "objects" "$(remote_count /)" 2
}

@test "a folder's rename that meets a 404 on its way is made, whole" {
    wait_until 5 lists "$S/d" "a.txt "
    fault '{"endpoint":"copy","status":404,"count":1}'
    on mv "$S/d" "$S/e"
    sync_drive 60
    equal "a.txt" "$(remote_text /e/a.txt)" "first"
    run -0 absent /d
    equal "shown" "$(on ls "$S")" e
}

@test "a folder whose making was not answered, and that is removed, is not left on the service" {
    fault '{"endpoint":"mkdir","reset":"after","count":1}'
    on mkdir "$S/new"
    wait_until 5 eval '! absent /new'
    on rmdir "$S/new"
    sync_drive 60
    run -0 absent /new
}

@test "a folder whose removal was not answered, and that is made again, is on the service" {
    again upload.delete_delay=0
    on rm "$S/d/a.txt"
    sync_drive 60
    fault '{"endpoint":"delete","reset":"after","count":1}'
    fault '{"endpoint":"delete","status":503,"count":1}'
    on rmdir "$S/d"
    wait_until 5 eval '[ "$(requests delete)" -ge 3 ]'
    on mkdir "$S/d"
    sync_drive 60
    equal "d" "$(remote /d type)" dir
}

# --- copies that the service makes

copy_whole() {
    on python3 -c 'import os, sys
i = os.open(sys.argv[1], os.O_RDONLY)
o = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_EXCL)
while os.copy_file_range(i, o, 1 << 20):
    pass' "$1" "$2"
}

@test "a copy is of what was copied, though another file is renamed over that before it is made" {
    again upload.delay=1h
    wait_until 5 lists "$S/d" "a.txt "
    wait_until 5 settled
    copy_whole "$S/d/a.txt" "$S/d/b.txt"
    write "$S/d/new.txt" "new"
    on mv "$S/d/new.txt" "$S/d/a.txt"
    fault '{"endpoint":"copy","delay_ms":1000,"count":1}'
    sync_drive 60
    equal "a.txt" "$(remote_text /d/a.txt)" "new"
    equal "b.txt" "$(remote_text /d/b.txt)" "first"
}

@test "what a copy is being made of stays until it is made, though the copy is written to" {
    option copy_ms 1500
    again upload.delay=0
    wait_until 5 lists "$S/d" "a.txt "
    wait_until 5 settled
    copy_whole "$S/d/a.txt" "$S/d/b.txt"
    wait_until 5 eval '[ "$(requests copy)" -gt 0 ]'
    append "$S/d/b.txt" " more"
    on rm "$S/d/a.txt"
    sync_drive 60
    equal "b.txt" "$(remote_text /d/b.txt)" "first more"
    run -0 absent /d/a.txt
}

# --- other users

# bats test_tags=quick
@test "another user's new, changed and removed files appear" {
    seed_text /d/b.txt "b"
    wait_until 5 lists "$S/d" "a.txt b.txt "
    equal "b" "$(on cat "$S/d/b.txt")" "b"
    on cat "$S/d/a.txt" >/dev/null
    theirs /d/a.txt "changed by them"
    wait_until 5 shows "$S/d/a.txt" "changed by them"
    equal "size" "$(on stat -c %s "$S/d/a.txt")" 15
    emu_post remove '{"path":"/d/b.txt"}'
    wait_until 5 lists "$S/d" "a.txt "
    seed '{"path":"/d/sub","type":"dir"}'
    seed_text /d/sub/c.txt "c"
    wait_until 5 shows "$S/d/sub/c.txt" "c"
    emu_post rename '{"from":"/d/sub/c.txt","to":"/d/sub/e.txt"}'
    wait_until 5 lists "$S/d/sub" "e.txt "
}

# bats test_tags=quick
@test "another user's change of what we changed too: both are kept" {
    again upload.delay=1h
    on cat "$S/d/a.txt" >/dev/null
    write "$S/d/a.txt" "ours, not sent yet"
    theirs /d/a.txt "theirs"
    sleep 1
    equal "here, still" "$(on cat "$S/d/a.txt")" "ours, not sent yet"
    sync_drive
    equal "theirs on the service" "$(remote_text /d/a.txt)" "theirs"
    equal "objects" "$(remote_count /)" 3
    local copy
    copy=$(emu_get tree path=/d | jq -r '.[].path|select(contains("conflict"))')
    [[ $copy == "/d/a (conflict "*").txt" ]]
    equal "ours on the service" "$(remote_text "$copy")" "ours, not sent yet"
    wait_until 5 shows "$S/d/a.txt" "theirs"
    equal "ours" "$(on cat "$S$copy")" "ours, not sent yet"
}

@test "another user's new file where we made one too: both are kept" {
    again upload.delay=1h
    write "$S/d/new.txt" "ours"
    seed_text /d/new.txt "theirs"
    sync_drive
    equal "theirs" "$(remote_text /d/new.txt)" "theirs"
    local copy
    copy=$(emu_get tree path=/d | jq -r '.[].path|select(contains("conflict"))')
    equal "ours" "$(remote_text "$copy")" "ours"
    equal "objects" "$(remote_count /d)" 3
}

# bats test_tags=quick
@test "a folder that another user made too is one folder, with the files of both" {
    again upload.delay=1h
    on mkdir "$S/both"
    write "$S/both/ours.txt" "o"
    on rm "$S/d/a.txt"
    seed_text /both/theirs.txt "t"
    sync_drive
    equal "objects" "$(remote_count /both)" 2
    wait_until 5 lists "$S/both" "ours.txt theirs.txt "
}

@test "a file that another user removed while ours is not sent yet is uploaded anew" {
    again upload.delay=1h
    write "$S/d/a.txt" "ours"
    emu_post remove '{"path":"/d/a.txt"}'
    sleep 1
    on ls "$S/d" >/dev/null
    sleep 0.6
    equal "here" "$(on cat "$S/d/a.txt")" "ours"
    sync_drive
    equal "on the service" "$(remote_text /d/a.txt)" "ours"
    equal "objects" "$(remote_count /)" 2
}

# bats test_tags=quick
@test "a folder that another user removed comes back for what we made in it" {
    again upload.delay=1h
    write "$S/d/ours.txt" "ours"
    emu_post remove '{"path":"/d/a.txt"}'
    emu_post remove '{"path":"/d"}'
    sleep 1
    on ls "$S" >/dev/null
    sleep 0.6
    equal "here" "$(on cat "$S/d/ours.txt")" "ours"
    sync_drive
    equal "on the service" "$(remote_text /d/ours.txt)" "ours"
}

# bats test_tags=quick
@test "the removal of a file that was changed on the service is dropped, and the file is back" {
    again upload.delete_delay=1h
    on cat "$S/d/a.txt" >/dev/null
    on rm "$S/d/a.txt"
    run ! on stat "$S/d/a.txt"
    theirs /d/a.txt "precious"
    sync_drive
    equal "on the service" "$(remote_text /d/a.txt)" "precious"
    wait_until 5 shows "$S/d/a.txt" "precious"
    [[ $(xattr "$S/d/a.txt" error) == *changed* ]]
    equal "pending" "$(pending)" 0
}

@test "rm -r of a folder in which another user put a file leaves that file" {
    again upload.delete_delay=1h
    on rm -r "$S/d"
    seed_text /d/theirs.txt "precious"
    sync_drive || true
    equal "on the service" "$(remote_text /d/theirs.txt)" "precious"
    run -0 absent /d/a.txt
    wait_until 5 lists "$S/d" "theirs.txt "
}

@test "the removal of one of two objects with one name removes that one, or none" {
    seed '{"path":"/in","type":"dir"}'
    seed '{"path":"/in/x","name":"twice","text":"first"}'
    seed '{"path":"/in/x","name":"twice","text":"other, longer"}'
    wait_until 5 eval 'on ls "$S/in" | grep -q .'
    local f size removed=''
    for f in "$S"/in/*; do
        size=$(on stat -c %s "$f")
        [ "$size" != 5 ] || continue
        on rm "$f"
        removed=yes
    done
    equal "a file to remove" "$removed" yes
    sync_drive || true
    emu_get tree path=/in >"$T/left"
    jq -e 'length==2 or (length==1 and .[0].size==5)' "$T/left" >/dev/null || {
        cat "$T/left" >&2
        return 1
    }
}

# --- lists that lie

# bats test_tags=quick
@test "a list that comes back empty once loses nothing" {
    seed '{"dir":"/d","count":20,"size":100}'
    wait_until 5 eval '[ "$(on ls "$S/d" | wc -l)" = 21 ]'
    on cat "$S/d/a.txt" >/dev/null
    again upload.delay=1h
    write "$S/d/ours.txt" "ours"
    write "$S/d/a.txt" "changed"
    emu_get tree path=/ >/dev/null
    fault '{"endpoint":"list","match":"/d","count":1,"body":"[]"}'
    sleep 0.6
    on ls "$S/d" >/dev/null
    equal "entries" "$(on ls "$S/d" | wc -l)" 22
    equal "ours" "$(on cat "$S/d/ours.txt")" "ours"
    equal "changed" "$(on cat "$S/d/a.txt")" "changed"
    sync_drive
    equal "on the service" "$(remote_count /d)" 22
    equal "a.txt" "$(remote_text /d/a.txt)" "changed"
}

@test "broken lists in a row lose nothing" {
    again upload.delay=1h
    write "$S/d/ours.txt" "ours"
    local body
    for body in '[{"name":' '{"success":false}' 'null' '{}' '[1,2,3]' '<html></html>' ''; do
        fault "$(jq -nc --arg b "$body" '{endpoint:"list",count:1,body:$b}')"
        sleep 0.6
        on ls "$S/d" >/dev/null 2>&1 || true
        sleep 0.1
        emu_delete faults
        equal "entries after $body" "$(on ls -A "$S/d" | tr '\n' ' ')" "a.txt ours.txt "
    done
    sync_drive
    equal "objects" "$(remote_count /d)" 2
}

@test "no object is deleted before its replacement is there" {
    write "$S/d/a.txt.tmp" "replacement"
    on mv "$S/d/a.txt.tmp" "$S/d/a.txt"
    sync_drive
    on rm "$S/d/a.txt"
    write "$S/d/a.txt" "another"
    sync_drive
    equal "deletions" "$(requests delete)" 0
    equal "a.txt" "$(remote_text /d/a.txt)" "another"
}

# bats test_tags=quick
@test "with the disk full of what is not sent, writing says so, and nothing is lost" {
    local free
    write "$S/small.txt" "small"
    sync_drive
    free=$(df -B1M --output=avail "$T" | tail -1)
    again "cache.min_free=$((free + 100000))M" # whatever other tests give back
    fails_with "No space left" dd if=/dev/zero of="$S/big.bin" bs=1M count=50
    equal "small.txt" "$(on cat "$S/small.txt")" "small"
    equal "a.txt" "$(on cat "$S/d/a.txt")" "first" # any file reads through any cache
    on rm -f "$S/big.bin"
}
