#!/usr/bin/env bash
# .cache/roots/gpio: what an emulated board boots. Debian's kernel for Arm, whose drivers are those of real GPIO chips, the
# Raspberry Pi 3's device tree, and a first file system with Python and gpiod. Made once for what it is made of, and its path
# printed; no root is needed.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/../.." && pwd -P)
folder=$repository/.cache/roots/gpio
gpiod=$(sed -n '/^gpiod==/,/[^\\]$/p' "$repository/deploy/locks/sinks.txt")
parts=('./boot/vmlinuz-*' './usr/lib/linux-image-*/broadcom/bcm2837-rpi-3-b.dtb' './usr/bin/python3.*' './usr/lib/python3.*'
    './usr/lib/ld-linux-*')
for library in ld-linux-aarch64 libc libexpat libffi libm libpthread libz; do
    parts+=("./usr/lib/aarch64-linux-gnu/$library.so*")
done

make() {
    local tree=$folder.new/tree
    mkdir -p "$tree"/{dev,proc,sys,opt}
    mmdebstrap --quiet --variant=extract --architectures=arm64 --format=tar \
        --include=linux-image-arm64,python3-minimal,libpython3-stdlib trixie - |
        # What tar leaves of the padding at the end is read too: mmdebstrap hangs up on all of us where its pipe breaks.
        { tar -x -C "$tree" --wildcards "${parts[@]}" && cat >/dev/null; }
    ln -s usr/lib "$tree/lib"
    "${PYTHON:-python3}" -m pip install --quiet --target "$tree/opt" --platform manylinux_2_28_aarch64 --python-version 313 \
        --only-binary=:all: --no-deps --require-hashes -r <(echo "$gpiod") >&2
    # Compiled here, what the test imports is there in a third of the time.
    PYTHONDONTWRITEBYTECODE='' PYTHONHOME=$tree/usr PYTHONPATH=$tree/opt qemu-aarch64-static -L "$tree" "$tree"/usr/bin/python3.13 -c \
        'import ctypes, difflib, gpiod, importlib, json, signal, threading, tomllib'
    mv -- "$tree"/boot/vmlinuz-* "$folder.new/kernel"
    mv -- "$tree"/usr/lib/linux-image-*/broadcom/*.dtb "$folder.new/pi3.dtb"
    rm -rf -- "$tree"/usr/lib/linux-image-* "${tree:?}/boot"
    (cd -- "$tree" && find . -print0 | cpio --quiet --null --create --format=newc --owner=0:0) >"$folder.new/initrd"
    rm -rf -- "$tree"
}

mkdir -p "${folder%/*}"
exec 9>"${folder%/*}/.gpio.lock"
flock 9
stamp=$(cat -- "$0" <(echo "$gpiod") | sha256sum)
if [ "$(cat -- "$folder.stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf -- "$folder" "$folder.new"
    make
    mv -- "$folder.new" "$folder"
    echo "$stamp" >"$folder.stamp"
fi
echo "$folder"
