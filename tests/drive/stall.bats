load lib

# The client gives up after 20 s of silence; nothing but what needs the server may wait so long.
setup() {
    new_place
    start_emulator
    seed '{"path":"/far.bin","size":8000000,"seed":1}'
    seed_text /dir/a.txt "a"
    seed_text /dir/b.txt "b"
    seed '{"path":"/other","type":"dir"}'
    mount_drive "$@"
    on ls -lR "$S" >/dev/null
    on cat "$S/dir/a.txt" >/dev/null
}

stall_downloads() {
    fault '{"endpoint":"download","stall":0}'
}

# read_far: a reader of what stalls, in a job of its own
read_far() {
    cat "$S/far.bin" >/dev/null 2>"$T/reader.err" 3>&- &
    READER=$!
    sleep 0.5
    kill -0 "$READER"
}

# No process of ours may be beyond the reach of signals.
none_uninterruptible() {
    ! ps -eo state=,args= | grep -E '^D.*'"$T"
}

# bats test_tags=quick
@test "a read on a stalled server ends at SIGTERM within a second" {
    stall_downloads
    read_far
    local start=$EPOCHREALTIME
    kill -TERM "$READER"
    wait_until 3 gone "$READER"
    at_most "ms" "$(((${EPOCHREALTIME/./} - ${start/./}) / 1000))" $((2000 * SLOW))
    wait "$READER" || true
}

# A program in the foreground of a terminal, which Ctrl-C reaches as SIGINT.
interrupted() {
    perl -e '
        use Time::HiRes "time";
        my ($drive, @command) = @ARGV;
        my $child = fork // die;
        if (!$child) { $SIG{INT} = "DEFAULT"; exec @command; die }
        sleep 1;
        my $start = time;
        kill INT => $child;
        alarm 15;
        waitpid $child, 0;
        printf "%d %d\n", $? & 127, (time - $start) * 1000;
    ' "$MNT" "$@"
}

# bats test_tags=quick
@test "SIGINT ends cat, an open, a stat and a listing that wait for a stalled server" {
    stall_downloads
    local signal ms
    read -r signal ms < <(interrupted cat "$S/far.bin")
    equal "signal" "$signal" 2
    at_most "ms of cat" "$ms" $((2000 * SLOW))
    fault '{"endpoint":"list","stall":0}'
    remount_cold # no list is known now
    read -r signal ms < <(interrupted stat "$S/dir/a.txt")
    equal "signal" "$signal" 2
    at_most "ms of stat" "$ms" $((2000 * SLOW))
    read -r signal ms < <(interrupted ls "$S")
    equal "signal" "$signal" 2
    at_most "ms of ls" "$ms" $((2000 * SLOW))
    read -r signal ms < <(interrupted dd if="$S/x" of=/dev/null)
    equal "signal" "$signal" 2
    at_most "ms of open" "$ms" $((2000 * SLOW))
}

@test "while a read stalls, stat, ls, and writing elsewhere answer" {
    stall_downloads
    read_far
    within $((2 * SLOW)) stat "$S/dir/a.txt" >/dev/null
    within $((2 * SLOW)) stat "$S/far.bin" >/dev/null
    within $((2 * SLOW)) ls -l "$S/dir" >/dev/null
    within $((2 * SLOW)) ls -l "$S" >/dev/null
    within $((2 * SLOW)) cat "$S/dir/a.txt" >/dev/null
    within $((2 * SLOW)) mkdir "$S/other/new"
    within $((2 * SLOW)) dd if=/dev/zero of="$S/other/new/x" bs=1000 count=1 status=none
    within $((2 * SLOW)) df "$S" >/dev/null
    within $((2 * SLOW)) "$PM" status "$MNT" >/dev/null
    kill "$READER"
    wait_until 3 gone "$READER"
}

# bats test_tags=quick
@test "while 40 reads stall, stat, ls and cached reads still answer" {
    stall_downloads
    local i readers=()
    for i in {1..40}; do
        dd if="$S/far.bin" of=/dev/null bs=4096 count=1 skip=$((i * 40)) status=none 2>/dev/null 3>&- &
        readers+=($!)
    done
    sleep 1
    within $((2 * SLOW)) stat "$S/dir/a.txt" >/dev/null
    within $((2 * SLOW)) ls -l "$S/dir" >/dev/null
    within $((2 * SLOW)) cat "$S/dir/a.txt" >/dev/null
    kill "${readers[@]}"
    for i in "${readers[@]}"; do wait_until 3 gone "$i"; done
}

@test "25 s after the server stalled nothing is in state D" {
    stall_downloads
    read_far
    local copier
    cp "$S/far.bin" "$T/copy" 2>/dev/null 3>&- &
    copier=$!
    sleep 24.5
    none_uninterruptible
    kill "$READER" "$copier" 2>/dev/null || true
    wait_until 3 gone "$READER"
    wait_until 3 gone "$copier"
}

@test "a read on a stalled server fails with a timeout, and works when the server does" {
    umount_drive
    mount_drive net.op_timeout=3s
    stall_downloads
    read_far
    wait_until 15 gone "$READER"
    run ! wait "$READER"
    grep -q -i "timed out" "$T/reader.err"
    clear_faults
    within 30 sha256sum "$S/far.bin" >"$T/sum"
    equal "content after that" "$(cut -d' ' -f1 "$T/sum")" "$(remote /far.bin sha256)"
}

@test "a server that stops in the middle of a file costs a timeout, then the rest is read" {
    fault '{"endpoint":"download","match":"far","stall":100000}'
    run -0 on head -c 1000 "$S/far.bin"
    clear_faults
    within 30 sha256sum "$S/far.bin" >"$T/sum"
    equal "content" "$(cut -d' ' -f1 "$T/sum")" "$(remote /far.bin sha256)"
}

works_without_server() {
    sleep 1.5 # the lists are old by then
    within 5 ls "$S/dir" >"$T/list"
    equal "list" "$(tr '\n' ' ' <"$T/list")" "a.txt b.txt "
    within 5 ls -l "$S" >/dev/null
    equal "cached file" "$(within 5 cat "$S/dir/a.txt")" "a"
    within 5 dd if=/dev/zero of="$S/dir/queued.bin" bs=1000 count=3 status=none
    within 5 mkdir "$S/made"
    printf 'text' | within 5 dd of="$S/made/x.txt" status=none
    within 5 rm "$S/dir/b.txt"
    equal "list" "$(within 5 ls "$S/dir" | tr '\n' ' ')" "a.txt queued.bin "
    run -0 test "$(pending)" -ge 4
}

arrives_afterwards() {
    sync_drive 60
    equal "queued.bin" "$(remote /dir/queued.bin size)" 3000
    equal "x.txt" "$(remote_text /made/x.txt)" "text"
    run -0 absent /dir/b.txt
    equal "objects" "$(remote_count /)" 7
}

@test "with a server that hangs known folders list, cached files read, writes queue and arrive later" {
    umount_drive
    mount_drive cache.attr_timeout=1s
    on ls -lR "$S" >/dev/null
    kill -STOP "$EMU_PID"
    works_without_server
    kill -CONT "$EMU_PID"
    arrives_afterwards
}

@test "with the server gone known folders list, cached files read, writes queue and arrive later" {
    umount_drive
    mount_drive cache.attr_timeout=1s
    on ls -lR "$S" >/dev/null
    kill_emulator
    works_without_server
    fails_with "" cat "$S/far.bin"
    start_emulator
    arrives_afterwards
}

# bats test_tags=quick
@test "with the server gone the drive mounts, lists what it knew, and keeps what is written" {
    umount_drive
    kill_emulator
    start_daemon
    equal "list" "$(within 5 ls "$S/dir" | tr '\n' ' ')" "a.txt b.txt "
    equal "cached file" "$(within 5 cat "$S/dir/a.txt")" "a"
    printf 'offline' | within 5 dd of="$S/dir/c.txt" status=none
    umount_drive
    start_daemon
    equal "after a remount" "$(within 5 cat "$S/dir/c.txt")" "offline"
    start_emulator
    sync_drive 60
    equal "c.txt" "$(remote_text /dir/c.txt)" "offline"
}

@test "a folder that nobody has seen fails with the server gone, and soon" {
    remount_cold
    kill_emulator
    local start=$SECONDS
    run ! within 30 ls "$S"
    at_most "seconds" $((SECONDS - start)) 25
    start_emulator
    wait_until 10 on ls "$S/dir" >/dev/null
}

@test "a program with a handler for SIGALRM gets no EINTR from a slow open, read or listing" {
    remount_cold
    fault '{"endpoint":"list","delay_ms":1500}'
    fault '{"endpoint":"download","delay_ms":1500}'
    cat >"$T/alarm.pl" <<'PERL'
use POSIX;
use Time::HiRes "ualarm";
my $rung = 0;
POSIX::sigaction(SIGALRM, POSIX::SigAction->new(sub { $rung++ }, POSIX::SigSet->new, SA_RESTART));
ualarm 200_000, 200_000;
my ($dir, $file) = @ARGV;
my $fd = POSIX::open($file, O_RDONLY) // die "open: $!\n";
my $n = POSIX::read($fd, my $buf, 4096) // die "read: $!\n";
opendir(my $d, $dir) or die "opendir: $!\n";
my @names = readdir $d;
die "names: @names\n" unless @names == 4;
print "$n $rung\n"; # what rings during an uninterruptible wait counts once
PERL
    local n rung
    read -r n rung < <(on perl "$T/alarm.pl" "$S/dir" "$S/far.bin")
    equal "bytes" "$n" 4096
    run -0 test "$rung" -ge 2
}

# bats test_tags=quick
@test "an unmount during a stalled read does not hang" {
    stall_downloads
    read_far
    local start=$SECONDS
    kill -TERM "$DRIVE_PID"
    reap
    at_most "seconds" $((SECONDS - start)) 10
    wait_until 5 gone "$READER"
}

# bats test_tags=quick
@test "an unmount during a stalled upload does not hang, and the file goes up afterwards" {
    fault '{"endpoint":"upload","stall":0}'
    write "$S/other/up.txt" "patience"
    wait_until 5 test "$(requests upload)" -ge 0
    sleep 1
    local start=$SECONDS
    umount_drive
    at_most "seconds" $((SECONDS - start)) 10
    clear_faults
    start_daemon
    sync_drive
    equal "up.txt" "$(remote_text /other/up.txt)" "patience"
    equal "objects" "$(remote_count /other)" 1
}
