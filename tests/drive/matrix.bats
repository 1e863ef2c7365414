load lib

# Every fault that the emulator can make, on every call that the drive makes. A cell has a folder of
# its own, /KIND.CALL, and all cells of a test go through one mount and one daemon. A cell whose fault
# was never met fails.

HTML='<html><head><title>Sorry, try again</title></head><body>Bad gateway</body></html>'

declare -gA KINDS=(
    [s400]='"status":400' [s402]='"status":402' [s403]='"status":403' [s404]='"status":404'
    [s409]='"status":409' [s429]='"status":429' [s500]='"status":500' [s503]='"status":503'
    [s401]='"status":401' [held429]='"status":429,"retry_after":1'
    [held503]='"status":503,"retry_after":1'
    [gateway]="\"status\":502,\"body\":\"$HTML\",\"header\":\"Content-Type: text/html\""
    [portal]="\"status\":200,\"body\":\"$HTML\",\"header\":\"Content-Type: text/html\""
    [page]="\"body\":\"$HTML\",\"header\":\"Content-Type: text/html\""
    [refused]='"status":200,"body":"{\"success\":false}"'
    [before]='"reset":"before"' [after]='"reset":"after"' [during]='"reset":"during","reset_at":100'
    [cut]='"cut":5' [longer]='"wrong_length":100' [shorter]='"wrong_length":-3'
    [garbage]='"garbage":true' [empty]='"body":""' [null]='"body":"null"'
    [other]='"body":"[17,\"text\",{\"id\":{},\"name\":[]}]"'
    [elsewhere]='"status":302,"header":"Location: STORAGE/smartshape/elsewhere"'
    [slow]='"delay_ms":1200'
    [silent]='"stall":0' [half]='"stall":5' [deaf]='"stall_in":100'
)
BRIEF=(s400 s402 s403 s404 s409 s429 s500 s503 gateway portal page refused before after during cut
    longer shorter garbage empty null other elsewhere slow)
HELD=(held429 held503)
STALLED=(silent half deaf)

# Calls that change something: which is faulted, and on what in the cell. Before an update and before
# a removal the object is looked at (check, gone), before rmdir the list (look); after an upload the
# object (confirm); of a file that is not here, and is written to in part, the rest comes first; a
# rename is a copy, looks at it, and the removal of the source.
declare -gA CHANGES=(
    [mkdir]='mkdir new' [upload]='upload new.txt' [confirm]='details new.txt'
    [update]='update old000001.bin' [check]='details old000001.bin'
    [delete]='delete old000001.bin' [gone]='details old000001.bin'
    [rmdir]='delete sub' [look]='list sub' [rest]='download old000001.bin'
    [copy]='copy old000001.bin' [poll]='details moved.bin' [source]='delete old000001.bin'
)
declare -gA READS=([list]='list ' [download]='download old000001.bin' [range]='download old000001.bin')

setup() {
    new_place
    start_emulator
    STORAGE=$(jq -r .storage "$T/emu.json")
    option max_connections 500
}

# batch CALL: posts each line of its input to the control interface, in one go
batch() {
    sed -e 's/[\\"]/\\&/g' \
        -e "s|.*|next\nurl = \"$CTL/$1\"\nheader = \"Content-Type: application/json\"\noutput = \"/dev/null\"\ndata = \"&\"|" |
        sed 1d >"$T/batch"
    curl -sS --fail-early --fail -K "$T/batch"
}

# cells TABLE KIND...: those that make sense
cells() {
    local -n calls=$1
    local kind call
    shift
    for kind; do
        for call in "${!calls[@]}"; do
            case $kind.$call in
            during.up* | deaf.up*) ;;
            during.* | deaf.*) continue ;; # nothing else has a body
            longer.li* | longer.look | shorter.li* | shorter.look) continue ;; # lists tell no length
            esac
            echo "$kind.$call"
        done
    done | sort
}

# What the service has in a cell beforehand.
make_cells() {
    local cell
    for cell; do
        case $cell in
        *.mkdir | *.upload | *.confirm) echo "{\"dir\":\"/$cell\"}" ;;
        *.rmdir | *.look) echo "{\"dir\":\"/$cell/sub\"}" ;;
        *) echo "{\"dir\":\"/$cell\",\"count\":1,\"size\":${SIZE:-70},\"prefix\":\"old\"}" ;;
        esac
    done | batch seed
}

# order_faults TABLE COUNT CELL...
order_faults() {
    local -n where=$1
    local count=$2 cell endpoint name
    shift 2
    for cell; do
        read -r endpoint name <<<"${where[${cell#*.}]}"
        echo "{${KINDS[${cell%.*}]},\"endpoint\":\"$endpoint\",\"match\":\"/$cell${name:+/$name}\",\"count\":$count}"
    done | sed "s|STORAGE|$STORAGE|" | batch faults
}

all_met() {
    [ "$(emu_get faults | jq -c '.[]|select(.hits==0)')" = "" ]
}

words() {
    echo "words for $1, and so many of them that a body of them may be cut in its midst, by a fault"
}

# The user's operation that makes the call: answered at once, 0.
change() {
    local dir
    dir=$(place_of "$1")
    case $1 in
    *.mkdir) mkdir "$dir/new" ;;
    *.upload | *.confirm) words "$1" >"$dir/new.txt" ;;
    *.update | *.check) words "$1" >"$dir/old000001.bin" ;;
    *.rest) words "$1" >>"$dir/old000001.bin" ;;
    *.delete | *.gone) rm "$dir/old000001.bin" ;;
    *.rmdir | *.look) rmdir "$dir/sub" ;;
    *.copy | *.poll | *.source) mv "$dir/old000001.bin" "$dir/moved.bin" ;;
    esac
}

# What becomes of it. A 400 is for good: failed, or the removal or rename is dropped, and status or the
# file's attribute says why. A 404 is believed, though here it is a lie, but for a copy's, whose source is
# seen to be there; all else heals.
outcome() {
    case $1 in
    s400.delete | s400.gone | s400.rmdir | s400.look) echo dropped ;;
    s400.copy | s400.poll | s400.source) echo told ;;
    s400.*) echo failed ;;
    s404.check | s404.rest | s404.delete | s404.gone | s404.rmdir | s404.look | s404.source) echo lied ;;
    *) echo heals ;;
    esac
}

# The digest of what the user made of a file.
sum_of() {
    case $1 in
    *.rest) { cat "$T/old" && words "$1"; } ;;
    *) words "$1" ;;
    esac | sha256sum | cut -d' ' -f1
}

# lines as of sha256sum: what a cell has in the end
expected() {
    case $(outcome "$1").$1 in
    dropped.*.rmdir | dropped.*.look | *.mkdir) ;;
    dropped.*) echo "$OLD  $1/old000001.bin" ;;
    heals.*.delete | heals.*.gone | heals.*.rmdir | heals.*.look) ;;
    heals.*.upload | heals.*.confirm) echo "$(sum_of "$1")  $1/new.txt" ;;
    heals.*.update | heals.*.check | heals.*.rest) echo "$(sum_of "$1")  $1/old000001.bin" ;;
    heals.*) echo "$OLD  $1/moved.bin" ;;
    esac
}

# A cell in which a lie was told: what the user made is there, under whatever name.
nothing_lost() {
    local sum=$OLD
    case $1 in
    *.rmdir | *.look | *.delete | *.gone) return 0 ;;
    *.mkdir) return 1 ;;
    *.upload | *.confirm | *.update | *.check | *.rest) sum=$(sum_of "$1") ;;
    esac
    grep -q -F "$sum  $1/" "$T/there" && return
    echo "lost: $1" >&2
    return 1
}

# failed PATH: told as failed, with the reason
is_failed() {
    jq -e --arg p "/s/$1/" '.failed[]|select(.path|startswith($p))|.error|length>0' "$T/status" >/dev/null
}

# The account's folder through which a cell is used: a refused token rests, so each of those has its own.
place_of() {
    case $1 in
    s401.*) echo "$MNT/${1#*.}/$1" ;;
    *) echo "$S/$1" ;;
    esac
}

# shows_truth CELL: what the drive shows of it is what the service has
shows_truth() {
    diff <(digest_of "$(place_of "$1")") <(sed -n "s|  $1/|  |p" "$T/there") >&2 && return
    echo "the drive shows another $1 than the service has" >&2
    return 1
}

kept_and_told() {
    case $1 in
    *.mkdir) [ -d "$(place_of "$1")/new" ] ;;
    *) [ "$(sha256sum <"$(echo "$(place_of "$1")"/*.*)" | cut -d' ' -f1)" = "$(sum_of "$1")" ] ;;
    esac && is_failed "$1"
}

# Every cell of the test is as it must be.
check_cells() {
    local cell bad=0
    emu_get digest path=/ >"$T/there"
    for cell; do
        case $(outcome "$cell") in
        lied) nothing_lost "$cell" ;;
        failed) kept_and_told "$cell" ;;
        told) is_failed "$cell" || [ -n "$(xattr "$S/$cell/old000001.bin" error)" ] ;;
        dropped | heals) diff <(expected "$cell") <(grep -F "  $cell/" "$T/there") >&2 && shows_truth "$cell" ;;
        esac || {
            echo "cell $cell is not as it should be: $(outcome "$cell")" >&2
            bad=1
        }
    done
    return $bad
}

threads() {
    ls "/proc/$DRIVE_PID/task" | wc -l
}

# descriptors [socket]: of the daemon, without or only sockets
descriptors() {
    find "/proc/$DRIVE_PID/fd" -type l -printf '%l\n' 2>/dev/null | grep -c ${1:--v} '^socket:'
}

# no_more_than THREADS DESCRIPTORS: one thread more than at first may be there for new locations
no_more_than() {
    [ "$(threads)" -le "$1" ] && [ "$(descriptors)" -le "$2" ] && return
    ls -l "/proc/$DRIVE_PID/fd" >"$T/fds"
    return 1
}

@test "each fault of each call that changes something is answered 0, and heals or says why" {
    local threads descriptors all stalled cell cells
    ACCOUNTS=("${!CHANGES[@]}")
    mapfile -t stalled < <(cells CHANGES "${STALLED[@]}" s401)
    mapfile -t all < <(cells CHANGES "${BRIEF[@]}" "${HELD[@]}")
    make_cells "${stalled[@]}" "${all[@]}"
    emu_get content path=/s500.copy/old000001.bin >"$T/old"
    OLD=$(sha256sum <"$T/old" | cut -d' ' -f1)
    mount_drive upload.parallel=60 upload.delete_delay=0 upload.delete_guard=0 cache.attr_timeout=1h
    within 60 ls -R "$MNT" >/dev/null
    sleep 11 # threads that have nothing to do are gone
    threads=$(threads) descriptors=$(descriptors)

    # What a standing transfer holds is let go after 30 s, an upload after another 30 s.
    order_faults CHANGES 1 "${stalled[@]}"
    for cell in "${stalled[@]}"; do change "$cell"; done
    mapfile -t cells < <(cells CHANGES "${BRIEF[@]}")
    order_faults CHANGES 2 "${cells[@]}"
    for cell in "${cells[@]}"; do change "$cell"; done
    mapfile -t cells < <(cells CHANGES "${HELD[@]}")
    order_faults CHANGES 1 "${cells[@]}"
    for cell in "${cells[@]}"; do change "$cell"; done
    wait_until 60 all_met
    clear_faults
    run -1 within 110 "$PM" sync "$MNT" # the 400s
    status_json >"$T/status"
    check_cells "${all[@]}" "${stalled[@]}"
    alive
    wait_until 15 no_more_than $((threads + 1)) "$descriptors" || { echo "$(threads) threads"; cat "$T/fds"; false; } >&2
    at_most "idle connections" "$(descriptors -e)" 30

    umount_drive
    mount_drive cache.attr_timeout=200ms
    for cell in "${all[@]}"; do
        [ "$(outcome "$cell")" != lied ] || wait_until 5 shows_truth "$cell"
    done
}

# What the caller is told while the fault lasts: the text of the errno, or nothing where it works.
errno_of() {
    case $1 in
    s400.*) echo "Invalid argument" ;;
    s402.*) echo "Too many users" ;;
    s401.* | s403.*) echo "Permission denied" ;;
    elsewhere.download | elsewhere.range) echo "Permission denied" ;; # the host there wants a signature
    s404.*) echo "No such file" ;;
    s409.* | s429.*) echo "busy" ;;
    silent.* | half.*) echo "timed out" ;;
    slow.* | held*) ;;
    *) echo "Input/output error" ;;
    esac
}

# The user's operation that makes the call. It ends by itself, long before 25 s.
use() {
    local dir
    dir=$(place_of "$1")
    case $1 in
    *.list) ls "$dir" ;;
    *.download) cat "$dir/old000001.bin" ;;
    *.range) tail -c 1000 "$dir/old000001.bin" ;;
    esac
}

use_all() { # CELL...: all at once; what they said, and how they ended, is in $T/use
    local cell pids=()
    mkdir -p "$T/use"
    for cell; do
        (
            set +e
            export -f use place_of
            S=$S MNT=$MNT timeout -k 5 25 bash -c 'use "$1"' use "$cell" >"$T/use/$cell.out" 2>"$T/use/$cell.err"
            echo $? >"$T/use/$cell.status"
        ) 3>&- &
        pids+=($!)
    done
    wait "${pids[@]}"
}

check_use() { # CELL TEXT
    local status
    status=$(cat "$T/use/$1.status")
    if [ -z "$2" ] && [ "$status" = 0 ]; then
        case $1 in
        *.list) equal "$1" "$(cat "$T/use/$1.out")" old000001.bin ;;
        *.download) equal "$1" "$(sha256sum <"$T/use/$1.out" | cut -d' ' -f1)" "$OLD" ;;
        *.range) cmp "$T/use/$1.out" "$T/tail" ;;
        esac
    elif [ -n "$2" ] && [[ $status = [12] ]]; then
        grep -q -F "$2" "$T/use/$1.err"
    else
        false
    fi && return
    echo "$1: status $status, $(cat "$T/use/$1.err"); expected: ${2:-success}" >&2
    return 1
}

@test "each fault of each call that reads is answered with its errno in time, and heals" {
    local threads descriptors all held batch cell kind bad=0
    ACCOUNTS=("${!READS[@]}" root-s403 root-s500 root-garbage root-silent)
    SIZE=300000
    mapfile -t all < <(cells READS "${BRIEF[@]}" silent half s401)
    mapfile -t held < <(cells READS "${HELD[@]}")
    make_cells "${all[@]}" "${held[@]}"
    OLD=$(remote /s500.list/old000001.bin sha256)
    emu_get content path=/s500.list/old000001.bin | tail -c 1000 >"$T/tail"
    mount_drive cache.attr_timeout=1h net.op_timeout=8s
    on ls "$S" "$MNT"/list "$MNT"/download "$MNT"/range >/dev/null
    for cell in "${all[@]}" "${held[@]}"; do
        case $cell in
        *.list) ;;
        *) on ls "$(place_of "$cell")" >/dev/null ;;
        esac
    done
    sleep 11
    threads=$(threads) descriptors=$(descriptors)
    set -- "${all[@]}"
    while [ $# -gt 0 ]; do
        batch=("${@:1:30}")
        shift "${#batch[@]}"
        order_faults READS 1000 "${batch[@]}"
        use_all "${batch[@]}"
        all_met || { emu_get faults >&2; bad=1; }
        for cell in "${batch[@]}"; do check_use "$cell" "$(errno_of "$cell")" || bad=1; done
        clear_faults
    done
    order_faults READS 2 "${held[@]}"
    use_all "${held[@]}"
    all_met
    for cell in "${held[@]}"; do check_use "$cell" "" || bad=1; done
    for kind in s403 s500 garbage silent; do
        fault "{${KINDS[$kind]},\"endpoint\":\"list\"}"
        fails_with "$(errno_of $kind.list)" ls "$MNT/root-$kind" || bad=1
        clear_faults
        sleep 2.1 # what just failed is not asked again for a moment
        equal "root-$kind" "$(on ls "$MNT/root-$kind" | wc -l)" "$(on ls "$S" | wc -l)"
    done
    use_all "${all[@]}"
    for cell in "${all[@]}"; do check_use "$cell" "" || bad=1; done
    equal "bad" "$bad" 0
    alive
    wait_until 15 no_more_than $((threads + 1)) "$descriptors" || { echo "$(threads) threads"; cat "$T/fds"; false; } >&2
}
