#!/usr/bin/env bash
# Runs every test: by nextest where it is installed, by plain cargo elsewhere; documentation tests by cargo in both.
set -euo pipefail
cd "$(dirname "$0")/.."

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace "$@"
    cargo test --quiet --workspace --doc
else
    cargo test --workspace "$@"
fi
