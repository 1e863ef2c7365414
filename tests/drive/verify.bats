load lib

# Data integrity, by programs that check what they wrote: fio (each block carries its checksum),
# stress-ng --verify, dbench, bonnie++, and a comparison with a local file that gets the same.

MIB=1048576

# verified NAME [OPTION...]: a fio job on the drive, all of whose blocks read back with their sum
verified() {
    local name=$1
    shift
    within 100 fio --verify_state_save=0 --name="$name" --directory="$S" --filename="$name" --size=24M --verify=crc32c \
        --verify_fatal=1 --randseed=4711 --allow_mounted_write=1 --output="$T/fio.out" "$@" \
        >"$T/fio.err" 2>&1 && ! grep -i 'verify.*bad\|err=[^ ]*[1-9]' "$T/fio.out" && return
    cat "$T/fio.err" "$T/fio.out" >&2
    return 1
}

drop_kernel_cache() {
    sync
    if [ -w /proc/sys/vm/drop_caches ]; then echo 3 >/proc/sys/vm/drop_caches; fi
}

@test "fio: random writes of odd sizes read back as written" {
    mount_drive
    verified odd --rw=randwrite --bsrange=512-70000 --bs_unaligned=1 --size=16M
    verified mixed --rw=randrw --rwmixwrite=60 --bsrange=1k-64k --size=16M --fsync=50
}

# bats test_tags=quick
@test "fio: blocks stored through a mapping read back as written" {
    mount_drive
    verified mapped --rw=randwrite --bs=4k --ioengine=mmap --size=12M
    sync_drive
    equal "size on the service" "$(remote /mapped size)" $((12 * MIB))
}

@test "fio: many direct writes under way at once read back as written" {
    mount_drive
    verified direct --rw=randwrite --bs=4k --ioengine=libaio --direct=1 --iodepth=16 --size=12M
    verified large --rw=randwrite --bs=1M --ioengine=libaio --direct=1 --iodepth=8
}

# phases [OPTION...]: writes; after the upload, with nothing cached anywhere, only reads and checks
phases() {
    verified file --do_verify=0 "$@"
    sync_drive 60
    remount_cold
    drop_kernel_cache
    verified file --verify_only=1 "$@"
}

@test "fio: what was written and sent is what an empty cache gets back" {
    mount_drive
    phases --rw=randwrite --bs=4k
}

@test "fio: what was written and sent is got back through a cache that cannot hold it" {
    mount_drive cache.max_size=8M
    phases --rw=randwrite --bs=128k --ioengine=mmap
}

# stressed NAME OPS [OPTION...]: it checks what it does, and found nothing wrong
stressed() {
    local name=$1 ops=$2
    shift 2
    mkdir -p "$S/stress"
    within 60 stress-ng --temp-path "$S/stress" --verify --timeout 40 "--$name" 1 \
        "--$name-ops" "$ops" "$@" >"$T/stress.out" 2>&1 && ! grep -q fail: "$T/stress.out" &&
        grep -q 'successful run completed' "$T/stress.out" && return
    cat "$T/stress.out" >&2
    return 1
}

@test "stress-ng: names, modes and times are as they were set" {
    mount_drive
    stressed access 20
    stressed chmod 20
    stressed dentry 50
    stressed dir 50
    stressed fstat 100
    stressed getdent 50
    stressed rename 100
    stressed touch 100
    stressed utime 200
    stressed xattr 1
}

@test "stress-ng: sizes, ranges, locks and mappings are as they were set" {
    mount_drive
    stressed fallocate 10
    stressed fsize 5
    stressed flock 500
    stressed lockf 500
    stressed mmap 2 --mmap-file --mmap-bytes 512K
    stressed msync 20 --msync-bytes 1M
    stressed seek 100
}

@test "stress-ng: what a cloud drive has not is skipped as not supported, never an error" {
    mount_drive
    local name
    for name in link symlink fiemap verity; do
        mkdir -p "$S/stress"
        within 60 stress-ng --temp-path "$S/stress" --verify --timeout 40 "--$name" 1 \
            "--$name-ops" 1 >"$T/stress.out" 2>&1 || [ $? -eq 3 ]
        grep -q skipping "$T/stress.out"
        equal "$name" "$(grep fail: "$T/stress.out")" ""
    done
    stressed mknod 1
}

@test "dbench: an office's morning runs through" {
    mount_drive
    within 60 dbench -c /usr/share/dbench/client.txt -D "$S" -t 3 2 >"$T/dbench.out" 2>&1
    grep -q '^Throughput' "$T/dbench.out"
    equal "failures" "$(grep -i -E 'fail|error' "$T/dbench.out" | grep -v semaphore)" ""
}

@test "bonnie++: files, rewritten and sought in, and folders run through" {
    mount_drive
    on mkdir "$S/bonnie"
    within 100 bonnie++ -d "$S/bonnie" -u "$(id -un)" -f -s 16M -r 8 -n 1 -q >"$T/bonnie.out"
    equal "what it left" "$(on ls "$S/bonnie")" ""
}

# Does the same at random to files of the drive and to local copies, and compares what it reads.
# usage: perl torture.pl SEED STEPS DRIVE COPIES NAME...
write_torture() {
    cat >"$T/torture.pl" <<'PERL'
use strict;
my ($seed, $steps, $drive, $copies, @names) = @ARGV;
my $fallocate = `uname -m` =~ /x86_64/ ? 285 : 47;
my $most = 3_000_000;
my %open;
srand $seed;
sub handles {
    my $name = shift;
    return @{ $open{$name} } if $open{$name};
    my @h;
    for my $dir ($drive, $copies) {
        open my $h, '+<:raw', "$dir/$name" or die "open $dir/$name: $!\n";
        push @h, $h;
    }
    $open{$name} = \@h;
    return @h;
}
sub both {
    my ($what, $name, $do) = @_;
    my @got = map { my $r = $do->($_); defined $r ? $r : "failed: $!" } handles($name);
    die "seed $seed: $what of $name differs\n" if $got[0] ne $got[1];
    die "seed $seed: $what of $name: $got[0]\n" if $got[0] =~ /^failed/;
}
for my $step (1 .. $steps) {
    my $name = $names[rand @names];
    my $off = int rand(rand() < .1 ? $most : $most * .8);
    my $len = 1 + int rand(rand() < .1 ? 300_000 : 9_000);
    my $what = rand 100;
    if ($what < 40) {
        both('reading', $name, sub { sysseek $_[0], $off, 0; my $b = ''; defined sysread($_[0], $b, $len) ? $b : undef });
    } elsif ($what < 70) {
        my $bytes = pack('N', $step) x (1 + $len / 4);
        both('writing', $name, sub { sysseek $_[0], $off, 0; syswrite $_[0], $bytes, $len });
    } elsif ($what < 76) {
        both('truncating', $name, sub { truncate($_[0], $off) ? 1 : undef });
    } elsif ($what < 86) {
        my $mode = (0, 3, 16, 17)[rand 4]; # room, a hole, zeros, zeros within the size
        both("fallocate $mode", $name, sub { syscall($fallocate, fileno $_[0], $mode, $off, $len) < 0 ? undef : 1 });
    } elsif ($what < 90) {
        both('the size', $name, sub { -s $_[0] });
    } else {
        delete $open{$name}; # closed: it may go up, and be evicted
        select undef, undef, undef, .05 if $what > 98;
    }
}
PERL
}

@test "a local file and one of the drive that get the same stay the same, whatever is evicted" {
    local name round copies=$T/src
    write_torture
    for name in a b c d; do
        seed "{\"path\":\"/$name\",\"size\":2500000,\"seed\":$RANDOM}"
        emu_get content "path=/$name" >"$copies/$name"
    done
    mount_drive cache.max_size=4M upload.delay=100ms
    for round in 1 2 3 4; do
        within 60 perl "$T/torture.pl" "$round$RANDOM" 600 "$S" "$copies" a b c d
        [ "$round" != 2 ] || drop_kernel_cache
        [ "$round" != 3 ] || remount
        sync_drive 60
        service_has "$copies" /
    done
    remount_cold
    for name in a b c d; do within 30 cmp "$S/$name" "$copies/$name"; done
}
