# Of bats' TAP the names of the failed tests that may be run once more: a wait of theirs ran out, and
# nothing that they or teardown said is another matter than time.

function decide() {
    if (name != "" && waited && !final)
        print name
    name = ""
}

!/^#/ { decide() }
/^not ok [0-9]+ / {
    name = $0
    sub(/^not ok [0-9]+ /, "", name)
    waited = final = 0
    next
}
/^# *\(?(from|in) .*function `wait_until'/ || /^# .* failed with status 124$/ { waited = 1 }
/Sanitizer|runtime error:|[Aa]ssertion|core dumped|breaches of the service/ { final = 1 }
/the (daemon|emulator) (is dead|has ended|hangs|does not end)|exit status of the daemon|not unmounted/ { final = 1 }
/ differ: |: EOF on |^# [-+][0-9a-f]+  / { final = 1 } # cmp, diff of digests

END { decide() }
