# What people and programs do to drafts of 360-for-you that nobody had in mind: nothing is lost, nothing
# hangs, and nothing that is told of it is untrue.

load lib_drafts

# SmartShape's account beside it, at $H
mount_both() {
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
    equal "names" "$(ls "$S/scans" | xargs)" "a.jpg b.jpg"
    equal "in the project" "$(projects '.[0].files | length')" 2
}
