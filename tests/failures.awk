# The failed tests in what a runner said: of bats "not ok" and its comments, of the others "--- PROGRAM:
# exit status N" and what follows, as far as the next program. A long one loses its middle; of a log
# without any (a build, lint) the end is shown.

BEGIN { longest = 60; most = 5; last = 40 }

function flush_block(    i, half) {
    if (!length_of)
        return
    if (++failed <= most) {
        half = longest / 2
        for (i = 1; i <= length_of; i++) {
            if (length_of <= longest || i <= half || i > length_of - half)
                print block[i]
            else if (i == half + 1)
                print "[" length_of - longest " lines]"
        }
    }
    length_of = 0
}

# Of what parallel runners say, the end of one test is the next one's first line.
/^not ok / { flush_block(); tap = 1; block[length_of = 1] = $0 }
/^--- .*: exit status/ { flush_block(); tap = 0; block[length_of = 1] = $0 }
length_of && !/^not ok |^--- .*: exit status/ {
    if (tap ? !/^#/ : /^ok |^[0-9]+ passed, |^=== /)
        flush_block()
    else
        block[++length_of] = $0
}
{ tail[NR % last] = $0 }

END {
    flush_block()
    if (failed > most)
        print "[" failed - most " more]"
    for (i = NR > last ? NR - last + 1 : 1; !failed && i <= NR; i++)
        print tail[i % last]
}
