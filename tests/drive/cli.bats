load lib

# A place that other users may enter too
open_place() {
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$T" "$T/mnt"
    chmod 711 "$(dirname "$(readlink -f "$PM")")"
}

as_nobody() {
    on setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
}

one_line() {
    equal "lines of: $output" "${#lines[@]}" 1
}

# --- mounting

# bats test_tags=quick
@test "polymount returns when the drive is usable, and the daemon goes on by itself" {
    write_conf
    seed_text /a.txt "a"
    local said
    said=$(on "$PM" -c "$CONF" "$MNT" 2>&1) # would hang if the daemon kept its output
    DRIVE_PID=$(jq .pid "$MNT/.polymount/status.json")
    equal "said" "$said" ""
    equal "content" "$(on cat "$S/a.txt")" "a"
    equal "session" "$(ps -o sess= -p "$DRIVE_PID" | tr -d ' ')" "$DRIVE_PID"
    equal "directory" "$(readlink "/proc/$DRIVE_PID/cwd")" /
    equal "terminal" "$(ps -o tty= -p "$DRIVE_PID" | tr -d ' ')" "?"
    equal "type" "$(findmnt -n -o FSTYPE "$MNT")" fuse.polymount
}

@test "polymount mounts without waiting for the service" {
    write_conf
    kill -STOP "$EMU_PID"
    local start=$EPOCHREALTIME
    mount_behind "$PM" -c "$CONF" "$MNT"
    at_most "ms" "$(((${EPOCHREALTIME/./} - ${start/./}) / 1000))" 1500
    kill -CONT "$EMU_PID"
}

# bats test_tags=quick
@test "SIGTERM unmounts" {
    mount_drive
    write "$S/a.txt" "a"
    kill "$DRIVE_PID"
    reap
    run ! grep -q " $MNT " /proc/self/mounts
}

# bats test_tags=quick
@test "an unmount by fusermount3 ends the daemon" {
    mount_drive
    on fusermount3 -u "$MNT"
    reap
}

@test "mount.fuse.polymount and mount -t fuse.polymount mount with the options of fstab" {
    write_conf
    mkdir "$T/bin"
    ln -s "$(readlink -f "$PM")" "$T/bin/mount.fuse.polymount"
    ln -s "$(readlink -f "$PM")" "$T/bin/polymount"
    mount_behind "$T/bin/mount.fuse.polymount" none "$MNT" \
        -o "rw,_netdev,nofail,x-systemd.automount,config=$CONF,cache.max_size=3G"
    equal "max_size" "$(status_json | jq .cache.max_size)" $((3 << 30))
    umount_drive
    [ -x /sbin/mount.fuse3 ] || skip "needs mount.fuse3"
    # As mount(8) calls it, which itself looks for programs in its own folders only.
    PATH=$T/bin:$PATH mount_behind /sbin/mount.fuse3 none "$MNT" -t fuse.polymount \
        -o "rw,config=$CONF"
    mounted
}

# bats test_tags=quick
@test "-o takes keys of the configuration, and FUSE's options" {
    write_conf
    mount_behind "$PM" -c "$CONF" -o cache.max_size=5G,noatime -o upload.delay=3s "$MNT"
    equal "max_size" "$(status_json | jq .cache.max_size)" $((5 << 30))
    [[ $(findmnt -n -o OPTIONS "$MNT") == *noatime* ]]
}

# bats test_tags=quick
@test "-o refuses secrets, unknown keys, bad values, and unknown options" {
    write_conf
    run -2 on "$PM" -c "$CONF" -o account.s.token=abc "$MNT"
    one_line
    [[ $output != *abc* ]]
    run -2 on "$PM" -c "$CONF" -o cache.max_sise=5G "$MNT"
    [[ $output == *max_size* ]]
    run -2 on "$PM" -c "$CONF" -o cache.max_size=lots "$MNT"
    [[ $output == *"64M or 20G"* ]]
    run on "$PM" -c "$CONF" -o no_such_option "$MNT"
    run -1 test "$status" -eq 0
    run ! grep -q " $MNT " /proc/self/mounts
}

# --- what is refused before mounting

# bats test_tags=quick
@test "a wrong key in the configuration is named, with the nearest right one" {
    write_conf cache.max_sise=5G
    run -1 on "$PM" -c "$CONF" "$MNT"
    one_line
    [[ $output == *"$CONF:"* && $output == *max_sise* && $output == *max_size* ]]
    write_conf account.tokn=x
    run -1 on "$PM" -c "$CONF" "$MNT"
    [[ $output == *token* ]]
    sed -i 's/^\[account s\]/[acount s]/' "$CONF"
    run -1 on "$PM" -c "$CONF" "$MNT"
    [[ $output == *account* ]]
}

@test "other mistakes in the configuration are named with their line" {
    local bad
    for bad in cache.max_size=big upload.delay=soon account.type=dropbox \
        account.endpoint=http://example.com account.read_only=perhaps cache.dir=relative/path; do
        write_conf "$bad"
        run -1 on "$PM" -c "$CONF" "$MNT"
        one_line
        [[ $output == *"$CONF:"* ]] || {
            echo "$bad: $output" >&2
            return 1
        }
    done
    run -1 on "$PM" -c "$T/none.conf" "$MNT"
    one_line
    [[ $output == *"$T/none.conf"* ]]
}

@test "a mount point that is missing, no folder, or taken is refused in one line" {
    write_conf
    run -1 on "$PM" -c "$CONF" "$T/none"
    one_line
    [[ $output == *"$T/none"* ]]
    : >"$T/file"
    run -1 on "$PM" -c "$CONF" "$T/file"
    [[ $output == *"not a directory"* ]]
    start_daemon
    run -1 on "$PM" -c "$CONF" "$MNT"
    one_line
    [[ $output == *"mounted there already"* ]]
}

@test "a mount point that may not be read is refused in one line" {
    [ "$(id -u)" -eq 0 ] || skip "needs root, to be somebody else"
    open_place
    write_conf
    chmod 700 "$MNT"
    chown 65534 "$CONF"
    as_nobody test -x "$PM" || skip "nobody may not run $PM"
    run -1 as_nobody "$PM" -c "$CONF" "$MNT"
    chmod 755 "$MNT"
    one_line
    [[ $output == *"ermission denied"* || $output == *"may not be"* ]]
}

@test "without /dev/fuse it says how to get it" {
    write_conf
    unshare -m true 2>/dev/null || skip "needs unshare -m"
    run -1 on unshare -m sh -c 'mount -t tmpfs none /dev && exec "$@"' - "$PM" -c "$CONF" "$MNT"
    one_line
    [[ $output == *"/dev/fuse"*modprobe* ]]
}

# bats test_tags=quick
@test "a second daemon on the state folder is refused and told of the first" {
    mount_drive
    mkdir "$T/mnt2"
    run -1 on "$PM" -c "$CONF" -f "$T/mnt2"
    one_line
    [[ $output == *"$MNT"* ]]
    write "$S/a.txt" "the first goes on"
    sync_drive
}

# bats test_tags=quick
@test "a refused token is permission denied, and status says so" {
    mount_drive account.token=eyJhbGciOiJub25lIn0.e30.wrong
    fails_with "Permission denied" ls "$S"
    run -0 on "$PM" status "$MNT"
    run ! grep -q "no trouble" <<<"$output"
    [ "$(status_json | jq -r '.accounts[0].error')" != "" ]
    remount
    umount_drive
    mount_drive
    on ls "$S" >/dev/null
    equal "error" "$(status_json | jq -r '.accounts[0].error')" ""
}

# --- verbs

# bats test_tags=quick
@test "every verb, and polymount itself, has help" {
    local verb
    for verb in umount status sync pause resume undelete retry discard evict publish forget allow-deletes \
        rescue login demo; do
        run -0 on "$PM" "$verb" --help
        [[ $output == "usage: polymount $verb"* ]]
    done
    run -0 on "$PM" --help
    for verb in umount status sync pause resume publish demo; do [[ $output == *"polymount $verb "* ]]; done
    run -0 on "$PM" --version
    [[ $output == "polymount "* ]]
}

# bats test_tags=quick
@test "wrong usage is status 2" {
    run -2 on "$PM"
    run -2 on "$PM" umount
    run -2 on "$PM" umount a b
    run -2 on "$PM" sync --timeout
    run -2 on "$PM" sync --timeout soon "$MNT"
    run -2 on "$PM" status --jsno
    [[ $output == *--jsno* ]]
    run -2 on "$PM" --no-such-option "$MNT"
    run -2 on "$PM" statsu
    [[ $output == *status* ]]
    run -2 on "$PM" -o
}

# bats test_tags=quick
@test "verbs on what is not mounted are status 1: not mounted" {
    write_conf
    local verb
    for verb in umount sync pause resume retry discard evict publish forget; do
        run -1 on "$PM" "$verb" "$T"
        one_line
        [[ $output == *"not mounted"* ]]
    done
    for verb in sync pause resume; do
        run -1 on "$PM" "$verb" -c "$CONF"
        [[ $output == *"not mounted"* ]]
    done
}

# bats test_tags=quick
@test "verbs find the drive by a path in it, by the working folder, and by -c before and after" {
    mount_drive
    on mkdir "$S/dir"
    run -0 on "$PM" sync "$S/dir"
    run -0 on "$PM" status "$S/dir"
    run -0 on "$PM" -c "$CONF" status
    run -0 on "$PM" status -c "$CONF"
    run -0 on env -C "$S/dir" "$PM" sync .
    ln -s "$S/dir" "$T/link"
    run -0 on "$PM" sync "$T/link"
}

# bats test_tags=quick
@test "umount says what is queued, and that it is safe" {
    mount_drive upload.delay=1h
    write "$S/a.txt" "12345"
    run -0 on "$PM" umount "$MNT"
    reap
    [[ $output == *"1 change"*"5 bytes"*safe* ]]
    start_daemon
    sync_drive
    run -0 on "$PM" umount "$MNT"
    reap
    [[ $output == *"nothing is queued"* ]]
}

# bats test_tags=quick
@test "umount --wait uploads first" {
    mount_drive upload.delay=1h
    write "$S/a.txt" "12345"
    run -0 within 30 "$PM" umount --wait "$MNT"
    reap
    equal "on the service" "$(remote_text /a.txt)" "12345"
}

@test "umount of a drive in use says so, and leaves it" {
    mount_drive
    write "$S/a.txt" "a"
    exec 7<"$S/a.txt"
    run -1 on "$PM" umount "$MNT"
    exec 7<&-
    [[ $output == *"in use"* ]]
    equal "content" "$(on cat "$S/a.txt")" "a"
}

# bats test_tags=quick
@test "umount takes a dead mount away" {
    mount_drive
    kill -9 "$DRIVE_PID"
    wait "$DRIVE_PID" || true
    run -1 on "$PM" -c "$CONF" "$MNT"
    [[ $output == *dead* || $output == *died* ]]
    run -0 on "$PM" umount "$MNT"
    DRIVE_PID=''
    start_daemon
}

documented='
    (.pid|type)=="number" and (.version|type)=="string" and (.state_dir|type)=="string" and
    (.pending|type)=="number" and (.pending_bytes|type)=="number" and (.failed|type)=="array" and
    (.uploads|type)=="array" and (.cache|type)=="object" and (.accounts|type)=="array"'

# bats test_tags=quick
@test "status --json has what is documented" {
    mount_drive upload.delay=1h
    write "$S/a \"b\" ü.txt" "12345"
    status_json >"$T/status"
    jq -e "$documented" "$T/status" >/dev/null
    jq -e '.pending==1 and .pending_bytes==5 and (.uploads|length)==1 and
        .uploads[0].path=="/s/a \"b\" ü.txt" and .uploads[0].size==5 and .uploads[0].sent==0 and
        .uploads[0].state=="queued" and (.uploads[0]|has("error"))' "$T/status" >/dev/null
    jq -e '.accounts[0].name=="s" and .accounts[0].type=="smartshape"' "$T/status" >/dev/null
    equal "pid" "$(jq .pid "$T/status")" "$DRIVE_PID"
    on jq -S 'del(.cache)' "$MNT/.polymount/status.json" >"$T/file"
    jq -S 'del(.cache)' "$T/status" | diff - "$T/file"
}

@test "status tells whether it is safe to shut down" {
    mount_drive upload.delay=1h
    run -0 on "$PM" status "$MNT"
    [[ $output == *"safe to shut down"* ]]
    write "$S/a.txt" "12345"
    run -0 on "$PM" status "$MNT"
    [[ $output != *"safe to shut down"* && $output == *a.txt* ]]
    run -0 on "$PM" status "$S/a.txt"
    [[ $output == *a.txt* ]]
}

# bats test_tags=quick
@test "status without a daemon tells what is queued from the journal" {
    mount_drive upload.delay=1h
    write "$S/a.txt" "12345"
    umount_drive
    run -0 on "$PM" status -c "$CONF"
    [[ $output == *"not mounted"* && $output == *a.txt* ]]
    run -0 on "$PM" status --json -c "$CONF"
    jq -e '.pid==null and .pending==1 and .uploads[0].size==5 and (.failed|length)==0' <<<"$output"
}

@test "status of a folder that an older polymount left says what to do" {
    mount_drive
    umount_drive
    python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("PRAGMA user_version=2")' \
        "$STATE/journal.db"
    fails_with "another version of polymount" "$PM" -c "$CONF" status
}

@test "status before the first mount says that nothing is queued" {
    write_conf
    run on "$PM" status -c "$CONF"
    equal "status, saying: $output" "$status" 0
    [[ $output == *"not mounted"* ]]
}

@test "pause holds uploads, not reading, also over a remount; status says so; resume lets them go" {
    seed_text /read.txt "read"
    mount_drive
    run -0 on "$PM" status "$MNT"
    [[ $output != *paused* ]]
    run -0 on "$PM" pause "$MNT"
    equal "content" "$(on cat "$S/read.txt")" "read"
    write "$S/a.txt" "12345"
    sleep 1.5
    equal "uploads" "$(requests upload)" 0
    equal "paused" "$(status_json | jq .paused)" true
    umount_drive
    run -0 on "$PM" status -c "$CONF"
    [[ $output == *"paused: nothing is sent until \`polymount resume\`"*"1 change (5 bytes) not on the"* ]]
    start_daemon
    sleep 1
    equal "uploads" "$(requests upload)" 0
    run -0 on "$PM" status "$MNT"
    [[ $output == *"paused: nothing is sent until \`polymount resume\`"* ]]
    run -0 on "$PM" resume "$MNT"
    wait_until 10 remote_is /a.txt size 5
    equal "paused" "$(status_json | jq .paused)" false
}

# bats test_tags=quick
@test "sync of a path sends what is below it, and leaves the rest" {
    mount_drive upload.delay=1h
    on mkdir "$S/now" "$S/later"
    write "$S/now/a.txt" "a"
    write "$S/later/b.txt" "b"
    run -0 within 20 "$PM" sync "$S/now"
    equal "a.txt" "$(remote_text /now/a.txt)" "a"
    run -0 absent /later/b.txt
    equal "pending" "$(pending)" 1
}

@test "only the mounting user may command the daemon" {
    mount_drive
    equal "mode of the socket" "$(stat -c %a "$STATE/control")" 600
    equal "mode of the state folder" "$(stat -c %a "$STATE")" 700
}

@test "polymount demo mounts samples and a service for projects, and leaves nothing behind" {
    mkdir "$T/demo"
    HOME=$T XDG_STATE_HOME=$T/st XDG_CONFIG_HOME=$T/cf run -0 within 30 "$PM" demo "$T/demo" 3>&-
    run -0 on find "$T/demo" -name 'cube.obj'
    [ -n "$output" ]
    on mkdir "$T/demo/360/house"
    on cp "$T/demo/smartshape/Samples/scan.ply" "$T/demo/360/house/"
    run -0 on "$PM" publish "$T/demo/360/house"
    [[ $output == *"published as "* ]]
    local pid
    pid=$(jq .pid "$T/demo/.polymount/status.json")
    run -0 on "$PM" umount "$T/demo"
    wait_until 10 gone "$pid"
}

# The blocks of configuration that README shows, leading to the emulator; but for the one that only its
# reader can fill in.
conf_of_readme() {
    sed -n '/^    \[account shapeways/,/^$/d; /^    \[/,/^$/s/^    //p' "$BATS_TEST_DIRNAME/../../README.md" |
        sed "s|^type = smartshape$|&\nendpoint = $URL|; s|^type = 360$|&\nendpoint = $URL_360|
            s|^type = sharemy3d$|&\nendpoint = $URL_SM3D|"
}

@test "the configuration that README shows mounts as it stands" {
    mkdir -p "$T/bin" "$T/home/.config/polymount"
    printf '#!/bin/sh\n[ "$*" = "lookup service smartshape" ] && exec echo %s\n' "$TOKEN" >"$T/bin/secret-tool"
    printf '[ "$*" = "lookup service 360" ] && exec echo %s\n' "$TOKEN_360" >>"$T/bin/secret-tool"
    printf '[ "$*" = "lookup service sharemy3d" ] && exec echo %s\n' "$TOKEN_SM3D" >>"$T/bin/secret-tool"
    chmod +x "$T/bin/secret-tool"
    (umask 077 && conf_of_readme >"$T/home/.config/polymount/polymount.conf")
    equal "accounts, cache, upload, net" "$(grep -c '^\[' "$T/home/.config/polymount/polymount.conf")" 6
    seed_text /a.txt "a"
    mount_behind env -u XDG_CONFIG_HOME -u XDG_STATE_HOME HOME="$T/home" PATH="$T/bin:$PATH" "$PM" "$MNT"
    equal "content" "$(on cat "$MNT/smartshape/a.txt")" "a"
    on mkdir "$MNT/360/house"
    write "$MNT/360/house/a.e57" "a"
    run -0 on "$PM" publish "$MNT/360/house"
    on ls "$MNT/sharemy3d/models" >/dev/null
    equal "troubles" "$(status_json | jq -c '[.accounts[].error]')" '["","",""]'
    umount_drive
}
