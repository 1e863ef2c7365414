load lib

# Renames and copies that a crash, or another user, comes in between of.

# crashes_at ENDPOINT HOW: the daemon dies while its next request there hangs, HOW: "stall" when it was
# processed, "stall_in" before it is.
crashes_at() {
    fault "{\"endpoint\":\"$1\",\"$2\":0,\"count\":1}"
}

hit() {
    [ "$(emu_get faults | jq '[.[].hits]|add // 0')" -ge 1 ]
}

crash_there() {
    wait_until 20 hit
    crash_drive
    clear_faults
    start_daemon
}

no_conflicts() {
    equal "conflicts" "$(emu_get tree path=/ | jq -r '[.[].path|select(contains("conflict"))]|join(" ")')" ""
    equal "failed" "$(status_json | jq '.failed|length')" 0
}

seed_tree() {
    seed_text "$1/a.txt" "first $1"
    seed_text "$1/b.txt" "second $1"
    seed_text "$1/sub/c.txt" "third $1"
}

crash_in_folder_rename() {
    local n=$1
    seed_tree "/d$n"
    emu_get digest "path=/d$n" | sort >"$T/before"
    wait_until 5 on ls "$S/d$n/sub/c.txt"
    crashes_at "$2" "$3"
    on mv "$S/d$n" "$S/e$n"
    crash_there
    on ls -lR "$S/e$n" >/dev/null
    sync_drive 60
    absent "/d$n"
    emu_get digest "path=/e$n" | sort | diff "$T/before" - >&2
    equal "names" "$(on ls "$S/e$n" | tr '\n' ' ')" "a.txt b.txt sub "
    no_conflicts
}

@test "a folder whose rename a crash broke off at any request arrives whole, and once" {
    local n=0 endpoint how
    mount_drive cache.attr_timeout=1s
    for endpoint in mkdir copy details delete list shared_out; do
        for how in stall stall_in; do
            n=$((n + 1))
            echo "$n: $endpoint $how" >&2
            crash_in_folder_rename $n $endpoint $how
        done
    done
}

crash_in_file_rename() {
    local n=$1
    seed_text "/f$n" "content $n"
    wait_until 5 on cat "$S/f$n" >/dev/null
    crashes_at "$2" "$3"
    on mv "$S/f$n" "$S/g$n"
    crash_there
    equal "here" "$(on cat "$S/g$n")" "content $n"
    append "$S/g$n" " and more"
    sync_drive 60
    absent "/f$n"
    equal "there" "$(remote_text "/g$n")" "content $n and more"
    no_conflicts
}

@test "a file whose rename a crash broke off at any request, and that is changed then, is one object" {
    local n=0 endpoint how
    mount_drive cache.attr_timeout=1s
    for endpoint in copy details delete list configuration; do
        for how in stall stall_in; do
            n=$((n + 1))
            echo "$n: $endpoint $how" >&2
            crash_in_file_rename $n $endpoint $how
        done
    done
    equal "objects" "$(remote_count /)" $n
}

crash_in_copy() {
    local n=$1
    seed_text "/f$n" "content $n"
    wait_until 5 on test -e "$S/f$n"
    crashes_at "$2" "$3"
    on cp "$S/f$n" "$S/g$n"
    crash_there
    on rm "$S/f$n"
    equal "here" "$(on cat "$S/g$n")" "content $n"
    sync_drive 60
    absent "/f$n"
    equal "there" "$(remote_text "/g$n")" "content $n"
    no_conflicts
}

@test "a file whose copy a crash broke off at any request, and that is removed then, lives on in the copy" {
    local n=0 endpoint how
    mount_drive cache.attr_timeout=1s upload.delete_delay=0s
    for endpoint in copy details list; do
        for how in stall stall_in; do
            n=$((n + 1))
            echo "$n: $endpoint $how" >&2
            crash_in_copy $n $endpoint $how
        done
    done
    equal "objects" "$(remote_count /)" $n
}

# The same in the drive and in a local folder.
both() {
    (cd "$S" && on sh -c "$1")
    (cd "$T/model" && sh -c "$1")
}

@test "renames, swaps and copies with ten crashes among them end as they do in a local folder" {
    local i
    mkdir "$T/model"
    for i in 1 2 3 4 5 6; do
        seed_text "/f$i" "content of $i"
        printf %s "content of $i" >"$T/model/f$i"
    done
    seed_tree /d
    mkdir -p "$T/model/d/sub"
    (cd "$T/model/d" && printf 'first /d' >a.txt && printf 'second /d' >b.txt && printf 'third /d' >sub/c.txt)
    option copy_queue_ms 50
    option copy_ms 100
    mount_drive cache.attr_timeout=1s upload.delete_delay=0s
    on ls -lR "$S" >/dev/null
    for i in 1 2 3 4 5 6 7 8 9 10; do
        echo "round $i" >&2
        both 'mv f1 t && mv f2 f1 && mv t f2'
        both "cp f3 c$i && mv f3 f3x && mv f3x f3"
        both 'mv d dd && printf x >>dd/a.txt && mv dd/b.txt b && mv b dd/b.txt && mv dd d'
        both 'mv f4 f5 && cp f5 f4'
        both "printf $i >>f6; cp f6 d/f6; mv -f d/f6 f6"
        sleep "0.$((RANDOM % 10))"
        crash_drive
        start_daemon
    done
    sync_drive 120
    digest_of "$T/model" >"$T/expected"
    digest_of "$S" | diff "$T/expected" - >&2
    service_has "$T/model" /
    no_conflicts
}

# --- another user meanwhile

# A rename of /d to /e of which all copies are begun, and none is whole yet.
moving() {
    seed_tree /d
    option copy_ms "${1:-2500}"
    mount_drive cache.attr_timeout=1s
    on ls -lR "$S" >/dev/null
    on mv "$S/d" "$S/e"
    wait_until 10 remote /e/sub/c.txt id
}

files_there() {
    emu_get tree path=/ | jq -r '[.[]|select(.type=="file").path]|sort|join(" ")'
}

theirs() {
    emu_post replace "$(jq -n --arg p "$1" --arg t "$2" '{path:$p,text:$t}')"
}

@test "what another user adds to a folder while it is renamed moves along" {
    moving
    seed_text /d/new.txt "theirs"
    seed_text /d/more/x.txt "theirs, too"
    sync_drive 60
    equal "there" "$(files_there)" "/e/a.txt /e/b.txt /e/more/x.txt /e/new.txt /e/sub/c.txt"
    equal "new" "$(remote_text /e/new.txt)" "theirs"
}

@test "a file that another user changes in a folder while it is renamed is theirs in the end" {
    moving
    theirs /d/a.txt "FIRST /d" # as long
    theirs /d/sub/c.txt "much longer"
    sync_drive 60
    equal "a" "$(remote_text /e/a.txt)" "FIRST /d"
    equal "c" "$(remote_text /e/sub/c.txt)" "much longer"
    equal "there" "$(files_there)" "/e/a.txt /e/b.txt /e/sub/c.txt"
    wait_until 5 eval '[ "$(on cat "$S/e/sub/c.txt")" = "much longer" ]'
}

@test "a file that another user changes in a folder while it is renamed survives a crash, too" {
    moving
    theirs /d/a.txt "FIRST /d"
    crash_drive
    sleep 3
    start_daemon
    sync_drive 60
    files_there >&2
    emu_get digest path=/ | grep -q "$(printf %s 'FIRST /d' | sha256sum | cut -d' ' -f1)"
    wait_until 5 on grep -q -r "FIRST /d" "$S"
    wait_until 5 on grep -q -r "third /d" "$S"
}

@test "a folder that another user renames while we do keeps all its files" {
    moving
    emu_post rename '{"from":"/d","to":"/x"}'
    sync_drive 60 || true
    files_there >&2
    for text in "first /d" "second /d" "third /d"; do
        emu_get digest path=/x | grep -q "$(printf %s "$text" | sha256sum | cut -d' ' -f1)"
    done
    wait_until 10 on test -e "$S/x/sub/c.txt"
    on test ! -e "$S/d"
    equal "deletes" "$(requests delete)" 0
}

@test "a folder in which another user gives a file a configuration while it is renamed stays" {
    moving
    seed "$(jq -n --arg d "/file/configuration/$(remote /d/a.txt id)" \
        '{document:$d,json:{success:true,data:[{_id:"60098f7dfedf4005c43c53ff",name:"My view"}]}}')"
    sync_drive 60 || true
    equal "a.txt" "$(remote_text /d/a.txt)" "first /d"
    wait_until 10 on test -e "$S/d/a.txt"
    equal "deletes" "$(requests delete)" 0
}

@test "a folder whose new place another user removes while it is filled loses nothing" {
    moving
    emu_post remove '{"path":"/e"}'
    sync_drive 60 || true
    files_there >&2
    equal "files" "$(emu_get tree path=/ | jq '[.[]|select(.type=="file")]|length')" 3
    wait_until 10 on grep -q -r "third /d" "$S"
    wait_until 5 nothing_pending
}

@test "a file that another user puts into a folder's new place while it is filled stays" {
    seed_tree /d
    mount_drive cache.attr_timeout=1s
    on ls -lR "$S" >/dev/null
    fault '{"endpoint":"copy","match":"b.txt","status":429,"retry_after":2,"count":1}'
    on mv "$S/d" "$S/e"
    wait_until 10 remote /e id
    wait_until 10 hit
    seed_text /e/b.txt "SECOND /d"
    sync_drive 30 || true
    files_there >&2
    equal "theirs" "$(remote_text /e/b.txt)" "SECOND /d"
    emu_get digest path=/ | grep -q "$(printf %s "second /d" | sha256sum | cut -d' ' -f1)"
}

@test "a file that another user removes while it is renamed is gone, and leaves no half a copy" {
    seed_text /a.txt "old"
    option copy_ms 2500
    mount_drive cache.attr_timeout=1s
    on mv "$S/a.txt" "$S/b.txt"
    wait_until 10 remote /b.txt id
    emu_post remove '{"path":"/a.txt"}'
    sync_drive 60
    files_there >&2
    wait_until 5 nothing_pending
    [ "$(files_there)" = "" ] || equal "b" "$(remote_text /b.txt)" "old"
}

@test "a file whose copy another user removes while it is made is renamed all the same" {
    seed_text /a.txt "old"
    option copy_ms 2500
    mount_drive cache.attr_timeout=1s
    on mv "$S/a.txt" "$S/b.txt"
    wait_until 10 remote /b.txt id
    emu_post remove '{"path":"/b.txt"}'
    sync_drive 60
    equal "there" "$(files_there)" "/b.txt"
    equal "b" "$(remote_text /b.txt)" "old"
}

@test "a file that another user changes while it is renamed keeps its name and their content" {
    seed_text /a.txt "old"
    option copy_ms 2500
    mount_drive cache.attr_timeout=1s
    on mv "$S/a.txt" "$S/b.txt"
    wait_until 10 remote /b.txt id
    theirs /a.txt "new"
    sync_drive 60
    equal "a" "$(remote_text /a.txt)" "new"
    wait_until 5 eval '[ "$(on cat "$S/a.txt")" = "new" ]'
    wait_until 5 nothing_pending
}

@test "a file moved into a folder that another user removed meanwhile is not lost" {
    seed_text /a.txt "old"
    seed '{"dir":"/d"}'
    mount_drive cache.attr_timeout=1h
    on ls "$S" "$S/d" >/dev/null
    emu_post remove '{"path":"/d"}'
    on mv "$S/a.txt" "$S/d/a.txt"
    sync_drive 30 || true
    files_there >&2
    emu_get digest path=/ | grep -q "$(printf %s old | sha256sum | cut -d' ' -f1)"
    wait_until 5 nothing_pending
}
