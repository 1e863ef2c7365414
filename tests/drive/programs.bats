# Everyday programs on the drive: what they are used for works, and the service ends up with it.
load lib

setup() {
    new_place
    start_emulator
}

# Path, kind, mode, owner and time to the second of all below a folder
attributes_of() {
    (cd "$1" && find . -mindepth 1 -printf '%P %y %m %U:%G %Ts\n' | LC_ALL=C sort)
}

same_attributes() {
    attributes_of "$1" >"$T/attributes.1"
    attributes_of "$2" >"$T/attributes.2"
    diff -u "$T/attributes.1" "$T/attributes.2" >&2
}

content_moved() {
    emu_get log/summary | jq '[.bytes_out.download, .bytes_out.storage, .bytes_in.upload,
                               .bytes_in.update] | add // 0'
}

# --- git ----------------------------------------------------------------------------------------

git() {
    within 60 git -c user.name=T -c user.email=t@example.org -c init.defaultBranch=main "$@"
}

make_repository() {
    local i
    git init -q "$T/repo"
    mkdir -p "$T/repo/docs/deep"
    for i in {1..8}; do
        seq $((i * 300)) >"$T/repo/file $i.txt"
        random "$T/repo/docs/deep/$i.bin" $((i * 1000))
    done
    printf '#!/bin/sh\necho works\n' >"$T/repo/run.sh"
    chmod 755 "$T/repo/run.sh"
    git -C "$T/repo" add -A
    git -C "$T/repo" commit -q -m "first"
    git clone -q --bare "$T/repo" "$T/bare.git"
}

# bats test_tags=quick
@test "git clones onto the drive, commits, pushes, packs, and finds no fault" {
    make_repository
    mount_drive
    git clone -q "file://$T/bare.git" "$S/work"
    equal "status" "$(git -C "$S/work" status --porcelain)" ""
    equal "run from the drive" "$(on "$S/work/run.sh")" works
    on sed -i 's/^7$/seven/' "$S/work/file 1.txt"
    git -C "$S/work" mv "file 2.txt" docs/moved.txt
    git -C "$S/work" rm -q "file 3.txt"
    git -C "$S/work" commit -q -a -m "second"
    git -C "$S/work" push -q origin main
    equal "pushed" "$(git -C "$T/bare.git" rev-parse main)" "$(git -C "$S/work" rev-parse HEAD)"
    git -C "$S/work" gc -q --prune=now
    git -C "$S/work" fsck --strict --no-progress
    equal "status" "$(git -C "$S/work" status --porcelain)" ""
    sync_drive
    service_has "$S/work" /work
    remount
    equal "status after a remount" "$(git -C "$S/work" status --porcelain)" ""
    git -C "$S/work" fsck --strict --no-progress
}

@test "a git repository that only the service has is whole, and takes a commit" {
    make_repository
    mount_drive
    git clone -q "file://$T/bare.git" "$S/work"
    sync_drive 60
    wait_until 20 settled # a new drive cannot know whose conversion moves the times
    remount_cold
    git -C "$S/work" fsck --strict --no-progress
    git -C "$S/work" checkout -q -b topic
    echo more | on tee -a "$S/work/file 4.txt" >/dev/null
    git -C "$S/work" commit -q -m "third" "file 4.txt"
    sync_drive
    service_has "$S/work" /work
    git clone -q "$S/work" "$T/back"
    equal "back" "$(tail -n 1 "$T/back/file 4.txt")" more
}

# bats test_tags=quick
@test "the folder that a program stands in stays its working folder when the lists arrive" {
    local i
    for i in {1..40}; do seed_text "/$i/in/inside.txt" "inside"; done
    mount_drive
    # shellcheck disable=SC2016 # perl's
    within 60 perl -e 'for my $d (map { "$ARGV[0]/$_/in" } 1 .. 40) {
        chdir($d) or die "$d: $!";
        select(undef, undef, undef, 0.02);
        my $cwd = readlink("/proc/self/cwd");
        $cwd eq $d or die "stands in $cwd, not in $d";
    }' "$S"
}

# --- archives and copies ------------------------------------------------------------------------

@test "tar xp of 2,000 files, and tar d finds no difference, then or after a remount" {
    local i
    mkdir "$T/src/a" "$T/src/b"
    for i in {1..1000}; do
        echo "content $i" >"$T/src/a/file $i"
        echo "other $i" >"$T/src/b/$i.obj"
    done
    chmod 600 "$T/src/a/"*7
    chmod 444 "$T/src/b/"*3.obj
    chmod 755 "$T/src/b/"*5.obj
    touch -d '2003-04-05 06:07:08' "$T/src/b/"*1.obj
    tar -C "$T/src" -cf "$T/x.tar" a b
    mount_drive
    within 120 tar -C "$S" -xpf "$T/x.tar"
    equal "differences" "$(within 60 tar -C "$S" -df "$T/x.tar" 2>&1)" ""
    sync_drive 120
    service_has "$T/src" /
    remount
    equal "differences" "$(within 60 tar -C "$S" -df "$T/x.tar" 2>&1)" ""
}

make_tree() {
    mkdir -p "$T/src/tree/sub/empty"
    random "$T/src/tree/model.obj" 30000
    random "$T/src/tree/sub/scan.e57" 70000
    echo "#!/bin/sh" >"$T/src/tree/sub/run"
    echo "key" >"$T/src/tree/sub/secret"
    : >"$T/src/tree/nothing"
    chmod 755 "$T/src/tree/sub/run"
    chmod 600 "$T/src/tree/sub/secret"
    chmod 444 "$T/src/tree/nothing"
    chmod 750 "$T/src/tree/sub"
    chown 1234:5678 "$T/src/tree/model.obj"
    touch -d '1999-12-31 23:59:59' "$T/src/tree/model.obj" "$T/src/tree/sub/empty"
    touch -d '2010-10-10 10:10:10' "$T/src/tree/sub/scan.e57" "$T/src/tree/sub" "$T/src/tree"
}

# bats test_tags=quick
@test "cp -a keeps modes, owners and times, when all is uploaded and after a remount, too" {
    make_tree
    mount_drive cache.attr_timeout=500ms
    on cp -a "$T/src/tree" "$S/"
    same_attributes "$T/src" "$S"
    sync_drive
    service_has "$T/src" /
    wait_until 10 settled /
    sleep 0.6
    same_attributes "$T/src" "$S"
    remount
    same_attributes "$T/src" "$S"
    on cp -a "$S/tree" "$T/back"
    same_attributes "$T/src/tree" "$T/back"
    on diff -r "$T/src/tree" "$T/back"
}

@test "chmod, chown and touch of what is uploaded are kept here, and nothing is sent for them" {
    make_tree
    mount_drive
    on cp -a "$T/src/tree" "$S/"
    sync_drive
    wait_until 10 settled /
    forget_traffic
    local dir
    for dir in "$T/src" "$S"; do
        on chmod 711 "$dir/tree/sub"
        on chmod u+x,g-r "$dir/tree/sub/scan.e57"
        on chown 77:88 "$dir/tree/sub/scan.e57" "$dir/tree/sub"
        on touch -d '2022-02-22 02:22:22' "$dir/tree/sub/run"
        on touch -a -d '2001-01-01 01:01:01' "$dir/tree/model.obj"
        on touch -d '1985-10-26 01:21:00' "$dir/tree/sub"
    done
    same_attributes "$T/src" "$S"
    equal "atime" "$(on stat -c %X "$S/tree/model.obj")" "$(date -d '2001-01-01 01:01:01' +%s)"
    sync_drive
    remount
    same_attributes "$T/src" "$S"
    equal "bytes of content that moved" "$(content_moved)" 0
    equal "uploads" "$(($(requests upload) + $(requests update)))" 0
}

# --- databases ----------------------------------------------------------------------------------

# sql DATABASE TEXT
sql() {
    within 60 sqlite3 -cmd '.timeout 20000' "$1" "$2"
}

fill_database() {
    sql "$1" "CREATE TABLE points(id INTEGER PRIMARY KEY, x REAL, name TEXT);
              CREATE INDEX by_name ON points(name);"
    sql "$1" "BEGIN;
              WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<3000)
              INSERT INTO points SELECT i, i*0.5, 'point '||i FROM n;
              COMMIT;"
    sql "$1" "BEGIN; DELETE FROM points; ROLLBACK;"
}

# bats test_tags=quick
@test "sqlite keeps a database with a rollback journal whole, with two writers, and over a remount" {
    local i first second
    mount_drive
    on mkdir "$S/db"
    equal "journal mode" "$(sql "$S/db/points.db" 'PRAGMA journal_mode=DELETE')" delete
    fill_database "$S/db/points.db"
    (for i in {1..10}; do sql "$S/db/points.db" "INSERT INTO points(x) VALUES(1)" || exit 1; done) &
    first=$!
    (for i in {1..10}; do sql "$S/db/points.db" "INSERT INTO points(x) VALUES(2)" || exit 1; done) &
    second=$!
    wait "$first"
    wait "$second"
    equal "rows" "$(sql "$S/db/points.db" 'SELECT count(*) FROM points')" 3020
    equal "integrity" "$(sql "$S/db/points.db" 'PRAGMA integrity_check')" ok
    sync_drive
    equal "objects" "$(remote_count /db)" 1
    remount
    equal "integrity after a remount" "$(sql "$S/db/points.db" 'PRAGMA integrity_check')" ok
    emu_get content path=/db/points.db >"$T/points.db"
    equal "rows on the service" "$(sql "$T/points.db" 'SELECT count(*) FROM points')" 3020
}

@test "a database that only the service has is read and written in place, and keeps its id" {
    mount_drive
    fill_database "$S/points.db"
    sync_drive
    wait_until 10 settled /
    local id
    id=$(remote /points.db id)
    remount_cold
    sql "$S/points.db" "UPDATE points SET x=-1 WHERE name='point 1500'"
    equal "read back" "$(sql "$S/points.db" 'SELECT id FROM points WHERE x=-1')" 1500
    sync_drive
    equal "integrity" "$(sql "$S/points.db" 'PRAGMA integrity_check')" ok
    emu_get content path=/points.db >"$T/points.db"
    equal "integrity of the service's" "$(sql "$T/points.db" 'PRAGMA integrity_check')" ok
    equal "the service's" "$(sql "$T/points.db" 'SELECT id FROM points WHERE x=-1')" 1500
    equal "id" "$(remote /points.db id)" "$id"
    equal "objects" "$(remote_count /)" 1
}

# --- building -----------------------------------------------------------------------------------

make_project() {
    local i
    mkdir -p "$T/src/project/lib"
    for i in 1 2 3; do
        printf '#include "all.h"\nint f%d(void) { return VALUE + %d; }\n' $i $i \
            >"$T/src/project/lib/f$i.c"
    done
    printf '#define VALUE 10\nint f1(void), f2(void), f3(void);\n' >"$T/src/project/lib/all.h"
    printf '#include "lib/all.h"\n#include <stdio.h>\nint main(void) { return printf("%%d\\n", %s) < 0; }\n' \
        'f1() + f2() + f3()' >"$T/src/project/main.c"
    cat >"$T/src/project/Makefile" <<'MAKE'
objects = main.o lib/f1.o lib/f2.o lib/f3.o
program: $(objects)
	cc -o $@ $(objects)
%.o: %.c lib/all.h
	cc -c -o $@ $<
MAKE
}

@test "make builds in a tree on the drive, a second make does nothing, the program runs" {
    make_project
    mount_drive
    on cp -a "$T/src/project" "$S/"
    within 60 make -s -C "$S/project"
    equal "program" "$(on "$S/project/program")" 36
    within 20 make -q -C "$S/project"
    on touch "$S/project/lib/f2.c"
    equal "made again" "$(within 60 make -C "$S/project" | grep -c -E '^cc ')" 2
    sync_drive
    wait_until 10 settled /
    within 20 make -q -C "$S/project"
    remount
    within 20 make -q -C "$S/project"
    equal "program after a remount" "$(on "$S/project/program")" 36
    service_has "$S/project" /project
}

# --- mv -----------------------------------------------------------------------------------------

@test "mv into the drive, across its folders and out again loses nothing and leaves nothing behind" {
    make_tree
    cp -a "$T/src" "$T/original"
    mount_drive upload.delete_delay=0
    on mkdir -p "$S/here" "$S/there/deep"
    on mv "$T/src/tree" "$S/here/"
    equal "left at the source" "$(ls -A "$T/src")" ""
    same_attributes "$T/original" "$S/here"
    sync_drive
    service_has "$T/original" /here
    wait_until 10 settled /
    on mv "$S/here/tree/sub" "$S/there/deep/"
    on mv "$S/here/tree/model.obj" "$S/there/deep/other name.obj"
    on mv "$T/original/tree/sub" "$T/original/tree/model.obj" "$T/src/"
    mv "$T/src/model.obj" "$T/src/other name.obj"
    on diff -r "$T/src" "$S/there/deep"
    sync_drive
    service_has "$T/src" /there/deep
    service_has "$T/original" /here
    wait_until 10 settled /
    mkdir "$T/out"
    on mv "$S/there/deep" "$T/out/"
    on diff -r "$T/src" "$T/out/deep"
    same_attributes "$T/src" "$T/out/deep"
    sync_drive
    equal "left where it was" "$(remote_count /there)" 0
    equal "left on the drive" "$(on ls -A "$S/there")" ""
}

@test "a folder of 50 files is moved without its content, and no source goes before its copy is whole" {
    local deletes begun
    option copy_queue_ms 300
    option copy_ms 700
    seed '{"dir":"/old/in","count":50,"size":100000}'
    emu_get digest path=/old >"$T/digests"
    mount_drive
    equal "files" "$(on find "$S/old" -type f | wc -l)" 50
    on mkdir "$S/new"
    forget_traffic
    on mv "$S/old" "$S/new/place"
    equal "files at once" "$(on find "$S/new/place" -type f | wc -l)" 50
    run ! on stat "$S/old"
    sync_drive 60
    emu_get digest path=/new/place | diff "$T/digests" - >&2
    run -0 absent /old
    equal "bytes of content that moved" "$(content_moved)" 0
    equal "copies" "$(requests copy)" 50
    emu_get log >"$T/requests"
    # when the last copy was asked for, and when the first removal came
    begun=$(jq '[.[]|select(.endpoint=="copy" and .status < 300)|.t_ms]|max' "$T/requests")
    deletes=$(jq '[.[]|select(.endpoint=="delete")|.t_ms]|min' "$T/requests")
    if [ "$deletes" -lt $((begun + 1000)) ]; then
        echo "removed at $deletes, copies begun at $begun" >&2
        return 1
    fi
    on diff <(cd "$S/new/place" && sha256sum in/* | cut -d' ' -f1) <(cut -d' ' -f1 "$T/digests") >&2
}

# --- changes that overtake each other -----------------------------------------------------------

# bats test_tags=quick
@test "a folder renamed while its files are unsent shows them at once, and they arrive under its new name" {
    seed_text /dir/remote.txt "far"
    mount_drive upload.delay=1s
    on cat "$S/dir/remote.txt" >/dev/null
    write "$S/dir/new.txt" "fresh"
    append "$S/dir/remote.txt" ", and changed"
    exec 7>"$S/dir/open.txt"
    printf 'begun' >&7
    on mkdir "$S/dir/sub"
    write "$S/dir/sub/deep.txt" "deep"
    on mv "$S/dir" "$S/renamed"
    equal "new" "$(on cat "$S/renamed/new.txt")" "fresh"
    equal "changed" "$(on cat "$S/renamed/remote.txt")" "far, and changed"
    equal "deep" "$(on cat "$S/renamed/sub/deep.txt")" "deep"
    equal "open" "$(on cat "$S/renamed/open.txt")" "begun"
    printf ', ended' >&7
    exec 7>&-
    sync_drive
    equal "files" "$(emu_get tree | jq -r '[.[]|select(.type=="file")|.path]|sort|join(" ")')" \
        "/renamed/new.txt /renamed/open.txt /renamed/remote.txt /renamed/sub/deep.txt"
    equal "new" "$(remote_text /renamed/new.txt)" "fresh"
    equal "changed" "$(remote_text /renamed/remote.txt)" "far, and changed"
    equal "open" "$(remote_text /renamed/open.txt)" "begun, ended"
    run -0 absent /dir
}

@test "a folder in place of a removed file, and a file in place of a removed folder, arrive" {
    seed_text /thing "a file"
    seed_text /place/inside.txt "in a folder"
    mount_drive
    on rm "$S/thing"
    on mkdir "$S/thing"
    write "$S/thing/in it.txt" "now a folder"
    on ls -l "$S/place" >/dev/null
    on rm -r "$S/place"
    write "$S/place" "now a file"
    equal "folder" "$(on cat "$S/thing/in it.txt")" "now a folder"
    equal "file" "$(on cat "$S/place")" "now a file"
    sync_drive
    equal "folder on the service" "$(remote_text "/thing/in it.txt")" "now a folder"
    equal "file on the service" "$(remote_text /place)" "now a file"
    equal "objects" "$(remote_count /)" 3
}

# --- plain semantics ----------------------------------------------------------------------------

# Two processes append lines of their own: none is lost, none is torn.
# bats test_tags=quick
@test "two programs that append to one file lose no line" {
    local first second
    # shellcheck disable=SC2016 # perl's
    local appender='use Fcntl; sysopen(F, $ARGV[0], O_WRONLY | O_APPEND | O_CREAT) or die;
        for (1 .. 300) { syswrite(F, "$ARGV[1] line $_\n") or die } close(F) or die'
    seed_text /log.txt $'before\n'
    mount_drive
    within 60 perl -e "$appender" "$S/log.txt" one &
    first=$!
    within 60 perl -e "$appender" "$S/log.txt" two &
    second=$!
    wait "$first"
    wait "$second"
    { echo before; printf 'one line %d\n' {1..300}; printf 'two line %d\n' {1..300}; } |
        sort >"$T/expected.txt"
    on sort "$S/log.txt" | diff - "$T/expected.txt" >&2
    sync_drive
    remote_text /log.txt | sort | diff - "$T/expected.txt" >&2
}

# Does the same to a file here and to one on the drive: by path and by descriptor, while open.
cut_and_grow() {
    # shellcheck disable=SC2016 # perl's
    on perl -e '
        use Fcntl;
        my $f = $ARGV[0];
        truncate($f, 150_000) or die "by path: $!";
        truncate($f, 400_000) or die "longer by path: $!";
        sysopen(F, $f, O_RDWR) or die "open: $!";
        truncate(F, 90_000) or die "by descriptor: $!";
        sysseek(F, 120_000, 0);
        syswrite(F, "beyond the end") == 14 or die "write: $!";
        truncate(F, 500_001) or die "longer by descriptor: $!";
        truncate($f, 300_000) or die "by path while open: $!";
        -s F == 300_000 or die "size: ", -s F;
        sysseek(F, 10, 0);
        syswrite(F, "near the start") == 14 or die "write: $!";
        close(F) or die "close: $!";
    ' "$1"
}

@test "files cut and grown by path and by descriptor, cold ones too, are the same here and there" {
    random "$T/src/new.bin" 200000
    seed '{"path":"/cold.bin","size":200000}'
    emu_get content path=/cold.bin >"$T/src/cold.bin"
    mount_drive
    on cp "$T/src/new.bin" "$S/"
    local name
    for name in new.bin cold.bin; do
        cut_and_grow "$T/src/$name"
        cut_and_grow "$S/$name"
        on cmp "$T/src/$name" "$S/$name"
    done
    sync_drive
    service_has "$T/src" /
}

@test "flock and fcntl locks of one program keep another out, and go with it" {
    mount_drive
    write "$S/locked.txt" "content"
    # shellcheck disable=SC2016 # perl's
    local pid fcntl='use Fcntl qw(:DEFAULT); sysopen(F, $ARGV[0], O_RDWR) or die;
        fcntl(F, F_SETLK, pack("s! s! x4 q q l x4", F_WRLCK, 0, $ARGV[1], $ARGV[2], 0)) or exit 9;
        $| = 1; print "held\n"; sleep $ARGV[3]'

    coproc HOLDER { flock "$S/locked.txt" sh -c 'echo held; read -r x' 3>&-; }
    pid=$HOLDER_PID # the shell forgets it with the process
    read -r -t 10 -u "${HOLDER[0]}"
    run ! on flock -n "$S/locked.txt" true
    run ! on flock -n -s "$S/locked.txt" true
    echo >&"${HOLDER[1]}"
    wait "$pid"
    on flock -n "$S/locked.txt" true

    coproc HOLDER { exec perl -e "$fcntl" "$S/locked.txt" 0 100 60 3>&-; }
    pid=$HOLDER_PID
    read -r -t 10 -u "${HOLDER[0]}"
    run -9 on perl -e "$fcntl" "$S/locked.txt" 50 100 0
    run -0 on perl -e "$fcntl" "$S/locked.txt" 100 100 0
    kill "$pid"
    wait "$pid" || true
    run -0 on perl -e "$fcntl" "$S/locked.txt" 50 100 0
}

@test "names of 255 bytes work for files and folders, one byte more is too long" {
    local ascii wide dir
    ascii=$(printf 'x%.0s' {1..251}).obj
    wide=$(printf 'é%.0s' {1..127})d
    dir=$(printf 'd%.0s' {1..255})
    mount_drive
    on mkdir "$S/$dir" "$T/src/$dir"
    echo ascii >"$T/src/$ascii"
    echo wide >"$T/src/$dir/$wide"
    on cp "$T/src/$ascii" "$S/short"
    on mv "$S/short" "$S/$ascii"
    on cp "$T/src/$dir/$wide" "$S/$dir/$wide"
    fails_with "File name too long" touch "$S/x$ascii"
    fails_with "File name too long" mkdir "$S/d$dir"
    fails_with "File name too long" mv "$S/$ascii" "$S/x$ascii"
    fails_with "File name too long" stat "$S/x$ascii"
    sync_drive
    service_has "$T/src" /
    remount_cold
    on diff -r "$T/src" "$S"
}

# renameat2 FROM TO FLAGS, in the working folder
renameat2() {
    local number
    case $(uname -m) in
    x86_64) number=316 ;;
    aarch64 | riscv64) number=276 ;;
    *) skip "the number of renameat2 is not known here" ;;
    esac
    # shellcheck disable=SC2016 # perl's
    on perl -e 'syscall($ARGV[0], -100, $ARGV[1], -100, $ARGV[2], $ARGV[3] + 0) == 0
        or do { print STDERR "$!\n"; exit 1 }' "$number" "$1" "$2" "$3"
}

@test "an exchange of two names is refused, and both files are as they were" {
    seed_text /remote.txt "remote"
    mount_drive
    write "$S/local.txt" "local"
    fails_with_text "Invalid argument" renameat2 "$S/local.txt" "$S/remote.txt" 2
    fails_with_text "Invalid argument" renameat2 "$S/remote.txt" "$S/local.txt" 2
    fails_with_text "File exists" renameat2 "$S/local.txt" "$S/remote.txt" 1
    equal "local" "$(on cat "$S/local.txt")" local
    equal "remote" "$(on cat "$S/remote.txt")" remote
    renameat2 "$S/local.txt" "$S/other.txt" 1
    sync_drive
    equal "on the service" "$(remote_text /other.txt) $(remote_text /remote.txt)" "local remote"
    equal "objects" "$(remote_count /)" 2
}

# As fails_with, of a function of ours
fails_with_text() {
    local text=$1
    shift
    run ! "$@"
    [[ $output == *"$text"* ]] || equal "said" "$output" "$text"
}

# --- gio: what file managers do -------------------------------------------------------------------

@test "gio copies, moves, renames and removes; gio trash is refused, and the file stays" {
    make_tree
    seed_text /remote.txt "remote"
    mount_drive
    on gio copy "$T/src/tree/model.obj" "$S/copied.obj"
    on gio copy --preserve "$T/src/tree/sub/scan.e57" "$S/"
    equal "time" "$(on stat -c %Y "$S/scan.e57")" "$(stat -c %Y "$T/src/tree/sub/scan.e57")"
    on gio mkdir --parent "$S/a/b"
    on gio move "$T/src/tree/sub/run" "$S/a/"
    on gio move "$S/a/run" "$S/a/b/"
    on gio rename "$S/remote.txt" "renamed.txt"
    run ! on gio trash "$S/renamed.txt"
    equal "not in the trash" "$(on cat "$S/renamed.txt")" "remote"
    run ! on gio trash "$S/copied.obj"
    equal "names" "$(on ls -A "$S" | tr '\n' ' ')" "a copied.obj renamed.txt scan.e57 "
    on gio copy "$S/copied.obj" "$T/back.obj"
    cmp "$T/back.obj" "$T/src/tree/model.obj"
    sync_drive
    on gio remove "$S/scan.e57" "$S/renamed.txt"
    sync_drive
    equal "files" "$(emu_get tree | jq -r '[.[]|select(.type=="file")|.path]|join(" ")')" \
        "/a/b/run /copied.obj"
}

monitor_saw() {
    grep -q -E "$1" "$T/monitor"
}

@test "gio monitor sees what other programs here do" {
    local monitor
    seed_text /dir/theirs.txt "theirs"
    mount_drive cache.attr_timeout=500ms
    on ls "$S/dir" >/dev/null
    timeout 60 gio monitor --dir="$S/dir" >"$T/monitor" 2>&1 3>&- &
    monitor=$!
    wait_until 10 watches "$monitor"
    write "$S/dir/new.txt" "new"
    wait_until 10 monitor_saw 'new.txt: created'
    wait_until 10 monitor_saw 'new.txt: changes done'
    append "$S/dir/theirs.txt" " and ours"
    wait_until 10 monitor_saw 'theirs.txt: changed'
    on mv "$S/dir/new.txt" "$S/dir/other.txt"
    wait_until 10 monitor_saw 'new.txt: (renamed|moved|deleted)'
    on rm "$S/dir/other.txt"
    wait_until 10 monitor_saw 'other.txt: deleted'
    kill "$monitor"
    wait "$monitor" || true
    sync_drive
    equal "on the service" "$(remote_text /dir/theirs.txt)" "theirs and ours"
    equal "objects" "$(remote_count /dir)" 1
}

# Has the process, or one that it started, an inotify watch?
watches() {
    local pid
    for pid in "$1" $(cat "/proc/$1/task/$1/children"); do
        ! grep -q -s ^inotify "/proc/$pid/fdinfo/"* || return 0
    done
    return 1
}
