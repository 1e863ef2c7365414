#!/usr/bin/env bash
# Warnings of a second compiler, clang-tidy and cppcheck, all as errors, and tags that bats does not see.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
flags=(-std=gnu17 -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
    -DFUSE_USE_VERSION=314 '-DPM_VERSION="lint"' -I. -pthread)
read -ra libs < <(pkg-config --cflags fuse3 libcurl libcjson libcrypto sqlite3 inih libmicrohttpd)
ours=(fs/*.c cache/*.c backends/*.c)
tests=(tests/emulator/*.c tests/unit/*.c tests/unit/inject/*.c tests/drive/*.c)

echo "clang: ${#ours[@]} + ${#tests[@]} files"
printf '%s\n' "${ours[@]}" "${tests[@]}" |
    xargs -P "$(nproc)" -n 8 clang -fsyntax-only "${flags[@]}" "${libs[@]}" || bad=1
for h in fs/*.h cache/*.h backends/*.h; do
    clang -fsyntax-only -x c "${flags[@]}" "${libs[@]}" -Wno-unused-function "$h" || { echo "$h does not stand alone"; bad=1; }
done
echo "clang-tidy"
tidy() { # FILE...: prints what it finds, without clang's count of suppressed warnings
    clang-tidy --quiet "$@" -- "${flags[@]}" "${libs[@]}" 2>/dev/null
}
half=$(((${#ours[@]} + 1) / 2))
tidy "${ours[@]:0:half}" & first=$!
tidy "${ours[@]:half}" || bad=1
wait $first || bad=1
echo "cppcheck"
cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr -j "$(nproc)" \
    --enable=warning,performance,portability --library=posix -D_GNU_SOURCE -I. \
    --suppressions-list=tests/cppcheck.txt fs cache backends || bad=1
# bats reads a tag only on the line before its test.
if grep -n '^@test.*{.*bats test_tags' tests/drive/*.bats; then
    echo "a tag behind its test is none"
    bad=1
fi
[ $bad = 0 ] && echo "lint: clean"
exit $bad
