load lib

# Everything that a drive does, with -d, so that it could leak; the daemon stays.
use_the_drive() {
    random "$T/src/in.obj" 200000
    on cp "$T/src/in.obj" "$S/in.obj"
    on mkdir "$S/folder"
    write "$S/folder/a.txt" "text"
    sync_drive
    on rm "$S/folder/a.txt"
    fault '{"endpoint":"upload","count":1,"status":500}'
    write "$S/folder/b.txt" "text"
    sync_drive
    on ls -lR "$S" >/dev/null
}

# no_token WHAT FILE: the token, or a part long enough to be told, is not in it
no_token() {
    local part
    for part in "$TOKEN" "${TOKEN:0:60}" "${TOKEN:80:60}" "${TOKEN: -60}"; do
        if grep -q -a -F -- "$part" "$2"; then
            echo "the token is in $1" >&2
            return 1
        fi
    done
}

# bats test_tags=quick
@test "the token goes to the service and never to the host of a signed URL" {
    option download '"redirect"'
    seed '{"path":"/out.bin","size":20000000,"seed":3}'
    mount_drive
    use_the_drive
    equal "content" "$(on sha256sum <"$S/out.bin" | cut -d' ' -f1)" "$(remote /out.bin sha256)"
    run -0 test "$(requests storage)" -gt 0
    equal "breaches" "$(emu_get breaches)" "[]"
    emu_get log | jq -c '[.[]|select(.endpoint=="storage" and .authorized==true)]' >"$T/authorized"
    equal "authorized requests to it" "$(cat "$T/authorized")" "[]"
}

# bats test_tags=quick
@test "a signed URL that expires is renewed unseen" {
    emu_post options '{"download":"redirect","signed_ttl_s":1}'
    seed '{"path":"/out.bin","size":20000000,"seed":3}'
    mount_drive
    on head -c 100000 "$S/out.bin" >/dev/null
    sleep 2
    equal "content" "$(on sha256sum <"$S/out.bin" | cut -d' ' -f1)" "$(remote /out.bin sha256)"
}

@test "the token is not in ps, /proc/mounts, or the daemon's arguments and environment" {
    mount_drive
    use_the_drive
    ps axwwe | grep -a -E "$T(/| |\$)" >"$T/ps" # of this test: tokens of others begin the same
    grep -q -a -F -- "$PM -c $CONF" "$T/ps"
    no_token "ps" "$T/ps"
    no_token "/proc/mounts" /proc/mounts
    no_token "/proc/self/mountinfo" /proc/self/mountinfo
    no_token "cmdline" "/proc/$DRIVE_PID/cmdline"
    no_token "environ" "/proc/$DRIVE_PID/environ"
}

# bats test_tags=quick
@test "the token is not in the log, not even with -d and with errors" {
    option download '"redirect"'
    mount_drive
    use_the_drive
    fault '{"endpoint":"list","count":5,"status":401}'
    on ls "$S/folder" >/dev/null 2>&1 || true
    clear_faults
    umount_drive
    no_token "the log" "$LOG"
    run ! grep -a -i -E 'authorization|bearer|[?&](sig|signature|token|expires)=' "$LOG"
}

@test "the token is in no file of the state folder, nor anything the drive shows" {
    mount_drive
    use_the_drive
    on "$PM" status "$MNT" >"$T/status"
    on "$PM" status --json "$MNT" >>"$T/status"
    on cat "$MNT/.polymount/metrics" "$MNT/.polymount/status.json" >>"$T/status"
    no_token "what status says" "$T/status"
    umount_drive
    equal "files of the state folder with it" "$(grep -r -l -a -F -- "${TOKEN:0:60}" "$STATE" || true)" ""
    equal "files with it" "$(grep -r -l -a -F --exclude-dir=emu -- "$TOKEN" "$T" | sort)" \
        "$(printf '%s\n' "$CONF" "$T/emu.json")"
}

@test "no core dump of the daemon is made" {
    mount_drive
    equal "core limit" "$(awk '/^Max core file size/ { print $5 }' "/proc/$DRIVE_PID/limits")" 0
}

@test "a configuration with a secret that others can read is refused" {
    write_conf
    chmod 644 "$CONF"
    run -1 on "$PM" -c "$CONF" "$MNT"
    [[ $output == *"$CONF"* && $output == *"chmod"* || $output == *"read"* ]]
    chmod 600 "$CONF"
}

# bats test_tags=quick
@test "a token from a command, a file or the environment works" {
    printf '%s\n' "$TOKEN" >"$T/secret"
    chmod 600 "$T/secret"
    mount_drive account.token= "account.token_command=cat $T/secret"
    write "$S/a.txt" "by command"
    sync_drive
    umount_drive
    mount_drive account.token= "account.token_file=$T/secret"
    write "$S/b.txt" "by file"
    sync_drive
    umount_drive
    export DRIVE_TEST_TOKEN=$TOKEN
    mount_drive account.token= "account.token_env=DRIVE_TEST_TOKEN"
    write "$S/c.txt" "by environment"
    sync_drive
    equal "on the service" "$(remote_text /a.txt), $(remote_text /b.txt), $(remote_text /c.txt)" \
        "by command, by file, by environment"
}

@test "a command that gives the token slowly holds up neither the mount nor what is known" {
    printf '%s\n' "$TOKEN" >"$T/secret"
    mount_drive account.token= "account.token_command=sleep 4; cat $T/secret"
    within 2 ls "$MNT" >/dev/null
    write "$S/a.txt" "later"
    sync_drive
    equal "a.txt" "$(remote_text /a.txt)" "later"
}
