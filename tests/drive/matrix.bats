load lib

# Every fault that the emulator can make, on every call that the drive makes: a cell has a folder of
# its own, /KIND.CALL, and all cells go through one mount and one daemon. A cell whose fault was never
# met fails.

HTML='<html><head><title>502</title></head><body>Bad gateway</body></html>'

# kinds: the faults, by name
declare -gA KINDS=(
    [s400]='{"status":400}' [s402]='{"status":402}' [s403]='{"status":403}'
    [s404]='{"status":404}' [s409]='{"status":409}' [s429]='{"status":429}'
    [s500]='{"status":500}' [s503]='{"status":503}'
    [bad-gateway]='{"status":502,"body":"'"$HTML"'","header":"Content-Type: text/html"}'
    [portal]='{"status":200,"body":"'"$HTML"'","header":"Content-Type: text/html"}'
    [page]='{"body":"'"$HTML"'","header":"Content-Type: text/html"}'
    [before]='{"reset":"before"}' [after]='{"reset":"after"}'
    [during]='{"reset":"during","reset_at":100}'
    [cut]='{"cut":5}' [garbage]='{"garbage":true}' [empty]='{"body":""}' [null]='{"body":"null"}'
    [other]='{"body":"[17,\"text\",{\"id\":{},\"name\":[]}]"}'
    [no]='{"status":200,"body":"{\"success\":false}"}'
    [longer]='{"wrong_length":100}' [shorter]='{"wrong_length":-3}'
    [slow]='{"delay_ms":1200}'
    [elsewhere]='{"status":302,"header":"Location: STORAGE/smartshape/elsewhere"}'
    [silent]='{"stall":0}' [half]='{"stall":5}' [deaf]='{"stall_in":100}'
)

# calls that change something: what is faulted (endpoint, and where in the cell)
declare -gA CALLS=(
    [mkdir]='mkdir new' [upload]='upload new.txt' [update]='update old000001.bin'
    [check]='details old000001.bin' [confirm]='details new.txt'
    [delete]='delete old000001.bin' [gone]='details old000001.bin'
    [rmdir]='delete sub' [look]='list sub'
    [copy]='copy old000001.bin' [poll]='details moved.bin' [source]='delete old000001.bin'
)

# batch CALL: posts each line of its input to the control interface, in one go
batch() {
    sed -e 's/[\\"]/\\&/g' -e "s|.*|url = \"$CTL/$1\"\nheader = \"Content-Type: application/json\"\noutput = \"/dev/null\"\ndata = \"&\"\nnext|" \
        >"$T/batch"
    sed -i '$d' "$T/batch"
    curl -sS --fail-early --fail -K "$T/batch"
}

# make_cell CALL FOLDER: what the service has in it beforehand
make_cell() {
    case $1 in
    mkdir | upload | confirm) echo "{\"dir\":\"$2\"}" ;;
    rmdir | look) echo "{\"dir\":\"$2/sub\"}" ;;
    *) echo "{\"dir\":\"$2\",\"count\":1,\"size\":70,\"prefix\":\"old\"}" ;;
    esac
}

# The user's operation that makes the call.
change() {
    case $1 in
    mkdir) mkdir "$2/new" ;;
    upload | confirm) printf '%s' "new words in ${2##*/}, and enough of them that a body of them is cut in its midst" >"$2/new.txt" ;;
    update | check) printf '%s' "other words in ${2##*/}, and enough of them that a body of them is cut in its midst" >"$2/old000001.bin" ;;
    delete | gone) rm "$2/old000001.bin" ;;
    rmdir | look) rmdir "$2/sub" ;;
    copy | poll | source) mv "$2/old000001.bin" "$2/moved.bin" ;;
    esac
}

faults_of() { # KIND CALL FOLDER COUNT
    local endpoint name
    read -r endpoint name <<<"${CALLS[$2]}"
    echo "${KINDS[$1]%\}},\"endpoint\":\"$endpoint\",\"match\":\"$3/$name\",\"count\":$4}" | sed "s|STORAGE|$STORAGE|"
}

setup() {
    new_place
    start_emulator
    STORAGE=$(jq -r .storage "$T/emu.json")
    option max_connections 500
}

threads() {
    ls "/proc/$DRIVE_PID/task" | wc -l
}

descriptors() {
    ls "/proc/$DRIVE_PID/fd" | wc -l
}

# wave COUNT KIND...: each kind on each call
wave() {
    local count=$1 kind call
    shift
    CELLS=()
    for kind; do
        for call in "${!CALLS[@]}"; do
            case $kind.$call in
            during.upload | during.update | deaf.upload | deaf.update) ;;
            during.* | deaf.*) continue ;;
            esac
            CELLS+=("$kind.$call")
        done
    done
    for cell in "${CELLS[@]}"; do make_cell "${cell#*.}" "/$cell"; done | batch seed
    for cell in "${CELLS[@]}"; do faults_of "${cell%.*}" "${cell#*.}" "/$cell" "$count"; done | batch faults
}

@test "explore" {
    mount_drive upload.parallel=60 upload.delete_delay=0 upload.delete_guard=0 cache.attr_timeout=1h net.op_timeout=3s
    local kinds=(${K:-${!KINDS[@]}})
    echo "# $(date +%T) start" >&3
    [ -n "${K:-}" ] || kinds=($(printf '%s\n' "${!KINDS[@]}" | grep -v -x -E 'silent|half|deaf'))
    wave ${N:-2} "${kinds[@]}"
    echo "# $(date +%T) ${#CELLS[@]} cells seeded" >&3
    on ls -R "$S" >/dev/null 2>&1 || true
    emu_get faults | jq -c '.[]|select(.hits>0)' >&3
    for cell in "${CELLS[@]}"; do
        change "${cell#*.}" "$S/$cell" || echo "# user's: $cell" >&3
    done
    echo "# $(date +%T) changed" >&3
    sleep 3
    if [ -n "${STALL:-}" ]; then clear_faults; fi
    [ -n "${STALL:-}" ] || { emu_get faults | jq -c '.[]|select(.hits==0)' >&3; }
    sync_drive 60 2>&1 | sed 's/^/# /' >&3 || true
    echo "# $(date +%T) synced" >&3
    emu_get faults | jq -c '.[]|select(.hits==0)' >&3
    status_json | jq -c '.failed[]' | sed 's/^/# failed /' >&3
    emu_get tree path=/ | jq -r '.[]|"\(.type) \(.path)"' | sort >"$T/theirs"
    (cd "$S" && find . -mindepth 1 \( -type d -printf 'dir /%P\n' -o -printf 'file /%P\n' \)) | sort >"$T/ours"
    diff "$T/theirs" "$T/ours" | sed 's/^/# /' >&3 || true
    grep -E 'moved|conflict' "$T/theirs" | sed 's/^/# T /' | grep conflict >&3 || true
    emu_get breaches >&3
    emu_delete breaches
    echo "# threads $(threads) fds $(descriptors)" >&3
    remount
    on ls -R "$S" >/dev/null
    sleep 1.2
    digest_of "$S" >"$T/here"; emu_get digest path=/ >"$T/there"
    diff "$T/here" "$T/there" | sed 's/^/# /' >&3 || true
    grep -E 'dropped|conflict|panic' "$LOG" | sed 's/^/# /' >&3 || true
}
