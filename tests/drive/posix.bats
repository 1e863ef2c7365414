load lib

MIB=1048576

# both COMMAND... FILE: does it to the file of the drive and to the copy of it in $T/src
both() {
    local name=${*: -1}
    set -- "${@:1:$#-1}"
    on "$@" "$S/$name"
    on "$@" "$T/src/$name"
}

# The service has what $T/src has, and so has the drive.
arrived() {
    sync_drive
    service_has "$T/src" /
    diff <(digest_of "$T/src") <(within 60 bash -c "$(declare -f digest_of); digest_of '$S'")
}

# A file on the service, and its copy here: seed_both NAME SIZE
seed_both() {
    seed "{\"path\":\"/$1\",\"size\":$2,\"seed\":7}"
    emu_get content "path=/$1" >"$T/src/$1"
}

# bats test_tags=quick
@test "room asked for by fallocate is there as zeros, and is sent" {
    seed_both old $MIB
    mount_drive
    both fallocate -l 300001 new
    append "$S/new" end
    append "$T/src/new" end
    both fallocate -l $((3 * MIB)) old
    both fallocate -l 1000 old
    equal "size" "$(on stat -c %s "$S/old")" $((3 * MIB))
    arrived
}

@test "room asked for by fallocate -n changes nothing" {
    seed_both old $MIB
    mount_drive
    local before
    before=$(remote /old updated)
    both fallocate -n -l $((3 * MIB)) old
    equal "size" "$(on stat -c %s "$S/old")" $MIB
    equal "pending" "$(pending)" 0
    arrived
    equal "the service's time of it" "$(remote /old updated)" "$before"
}

@test "more room than the disk has is refused" {
    mount_drive
    write "$S/file" text
    fails_with "No space left" fallocate -l 10T "$S/file"
    fails_with "No space left" fallocate -n -l 10T "$S/file"
    equal "content" "$(on cat "$S/file")" text
    equal "size" "$(on stat -c %s "$S/file")" 4
}

# bats test_tags=quick
@test "a hole punched into a file that is not cached reads as zeros, here and on the service" {
    seed_both old $((4 * MIB))
    mount_drive
    both fallocate -p -o 100001 -l $((2 * MIB)) old
    both fallocate -p -o $((4 * MIB - 10)) -l $MIB old
    equal "size" "$(on stat -c %s "$S/old")" $((4 * MIB))
    arrived
}

@test "a range made zero reads as zeros, here and on the service, and extends the file" {
    seed_both old $((4 * MIB))
    mount_drive
    both fallocate -z -o 5 -l 70001 old
    both fallocate -z -n -o $((4 * MIB - 10)) -l $MIB old
    equal "size" "$(on stat -c %s "$S/old")" $((4 * MIB))
    both fallocate -z -o $((4 * MIB - 10)) -l $MIB old
    equal "size" "$(on stat -c %s "$S/old")" $((5 * MIB - 10))
    arrived
}

@test "ranges are not taken out of files or put into them" {
    mount_drive
    write "$S/file" text
    fails_with "not supported" fallocate -c -o 0 -l 4096 "$S/file"
    fails_with "not supported" fallocate -i -o 0 -l 4096 "$S/file"
    equal "content" "$(on cat "$S/file")" text
}
