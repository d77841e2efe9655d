#!/usr/bin/env bash
# Installs what a make target needs and the machine lacks: with apt where this user may, otherwise it says exactly
# what to install and stops. Usage: scripts/setup.sh build|demo|test|lint|bench|chaos
set -euo pipefail
cd "$(dirname "$0")/.."

goal=${1:?usage: scripts/setup.sh build|demo|test|lint|bench|chaos}
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
if [ "$goal" = demo ] || [ "$goal" = test ] || [ "$goal" = bench ]; then
    # Debian keeps it in /usr/sbin, which is not on everyone's PATH.
    [ -x /usr/sbin/haproxy ] || need haproxy haproxy
fi
if [ "$goal" = bench ]; then
    need nginx nginx-light
    need etcd etcd-server
fi
if [ "$goal" = test ] || [ "$goal" = bench ] || [ "$goal" = chaos ]; then
    # Debian keeps the server outside of the PATH.
    ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing+=(postgresql)
fi
if [ "$goal" = test ]; then
    # Real clusters for the tests of the etcd store.
    need etcd etcd-server
    need etcdctl etcd-client
fi

# The client of etcd compiles protobuf files with a protoc, which has to find the well-known ones too: Debian has those
# in a package of their own. Where there is neither and no right to install, a protoc in Rust does for this folder.
protoc_works() {
    local folder
    folder=$(mktemp -d)
    printf 'syntax = "proto3";\nimport "google/protobuf/descriptor.proto";\n' >"$folder/probe.proto"
    "$1" -I "$folder" -o "$folder/probe.bin" "$folder/probe.proto" >/dev/null 2>&1 && local works=0 || local works=1
    rm -r "$folder"
    return $works
}
may_install() {
    command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]
}
protox=.tools/bin/protox
if [ "$goal" != demo ] && ! protoc_works "${PROTOC:-protoc}" && ! { [ -f .cargo/config.toml ] && [ -x $protox ]; }; then
    if may_install; then
        missing+=(protobuf-compiler libprotobuf-dev)
    else
        echo "setup: no protoc that finds the well-known files; building protox into .tools (minutes, once)" >&2
        cargo install --quiet --locked protox --version 0.10.0 --features bin --root .tools
        mkdir -p .cargo
        printf '[env]\nPROTOC = { value = "%s", relative = true }\n' "$protox" >.cargo/config.toml
    fi
fi

if [ ${#missing[@]} -gt 0 ]; then
    if may_install; then
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
    build | demo | bench | chaos) ;;
    *)
        echo "setup: \`$goal\` is not a goal; use build, demo, test, lint, bench or chaos" >&2
        exit 2
        ;;
esac
