#!/bin/sh
# Installs what building and testing needs: contrib/deps.sh PACKAGE... (Debian's names; `make deps`
# gives them). Only what is missing is installed; nothing is asked. On other systems it says which
# packages to install, and fails only if what building needs is not there.
set -u

modules="fuse3 libcurl libcjson libcrypto sqlite3 inih libmicrohttpd"

# npm often comes with a nodejs that is not Debian's, which then bars Debian's npm.
is_installed() {
    { [ "$1" = npm ] && command -v npm >/dev/null; } ||
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@" || sudo "$@"
    fi
}

debian() {
    missing=
    for package in "$@"; do
        is_installed "$package" || missing="$missing $package"
    done
    if [ -z "$missing" ]; then
        echo "deps: all there"
        return 0
    fi
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        echo "deps: missing:$missing" >&2
        echo "deps: run as root: apt-get update && apt-get install -y --no-install-recommends$missing" >&2
        return 1
    fi
    echo "deps: installing$missing"
    # A stale index is no reason to stop: the packages may still be had.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update ||
        echo "deps: apt-get update failed, trying with the index there is" >&2
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing
}

others() {
    cat <<'LIST'
deps: this is no Debian or Ubuntu; please install:
  Fedora:    sudo dnf install gcc make pkgconf fuse3 fuse3-devel libcurl-devel cjson-devel openssl-devel \
             sqlite-devel inih-devel libmicrohttpd-devel libcmocka-devel bats parallel curl jq attr rsync \
             psmisc python3 git sqlite vim-minimal nano glib2 perl fio stress-ng dbench bonnie++ \
             nodejs nodejs-npm
  Arch:      sudo pacman -S --needed base-devel fuse3 curl cjson openssl sqlite libinih libmicrohttpd \
             cmocka bats parallel jq attr rsync psmisc python git vim nano glib2 perl fio stress-ng dbench \
             bonnie++ nodejs npm
  openSUSE:  sudo zypper install gcc make pkg-config fuse3 fuse3-devel libcurl-devel cJSON-devel \
             libopenssl-devel sqlite3-devel inih-devel libmicrohttpd-devel libcmocka-devel bats gnu_parallel \
             curl jq attr rsync psmisc python3 git sqlite3 vim-small nano glib2-tools perl fio stress-ng \
             dbench bonnie nodejs-default npm-default
LIST
    # shellcheck disable=SC2086 # a list of words
    if pkg-config --exists $modules 2>/dev/null; then
        echo "deps: what building needs is there"
        return 0
    fi
    for module in $modules; do
        pkg-config --exists "$module" 2>/dev/null || echo "deps: pkg-config does not find $module" >&2
    done
    return 1
}

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    debian "$@"
else
    others
fi
