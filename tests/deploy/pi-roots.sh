#!/usr/bin/env bash
# .cache/roots/pi-SUITE-ARCH: roots as roots.sh makes them, with what Raspberry Pi OS' first boot finds there besides; and
# .cache/roots/pi-kernel: Debian's kernel for Arm's virtual machine, with an initrd. Made once, as root. `pi-roots.sh trixie-arm64
# kernel ...` prints their paths.
set -euo pipefail
folder=$(dirname -- "$(readlink -f -- "$0")")
wanted=("$@")
set --
# shellcheck source=tests/deploy/roots.sh
source "$folder/roots.sh"
# Its 99_raspberry-pi.cfg, of a package that Debian has not; its cloud-init has no modules growpart and resizefs.
# And one host key is enough: emulated, RSA's takes its time.
cloud_config='datasource_list: [NoCloud, None]
datasource:
  NoCloud:
    seedfrom: file:///boot/firmware
growpart: {mode: "off"}
resize_rootfs: false
ssh_genkeytypes: [ed25519]
'
modules=(virtio_blk virtio_pci ext4 vfat nls_cp437 nls_ascii nls_iso8859-1)

make_pi() {  # SUITE ARCHITECTURE FOLDER
    local list=$packages
    [ "$1" != trixie ] || list+=,cloud-init,netplan.io
    if [ "$2" = arm64 ]; then
        "$folder/pi-roots.sh" "$1-amd64" >/dev/null
        cp --archive -- "$roots/pi-$1-amd64/." "$3"
        turn_to_arm64 "$1" "$3"
        return
    fi
    debian minbase "$1" amd64 "$list" "$3"
    echo "Raspberry Pi reference 2026-06-18" >"$3/etc/rpi-issue"
    echo pi >"$3/etc/hostname"
    printf '127.0.0.1\tlocalhost\n127.0.1.1\tpi\n' >"$3/etc/hosts"
    chroot "$3" useradd --create-home --uid 1000 --groups sudo,video --shell /bin/bash pi
    chroot "$3" systemctl disable ssh
    : >"$3/etc/machine-id"
    mkdir -p "$3/boot/firmware"
    [ "$1" = trixie ] || return 0
    rm -f "$3"/etc/ssh/ssh_host_*  # cloud-init makes them; Bookworm's very first start has before firstrun.sh
    echo "$cloud_config" >"$3/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg"
    printf 'network:\n  version: 2\n  renderer: NetworkManager\n' >"$3/etc/netplan/00-renderer.yaml"
    chmod 600 "$3/etc/netplan/00-renderer.yaml"
    mkdir -p "$3/etc/systemd/system/cloud-init-main.service.d"
    printf '[Unit]\nRequiresMountsFor=/boot/firmware\n' >"$3/etc/systemd/system/cloud-init-main.service.d/boot-firmware.conf"
}

make_kernel() {  # FOLDER
    local initrd=$1/initrd version module
    mkdir -p "$1/all" "$initrd"/{bin,proc,sys,dev,root,modules}
    debian extract trixie arm64 linux-image-arm64,busybox-static "$1/all" --exclude=./dev
    cp "$1"/all/boot/vmlinuz-* "$1/vmlinuz"
    cp "$1/all/usr/bin/busybox" "$initrd/bin/busybox"
    version=$(basename -- "$1"/all/usr/lib/modules/*)
    [ -e "$1/all/lib" ] || ln -s usr/lib "$1/all/lib"
    depmod --basedir "$1/all" "$version"
    for module in "${modules[@]}"; do
        # "builtin NAME" where it is no module
        modprobe --dirname "$1/all" --set-version "$version" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
    done | awk '!seen[$0]++' >"$1/files"
    while read -r module; do
        case $module in
        *.xz) xz --decompress --stdout "$module" >"$initrd/modules/$(basename -- "$module" .xz)" ;;
        *) cp "$module" "$initrd/modules" ;;
        esac
        basename -- "$module" .xz
    done <"$1/files" >"$initrd/modules/order"
    cat >"$initrd/init" <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module"; done </modules/order
until mount -t ext4 /dev/vda2 /root; do sleep 0.2; done
umount /proc /sys
mount --move /dev /root/dev
exec switch_root /root /sbin/init
END
    chmod +x "$initrd/init"
    (cd "$initrd" && find . | bin/busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$1/initrd.gz"
    rm -rf -- "${1:?}/all" "$initrd"
}

for name in "${wanted[@]}"; do
    stamp=$(cat -- "$0" "$folder/roots.sh" <(echo "$name") | sha256sum)
    exec 9>"$roots/.pi-$name.lock"
    flock 9
    target=$roots/pi-$name
    if [ "$(cat -- "$target.stamp" 2>/dev/null)" != "$stamp" ]; then
        rm -rf -- "${target:?}" "$target.new"
        mkdir -m 755 -- "$target.new"
        case $name in
        kernel) make_kernel "$target.new" ;;
        *) make_pi "${name%-*}" "${name#*-}" "$target.new" ;;
        esac
        mv -- "$target.new" "$target"
        echo "$stamp" >"$target.stamp"
    fi
    exec 9>&-
    echo "$target"
done
