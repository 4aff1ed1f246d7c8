#!/usr/bin/env bash
# .cache/roots/sid: a Debian sid with Python 3.14 and, in /opt/venv, the device's packages, where the wheel is installed as on the newest
# systems; made once for what it is made of, as root, and its path printed. Why none can be made is the last line of its errors.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/../.." && pwd -P)
root=$repository/.cache/roots/sid
lock=$repository/deploy/locks/device.txt

inside() {
    chroot "$root.new" /usr/bin/env -u TMPDIR "$@" >&2
}

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
    cp -- "$lock" "$root.new/tmp"
    inside python3.14 -m venv /opt/venv
    inside /opt/venv/bin/pip install --quiet --no-deps --require-hashes --only-binary=:all: -r /tmp/device.txt
}

mkdir -p "${root%/*}"
exec 9>"${root%/*}/.sid.lock"
flock 9
stamp=$(cat -- "$0" "$lock" | sha256sum)
if [ "$(cat -- "$root.stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf -- "$root" "$root.new"
    make
    mv -- "$root.new" "$root"
    echo "$stamp" >"$root.stamp"
fi
echo "$root"
