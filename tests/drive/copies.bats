# What the service copies itself: cp inside the drive, and what a rename must not take along.

load lib

sync_and_settle() {
    sync_drive
    wait_until 10 settled
}

# bats test_tags=quick
@test "cp of a whole file inside the drive moves no content, and is one copy call" {
    seed '{"path":"/scan.e57","size":3000000,"seed":7}'
    mount_drive
    forget_traffic
    on cp --reflink=auto "$S/scan.e57" "$S/second.e57"
    equal "size at once" "$(on stat -c %s "$S/second.e57")" 3000000
    sync_drive
    equal "copy calls" "$(requests copy)" 1
    equal "uploads" "$(requests upload)" 0
    equal "bytes that left the service" "$(bytes_out)" 0
    equal "the copy there" "$(remote /second.e57 sha256)" "$(remote /scan.e57 sha256)"
    on cmp "$S/scan.e57" "$S/second.e57"
}

@test "cp --reflink=auto of a 5 GiB file inside the drive is one copy call" {
    seed '{"path":"/big.las","size":5368709120,"zero":true}'
    mount_drive
    forget_traffic
    on cp --reflink=auto "$S/big.las" "$S/copy.las"
    sync_drive 60
    equal "copy calls" "$(requests copy)" 1
    equal "bytes that left the service" "$(bytes_out)" 0
    equal "size there" "$(emu_get tree path=/ | jq '.[]|select(.path=="/copy.las").size')" 5368709120
    equal "size here" "$(on stat -c %s "$S/copy.las")" 5368709120
    at_most "bytes stored here" "$(stored_bytes)" 20000000
}

@test "a copy is read at once, while the service still has to make it" {
    seed '{"path":"/scan.e57","size":2000000,"seed":9}'
    mount_drive upload.delay=1h
    on cp "$S/scan.e57" "$S/copy.e57"
    on cmp "$S/scan.e57" "$S/copy.e57"
    equal "copy calls" "$(requests copy)" 0
    umount_drive
    start_daemon
    on cmp "$S/scan.e57" "$S/copy.e57"
    sync_drive
    equal "copy calls" "$(requests copy)" 1
    equal "uploads" "$(requests upload)" 0
    equal "objects" "$(remote_count /)" 2
}

@test "a copy of what was read is read without the service" {
    seed '{"path":"/scan.e57","size":9000000,"seed":9}'
    mount_drive
    on cat "$S/scan.e57" >"$T/scan"
    on ls "$S" >/dev/null
    stop_emulator
    on cp "$S/scan.e57" "$S/copy.e57"
    on cp --reflink=auto "$S/copy.e57" "$S/third.e57"
    within 60 cmp "$T/scan" "$S/copy.e57"
    within 60 cmp "$T/scan" "$S/third.e57"
    start_emulator
    forget_traffic
    sync_drive 60
    equal "the copy there" "$(remote /copy.e57 sha256)" "$(remote /scan.e57 sha256)"
    equal "the third there" "$(remote /third.e57 sha256)" "$(remote /scan.e57 sha256)"
    equal "uploads" "$(requests upload)" 0
    equal "bytes that left the service" "$(bytes_out)" 0
}

@test "after kill -9 while the service copies, there is one copy" {
    seed '{"path":"/scan.e57","size":2000000,"seed":9}'
    mount_drive
    fault '{"endpoint":"copy","reset":"after","count":1}'
    fault '{"endpoint":"details","delay_ms":3000}'
    on cp "$S/scan.e57" "$S/copy.e57"
    wait_until 10 eval '[ "$(requests copy)" -ge 1 ]'
    crash_drive
    clear_faults
    start_daemon
    sync_drive
    equal "objects" "$(remote_count /)" 2
    equal "the copy there" "$(remote /copy.e57 sha256)" "$(remote /scan.e57 sha256)"
    on cmp "$S/scan.e57" "$S/copy.e57"
}

@test "a copy that is changed at once arrives changed, and the original stays" {
    seed '{"path":"/scan.e57","size":2000000,"seed":9}'
    mount_drive
    on cp "$S/scan.e57" "$S/copy.e57"
    append "$S/copy.e57" "tail"
    sync_drive
    equal "size of the copy" "$(remote /copy.e57 size)" 2000004
    equal "size of the original" "$(remote /scan.e57 size)" 2000000
    (on cat "$S/scan.e57" && printf tail) >"$T/expected"
    equal "content" "$(remote /copy.e57 sha256)" "$(sha256sum <"$T/expected" | cut -d' ' -f1)"
    equal "objects" "$(remote_count /)" 2
}

# bats test_tags=quick
@test "the original may be removed or replaced right after it was copied" {
    seed_text /a.txt "the first"
    seed_text /b.txt "the second"
    mount_drive upload.delete_delay=0s
    on cp "$S/a.txt" "$S/a2.txt"
    on cp "$S/b.txt" "$S/b2.txt"
    on rm "$S/a.txt"
    write "$S/b.txt" "another"
    equal "a2" "$(on cat "$S/a2.txt")" "the first"
    equal "b2" "$(on cat "$S/b2.txt")" "the second"
    sync_drive
    equal "a2 there" "$(remote_text /a2.txt)" "the first"
    equal "b2 there" "$(remote_text /b2.txt)" "the second"
    equal "b there" "$(remote_text /b.txt)" "another"
    absent /a.txt
}

@test "parts of files, and files that are not sent yet, are copied inside the cache" {
    seed '{"path":"/scan.e57","size":2000000,"seed":9}'
    mount_drive
    random "$T/src/new" 3000000
    on cp "$T/src/new" "$S/new"
    on cp "$S/new" "$S/new2"
    on cmp "$T/src/new" "$S/new2"
    on dd if="$S/scan.e57" of="$S/part" bs=1000 skip=3 count=500 status=none
    on cat "$S/scan.e57" "$S/new" >"$T/expected"
    on cp "$S/scan.e57" "$S/both"
    on dd if="$S/new" of="$S/both" bs=1M oflag=append conv=notrunc status=none
    on cmp "$T/expected" "$S/both"
    sync_drive
    equal "both there" "$(remote /both sha256)" "$(sha256sum <"$T/expected" | cut -d' ' -f1)"
    equal "new2 there" "$(remote /new2 sha256)" "$(sha256sum <"$T/src/new" | cut -d' ' -f1)"
}

@test "cp -a of a folder of remote files moves no content and keeps their times" {
    seed '{"dir":"/models","count":20,"size":100000}'
    mount_drive
    on ls "$S/models" >/dev/null
    forget_traffic
    on cp -a "$S/models" "$S/second"
    sync_drive
    equal "copy calls" "$(requests copy)" 20
    equal "uploads" "$(requests upload)" 0
    equal "bytes that left the service" "$(bytes_out)" 0
    equal "times" "$(cd "$S/second" && on stat -c '%n %Y' ./*)" "$(cd "$S/models" && on stat -c '%n %Y' ./*)"
    emu_get digest path=/models >"$T/models"
    emu_get digest path=/second >"$T/second"
    cmp "$T/models" "$T/second"
}

# --- what a copy would lack -----------------------------------------------------------------------

refused_at_sending() {
    local id
    id=$(remote /d/scan.e57 id)
    mkdir "$S/other"
    on mv "$S/d/scan.e57" "$S/other/moved.e57"
    sync_drive
    equal "id" "$(remote /d/scan.e57 id)" "$id"
    on test -e "$S/d/scan.e57"
    on test ! -e "$S/other/moved.e57"
    equal "copy calls" "$(requests copy)" 0
    equal "deletes" "$(requests delete)" 0
    [[ $(xattr "$S/d/scan.e57" error) == *"$1"* ]]
    on mv "$S/d" "$S/other/d2" # nor with its folder
    sync_drive
    equal "id" "$(remote /d/scan.e57 id)" "$id"
    on test -e "$S/d/scan.e57"
    on test ! -e "$S/other/d2"
    equal "copy calls" "$(requests copy)" 0
}

has_document() {
    seed '{"path":"/d/scan.e57","size":1000,"seed":1}'
    seed "$(jq -n --arg d "/file/$1/$(remote /d/scan.e57 id)" --argjson j "$2" '{document:$d,json:$j}')"
    mount_drive
    refused_at_sending "$1"
}

# bats test_tags=quick
@test "a file that has a configuration has its old name back after a rename" {
    has_document configuration '{"success":true,"data":[{"_id":"60098f7dfedf4005c43c53ff","name":"My view"}]}'
}

@test "a file that has a behavior has its old name back after a rename" {
    has_document behavior '[{"file":"596e2c99669d9a289f58beae","name":"x","id":"596e46506baa363cb440805f"}]'
}

@test "a file that has a trigger has its old name back after a rename" {
    has_document trigger '{"success":true,"data":[{"_id":"596e0c44a394bf23b9354ee4","type":"portal"}]}'
}

shared_out() {
    jq -n --arg id "$1" --argjson above "$2" '{document:"/file/shared-out",json:[{_id:$id,id:$id,
        type:"file",name:"scan.e57",shareToken:"",privateShares:{"a@b.c":{roles:[],sharedFromAncestor:$above}}}]}'
}

# bats test_tags=quick
@test "a file that is known to be shared is not renamed, and says why" {
    seed '{"path":"/d/scan.e57","size":1000,"seed":1}'
    seed "$(shared_out "$(remote /d/scan.e57 id)" false)"
    mount_drive
    on ls "$S/d" >/dev/null
    fails_with "Operation not permitted" mv "$S/d/scan.e57" "$S/d/other.e57"
    [[ $(xattr "$S/d/scan.e57" error) == *shared* ]]
    fails_with "Operation not permitted" mv "$S/d" "$S/d2"
    equal "pending" "$(pending)" 0
    write "$S/d/scan.e57" "its content may change"
    sync_drive
    equal "there" "$(remote_text /d/scan.e57)" "its content may change"
}

@test "a file shared only through its folder is renamed in it" {
    seed '{"path":"/d/scan.e57","size":1000,"seed":1}'
    seed "$(shared_out "$(remote /d/scan.e57 id)" true)"
    mount_drive
    on mv "$S/d/scan.e57" "$S/d/other.e57"
    sync_drive
    remote /d/other.e57 id
    absent /d/scan.e57
}

@test "a file that was shared meanwhile has its old name back" {
    seed '{"path":"/d/scan.e57","size":1000,"seed":1}'
    mount_drive
    on ls "$S/d" >/dev/null
    on "$PM" pause "$MNT"
    on mv "$S/d/scan.e57" "$S/moved.e57"
    seed "$(shared_out "$(remote /d/scan.e57 id)" false)"
    on ls "$S" >/dev/null # what a list brought is not fresh enough to delete by
    on "$PM" resume "$MNT"
    sync_drive
    remote /d/scan.e57 id
    on test -e "$S/d/scan.e57"
    on test ! -e "$S/moved.e57"
    equal "copy calls" "$(requests copy)" 0
    [[ $(xattr "$S/d/scan.e57" error) == *shared* ]]
}

@test "a file that is shared while the service copies it has its old name back" {
    option copy_ms 4000
    seed '{"path":"/d/scan.e57","size":1000,"seed":1}'
    mount_drive
    on mv "$S/d/scan.e57" "$S/moved.e57"
    wait_until 10 remote /moved.e57 id
    seed "$(shared_out "$(remote /d/scan.e57 id)" false)"
    sync_drive
    remote /d/scan.e57 id
    equal "deletes" "$(requests delete)" 0
    on test -e "$S/d/scan.e57"
    [[ $(xattr "$S/d/scan.e57" error) == *shared* ]]
}

@test "a folder in which a file is shared while the service copies it has its old name back" {
    option copy_ms 4000
    seed '{"path":"/d/scan.e57","size":1000,"seed":1}'
    seed '{"path":"/d/sub/deep.e57","size":1000,"seed":2}'
    mount_drive
    on mv "$S/d" "$S/d2"
    wait_until 10 remote /d2/sub/deep.e57 id
    seed "$(shared_out "$(remote /d/sub/deep.e57 id)" false)"
    sync_drive
    remote /d/sub/deep.e57 id
    remote /d/scan.e57 id
    equal "deletes" "$(requests delete)" 0
    on test -e "$S/d/sub/deep.e57"
    [[ $(xattr "$S/d" error) == *shared* ]]
}

@test "a service that cannot say what is shared renames nothing until it can" {
    seed '{"path":"/scan.e57","size":1000,"seed":1}'
    fault '{"endpoint":"shared_out","status":503}'
    mount_drive
    on mv "$S/scan.e57" "$S/moved.e57"
    sleep 3
    remote /scan.e57 id
    equal "copy calls" "$(requests copy)" 0
    on test -e "$S/moved.e57"
    clear_faults
    sync_drive
    remote /moved.e57 id
    absent /scan.e57
}

@test "a service that cannot say what was made on a file renames it only when it can" {
    seed '{"path":"/scan.e57","size":1000,"seed":1}'
    fault '{"endpoint":"trigger","status":500}'
    mount_drive
    on mv "$S/scan.e57" "$S/moved.e57"
    sleep 2
    remote /scan.e57 id
    equal "copy calls" "$(requests copy)" 0
    clear_faults
    sync_drive
    remote /moved.e57 id
    absent /scan.e57
}

@test "an answer that makes no sense is no configuration: the rename waits for a better one" {
    seed '{"path":"/scan.e57","size":1000,"seed":1}'
    fault '{"endpoint":"configuration","body":"[17]"}'
    mount_drive
    on mv "$S/scan.e57" "$S/moved.e57"
    wait_until 10 eval '[ "$(requests configuration)" -ge 1 ]'
    sleep 1
    on test -e "$S/moved.e57"
    equal "copy calls" "$(requests copy)" 0
    clear_faults
    sync_drive
    remote /moved.e57 id
    absent /scan.e57
}

@test "a service that does not answer what is shared lists its root all the same" {
    seed '{"path":"/scan.e57","size":1000,"seed":1}'
    fault '{"endpoint":"shared_out","stall":0}'
    mount_drive
    equal "root" "$(within 10 ls "$S")" scan.e57
    equal "size" "$(on stat -c %s "$S/scan.e57")" 1000
}

# --- what a copy brings along ---------------------------------------------------------------------

# bats test_tags=quick
@test "files that a copy brings along are moved once, and none is lost" {
    option copy_dependencies true
    seed_text /a/cube.obj "mtllib cube.mtl"
    seed_text /a/cube.mtl "newmtl blue"
    seed_text /a/other.obj "v 0 0 0"
    seed '{"dir":"/b"}'
    mount_drive
    on mv "$S/a/cube.obj" "$S/a/cube.mtl" "$S/a/other.obj" "$S/b/"
    sync_and_settle
    equal "there" "$(emu_get tree path=/ | jq -r '[.[]|select(.type=="file").path]|sort|join(" ")')" \
        "/b/cube.mtl /b/cube.obj /b/other.obj"
    equal "obj" "$(remote_text /b/cube.obj)" "mtllib cube.mtl"
    equal "mtl" "$(remote_text /b/cube.mtl)" "newmtl blue"
    equal "here" "$(on ls "$S/b" | tr '\n' ' ')" "cube.mtl cube.obj other.obj "
}

@test "what another user has under the name of a file that a copy could bring along is not that file" {
    option copy_dependencies true
    seed_text /a/cube.obj "mtllib cube.mtl"
    seed_text /a/cube.mtl "newmtl blue"
    seed '{"dir":"/b"}'
    mount_drive cache.attr_timeout=1h
    on ls "$S/a" "$S/b" >/dev/null
    seed_text /b/cube.mtl "newmtl grey"
    on "$PM" pause "$MNT" # or a list for the first shows mv what it then replaces
    on mv "$S/a/cube.obj" "$S/a/cube.mtl" "$S/b/"
    on "$PM" resume "$MNT"
    sync_and_settle
    equal "theirs" "$(remote_text /b/cube.mtl)" "newmtl grey"
    equal "ours" "$(remote_text /a/cube.mtl)" "newmtl blue"
    equal "obj" "$(remote_text /b/cube.obj)" "mtllib cube.mtl"
}

@test "a folder whose copies bring each other along is moved whole" {
    option copy_dependencies true
    for i in 1 2 3 4; do
        seed_text "/a/m$i.obj" "object $i"
        seed_text "/a/m$i.mtl" "material $i"
    done
    mount_drive
    emu_get digest path=/a >"$T/before"
    on mv "$S/a" "$S/b"
    sync_and_settle
    emu_get digest path=/b >"$T/after"
    cmp "$T/before" "$T/after"
    absent /a
}
