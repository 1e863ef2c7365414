# What people and scripts see of 360-for-you: status, attributes, links, refusals, verbs. The service is
# the strict emulator; how files come there is drafts.bats' and the client's own tests' business.

load lib

setup() {
    new_place
    start_emulator
}

# With a draft, D
mount_360() {
    mount_drive account.type=360 "account.endpoint=$URL_360" "account.token=$TOKEN_360" \
        account.publish=manual cache.attr_timeout=200ms
    D="$S/Building scan"
    on mkdir "$D"
}

state_is() {
    [[ $(xattr "$1" state) == "$2"* ]]
}

publish() {
    within 30 "$PM" publish "$1" >"$T/publish.out" 2>&1 || {
        cat "$T/publish.out" >&2
        return 1
    }
}

# The attribute user.360.NAME of PATH
field() {
    on getfattr --absolute-names --only-values -n "user.360.$2" -- "$1" 2>/dev/null
}

field_is() {
    [ "$(field "$1" "$2")" = "$3" ]
}

status_says() {
    on "$PM" status "$MNT" | grep -q -- "$1"
}

slug() {
    emu_get 360/projects | jq -r '.[-1].name'
}

@test "a project is a folder with an address, a link by its slug, and the service's fields" {
    mount_360
    write "$D/a.jpg" content
    publish "$D"
    local slug
    slug=$(slug)
    equal "id" "$(xattr "$D" id)" "$slug"
    equal "url" "$(xattr "$D" url)" "${URL_360%/api/v1}/projects/$slug"
    run -0 grep -q "published as $slug (.*/projects/$slug)" "$T/publish.out"
    equal "link" "$(on readlink "$S/$slug")" "Building scan"
    equal "names" "$(ls -A "$S")" "Building scan"
    equal "through the link" "$(on cat "$S/$slug/a.jpg")" content
    fails_with "Operation not permitted" rm "$S/$slug"
    fails_with "Operation not permitted" mv "$S/$slug" "$S/other"
    fails_with "File exists" mkdir "$S/$slug"
    fails_with "published already" "$PM" publish "$S/$slug"
    wait_until 20 field_is "$D" status 100
    equal "title" "$(field "$D" title)" "Building scan"
    fails_with "Operation not permitted" setfattr -n user.360.title -v other "$D"
    fails_with "No such attribute" getfattr -n user.360.nothing "$D"
    equal "listed" "$(on getfattr -d -m - -- "$D")" ""
    remount
    equal "link after a remount" "$(on readlink "$S/$slug")" "Building scan"
    equal "status after a remount" "$(field "$D" status)" 100
}

@test "status tells how far the service is with a project, and what it says went wrong" {
    option 360.stuck_at 40
    mount_360
    write "$D/a.jpg" content
    publish "$D"
    wait_until 20 field_is "$D" status 40
    status_says "Building scan  project, the service has made 40% of it"
    equal "percent" "$(status_json | jq '.projects[0].percent')" 40
    option 360.stuck_at -1
    option 360.errors '"scan 3 has no points"'
    on mkdir "$S/Second"
    write "$S/Second/a.jpg" content
    publish "$S/Second"
    wait_until 20 field_is "$S/Second" errors "scan 3 has no points"
    status_says "Second  project, ready, it says: scan 3 has no points"
}

@test "ten projects an hour: status says until when the eleventh waits, after a remount too" {
    local i until
    mount_360
    for i in {1..11}; do
        on mkdir "$S/Link $i"
        write "$S/Link $i/source.url" "https://example.org/$i.zip"
        on setfattr -n user.polymount.publish -v "" "$S/Link $i"
    done
    wait_until 30 status_says "the service's limit of 10 projects made in an hour is used up until"
    wait_until 30 ten_made
    remount
    equal "the limit" "$(status_json | jq -r '.accounts[0].limits[0].limit')" "10 projects made in an hour"
    until=$(status_json | jq '.accounts[0].limits[0].until')
    run -0 test "$until" -gt $(($(date +%s) + 3000)) -a "$until" -le $(($(date +%s) + 3700))
    equal "who waits" "$(status_json | jq -r '[.uploads[]|select(.state|test("waiting: the service.s limit of 10"))]|length')" 1
}

ten_made() {
    [ "$(emu_get 360/projects | jq length)" = 10 ] && nobody_else_waits
}

nobody_else_waits() {
    [ "$(status_json | jq '[.uploads[]|select(.path|test("Link"))]|length')" = 2 ] # a draft and its file
}

@test "a draft tells how much is sent, and until when the service keeps it" {
    mount_360
    write "$D/a.jpg" 12345
    write "$D/b.jpg" 123
    wait_until 20 state_is "$D" "draft: complete"
    equal "size sent" "$(status_json | jq -r '.uploads[]|select(.path=="/s/Building scan")|"\(.size) \(.sent)"')" "8 8"
    local ends
    ends=$(status_json | jq '.uploads[]|select(.path=="/s/Building scan").session_ends')
    run -0 test "$ends" -gt $(($(date +%s) + 70 * 3600))
    status_says "what was sent is kept there until"
    equal "state" "$(xattr "$D/a.jpg" state)" sent
}

@test "a kind of file that the server refused once fails at create, with the reason, over a remount" {
    mount_360
    write "$D/setup.exe" program
    wait_until 20 state_is "$D/setup.exe" "failed"
    [[ $(xattr "$D/setup.exe" error) == *extension_not_allowed* ]]
    fails_with "Operation not permitted" touch "$D/other.exe"
    [[ $(xattr "$D" error) == "other.exe was refused"*e57* ]]
    remount
    fails_with "Operation not permitted" touch "$D/third.EXE"
    write "$D/scan.E57" points
    fails_with "setup.exe failed" "$PM" publish "$D"
    on rm "$D/setup.exe"
    publish "$D"
    equal "names" "$(ls -A "$D")" scan.E57
}

@test "a file larger than the server takes is refused while it is written, once that is known" {
    option 360.file_max 100000
    mount_360
    random "$T/src/large" 100001
    on cp "$T/src/large" "$D/a.e57"
    wait_until 20 state_is "$D/a.e57" failed
    [[ $(xattr "$D/a.e57" error) == *file_too_large* ]]
    fails_with "File too large" cp "$T/src/large" "$D/b.e57"
    truncate -s 100000 "$T/src/large"
    on cp "$T/src/large" "$D/a.e57"
    wait_until 20 state_is "$D/a.e57" sent
}

@test "what the tariff forbids is told, and goes on when it is allowed" {
    option 360.tariff '"no_upload"'
    mount_360
    write "$D/a.jpg" content
    wait_until 20 tariff_told
    option 360.tariff '"full"'
    on "$PM" retry "$D"
    publish "$D"
}

tariff_told() {
    [[ $(xattr "$D/a.jpg" error) == *"tariff does not allow uploads (tariff_forbids_upload)"* ]]
}

@test "names are the user's, and what they are sent by is told: no two are one there" {
    mount_360
    write "$D/Büro 1.JPG" one
    write "$D/B_ro_1.jpg" two
    write "$D/b ro 1.jpg" three
    publish "$D"
    equal "names here" "$(cd "$D" && printf '%s|' *)" "B_ro_1.jpg|Büro 1.JPG|b ro 1.jpg|"
    equal "files there" "$(emu_get 360/digest "project=$(slug)" | wc -l)" 3
    equal "different there" "$(emu_get 360/digest "project=$(slug)" | awk '{print tolower($2)}' | sort -u | wc -l)" 3
    on mkdir "$S/Next"
    write "$S/Next/Büro 2.JPG" four
    wait_until 20 state_is "$S/Next/Büro 2.JPG" sent
    equal "sent by" "$(field "$S/Next/Büro 2.JPG" name)" B_ro_2.jpg
}

@test "another's project is reached by its slug, listed where the service lists, and never written to" {
    emu_post 360/seed '{"name":"Zx81","title":"Theirs"}'
    mount_360
    equal "names" "$(ls -A "$S")" "Building scan"
    equal "title" "$(on jq -r .title "$S/Zx81/.project.json")" Theirs
    equal "field" "$(field "$S/Zx81" title)" Theirs
    fails_with "Read-only file system" touch "$S/Zx81/new.jpg"
    fails_with "Operation not permitted" rmdir "$S/Zx81"
    fails_with "Operation not permitted" mv "$S/Zx81" "$S/Mine"
    fails_with "it is published already" "$PM" publish "$S/Zx81"
    fails_with "No such file" ls "$S/Zx82"
    on "$PM" forget "$S/Zx81"
    fails_with "No such file" ls "$S/Zx81"
    option 360.list '"array"'
    emu_post 360/seed '{"name":"Amiga","title":"Theirs too"}'
    remount
    wait_until 10 names_are "Amiga Building scan "
}

names_are() {
    [ "$(ls -A "$S" | tr '\n' ' ')" = "$1" ]
}

@test "the last copy of a published file is counted apart, and only --last-copy drops it" {
    mount_360
    random "$T/src/a.jpg" 300000
    on cp "$T/src/a.jpg" "$D/"
    wait_until 20 state_is "$D/a.jpg" sent
    fails_with "part of a draft" "$PM" evict --last-copy "$D"
    publish "$D"
    on cat "$D/.project.json" >/dev/null # which is not meant, being not listed
    run -1 on "$PM" evict "$D"
    [[ $output == *"the service cannot give it back"* && $output != *" dropped"* ]]
    fails_with "Operation not permitted" setfattr -n user.polymount.evict -v "" "$D/a.jpg"
    equal "last copies" "$(status_json | jq ".cache.last_copy >= 300000 and .cache.last_copy < 320000")" true
    status_says "last copies: .* that the services cannot give back are kept here"
    fails_with "drop them first: polymount evict --last-copy" "$PM" forget "$D"
    on "$PM" evict --last-copy "$D/a.jpg"
    equal "last copies" "$(status_json | jq .cache.last_copy)" 0
    equal "size" "$(on stat -c %s "$D/a.jpg")" 300000
    fails_with "Operation not supported" cat "$D/a.jpg"
    equal "why" "$(xattr "$D/a.jpg" error)" "its last copy was dropped here, and the service does not give it back"
    fails_with "nothing of it is kept here" "$PM" evict "$D/a.jpg"
    equal "link" "$(on readlink "$S/$(slug)")" "Building scan"
    on "$PM" forget "$D"
    equal "names" "$(ls -A "$S")" ""
    wait_until 5 not_there "$S/$(slug)"
}

not_there() {
    ! on test -L "$1"
}

@test "publish, evict and forget say what is wrong with what they are asked" {
    mount_360
    run -2 "$PM" publish
    run -2 "$PM" publish "$D" "$D"
    run -2 "$PM" evict --nothing "$D"
    run -2 "$PM" forget
    run -1 "$PM" publish "$T"
    fails_with "it is no draft" "$PM" publish "$MNT"
    write "$D/a.jpg" content
    fails_with "it is no draft" "$PM" publish "$D/a.jpg"
    fails_with "No such file" "$PM" publish "$D/none"
    fails_with "only what was published can be forgotten" "$PM" forget "$D"
    fails_with "only what was published can be forgotten" "$PM" forget "$S"
    write "$D/.hold" ""
    fails_with "Device or resource busy" setfattr -n user.polymount.publish -v "" "$D"
    on rm "$D/.hold"
    publish "$D"
    fails_with "File exists" setfattr -n user.polymount.publish -v "" "$D"
    fails_with "Invalid argument" setfattr -n user.polymount.publish -v "" "$S"
}
