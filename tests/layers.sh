#!/usr/bin/env bash
# The layers hold: fs -> cache -> backends, each library in its one home, every header stands alone.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0

# refuse WHAT PATTERN FILE...: these files may not match.
refuse() {
    local what=$1 pattern=$2 hits
    shift 2
    hits=$(grep -HnE "$pattern" "$@" /dev/null)
    [ -z "$hits" ] && return
    printf 'layers: %s\n%s\n' "$what" "$hits"
    bad=1
}

refuse "backends/ knows nothing above it" '#include "(fs|cache)/' backends/*.[ch]
refuse "cache/ knows nothing of fs/" '#include "fs/' cache/*.[ch]
refuse "fs/ and cache/ see of backends/ only backend.h, conf.h and util.h" \
    '#include "backends/(backend|conf|util)?[^.]*[^"]"' \
    <(grep -HnE '#include "backends/' fs/*.[ch] cache/*.[ch] | grep -vE '"backends/(backend|conf|util)\.h"')
refuse "libfuse has its home in fs/" '#include <fuse' cache/*.[ch] backends/*.[ch]
refuse "SQLite has its home in cache/db*.c" '#include <sqlite3' fs/*.[ch] backends/*.[ch] \
    $(ls cache/*.[ch] | grep -v '^cache/db[a-z_]*\.c$')
refuse "libcurl has its home in backends/http*" '#include <curl' fs/*.[ch] cache/*.[ch] \
    $(ls backends/*.[ch] | grep -vE '^backends/http')
refuse "cJSON has its home in backends/" '#include <(cjson/)?cJSON' fs/*.[ch] cache/*.[ch]
refuse "OpenSSL has its home in backends/{sign,digest}.*" '#include <openssl' fs/*.[ch] cache/*.[ch] \
    $(ls backends/*.[ch] | grep -vE '^backends/(sign|digest)\.')
refuse "no service is named above backends/ (but by the demonstration)" \
    '"(smartshape|sharemy3d|shapeways|360)"' $(ls fs/*.[ch] | grep -v "^fs/demo\.c$") cache/*.[ch]
refuse "a library does not end the program" '(^|[^>._a-z])(exit|abort|_exit)\(' cache/*.c backends/*.c

for f in fs/*.c cache/*.c backends/*.c; do
    own="${f%.c}.h"
    [ -f "$own" ] || continue
    first=$(grep -m1 '^#include' "$f")
    [ "$first" = "#include \"$own\"" ] || { echo "layers: $f includes $first first, not its own header"; bad=1; }
done
[ $bad = 0 ] && echo "layers: hold"
exit $bad
