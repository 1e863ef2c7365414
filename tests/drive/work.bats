load lib

# What becomes of work that could not be sent: another try, giving it up, getting it out.
setup() {
    new_place
    start_emulator
    seed_text /d/a.txt "theirs"
    seed_text /d/b.txt "theirs, too"
    mount_drive "$@"
    on ls -lR "$S" >/dev/null
}

again() {
    umount_drive
    mount_drive "$@"
}

refuse() {
    fault '{"endpoint":"upload","status":413}'
    fault '{"endpoint":"update","status":413}'
}

failed() {
    status_json | jq '.failed | length'
}

failed_is() {
    [ "$(failed)" = "$1" ]
}

state_is() {
    [[ $(xattr "$1" state) == $2 ]]
}

size_is() {
    [ "$(on stat -c %s "$1" 2>/dev/null)" = "$2" ]
}

# hold_open PATH TEXT: a process of ours writes it and closes nothing; its number in $WRITER
hold_open() {
    perl -e 'open F, ">", $ARGV[0] or die; syswrite F, $ARGV[1]; sleep 60' "$1" "$2" 3>&- &
    WRITER=$!
    wait_until 5 size_is "$1" "${#2}"
}

kept_text() {
    cat "$STATE"/discarded/*" $1"
}

# rescue_is FILES BYTES: and what came is in $T/out
rescue_is() {
    run -0 on "$PM" rescue -c "$CONF" "$T/out"
    equal "said" "${lines[-1]}" "$1 files, $2 bytes"
}

# --- retry

# bats test_tags=quick
@test "status lists what failed with the reason, and what can be done about it" {
    refuse
    write "$S/d/big.txt" "too big"
    wait_until 20 failed_is 1
    run -0 on "$PM" status "$MNT"
    [[ $output == *"/s/d/big.txt"*"failed: "* ]]
    [[ $output == *"polymount retry PATH"*"polymount discard PATH"* ]]
}

# bats test_tags=quick
@test "retry sends what failed, by its name" {
    refuse
    write "$S/d/big.txt" "too big"
    write "$S/d/other.txt" "too"
    wait_until 20 failed_is 2
    clear_faults
    run -0 on "$PM" retry "$S/d/big.txt"
    wait_until 20 remote_is /d/big.txt size 7
    absent /d/other.txt
    run -1 on "$PM" retry "$S/d/big.txt"
    [[ $output == *"big.txt: nothing failed"* ]]
    run -0 on "$PM" retry "$S"
    sync_drive
    equal "other" "$(remote_text /d/other.txt)" "too"
}

# bats test_tags=quick
@test "setting the attribute retry does the same" {
    refuse
    write "$S/d/big.txt" "too big"
    wait_until 20 failed_is 1
    clear_faults
    on setfattr -n user.polymount.retry -v 1 "$S/d/big.txt"
    wait_until 20 remote_is /d/big.txt size 7
    fails_with "No such attribute" setfattr -n user.polymount.retry -v 1 "$S/d/a.txt"
    run ! grep -q retry <(on getfattr -m - "$S/d/big.txt")
}

# bats test_tags=quick
@test "what was open at a kill -9 is sent by retry" {
    again upload.delay=1h
    hold_open "$S/open.txt" "as far as it came"
    crash_drive
    kill "$WRITER"
    start_daemon
    state_is "$S/open.txt" interrupted
    run -0 on "$PM" retry "$S/open.txt"
    wait_until 20 remote_is /open.txt size 17
    equal "content" "$(remote_text /open.txt)" "as far as it came"
}

# --- discard

# bats test_tags=quick
@test "discard keeps the content and shows what the service has" {
    refuse
    write "$S/d/a.txt" "mine"
    write "$S/d/new.txt" "mine alone"
    wait_until 20 failed_is 2
    run -0 on "$PM" discard "$S/d/a.txt" "$S/d/new.txt"
    [[ $output == *"/s/d/a.txt: "*"$STATE/discarded/"* ]]
    equal "a.txt" "$(on cat "$S/d/a.txt")" "theirs"
    equal "list" "$(on ls "$S/d" | tr '\n' ' ')" "a.txt b.txt "
    equal "kept" "$(kept_text a.txt)" "mine"
    equal "kept" "$(kept_text new.txt)" "mine alone"
    equal "mode" "$(stat -c %a "$STATE"/discarded/* | sort -u)" 600
    failed_is 0
    nothing_pending
    clear_faults
    write "$S/d/a.txt" "again"
    sync_drive
    equal "a.txt" "$(remote_text /d/a.txt)" "again"
    again
    equal "kept" "$(kept_text new.txt)" "mine alone"
    absent /d/new.txt
}

# bats test_tags=quick
@test "discard gives up nothing that is on its way, and says so" {
    fault '{"endpoint":"upload","status":500}'
    write "$S/d/new.txt" "mine"
    run -1 on "$PM" discard "$S/d/new.txt"
    [[ $output == *"new.txt: nothing failed"* ]]
    run -1 on "$PM" discard "$S/none.txt"
    [[ $output == *none.txt* ]]
    clear_faults
    on "$PM" retry "$S" || true
    sync_drive
    equal "new.txt" "$(remote_text /d/new.txt)" "mine"
}

# bats test_tags=quick
@test "who has it open reads on when it is given up" {
    refuse
    write "$S/d/a.txt" "mine"
    wait_until 20 failed_is 1
    exec 7<"$S/d/a.txt"
    on "$PM" discard "$S/d/a.txt"
    equal "read on" "$(on cat <&7)" "mine"
    exec 7<&-
    equal "opened anew" "$(on cat "$S/d/a.txt")" "theirs"
}

@test "a kill -9 during discard leaves the work, or what is kept of it" {
    local i
    refuse
    for i in {1..12}; do
        write "$S/d/f$i.txt" "content $i"
        wait_until 20 failed_is 1
        "$PM" discard "$S/d/f$i.txt" >/dev/null 2>&1 3>&- &
        sleep "0.00$((i * 7 % 10))"
        crash_drive
        start_daemon
        if on test -e "$S/d/f$i.txt"; then
            equal "f$i" "$(on cat "$S/d/f$i.txt")" "content $i"
            wait_until 20 failed_is 1
            on "$PM" discard "$S/d/f$i.txt"
        fi
        equal "kept" "$(awk 1 "$STATE"/discarded/*" f$i.txt" | sort -u)" "content $i"
        failed_is 0
    done
}

# --- rescue

# bats test_tags=quick
@test "rescue gets out what is unsent, and needs no daemon" {
    again upload.delay=1h
    random "$T/src/x.bin" 300000
    on cp "$T/src/x.bin" "$S/d/x.bin"
    write "$S/d/a.txt" "mine"
    umount_drive
    rescue_is 2 300004
    cmp "$T/src/x.bin" "$T/out/s/d/x.bin"
    equal "a.txt" "$(cat "$T/out/s/d/a.txt")" "mine"
    [ ! -e "$T/out/s/d/b.txt" ]
    start_daemon
    sync_drive
    equal "a.txt" "$(remote_text /d/a.txt)" "mine"
}

# bats test_tags=quick
@test "rescue by the state folder's name, and not while a drive is mounted with it" {
    again upload.delay=1h
    write "$S/d/a.txt" "mine"
    run -1 on "$PM" rescue --from "$STATE" "$T/out"
    [[ $output == *"$MNT"* ]]
    [ ! -e "$T/out" ]
    umount_drive
    run -0 on "$PM" rescue --from "$STATE" "$T/out"
    equal "a.txt" "$(cat "$T/out/s/d/a.txt")" "mine"
}

# labelled PATH: a data file says that it is this one's, which follows a rename before long
labelled() {
    getfattr -R --absolute-names --only-values -n user.polymount.unsent "$STATE" 2>/dev/null | grep -q -a -F " $1"
}

# bats test_tags=quick
@test "rescue works with index and journal gone, and leaves out what was sent" {
    local i
    setfattr -n user.x -v y "$T/src" || skip "no attributes on this disk"
    for i in {1..20}; do write "$S/d/sent$i.txt" "sent $i"; done
    sync_drive
    on cat "$S/d/b.txt" >/dev/null
    on "$PM" pause "$MNT"
    for i in {1..20}; do write "$S/d/new$i.txt" "new $i"; done
    write "$S/d/a.txt" "mine"
    on mv "$S/d/new1.txt" "$S/d/moved.txt"
    wait_until 10 labelled "/s/d/moved.txt"
    hold_open "$S/d/open.txt" "half"
    crash_drive
    kill "$WRITER"
    rm "$STATE"/*.db*
    run -0 on "$PM" rescue -c "$CONF" "$T/out"
    equal "files" "${lines[-1]%%,*}" "22 files"
    for i in {2..20}; do equal "new$i" "$(cat "$T/out/s/d/new$i.txt")" "new $i"; done
    equal "moved" "$(cat "$T/out/s/d/moved.txt")" "new 1"
    equal "a.txt" "$(cat "$T/out/s/d/a.txt")" "mine"
    equal "open.txt" "$(cat "$T/out/s/d/open.txt")" "half"
}

# bats test_tags=quick
@test "a damaged journal loses nothing: what was set aside can be rescued beside the mounted drive's work" {
    setfattr -n user.x -v y "$T/src" || skip "no attributes on this disk"
    again upload.delay=1h
    write "$S/d/a.txt" "mine"
    umount_drive
    echo "no database" >"$STATE/journal.db"
    rm -f "$STATE"/journal.db-*
    start_daemon
    write "$S/d/later.txt" "since then"
    umount_drive
    rescue_is 2 14
    equal "a.txt" "$(cat "$T/out/s/d/a.txt")" "mine"
    equal "later.txt" "$(cat "$T/out/s/d/later.txt")" "since then"
}

# lose FILE...: of the state folder, with something in it that waits
lose() {
    setfattr -n user.x -v y "$T/src" || skip "no attributes on this disk"
    again upload.delay=1h
    write "$S/d/a.txt" "mine"
    write "$S/d/n.txt" "new"
    umount_drive
    for file; do rm -f "$STATE/$file" "$STATE/$file"-*; done
    mount_drive
    for i in 1 2 3 4; do write "$S/d/later$i" "since then"; done
    sync_drive
    equal "a.txt" "$(remote_text /d/a.txt)" "theirs"
    umount_drive
    rescue_is 2 7
    equal "a.txt" "$(cat "$T/out/s/d/a.txt")" "mine"
    equal "n.txt" "$(cat "$T/out/s/d/n.txt")" "new"
}

@test "with index and journal gone, a mount and new work take nothing from a later rescue" {
    lose index.db journal.db
}

@test "with the journal gone, a mount and new work take nothing from a later rescue" {
    lose journal.db
}

@test "unsent work whose content is gone from the state folder is told to have failed, and can be given up" {
    again upload.delay=1h
    write "$S/d/a.txt" "mine"
    umount_drive
    find "$STATE/data" -type f -delete
    mount_drive
    sync_drive >/dev/null 2>&1 && false
    equal "failed" "$(failed)" 1
    [[ $(xattr "$S/d/a.txt" state) == "failed: "*"not in the cache folder any more" ]]
    on "$PM" discard "$S/d/a.txt"
    equal "shown" "$(on cat "$S/d/a.txt")" "theirs"
    sync_drive
}

# --- the end of the session

# A logind that says yes: each lock is a line in $T/locks, its process the command that it runs.
fake_logind() {
    mkdir -p "$T/bin"
    cat >"$T/bin/systemd-inhibit" <<EOF
#!/bin/sh
echo "\$\$ \$*" >>"$T/locks"
while [ "\${1#--}" != "\$1" ]; do shift; done
exec "\$@"
EOF
    chmod +x "$T/bin/systemd-inhibit"
    PATH=$T/bin:$PATH
}

locks() {
    cat "$T/locks" 2>/dev/null | wc -l
}

held() {
    local pid
    pid=$(tail -n 1 "$T/locks" 2>/dev/null | cut -d' ' -f1)
    [ -n "$pid" ] && ! gone "$pid"
}

not_held() {
    ! held
}

# bats test_tags=quick
@test "while something is queued a shutdown is inhibited, and not for long after" {
    fake_logind
    again upload.delay=1h
    sleep 2
    equal "locks of an idle drive" "$(locks)" 0
    write "$S/a.txt" "mine"
    write "$S/b.txt" "mine"
    wait_until 10 held
    grep -q -E -- "--what=shutdown --who=polymount --why=[12] files are not uploaded yet --mode=block" "$T/locks"
    sleep 2
    held
    sync_drive
    wait_until 15 not_held
    equal "locks" "$(locks)" 1
    write "$S/c.txt" "mine"
    wait_until 10 held
    umount_drive
    wait_until 5 not_held
}

# bats test_tags=quick
@test "after kill -9 no shutdown stays inhibited" {
    fake_logind
    again upload.delay=1h
    write "$S/a.txt" "mine"
    wait_until 10 held
    crash_drive
    wait_until 5 not_held
}

@test "what failed or is paused inhibits no shutdown" {
    local before
    fake_logind
    again
    on "$PM" pause "$MNT"
    write "$S/a.txt" "mine"
    sleep 2
    equal "locks" "$(locks)" 0
    refuse
    on "$PM" resume "$MNT"
    wait_until 20 failed_is 1
    wait_until 15 not_held
    before=$(locks)
    sleep 2
    equal "locks since" "$(locks)" "$before"
}

@test "a logind that cannot be asked is asked once" {
    fake_logind
    printf '#!/bin/sh\necho no >>"%s/locks"\nexit 1\n' "$T" >"$T/bin/systemd-inhibit"
    again upload.delay=1h
    write "$S/a.txt" "mine"
    wait_until 10 test -s "$T/locks"
    write "$S/b.txt" "mine"
    sleep 3
    equal "asked" "$(locks)" 1
    sync_drive
}

ends_and_keeps() {
    reap
    start_daemon
    equal "content" "$(on cat "$S/d/a.txt")" "$1"
    sync_drive
    equal "on the service" "$(remote_text /d/a.txt)" "$1"
}

# bats test_tags=quick
@test "SIGTERM, a hang-up as at logout, and fusermount3 -u end the daemon well and lose nothing" {
    local signal
    again upload.delay=1h
    for signal in TERM HUP INT; do
        write "$S/d/a.txt" "before SIG$signal"
        kill "-$signal" "$DRIVE_PID"
        ends_and_keeps "before SIG$signal"
    done
    write "$S/d/a.txt" "before fusermount3"
    on fusermount3 -u "$MNT"
    ends_and_keeps "before fusermount3"
}

# bats test_tags=quick
@test "SIGTERM with files open, also for writing, keeps what was closed and what was not" {
    again upload.delay=1h
    hold_open "$S/open.txt" "half"
    write "$S/d/a.txt" "mine"
    exec 7<"$S/d/b.txt"
    kill -TERM "$DRIVE_PID"
    reap
    exec 7<&-
    kill "$WRITER"
    start_daemon
    equal "closed" "$(on cat "$S/d/a.txt")" "mine"
    equal "open" "$(on cat "$S/open.txt")" "half"
    on "$PM" retry "$S/open.txt" || true
    sync_drive
    equal "closed" "$(remote_text /d/a.txt)" "mine"
    equal "open" "$(remote_text /open.txt)" "half"
}
