load lib

# What another user does to a file or folder that this drive has open, or half of it.

MIB=$((1024 * 1024))

setup() {
    new_place
    start_emulator
    seed "{\"path\":\"/d/big.bin\",\"size\":$((12 * MIB)),\"seed\":5}"
    seed_text /d/a.txt "first"
    seed_text /d/sub/deep/x.txt "deep"
    mount_drive cache.attr_timeout=500ms "$@"
    on ls -lR "$S" >/dev/null
}

theirs() {
    emu_post replace "$(jq -n --arg p "$1" --arg t "$2" '{path:$p,text:$t}')"
}

shows() {
    [ "$(on cat "$1" 2>/dev/null)" = "$2" ]
}

same_as_service() {
    [ "$(within 30 sha256sum <"$1" 2>/dev/null | cut -d' ' -f1)" = "$(remote "$2" sha256)" ]
}

has_size() {
    [ "$(on stat -c %s "$1")" = "$2" ]
}

# A reader that keeps a file open and reads where it is told: read_at OFFSET prints 16 bytes in hex, or
# the error.
open_file() {
    coproc READER {
        exec perl -e '
            use Fcntl; $| = 1;
            sysopen(my $f, $ARGV[0], O_RDONLY) or die "open: $!";
            print "open\n";
            while (my $at = <STDIN>) {
                sysseek($f, $at, 0);
                my $n = sysread($f, my $b, 16);
                print defined $n ? unpack("H*", $b) . "\n" : "$!\n";
            }' "$1" 3>&-
    }
    local said
    read -r -t 20 said <&"${READER[0]}"
    equal "reader" "$said" open
}

read_at() {
    local said
    echo "$1" >&"${READER[1]}"
    read -r -t 25 said <&"${READER[0]}" || return 1
    echo "$said"
}

close_file() {
    local pid=$READER_PID
    eval "exec ${READER[1]}>&-"
    wait "$pid" || true
}

# remote_at PATH OFFSET
remote_at() {
    emu_get content "path=$1" "offset=$2" len=16 | od -An -v -tx1 | tr -d ' \n'
}

# bats test_tags=quick
@test "an open file of which only a part is here ends with ESTALE when its version moves; opened again it is the new one" {
    open_file "$S/d/big.bin"
    equal "first bytes" "$(read_at 0)" "$(remote_at /d/big.bin 0)"
    emu_post replace "{\"path\":\"/d/big.bin\",\"size\":$((12 * MIB)),\"seed\":6}"
    equal "cold read" "$(read_at $((11 * MIB)))" "Stale file handle"
    wait_until 5 same_as_service "$S/d/big.bin" /d/big.bin
    close_file
}

# bats test_tags=quick
@test "an open file that is here whole stays what it is when its version moves" {
    on cat "$S/d/big.bin" >/dev/null
    local old
    old=$(remote_at /d/big.bin $((11 * MIB)))
    open_file "$S/d/big.bin"
    emu_post replace '{"path":"/d/big.bin","size":100,"seed":6}'
    sleep 1.5
    on ls -l "$S/d" >/dev/null
    sleep 0.5
    equal "old content" "$(read_at $((11 * MIB)))" "$old"
    close_file
    wait_until 5 has_size "$S/d/big.bin" 100
    same_as_service "$S/d/big.bin" /d/big.bin
}

# bats test_tags=quick
@test "a file that grew, shrank or was emptied shows its new size and content, however it was read before" {
    local size
    for size in 13000000 5000 0 4096 4097; do
        on cat "$S/d/big.bin" >/dev/null
        perl -e 'open F, "<", shift; sysread F, $b, 100; sysseek F, -100, 2; sysread F, $b, 100' "$S/d/big.bin"
        emu_post replace "{\"path\":\"/d/big.bin\",\"size\":$size,\"seed\":$((size + 1))}"
        wait_until 5 has_size "$S/d/big.bin" $size
        wait_until 5 same_as_service "$S/d/big.bin" /d/big.bin
    done
}

# bats test_tags=quick
@test "a file replaced by one of the same size shows the new content" {
    on cat "$S/d/a.txt" >/dev/null
    theirs /d/a.txt "other"
    wait_until 5 shows "$S/d/a.txt" "other"
}

# bats test_tags=quick
@test "a file that another user removed while it is open: what is here is read, the rest is an error, the name goes" {
    on cat "$S/d/a.txt" >/dev/null
    exec 5<"$S/d/a.txt"
    open_file "$S/d/big.bin"
    read_at 0 >/dev/null
    emu_post remove '{"path":"/d/big.bin"}'
    emu_post remove '{"path":"/d/a.txt"}'
    [[ $(read_at $((11 * MIB))) == @("Stale file handle"|"No such file or directory") ]]
    wait_until 5 gone_from "$S/d" "big.bin"
    wait_until 5 gone_from "$S/d" "a.txt"
    equal "what was here" "$(on cat <&5)" "first"
    exec 5<&-
    close_file
    fails_with "No such file" cat "$S/d/big.bin"
}

gone_from() {
    ! on ls "$1" | grep -q -x -F "$2"
}

# bats test_tags=quick
@test "a folder that another user removed under a program's feet goes, with all in it, and can be made anew" {
    exec 5<"$S/d/sub/deep/x.txt"
    (cd "$S/d/sub/deep" && exec sleep 30) 3>&- &
    local sleeper=$!
    emu_post remove '{"path":"/d/sub/deep/x.txt"}'
    emu_post remove '{"path":"/d/sub/deep"}'
    emu_post remove '{"path":"/d/sub"}'
    wait_until 5 gone_from "$S/d" sub
    run ! on ls "$S/d/sub/deep"
    run ! on stat "$S/d/sub/deep/x.txt"
    on mkdir -p "$S/d/sub/deep"
    write "$S/d/sub/deep/x.txt" "new"
    sync_drive
    equal "x.txt" "$(remote_text /d/sub/deep/x.txt)" "new"
    exec 5<&-
    kill "$sleeper"
    wait "$sleeper" || true
}

# bats test_tags=quick
@test "files and folders that another user renamed appear under the new name only, and open files go on" {
    open_file "$S/d/big.bin"
    read_at 0 >/dev/null
    emu_post rename '{"from":"/d/big.bin","to":"/d/renamed.bin"}'
    emu_post rename '{"from":"/d/sub","to":"/e/moved"}'
    wait_until 5 shows "$S/e/moved/deep/x.txt" "deep"
    wait_until 5 gone_from "$S/d" sub
    wait_until 5 gone_from "$S/d" big.bin
    equal "the open file" "$(read_at $((11 * MIB)))" "$(remote_at /d/renamed.bin $((11 * MIB)))"
    close_file
    same_as_service "$S/d/renamed.bin" /d/renamed.bin
}

# bats test_tags=quick
@test "what we wrote in a folder that another user renamed meanwhile arrives, once" {
    umount_drive
    mount_drive cache.attr_timeout=500ms upload.delay=1h
    on ls -lR "$S" >/dev/null
    write "$S/d/sub/deep/ours.txt" "ours"
    write "$S/d/a.txt" "changed by us"
    emu_post rename '{"from":"/d","to":"/elsewhere"}'
    sleep 1
    on ls -R "$S" >/dev/null
    sleep 1
    on ls -R "$S" >/dev/null
    sync_drive
    emu_get tree path=/ | jq -r '.[]|select(.type=="file").path' | sort >"$T/files"
    equal "ours" "$(grep -c '/sub/deep/ours.txt$' "$T/files")" 1
    equal "changed" "$(emu_get digest path=/ | grep -c "^$(printf 'changed by us' | sha256sum | cut -d' ' -f1) ")" 1
    wait_until 5 same_trees
}

# The drive shows exactly the files that the service has.
same_trees() {
    on ls -R "$S" >/dev/null
    diff <(digest_of "$S") <(emu_get digest path=/) >"$T/trees"
}

# bats test_tags=quick
@test "a file that became a folder, and a folder that became a file, are what they are now" {
    on cat "$S/d/a.txt" >/dev/null
    exec 5<"$S/d/a.txt"
    emu_post remove '{"path":"/d/a.txt"}'
    seed_text /d/a.txt/inside.txt "in"
    emu_post remove '{"path":"/d/sub/deep/x.txt"}'
    emu_post remove '{"path":"/d/sub/deep"}'
    emu_post remove '{"path":"/d/sub"}'
    seed_text /d/sub "a file"
    wait_until 5 shows "$S/d/a.txt/inside.txt" "in"
    wait_until 5 shows "$S/d/sub" "a file"
    equal "the open one" "$(on cat <&5)" "first"
    exec 5<&-
    wait_until 5 same_trees
}

# bats test_tags=quick
@test "a file written in part whose rest was replaced meanwhile is kept and told, and theirs stays" {
    umount_drive
    mount_drive cache.attr_timeout=500ms upload.delay=1h
    on ls -lR "$S" >/dev/null
    fault '{"endpoint":"download","status":503}' # nothing of the rest comes in time
    head -c 4096 /dev/urandom >"$T/src/ours"
    on dd if="$T/src/ours" of="$S/d/big.bin" bs=4096 conv=notrunc status=none
    emu_post replace '{"path":"/d/big.bin","size":13000000,"seed":77}'
    clear_faults
    run -1 within 40 "$PM" sync "$MNT"
    [[ $output == *"base gone"* ]]
    equal "theirs" "$(remote /d/big.bin size)" 13000000
    on head -c 4096 "$S/d/big.bin" | cmp - "$T/src/ours"
    [[ $(xattr "$S/d/big.bin" state) == "failed: base gone"* ]]
}

@test "both changed, ten times in a row: theirs keep the name, every one of ours is beside it" {
    local i
    umount_drive
    mount_drive cache.attr_timeout=500ms upload.delay=1h
    for i in {1..10}; do
        on cat "$S/d/a.txt" >/dev/null
        write "$S/d/a.txt" "ours $i"
        theirs /d/a.txt "theirs $i"
        sync_drive
        wait_until 5 shows "$S/d/a.txt" "theirs $i"
        sleep 1.1 # a name beside has the second in it
    done
    equal "theirs" "$(remote_text /d/a.txt)" "theirs 10"
    equal "beside it" "$(emu_get tree path=/d | jq '[.[].path|select(contains("conflict"))]|length')" 10
    for i in {1..10}; do
        equal "ours $i" "$(emu_get digest path=/d | grep -c "^$(printf %s "ours $i" | sha256sum | cut -d' ' -f1) ")" 1
    done
}
