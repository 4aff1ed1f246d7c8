#!/usr/bin/env bash
# .cache/roots/SUITE-ARCH: Debian roots with systemd, sshd and Python, which the tests of ./deploy.sh push, bundle and flash boot
# or enter. Made once for every list of packages here; as root. `roots.sh trixie-amd64 bookworm-arm64 ...` prints their paths.
set -euo pipefail
root=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/../.." && pwd -P)
roots=$root/.cache/roots
# What Raspberry Pi OS Lite has of what Cuelens touches; rsync is left out, since a device may lack it.
packages=systemd,systemd-sysv,systemd-timesyncd,dbus,udev,kmod,procps,iproute2,python3,python3-venv,openssh-server,sudo,passwd
packages+=,ca-certificates,zstd

die() {
    printf 'roots.sh: %s\n' "$*" >&2
    exit 1
}

debian() {  # VARIANT SUITE ARCHITECTURE PACKAGES FOLDER [TAR'S OPTIONS...]: unpacked there
    # What tar leaves of the padding at the end is read too: mmdebstrap hangs up on all of us where its pipe breaks.
    mmdebstrap --quiet --variant="$1" --architectures="$3" --include="$4" --format=tar "$2" - |
        { tar -x -C "$5" "${@:6}" && cat >/dev/null; }
}

make_amd64() {  # SUITE FOLDER
    debian minbase "$1" amd64 "$packages" "$2"
}

make_arm64() {  # SUITE FOLDER
    "$0" "$1-amd64" >/dev/null
    cp --archive -- "$roots/$1-amd64/." "$2"
    turn_to_arm64 "$1" "$2"
}

# A root that is configured under emulation takes 4 to 25 minutes. So the other machine's packages are unpacked over a root
# that was configured here: what configuring leaves (users, units, alternatives) is the same on both.
turn_to_arm64() {  # SUITE FOLDER
    local list
    # shellcheck disable=SC2016  # dpkg-query's own variable
    list=$(chroot "$2" dpkg-query --show --showformat='${Package},')
    rm -rf -- "$2"/usr/lib/x86_64-linux-gnu "$2"/usr/lib64 "${2:?}"/lib64
    debian extract "$1" arm64 "${list%,}" "$2" --exclude=./dev --exclude=./etc --exclude=./var --keep-directory-symlink
    sed -i 's/^Architecture: amd64$/Architecture: arm64/' "$2/var/lib/dpkg/status"
    echo arm64 >"$2/var/lib/dpkg/arch"
    chroot "$2" /sbin/ldconfig
}

[ "$(id -u)" = 0 ] || die "makes device nodes and other users' files; run it as root"
command -v mmdebstrap >/dev/null || die "no mmdebstrap on this machine; install it with: apt install mmdebstrap"
mkdir -p "$roots"
for name in "$@"; do
    stamp=$(cat -- "$0" <(echo "$name") | sha256sum)
    exec 9>"$roots/.$name.lock"
    flock 9
    if [ "$(cat -- "$roots/$name.stamp" 2>/dev/null)" != "$stamp" ]; then
        rm -rf -- "${roots:?}/$name" "$roots/$name.new"
        mkdir -m 755 -- "$roots/$name.new"
        "make_${name#*-}" "${name%-*}" "$roots/$name.new"
        mv -- "$roots/$name.new" "$roots/$name"
        echo "$stamp" >"$roots/$name.stamp"
    fi
    exec 9>&-
    echo "$roots/$name"
done
