#!/usr/bin/env bash
# `deploy.sh arm64`: .cache/roots/arm64, a Debian for 64-bit Arm with Python 3.11, which qemu-aarch64 runs as it lies, and
# in its opt/ the TFLite runtimes of the locks: what the parity of an int8 file with a Raspberry Pi is tried on.
# Nothing in it is run to make it, so no root and no binfmt is needed.
set -euo pipefail
# shellcheck source=deploy/venv.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
target=$root/.cache/roots/arm64
debian=(python3-minimal libpython3-stdlib libstdc++6)
tflite_runtime=(numpy opencv-python-headless tflite-runtime)
ai_edge_litert=(ai-edge-litert backports-strenum flatbuffers ml-dtypes numpy opencv-python-headless protobuf tqdm typing-extensions)

requirements() {  # LOCK NAMES...: the lock's words for these packages on Python 3.11, without markers
    # pip evaluates markers for the machine that it runs on, whatever --platform says.
    awk -v names="${*:2}" '
        BEGIN { for (left = split(names, list, " "); left; left--) wanted[list[left]] = ++missing }
        /^[^ ]/ {
            split($1, name, "==")
            keep = name[1] in wanted && !/python_full_version >= .3\.12/
            if (keep) { missing--; $0 = $1 " \\" }
        }
        keep
        END { exit missing != 0 }' "$1" || die emulator-download-failed "$1 has not all of ${*:2} for Python 3.11; make it again: deploy/lock.sh"
}

install_wheels() {  # FOLDER REQUIREMENTS
    local platforms=()
    for glibc in 34 28 27 17; do platforms+=(--platform "manylinux_2_${glibc}_aarch64"); done  # pip takes the tags literally
    read_pip_files "$root/.venv"
    mkdir -p -- "$(scratch)"
    TMPDIR=$(scratch) "$root/.venv/bin/python" -m pip install -qq --target "$1" "${platforms[@]}" --platform manylinux2014_aarch64 \
        --implementation cp --python-version 311 --only-binary=:all: --no-deps --require-hashes -r <(echo "$2") >&2 ||
        die emulator-download-failed "pip could not get the packages for ${1##*/} (its words are above); check the network, then start again"
}

describe_machine() {  # TREE: the Raspberry Pi 4's cores
    # qemu shows the machine's own proc and sys where the tree has none: where they name an x86-64 processor, runtimes
    # for Arm crash or choose kernels that the emulated core does not have.
    local core cores=$1/sys/devices/system/cpu
    mkdir -p "$1/proc" "$cores"
    for core in 0 1 2 3; do
        printf '%s\t: %s\n' processor "$core" BogoMIPS 108.00 Features "fp asimd evtstrm crc32 cpuid" \
            "CPU implementer" 0x41 "CPU architecture" 8 "CPU variant" 0x0 "CPU part" 0xd08 "CPU revision" 3
        echo
    done >"$1/proc/cpuinfo"
    echo 0-3 | tee "$cores/possible" "$cores/present" >"$cores/online"
    echo 255 >"$cores/kernel_max"
}

if [ "$(uname -m)" = aarch64 ]; then
    say "this machine is aarch64 itself: nothing to emulate"
    exit 0
fi
device=$(requirements "$root/deploy/locks/device.txt" "${tflite_runtime[@]}")
host=$(requirements "$root/deploy/locks/host.txt" "${ai_edge_litert[@]}")
stamp=$(cat -- "${BASH_SOURCE[0]}" <(echo "$device" "$host") | sha256sum)

[ -x "$root/.venv/bin/python" ] || environment .venv device
mkdir -p "$root/.cache/roots"
exec 9<"$root/.cache/roots"
flock 9
if [ "$(cat -- "$target/.stamp" 2>/dev/null)" != "$stamp" ]; then
    tools="sudo apt install mmdebstrap qemu-user-static"
    command -v mmdebstrap >/dev/null || die emulator-missing "no mmdebstrap on this machine; install it with: $tools"
    command -v qemu-aarch64-static >/dev/null || command -v qemu-aarch64 >/dev/null ||
        die emulator-missing "no qemu-aarch64 on this machine; install it with: $tools"
    say "making .cache/roots/arm64; this happens once for every lock and takes half a minute"
    staged=$target.new
    rm -rf -- "$staged"
    trap 'rm -rf -- "$staged"' EXIT
    mkdir -p "$staged/opt"
    # By way of tar the tree is the user's own, without device nodes; what it leaves of the padding at the end is read too.
    mmdebstrap --quiet --variant=extract --architectures=arm64 --include="${debian[*]}" --format=tar bookworm - |
        { tar -x --no-same-owner --exclude=./dev -C "$staged" && cat >/dev/null; } ||
        die emulator-download-failed "mmdebstrap could not get Debian's packages (its words are above); check the network, then start again"
    install_wheels "$staged/opt/tflite-runtime" "$device"
    install_wheels "$staged/opt/ai-edge-litert" "$host"
    describe_machine "$staged"
    echo "$stamp" >"$staged/.stamp"
    rm -rf -- "$target"
    mv -- "$staged" "$target"
fi
say "ready in .cache/roots/arm64"
