#!/usr/bin/env bash
# glasses.sh bookworm|trixie: .cache/roots/glasses-SUITE, what the board of test_glasses.py boots. That Debian for 64-bit Arm
# with its kernel, systemd, D-Bus and BlueZ, and what a Raspberry Pi's release has for it: Python's packages of the locks. Made
# once for what it is made of, and its path printed; no root is needed.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/../.." && pwd -P)
suite=$1
folder=$repository/.cache/roots/glasses-$suite
locks=$repository/deploy/locks
# shellcheck source=tests/boards/roots.sh
source "$repository/tests/boards/roots.sh"
debian=linux-image-arm64,python3-minimal,libpython3-stdlib,libstdc++6,systemd,kmod,dbus,bluez
# The UART's driver, and what pairing and systemd ask the kernel for by name.
modules=(hci_uart ccm cmac ctr drbg ecb ecdh_generic jitterentropy_rng sha512_generic algif_hash algif_skcipher autofs4)
# Of Python, what Cuelens imports there.
imported='argparse, asyncio, bleak.backends.bluezdbus.client, bleak.backends.bluezdbus.scanner, cv2, email, fcntl, hashlib, json'
imported+=', random, socket, struct, subprocess, tomllib, tqdm, zipfile'
if [ "$suite" = bookworm ]; then imported+=', tflite_runtime.interpreter'; else imported+=', ai_edge_litert.interpreter'; fi
left_out=(dev 'boot/System.map-*' 'usr/share/[!d]*' 'usr/share/do*' 'usr/*/perl*' 'usr/*/*/perl*' '*lib/udev' '*lib/klibc' 'usr/lib/linux-image-*' '*/pydoc_data')
# What a board without disks, people and a network waits for in vain.
masked=(getty.target remote-fs.target swap.target cryptsetup.target integritysetup.target veritysetup.target systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket
    systemd-udev-trigger.service systemd-binfmt.service systemd-firstboot.service systemd-random-seed.service
    systemd-machine-id-commit.service systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-repart.service
    systemd-update-utmp.service systemd-logind.service proc-sys-fs-binfmt_misc.automount dev-hugepages.mount dev-mqueue.mount
    sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount
    systemd-sysusers.service systemd-modules-load.service systemd-journal-flush.service)

wheels() {  # SITE-PACKAGES
    (cd -- "$repository" && PYTHONPATH=. "${PYTHON:-python3}" - "$1" "$suite") <<'END'
import sys, zipfile
from deploy.packages import ROOT, TARGETS, fetch, locked, read_lock

target = next(target for target in TARGETS if str(target) == f"{sys.argv[2]} aarch64")
locks = [(ROOT / "deploy" / "locks" / name).read_text() for name in ("device.txt", "glasses.txt")]
names = {pin.name for lock in locks for pin in read_lock(lock, target)}
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
    mmdebstrap --quiet --variant=extract --architectures=arm64 --format=tar --include="$debian" "$suite" - |
        { tar -x -C "$tree" --no-same-owner --keep-directory-symlink "${excluded[@]}" && cat >/dev/null; }
    wheels "$tree/opt/site"
    rm -rf -- "$tree"/opt/site/numpy/{,*/}tests
    keep_modules "$tree"
    mv -- "$tree"/boot/vmlinuz-* "$folder.new/kernel"
    rm -rf -- "${tree:?}/boot"
    printf '%s\n' 'passwd: files' 'group: files' >"$tree/etc/nsswitch.conf"
    echo 00000000000000000000000000000001 >"$tree/etc/machine-id"
    echo glasses >"$tree/etc/hostname"
    for path in "${masked[@]}"; do ln -sf /dev/null "$tree/etc/systemd/system/$path"; done
    run "$tree" "$tree/opt/site" "import $imported"
    pack "$tree" "$folder.new/initrd"
    rm -rf -- "$tree"
}

make_once "$folder" < <(cat -- "$0" "$repository/tests/boards/roots.sh" "$locks/device.txt" "$locks/glasses.txt")
