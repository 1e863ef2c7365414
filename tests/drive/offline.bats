load lib

# Without the service: what is known lists and reads, every change queues, and goes out in its order
# afterwards. The folder $T/model is the drive as it should be.
setup() {
    local i
    new_place
    start_emulator
    MODEL=$T/model
    mkdir -p "$MODEL"
    for i in 1 2 3 4 5 6; do add "work/f$i.txt" "content of f$i"; done
    for i in 1 2 3; do add "work/deep/er/g$i.txt" "content of g$i"; done
    add "old/keep.txt" "kept"
    add "old/sub/x.txt" "x"
    add "empty/.keep" ""
    random "$T/src/big.bin" 700000
    cp "$T/src/big.bin" "$MODEL/work/big.bin"
    mount_drive upload.delete_delay=1s cache.attr_timeout=500ms "$@"
    on cp "$T/src/big.bin" "$S/work/big.bin"
    sync_drive
    on ls -lR "$S" >/dev/null
    on cat "$S"/work/f?.txt "$S/work/deep/er/g1.txt" "$S/old/keep.txt" >/dev/null
}

# add PATH TEXT: on the service, and in the model
add() {
    seed_text "/$1" "$2"
    mkdir -p "$MODEL/$(dirname "$1")"
    printf %s "$2" >"$MODEL/$1"
}

# here_too COMMAND...: in the drive, and in the model; both by relative paths
here_too() {
    (cd "$S" && on bash -c "$1")
    (cd "$MODEL" && bash -c "$1")
}

# What the drive shows is the model's: names, kinds and sizes, and what it has of the contents.
shows_the_model() {
    diff <(cd "$MODEL" && find . -printf '%P %y\n' | sort) <(cd "$S" && on find . -printf '%P %y\n' | sort) >&2
    diff <(cd "$MODEL" && find . -type f -printf '%P %s\n' | sort) \
        <(cd "$S" && on find . -type f -printf '%P %s\n' | sort) >&2
}

is_the_model() {
    service_has "$MODEL" /
    diff <(cd "$MODEL" && find . -mindepth 1 -type d -printf '/%P\n' | sort) \
        <(emu_get tree path=/ | jq -r '.[]|select(.type=="dir")|.path' | sort) >&2
    equal "objects" "$(remote_count /)" "$(find "$MODEL" -mindepth 1 | wc -l)"
}

# Everything that people do. None of it may take long, though every request to the service fails.
a_day_of_work() {
    here_too 'echo new >work/new.txt; echo "more of it" >>work/new.txt'
    here_too 'echo changed >work/f1.txt'
    here_too 'printf "added to it" >>work/f2.txt'
    here_too 'printf XY | dd of=work/f3.txt bs=1 seek=3 conv=notrunc status=none'
    here_too 'mv work/f4.txt work/renamed.txt'
    here_too 'mv work/f5.txt work/f6.txt' # over another
    here_too 'rm old/keep.txt'
    here_too 'mkdir -p made/inner; cp work/f1.txt made/inner/copy.txt'
    here_too 'mv work/deep moved; mv moved made/'
    here_too 'echo saved >work/new.txt.part; mv work/new.txt.part work/new.txt'
    here_too 'rm -r old/sub; mkdir old/sub; echo again >old/sub/y.txt'
    here_too 'rm -r empty'
    here_too 'mkdir brief; echo gone >brief/z.txt; rm -r brief'
    here_too 'mv work/big.bin made/big.bin'
    here_too 'mv made/inner/copy.txt work/copy.txt; mv work/copy.txt copy.txt'
}


@test "offline, over a crash and a remount: a day's work is shown, kept, and goes out whole, once, in its order" {
    local start
    kill_emulator
    crash_drive
    start_daemon
    start=$SECONDS
    shows_the_model
    equal "a file read before" "$(on cat "$S/work/f1.txt")" "content of f1"
    on cmp "$T/src/big.bin" "$S/work/big.bin"
    a_day_of_work
    at_most "seconds for it all" $((SECONDS - start)) 60
    shows_the_model
    diff -r "$MODEL/work" "$S/work" >&2
    run -0 on "$PM" status "$MNT"
    [[ $output == *"not on the services yet"* && $output != *"safe to shut down"* ]]
    [[ $output == *"/s/work/new.txt"* ]]
    equal "failed" "$(status_json | jq -c .failed)" "[]"
    crash_drive
    start_daemon
    shows_the_model
    umount_drive
    run -0 on "$PM" status -c "$CONF"
    [[ $output == *"not mounted"*"/s/work/new.txt"* ]]
    start_daemon
    shows_the_model
    start_emulator
    sync_drive 100
    is_the_model
    shows_the_model
    on diff -r "$MODEL" "$S"
    equal "failed" "$(status_json | jq -c .failed)" "[]"
    run -0 on "$PM" status "$MNT"
    [[ $output == *"safe to shut down"* ]]
    remount_cold
    on diff -r "$MODEL" "$S"
}

@test "the service comes and goes while a day's work is sent: the same" {
    local i
    kill_emulator
    a_day_of_work
    shows_the_model
    for i in 1 2 3 4 5; do
        start_emulator
        sleep "0.$((i * 3 % 10))"
        kill_emulator
        sleep 0.5
    done
    shows_the_model
    start_emulator
    sync_drive 100
    is_the_model
    on diff -r "$MODEL" "$S"
}

# bats test_tags=quick
@test "back online by itself: nobody has to ask for it, and status follows" {
    kill_emulator
    here_too 'echo changed >work/f1.txt; mkdir made; echo new >made/new.txt; rm old/keep.txt; mv work/f2.txt made/'
    wait_until 10 status_tells_why
    [[ $(xattr "$S/made/new.txt" state) == waiting:* || $(xattr "$S/made/new.txt" state) == queued ]]
    start_emulator
    wait_until 60 nothing_pending
    is_the_model
    equal "state" "$(xattr "$S/made/new.txt" state)" synced
    wait_until 5 account_is_well
}

# Each in its time: the account's trouble is known before the folder's own try has failed.
status_tells_why() {
    run -0 on "$PM" status "$MNT"
    [[ $output == *"account s "*"onnect"* && $output == *"/s/made "*"waiting: "*onnect* && $output == *"/s/made/new.txt"* ]]
}

account_in_trouble() {
    [ -n "$(status_json | jq -r '.accounts[0].error')" ]
}

account_is_well() {
    ! account_in_trouble
}

# bats test_tags=quick
@test "what is not here, offline: an error soon, and nothing else is held up" {
    kill_emulator
    for i in 2 3; do # "on" gives each as long as op_timeout is, and a killed one says nothing
        run ! on cat "$S/work/deep/er/g$i.txt"
        [[ $output == *"onnect"* || $output == *"timed out"* || $output == *"Network"* ]]
    done
    equal "another" "$(on cat "$S/work/deep/er/g1.txt")" "content of g1"
    start_emulator
    equal "g2" "$(on cat "$S/work/deep/er/g2.txt")" "content of g2"
}
