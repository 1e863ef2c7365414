load lib

MIB=1048576

# seed_bytes PATH SIZE: pseudo-random content on the service
seed_bytes() {
    seed "{\"path\":\"$1\",\"size\":$2,\"seed\":42}"
}

# same_as_service FILE PATH: what is read is what the service has
same_as_service() {
    equal "content of $2" "$(within 120 sha256sum <"$1" | cut -d' ' -f1)" "$(remote "$2" sha256)"
}

# bats test_tags=alone
@test "a file larger than the cache is read whole, and the cache keeps its limit" {
    seed_bytes /big.bin $((512 * MIB))
    mount_drive cache.max_size=64M
    local most=0 now reader
    within 120 sha256sum <"$S/big.bin" >"$T/sum" 3>&- &
    reader=$!
    while ! gone "$reader"; do
        now=$(stored_bytes)
        [ "$now" -le "$most" ] || most=$now
        sleep 0.1
    done
    wait "$reader"
    equal "content" "$(cut -d' ' -f1 "$T/sum")" "$(remote /big.bin sha256)"
    at_most "bytes in the state folder" "$most" $((80 * MIB))
    at_most "bytes moved" "$(bytes_out big.bin)" $((512 * MIB * 11 / 10))
}

# bats test_tags=alone
@test "many files read one after another stay within the cache's limit" {
    local i
    for i in 1 2 3 4 5 6 7 8 9 10; do seed_bytes "/f$i.bin" $((20 * MIB)); done
    mount_drive cache.max_size=64M
    for i in 1 2 3 4 5 6 7 8 9 10; do
        within 60 cmp "$S/f$i.bin" "$S/f1.bin"
        at_most "bytes in the state folder" "$(stored_bytes)" $((80 * MIB))
    done
}

# bats test_tags=quick
@test "a look at the head of a 1 GiB file moves less than 1 MiB" {
    seed "{\"path\":\"/big.bin\",\"size\":$((1024 * MIB)),\"zero\":true}"
    mount_drive
    equal "bytes" "$(on head -c 4096 "$S/big.bin" | wc -c)" 4096
    sleep 1
    at_most "bytes moved" "$(bytes_out big.bin)" $MIB
}

@test "a look at the tail of a 1 GiB file moves less than 1 MiB" {
    seed "{\"path\":\"/big.bin\",\"size\":$((1024 * MIB)),\"zero\":true}"
    mount_drive
    equal "bytes" "$(on tail -c 4096 "$S/big.bin" | wc -c)" 4096
    sleep 1
    at_most "bytes moved" "$(bytes_out big.bin)" $MIB
}

@test "eight readers of one file fetch it once" {
    seed_bytes /one.bin $((64 * MIB))
    mount_drive
    local i readers=()
    for i in 1 2 3 4 5 6 7 8; do
        within 60 sha256sum <"$S/one.bin" >"$T/sum$i" 3>&- &
        readers+=($!)
    done
    wait "${readers[@]}"
    for i in 1 2 3 4 5 6 7 8; do
        equal "reader $i" "$(cut -d' ' -f1 "$T/sum$i")" "$(remote /one.bin sha256)"
    done
    at_most "bytes moved" "$(bytes_out one.bin)" $((64 * MIB * 11 / 10))
}

@test "eight readers of different parts, forwards and backwards, get what is there" {
    seed_bytes /one.bin $((32 * MIB))
    mount_drive
    emu_get content path=/one.bin >"$T/want"
    cat >"$T/read.pl" <<'PERL'
my ($drive, $want, $part) = @ARGV;
open my $d, '<:raw', $drive or die $!;
open my $w, '<:raw', $want or die $!;
srand $part;
my $size = -s $want;
for my $i (1 .. 60) {
    my $at = $part % 2 ? int(rand($size)) : $size - $i * 500_000;
    my $len = 1 + int(rand(300_000));
    sysseek $d, $at, 0; sysseek $w, $at, 0;
    my ($x, $y, $got) = ('', '');
    while (length $x < $len) { $got = sysread $d, $x, $len - length $x, length $x; die "read: $!" unless defined $got; last unless $got }
    while (length $y < $len) { $got = sysread $w, $y, $len - length $y, length $y; last unless $got }
    die "differs at $at, $len\n" if $x ne $y;
}
PERL
    local i readers=()
    for i in 1 2 3 4 5 6 7 8; do
        within 60 perl "$T/read.pl" "$S/one.bin" "$T/want" "$i" 3>&- &
        readers+=($!)
    done
    for i in "${readers[@]}"; do wait "$i"; done
    at_most "bytes moved" "$(bytes_out one.bin)" $((32 * MIB * 11 / 10))
}

# bats test_tags=quick
@test "what is written into the middle of a file that is not cached arrives, the rest intact" {
    seed_bytes /mid.bin $((20 * MIB))
    emu_get content path=/mid.bin >"$T/src/mid.bin"
    local id
    id=$(remote /mid.bin id)
    mount_drive
    random "$T/patch" 4096
    dd if="$T/patch" of="$T/src/mid.bin" bs=4096 seek=2500 conv=notrunc status=none
    on dd if="$T/patch" of="$S/mid.bin" bs=4096 seek=2500 conv=notrunc status=none
    sync_drive
    service_has "$T/src" /
    equal "id" "$(remote /mid.bin id)" "$id"
    on cmp "$T/src/mid.bin" "$S/mid.bin"
}

@test "a file that is not cached and is truncated keeps its beginning" {
    seed_bytes /cut.bin $((5 * MIB))
    emu_get content path=/cut.bin >"$T/src/cut.bin"
    mount_drive
    on truncate -s 3000001 "$S/cut.bin"
    truncate -s 3000001 "$T/src/cut.bin"
    on truncate -s 4000000 "$S/cut.bin"
    truncate -s 4000000 "$T/src/cut.bin"
    sync_drive
    service_has "$T/src" /
    on cmp "$T/src/cut.bin" "$S/cut.bin"
}

# bats test_tags=quick
@test "what is added to a file that is not cached arrives after what was there" {
    seed_bytes /log.bin $((3 * MIB))
    emu_get content path=/log.bin >"$T/src/log.bin"
    mount_drive
    append "$S/log.bin" "the end"
    printf 'the end' >>"$T/src/log.bin"
    sync_drive
    service_has "$T/src" /
}

# bats test_tags=quick
@test "copies of a partly cached file are whole: what is not here is no hole" {
    seed_bytes /part.bin $((30 * MIB))
    mount_drive
    on dd if="$S/part.bin" of=/dev/null bs=4096 count=1 skip=3000 status=none
    equal "first hole" "$(on perl -e 'open F,"<",$ARGV[0]; print sysseek(F,0,4)' "$S/part.bin")" \
        $((30 * MIB))
    on cp --sparse=always "$S/part.bin" "$T/copy"
    same_as_service "$T/copy" /part.bin
    remount_cold
    on dd if="$S/part.bin" of=/dev/null bs=4096 count=1 skip=3000 status=none
    on cp "$S/part.bin" "$T/copy2"
    same_as_service "$T/copy2" /part.bin
    equal "blocks" "$(on stat -c %b "$S/part.bin")" $((30 * MIB / 512))
}

# bats test_tags=quick
@test "a file read once is not fetched again, not even after a remount" {
    seed_bytes /twice.bin $((10 * MIB))
    mount_drive
    on cat "$S/twice.bin" >/dev/null
    forget_traffic
    on cat "$S/twice.bin" >/dev/null
    equal "downloads" "$(requests download)" 0
    remount
    same_as_service "$S/twice.bin" /twice.bin
    equal "bytes moved" "$(bytes_out)" 0
}

@test "what was copied in is not fetched to be read, not even after a remount and conversion" {
    random "$T/src/in.obj" $((5 * MIB))
    mount_drive cache.attr_timeout=500ms
    on cp "$T/src/in.obj" "$S/in.obj"
    sync_drive
    wait_until 10 settled
    sleep 0.6
    on cmp "$T/src/in.obj" "$S/in.obj"
    remount
    on ls -l "$S" >/dev/null
    on cmp "$T/src/in.obj" "$S/in.obj"
    equal "bytes moved" "$(bytes_out)" 0
}

@test "a partly read file goes on where it was after a remount" {
    seed_bytes /part.bin $((40 * MIB))
    mount_drive
    on head -c $((20 * MIB)) "$S/part.bin" >/dev/null
    umount_drive
    forget_traffic
    remount
    same_as_service "$S/part.bin" /part.bin
    at_most "bytes moved for the other half" "$(bytes_out part.bin)" $((22 * MIB))
}

@test "after a crash of the daemon a partly read file is still read right" {
    seed_bytes /part.bin $((40 * MIB))
    mount_drive
    on head -c $((20 * MIB)) "$S/part.bin" >/dev/null
    crash_drive
    remount
    same_as_service "$S/part.bin" /part.bin
}

@test "random reads of 64 KiB move at most twice what is asked" {
    seed_bytes /rand.bin $((512 * MIB))
    mount_drive
    on dd if="$S/rand.bin" of=/dev/null bs=1 count=1 status=none
    forget_traffic
    cat >"$T/random.pl" <<'PERL'
open my $f, '<:raw', $ARGV[0] or die $!;
srand 5;
for (1 .. 100) {
    sysseek $f, 65536 * int(rand(8192)), 0;
    sysread($f, my $x, 65536) == 65536 or die "short: $!";
}
PERL
    within 60 perl "$T/random.pl" "$S/rand.bin"
    sleep 1
    at_most "bytes moved" "$(bytes_out rand.bin)" $((2 * 100 * 65536))
}

# bats test_tags=quick
@test "a service without ranges is read whole and right" {
    option range false
    seed_bytes /norange.bin $((20 * MIB))
    mount_drive
    on dd if="$S/norange.bin" of="$T/part" bs=64K skip=100 count=1 status=none
    emu_get content path=/norange.bin offset=6553600 len=65536 | cmp - "$T/part"
    same_as_service "$S/norange.bin" /norange.bin
    at_most "bytes moved" "$(bytes_out norange.bin)" $((60 * MIB))
}

# bats test_tags=quick
@test "a file replaced on the service is never read as a mixture" {
    seed_bytes /mix.bin $((20 * MIB))
    mount_drive cache.attr_timeout=500ms
    on head -c 1000000 "$S/mix.bin" >/dev/null
    emu_post replace '{"path":"/mix.bin","size":20971520,"seed":43}'
    # One open file: either the old content whole, or an error; never both contents.
    local got
    if got=$(within 30 sha256sum <"$S/mix.bin" 2>/dev/null | cut -d' ' -f1) && [ -n "$got" ]; then
        equal "content" "$got" "$(remote /mix.bin sha256)"
    fi
    sleep 1
    on ls -l "$S" >/dev/null
    sleep 1
    same_as_service "$S/mix.bin" /mix.bin
}

@test "without ETags a file replaced on the service is never read as a mixture" {
    option etag false
    seed_bytes /mix.bin $((20 * MIB))
    mount_drive cache.attr_timeout=500ms
    on head -c 1000000 "$S/mix.bin" >/dev/null
    sleep 1
    emu_post replace '{"path":"/mix.bin","size":20971520,"seed":43}'
    local got
    if got=$(within 30 sha256sum <"$S/mix.bin" 2>/dev/null | cut -d' ' -f1) && [ -n "$got" ]; then
        equal "content" "$got" "$(remote /mix.bin sha256)"
    fi
    sleep 1
    on ls -l "$S" >/dev/null
    sleep 1
    same_as_service "$S/mix.bin" /mix.bin
}

# bats test_tags=quick
@test "a file is written and read through a memory mapping" {
    seed_bytes /map.bin $((3 * MIB))
    emu_get content path=/map.bin >"$T/src/map.bin"
    mount_drive
    cat >"$T/map.py" <<'PY'
import mmap, sys
with open(sys.argv[1], 'r+b') as f:
    m = mmap.mmap(f.fileno(), 0)
    m[1000000:1000005] = b'hello'
    assert m[999990:1000010][10:15] == b'hello'
    m.close()
PY
    command -v python3 >/dev/null || skip "needs python3"
    on python3 "$T/map.py" "$S/map.bin"
    python3 "$T/map.py" "$T/src/map.bin"
    sync_drive
    service_has "$T/src" /
}

kept_at_most() {
    [ "$(du -s -B1 "$STATE/data" | cut -f1)" -le "$1" ]
}

# bats test_tags=alone
@test "a cache of 64 MiB takes 512 files of 1 MiB, and keeps its limit" {
    local i
    mount_drive cache.max_size=64M upload.delay=0 upload.parallel=8
    for i in {1..512}; do random "$T/src/f$i" $MIB; done
    within 120 cp "$T"/src/* "$S/"
    sync_drive 200
    service_has "$T/src" /
    wait_until 20 kept_at_most $((67 * MIB)) # and its 257 folders
}

# bats test_tags=alone
@test "one file of 512 MiB passes a cache of 64 MiB, and is read back" {
    mount_drive cache.max_size=64M upload.delay=0
    dd if=/dev/urandom of="$T/src/big.bin" bs=1M count=512 status=none
    within 120 cp "$T/src/big.bin" "$S/big.bin"
    sync_drive 200
    service_has "$T/src" /
    within 120 cmp "$T/src/big.bin" "$S/big.bin"
}
