# Sourced: finds a Python, and makes or mends the virtual environments in the checkout.
# shellcheck shell=bash
# Exit codes: 70 no usable Python, 71 a machine without packages, 72 no venv module, 73 an install failed.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

say() { printf 'deploy.sh: %s\n' "$*" >&2; }

die() {  # CODE WORDS...
    local code=$1
    shift
    say "$@"
    exit "$code"
}

check_machine() {
    local system
    system="$(uname -s) $(uname -m)"
    case $system in
    "Linux x86_64" | "Linux aarch64") ;;
    "Linux arm"*)
        die 71 "this is $system: no 32-bit Arm system has TFLite for a Python after 3.11; install a 64-bit Raspberry Pi OS" ;;
    *) die 71 "this is $system: TFLite is locked for Linux on x86_64 and aarch64; use one of those" ;;
    esac
}

find_python() {  # sets $python
    local names=(python3 python3.13 python3.12 python3.11) name version bits seen=
    # A rebuilt environment cannot be made with its own Python, which an activated one puts first.
    local PATH=${PATH//"$root/.venv/bin:"/}
    PATH=${PATH//"$root/.venv-host/bin:"/}
    [ -z "${CUELENS_PYTHON:-}" ] || names=("$CUELENS_PYTHON")
    for name in "${names[@]}"; do
        if ! python=$(command -v -- "$name"); then
            seen+=", $name is missing"
        elif ! read -r version bits < <("$python" -c \
            'import struct, sys; print("%d.%d %d" % (sys.version_info[:2] + (struct.calcsize("P") * 8,)))' 2>/dev/null); then
            seen+=", $name does not run"
        elif [ "$bits" != 64 ]; then
            die 71 "$python is a $bits-bit Python: TFLite for 32 bits ends at Python 3.11; install a 64-bit system"
        else
            case $version in 3.11 | 3.12 | 3.13) return 0 ;; esac
            seen+=", $name is $version"
        fi
    done
    die 70 "no usable Python: ${seen#, }; valid are 3.11 to 3.13: install one or name it in CUELENS_PYTHON"
}

pip_install() {  # VENV ARGUMENTS...: silent but for errors
    "$1/bin/python" -m pip install -qq "${@:2}" >&2 ||
        die 73 "pip could not fill $1 (its words are above); check the network and free space, then start again"
}

install_locked() {  # VENV LOCK ARGUMENTS...: a lock is complete, so pip has nothing to resolve
    pip_install "$1" --no-deps --require-hashes --only-binary=:all: "${@:3}" -r "$2"
}

make_venv() {  # VENV LOCK
    local options=()
    check_machine
    find_python
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die 72 "$python has no venv module; install it with: sudo apt install python3-venv"
    if [ "${2##*/}" = device.txt ] && "$python" -c 'import sys
from importlib.util import find_spec
sys.exit(not (find_spec("picamera2") and find_spec("numpy")))'; then
        say "using the system's picamera2 and numpy"
        options=(--system-site-packages)
    fi
    say "setting up ${1##*/} with $("$python" -V); this happens once and takes a few minutes"
    rm -rf -- "$1"
    "$python" -m venv "${options[@]}" "$1" >&2 || die 72 "$python could not make $1 (its words are above)"
    if [ "${#options[@]}" = 0 ]; then
        install_locked "$1" "$2"
    else  # picamera2's compiled parts break with a numpy newer than the system's
        install_locked "$1" <(awk '/^[^ ]/ { keep = !/^numpy==/ } keep' "$2")
    fi
}

install_backend() {  # VENV LOCK: apart from the packages, whose versions it does not share
    rm -rf -- "$1/backend"
    install_locked "$1" "$2" --target "$1/backend"
}

install_project() {  # VENV
    say "installing the project in ${1##*/}"
    PYTHONPATH=$1/backend pip_install "$1" --no-deps --no-index --no-build-isolation --editable "$root"
}

install_sinks() {  # VENV LOCK
    say "adding the libraries of the optional sinks to ${1##*/}"
    install_locked "$1" "$2"
}

install_tools() {  # VENV LOCK
    say "adding the test tools to ${1##*/}"
    install_locked "$1" "$2"
}

stamp() {  # VENV FILES...: what a step leaves behind; moved, of another Python or with other files it is another
    local python=${CUELENS_PYTHON:-$1/bin/python}
    {
        echo "$1"
        "$python" -I -S -c 'import sys; print(sys.implementation.cache_tag)' 2>/dev/null || echo "no Python"
        cat -- "${@:2}"
    } | sha256sum
}

step() {  # COMMAND VENV FILES...: COMMAND VENV FILES..., unless it has ended well before
    local command=$1 file=$2/.$1
    shift
    [ "$(cat -- "$file" 2>/dev/null)" != "$(stamp "$@")" ] || return 0
    exec 9<"$root/pyproject.toml"
    flock --nonblock 9 || { say "waiting for another start to finish setting up"; flock 9; }
    if [ "$(cat -- "$file" 2>/dev/null)" != "$(stamp "$@")" ]; then
        rm -f -- "$file"
        "$command" "$@"
        # Written last, and whole: whatever kills us before leaves a step that the next start takes again.
        stamp "$@" >"$file.new"
        mv -- "$file.new" "$file"
    fi
    exec 9<&-
}

environment() {  # NAME LOCK [sinks] [tools]: afterwards $root/NAME holds LOCK's packages and the project
    local venv=$root/$1 locks=$root/deploy/locks extras=" ${*:3} "
    [ ! -e "$venv/.install_sinks" ] || extras+="sinks "  # once asked for, they stay when all else is made anew
    step make_venv "$venv" "$locks/$2.txt"
    step install_backend "$venv" "$locks/build.txt"
    step install_project "$venv" "$root"/{pyproject.toml,deploy/wheel.py}
    [[ $extras != *" sinks "* ]] || step install_sinks "$venv" "$locks/sinks.txt"
    [[ $extras != *" tools "* ]] || step install_tools "$venv" "$locks/dev.txt"
}
