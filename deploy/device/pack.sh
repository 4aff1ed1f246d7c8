#!/usr/bin/env bash
# Prints the installer as one file, which is what a device gets: install.sh, and behind it the Python that it starts.
set -euo pipefail
export LC_ALL=C  # in which * has one order everywhere
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.."
cat deploy/device/install.sh
for file in deploy/{__init__,failure,tools,verify}.py deploy/device/*.py edge/{,system/}__init__.py edge/system/{addresses,encodings}.py; do
    printf '#==> %s\n' "$file"
    cat -- "$file"
done
