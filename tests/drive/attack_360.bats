# What people and programs do to drafts of 360-for-you that nobody had in mind: nothing is lost, nothing
# hangs, and nothing that is told of it is untrue.

load lib_drafts

# SmartShape's account beside it, at $H
mount_both() {
    # shellcheck disable=SC2034 # lib.bash reads it
    ACCOUNTS=(shape)
    H=$MNT/shape
    mount_360 "$@"
}

@test "what is moved here from another service is removed there when it is published, not before" {
    seed_text /scans/a.jpg "content of a"
    seed_text /scans/b.jpg "content of b, longer"
    mount_both upload.delete_delay=100ms
    on mv "$H/scans" "$S/scans"
    wait_until 20 state_is "$S/scans" "draft: complete"
    within 30 "$PM" sync "$MNT" >"$T/sync.out" # a draft does not fail it, nor what waits for that
    grep "shape/scans/a.jpg: waiting: what may be moved to another account goes when that has it" "$T/sync.out"
    equal "removals sent" "$(requests delete)" 0
    crash_drive
    remount
    wait_until 20 state_is "$S/scans" "draft: complete"
    sync_drive
    equal "a" "$(remote_text /scans/a.jpg)" "content of a"
    equal "b" "$(remote_text /scans/b.jpg)" "content of b, longer"
    publish "$S/scans"
    wait_until 20 absent /scans
    equal "names" "$(cd "$S/scans" && echo *)" "a.jpg b.jpg"
    equal "in the project" "$(projects '.[0].files | length')" 2
}

@test "what is stored through a mapping before a folder is published is in the project" {
    local writer
    photos 2 50000
    mount_360
    fill
    complete
    mkfifo "$T/stored" "$T/go"
    within 60 python3 - "$D/photo 1.jpg" "$T/stored" "$T/go" 3>&- <<'PY' &
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
m = mmap.mmap(fd, 50000)
os.close(fd)
m[0:5] = b"HELLO"
open(sys.argv[2], "w").close()
open(sys.argv[3]).close()
m.close()
PY
    writer=$!
    on cat "$T/stored"
    on setfattr -n user.polymount.publish -v "" "$D"
    wait_until 20 state_is "$D" "waiting: photo 1.jpg is open"
    equal "projects" "$(projects)" 0
    on dd if=/dev/null of="$T/go" status=none
    wait "$writer"
    wait_until 20 state_is "$D" synced
    printf HELLO | dd of="$T/src/photo 1.jpg" conv=notrunc status=none
    one_project
}

@test "removing or renaming what the service refused sends nothing of the rest again" {
    photos 2 50000
    mount_360
    fill
    complete
    on cp "$T/src/photo 1.jpg" "$D/setup.exe"
    on cp "$T/src/photo 1.jpg" "$D/copy.exe"
    wait_until 20 state_is "$D/setup.exe" "failed: "
    wait_until 20 state_is "$D/copy.exe" "failed: "
    on rm "$D/setup.exe"
    on mv "$D/copy.exe" "$D/copy.jpg"
    complete
    cp "$T/src/photo 1.jpg" "$T/src/copy.jpg"
    publish
    one_project
    equal "sessions opened" "$(requests open)" 1
    equal "PUTs of one" "$(requests put photo_2)" 1
}
