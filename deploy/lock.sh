#!/usr/bin/env bash
# Regenerate deploy/locks from pyproject.toml with uv (on PATH or in $UV): `deploy/lock.sh --upgrade` takes newer versions.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "$0")")/.."

lock() {  # NAME SOURCE...
    local name=$1
    shift
    "${UV:-uv}" pip compile --quiet --universal --python-version 3.11 --generate-hashes --only-binary :all: \
        --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command deploy/lock.sh \
        "$@" --output-file "deploy/locks/$name.txt" >/dev/null
}

lock device pyproject.toml "$@"
lock host --group host "$@"
# The tools join both environments: where they share a package they take its version.
lock build --group build -c deploy/locks/device.txt -c deploy/locks/host.txt "$@"
lock dev --group dev -c deploy/locks/device.txt -c deploy/locks/host.txt -c deploy/locks/build.txt "$@"
