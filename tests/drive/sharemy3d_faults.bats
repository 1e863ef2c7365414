# ShareMy3D on the drive: uploads that something happens to. The service is the strict emulator, which counts
# a second POST for one drop, a gap, or another content as a breach.

load lib_uploads

# sent: bytes that came to the storage host
sent() {
    emu_get log/summary | jq '[.bytes_in | (.session_put, .object_put) // 0] | add'
}

# uploading FILE PERCENT: it has come so far at least
uploading() {
    local state
    state=$(xattr "$1" state)
    [[ $state == synced ]] || { [[ $state == uploading* ]] && [ "$(tr -dc 0-9 <<<"$state")" -ge "$2" ]; }
}

# bats test_tags=quick
@test "the answer to the POST is lost: one model, and the one that nobody knows the address of is deleted" {
    local how
    mount_sm3d
    for how in '"reset":"after"' '"status":504,"processed":true' '"cut":10'; do
        random "$T/src/a$RANDOM.ply" 200000
        local f=("$T/src"/*)
        fault "{\"endpoint\":\"model_new\",\"count\":1,$how}"
        drop "${f[0]}"
        sync_drive 60
        clear_faults
        one_of "${f[0]}"
        equal "left" "$(left_uploading)" 0
        rm "${f[0]}"
    done
    equal "models" "$(made)" 3
}

@test "the answer to the POST is lost, and lists lag: what it left is deleted all the same" {
    option sm3d.list_lag_ms 3000
    mount_sm3d
    random "$T/src/a.ply" 20000
    fault '{"endpoint":"model_new","count":1,"reset":"after"}'
    drop "$T/src/a.ply"
    sync_drive 60
    one_of "$T/src/a.ply"
    equal "left" "$(left_uploading)" 0
}

@test "the answer to the POST is lost, and the file removed or changed before another comes: nothing is left" {
    mount_sm3d
    random "$T/src/a.ply" 20000
    random "$T/src/b.ply" 30000
    fault '{"endpoint":"model_new","count":100,"reset":"after"}'
    drop "$T/src/a.ply"
    drop "$T/src/b.ply"
    wait_until 20 posted 2
    on rm "$U/a.ply"
    random "$T/src/b.ply" 40000
    drop "$T/src/b.ply"
    clear_faults
    sync_drive 60
    equal "left" "$(left_uploading)" 0
    one_of "$T/src/b.ply"
}

posted() {
    [ "$(requests model_new)" -ge "$1" ]
}

@test "the answer to the POST is lost, and others upload the same: nothing of theirs is touched" {
    random "$T/src/a.ply" 20000
    # before, a while before our POST and in the moment of it
    seed_model '{"size":20000,"filename":"a.ply","name":"a model","status":"UPLOADING"}'
    mount_sm3d
    fault '{"endpoint":"model_new","count":1,"reset":"after"}'
    drop "$T/src/a.ply"
    sync_drive 60
    one_of "$T/src/a.ply"
    equal "theirs" "$(emu_get sm3d/items kind=model | jq '[.[] | select(.seeded)] | length')" 1
    equal "left" "$(left_uploading)" 1 # theirs
}

@test "the answer to the POST is lost, and more than one model could be it: none is deleted" {
    random "$T/src/a.ply" 20000
    mount_sm3d
    fault '{"endpoint":"model_new","count":1,"reset":"after"}'
    fault '{"endpoint":"object_put","count":1,"delay_ms":3000}'
    drop "$T/src/a.ply"
    wait_until 20 begun
    seed_model '{"size":20000,"filename":"a.ply","name":"a model","status":"UPLOADING"}'
    sync_drive 60
    one_of_mine
    equal "left" "$(left_uploading)" 2
    equal "deleted" "$(requests model_delete)" 0
}

one_of_mine() {
    equal "whole" "$(made '[.[] | select(.status != "UPLOADING")] | length')" 1
}

@test "the drive dies while the POST is under way: one model, and nothing of ours is left" {
    random "$T/src/a.ply" 200000
    mount_sm3d
    fault '{"endpoint":"model_new","count":1,"stall":0}'
    drop "$T/src/a.ply"
    wait_until 20 begun
    crash_drive
    clear_faults
    remount
    sync_drive 60
    one_of "$T/src/a.ply"
    equal "left" "$(left_uploading)" 0
}

begun() {
    [ "$(requests model_new)" -gt 0 ]
}

@test "kill -9 at random in the middle of an upload: one model, byte-equal, little is sent twice" {
    random "$T/src/scan.ply" 100000000
    seed_model '{"size":100000000,"filename":"scan.ply","name":"scan","status":"UPLOADING"}'
    mount_sm3d net.limit_up=20000000
    within 60 cp "$T/src/scan.ply" "$U/"
    local i
    for i in 15 35 55 75; do
        wait_until 60 uploading "$U/scan.ply" $((i + RANDOM % 12))
        crash_drive
        remount
        on ls "$U" >/dev/null
    done
    sync_drive 90
    one_of "$T/src/scan.ply"
    at_most "bytes sent" "$(sent)" $((100000000 + 16 * 1024 * 1024))
    equal "left, theirs" "$(left_uploading)" 1
    equal "POSTs" "$(requests model_new)" 1
}

@test "a session that dies is followed by another model, the dead one is deleted" {
    local status
    mount_sm3d net.limit_up=20000000
    for status in 404 410; do
        random "$T/src/s$status.ply" 30000000
        drop "$T/src/s$status.ply"
        wait_until 30 uploading "$U/s$status.ply" 20
        emu_post sm3d/break "{\"id\":\"$(made '[.[] | select(.status == "UPLOADING").id][0]')\",\"status\":$status}"
        fault '{"endpoint":"session_put","count":1,"status":503}'
        crash_drive
        remount
        sync_drive 90
        clear_faults
        one_of "$T/src/s$status.ply"
        equal "left" "$(left_uploading)" 0
    done
    equal "models" "$(made)" 2
}

@test "answers of the storage that are lost, late, or tell less than was sent: byte-equal, once" {
    local how n=0
    mount_sm3d
    for how in '"reset":"after"' '"status":503,"retry_after":1' '"status":504,"processed":true' \
        '"reset":"during","reset_at":9000000' '"cut":1' '"status":500'; do
        n=$((n + 1))
        random "$T/src/f$n.ply" 20000000
        fault "{\"endpoint\":\"session_put\",\"count\":1,$how}"
        drop "$T/src/f$n.ply"
        sync_drive 60
        clear_faults
        one_of "$T/src/f$n.ply"
    done
    option sm3d.short_every 2
    random "$T/src/short.ply" 20000000
    drop "$T/src/short.ply"
    sync_drive 60
    one_of "$T/src/short.ply"
    equal "left" "$(left_uploading)" 0
    equal "models" "$(made)" 7
}

@test "a storage that keeps nothing of a PUT that broke gets the content in pieces" {
    option sm3d.torn '"drop"'
    mount_sm3d
    random "$T/src/a.ply" 40000000
    fault '{"endpoint":"session_put","count":1,"reset":"during","reset_at":12000000}'
    drop "$T/src/a.ply"
    sync_drive 60
    one_of "$T/src/a.ply"
    equal "PUTs" "$(requests session_put)" 6
}

@test "the same for small files, which go in one PUT" {
    local how n=0
    mount_sm3d
    for how in '"reset":"after"' '"status":503,"retry_after":1' '"status":504,"processed":true' \
        '"reset":"during","reset_at":100000' '"status":403'; do
        n=$((n + 1))
        random "$T/src/f$n.ply" 2000000
        fault "{\"endpoint\":\"object_put\",\"count\":1,$how}"
        drop "$T/src/f$n.ply"
        sync_drive 60
        clear_faults
        one_of "$T/src/f$n.ply"
    done
    equal "left" "$(left_uploading)" 0
    equal "models" "$(made)" 5
}

@test "every kind of upload address is used as what it is" {
    local form n=0
    mount_sm3d
    for form in json xml start; do
        option sm3d.resumable_form "\"$form\""
        for put in v2 v4 lower opaque; do
            option sm3d.put_form "\"$put\""
            n=$((n + 1))
            random "$T/src/small$n.ply" 30000
            random "$T/src/large$n.ply" 9000000
            drop "$T/src/small$n.ply"
            drop "$T/src/large$n.ply"
            sync_drive 60
            one_of "$T/src/small$n.ply"
            one_of "$T/src/large$n.ply"
        done
    done
    equal "models" "$(made)" 24
    equal "left" "$(left_uploading)" 0
}

@test "a service that is too busy is obeyed, and the upload comes through" {
    option sm3d.rate_limit 3 && option sm3d.rate_window_ms 1000 && option sm3d.retry_after '"seconds"'
    option sm3d.second_post '"fine"'
    mount_sm3d
    random "$T/src/a.ply" 30000
    random "$T/src/b.ply" 30000
    drop "$T/src/a.ply"
    drop "$T/src/b.ply"
    sync_drive 60
    option sm3d.rate_limit 0
    one_of "$T/src/a.ply"
    one_of "$T/src/b.ply"
    equal "left" "$(left_uploading)" 0
    equal "models" "$(made)" 2
}

@test "what is removed or changed while it is sent leaves nothing there but the last content" {
    mount_sm3d net.limit_up=10000000
    random "$T/src/a.ply" 30000000
    drop "$T/src/a.ply"
    wait_until 30 uploading "$U/a.ply" 10
    on rm "$U/a.ply"
    sync_drive 60
    equal "models" "$(made)" 0
    drop "$T/src/a.ply"
    wait_until 30 uploading "$U/a.ply" 10
    random "$T/src/b.ply" 40000
    on cp "$T/src/b.ply" "$U/.a.ply.AbCd12"
    on mv "$U/.a.ply.AbCd12" "$U/a.ply"
    sync_drive 60
    equal "models" "$(made)" 1
    on cmp "$U/a.ply" "$T/src/b.ply"
    equal "size" "$(made '.[0].size')" 40000
    equal "left" "$(left_uploading)" 0
}

@test "what is made shorter after it was sent, and before that was confirmed, is sent anew" {
    mount_sm3d
    random "$T/src/a.ply" 300000
    fault '{"endpoint":"model","stall":0}'
    drop "$T/src/a.ply"
    wait_until 20 hit model
    crash_drive
    clear_faults
    fault '{"endpoint":"any","status":503}'
    remount
    random "$T/src/a.ply" 40000
    drop "$T/src/a.ply"
    clear_faults
    sync_drive 60
    one_of "$T/src/a.ply"
    equal "models" "$(made)" 1
}

@test "a replacement survives a crash at every step: never less than one whole model, and in the end one" {
    local i
    mount_sm3d net.limit_up=10000000
    random "$T/src/a.ply" 1000000
    drop "$T/src/a.ply"
    sync_drive
    for i in model_new object_put model model_delete; do
        random "$T/src/a.ply" $((1000000 + RANDOM))
        fault "{\"endpoint\":\"$i\",\"skip\":0,\"count\":1,\"reset\":\"after\"}"
        on cp "$T/src/a.ply" "$U/.a.ply.AbCd12"
        on mv "$U/.a.ply.AbCd12" "$U/a.ply"
        forget_traffic
        wait_until 30 hit "$i"
        crash_drive
        [ "$(made '[.[] | select(.status != "UPLOADING")] | length')" -ge 1 ]
        remount
        sync_drive 60
        clear_faults
        one_of "$T/src/a.ply" .a.ply.AbCd12 || one_of "$T/src/a.ply"
        equal "models" "$(made)" 1
    done
}

hit() {
    [ "$(requests "$1")" -gt 0 ]
}

@test "a model that is removed elsewhere before it was confirmed is uploaded anew" {
    option sm3d.notice_ms 2500
    mount_sm3d
    random "$T/src/a.ply" 30000
    drop "$T/src/a.ply"
    wait_until 20 hit object_put
    emu_post sm3d/remove "{\"id\":\"$(made '.[0].id')\"}"
    option sm3d.notice_ms 100
    sync_drive 60
    one_of "$T/src/a.ply"
}

@test "a model that the service does not know yet, just after it was made, is waited for" {
    mount_sm3d
    fault '{"endpoint":"model","count":3,"status":404}'
    random "$T/src/a.ply" 30000
    drop "$T/src/a.ply"
    sync_drive 60
    one_of "$T/src/a.ply"
    equal "made" "$(requests model_new)" 1
}

@test "2 GiB, kill -9 at random five times: one model, byte-equal, at most 16 MiB sent twice" {
    [ -n "${PM_FULL:-}" ] || skip "with PM_FULL=1"
    truncate -s 2G "$T/src/scan.ply"
    printf end | dd of="$T/src/scan.ply" bs=1 seek=2147483000 conv=notrunc status=none
    seed_model '{"size":2147483648,"filename":"scan.ply","name":"scan","status":"UPLOADING"}'
    mount_sm3d
    within 300 cp --sparse=always "$T/src/scan.ply" "$U/"
    local i
    for i in 1 2 3 4 5; do
        wait_until 120 uploading "$U/scan.ply" $((i * 15 + RANDOM % 10))
        crash_drive
        remount
        on ls "$U" >/dev/null
    done
    sync_drive 300
    one_of "$T/src/scan.ply"
    at_most "bytes sent" "$(sent)" $((2147483648 + 16 * 1024 * 1024))
    equal "left, theirs" "$(left_uploading)" 1
}
