# shellcheck shell=bash
# Sourced by board.sh and glasses.sh: a root is made once for what it is made of, and its Python runs here under emulation.

# On the Raspberry Pi 4's core. qemu's own default has pointer authentication, which Trixie's programs use and which it
# emulates so slowly that they take 17 times as long.
run() {  # TREE PACKAGES PROGRAM: compiled here, what the tests import is there in a third of the time
    local python
    python=$(echo "$1"/usr/bin/python3.*)
    QEMU_CPU=cortex-a72 PYTHONDONTWRITEBYTECODE='' PYTHONHOME=$1/usr PYTHONPATH=$2 qemu-aarch64-static -L "$1" "$python" -c "$3"
}

pack() {  # TREE FILE
    (cd -- "$1" && find . -print0 | cpio --quiet --null --create --format=newc --owner=0:0) >"$2"
}

make_once() {  # FOLDER <WHAT IT IS MADE OF: make it by `make`, which fills FOLDER.new, unless it is there; prints FOLDER
    local folder=$1 stamp
    stamp=$(sha256sum)
    mkdir -p "${folder%/*}"
    exec 9>"${folder%/*}/.${folder##*/}.lock"
    flock 9
    if [ "$(cat -- "$folder.stamp" 2>/dev/null)" != "$stamp" ]; then
        rm -rf -- "$folder" "$folder.new"
        make
        mv -- "$folder.new" "$folder"
        echo "$stamp" >"$folder.stamp"
    fi
    echo "$folder"
}
