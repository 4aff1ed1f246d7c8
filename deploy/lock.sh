#!/usr/bin/env bash
# Regenerate deploy/locks from pyproject.toml with uv (on PATH or in $UV): `deploy/lock.sh --upgrade` takes newer versions.
set -euo pipefail
root=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
cd -- "$root"

lock() {  # NAME SOURCE...
    local name=$1
    shift
    "${UV:-uv}" pip compile --quiet --universal --python-version 3.11 --generate-hashes --only-binary :all: \
        --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command deploy/lock.sh \
        "$@" --output-file "$root/deploy/locks/$name.txt" >/dev/null
}

lock device pyproject.toml "$@"
# TensorFlow has no wheels for Python 3.14: the host's environment ends before it.
older=$(mktemp -d)
trap 'rm -rf -- "$older"' EXIT
sed "s/'3\.15'/'3.14'/; s/<3\.15/<3.14/" pyproject.toml >"$older/pyproject.toml"
(cd -- "$older" && lock host --group host "$@")
# What joins both environments takes the version of a package that it shares with them.
both=(-c deploy/locks/device.txt -c deploy/locks/host.txt)
# The extras alone: the project itself needs another numpy than the host.
extras() {  # CONDITION on an extra's name
    python3 -c "import tomllib
extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']
print(*(line for name, extra in extras.items() if name $1 for line in extra), sep='\\n')"
}
extras "not in ('glasses', 'all')" | lock sinks - "${both[@]}" "$@"
extras "== 'glasses'" | lock glasses - "${both[@]}" -c deploy/locks/sinks.txt "$@"
lock build --group build "${both[@]}" "$@"
lock pip --group pip "$@"
lock docs --group docs "$@"
lock dev --group dev "${both[@]}" -c deploy/locks/build.txt -c deploy/locks/sinks.txt "$@"
# Without what they ask for beyond that: windows, video, USB, and a numpy that Python 3.11's tflite-runtime does not take.
lock emulation --group emulation --no-deps "${both[@]}" -c deploy/locks/sinks.txt -c deploy/locks/glasses.txt "$@"
