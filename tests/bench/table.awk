# CSV of the rig (profile,workload,metric,tool,rep,value) to a Markdown table of medians, in the order of
# rows.txt. Speed: how many times as fast as the row's first tool. A value of -1 is a failure, and counted.
BEGIN {
    FS = ","
    while ((getline line < titles) > 0) {
        if (line ~ /^# *tools: /)
            ntools = split(substr(line, index(line, ":") + 2), tools, " ")
        if (line ~ /^#/ || split(line, part, " ") < 3)
            continue
        rows[++nrows] = part[1]
        metric[part[1]] = part[2]
        sub(/^[^ ]+ +[^ ]+ +/, "", line)
        title[part[1]] = line
    }
}

metric[$2] == $3 {
    if (!($1 in seen)) {
        seen[$1] = 1
        profiles[++nprofiles] = $1
    }
    if (!($4 in known)) {
        known[$4] = 1
        others[++nothers] = $4
    }
    if ($6 < 0)
        failures[$1, $2, $4]++
    else
        values[$1, $2, $4, ++count[$1, $2, $4]] = $6 + 0
}

function sort_values(key, n,    i, j, v) {
    for (i = 2; i <= n; i++) {
        v = values[key, i]
        for (j = i - 1; j > 0 && values[key, j] > v; j--)
            values[key, j + 1] = values[key, j]
        values[key, j + 1] = v
    }
}

function show(profile, row, tool,    key, n, median) {
    key = profile SUBSEP row SUBSEP tool
    n = count[key]
    if (!n && !failures[key])
        return
    printf "| %s | %s | %s |", profile, title[row], tool
    if (n) {
        sort_values(key, n)
        median = n % 2 ? values[key, (n + 1) / 2] : (values[key, n / 2] + values[key, n / 2 + 1]) / 2
        if (!best)
            best = median
        printf " %.3g | %.3g to %.3g | %.2f |", median, values[key, 1], values[key, n], best / median
    } else {
        printf " - | - | - |"
    }
    printf " %d%s |\n", n, failures[key] ? ", failed " failures[key] : ""
}

END {
    print "| line | what | with | median s | from to | speed | runs |"
    print "|---|---|---|---:|---|---:|---|"
    for (i = 1; i <= nothers; i++)
        for (j = 1; j <= ntools + 1; j++) {
            if (j > ntools)
                tools[++ntools] = others[i]
            if (tools[j] == others[i])
                break
        }
    for (p = 1; p <= nprofiles; p++)
        for (r = 1; r <= nrows; r++) {
            best = 0
            for (i = 1; i <= ntools; i++)
                show(profiles[p], rows[r], tools[i])
        }
}
