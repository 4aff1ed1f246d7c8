#!/usr/bin/env bash
# .cache/roots/boards: what an emulated board boots. Debian's kernel for Arm, whose drivers are those of real GPIO chips, the
# Raspberry Pi 3's device tree, a first file system with Python and gpiod, and one to add to it, with the device's packages
# and vivid, the kernel's own camera. Made once for what it is made of, and its path printed; no root is needed.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/../.." && pwd -P)
folder=$repository/.cache/roots/boards
locks=$repository/deploy/locks
# shellcheck source=tests/boards/roots.sh
source "$repository/tests/boards/roots.sh"
# In the order in which they need each other.
modules=(mc rc-core cec videodev v4l2-dv-timings v4l2-tpg videobuf2-common videobuf2-memops videobuf2-v4l2 videobuf2-vmalloc
    videobuf2-dma-contig vivid)
parts=('./boot/vmlinuz-*' './usr/lib/linux-image-*/broadcom/bcm2837-rpi-3-b.dtb' './usr/bin/python3.*' './usr/lib/python3.*'
    './usr/lib/ld-linux-*')
for library in ld-linux-aarch64 libc libdl libexpat libffi libgcc_s libm libpthread librt libstdc++ libz; do
    parts+=("./usr/lib/aarch64-linux-gnu/$library.so*")
done
for module in "${modules[@]}"; do parts+=("./usr/lib/modules/*/$module.ko.xz"); done

wheels() {  # SITE-PACKAGES CAMERA'S OLDER: unpack gpiod, what the device runs on, and the OpenCV of older systems
    (cd -- "$repository" && PYTHONPATH=. "${PYTHON:-python3}" - "$@") <<'END'
import sys, zipfile
from deploy.packages import ROOT, TARGETS, fetch, locked, read_lock, read_wheel

target = next(target for target in TARGETS if str(target) == "trixie aarch64")
places = dict.fromkeys((pin.name for pin in read_lock((ROOT / "deploy/locks/device.txt").read_text(), target)), sys.argv[2])
places["gpiod"] = sys.argv[1]
for path in fetch(locked(target), target, ROOT / ".cache" / "wheels"):
    if place := places.get(read_wheel(path, target).name):
        zipfile.ZipFile(path).extractall(place)
older = next(target for target in TARGETS if str(target) == "bookworm aarch64")
pins = [pin for pin in locked(older) if pin.name == "opencv-python-headless"]
for path in fetch(pins, older, ROOT / ".cache" / "wheels"):
    zipfile.ZipFile(path).extractall(sys.argv[3])
END
}

make() {
    local tree=$folder.new/tree camera=$folder.new/with-camera number=10
    mkdir -p "$tree"/{dev,proc,sys,tmp,opt} "$camera"/{modules,opt,older}
    mmdebstrap --quiet --variant=extract --architectures=arm64 --format=tar \
        --include=linux-image-arm64,python3-minimal,libpython3-stdlib,libstdc++6 trixie - |
        # What tar leaves of the padding at the end is read too: mmdebstrap hangs up on all of us where its pipe breaks.
        { tar -x -C "$tree" --wildcards "${parts[@]}" && cat >/dev/null; }
    ln -s usr/lib "$tree/lib"
    wheels "$tree/opt" "$camera/opt" "$camera/older"
    run "$tree" "$tree/opt" 'import ctypes, difflib, gpiod, importlib, json, signal, threading, tomllib'
    run "$tree" "$camera/opt" 'import argparse, cv2, email, fcntl, hashlib, random, socket, struct, tqdm, zipfile
import ai_edge_litert.interpreter'
    run "$tree" "$camera/older:$camera/opt" 'import cv2'
    for module in "${modules[@]}"; do
        xz --decompress --stdout "$(find "$tree/usr/lib/modules" -name "$module.ko.xz")" \
            >"$camera/modules/$number-$module.ko"
        number=$((number + 1))
    done
    mv -- "$tree"/boot/vmlinuz-* "$folder.new/kernel"
    mv -- "$tree"/usr/lib/linux-image-*/broadcom/*.dtb "$folder.new/pi3.dtb"
    rm -rf -- "$tree"/usr/lib/{linux-image-*,modules} "${tree:?}/boot"
    pack "$tree" "$folder.new/initrd"
    pack "$camera" "$folder.new/camera"
    rm -rf -- "$tree" "$camera"
}

make_once "$folder" < <(cat -- "$0" "$repository/tests/boards/roots.sh" "$locks/device.txt" <(sed -n '/^gpiod==/,/[^\\]$/p' "$locks/sinks.txt"))
