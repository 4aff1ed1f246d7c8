#!/usr/bin/env bash
# `deploy.sh bundle`: what bundle.py does, in the environment that it needs.
set -euo pipefail
# shellcheck source=deploy/venv.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
environment .venv device
read_pip_files "$root/.venv"
PYTHONPATH=$root:$root/.venv/backend exec "$root/.venv/bin/python" -P -m deploy.bundle "$@"
