#!/bin/sh
# Installs libraries that only tests want, from npm, into a folder of ours: contrib/npm.sh FOLDER
# NAME@VERSION... Nothing is done where they are there. A failure is told, but is none of building's: the
# tests that want them then say so.
set -u

folder=$1
shift

has() {
    name=${1%@*}
    version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' "$folder/node_modules/$name/package.json" 2>/dev/null)
    [ "$version" = "${1##*@}" ]
}

for library; do
    has "$library" && continue
    echo "deps: installing $library into $folder"
    mkdir -p "$folder"
    # No script of a library is run.
    npm install --prefix "$folder" --ignore-scripts --no-save --no-audit --no-fund --loglevel=error \
        "$@" >&2 && has "$library" ||
        echo "deps: $library could not be had from npm: the tests that use it will fail" >&2
    break
done
