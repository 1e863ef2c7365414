# Helpers of the tests that speak to the emulator themselves, with curl. Such a test sets API, below which
# a service's paths are, and KEY, its token.

load lib

# send METHOD PATH [CURL-OPTION...]: to $API; the answer's status is in CODE, its body in BODY, its head in
# $T/head; 000 if there was none.
send() {
    : >"$T/body"
    CODE=$(curl -s -m 20 -o "$T/body" -D "$T/head" -w '%{http_code}' -X "$1" "${@:3}" "$API$2") || true
    BODY=$(<"$T/body")
}

# The same with the token.
api() {
    send "$@" -H "Authorization: Bearer $KEY"
}

# says CODE [JQ-CONDITION]: what the last answer was
says() {
    equal "status" "$CODE" "$1"
    [ $# -eq 1 ] || jq -e "$2" <<<"$BODY" >/dev/null || {
        echo "$BODY is not: $2" >&2
        return 1
    }
}

# told MEMBER: of the last answer's body
told() {
    local rest=${BODY#*"\"$1\":"}
    rest=${rest%%[,\}]*}
    rest=${rest#\"}
    echo "${rest%\"}"
}

header() {
    sed -n "s/^$1: \([^\r]*\)\r$/\1/Ip" "$T/head"
}

# breached [TEXT...]: there are these breaches (as JSON) and no others; they are forgiven
breached() {
    local text said lines
    said=$(emu_get breaches)
    if [ $# -eq 0 ]; then
        equal "breaches" "$said" "[]"
        return
    fi
    mapfile -t lines <<<"$said"
    equal "number of breaches in $said" "${#lines[@]}" $#
    for text; do
        [[ $said == *"$text"* ]] || {
            echo "no breach says '$text': $said" >&2
            return 1
        }
    done
    emu_delete breaches
}
