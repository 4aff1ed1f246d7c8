#!/usr/bin/env bash
# `deploy.sh docs`: what deploy/site.py does, in a small environment of its own.
set -euo pipefail
# shellcheck source=deploy/venv.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
check_machine
step make_venv "$root/.venv-docs" "$root/deploy/locks/docs.txt"
PYTHONPATH=$root exec "$root/.venv-docs/bin/python" -P -m deploy.site "$@"
