#!/usr/bin/env bash
# `deploy.sh release`: what release.py does, in the environment that it needs.
set -euo pipefail
# shellcheck source=deploy/venv.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
environment .venv device
PYTHONPATH=$root:$root/.venv/backend exec "$root/.venv/bin/python" -P -m deploy.release "$@"
