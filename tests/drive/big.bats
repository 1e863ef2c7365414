load lib

# bats file_tags=alone

MEMORY_KIB=$((64 * 1024))

# Beyond 32 bits, with data around the edges and holes between.
make_sparse() {
    local at
    truncate -s 4200M "$1"
    for at in 0 2147483640 4294967290 4294971392 4350000000 4404015104; do
        head -c 4096 /dev/urandom | dd of="$1" bs=64K oflag=seek_bytes seek="$at" conv=notrunc \
            status=none
    done
}

enough_disk() {
    [ "$(df --output=avail -B1G "$T" | tail -1)" -ge 14 ] || skip "needs 14 GB in $T"
}

holds_memory() {
    sanitized || at_most "peak resident KiB" "$(peak_rss)" "$MEMORY_KIB"
}

@test "a file beyond 4 GiB goes in and comes out whole, in 64 MiB of memory" {
    enough_disk
    mount_drive
    make_sparse "$T/big.bin"
    within 120 cp --sparse=always "$T/big.bin" "$S/big.bin"
    equal "size" "$(on stat -c %s "$S/big.bin")" 4404019200
    sync_drive 120
    equal "size on the service" "$(remote /big.bin size)" 4404019200
    holds_memory
    remount_cold
    on cmp -n 65536 "$T/big.bin" "$S/big.bin"
    within 180 cmp -i 2147000000 "$T/big.bin" "$S/big.bin" # all around 2^31 and 2^32
    holds_memory
}

@test "data past 4 GiB is read at once, without what lies before it" {
    seed '{"path":"/far.bin","size":4500000000,"seed":7}'
    mount_drive
    forget_traffic
    on dd if="$S/far.bin" of="$T/part" bs=4096 count=16 iflag=skip_bytes skip=4499900000 status=none
    emu_get content path=/far.bin offset=4499900000 len=65536 >"$T/expected"
    cmp "$T/part" "$T/expected"
    at_most "bytes moved" "$(bytes_out far.bin)" 2097152
}

@test "a folder of 100,000 entries lists in 64 MiB of memory" {
    seed '{"dir":"/many","count":100000,"size":10,"prefix":"scan-"}'
    mount_drive net.op_timeout=60s # with sanitizers such a list takes long
    equal "entries" "$(within 90 ls -f "$S/many" | grep -c '^scan-')" 100000
    equal "entries in detail" "$(within 90 ls -l "$S/many" | grep -c ' 10 .* scan-')" 100000
    holds_memory
    equal "one of them" "$(on stat -c %s "$S/many/scan-099999.bin")" 10
}

@test "a new file in a folder of 100,000 is there at once, and sent" {
    seed '{"dir":"/many","count":100000,"size":10,"prefix":"scan-"}'
    mount_drive net.op_timeout=60s # with sanitizers such a list takes long
    within 90 ls -f "$S/many" >/dev/null
    write "$S/many/new.txt" "new"
    equal "its content" "$(on cat "$S/many/new.txt")" "new"
    sync_drive 60
    equal "on the service" "$(remote_text /many/new.txt)" "new"
    holds_memory
}
