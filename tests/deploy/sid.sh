#!/usr/bin/env bash
# .cache/roots/sid: a Debian sid with Python 3.14, in which the wheel is installed as on the newest systems; made once for what stands
# here, as root, and its path printed. Why none can be made is the last line of its errors.
set -euo pipefail
root=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/../.." && pwd -P)/.cache/roots/sid

make() {
    local log=$root.log
    # A mirror may be a snapshot, whose date has passed; the archive's signature is checked all the same.
    # Without --quiet, which hides apt's own reason where sid is between two states.
    mmdebstrap --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
        --include=ca-certificates,python3.14,python3.14-venv sid "$root.new" >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        grep -E '^(E:| .* : (Depends|PreDepends|Breaks|Conflicts):)' "$log" | head -n 3 | paste -sd ' ' >&2
        exit 1
    }
    rm -f -- "$log"
    local file
    for file in etc/resolv.conf etc/hosts etc/pip.conf etc/ssl/certs/ca-certificates.crt; do
        [ ! -e "/$file" ] || cp -- "/$file" "$root.new/$file"
    done
}

mkdir -p "${root%/*}"
exec 9>"${root%/*}/.sid.lock"
flock 9
stamp=$(sha256sum <"$0")
if [ "$(cat -- "$root.stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf -- "$root" "$root.new"
    make
    mv -- "$root.new" "$root"
    echo "$stamp" >"$root.stamp"
fi
echo "$root"
