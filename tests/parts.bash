# What .ci/run, tests/check.sh and tests/soak.sh share: parts that all run, whatever fails, in the end
# their totals, and then what failed in them: of a long output the end is what people get to see.

PARTS=$(mktemp -d)
trap 'rm -rf "$PARTS"' EXIT

# part NAME MAKE-ARGUMENT...: its total is the last line of what it says.
part() {
    local name=$1 start=$SECONDS log result
    log=$(mktemp "$PARTS/$(printf %06d "$start").XXXXXX")
    shift
    printf '\n=== %s\n' "$name"
    if make --no-print-directory "$@" 2>&1 | tee "$log"; then
        result=$(sed '/^make/d' "$log" | tail -n 1)
    else
        result="FAILED: $(sed '/^make/d' "$log" | tail -n 1)"
    fi
    printf '%-32s %4d s  %s\n' "$name" $((SECONDS - start)) "$result" >>"$PARTS/totals"
    case $result in
    FAILED:*) printf '\n=== failed: %s\n' "$name" >"$log.failed" ;;
    *"only when run again alone"*) printf '\n=== failed at first: %s\n' "$name" >"$log.failed" ;;
    *) return ;;
    esac
    awk -f tests/failures.awk "$log" >>"$log.failed"
}

# The last thing to be called: it fails if a part did, whose total is then the end of all.
totals() {
    printf '\n=== totals after %d min %d s\n' $((SECONDS / 60)) $((SECONDS % 60))
    cat "$PARTS/totals"
    cat "$PARTS"/*.failed 2>/dev/null && echo
    ! grep ' FAILED: ' "$PARTS/totals"
}
