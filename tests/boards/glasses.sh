#!/usr/bin/env bash
# .cache/roots/glasses-board: what the board of test_glasses.py boots. Bookworm for 64-bit Arm with its kernel, systemd, D-Bus
# and BlueZ, and what a Raspberry Pi's release has for it: Python's packages of the locks. Made once for what it is made of,
# and its path printed; no root is needed.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/../.." && pwd -P)
folder=$repository/.cache/roots/glasses-board
locks=$repository/deploy/locks
debian=linux-image-arm64,python3-minimal,libpython3-stdlib,libstdc++6,systemd,kmod,dbus,bluez
# The UART's driver, and what pairing and systemd ask the kernel for by name.
modules=(hci_uart ccm cmac ctr drbg ecb ecdh_generic jitterentropy_rng sha512_generic algif_hash algif_skcipher autofs4)
left_out=(dev 'boot/System.map-*' 'usr/share/[!d]*' 'usr/share/do*' 'usr/*/perl*' 'usr/*/*/perl*' '*lib/udev' '*lib/klibc' 'usr/lib/linux-image-*' '*/pydoc_data')
# What a board without disks, people and a network waits for in vain.
masked=(getty.target remote-fs.target swap.target cryptsetup.target integritysetup.target veritysetup.target systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket
    systemd-udev-trigger.service systemd-binfmt.service systemd-firstboot.service systemd-random-seed.service
    systemd-machine-id-commit.service systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-repart.service
    systemd-update-utmp.service systemd-logind.service proc-sys-fs-binfmt_misc.automount dev-hugepages.mount dev-mqueue.mount
    sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount
    systemd-sysusers.service systemd-modules-load.service systemd-journal-flush.service)

wheels() {  # SITE-PACKAGES
    (cd -- "$repository" && PYTHONPATH=. "${PYTHON:-python3}" - "$1") <<'END'
import sys, zipfile
from deploy.packages import ROOT, TARGETS, fetch, locked, read_lock, read_wheel

target = next(target for target in TARGETS if str(target) == "bookworm aarch64")
names = {"numpy", "opencv-python-headless"}  # which pictures are drawn with
names |= {pin.name for pin in read_lock((ROOT / "deploy/locks/glasses.txt").read_text(), target)}
pins = [pin for pin in locked(target) if pin.name in names]
for path in fetch(pins, target, ROOT / ".cache" / "wheels"):
    zipfile.ZipFile(path).extractall(sys.argv[1])
END
}

keep_modules() {  # TREE: those, and what they need
    local kernel all=$1.modules
    mv -- "$1/usr/lib/modules" "$all"
    kernel=$(basename -- "$all"/*)
    mkdir -p "$all/lib" "$1/usr/lib/modules/$kernel"
    mv -- "$all/$kernel" "$all/lib/modules.$kernel"
    mkdir "$all/lib/modules"
    mv -- "$all/lib/modules.$kernel" "$all/lib/modules/$kernel"
    depmod --basedir "$all" "$kernel"
    for module in "${modules[@]}"; do
        modprobe --dirname "$all" --set-version "$kernel" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
    done | sort -u | while read -r module; do
        install -D -m 644 -- "$module" "$1/usr/lib/modules/$kernel/${module#"$all/lib/modules/$kernel/"}"
    done
    cp -- "$all/lib/modules/$kernel"/modules.{order,builtin,builtin.modinfo} "$1/usr/lib/modules/$kernel"
    depmod --basedir "$1" "$kernel"
    rm -rf -- "$all"
}

make() {
    local tree=$folder.new/tree excluded=() path
    mkdir -p "$tree"/usr/{bin,sbin,lib} "$tree"/{dev,proc,sys,run,tmp,opt/cuelens/current/venv/bin,opt/site}
    ln -s usr/bin "$tree/bin"
    ln -s usr/sbin "$tree/sbin"
    ln -s usr/lib "$tree/lib"
    mkdir "$tree/var"
    ln -s ../run "$tree/var/run"  # where libraries look for the D-Bus
    for path in "${left_out[@]}"; do excluded+=("--exclude=./$path"); done
    mmdebstrap --quiet --variant=extract --architectures=arm64 --format=tar --include="$debian" bookworm - |
        { tar -x -C "$tree" --no-same-owner --keep-directory-symlink "${excluded[@]}" && cat >/dev/null; }
    wheels "$tree/opt/site"
    rm -rf -- "$tree"/opt/site/numpy/{,*/}tests
    keep_modules "$tree"
    mv -- "$tree"/boot/vmlinuz-* "$folder.new/kernel"
    rm -rf -- "${tree:?}/boot"
    printf '%s\n' root:x:0:0::/root:/bin/sh messagebus:x:100:100::/nonexistent:/usr/sbin/nologin \
        cuelens:x:997:997::/:/usr/sbin/nologin >"$tree/etc/passwd"
    printf '%s\n' root:x:0: tty:x:5: video:x:44: gpio:x:993: messagebus:x:100: bluetooth:x:101: cuelens:x:997: >"$tree/etc/group"
    printf '%s\n' 'passwd: files' 'group: files' >"$tree/etc/nsswitch.conf"
    echo 00000000000000000000000000000001 >"$tree/etc/machine-id"
    echo glasses >"$tree/etc/hostname"
    for path in "${masked[@]}"; do ln -sf /dev/null "$tree/etc/systemd/system/$path"; done
    # Compiled here: an emulated board takes a minute for it. Byte code is the same for every processor.
    "${PYTHON:-python3}" -m compileall -q -j 0 "$tree/opt/site" "$tree/usr/lib/python3.11" >/dev/null || :
    (cd -- "$tree" && find . -print0 | cpio --quiet --null --create --format=newc --owner=0:0) >"$folder.new/initrd"
    rm -rf -- "$tree"
}

mkdir -p "${folder%/*}"
exec 9>"${folder%/*}/.glasses-board.lock"
flock 9
stamp=$(cat -- "$0" "$locks/device.txt" "$locks/glasses.txt" <("${PYTHON:-python3}" --version) | sha256sum)
if [ "$(cat -- "$folder.stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf -- "$folder" "$folder.new"
    make
    mv -- "$folder.new" "$folder"
    echo "$stamp" >"$folder.stamp"
fi
echo "$folder"
