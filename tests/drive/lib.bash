# Helpers of the drive's tests: a strict service (the emulator), a real mount, and an end that leaves
# nothing behind. Each test has its own emulator, state folder and mount point in $T and may use:
#
#   $PM $EMU       the programs              $MNT $S      the mount point, the account's folder in it
#   $CTL           the control interface     $CONF $STATE configuration, state folder
#   $URL $TOKEN    SmartShape                $URL_360 $TOKEN_360 360-for-you
#                                            $URL_SM3D $TOKEN_SM3D ShareMy3D
#                                            $URL_SW $KEY_SW $SECRET_SW $TOKEN_SW $TOKEN_SECRET_SW Shapeways
#   $DRIVE_PID     the daemon's process      $LOG         what it said, with -d
#   $SLOW          how many times as long as usual a program may take here, for limits of time
#
# Whatever touches the mount runs under `within SECONDS` or `on` (20 s): only a hang lasts longer.

bats_require_minimum_version 1.5.0

PM_BUILD=${PM_BUILD:-$BATS_TEST_DIRNAME/../../build}
PM=$PM_BUILD/polymount
EMU=$PM_BUILD/polymount-emulator
SLOW=1

setup() {
    new_place
    start_emulator
}

new_place() {
    T=$BATS_TEST_TMPDIR
    MNT=$T/mnt S=$T/mnt/s STATE=$T/state CONF=$T/conf LOG=$T/log
    DRIVE_PID='' EMU_PID='' CONF_KEYS=() ACCOUNTS=()
    mkdir -p "$MNT" "$T/emu" "$T/src"
    export LC_ALL=C.UTF-8
    if sanitized; then
        SLOW=3
        expect_reports
    fi
}

# --- running things -----------------------------------------------------------------------------

within() {
    timeout -k 5 "$@"
}

on() {
    timeout -k 5 20 "$@"
}

# fails_with TEXT COMMAND...: it must fail and say so.
fails_with() {
    local text=$1 said status=0
    shift
    said=$(on "$@" 2>&1) || status=$?
    if [ "$status" -eq 0 ] || [ "$status" -eq 124 ] || [[ $said != *"$text"* ]]; then
        echo "status $status, said: $said; expected to fail with: $text" >&2
        return 1
    fi
}

# wait_until SECONDS COMMAND... Looks more rarely after a while: looking is what costs.
wait_until() {
    local end=$((SECONDS + $1 * SLOW)) looks=0
    shift
    until "$@"; do
        if [ "$SECONDS" -ge "$end" ]; then
            echo "did not come true: $*" >&2
            return 1
        fi
        if [ $((++looks)) -le 20 ]; then sleep 0.05; else sleep 0.15; fi
    done
}

# The process has ended with all its threads (the first may be gone while others still hold its
# files), whether or not anybody has waited for it.
gone() {
    ! grep -q -s '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1"/task/*/status
}

# equal WHAT GOT EXPECTED
equal() {
    [ "$2" = "$3" ] && return
    echo "$1: got '$2', expected '$3'" >&2
    return 1
}

# at_most WHAT GOT LIMIT
at_most() {
    [ "$2" -le "$3" ] && return
    echo "$1: $2 is more than $3" >&2
    return 1
}

# write PATH TEXT: makes the file, or its content another.
write() {
    printf %s "$2" | on dd of="$1" bs=64K status=none
}

append() {
    printf %s "$2" | on dd of="$1" bs=64K oflag=append conv=notrunc status=none
}

random() {
    head -c "$2" /dev/urandom >"$1"
}

inode() {
    on stat -c %i -- "$1"
}

mtime() {
    on stat -c %.9Y -- "$1"
}

# xattr PATH NAME: the value of user.polymount.NAME
xattr() {
    on getfattr --absolute-names --only-values -n "user.polymount.$2" -- "$1" 2>/dev/null
}

# With sanitizers the daemon's memory says nothing.
sanitized() {
    grep -q -a -E '__(a|t)san_init' "$PM"
}

# Every process of the test, detached or not, writes what its sanitizer finds below $T/reports, where
# teardown looks; 99 is an exit status that nothing else has. What gcc's UBSan says it says to
# standard error whatever it is told: teardown looks there, too. (run.sh
# finds out whether leaks can be looked for.)
expect_reports() {
    local common="log_path=$T/reports/report:exitcode=99:print_stacktrace=1"
    mkdir -p "$T/reports"
    chmod 1777 "$T/reports"
    export ASAN_OPTIONS="$common:detect_leaks=${PM_FIND_LEAKS:-1}:detect_stack_use_after_return=1"
    ASAN_OPTIONS+=":strict_string_checks=1"
    export UBSAN_OPTIONS="$common:halt_on_error=1"
    export LSAN_OPTIONS="$common"
    export TSAN_OPTIONS="$common:second_deadlock_stack=1:history_size=4"
}

# --- the emulator -------------------------------------------------------------------------------

# start_emulator [DIR]: starts it; again on the same data and ports if it ran before. With another DIR
# it is another account of the same service.
start_emulator() {
    local ready=$T/emu.json data=${1:-$T/emu} storage
    rm -f "$ready"
    mkdir -p "$data"
    "$EMU" --data "$data" ${EMU_PORTS[@]+"${EMU_PORTS[@]}"} >"$ready" 2>>"$T/emu.log" 3>&- &
    EMU_PID=$!
    wait_until 10 said_or_gone "$ready" "$EMU_PID"
    if [ ! -s "$ready" ]; then
        cat "$T/emu.log" >&2
        return 1
    fi
    read -r CTL URL TOKEN URL_360 TOKEN_360 URL_SM3D TOKEN_SM3D URL_SW KEY_SW SECRET_SW TOKEN_SW \
        TOKEN_SECRET_SW storage < <(
            jq -r '[.control, .smartshape, .token, .three_sixty, .three_sixty_token, .sharemy3d,
                .sharemy3d_token, .shapeways, .shapeways_key, .shapeways_secret, .shapeways_token,
                .shapeways_token_secret, .storage]|join(" ")' "$ready"
        )
    EMU_PORTS=(--api "$(port_of "$URL")" --storage "$(port_of "$storage")")
}

said_or_gone() {
    [ -s "$1" ] || gone "$2"
}

port_of() {
    local rest=${1##*:}
    echo "${rest%%/*}"
}

stop_emulator() {
    [ -n "$EMU_PID" ] || return 0
    kill -CONT "$EMU_PID" 2>/dev/null || true
    kill "$EMU_PID" 2>/dev/null || true
    wait_until 5 gone "$EMU_PID" 2>/dev/null || kill -9 "$EMU_PID" 2>/dev/null || true
    wait "$EMU_PID" 2>/dev/null || true
    EMU_PID=''
}

kill_emulator() {
    kill -9 "$EMU_PID"
    wait "$EMU_PID" 2>/dev/null || true
    EMU_PID=''
}

# emu_get CALL [KEY=VALUE...]: values are encoded
emu_get() {
    local call=$1 args=() pair
    shift
    for pair; do args+=(--data-urlencode "$pair"); done
    curl -sS --fail-with-body -m 30 -G "${args[@]}" "$CTL/$call"
}

# emu_post CALL JSON
emu_post() {
    curl -sS --fail-with-body -m 30 -X POST -H 'Content-Type: application/json' --data-binary "$2" \
        "$CTL/$1" >/dev/null
}

emu_delete() {
    curl -sS --fail-with-body -m 30 -X DELETE "$CTL/$1" >/dev/null
}

fault() {
    emu_post faults "$1"
}

clear_faults() {
    emu_delete faults
}

# option NAME JSON-VALUE
option() {
    emu_post options "{\"$1\":$2}"
}

seed() {
    emu_post seed "$1"
}

# A file on the service: seed_text PATH TEXT
seed_text() {
    seed "$(jq -n --arg p "$1" --arg t "$2" '{path:$p,text:$t}')"
}

# What the service has of one: remote PATH MEMBER (id, size, sha256, state, updated); fails without
remote() {
    emu_get file "path=$1" | jq -e -r ".$2"
}

remote_is() {
    [ "$(remote "$1" "$2" 2>/dev/null)" = "$3" ]
}

remote_text() {
    emu_get content "path=$1"
}

absent() {
    ! emu_get file "path=$1" >/dev/null 2>&1
}

# How many objects the service has in and below a folder: files and folders.
remote_count() {
    emu_get tree "path=$1" | jq length
}

# settled [PATH]: no object is queued or converting any more
settled() {
    local path
    while IFS= read -r path; do
        case $(remote "$path" state) in
        queued | converting | copying) return 1 ;;
        esac
    done < <(emu_get tree "path=${1:-/}" | jq -r '.[]|select(.type=="file")|.path')
}

# --- counting traffic ---------------------------------------------------------------------------

forget_traffic() {
    emu_delete log
}

# requests ENDPOINT [TEXT]: how many, of those whose path holds TEXT; ENDPOINT may be total
requests() {
    emu_get log/summary "match=${2:-}" | jq -r ".$1 // 0"
}

# Bytes of content that left the service. The emulator writes a download's figures when it is over.
bytes_out() {
    emu_get log/summary "match=${1:-}" | jq -r '[.bytes_out.download, .bytes_out.storage]|add // 0'
}

# --- digests ------------------------------------------------------------------------------------

# Lines as sha256sum's of all files below a folder (-z: without its escapes)
digest_of() {
    (cd "$1" && find . -type f -printf '%P\0' | LC_ALL=C sort -z |
        xargs -0 -r sha256sum -z -- | tr '\0' '\n')
}

# The service holds at PATH exactly what is in the local folder DIR.
service_has() {
    local dir=$1 path=$2
    digest_of "$dir" >"$T/expected"
    emu_get digest "path=$path" >"$T/held"
    diff -u "$T/expected" "$T/held" >&2
}

# --- the drive ----------------------------------------------------------------------------------

# write_conf [SECTION.KEY=VALUE...]; an empty value leaves a key out
write_conf() {
    local -A cache=([dir]=$STATE [min_free]=50M) upload=([delay]=200ms) net=()
    local -A account=([type]=smartshape [endpoint]=$URL [token]=$TOKEN)
    local pair section
    for pair; do
        local -n table=${pair%%.*}
        pair=${pair#*.}
        table[${pair%%=*}]=${pair#*=}
    done
    (umask 077 && : >"$CONF.new")
    for section in cache upload net account; do
        local -n table=$section
        [ $section = account ] && section="account s"
        echo "[$section]"
        for pair in "${!table[@]}"; do
            [ -z "${table[$pair]}" ] || echo "$pair = ${table[$pair]}"
        done
    done >"$CONF.new"
    for section in ${ACCOUNTS[@]+"${ACCOUNTS[@]}"}; do # more of the same service
        printf '[account %s]\ntype = smartshape\nendpoint = %s\ntoken = %s\n' "$section" "$URL" "$TOKEN"
    done >>"$CONF.new"
    mv "$CONF.new" "$CONF"
}

mounted() {
    on test -e "$MNT/.polymount/status.json"
}

# mount_drive [SECTION.KEY=VALUE...]: in the foreground of a job of ours, so that its end is seen
mount_drive() {
    CONF_KEYS=("$@")
    write_conf "$@"
    start_daemon
}

start_daemon() {
    "$PM" -c "$CONF" -d -f "$MNT" >>"$LOG" 2>&1 3>&- &
    DRIVE_PID=$!
    wait_until 10 usable_or_dead
    if gone "$DRIVE_PID"; then
        echo "the daemon has ended:" >&2
        tail -20 "$LOG" >&2
        return 1
    fi
}

usable_or_dead() {
    gone "$DRIVE_PID" || mounted
}

# The daemon knows of every close: the kernel tells it of the last one a moment after the program has
# gone on, and what a crash overtakes there is due at once, whatever the delay.
closes_seen() {
    equal "open entries" "$(sqlite3 "$STATE/journal.db" ".timeout 5000" \
        "SELECT count(*) FROM entry WHERE not_before=9223372036854775807")" 0 2>/dev/null
}

# mount_behind COMMAND...: it returns, and the daemon that it leaves is ours to end.
mount_behind() {
    on "$@" 3>&-
    DRIVE_PID=$(on jq .pid "$MNT/.polymount/status.json")
}

# The daemon has ended by itself, and well.
reap() {
    local pid=$DRIVE_PID status=0
    [ -n "$pid" ] || return 0
    if ! wait_until 25 gone "$pid"; then
        echo "the daemon does not end" >&2
        return 1
    fi
    DRIVE_PID=''
    wait "$pid" 2>/dev/null || status=$?
    [ "$status" -eq 127 ] && status=0 # not a child of ours: started in the background
    equal "exit status of the daemon" "$status" 0
}

alive() {
    [ -n "$DRIVE_PID" ] && ! gone "$DRIVE_PID"
}

umount_drive() {
    alive || {
        echo "the daemon is dead" >&2
        return 1
    }
    within 40 "$PM" umount "$MNT"
    reap
}

# The daemon dies as in a crash; what is left of the mount is taken away.
crash_drive() {
    disown "$DRIVE_PID" # or the shell would tell of its end
    kill -9 "$DRIVE_PID"
    wait_until 5 gone "$DRIVE_PID"
    DRIVE_PID=''
    umount -l "$MNT"
}

remount() {
    [ -z "$DRIVE_PID" ] || umount_drive
    write_conf ${CONF_KEYS[@]+"${CONF_KEYS[@]}"}
    start_daemon
}

# With an empty cache: only the service knows anything.
remount_cold() {
    umount_drive
    rm -rf "$STATE"
    remount
}

# sync_drive [SECONDS]: shows what it said only if it fails
sync_drive() {
    local status=0
    within "${1:-30}" "$PM" sync "$MNT" >"$T/sync.out" 2>&1 || status=$?
    [ "$status" -eq 0 ] || uniq "$T/sync.out" | tail -n 20 >&2
    return "$status"
}

status_json() {
    on "$PM" status --json "$MNT"
}

pending() {
    status_json | jq .pending
}

nothing_pending() {
    [ "$(pending)" = 0 ]
}

# Most memory that the daemon ever had resident, in KiB
peak_rss() {
    awk '/^VmHWM:/ { print $2 }' "/proc/$DRIVE_PID/status"
}

# Bytes of content kept in the state folder
stored_bytes() {
    du -s -B1 "$STATE" | cut -f1
}

# --- the end ------------------------------------------------------------------------------------

teardown() {
    local bad=0
    [ -z "$EMU_PID" ] || kill -CONT "$EMU_PID" 2>/dev/null || true
    [ -n "${BATS_TEST_COMPLETED:-}" ] || show_failure
    if [ -n "$EMU_PID" ] && ! gone "$EMU_PID"; then
        emu_delete faults || true
    fi
    end_drive || bad=1
    check_breaches || bad=1
    [ "$bad" = 0 ] || [ -z "${BATS_TEST_COMPLETED:-}" ] || show_failure
    stop_emulator
    no_reports || bad=1
    rm -rf --one-file-system "${T:?}"/* || bad=1
    return "$bad"
}

show_failure() {
    echo "--- the end of the daemon's log" >&2
    grep -v -E 'debug: .*: 20[0-9], ' "$LOG" 2>/dev/null | tail -n 20 >&2 || true
    echo "--- the end of the emulator's log" >&2
    tail -n 5 "$T/emu.log" >&2 2>/dev/null || true
    [ -n "$EMU_PID" ] && ! gone "$EMU_PID" || return 0
    emu_get log | jq -r '.[-20:][] | "\(.t_ms) ms +\(.ms): \(.endpoint) \(.path)\(.query) \(.range): \(.status)"' \
        >&2 || true
}

# It must be alive until it is told to go, and then go well; nothing stays mounted.
end_drive() {
    local bad=0
    if [ -n "$DRIVE_PID" ]; then
        if alive; then
            within 30 "$PM" umount "$MNT" >/dev/null || bad=1
        else
            echo "the daemon is dead" >&2
        fi
        [ "$bad" = 0 ] && { reap || bad=1; }
    fi
    if [ -n "$DRIVE_PID" ]; then # as a last resort
        gone "$DRIVE_PID" || echo "the daemon hangs" >&2
        kill -9 "$DRIVE_PID" 2>/dev/null || true
        wait "$DRIVE_PID" 2>/dev/null || true
    fi
    while grep -q " $MNT fuse" /proc/self/mounts; do
        bad=1
        echo "not unmounted" >&2
        umount -l "$MNT" || break
    done
    return "$bad"
}

no_reports() {
    local bad=0 file
    for file in "$T"/reports/*; do
        [ -s "$file" ] || continue
        cat "$file" >&2
        bad=1
    done
    if grep -s -a -h -A 20 -E '(Address|Thread|Leak)Sanitizer|runtime error:' "$LOG" "$STATE"/log* "$T/emu.log" >&2; then
        bad=1
    fi
    return "$bad"
}

check_breaches() {
    local said
    [ -n "$EMU_PID" ] || return 0
    if gone "$EMU_PID"; then
        echo "the emulator is dead" >&2
        return 1
    fi
    said=$(emu_get breaches) || return 1
    equal "breaches of the service's rules" "$said" "[]"
}
