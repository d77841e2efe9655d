#!/usr/bin/env bash
# Installs what a make target needs and the machine lacks: with apt where this user may, otherwise it says exactly
# what to install and stops. Usage: scripts/setup.sh demo|test|lint|bench
set -euo pipefail
cd "$(dirname "$0")/.."

goal=${1:?usage: scripts/setup.sh demo|test|lint|bench}
venv=.venv
missing=()

# need COMMAND PACKAGE: PACKAGE is Debian's, installed when COMMAND is not on the PATH.
need() {
    command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}

command -v cargo >/dev/null 2>&1 || {
    echo "setup: cargo is missing; install Rust 1.95 or later (https://rustup.rs)" >&2
    exit 1
}
need cc gcc
need python3 python3
if [ "$goal" = test ] || [ "$goal" = lint ]; then
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
fi
if [ "$goal" = bench ]; then
    need nginx nginx-light
fi

if [ ${#missing[@]} -gt 0 ]; then
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        echo "setup: installing ${missing[*]}" >&2
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "setup: missing packages; install them and run this again: apt-get install ${missing[*]}" >&2
        exit 1
    fi
fi

# Python packages live in the project's own environment, pinned.
python_packages() {
    local stamp="$venv/.$1" list="scripts/requirements-$1.txt"
    if [ ! -f "$stamp" ] || ! cmp -s "$stamp" "$list"; then
        [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$list"
        cp "$list" "$stamp"
    fi
}
case "$goal" in
    test) python_packages test ;;
    lint) python_packages lint ;;
    demo | bench) ;;
    *)
        echo "setup: \`$goal\` is not a goal; use demo, test, lint or bench" >&2
        exit 2
        ;;
esac
