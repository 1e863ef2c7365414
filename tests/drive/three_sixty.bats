# Folders that become projects of 360-for-you, with the strict service.

load lib_drafts

@test "a folder of photographs becomes one project with exactly these" { # bats test_tags=quick
    photos 12 20000
    mount_360
    fill
    complete
    publish
    one_project
    equal "requests that opened" "$(requests open)" 1
    equal "bytes sent" "$(bytes_in)" $((12 * 20000))
    equal "title" "$(projects '.[0].title')" '"Building scan"'
    on diff -r "$T/src" "$D"
}
