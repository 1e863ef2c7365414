# How programs save: through temporary files, backups, swap files and locks. However it is done, the
# service ends up with the new content in the same object, and with nothing else.
load lib

OLD=$'first line\nsecond line\nthird line\n'
NEW=$'changed line\nsecond line\nthird line\n'

# A file on the service, in a folder of its own, that this drive has not read yet
setup() {
    new_place
    start_emulator
    seed_text /dir/plan.txt "$OLD"
    ID=$(remote /dir/plan.txt id)
    mount_drive
    F=$S/dir/plan.txt
}

text_of() {
    on cat "$1" && echo .
}

# saved [TEXT [OTHER...]]: it is shown at once, and the service's object is updated by itself, without
# `sync`, which would send backups, too. OTHER: files that are its to have besides.
saved() {
    local text=${1-$NEW} other
    shift || true
    equal "shown" "$(text_of "$F")" "$text."
    wait_until 15 remote_is /dir/plan.txt sha256 "$(printf %s "$text" | sha256sum | cut -d' ' -f1)"
    equal "id" "$(remote /dir/plan.txt id)" "$ID"
    for other; do wait_until 15 remote "/dir/$other" id; done
    wait_until 15 settled /dir
    nothing_stray "$@"
}

# nothing_stray [OTHER...]: the one object, and nothing else was ever there: no upload of another
# name, no copy, no removal.
nothing_stray() {
    local expected="plan.txt${*/#/ }"
    equal "objects" "$(emu_get tree path=/dir | jq -r '[.[].path|ltrimstr("/dir/")]|sort|join(" ")')" \
        "$expected"
    equal "uploads" "$(requests upload)" $#
    equal "copies" "$(requests copy)" 0
    equal "removals" "$(requests delete)" 0
}

# The names shown in the folder
names() {
    on ls -A "$S/dir" | tr '\n' ' '
}

# --- vim ----------------------------------------------------------------------------------------

# vim_saves OPTION...: the first line is changed, with a swap file
vim_saves() {
    local vim option set=()
    for vim in vim vim.tiny vi; do
        ! command -v "$vim" >/dev/null || break
    done
    for option; do set+=(-c "set $option"); done
    on "$vim" -u NONE -i NONE -E -s -c 'set nocompatible swapfile updatecount=1 backupskip=' "${set[@]}" \
        -c "redir! > $T/swap" -c 'swapname' -c 'redir END' -c '1s/first/changed/' -c 'preserve' \
        -c 'wq' "$F"
    grep -q 'plan.txt.*\.swp' "$T/swap" # it did have one, here
}

# bats test_tags=quick
@test "vim saves, with swap file and its test file 4913, into the same object" {
    vim_saves nobackup writebackup backupcopy=auto
    saved
    equal "names" "$(names)" "plan.txt "
}

@test "vim saves by renaming to a backup that it keeps, which has the old content" {
    vim_saves backup backupcopy=no
    equal "names" "$(names)" "plan.txt plan.txt~ "
    equal "backup" "$(text_of "$F~")" "$OLD."
    saved
    equal "backup" "$(text_of "$F~")" "$OLD."
}

@test "vim saves in place, with a backup that is a copy, and a file of its own" {
    vim_saves backup backupcopy=yes
    equal "backup" "$(text_of "$F~")" "$OLD."
    saved "$NEW" plan.txt~
    equal "backup on the service" "$(remote_text /dir/plan.txt~ && echo .)" "$OLD."
}

@test "vim saves in place without any backup" {
    vim_saves nobackup nowritebackup
    saved
    equal "names" "$(names)" "plan.txt "
}

@test "vim saves again over what is on the service, and the backup is of the save before" {
    vim_saves backup backupcopy=no
    saved
    on sed -i "1s/.*/first again/" "$F"
    saved $'first again\nsecond line\nthird line\n'
    vim_saves backup backupcopy=no
    saved $'changed again\nsecond line\nthird line\n'
    equal "backup" "$(text_of "$F~")" $'first again\nsecond line\nthird line\n.'
    equal "names" "$(names)" "plan.txt plan.txt~ "
}

# --- nano ---------------------------------------------------------------------------------------

shows() {
    grep -q -a -F -- "$1" "$T/screen" 2>/dev/null
}

file_begins() {
    [[ $(on head -c 5 "$F") == "$1"* ]]
}

# In a terminal of its own, with what a person types
nano_saves() {
    mkfifo "$T/keys"
    TERM=vt100 within 40 script -qfc "nano -I $* '$F'" "$T/screen" <"$T/keys" >/dev/null 3>&- &
    local nano=$!
    exec 7>"$T/keys"
    wait_until 20 shows "GNU nano"
    printf 'NEW: ' >&7
    wait_until 20 shows "NEW: "
    printf '\x0f' >&7 # write out
    wait_until 20 shows "Write"
    printf '\r' >&7
    wait_until 20 file_begins "NEW: "
    printf '\x18' >&7 # exit
    wait "$nano"
    exec 7>&-
}

@test "nano saves into the same object" {
    nano_saves
    saved "NEW: $OLD"
    equal "names" "$(names)" "plan.txt "
}

@test "nano saves with a lock file and a backup, a file of its own with the old content" {
    nano_saves --backup --locking
    saved "NEW: $OLD" plan.txt~
    equal "names" "$(names)" "plan.txt plan.txt~ "
    equal "backup" "$(text_of "$F~")" "$OLD."
}

# --- GNOME --------------------------------------------------------------------------------------

@test "gedit and other GNOME programs save into the same object" {
    printf %s "$NEW" | on gio save "$F"
    saved
    equal "names" "$(names)" "plan.txt "
}

@test "GNOME programs that keep a backup keep the old content in it" {
    printf %s "$NEW" | on gio save --backup "$F"
    equal "backup" "$(text_of "$F~")" "$OLD."
    saved
    equal "names" "$(names)" "plan.txt plan.txt~ "
    equal "backup" "$(text_of "$F~")" "$OLD."
}

# --- patterns of programs too large to install for a test ---------------------------------------

@test "LibreOffice saves in place, beside its lock file" {
    write "$S/dir/.~lock.plan.txt#" ",user,host,22.11.2026 10:00;file:///profile;"
    on cat "$F" >/dev/null
    on cp "$F" "$T/backup"
    on truncate -s 0 "$F"
    printf %s "$NEW" | on dd of="$F" bs=7 conv=notrunc status=none
    saved
    on rm "$S/dir/.~lock.plan.txt#"
    nothing_stray
}

@test "LibreOffice saves by a temporary file and rename, beside its lock file" {
    write "$S/dir/.~lock.plan.txt#" ",user,host,22.11.2026 10:00;file:///profile;"
    write "$S/dir/lu41x2.tmp" "$NEW"
    sleep 0.6 # longer than the delay
    on mv "$S/dir/lu41x2.tmp" "$F"
    saved
    on rm "$S/dir/.~lock.plan.txt#"
    nothing_stray
}

# What its copy over an existing file does: aside, new, and the old one goes.
@test "LibreOffice saves by copying over the file, with the old one aside meanwhile" {
    on mv "$F" "$F.osl-tmp"
    write "$F" "$NEW"
    on rm "$F.osl-tmp"
    saved
    equal "names" "$(names)" "plan.txt "
}

@test "Emacs saves by renaming to a backup, with fsync and the old mode" {
    on chmod 640 "$F"
    on cat "$F" >/dev/null
    run ! on ln -s "user@host.1234:5678" "$S/dir/.#plan.txt" # its lock: it does without
    on mv "$F" "$F~"
    printf %s "$NEW" | on dd of="$F" bs=16 conv=fsync status=none
    on chmod 640 "$F"
    saved
    equal "mode" "$(on stat -c %a "$F")" 640
    equal "backup" "$(text_of "$F~")" "$OLD."
}

# bats test_tags=quick
@test "CAD programs save by temporary file, old file to .bak, and again" {
    on "$PM" pause "$MNT" # an automatic save has no temporary name: it would be sent when it is left alone
    write "$S/dir/plan_1_1_8246.sv\$" "automatic save"
    write "$S/dir/save1.tmp" "in between"
    on mv "$F" "$S/dir/plan.bak"
    on mv "$S/dir/save1.tmp" "$F"
    on rm "$S/dir/plan_1_1_8246.sv\$"
    on "$PM" resume "$MNT"
    equal "backup" "$(text_of "$S/dir/plan.bak")" "$OLD."
    saved "in between"
    write "$S/dir/save2.tmp" "$NEW"
    on rm "$S/dir/plan.bak"
    on mv "$F" "$S/dir/plan.bak"
    on mv "$S/dir/save2.tmp" "$F"
    equal "backup" "$(text_of "$S/dir/plan.bak")" "in between."
    saved
    equal "backup" "$(text_of "$S/dir/plan.bak")" "in between."
    equal "names" "$(names)" "plan.bak plan.txt "
}

# aside MODEL BACKUP TEMPORARY: what it saves goes to a name of its own, then the old file becomes
# the backup, and the new one takes its place. It does so at once, or the name of its own would be sent.
aside() {
    on "$PM" pause "$MNT"
    write "$3" "$NEW"
    on mv "$1" "$2"
    on mv "$3" "$1"
    on "$PM" resume "$MNT"
    equal "backup" "$(text_of "$2")" "$OLD."
    wait_until 15 remote_is "/dir/${1##*/}" size ${#NEW}
}

@test "Blender and FreeCAD save into the same object, and keep the old content in their backups" {
    local name
    seed_text /dir/robot.blend "$OLD"
    seed_text /dir/part.FCStd "$OLD"
    seed_text /dir/other.FCStd "$OLD"
    local -A ids
    for name in robot.blend part.FCStd other.FCStd; do ids[$name]=$(remote "/dir/$name" id); done
    aside "$S/dir/robot.blend" "$S/dir/robot.blend1" "$S/dir/robot.blend@"
    aside "$S/dir/part.FCStd" "$S/dir/part.FCStd1" "$S/dir/part.FCStd.0b1c-22"
    aside "$S/dir/other.FCStd" "$S/dir/other.20261122-101500.FCBak" "$S/dir/other.FCStd.0b1c-23"
    for name in robot.blend part.FCStd other.FCStd; do
        equal "id of $name" "$(remote "/dir/$name" id)" "${ids[$name]}"
    done
    equal "objects" "$(remote_count /dir)" 4
    equal "copies" "$(requests copy)" 0
}

@test "sed -i, perl -i and Qt programs save through names of their own" {
    on sed -i 's/^first/changed/' "$F"
    saved
    on perl -pi -e 's/^third/3rd/' "$F"
    saved "${NEW/third/3rd}"
    # QSaveFile: written, synced, renamed at once
    on "$PM" pause "$MNT"
    printf %s "$OLD" | on dd of="$F.AbCdEf" conv=fsync status=none
    on mv "$F.AbCdEf" "$F"
    on "$PM" resume "$MNT"
    saved "$OLD"
    equal "names" "$(names)" "plan.txt "
}

# --- what becomes of the old content ------------------------------------------------------------

# A file that is not cached, of some size
seed_model() {
    seed '{"path":"/dir/model.e57","size":6000000}'
    MODEL=$S/dir/model.e57
    MODEL_ID=$(remote /dir/model.e57 id)
    emu_get content path=/dir/model.e57 >"$T/old.e57"
    random "$T/new.e57" 300000
    wait_until 20 on test -f "$MODEL"
}

model_updated() {
    wait_until 20 remote_is /dir/model.e57 sha256 "$(sha256sum <"$T/new.e57" | cut -d' ' -f1)"
    equal "id" "$(remote /dir/model.e57 id)" "$MODEL_ID"
}

@test "mv f f~ of a file that is not cached, then a new f: the backup keeps the old content" {
    seed_model
    on mv "$MODEL" "$MODEL~"
    on cp "$T/new.e57" "$MODEL"
    model_updated
    on cmp "$MODEL~" "$T/old.e57"
    on cmp "$MODEL" "$T/new.e57"
    remount
    on cmp "$MODEL~" "$T/old.e57"
    sync_drive # now it is an object of its own
    equal "backup on the service" "$(remote /dir/model.e57~ sha256)" \
        "$(sha256sum <"$T/old.e57" | cut -d' ' -f1)"
    equal "id" "$(remote /dir/model.e57 id)" "$MODEL_ID"
}

@test "cp --backup and install keep the old content of a file that is not cached" {
    seed_model
    on cp --backup=simple "$T/new.e57" "$MODEL"
    model_updated
    on cmp "$MODEL~" "$T/old.e57"
    random "$T/newer.e57" 1000
    on install --backup --suffix=.bak "$T/newer.e57" "$MODEL"
    mv "$T/newer.e57" "$T/third.e57"
    on cmp "$MODEL.bak" "$T/new.e57"
    on cmp "$MODEL~" "$T/old.e57"
    mv "$T/third.e57" "$T/new.e57"
    model_updated
}

# A program that reads the beginning, and the rest only when it is told to, into $T/seen
start_viewer() {
    {
        exec <"$MODEL"
        head -c 4096
        echo opened >&2
        for _ in {1..300}; do
            [ ! -e "$T/read on" ] || break
            sleep 0.1
        done
        cat
    } >"$T/seen" 2>"$T/viewer" 3>&- &
    VIEWER=$!
    wait_until 10 grep -q opened "$T/viewer"
}

viewer_saw_the_old() {
    : >"$T/read on"
    wait "$VIEWER"
    cmp "$T/seen" "$T/old.e57"
}

# bats test_tags=quick
@test "a viewer that has a file open, mostly not cached, reads on in it when it is replaced" {
    seed_model
    start_viewer
    on cp "$T/new.e57" "$MODEL.tmp"
    on mv "$MODEL.tmp" "$MODEL"
    model_updated
    viewer_saw_the_old
    on cmp "$MODEL" "$T/new.e57"
    equal "objects" "$(remote_count /dir)" 2
}

@test "a viewer that has a file open, mostly not cached, reads on in it when it is removed and made anew" {
    seed_model
    start_viewer
    on rm "$MODEL"
    on cp "$T/new.e57" "$MODEL"
    model_updated
    viewer_saw_the_old
    on cmp "$MODEL" "$T/new.e57"
}

# --- saving again before the last save has arrived ----------------------------------------------------

by_backup() {
    on rm -f "$F~"
    on mv "$F" "$F~"
    write "$F" "$1"
}

by_passing_backup() {
    on mv "$F" "$F~"
    write "$F" "$1"
    on rm "$F~"
}

by_temporary_and_backup() {
    write "$S/dir/save.tmp" "$1"
    on rm -f "$S/dir/plan.bak"
    on mv "$F" "$S/dir/plan.bak"
    on mv "$S/dir/save.tmp" "$F"
}

by_removal() {
    on rm "$F"
    write "$F" "$1"
}

in_place() {
    write "$F" "$1"
}

# saves PAUSE WAY...: the last one counts, as the same object, and its backup is of the one before.
saves() {
    local pause=$1 way i=0
    shift
    for way; do
        i=$((i + 1))
        "$way" "save $i"
        sleep "$pause"
    done
    [ "$way" != by_backup ] || equal "backup" "$(on cat "$F~")" "save $((i - 1))"
    [ "$way" != by_temporary_and_backup ] ||
        equal "backup" "$(on cat "$S/dir/plan.bak")" "save $((i - 1))"
    wait_until 20 remote_is /dir/plan.txt sha256 "$(printf 'save %d' $i | sha256sum | cut -d' ' -f1)"
    equal "shown" "$(on cat "$F")" "save $i"
    equal "id" "$(remote /dir/plan.txt id)" "$ID"
    wait_until 15 settled /dir
    nothing_stray
}

# bats test_tags=quick
@test "saves in a row, faster than they are sent, are one object, with a backup" {
    saves 0 by_backup by_backup in_place by_backup
}

# bats test_tags=quick
@test "saves in a row, faster than they are sent, are one object, however it is done" {
    saves 0 by_passing_backup by_passing_backup in_place by_removal by_removal \
        by_temporary_and_backup by_temporary_and_backup
}

# while_sending WAY...: each save comes while the one before is on its way.
while_sending() {
    fault '{"endpoint":"update","delay_ms":1500}'
    saves 0.7 "$@"
}

# bats test_tags=quick
@test "saving again, with a backup, while the last save is being sent: one object" {
    while_sending by_backup by_backup by_backup
}

@test "saving again, with a backup that is removed, while the last save is being sent: one object" {
    while_sending by_passing_backup by_passing_backup by_passing_backup
}

@test "saving again, by temporary file and backup, while the last save is being sent: one object" {
    while_sending by_temporary_and_backup by_temporary_and_backup in_place by_temporary_and_backup
}

@test "removing and making anew while the last save is being sent: one object" {
    while_sending by_removal by_removal in_place by_removal
}

@test "saving a new file again, with a backup, while it is sent for the first time: one object" {
    fault '{"endpoint":"upload","delay_ms":2000}'
    F=$S/dir/fresh.txt
    write "$F" "first"
    sleep 0.7
    on mv "$F" "$F~"
    write "$F" "second"
    sleep 0.3
    on mv "$F" "$F~"
    write "$F" "third"
    wait_until 20 remote_is /dir/fresh.txt sha256 "$(printf third | sha256sum | cut -d' ' -f1)"
    wait_until 15 settled /dir
    equal "backup" "$(on cat "$F~")" "second"
    equal "uploads, removals, copies" "$(requests upload) $(requests delete) $(requests copy)" "1 0 0"
    equal "objects" "$(remote_count /dir)" 2
    on rm "$F" "$F~"
    sync_drive
    equal "objects" "$(remote_count /dir)" 1
}

@test "saves that a crash and a remount overtake are one object, with a backup" {
    fault '{"endpoint":"update","delay_ms":1500}'
    by_backup "save 1"
    sleep 0.7
    by_backup "save 2"
    crash_drive
    remount
    equal "backup" "$(on cat "$F~")" "save 1"
    by_backup "save 3"
    remount
    equal "backup" "$(on cat "$F~")" "save 2"
    wait_until 20 remote_is /dir/plan.txt sha256 "$(printf 'save 3' | sha256sum | cut -d' ' -f1)"
    equal "id" "$(remote /dir/plan.txt id)" "$ID"
    wait_until 15 settled /dir
    nothing_stray
}
