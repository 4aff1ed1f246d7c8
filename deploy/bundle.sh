#!/usr/bin/env bash
# `deploy.sh bundle`: what bundle.py does, in the environment that it needs.
set -euo pipefail
# shellcheck source=deploy/venv.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
environment .venv device
# The locks' hatchling, and what it brings; -P, since wheel.py lies beside bundle.py.
PYTHONPATH=$root/.venv/backend exec "$root/.venv/bin/python" -P "$root/deploy/bundle.py" "$@"
