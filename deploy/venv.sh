# Sourced: finds a Python, and makes or mends the virtual environments in the checkout.
# shellcheck shell=bash
# A failure is one line that ends in the identifier of its cause; deploy/failure.py has the exit codes.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

# Of a user's own settings of Python and pip only those hold here that say how packages are got: pip_names.
pip_names=" INDEX_URL EXTRA_INDEX_URL FIND_LINKS NO_INDEX TRUSTED_HOST CERT CLIENT_CERT PROXY TIMEOUT DEFAULT_TIMEOUT RETRIES CACHE_DIR
NO_CACHE_DIR KEYRING_PROVIDER USE_FEATURE DISABLE_PIP_VERSION_CHECK CONFIG_FILE "
unset PYTHONHOME PYTHONPATH PYTHONUSERBASE
export PYTHONNOUSERSITE=1
for name in "${!PIP_@}"; do [[ $pip_names =~ [[:space:]]${name#PIP_}[[:space:]] ]] || unset "$name"; done

say() { printf 'deploy.sh: %s\n' "$*" >&2; }

row_of() {  # CAUSE, or KIND: what the tables have of it; by bash alone, as `die` reports missing tools too
    local line
    while IFS= read -r line; do
        [[ ! $line =~ ^\ {4}\"$1\":\ \"?([a-z0-9]+)\"?,$ ]] || echo "${BASH_REMATCH[1]}"
    done <"$root/deploy/failure.py"
}

code_of() { row_of "$(row_of "$1")"; }  # CAUSE: the exit code of its kind

die() {  # CAUSE WORDS...: the line ends in the cause, which deploy/failure.py knows
    local code
    code=$(code_of "$1" 2>/dev/null) || true
    say "${*:2} [$1]"
    exit "${code:-1}"
}

check_machine() {
    local system
    system="$(uname -s) $(uname -m)"
    case $system in
    "Linux x86_64" | "Linux aarch64") ;;
    "Linux arm"*)
        die machine-unsupported "this is $system: no 32-bit Arm system has TFLite for a Python after 3.11; install a 64-bit Raspberry Pi OS" ;;
    *) die machine-unsupported "this is $system: TFLite is locked for Linux on x86_64 and aarch64; use one of those: on Windows in WSL (wsl --install -d Debian), on a Mac in a container or a virtual machine with Debian" ;;
    esac
    command -v flock >/dev/null || die machine-unsupported "no flock on this machine; install it with: sudo apt install util-linux"
}

find_python() {  # LOCK: sets $python
    local newest=14 why="" names=() name version bits kind seen=""
    [ "${1##*/}" != host.txt ] || newest=13 why=", after which TensorFlow has no packages"
    # A rebuilt environment cannot be made with its own Python, which an activated one puts first.
    local PATH=${PATH//"$root/.venv/bin:"/}
    PATH=${PATH//"$root/.venv-host/bin:"/}
    names=(python3)
    for ((version = newest; version >= 11; version--)); do names+=("python3.$version"); done
    [ -z "${CUELENS_PYTHON:-}" ] || names=("$CUELENS_PYTHON")
    for name in "${names[@]}"; do
        if ! python=$(command -v -- "$name"); then
            seen+=", $name is missing"
        elif ! read -r version bits kind < <("$python" -c 'import struct, sys, sysconfig
value = sysconfig.get_config_var
kinds = {"musl": "musl" in str(value("SOABI")), "free-threaded": value("Py_GIL_DISABLED"), sys.implementation.name: True}
print("%d.%d" % sys.version_info[:2], struct.calcsize("P") * 8, next(kind for kind in kinds if kinds[kind]))' 2>/dev/null); then
            seen+=", $name does not run"
        elif [ "$bits" != 64 ]; then
            die machine-unsupported "$python is a $bits-bit Python: TFLite for 32 bits ends at Python 3.11; install a 64-bit system"
        elif [ "$kind" = musl ]; then
            die machine-unsupported "$python is of a system with musl (Alpine?): TFLite is locked for systems with glibc; use Debian, Ubuntu or Raspberry Pi OS"
        elif [ "${kind:-cpython}" != cpython ]; then
            seen+=", $name is $kind $version"
        elif [[ $version == 3.* ]] && [ "${version#3.}" -ge 11 ] && [ "${version#3.}" -le "$newest" ]; then
            return 0
        else
            seen+=", $name is $version"
        fi
    done
    die python-unusable "no usable Python: ${seen#, }; valid are 3.11 to 3.$newest$why: install one or name it in CUELENS_PYTHON"
}

read_pip_files() {  # VENV: pip.conf is asked for no more than its pip_names, and they become variables
    local name value
    [ "${PIP_CONFIG_FILE:-}" != /dev/null ] || return 0
    while IFS= read -r -d '' name && IFS= read -r -d '' value; do
        [[ ! $pip_names =~ [[:space:]]${name}[[:space:]] ]] || [ -n "$(printenv "PIP_$name")" ] || export "PIP_$name=$value"
    # `user` in pip.conf would be taken for pip config's own option.
    done < <(PIP_USER=0 PIP_GLOBAL=0 PIP_SITE=0 "$1/bin/python" -I -m pip config list 2>/dev/null | "$1/bin/python" -I -c 'import ast, sys
found = {}
for line in sys.stdin:
    key, _, value = line.partition("=")
    section, _, name = key.partition(".")
    if section in ("global", "install"):  # the latter comes later, and holds
        found[name.upper().replace("-", "_")] = str(ast.literal_eval(value.strip()))
print(end="".join(f"{name}\0{value}\0" for name, value in found.items()))')
    export PIP_CONFIG_FILE=/dev/null
}

free_mib() { df -Pk -- "$1" | awk 'NR == 2 { print int($4 / 1024) }'; }

explain_pip() {  # VENV: why pip failed, as far as it can be seen from here
    local needed=400 place
    [ "${1##*/}" != .venv-host ] || needed=2500
    for place in "$(scratch)" "$root"; do
        [ -d "$place" ] || {
            echo "TMPDIR is $place, which is no folder: name another"
            return
        }
        [ "$(free_mib "$place")" -ge "$needed" ] || {
            echo "$place has $(free_mib "$place") MiB free, $needed are needed: free some, or take another folder for what is temporary: TMPDIR=FOLDER ./deploy.sh ..."
            return
        }
    done
    echo "check the network, then start again"
}

scratch() { echo "${TMPDIR:-$root/.cache/tmp}"; }  # /tmp is often small, and in memory

pip_install() {  # VENV ARGUMENTS...: silent but for errors
    read_pip_files "$1"
    TMPDIR=$(scratch) "$1/bin/python" -m pip install -qq "${@:2}" >&2 ||
        die installation-failed "pip could not fill $1 (its words are above); $(explain_pip "$1")"
}

noted=""

check_owner() {  # VENV: what another user made can neither be renewed nor, perhaps, be read
    local place odd owner
    if [ "$(id -u)" = 0 ]; then
        [ -z "${SUDO_USER:-}" ] || [ "$(stat -c %u -- "$root")" = 0 ] || [ -n "$noted" ] ||
            say "note: this needs no sudo; what it makes here will belong to root, and $SUDO_USER cannot renew it"
        noted=yes
        return
    fi
    for place in "$1" "$root/.cache"; do
        odd=""
        if [ ! -e "$place" ]; then
            place=$root
            [ -w "$place" ] || odd=$place
        elif [ "$place" = "$1" ]; then
            odd=$(find "$place" ! -user "$(id -u)" -print -quit 2>/dev/null || :)
        elif [ ! -w "$place" ]; then
            odd=$place
        fi
        [ -n "$odd" ] || continue
        owner=$(stat -c %U -- "$odd")
        [ "$owner" != "$(id -un)" ] || die installation-failed "$odd cannot be written (a read-only file system?); take a checkout elsewhere"
        die installation-failed "$odd belongs to $owner, and $(id -un) cannot renew it (was something started with sudo?); give it back with: sudo chown -R $(id -un) $place, or take a checkout of your own"
    done
}

install_locked() {  # VENV LOCK ARGUMENTS...: a lock is complete, so pip has nothing to resolve
    pip_install "$1" --no-deps --require-hashes --only-binary=:all: "${@:3}" -r "$2"
}

make_venv() {  # VENV LOCK
    local options=()
    find_python "$2"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die venv-missing "$python has no venv module; install it with: sudo apt install python3-venv"
    if [ "${2##*/}" = device.txt ] && "$python" -I -c 'import sys
from importlib.util import find_spec
sys.exit(not (find_spec("picamera2") and find_spec("numpy")))'; then
        say "using the system's picamera2 and numpy"
        options=(--system-site-packages)
    fi
    say "setting up ${1##*/} with $("$python" -V); this happens once and takes a few minutes"
    rm -rf -- "$1"
    TMPDIR=$(scratch) "$python" -m venv "${options[@]}" "$1" >&2 || die venv-missing "$python could not make $1 (its words are above)"
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

install_glasses() {  # VENV LOCK
    say "adding the libraries of glasses over Bluetooth to ${1##*/}"
    install_locked "$1" "$2"
}

install_emulation() {  # VENV LOCK
    say "adding emulated glasses to ${1##*/}"
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
    check_owner "$1"
    flock --nonblock 9 || { say "waiting for another start to finish setting up"; flock 9; }
    if [ "$(cat -- "$file" 2>/dev/null)" != "$(stamp "$@")" ]; then
        rm -f -- "$file"
        rm -rf -- "$root/.cache/tmp"
        mkdir -p -- "$root/.cache/tmp"
        "$command" "$@"
        # Written last, and whole: whatever kills us before leaves a step that the next start takes again.
        stamp "$@" >"$file.new"
        mv -- "$file.new" "$file"
        rm -rf -- "$root/.cache/tmp"
    fi
    exec 9<&-
}

environment() {  # NAME LOCK [sinks] [tools]: afterwards $root/NAME holds LOCK's packages and the project
    local venv=$root/$1 locks=$root/deploy/locks extras=" ${*:3} "
    check_machine
    [ ! -e "$venv/.install_sinks" ] || extras+="sinks "  # once asked for, they stay when all else is made anew
    step make_venv "$venv" "$locks/$2.txt"
    step install_backend "$venv" "$locks/build.txt"
    step install_project "$venv" "$root"/{pyproject.toml,deploy/wheel.py}
    if [[ $extras == *" sinks "* ]]; then
        step install_sinks "$venv" "$locks/sinks.txt"
        step install_glasses "$venv" "$locks/glasses.txt"
    fi
    if [[ $extras == *" tools "* ]]; then
        step install_tools "$venv" "$locks/dev.txt"
        step install_emulation "$venv" "$locks/emulation.txt"
    fi
}
