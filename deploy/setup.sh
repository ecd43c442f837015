# Sourced by the commands of this folder: what a fresh Debian lacks besides a Rust toolchain.
# shellcheck shell=bash

# need COMMAND PACKAGE …: installs the packages of the commands that are missing. A command with slashes is a file.
need() {
    local missing=()
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null 2>&1 || PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || { echo "missing: ${missing[*]} (run as root, or install them)" >&2; return 1; }
        as_root=(sudo)
    fi
    command -v apt-get >/dev/null 2>&1 || { echo "missing: ${missing[*]} (no apt-get here: install them)" >&2; return 1; }
    echo "installing ${missing[*]} …"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

need_rust() {
    command -v cargo >/dev/null 2>&1 && return 0
    echo "no cargo found: install a Rust toolchain, see rust-toolchain.toml for the version" >&2
    return 1
}
