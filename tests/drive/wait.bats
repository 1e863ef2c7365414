load lib

# on_close = wait: close() returns when the service has the file, or says why it has not.
setup() {
    new_place
    start_emulator
    seed_text /d/a.txt "0123456789"
    mount_drive upload.on_close=wait "$@"
    on ls "$S" "$S/d" >/dev/null
}

# perl_on PATH CODE...: F is open for reading and writing; what close says is how it ends
perl_on() {
    local path=$1
    shift
    on perl -e '$SIG{__WARN__} = sub {}; open F, "+<", $ARGV[0] or die "open: $!\n";
        eval $ARGV[1]; die $@ if $@; close F or die "close: $!\n"' "$path" "$*"
}

# bats test_tags=quick
@test "a file that is only cut or made longer, by its descriptor, is closed when the service has it" {
    fault '{"endpoint":"update","delay_ms":700}'
    perl_on "$S/d/a.txt" 'truncate F, 4 or die'
    equal "cut" "$(remote_text /d/a.txt)" 0123
    perl_on "$S/d/a.txt" 'truncate F, 6 or die'
    equal "made longer" "$(remote /d/a.txt size)" 6
    on truncate -s 2 "$S/d/a.txt"
    equal "truncate(1)" "$(remote_text /d/a.txt)" 01
    equal "uploads" "$(requests update)" 3
}

# bats test_tags=quick
@test "close fails with what the service's refusal means" {
    fault '{"endpoint":"upload","status":413}'
    fails_with "close: File too large" perl -e 'open F, ">", $ARGV[0] or die "open: $!\n"; print F "x" or die;
        close F or die "close: $!\n"' "$S/d/big.txt"
    fault '{"endpoint":"update","status":400}'
    fails_with "close: Invalid argument" perl -e 'open F, ">", $ARGV[0] or die "open: $!\n"; print F "x" or die;
        close F or die "close: $!\n"' "$S/d/a.txt"
    run ! on cp "$T/conf" "$S/d/copied"
    equal "failed" "$(status_json | jq '.failed|length')" 3
    clear_faults
    on "$PM" retry "$S"
    sync_drive
    equal "big.txt" "$(remote_text /d/big.txt)" x
    equal "a.txt" "$(remote_text /d/a.txt)" x
}

# bats test_tags=quick
@test "a signal ends a program whose close waits, and the file goes up all the same" {
    local signal pid
    for signal in INT TERM KILL; do
        fault '{"endpoint":"upload","stall":0}'
        forget_traffic
        perl -e '$SIG{INT} = "DEFAULT"; open F, ">", $ARGV[0] or die; print F $ARGV[1]; close F' \
            "$S/d/$signal.txt" "$signal" 3>&- &
        pid=$!
        disown "$pid"
        wait_until 10 eval '[ "$(requests upload)" -gt 0 ]'
        kill "-$signal" "$pid"
        wait_until 3 gone "$pid"
        clear_faults
        sync_drive
        equal "$signal" "$(remote_text "/d/$signal.txt")" "$signal"
    done
    equal "objects" "$(remote_count /d)" 4
}

# bats test_tags=quick
@test "closing one of two descriptors does not wait for the other" {
    on perl -e 'open A, ">>", $ARGV[0] or die; open B, ">>", $ARGV[0] or die; syswrite A, "a";
        close A or die "close: $!\n"; syswrite B, "b"; close B or die "close: $!\n"' "$S/d/new.txt"
    equal "both" "$(remote_text /d/new.txt)" ab
    on bash -c 'exec 5>>"$1"; echo c >>"$1"; echo d >&5; exec 5>&-' - "$S/d/new.txt"
    equal "both, and a shell's" "$(remote_text /d/new.txt)" $'abc\nd'
    equal "pending" "$(pending)" 0
}

@test "what waits for its upload ends with the drive, and goes up at the next mount" {
    local pid start
    fault '{"endpoint":"upload","stall":0}'
    perl -e 'open F, ">", $ARGV[0] or die; print F "patience"; close F or exit 3; exit 0' "$S/d/new.txt" 3>&- &
    pid=$!
    wait_until 10 eval '[ "$(requests upload)" -gt 0 ]'
    start=$SECONDS
    kill -TERM "$DRIVE_PID"
    reap
    at_most "seconds" $((SECONDS - start)) 10
    run -3 wait "$pid"
    clear_faults
    start_daemon
    sync_drive
    equal "new.txt" "$(remote_text /d/new.txt)" patience
    equal "objects" "$(remote_count /d)" 2
}

# bats test_tags=quick
@test "programs save as ever: a shell, cp, an editor's rename, many files, each on the service when it is done" {
    on bash -c 'echo one >"$1"' - "$S/d/echo.txt"
    equal "echo" "$(remote_text /d/echo.txt)" one
    mkdir -p "$T/src/many"
    for i in {1..12}; do echo "$i" >"$T/src/many/$i"; done
    on cp -r "$T/src/many" "$S/"
    service_has "$T/src/many" /many
    on bash -c 'echo two >"$1.part" && mv "$1.part" "$1"' - "$S/d/a.txt"
    sync_drive
    equal "saved by rename" "$(remote_text /d/a.txt)" two
}
