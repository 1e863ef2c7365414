load lib

# The nth call in the state folder fails, at work with the programs people use (tests/unit/test_inject.c
# does the same to the cache alone, and to more kinds of calls). PM_INJECT_ROUNDS says how many n of each
# kind there are at most, from 1 on until none fails; a few, spread, without it.

setup() {
    new_place
    sanitized && skip "the sanitizers want the same calls"
    start_emulator
    option convert_ms 20
    random "$T/src/big" 300000
    export PM_INJECT='' PM_INJECT_IN=$STATE PM_INJECT_ARM=$T/arm PM_INJECT_TOLD=$T/told
    FAILED_CALLS=0
}

# start_injected KIND:N:ERRNO[:on]
start_injected() {
    write_conf upload.delay=50ms upload.delete_delay=100ms
    PM_INJECT=$1
    LD_PRELOAD=$PM_BUILD/inject.so "$PM" -c "$CONF" -f "$MNT" >>"$LOG" 2>&1 3>&- &
    DRIVE_PID=$!
    wait_until 10 usable_or_dead
    alive
    on ls "$D" >/dev/null
    touch "$T/arm"
}

# try COMMAND...: succeeds, or says what the calls fail with.
try() {
    local said
    said=$(on "$@" 2>&1) && return
    if [[ $said != *"$WHY"* ]]; then
        echo "# $PM_INJECT: $*: $said" >&2
        touch "$T/untrue"
    fi
    return 1
}

# may NAME TEXT...: what NAME may be afterwards, "-": absent
declare -gA MAY
may() {
    local name=$1
    shift
    MAY[$name]=" $* "
}

work() {
    try cp "$T/src/big" "$D/big" && may big big || may big "-" part big # the close itself may be what failed
    if [[ ${MAY[big]} = " big " ]]; then
        try mv "$D/big" "$D/moved" && { may moved big; may big "-"; }
    fi
    try rm "$D/gone" && may gone "-"
    try mkdir "$D/sub" && { try cp "$T/src/new" "$D/sub/in" && may sub/in new || may sub/in "-" part new; }
    try cp "$T/src/new" "$D/old" && may old new || may old old part new
    if try cp "$T/src/new" "$D/.tmp.AbCdEf"; then
        try mv "$D/.tmp.AbCdEf" "$D/over" && may over new || may .tmp.AbCdEf new
    else
        may .tmp.AbCdEf "-" part new
    fi
    try truncate -s 3 "$D/cut" && may cut cut || may cut old cut
    within 5 "$PM" sync --timeout 1s "$MNT" >/dev/null 2>&1 || true
    try cat "$D/base" >/dev/null || true
}

# What NAME is, as a word of may
word() {
    if [ ! -e "$D/$1" ]; then
        echo -
    elif on cmp -s "$D/$1" "$T/src/big"; then
        echo big
    elif on cmp -s "$D/$1" "$T/src/new"; then
        echo new
    elif on cmp -s "$D/$1" "$T/src/old"; then
        echo old
    elif on cmp -s "$D/$1" "$T/src/cut"; then
        echo cut
    elif on cmp -s -n "$(stat -c %s "$D/$1")" "$D/$1" "$T/src/big" ||
        on cmp -s -n "$(stat -c %s "$D/$1")" "$D/$1" "$T/src/new"; then
        echo part
    else
        echo other
    fi
}

all_is_well() {
    local name is
    for name in "${!MAY[@]}"; do
        is=$(word "$name")
        if [[ ${MAY[$name]} != *" $is "* ]]; then
            echo "$PM_INJECT: $name is $is, may be ${MAY[$name]}" >&2
            return 1
        fi
    done
    rm -rf "$T/shown"
    cp -r "$D" "$T/shown"
    rm -f "$T/shown/.tmp.AbCdEf" # stays local
    service_has "$T/shown" "/$1"
}

# one_call KIND:N:ERRNO[:on]: 0, and FAILED_CALLS grows if there was such a call
one_call() {
    local dir=r$RANDOM$RANDOM name ends=0
    D=$S/$dir
    case $1 in
    *:28*) WHY='No space left on device' ;;
    *) WHY='Input/output error' ;;
    esac
    printf 'a new text' >"$T/src/new"
    printf 'the old text' >"$T/src/old"
    printf 'the' >"$T/src/cut"
    MAY=()
    for name in old gone over cut base; do
        seed_text "/$dir/$name" 'the old text'
        may $name old
    done
    rm -rf "$T/arm" "$T/told" "$STATE"
    start_injected "$1"
    work
    umount_injected
    [ -e "$T/told" ] && FAILED_CALLS=$((FAILED_CALLS + 1))
    mount_drive upload.delay=50ms upload.delete_delay=100ms
    on ls "$D" >/dev/null
    on "$PM" retry "$MNT" >/dev/null 2>&1 || true # often there is nothing
    sync_drive
    all_is_well "$dir"
    umount_drive
    [ ! -e "$T/untrue" ]
}

# It ends by itself: no signal.
umount_injected() {
    local status=0
    alive || {
        tail -20 "$LOG" >&2
        echo "$PM_INJECT: the daemon is dead" >&2
        return 1
    }
    within 40 "$PM" umount "$MNT" >/dev/null 2>&1 || fusermount3 -u "$MNT"
    wait_until 25 gone "$DRIVE_PID"
    wait "$DRIVE_PID" || status=$?
    DRIVE_PID=''
    at_most "exit status of the daemon, $PM_INJECT" "$status" 1
}

# calls_of KIND ERRNO[:on] N...: without PM_INJECT_ROUNDS these n, else all up to it
calls_of() {
    local kind=$1 how=$2 n
    shift 2
    if [ -z "${PM_INJECT_ROUNDS:-}" ]; then
        for n; do one_call "$kind:$n:$how"; done
        return
    fi
    for ((n = 1; n <= PM_INJECT_ROUNDS; n++)); do
        one_call "$kind:$n:$how"
        [ -e "$T/told" ] || break
    done
    echo "# $kind:$how: $((n - 1)) calls" >&3
}

@test "a full disk, met at any write, loses nothing and is told" {
    calls_of write 28 9 120
    calls_of write 28:on 30
    [ "$FAILED_CALLS" -gt 0 ]
}

@test "a disk that fails, at any call, loses nothing and is told" {
    calls_of write 5 40
    calls_of sync 5 1
    calls_of open 5 3
    calls_of size 5 2
    calls_of unlink 5 1
    calls_of rename 5
    [ "$FAILED_CALLS" -gt 0 ]
}

@test "a daemon killed while it first looks at its own mount ends, and the next one mounts" {
    write_conf
    touch "$T/arm"
    PM_INJECT=answer:1:0 LD_PRELOAD=$PM_BUILD/inject.so "$PM" -c "$CONF" -f "$MNT" >>"$LOG" 2>&1 3>&- &
    DRIVE_PID=$!
    wait_until 10 test -e "$T/told"
    kill -9 "$DRIVE_PID"
    wait "$DRIVE_PID" || true
    DRIVE_PID=''
    fusermount3 -u -z "$MNT"
    mount_drive
    on ls "$S" >/dev/null
    umount_drive
}
