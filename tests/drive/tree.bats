load lib

# make_tree DIR COUNT: files of 0, 1, 4095, 4096 and 4097 bytes under names that break programs
make_tree() {
    local dir=$1 count=$2 i size name
    local names=("with space" " leading and trailing " "it's" 'say "hi"' '100%' '%41' '%2F' 'a#b'
        'what?' 'a+b' 'a&b=c' 'back\slash' 'b\"ack' 'Grüße' 'größer.obj' '点群データ.ply'
        'scan 🏛️.e57' '-rf' '--help' '*' '[a]' '$HOME' '`id`' 'a;b' 'a:b' 'a|b' '<b>' '{}' '~'
        'name=x; filename=y' '...' '.hidden' 'trailing.' 'e̸' 'tab	here'
        "$(printf 'x%.0s' {1..255})" "$(printf 'ü%.0s' {1..127})y" "$(printf '点%.0s' {1..85})")
    local sizes=(0 1 4095 4096 4097)
    for name in "${names[@]}"; do
        i=$((${i:-0} + 1))
        head -c "${sizes[i % 5]}" /dev/urandom >"$dir/$name"
    done
    mkdir -p "$dir/Ordner ä%41/deep #1/-d" "$dir/empty folder" "$dir/plain"
    for ((i = ${#names[@]}; i < count; i++)); do
        case $((i % 3)) in
        0) name="Ordner ä%41/file $i.obj" ;;
        1) name="Ordner ä%41/deep #1/-d/$i.stl" ;;
        2) name="plain/part-$i.bin" ;;
        esac
        head -c "${sizes[i % 5]}" /dev/urandom >"$dir/$name"
    done
}

# In with cp, on the service the same, and out again through an empty cache.
goes_in_and_comes_out() {
    make_tree "$T/src" "$1"
    on cp -r "$T/src" "$S/tree"
    sync_drive
    service_has "$T/src" /tree
    equal "folders" "$(emu_get tree path=/tree | jq '[.[]|select(.type=="dir")]|length')" 5
    remount_cold
    within 60 diff -r "$T/src" "$S/tree"
}

@test "a tree of 300 files with hostile names goes in and comes out as it was" {
    mount_drive
    goes_in_and_comes_out 300
}

# bats test_tags=quick
@test "what was copied in is read back at once, before it is sent" {
    make_tree "$T/src" 60
    mount_drive upload.delay=1h
    on cp -r "$T/src" "$S/tree"
    on diff -r "$T/src" "$S/tree"
    equal "uploads" "$(requests upload)" 0
    sync_drive
    service_has "$T/src" /tree
}

# bats test_tags=quick
@test "it works with a service that reads names in multipart as percent-encoded" {
    option quoting '"percent"'
    mount_drive
    goes_in_and_comes_out 60
}

@test "it works with a service whose upload parameter is p" {
    option upload_param '"p"'
    mount_drive
    goes_in_and_comes_out 60
}

@test "it works with a service whose upload parameter is path" {
    option upload_param '"path"'
    mount_drive
    goes_in_and_comes_out 60
}

@test "it works with a service that names ids _id" {
    option id_member '"_id"'
    mount_drive
    goes_in_and_comes_out 60
}

# bats test_tags=quick
@test "it works with a service that gives id and _id, numbers as owners, revisions and more" {
    emu_post options '{"id_member":"both","owner":"number","revision_date":true,"extra_members":true}'
    mount_drive
    goes_in_and_comes_out 60
}

# Folders and files that are there already, and errors in every shape that the documents allow.
errors_are_understood() {
    seed_text /there/a.txt "old"
    mount_drive
    on ls "$S" "$S/there" >/dev/null
    emu_post remove '{"path":"/there/a.txt"}'
    fails_with "No such file" cat "$S/there/missing"
    on mkdir "$S/made"
    seed '{"path":"/made","type":"dir"}' || true # somebody was faster, perhaps
    write "$S/made/b.txt" "new"
    sync_drive
    equal "b.txt" "$(remote_text /made/b.txt)" "new"
    fault '{"endpoint":"upload","count":1,"status":503}'
    write "$S/made/c.txt" "later"
    sync_drive
    equal "c.txt" "$(remote_text /made/c.txt)" "later"
    equal "objects" "$(remote_count /made)" 2
}

@test "errors in the second documented shape are understood" {
    option error_shape 2
    errors_are_understood
}

# bats test_tags=quick
@test "errors in the third documented shape, and 400 for what exists, are understood" {
    emu_post options '{"error_shape":3,"exists_status":400}'
    errors_are_understood
}

@test "an error whose body names another status is understood" {
    option error_body_status 500
    errors_are_understood
}

# bats test_tags=quick
@test "hostile names given by the service are shown escaped and never leave their folder" {
    seed '{"path":"/in","type":"dir"}'
    seed '{"path":"/in/x","name":"a/b","text":"slash"}'
    seed '{"path":"/in/x","name":"..","text":"dots"}'
    seed '{"path":"/in/x","name":".","text":"dot"}'
    seed '{"path":"/in/x","name_hex":"6162ff6364","text":"latin"}'
    mount_drive
    equal "entries" "$(on ls -A "$S/in" | wc -l)" 4
    on ls -Al "$S/in" >/dev/null
    equal "not UTF-8" "$(on cat "$S"/in/ab*cd)" "latin"
    fails_with "Invalid argument" cat "$S"/in/a*b # the service has no way to ask for it
}

# bats test_tags=quick
@test "of two objects with one name each is shown, and none with the other's content" {
    seed '{"path":"/in","type":"dir"}'
    seed '{"path":"/in/x","name":"twice","text":"first"}'
    seed '{"path":"/in/x","name":"twice","text":"other"}'
    mount_drive
    equal "entries" "$(on ls -A "$S/in" | wc -l)" 2
    local f said=()
    for f in "$S"/in/*; do
        said+=("$(on cat "$f" 2>/dev/null)") || said+=(refused)
    done
    [ "${said[0]}" != "${said[1]}" ] || [ "${said[0]}" = refused ] || {
        echo "both read as: ${said[0]}" >&2
        return 1
    }
}
