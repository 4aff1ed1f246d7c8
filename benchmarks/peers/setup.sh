#!/usr/bin/env bash
# Make .venv-peer-NAME in the checkout from benchmarks/peers/NAME.txt: `benchmarks/peers/setup.sh fer`.
set -euo pipefail
# shellcheck source=deploy/venv.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../../deploy/venv.sh"

say() { printf 'setup.sh: %s\n' "$*" >&2; }

[ "$#" = 1 ] && [ "$1" = fer ] || die 2 "no peer '${*:-}'; valid is fer"
step make_venv "$root/.venv-peer-$1" "$root/benchmarks/peers/$1.txt"
say "ready: cuelens-bench --source file:CLIP --peer $1"
