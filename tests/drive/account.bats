load lib

# Whose credential is it, and what if the service does not take it?

# --- tokens

base64url() {
    basenc --base64url -w0 | tr -d =
}

# jwt EMAIL SIGNATURE: a token that says whom it is for
jwt() {
    printf '%s.%s.%s' "$(printf '{"alg":"none","typ":"JWT"}' | base64url)" \
        "$(jq -n -c --arg e "$1" '{email:$e,iat:1700000000}' | tr -d '\n' | base64url)" \
        "$(printf %s "$2" | base64url)"
}

# The service takes TOKEN from now on, and no other.
service_takes() {
    option token "\"$1\""
}

# The user has TOKEN.
user_has() {
    (umask 077 && printf '%s\n' "$1" >"$T/token.new")
    mv "$T/token.new" "$T/token"
}

both_have() {
    service_takes "$1"
    user_has "$1"
}

mount_with_file() {
    mount_drive account.token= "account.token_file=$T/token" "$@"
}

account_says() {
    status_json | jq -r '.accounts[0].error'
}

paused() {
    [ "$(status_json | jq '.accounts[0].paused')" = true ]
}

says() {
    [[ $(account_says) == *"$1"* ]]
}

# Another account of the service: its tree, its token, at the same address.
change_account() {
    stop_emulator
    start_emulator "$T/emu-$1"
    service_takes "$2"
}

# What the service answered to a token that it knows, but lists: how often.
asked() {
    emu_get log | jq '[.[]|select(.authorized and .endpoint != "list")]|length'
}

# A drive that knows its account: /d/a.txt read, /d/unread.txt and /unseen only named.
know_the_account() {
    seed_text /d/a.txt "content of a"
    seed_text /d/unread.txt "not read yet"
    seed_text /unseen/x.txt "x"
    both_have "${1:-first-token}"
    mount_with_file cache.attr_timeout=200ms
    on ls "$S" "$S/d" >/dev/null
    on cat "$S/d/a.txt" >/dev/null
}

# --- a token that is refused

# bats test_tags=quick
@test "while the token is refused what is known is there, and changes are kept and go out after resume" {
    know_the_account
    service_takes second-token
    write "$S/d/b.txt" "made meanwhile"
    on mkdir "$S/made"
    wait_until 10 paused
    equal "a file read before" "$(on cat "$S/d/a.txt")" "content of a"
    equal "a known folder" "$(on ls "$S/d" | paste -sd' ')" "a.txt b.txt unread.txt"
    fails_with "Permission denied" ls "$S/unseen"
    fails_with "Permission denied" cat "$S/d/unread.txt"
    equal "pending" "$(pending)" 2
    user_has second-token
    on "$PM" resume "$MNT"
    sync_drive
    equal "b.txt" "$(remote_text /d/b.txt)" "made meanwhile"
    run -0 remote /made id
    equal "account" "$(account_says)" ""
    equal "unread.txt" "$(on cat "$S/d/unread.txt")" "not read yet"
}

# bats test_tags=quick
@test "status says that the token is refused, where it is, and what to do" {
    know_the_account
    service_takes second-token
    write "$S/d/b.txt" "waits"
    wait_until 10 paused
    run -0 on "$PM" status "$MNT"
    [[ $output == *"account s "*"token refused: the token is missing or wrong"*"$T/token"*"polymount resume"* ]]
    [[ $output == *"b.txt"*"waiting: token refused"* ]]
    [[ $(xattr "$S/d/b.txt" state) == "waiting: token refused"* ]]
    says "token refused"
    run -1 on "$PM" resume "$MNT"
    [[ $output == *"account s: token refused"* ]]
    run -1 within 20 "$PM" sync "$MNT"
    [[ $output == *"b.txt: token refused"* ]]
}

@test "a refused token is not sent again and again" {
    know_the_account
    service_takes second-token
    for i in 1 2 3 4 5; do write "$S/d/$i.txt" "$i"; done
    wait_until 10 paused
    forget_traffic
    for i in 1 2 3 4 5 6; do
        on ls "$S" "$S/d" >/dev/null
        fails_with "Permission denied" ls "$S/unseen"
        write "$S/d/more-$i.txt" "$i"
        sleep 1
    done
    at_most "requests with it" "$(requests total)" 1
    user_has second-token
    on "$PM" resume "$MNT"
    sync_drive
    equal "objects" "$(remote_count /d)" 13
}

@test "when the file has another token the account goes on by itself" {
    know_the_account
    service_takes second-token
    write "$S/d/b.txt" "by itself"
    wait_until 10 paused
    user_has second-token
    wait_until 25 nothing_pending
    equal "b.txt" "$(remote_text /d/b.txt)" "by itself"
}

@test "when the service takes the same token again the account goes on by itself" {
    know_the_account
    service_takes second-token
    write "$S/d/b.txt" "by itself"
    wait_until 10 paused
    service_takes first-token
    wait_until 40 nothing_pending
    equal "b.txt" "$(remote_text /d/b.txt)" "by itself"
}

@test "changes made while a token is refused survive a crash and a remount" {
    know_the_account
    service_takes second-token
    write "$S/d/b.txt" "kept"
    on mv "$S/d/unread.txt" "$S/d/renamed.txt"
    wait_until 10 paused
    crash_drive
    start_daemon
    write "$S/d/c.txt" "kept too"
    wait_until 10 paused
    remount
    equal "shown" "$(on ls "$S/d" | paste -sd' ')" "a.txt b.txt c.txt renamed.txt"
    user_has second-token
    sync_drive
    equal "on the service" "$(emu_get tree path=/d | jq -r '.[].path' | sort | xargs -n1 basename | paste -sd' ')" \
        "a.txt b.txt c.txt renamed.txt"
}

@test "one account's refused token does not hold up another account" {
    local second=${URL/127.0.0.1/localhost}
    both_have first-token
    write_conf account.token= "account.token_file=$T/token"
    printf '[account other]\ntype = smartshape\nendpoint = %s\ntoken = wrong-token\n' "$second" >>"$CONF"
    start_daemon
    on mkdir "$S/d"
    fails_with "Permission denied" ls "$MNT/other"
    write "$S/d/a.txt" "goes"
    wait_until 15 remote_is /d/a.txt size 4
    equal "paused" "$(status_json | jq -c '[.accounts[].paused]')" "[false,true]"
}

@test "a token command that fails pauses the account, is not run again and again, and heals" {
    know_the_account
    umount_drive
    mount_drive account.token= "account.token_command=echo x >>$T/runs; cat $T/given" cache.attr_timeout=200ms
    write "$S/d/b.txt" "waits for the command"
    wait_until 10 paused
    for i in 1 2 3 4; do
        on ls "$S" "$S/d" >/dev/null
        fails_with "Permission denied" ls "$S/unseen"
        sleep 1
    done
    at_most "runs" "$(wc -l <"$T/runs")" 2
    says "token_command"
    echo first-token >"$T/given"
    on "$PM" resume "$MNT"
    sync_drive
    equal "b.txt" "$(remote_text /d/b.txt)" "waits for the command"
}

@test "once a token is good again nothing is said against it, though nothing waits to be sent" {
    service_takes first-token
    mount_drive account.token= "account.token_command=cat $T/given"
    fails_with "Permission denied" ls "$S"
    wait_until 10 paused
    echo first-token >"$T/given"
    on "$PM" resume "$MNT"
    equal "account" "$(account_says)" ""
}

# bats test_tags=quick
@test "a token that stands in the configuration is mended there, and resume reads it again" {
    seed_text /d/a.txt "content of a"
    service_takes first-token
    mount_drive account.token=first-token
    on ls "$S" "$S/d" >/dev/null
    service_takes second-token
    write "$S/d/b.txt" "waits"
    wait_until 10 paused
    says "Mend the token in $CONF, then \`polymount resume\`"
    write_conf account.token=second-token
    chmod 644 "$CONF"
    run -1 on "$PM" resume "$MNT"
    [[ $output == *"$CONF"* && $output == *"chmod 600"* ]]
    chmod 600 "$CONF"
    on "$PM" resume "$MNT"
    sync_drive
    equal "b.txt" "$(remote_text /d/b.txt)" "waits"
    equal "account" "$(account_says)" ""
}

@test "another host's token, set in the configuration since, is not sent to this one" {
    seed_text /d/a.txt "content of a"
    service_takes first-token
    mount_drive account.token=first-token
    on ls "$S" "$S/d" >/dev/null
    service_takes second-token
    write "$S/d/b.txt" "waits"
    wait_until 10 paused
    write_conf account.token=second-token account.endpoint="${URL/127.0.0.1/localhost}"
    run -1 on "$PM" resume "$MNT"
    paused
    equal "pending" "$(pending)" 1
}

# bats test_tags=quick
@test "a token refused in the middle of an upload: the account pauses, and the upload goes on once it is mended" {
    local endpoint
    know_the_account
    random "$T/src/new.bin" 500000
    for endpoint in upload details; do
        fault "$(jq -nc --arg e "$endpoint" '{endpoint:$e,match:"new",status:401}')"
        on cp "$T/src/new.bin" "$S/d/new-$endpoint.bin"
        wait_until 10 eval '[ "$(emu_get faults | jq .[0].hits)" -gt 0 ]'
        service_takes "token-after-$endpoint"
        wait_until 20 paused
        clear_faults
        says "token refused"
        run -0 on "$PM" status "$MNT"
        [[ $output == *"new-$endpoint.bin"*"waiting: token refused"* ]]
        user_has "token-after-$endpoint"
        on "$PM" resume "$MNT"
        sync_drive 60
        equal "new-$endpoint.bin" "$(remote "/d/new-$endpoint.bin" sha256)" "$(sha256sum <"$T/src/new.bin" | cut -d' ' -f1)"
        forget_traffic
    done
    equal "objects" "$(remote_count /d)" 4
    equal "pending" "$(pending)" 0
}

# bats test_tags=quick
@test "a token that expires while the drive is offline: nothing is lost, and all goes out with the next one" {
    know_the_account
    stop_emulator
    write "$S/d/b.txt" "made offline"
    on rm "$S/d/unread.txt"
    sleep 2
    crash_drive
    start_emulator
    service_takes second-token
    start_daemon
    wait_until 15 paused
    says "token refused"
    equal "shown" "$(on ls "$S/d" | paste -sd' ')" "a.txt b.txt"
    equal "a.txt" "$(on cat "$S/d/a.txt")" "content of a"
    write "$S/d/c.txt" "made since"
    user_has second-token
    wait_until 25 account_is_well
    sync_drive
    equal "b.txt" "$(remote_text /d/b.txt)" "made offline"
    equal "c.txt" "$(remote_text /d/c.txt)" "made since"
    absent /d/unread.txt
    equal "objects" "$(remote_count /d)" 3
}

account_is_well() {
    ! paused
}

# --- another token

# bats test_tags=quick
@test "another token for the same e-mail address is the same account's" {
    know_the_account "$(jwt alice@example.com one)"
    umount_drive
    both_have "$(jwt alice@example.com two)"
    emu_post remove '{"path":"/d"}' # no known object is left in the root
    emu_post remove '{"path":"/unseen"}'
    remount
    write "$S/new.txt" "goes on"
    sync_drive
    equal "new.txt" "$(remote_text /new.txt)" "goes on"
    equal "account" "$(account_says)" ""
}

# bats test_tags=quick
@test "another token whose list has a known object is the same account's" {
    know_the_account "$(jwt alice@example.com one)"
    umount_drive
    both_have "no-jwt-at-all"
    remount
    write "$S/new.txt" "goes on"
    sync_drive
    equal "new.txt" "$(remote_text /new.txt)" "goes on"
    umount_drive
    both_have "$(jwt alice.changed@example.com one)"
    remount
    write "$S/newer.txt" "again"
    sync_drive
    equal "newer.txt" "$(remote_text /newer.txt)" "again"
}

# bats test_tags=quick
@test "another account's token: its tree gets nothing, ours is shown and waits until its own token is back" {
    know_the_account
    stop_emulator
    write "$S/d/b.txt" "for the first account"
    on rm "$S/d/unread.txt"
    umount_drive
    start_emulator "$T/emu-stranger"
    service_takes "$(jwt bob@example.com one)"
    seed_text /d/a.txt "the stranger's"
    seed_text /d/unread.txt "the stranger's"
    user_has "$(jwt bob@example.com one)"
    forget_traffic
    remount
    write "$S/d/c.txt" "for the first account, too"
    wait_until 10 paused
    equal "a.txt" "$(on cat "$S/d/a.txt")" "content of a"
    equal "shown" "$(on ls "$S/d" | paste -sd' ')" "a.txt b.txt c.txt"
    fails_with "Permission denied" ls "$S/unseen"
    run -1 within 20 "$PM" sync "$MNT"
    says "may be another account's"
    says "polymount resume --same-account s"
    run -1 on "$PM" resume "$MNT"
    equal "requests but lists" "$(asked)" 0
    equal "the stranger's tree" "$(emu_get tree path=/ | jq -c '[.[].path]|sort')" '["/d","/d/a.txt","/d/unread.txt"]'
    stop_emulator
    start_emulator
    both_have first-token
    on "$PM" resume "$MNT"
    sync_drive
    equal "b.txt" "$(remote_text /d/b.txt)" "for the first account"
    equal "c.txt" "$(remote_text /d/c.txt)" "for the first account, too"
    absent /d/unread.txt
    equal "a.txt" "$(remote_text /d/a.txt)" "content of a"
}

# bats test_tags=quick
@test "resume --same-account: the user knows better" {
    know_the_account
    umount_drive
    stop_emulator
    start_emulator "$T/emu-moved"
    both_have other-token
    seed_text /there.txt "there"
    remount
    run -1 on "$PM" resume --same-account nobody "$MNT"
    [[ $output == *nobody* ]]
    write "$S/new.txt" "goes on"
    wait_until 10 paused
    run -2 on "$PM" resume --same-account
    on "$PM" resume --same-account s "$MNT"
    sync_drive
    equal "new.txt" "$(remote_text /new.txt)" "goes on"
    wait_until 10 on test -e "$S/there.txt"
    run -1 on "$PM" resume --same-account s "$MNT"
    [[ $output == *"nobody doubts"* ]]
    remount # it is remembered
    write "$S/newer.txt" "again"
    sync_drive
    equal "newer.txt" "$(remote_text /newer.txt)" "again"
}

@test "resume --same-account just after the mount, before anything asked the service" {
    know_the_account
    umount_drive
    stop_emulator
    start_emulator "$T/emu-moved"
    both_have other-token
    remount
    on "$PM" resume --same-account s "$MNT"
    write "$S/new.txt" "goes on"
    sync_drive
    equal "new.txt" "$(remote_text /new.txt)" "goes on"
}

# A drive that knows no object, with a folder and a file made offline, and another token since then
made_offline() {
    both_have "$1"
    mount_with_file
    on ls "$S" >/dev/null
    stop_emulator
    on mkdir "$S/d"
    write "$S/d/a.txt" "made offline"
    umount_drive
    start_emulator "$T/emu-second"
    both_have "$2"
    remount
}

# bats test_tags=quick
@test "a state that knows no object of its account takes another token" {
    made_offline first-token second-token
    sync_drive
    equal "a.txt" "$(remote_text /d/a.txt)" "made offline"
}

# bats test_tags=quick
@test "what was made for one e-mail address does not go to another, unless the user says so" {
    made_offline "$(jwt alice@example.com one)" "$(jwt bob@example.com one)"
    run -1 within 20 "$PM" sync "$MNT"
    paused
    says "may be another account's"
    equal "objects" "$(remote_count /)" 0
    equal "a.txt" "$(on cat "$S/d/a.txt")" "made offline"
    on "$PM" resume --same-account s "$MNT"
    sync_drive
    equal "a.txt" "$(remote_text /d/a.txt)" "made offline"
}

@test "offline it cannot be said whose a new token is: all waits, and goes on with the service" {
    know_the_account
    umount_drive
    both_have second-token
    stop_emulator
    remount
    write "$S/d/b.txt" "waits"
    equal "a.txt" "$(on cat "$S/d/a.txt")" "content of a"
    sleep 2
    equal "pending" "$(pending)" 1
    start_emulator
    service_takes second-token
    sync_drive
    equal "b.txt" "$(remote_text /d/b.txt)" "waits"
}

@test "a token that the service changes while the drive is mounted is proved before it is used" {
    know_the_account
    stop_emulator
    start_emulator "$T/emu-stranger"
    both_have strangers-token
    write "$S/d/b.txt" "not for the stranger"
    wait_until 15 paused
    says "may be another account's"
    equal "requests but lists" "$(asked)" 0
    equal "objects" "$(remote_count /)" 0
    stop_emulator
    start_emulator
    both_have third-token # of the first account again
    on "$PM" resume "$MNT"
    sync_drive
    equal "b.txt" "$(remote_text /d/b.txt)" "not for the stranger"
}

@test "neither a token nor its plain digest is in the state folder" {
    local token
    know_the_account "$(jwt alice@example.com one)"
    write "$S/d/b.txt" "b"
    sync_drive
    token=$(cat "$T/token")
    umount_drive
    equal "token" "$(grep -r -l -a -F -- "$token" "$STATE" "$LOG" || true)" ""
    equal "digest" "$(grep -r -l -a -i -F -- "$(printf %s "$token" | sha256sum | cut -c1-40)" "$STATE" "$LOG" || true)" ""
}

# --- offline

@test "what was done offline goes out in its order: folders, files in them, renames, removals" {
    seed_text /old/keep.txt "kept"
    seed_text /old/gone.txt "to be removed"
    mount_drive upload.delete_delay=0s
    on ls "$S" "$S/old" >/dev/null
    stop_emulator
    on mkdir "$S/new" "$S/new/sub"
    write "$S/new/sub/1.txt" "one"
    write "$S/new/sub/2.txt" "two"
    on mv "$S/new/sub/1.txt" "$S/new/first.txt"
    on mv "$S/new/sub" "$S/renamed"
    write "$S/new/sub" "a file where the folder was"
    on rm "$S/old/gone.txt"
    on mkdir "$S/old/gone.txt" # a folder where the file was
    write "$S/old/gone.txt/x.txt" "x"
    on mv "$S/old/keep.txt" "$S/renamed/kept.txt"
    on mkdir "$S/brief"
    on rmdir "$S/brief"
    sleep 3
    remount
    start_emulator
    sync_drive 60
    mkdir -p "$T/want/new" "$T/want/renamed" "$T/want/old/gone.txt"
    printf %s one >"$T/want/new/first.txt"
    printf %s two >"$T/want/renamed/2.txt"
    printf %s "a file where the folder was" >"$T/want/new/sub"
    printf %s x >"$T/want/old/gone.txt/x.txt"
    printf %s kept >"$T/want/renamed/kept.txt"
    service_has "$T/want" /
    absent /brief
    equal "folders" "$(emu_get tree path=/ | jq -c '[.[]|select(.type=="dir")|.path]|sort')" \
        '["/new","/old","/old/gone.txt","/renamed"]'
}
