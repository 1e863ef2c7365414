load lib

# What a service, or somebody in its place, may say: names that are none, JSON that is another than
# promised, headers that lie. The mount stays, what is good beside it is usable, nothing is made up.

setup() {
    new_place
    start_emulator
}

# hex TEXT
hex() {
    printf %s "$1" | od -An -v -tx1 | tr -d ' \n'
}

# Each at most 255 bytes, no two the same; and as many as the service has.
names_are_names() {
    local n
    find "$1" -mindepth 1 -printf '%P\0' | LC_ALL=C sort -z >"$T/names"
    equal "entries" "$(tr -dc '\0' <"$T/names" | wc -c)" "$2"
    equal "different ones" "$(LC_ALL=C sort -zu "$T/names" | tr -dc '\0' | wc -c)" "$2"
    while IFS= read -r -d '' n; do
        (LC_ALL=C && [ ${#n} -le 255 ])
        on stat -- "$1/$n" >/dev/null
    done <"$T/names"
    equal "inodes" "$(find "$1" -mindepth 1 -printf '%i\n' | sort -u | wc -l)" "$2"
}

@test "names that are none are shown escaped, each by itself, the same ones after every mount" {
    local name names=('a/b' '/' '//' '../..' '..' '.' '/etc/passwd' '%2F' '%00' '%' '%%' '%2e%2e' 'a%2Fb' 'a%2fb'
        $'line\nbreak' $'return\r' $'bell\a' $'escape\e[31m' $'delete\177' 'right‮gnp.exe' 'zero​width' 'a‏b'
        ' ' '   ' 'trailing ' ' leading' '*' '?' '\' '\\' '"' "'" '$(reboot)' '`reboot`' ';' '&&' '|' '-rf' '--'
        '~' '#' 'CON' 'nul.txt' 'é' $'e\xcc\x81' '.polymount' 'x.part'
        "$(printf 'n%.0s' {1..256})" "$(printf 'n%.0s' {1..300})" "$(printf 'n%.0s' {1..299})m" "$(printf '点%.0s' {1..90})")
    seed '{"path":"/in","type":"dir"}'
    for name in "${names[@]}"; do
        seed "{\"path\":\"/in/x\",\"name_hex\":\"$(hex "$name")\",\"text\":\"text\"}"
    done
    for name in 610062 ff c0af eda080 f4908080 e282 616263ff2f2e2e 00; do # NUL, and no UTF-8
        seed "{\"path\":\"/in/x\",\"name_hex\":\"$name\",\"text\":\"text\"}"
    done
    for name in twice twice twice 'twice%' '..' '..'; do
        seed "$(jq -n --arg n "$name" '{path:"/in/x",name:$n,text:"text"}')"
    done
    seed_text /in/good.txt "good"
    seed '{"path":"/in/x","name":"..","type":"dir"}'
    mount_drive cache.attr_timeout=500ms
    local all=$((${#names[@]} + 8 + 6 + 2))
    names_are_names "$S/in" "$all"
    cp "$T/names" "$T/first"
    equal "good" "$(on cat "$S/in/good.txt")" "good"
    write "$S/in/good.txt" "better"
    while IFS= read -r -d '' name; do # some cannot be asked for; none gives another's content
        [ -f "$S/in/$name" ] || continue
        case $(on cat -- "$S/in/$name" 2>&1) in
        text | better | *"Invalid argument" | *"No such file or directory") ;;
        *) echo "content of $name" >&2 && false ;;
        esac
    done <"$T/names"
    equal "above it" "$(on ls "$S")" "in"
    sync_drive
    equal "good" "$(remote_text /in/good.txt)" "better"
    remount_cold
    names_are_names "$S/in" "$all"
    cmp "$T/first" "$T/names"
    equal "breaches" "$(emu_get breaches)" "[]"
}

# lists_as JSON-FILE: what `ls` of the folder says to such a list; must answer, in whichever way
lists_as() {
    fault "$(jq -nc --arg f "$1" '{endpoint:"list",match:"/file/dir/private/h",file:$f,count:100}')"
    run timeout -k 5 25 ls -A "$S/h$((++CASE))"
    [ "$status" -ne 124 ] && [ "$status" -ne 137 ]
    clear_faults
    alive
}

# entry MEMBERS: a list with such an entry between two good ones
entry() {
    printf '[{"id":"5a0000000000000000000001","name":"first","type":"file","size":3,"updated":1,"created":1},{%s},
        {"id":"5a0000000000000000000002","name":"last","type":"file","size":3,"updated":1,"created":1}]' "$1" >"$T/list.json"
}

good_beside() {
    equal "status of ls with $1" "$status" 0
    [[ $output == *first* && $output == *last* ]] || {
        echo "with $1 ls says: $output" >&2
        return 1
    }
    equal "size" "$(on stat -c %s "$S/h$CASE/first")" 3
    on find "$S/h$CASE" -mindepth 1 -size -0 -printf 'negative: %p\n' >&2
}

@test "members of a wrong type, or missing, cost the entry that has them, and no other" {
    local CASE=0 m value
    seed_text /good.txt "good"
    for i in {1..200}; do echo "{\"dir\":\"/h$i\"}"; done >"$T/dirs"
    while read -r m; do seed "$m"; done <"$T/dirs"
    mount_drive
    on ls "$S" >/dev/null
    for m in id name type size updated created state path key owner; do
        for value in null true -1 1.5 1e400 18446744073709551616 '"text"' '""' '"-1"' '[]' '{"a":{"b":[null]}}' \
            '"\u0000"' '"\ud800"' '"../../etc"'; do
            # the last of two of a name, or the first, counts
            member_is "$m" "$value"
            lists_as "$T/list.json"
            good_beside "$m: $value"
        done
        entry "$(jq -c "del(.$m)" <<<"$MIDDLE" | sed 's/^{//; s/}$//')"
        lists_as "$T/list.json"
        good_beside "no $m"
    done
    equal "good" "$(on cat "$S/good.txt")" "good"
}

MIDDLE='{"id":"5a0000000000000000000003","name":"middle","type":"file","size":3,"updated":1,"created":1}'

# member_is NAME JSON: the second of three entries has it, and only once
member_is() {
    local rest
    rest=$(jq -c "del(.$1)" <<<"$MIDDLE")
    entry "\"$1\":$2,$(sed 's/^{//; s/}$//' <<<"$rest")"
    jq -e . "$T/list.json" >/dev/null 2>&1 || [[ $2 == *u[d0]* || $2 == *1e400 ]]
}

# bats test_tags=quick
@test "of a member that comes twice the list is not made a riddle" {
    local CASE both
    seed '{"dir":"/h1"}'
    mount_drive
    for both in '"name":"one","name":"two"' '"size":3,"size":4'; do
        entry "\"id\":\"5a0000000000000000000003\",\"type\":\"file\",\"updated\":1,\"name\":\"n\",$both"
        CASE=0
        lists_as "$T/list.json"
        good_beside "$both"
        equal "entries" "$(on ls "$S/h1" | wc -l)" 3
        remount_cold
    done
}

# is_no_list JSON-FILE: such an answer is an error, and the folder's known list stays
is_no_list() {
    lists_as "$1"
    equal "status of ls with $(head -c 40 "$1")" "$status" 2
    [[ $output == *"Input/output error"* ]]
}

# bats test_tags=quick
@test "a list that is none, or goes on after its end, is an error" {
    local CASE=0 i
    for i in {1..40}; do seed "{\"dir\":\"/h$i\"}"; done
    mount_drive
    on ls "$S" >/dev/null
    for i in '[' '{' '' ' ' 'null' 'true' '17' '"text"' '{}]' '[]x' '[][]' '[{}' '[,]' '[{"name":"a"},]' \
        '[{"name":"a"}{"name":"b"}]' '<html></html>' '{"data":' '{"success":true' 'HTTP/1.1 200 OK' "[{'name':'a'}]"; do
        printf %s "$i" >"$T/list.json"
        is_no_list "$T/list.json"
    done
    printf '[{"name":"a\0b"}' >"$T/list.json"
    is_no_list "$T/list.json"
    head -c 100000 /dev/urandom >"$T/list.json"
    is_no_list "$T/list.json"
}

# bats test_tags=quick
@test "nesting without end, and texts of 100 MB, cost an error and no memory" {
    local CASE=0 i
    for i in {1..9}; do seed "{\"dir\":\"/h$i\"}"; done
    mount_drive
    on ls "$S" >/dev/null
    perl -e 'print "[" x 1000000' >"$T/list.json"
    is_no_list "$T/list.json"
    perl -e 'print "{\"a\":" x 1000000' >"$T/list.json"
    is_no_list "$T/list.json"
    perl -e 'print "[{\"name\":\"a\",\"x\":", "[" x 1000000, "]" x 1000000, "}]"' >"$T/list.json"
    lists_as "$T/list.json"
    perl -e 'print "[{\"name\":\"", "n" x 100_000_000, "\"}]"' >"$T/list.json"
    lists_as "$T/list.json"
    perl -e 'print "[{\"name\":\"a\",\"size\":", "9" x 100_000_000, "}]"' >"$T/list.json"
    lists_as "$T/list.json"
    perl -e 'print " " x 100_000_000, "[]"' >"$T/list.json"
    lists_as "$T/list.json"
    perl -e 'print "{\"x\":\"", "n" x 100_000_000, "\",\"data\":[]}"' >"$T/list.json"
    lists_as "$T/list.json"
    rm "$T/list.json"
    sanitized || at_most "KiB resident" "$(peak_rss)" 65536
    equal "list" "$(on ls -A "$S/h9")" ""
}

# A redirect's or a range's word is not taken for more than it is.
# bats test_tags=quick
@test "a redirect to where nobody answers is forgotten" {
    seed '{"path":"/f","size":200000,"seed":4}'
    mount_drive
    on ls "$S" >/dev/null
    fault '{"endpoint":"download","status":302,"count":1,"header":"Location: http://127.0.0.1:1/f"}'
    equal "content" "$(on sha256sum <"$S/f" | cut -d' ' -f1)" "$(remote /f sha256)"
    equal "faults left" "$(emu_get faults | jq '.[0].hits')" 1
}

# bats test_tags=quick
@test "redirects to what is no web address, and headers that lie, are errors and give nothing" {
    local header
    seed '{"path":"/f","size":200000,"seed":4}'
    echo "secret of this machine" >"$T/secret"
    mount_drive
    on ls "$S" >/dev/null
    for header in "Location: file://$T/secret" "Location: FILE:$T/secret" 'Location: gopher://127.0.0.1/' \
        'Location: http://[::' 'Location: //' 'Location: ' 'Location: https://user:word@127.0.0.1/' \
        'Location: http://127.0.0.1.example.com/' 'Location: scp://127.0.0.1/etc/passwd' "Location: $URL/file/download/private/f"; do
        fault "$(jq -nc --arg h "$header" '{endpoint:"download",status:302,header:$h}')"
        run ! on cat "$S/f"
        [[ $output == *"Input/output error" ]] || { echo "$header: $output" >&2 && false; }
        clear_faults
    done
    for header in 'Content-Range: bytes 0-99/18446744073709551616' 'Content-Range: bytes -1--1/-1' \
        'Content-Range: bytes 7-199999/200000' 'Content-Range: bytes 0-199999/300000' 'Content-Range: items 0-1/2' \
        'Content-Range: bytes 0-9223372036854775807/9223372036854775807' 'Content-Encoding: gzip' \
        'Content-Type: multipart/byteranges; boundary=x'; do
        fault "$(jq -nc --arg h "$header" '{endpoint:"download",header:$h}')"
        run ! on cat "$S/f"
        clear_faults
        alive
    done
    sleep 1.1
    equal "content" "$(on sha256sum <"$S/f" | cut -d' ' -f1)" "$(remote /f sha256)"
}
