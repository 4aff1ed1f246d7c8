#!/usr/bin/env bash
# .cache/roots/picamera: a Debian Trixie with the device's packages, libcamera 0.7 of its backports and PyPI's picamera2; made
# once for what it is made of, as root, and its path printed. /mnt is where a test puts the virtual camera's files.
set -euo pipefail
here=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")" && pwd -P)
repository=$(cd -- "$here/../.." && pwd -P)
root=$repository/.cache/roots/picamera

inside() {
    chroot "$root.new" /usr/bin/env -u TMPDIR "$@" >&2
}

make() {
    # The backports lie where mmdebstrap finds the rest.
    # shellcheck disable=SC2016  # the hook's own
    mmdebstrap --quiet --variant=minbase --components=main \
        --setup-hook='sed -n "s/ trixie main/ trixie-backports main/p" "$1/etc/apt/sources.list" >"$1/etc/apt/sources.list.d/backports.list"' \
        --include=ca-certificates,python3-venv,python3-prctl,python3-libcamera/trixie-backports trixie "$root.new" >&2
    local file
    for file in etc/resolv.conf etc/hosts etc/pip.conf etc/ssl/certs/ca-certificates.crt; do
        [ ! -e "/$file" ] || cp -- "/$file" "$root.new/$file"
    done
    cp -- "$repository/deploy/locks/device.txt" "$here/requirements.txt" "$root.new/tmp"
    inside python3 -m venv --system-site-packages /opt/venv
    inside /opt/venv/bin/pip install --quiet --no-deps --require-hashes --only-binary=:all: -r /tmp/device.txt -r /tmp/requirements.txt
    # buffers.c answers for this file.
    mkdir -p "$root.new/dev/dma_heap" "$root.new/usr/share/libcamera/pipeline/virtual"
    touch "$root.new/dev/dma_heap/linux,cma"
    ln -s /mnt/virtual.yaml "$root.new/usr/share/libcamera/pipeline/virtual/virtual.yaml"
    gcc -shared -fPIC -Wall -Wextra -Werror -o "$root.new/opt/buffers.so" "$here/buffers.c"
}

mkdir -p "${root%/*}"
exec 9>"${root%/*}/.picamera.lock"
flock 9
stamp=$(cat -- "$0" "$here/buffers.c" "$here/requirements.txt" "$repository/deploy/locks/device.txt" | sha256sum)
if [ "$(cat -- "$root.stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf -- "$root" "$root.new"
    make
    mv -- "$root.new" "$root"
    echo "$stamp" >"$root.stamp"
fi
echo "$root"
