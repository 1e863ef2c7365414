load lib

MIB=1048576

# both COMMAND... FILE: does it to the file of the drive and to the copy of it in $T/src
both() {
    local name=${*: -1}
    set -- "${@:1:$#-1}"
    on "$@" "$S/$name"
    on "$@" "$T/src/$name"
}

# The service has what $T/src has, and so has the drive.
arrived() {
    sync_drive
    service_has "$T/src" /
    diff <(digest_of "$T/src") <(within 60 bash -c "$(declare -f digest_of); digest_of '$S'")
}

# A file on the service, and its copy here: seed_both NAME SIZE
seed_both() {
    seed "{\"path\":\"/$1\",\"size\":$2,\"seed\":7}"
    emu_get content "path=/$1" >"$T/src/$1"
}

# bats test_tags=quick
@test "room asked for by fallocate is there as zeros, and is sent" {
    seed_both old $MIB
    mount_drive
    both fallocate -l 300001 new
    append "$S/new" end
    append "$T/src/new" end
    both fallocate -l $((3 * MIB)) old
    both fallocate -l 1000 old
    equal "size" "$(on stat -c %s "$S/old")" $((3 * MIB))
    arrived
}

@test "room asked for by fallocate -n changes nothing" {
    seed_both old $MIB
    mount_drive
    local before
    before=$(remote /old updated)
    both fallocate -n -l $((3 * MIB)) old
    equal "size" "$(on stat -c %s "$S/old")" $MIB
    equal "pending" "$(pending)" 0
    arrived
    equal "the service's time of it" "$(remote /old updated)" "$before"
}

@test "more room than the disk has is refused" {
    mount_drive
    write "$S/file" text
    fails_with "No space left" fallocate -l 10T "$S/file"
    fails_with "No space left" fallocate -n -l 10T "$S/file"
    equal "content" "$(on cat "$S/file")" text
    equal "size" "$(on stat -c %s "$S/file")" 4
}

# bats test_tags=quick
@test "a hole punched into a file that is not cached reads as zeros, here and on the service" {
    seed_both old $((4 * MIB))
    mount_drive
    both fallocate -p -o 100001 -l $((2 * MIB)) old
    both fallocate -p -o $((4 * MIB - 10)) -l $MIB old
    equal "size" "$(on stat -c %s "$S/old")" $((4 * MIB))
    arrived
}

@test "a range made zero reads as zeros, here and on the service, and extends the file" {
    seed_both old $((4 * MIB))
    mount_drive
    both fallocate -z -o 5 -l 70001 old
    both fallocate -z -n -o $((4 * MIB - 10)) -l $MIB old
    equal "size" "$(on stat -c %s "$S/old")" $((4 * MIB))
    both fallocate -z -o $((4 * MIB - 10)) -l $MIB old
    equal "size" "$(on stat -c %s "$S/old")" $((5 * MIB - 10))
    arrived
}

@test "ranges are not taken out of files or put into them" {
    mount_drive
    write "$S/file" text
    fails_with "not supported" fallocate -c -o 0 -l 4096 "$S/file"
    fails_with "not supported" fallocate -i -o 0 -l 4096 "$S/file"
    equal "content" "$(on cat "$S/file")" text
}

# moves WHAT COMMAND...: afterwards the folder $S/d has a later time of change
moves() {
    local what=$1 before after
    shift
    before=$(on stat -c '%.9Y %.9Z' "$S/d")
    sleep 0.01
    "$@"
    after=$(on stat -c '%.9Y %.9Z' "$S/d")
    [[ ${after% *} > ${before% *} && ${after#* } > ${before#* } ]] && return
    echo "$what: times were $before, are $after" >&2
    return 1
}

# bats test_tags=quick
@test "a folder's time moves when something is made, renamed or removed in it, and only then" {
    seed_text /d/old text
    mount_drive
    on ls "$S/d"
    moves "a new file" write "$S/d/file" text
    moves "a new folder" on mkdir "$S/d/sub"
    moves "a rename" on mv "$S/d/file" "$S/d/other"
    moves "moving out" on mv "$S/d/other" "$S/other"
    moves "moving in" on mv "$S/other" "$S/d/other"
    moves "a file removed" on rm "$S/d/other"
    moves "a folder removed" on rmdir "$S/d/sub"
    moves "a file of the service removed" on rm "$S/d/old"
    write "$S/d/file" text
    local before
    before=$(mtime "$S/d")
    write "$S/d/file" more
    sync_drive
    equal "after writing and sending" "$(mtime "$S/d")" "$before"
    on touch -d 2020-02-02 "$S/d"
    remount
    equal "as set" "$(mtime "$S/d")" "$(date -d 2020-02-02 +%s).000000000"
}

@test "a name that is too long is said to be so, whatever is done with it" {
    mount_drive
    local long
    long=$(printf %0256d 0)
    write "$S/${long:1}" text
    equal "content" "$(on cat "$S/${long:1}")" text
    fails_with "name too long" cat "$S/$long"
    fails_with "name too long" stat "$S/$long"
    fails_with "name too long" mkdir "$S/$long"
    fails_with "name too long" touch "$S/$long"
    fails_with "name too long" rm "$S/$long"
    fails_with "name too long" mv "$S/${long:1}" "$S/$long"
}

# bats test_tags=quick
@test "emptying an empty file moves its time, as for a stamp file, and sends nothing" {
    seed_text /stamp ""
    mount_drive
    local before updated
    on touch -d 2020-02-02 "$S/stamp"
    before=$(mtime "$S/stamp")
    updated=$(remote /stamp updated)
    on bash -c ": >'$S/stamp'"
    [[ $(mtime "$S/stamp") > $before ]]
    on touch -d 2020-02-02 "$S/stamp"
    on truncate -s 0 "$S/stamp"
    [[ $(mtime "$S/stamp") > $before ]]
    sync_drive
    equal "the service's time of it" "$(remote /stamp updated)" "$updated"
}

@test "a rename moves the time of status of what is renamed, not that of its content" {
    seed_text /file text
    mount_drive
    local mtime ctime
    on touch -d 2020-02-02 "$S/file"
    mtime=$(mtime "$S/file")
    ctime=$(on stat -c %.9Z "$S/file")
    sleep 0.01
    on mv "$S/file" "$S/other"
    equal "mtime" "$(mtime "$S/other")" "$mtime"
    [[ $(on stat -c %.9Z "$S/other") > $ctime ]]
}

@test "stores through a mapping move the time, survive the descriptor, and end where the file does" {
    mount_drive
    head -c 100000 /dev/zero | tr '\0' a >"$T/src/file"
    on cp "$T/src/file" "$S/file"
    cat >"$T/map.py" <<'PYTHON'
import mmap, os, sys, time
path = sys.argv[1]
fd = os.open(path, os.O_RDWR)
m = mmap.mmap(fd, 100000)
def moved(what, do):
    before = os.stat(path).st_mtime_ns
    time.sleep(0.01)
    do()
    assert os.stat(path).st_mtime_ns > before, what
def store(at, text):
    m[at : at + len(text)] = text
moved("store and msync", lambda: (store(50000, b"hello"), m.flush()))
store(90000, b"gone")
os.ftruncate(fd, 5000)
os.ftruncate(fd, 100000)
assert m[90000:90004] == b"\0\0\0\0", "what was cut off is back"
store(4990, b"Y" * 20)
os.ftruncate(fd, 5000)
os.ftruncate(fd, 6000)
assert os.pread(fd, 1000, 5000) == b"\0" * 1000, "bytes behind the end show"
os.ftruncate(fd, 100000)
os.close(fd)
moved("store and munmap", lambda: (store(70000, b"world"), m.close()))
PYTHON
    on python3 "$T/map.py" "$S/file"
    { head -c 4990 "$T/src/file"; echo -n YYYYYYYYYY; head -c 65000 /dev/zero; echo -n world
      head -c 29995 /dev/zero; } >"$T/src/want"
    mv "$T/src/want" "$T/src/file"
    arrived
}

@test "writers that append at once, while others empty the file, lose and mix nothing" {
    mount_drive
    : >"$S/log"
    local i pids=()
    for i in 1 2 3 4; do
        on perl -e 'open F, ">>", $ARGV[0]; for (1..500) { syswrite F, "'$i' $_\n" }' "$S/log" 3>&- &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    equal "lines" "$(on sort -u "$S/log" | wc -l)" 2000
    on perl -e 'open F, ">>", $ARGV[0]; for (1..2000) { syswrite F, "1234567\n" }' "$S/log" 3>&- &
    for i in {1..20}; do on truncate -s 0 "$S/log"; done
    wait $!
    equal "other than whole records" "$(on grep -c -v -x 1234567 "$S/log")" 0
}

@test "direct and cached input and output of one file see each other, aligned or not" {
    mount_drive
    random "$T/src/file" 100003
    on dd if="$T/src/file" of="$S/file" bs=1001 oflag=direct status=none
    on cmp "$T/src/file" "$S/file"
    random "$T/patch" 777
    dd if="$T/patch" of="$T/src/file" bs=777 seek=50 conv=notrunc status=none
    on dd if="$T/patch" of="$S/file" bs=777 seek=50 conv=notrunc oflag=direct status=none
    on cmp "$T/src/file" "$S/file"
    dd if="$T/patch" of="$T/src/file" bs=777 seek=7 conv=notrunc status=none
    on dd if="$T/patch" of="$S/file" bs=777 seek=7 conv=notrunc status=none
    on dd if="$S/file" of="$T/got" bs=999 iflag=direct status=none
    cmp "$T/src/file" "$T/got"
    arrived
}

@test "with on_close = wait a file that is written, then cut, is closed when the service has it" {
    mount_drive upload.on_close=wait
    on perl -e 'open F, "+>", $ARGV[0]; syswrite F, "0123456789"; truncate F, 4; close F or die $!' \
        "$S/file"
    equal "content" "$(remote_text /file)" 0123
}
