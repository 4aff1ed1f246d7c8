#!/usr/bin/env bash
# On the device, as root: puts a release there, old or new and never half, and goes back when a new one does not work.
#
#   /opt/cuelens/releases/VERSION  a release; whole once it has the file `whole`, in which stands its number
#   /opt/cuelens/current           the one that starts
#   /opt/cuelens/good              the newest that was seen working; while `current` is another, that one is on trial
#   /opt/cuelens/previous          the good one before
#   /opt/cuelens/tried             the version on trial that a boot was spent on
#   /opt/cuelens/failed            the version that was taken back last, and why
#   /opt/cuelens/before-VERSION    the settings before those that came with VERSION; they come back when it goes
#   /usr/local/bin/cuelens         a link to the program of `current`
#
# A link changes by a rename, after what it names is on the disk; units are links into `current` and `good`. So whatever
# kills this leaves a whole release to start, or none before the first. At boot `settle` removes what is half; a release on
# trial gets that one boot to prove itself. Time is the kernel's uptime: a Raspberry Pi's clock is wrong without a network.
#
# Exit codes: 2 wrong command line, 73 an installation failed, 91 not root, 92 another architecture, 93 another release of the
# system, 94 another Python or a missing tool, 95 no space, 96 a system that keeps nothing, 97 a damaged bundle, 98 one that is
# not signed by a known key, 99 a release that does not work, or none to go back to.
set -euo pipefail
umask 022

at=${CUELENS_ROOT:-}  # for images that are mounted elsewhere, and tests
base=$at/opt/cuelens
settings=$at/etc/cuelens/cuelens.toml
signers=$at/etc/cuelens/allowed_signers
units=$at/usr/local/lib/systemd/system  # not /etc: `systemctl disable` would take a link there away for good
wants=$at/etc/systemd/system/multi-user.target.wants
drop_in=$at/etc/systemd/system/cuelens.service.d/device.conf
safe_drop_in=$at/etc/systemd/system/cuelens-safe.service.d/device.conf
journal=$at/etc/systemd/journald.conf.d/cuelens.conf
on_path=$at/usr/local/bin/cuelens
program=/opt/cuelens/current/venv/bin/cuelens
groups=(video render gpio i2c spi)
keep=3  # releases
deadline=90  # seconds from the start to the first frame, inference and watchdog's feed: a Zero 2 W with a cold card may take 30 (an estimate)
crashes=3  # restarts by then after which nobody need wait any longer
work="" building="" changed=""
bundle="" given_signers="" given_settings="" start=yes

usage() {
    cat <<'END'
usage: install.sh COMMAND, as root

  install BUNDLE   install a release, start it, and go back by itself if it does not work
    --signers FILE   allowed_signers that it must be signed by; default /etc/cuelens/allowed_signers
    --settings FILE  settings to put in the place of /etc/cuelens/cuelens.toml, which is kept as cuelens.toml.old
    --deadline N     seconds within which it must work; default 90
    --no-start       leave the start, and the proof that it works, to the next boot
  apply            take changed settings: see that they are valid, what they need, and start again with them
    --settings FILE  the same with these
  rollback         go back to the release before
  mark-good        say that the release on trial works
  status           list the releases
  facts            what this device is, as key=value
  settle           at boot: remove what is half, give a release on trial its one boot
  prove            wait until the release on trial works, or go back
  remove [--all]   remove everything; settings and what was saved only with --all
END
}

say() { printf 'cuelens: %s\n' "$*" >&2 || :; }  # whoever listened may be gone: the work goes on

die() {  # CODE WORDS...
    say "${*:2}"
    exit "$1"
}

step() { say "$1"; }  # a power cut may come before any, and anywhere in between

failed_at() {  # WORDS: the end of a step that went wrong; its own words are in $work/words
    sed 's/^/  /' "$work/words" >&2 || :
    ! grep -qE 'No space left on device|Disk quota exceeded' "$work/words" ||
        die 95 "$1: the disk is full; free some space on $base, then start again; nothing was changed"
    die 73 "$1 (its words are above); nothing was changed"
}

# shellcheck disable=SC2329  # a trap calls it
cleanup() {
    [ -z "$work" ] || rm -rf -- "$work"
    [ -z "$building" ] || rm -rf -- "$building"
}

# What this device is.

booted() { [ -d "$at/run/systemd/system" ]; }  # sd_booted(3)

uptime_s() {
    local up
    read -r up _ </proc/uptime
    echo "${up%.*}"
}

system_value() { sed -n "s/^$1=//p" "$at/etc/os-release" 2>/dev/null | tr -d '"'; }

python_version() { python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

has_picamera() {
    python3 -c 'import sys
from importlib.util import find_spec
sys.exit(not (find_spec("picamera2") and find_spec("numpy")))' 2>/dev/null
}

existing_folder() {  # PATH: it, or the nearest folder above that is there
    local path=$1
    until [ -d "$path" ]; do path=$(dirname -- "$path"); done
    echo "$path"
}

free_kib() { df --output=avail -- "$(existing_folder "$base")" | tail -n 1 | tr -d ' '; }

file_system() {  # writable, read-only or overlay
    local folder
    folder=$(existing_folder "$base")
    # raspi-config's overlay and the package overlayroot say so on the kernel's command line; a container is no such thing.
    if [ "$(stat --file-system --format=%T -- "$folder")" = overlayfs ] && grep -qE '(^| )(boot=overlay|overlayroot=[^d ])' /proc/cmdline; then
        echo overlay
    elif [ -w "$folder" ] || [ "$(id -u)" != 0 ]; then
        echo writable
    else
        echo read-only
    fi
}

existing_groups() {
    local name found=()
    for name in "$@"; do ! grep -q "^$name:" "$at/etc/group" || found+=("$name"); done
    echo "${found[*]}"
}

say_facts() {
    local name cameras=()
    for name in "$at"/dev/video*; do [ ! -e "$name" ] || cameras+=("${name##*/}"); done
    echo "system=$(system_value PRETTY_NAME)"
    echo "suite=$(system_value VERSION_CODENAME)"
    echo "arch=$(uname -m)"
    echo "board=$({ tr -d '\0' <"$at/proc/device-tree/model"; } 2>/dev/null || :)"
    echo "python=$(python_version || :)"
    echo "free_kib=$(free_kib)"
    echo "file_system=$(file_system)"
    echo "systemd=$(booted && echo running || echo no)"
    echo "groups=$(existing_groups "${groups[@]}")"
    echo "cameras=${cameras[*]}"
    echo "picamera2=$(has_picamera && echo yes || echo no)"
    echo "rsync=$(command -v rsync || :)"
    echo "signers=$([ -e "$signers" ] && echo yes || echo no)"
    for name in current good previous; do echo "$name=$(version_of "$name")"; done
}

# The releases.

version_of() {  # LINK: its release's version; nothing where there is none
    local target
    ! target=$(readlink -- "$base/$1") || echo "${target##*/}"
}

usable() { [ -e "$base/$1/whole" ]; }  # LINK

named() { [ "$1" = "$(version_of current)" ] || [ "$1" = "$(version_of good)" ] || [ "$1" = "$(version_of previous)" ]; }  # VERSION

replace() {  # FILE: by what comes in, whole or not at all
    mkdir -p -- "$(dirname -- "$1")"
    cat >"$1.new"
    sync -- "$1.new"
    mv -- "$1.new" "$1"
    sync -- "$(dirname -- "$1")"
}

set_link() {  # LINK VERSION
    ln -sfn -- "releases/$2" "$base/$1.new"
    mv -T -- "$base/$1.new" "$base/$1"
    sync -- "$base"
}

whole_releases() {  # as "NUMBER VERSION", the newest first
    local file
    for file in "$base"/releases/*/whole; do
        [ ! -e "$file" ] || echo "$(cat -- "$file") $(basename -- "$(dirname -- "$file")")"
    done | sort -rn
}

drop() {  # VERSION
    rm -f -- "$base/releases/$1/whole"
    sync -- "$base/releases/$1"
    rm -rf -- "${base:?}/releases/$1"
}

remove_half() {
    local folder
    rm -f -- "$base"/*.new
    for folder in "$base"/releases/*; do
        [ ! -d "$folder" ] || [ -e "$folder/whole" ] || named "${folder##*/}" || drop "${folder##*/}"
    done
}

remove_old() {  # ROOM: the oldest that no link names, until there is room for as many more
    local number version linked=() others=()
    while read -r number version; do
        if named "$version"; then linked+=("$version"); else others+=("$version"); fi
    done < <(whole_releases)
    local most=$((keep - ${#linked[@]} - $1))
    for version in "${others[@]:$((most > 0 ? most : 0))}"; do drop "$version"; done
}

mark_good() {
    local good current
    good=$(version_of good) current=$(version_of current)
    [ "$good" = "$current" ] || {
        [ -z "$good" ] || set_link previous "$good"
        set_link good "$current"
        rm -f -- "$base/failed"
    }
    rm -f -- "$base/tried"
    take_back_settings
}

take_back_settings() {  # of releases that are not the current one
    local file version current
    current=$(version_of current)
    for file in "$base"/before-*; do
        [ -e "$file" ] || break
        version=${file##*/before-}
        if [ "$version" != "$current" ]; then
            replace "$settings" <"$file"
            write_drop_in
        elif [ "$current" != "$(version_of good)" ]; then
            continue  # on trial
        fi
        rm -f -- "$file"
    done
}

# Whether one works.

restart() {
    systemctl daemon-reload
    systemctl stop cuelens.service || :  # waited for: the old process must not be taken for the new one
    systemctl reset-failed cuelens.service 2>/dev/null || :
    systemctl start --no-block cuelens.service || :  # whether it works is seen then
}

complaint() {  # VERSION: what is missing for it to work; nothing where it works
    local told
    if ! systemctl is-active --quiet cuelens.service; then
        echo "it is $(systemctl is-active cuelens.service || :)"
    elif ! told=$("$base/current/venv/bin/cuelens" status --json 2>&1); then
        echo "it does not answer (${told##*$'\n'})"
    else
        python3 -c 'import json, sys
told = json.loads(sys.argv[2])
needed = ("inferences", "watchdog") if told.get("paused") else ("frames", "inferences", "watchdog")
missing = [name for name in needed if not told.get(name)]
if told.get("version") != sys.argv[1]:
    print("{} answers in its place".format(told.get("version")))
elif missing:
    print("no " + " and no ".join({"watchdog": "word to the watchdog"}.get(name, name[:-1]) for name in missing) + " yet")' "$1" "$told" 2>&1 | tail -n 1
    fi
}

works() {  # VERSION: true once it does; after the deadline, or when it keeps dying, $missing says why not
    local end restarts
    end=$(($(uptime_s) + deadline))
    while missing=$(complaint "$1") || :; [ -n "$missing" ]; do
        restarts=$(systemctl show cuelens.service --property=NRestarts --value)
        if [ "${restarts:-0}" -ge "$crashes" ]; then
            missing="it died $restarts times"
        elif [ "$(systemctl is-active cuelens.service)" != failed ] && [ "$(uptime_s)" -lt "$end" ]; then
            sleep 0.5
            continue
        fi
        return 1
    done
}

say_log() {
    say "the last words of cuelens.service:"
    { journalctl --unit=cuelens.service --boot --lines=12 --no-pager --output=cat | sed 's/^/  /' >&2; } || :
}

go_back() {  # WHY: from a release on trial to the good one
    local bad good
    bad=$(version_of current) good=$(version_of good)
    replace "$base/failed" <<<"$bad $1"
    set_link current "$good"
    rm -f -- "$base/tried"
    take_back_settings
    say "$bad was taken back: $1; $good is the release again"
    ! booted || restart
}

try_current() {  # wait until the release on trial works, or go back and end
    local version good
    version=$(version_of current) good=$(version_of good)
    if works "$version"; then
        mark_good
        return
    fi
    say_log
    if [ "$version" = "$good" ]; then
        die 99 "$version is installed but does not work: $missing; the service goes on trying: mend what it names, then see cuelens check"
    fi
    go_back "$missing"
    works "$good" || say "$good does not work either: $missing"
    exit 99
}

# Installing.

read_options() {
    while [ $# != 0 ]; do
        case $1 in
        --no-start) start=no ;;
        --signers | --settings | --deadline)
            [ $# -ge 2 ] || die 2 "$1 needs a value"
            case $1 in --signers) given_signers=$2 ;; --settings) given_settings=$2 ;; --deadline) deadline=$2 ;; esac
            shift
            ;;
        -*) die 2 "unknown option '$1'; valid are --signers, --settings, --deadline and --no-start" ;;
        *)
            [ -z "$bundle" ] || die 2 "two bundles, '$bundle' and '$1'; give one"
            bundle=$1
            ;;
        esac
        shift
    done
    [[ $deadline =~ ^[1-9][0-9]*$ ]] || die 2 "--deadline is '$deadline'; valid are whole seconds from 1 on"
    [ -z "$given_settings" ] || [ -r "$given_settings" ] || die 2 "--settings $given_settings: no file that can be read"
}

need_root() { [ "$(id -u)" = 0 ] || [ -n "$at" ] || die 91 "$1 needs root; start it with sudo"; }

need_writable() {
    case $(file_system) in
    read-only) die 96 "the root file system is read-only; make it writable with: mount -o remount,rw /" ;;
    overlay) die 96 "the root file system is an overlay, which forgets all at the next start; turn it off with: raspi-config nonint disable_overlayfs, then restart, install, and turn it on again" ;;
    esac
}

need_tools() {
    local tool
    for tool in awk flock python3 sed sha256sum ssh-keygen tar; do
        command -v "$tool" >/dev/null || die 94 "no $tool on this system; install it with: apt install $(
            case $tool in ssh-keygen) echo openssh-client ;; flock) echo util-linux ;; sha256sum) echo coreutils ;; *) echo "$tool" ;; esac
        )"
    done
}

lock() {
    mkdir -p -- "$at/opt"
    exec 9<"$at/opt"
    flock --nonblock 9 || { say "waiting for another installation to end"; flock 9; }
}

payload() { tar --extract --to-stdout --file "$bundle" payload.tar; }

check_signature() {
    local key=${given_signers:-$signers} signature=$work/payload.tar.sig
    [ -f "$bundle" ] || die 97 "$bundle: no such file; give a bundle that ./deploy.sh bundle made"
    [ -s "$key" ] || die 98 "no key is known here that a release must be signed by; the first time give it with --signers FILE"
    tar --list --file "$bundle" >"$work/names" 2>"$work/words" || die 97 "$bundle: not whole ($(head -n 1 "$work/words")); copy it again"
    [ "$(cat -- "$work/names")" = $'payload.tar.sig\npayload.tar' ] ||
        die 97 "$bundle: no signed bundle (in it: $(tr '\n' ' ' <"$work/names")); give one that ./deploy.sh bundle made"
    # A sparse file of a terabyte takes a block of a tar.
    tar --list --verbose --file "$bundle" | awk -v most="$(stat --format=%s -- "$bundle")" '!/^-/ || $3 + 0 > most { odd = 1 } END { exit odd }' ||
        die 97 "$bundle: its files are larger than it is, or none; copy it again"
    tar --extract --to-stdout --file "$bundle" payload.tar.sig >"$signature"
    payload 2>/dev/null | ssh-keygen -Y verify -f "$key" -I cuelens -n cuelens-release -s "$signature" >"$work/verdict" 2>&1 && return
    ! payload 2>/dev/null | ssh-keygen -Y check-novalidate -n cuelens-release -s "$signature" >/dev/null 2>&1 ||
        die 98 "$bundle: signed by a key that is not in $key; a bundle of that key is taken with --signers FILE"
    die 97 "$bundle: not as it was signed ($(tail -n 1 "$work/verdict")); build or copy it again"
}

read_bundle() {  # sets $version, $suite, $arch, $wanted_python and the sizes in KiB
    read -r version suite arch wanted_python packed_kib unpacked_kib < <(python3 - "$bundle" <<'END'
import sys, tarfile, zipfile

with tarfile.open(sys.argv[1]) as bundle, tarfile.open(fileobj=bundle.extractfile("payload.tar")) as payload:
    packed = unpacked = 0
    for member in payload:
        packed += member.size
        if member.name.endswith(".whl"):
            with zipfile.ZipFile(payload.extractfile(member)) as wheel:
                unpacked += sum(entry.file_size for entry in wheel.infolist())
    version, target = (payload.extractfile(name).read().decode().strip() for name in ("VERSION", "TARGET"))
    print(version, target, -(-packed // 1024), -(-unpacked // 1024))
END
    ) || die 97 "$bundle: cannot be read (the words above say why); build it again"
    [[ $version =~ ^[0-9A-Za-z][0-9A-Za-z.+_-]*$ ]] || die 97 "$bundle: '$version' is no version; build it again"
}

check_target() {
    local mine
    mine=$(uname -m)
    [ "$mine" = "$arch" ] || die 92 "this bundle is for $arch, this device is $mine; give the one for $mine"
    mine=$(system_value VERSION_CODENAME)
    [ "$mine" = "$suite" ] || die 93 "this bundle is for $suite, this system is ${mine:-unknown}; give the one for ${mine:-it}"
    mine=$(python_version || echo missing)
    [ "$mine" = "$wanted_python" ] || die 94 "this bundle is for Python $wanted_python, python3 here is $mine; use the system's own Python"
}

check_space() {
    # Byte code adds a quarter.
    local need=$((packed_kib + unpacked_kib * 5 / 4 + 16 * 1024)) free
    free=$(free_kib)
    [ "$free" -ge "$need" ] || die 95 "$(existing_folder "$base") has $((free / 1024)) MiB free, $((need / 1024)) are needed (packed $((packed_kib / 1024)), unpacked $((unpacked_kib / 1024)), and byte code); free some, then start again"
}

unpack() {
    rm -rf -- "$release"
    mkdir -p -- "$release"
    building=$release
    payload 2>"$work/words" | tar --extract --no-same-owner --directory "$release" 2>>"$work/words" || failed_at "the bundle could not be unpacked"
}

check_files() {
    (cd -- "$release" && sha256sum --check --strict --quiet SHA256SUMS) >"$work/words" 2>&1 || failed_at "what was unpacked is not what was packed"
}

make_venv() {  # it sees the system's packages: picamera2 is one of them, or may come later
    python3 -m venv --without-pip --system-site-packages "$release/venv" >"$work/words" 2>&1 || failed_at "python3 could not make a venv"
}

install_packages() {
    local lines=$release/requirements.txt pip=("$release"/wheels/pip-*.whl)
    # picamera2's compiled parts break with a numpy newer than the system's.
    if has_picamera; then
        lines=$work/requirements.txt
        awk '/^[^ ]/ { keep = !/^numpy==/ } keep' "$release/requirements.txt" >"$lines"
    fi
    # An environment of its own: Raspberry Pi OS' pip.conf names an index.
    env -i PATH="$PATH" HOME="$work" LC_ALL=C.UTF-8 PIP_CONFIG_FILE=/dev/null \
        "$release/venv/bin/python" "${pip[0]}/pip" --quiet --disable-pip-version-check --no-cache-dir install --ignore-installed --no-index \
        --find-links "$release/wheels" --no-deps --require-hashes --only-binary=:all: --no-compile --requirement "$lines" >"$work/words" 2>&1 ||
        failed_at "pip could not install the packages"
    rm -rf -- "$release/wheels"
}

compile() {
    "$release/venv/bin/python" -m compileall -qq "$release/venv/lib" >&2 || :  # some packages carry files for other Pythons
}

try_out() {  # the program, the model and these settings, without a camera
    local config=${given_settings:-$settings} words=()
    [ ! -e "$config" ] || words=(--config "$config")
    "$release/venv/bin/cuelens" --version >"$work/words" 2>&1 || failed_at "the release does not start"
    "$release/venv/bin/cuelens" run "${words[@]}" --source demo --sink log:/dev/null --pace fast --seconds 1 >"$work/words" 2>&1 ||
        failed_at "the release does not run with the settings"
}

flush() { sync --file-system -- "$base" 2>"$work/words" || failed_at "the disk did not take it all"; }

make_whole() {
    local number
    number=$(whole_releases | head -n 1)
    replace "$release/whole" <<<"$((${number%% *} + 1))"
    building=
}

put_settings() {
    if [ -n "$given_settings" ]; then
        ! cmp -s -- "$given_settings" "$settings" || return 0
        [ ! -e "$settings" ] || replace "$settings.old" <"$settings"
        [ "$(version_of current)" = "$version" ] || { cat -- "$settings" 2>/dev/null || :; } | replace "$base/before-$version"
        replace "$settings" <"$given_settings"
        changed=yes
    elif [ ! -e "$settings" ]; then  # with nothing set: a later release has other defaults, perhaps, and settings of another name
        sed -E 's/^([a-z_]+ *=)/# \1/' "$release/cuelens.toml" | replace "$settings"
    fi
}

needs() {  # what the settings need beyond the unit's own: "network", "audio", "bluetooth"
    [ -e "$settings" ] || return 0
    python3 - "$settings" <<'END'
import sys, tomllib

try:
    with open(sys.argv[1], "rb") as file:
        content = file.read()
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:2]  # as the service reads it: edge/system/encodings.py
    text = content.decode("utf-16" if wide else "utf-8-sig", "replace")
    settings = tomllib.loads(text.replace("\0", ""))
except (OSError, ValueError):  # the service will say so itself
    sys.exit()
sinks = settings.get("sinks")
sinks = {str(sink).partition(":")[0] for sink in sinks} if isinstance(sinks, list) else set()
if sinks & {"mqtt", "web"} or "://" in str(settings.get("source", "")):
    print("network")
if "audio" in sinks:
    print("audio")
if "glasses" in sinks:  # which are reached through bluetoothd, over the D-Bus
    print("bluetooth")
END
}

write_drop_in() {
    local need text
    need=$(needs)
    text="# Written by install.sh, from this system's groups and $settings; after a change: install.sh apply
[Service]
SupplementaryGroups=$(existing_groups "${groups[@]}")"
    [[ $need != *audio* ]] || text+="
SupplementaryGroups=$(existing_groups audio)
DeviceAllow=char-alsa rw"
    [[ $need != *bluetooth* ]] || [ -z "$(existing_groups bluetooth)" ] || text+="
SupplementaryGroups=bluetooth"
    put_drop_in "$safe_drop_in" "$text"
    # From systemd 254 on OnFailure= acts at each restart, unless RestartMode is direct; before, only after the last restart.
    [ "$(system_value VERSION_CODENAME)" = bookworm ] || text+="
RestartMode=direct"
    [[ $need != *network* ]] || text+="
RestrictAddressFamilies=AF_INET AF_INET6"
    put_drop_in "$drop_in" "$text"
}

put_drop_in() {  # FILE TEXT
    [ "$2" = "$(cat -- "$1" 2>/dev/null)" ] || { replace "$1" <<<"$2"; changed=yes; }
}

put_units() {
    local unit
    mkdir -p -- "$units" "$wants"
    write_drop_in
    ln -sfn -- /opt/cuelens/current/cuelens.service "$units/cuelens.service"
    for unit in cuelens-settle cuelens-safe; do ln -sfn -- "/opt/cuelens/good/$unit.service" "$units/$unit.service"; done
    usable good || for unit in cuelens cuelens-settle; do  # later it is the maker's choice
        ln -sfn -- "/usr/local/lib/systemd/system/$unit.service" "$wants/$unit.service"
    done
    [ -e "$journal" ] || {
        replace "$journal" <<'END'
# Of Cuelens: the journal is kept in memory, so that the log wears no card out and ends with the power.
# To keep it on the disk, empty this file; it is then left as it is.
[Journal]
Storage=volatile
RuntimeMaxUse=16M
END
        ! booted || systemctl restart systemd-journald.service || :
    }
    sync --file-system -- "$wants"
}

put_on_path() {
    ! is_our_link || return 0
    if [ -e "$on_path" ] || [ -L "$on_path" ]; then
        say "$on_path is another program and stays; start Cuelens with $program"
    else
        mkdir -p -- "$(dirname -- "$on_path")"
        ln -s -- "$program" "$on_path"
    fi
}

is_our_link() { [ "$(readlink -- "$on_path")" = "$program" ]; }

flip() {
    rm -f -- "$base/tried"
    usable good || set_link good "$version"  # the first: there is none that would be better
    set_link current "$version"
    changed=yes
}

install_bundle() {
    local version suite arch wanted_python packed_kib unpacked_kib release
    read_options "$@"
    [ -n "$bundle" ] || die 2 "install needs a BUNDLE"
    need_tools
    need_writable
    lock
    work=$(mktemp -d)
    step "checking the signature"
    check_signature
    step "reading the bundle"
    read_bundle
    check_target
    release=$base/releases/$version
    if [ -e "$release/whole" ] && ! cmp -s <(payload | tar -xO SHA256SUMS) "$release/SHA256SUMS"; then
        ! named "$version" || die 73 "$version is installed here with other contents; remove it first, with: install.sh remove"
        drop "$version"
    fi
    step "removing what an earlier one left"
    remove_half
    take_back_settings
    if [ ! -e "$release/whole" ]; then
        remove_old 1
        check_space
        step "unpacking $version"
        unpack
        step "checking its files"
        check_files
        step "making its venv"
        make_venv
        step "installing its packages"
        install_packages
        step "compiling"
        compile
        step "trying it out"
        try_out
        step "writing it all to the disk"
        flush
        step "declaring it whole"
        make_whole
    fi
    step "putting the settings in place"
    put_settings
    cmp -s -- "$release/allowed_signers" "$signers" || replace "$signers" <"$release/allowed_signers"
    step "putting the units in place"
    put_units
    put_on_path
    if [ "$(version_of current)" = "$version" ] && usable current; then
        say "$version is the release here already"
    else
        step "making it the release that starts"
        flip
    fi
    if [ "$start" = no ] || ! booted; then
        say "$version is installed; it starts at the next boot"
        return
    fi
    step "starting it"
    start
    step "waiting for its first frame"
    try_current
    step "removing older releases"
    remove_old 0
    say "$version works"
}

start() {  # again only if something is new, or does not work
    [ -z "$changed" ] && [ -z "$(complaint "$version")" ] || restart
}

# The other commands.

settle() {
    local version name
    [ -d "$base/releases" ] && [ "$(file_system)" = writable ] || return 0
    lock
    remove_half
    for name in good previous newest; do
        ! usable current || break
        if [ "$name" = newest ]; then version=$(whole_releases | head -n 1); else version=$(version_of "$name"); fi
        version=${version##* }
        [ ! -e "$base/releases/$version/whole" ] || { set_link current "$version"; ! booted || restart; }
    done
    usable current || return 0
    usable good || mark_good
    version=$(version_of current)
    if [ "$version" = "$(version_of good)" ]; then
        rm -f -- "$base/tried"
        take_back_settings
    elif [ "$version" = "$(cat -- "$base/tried" 2>/dev/null)" ]; then
        go_back "it was started once and not seen working before the power went"
    else
        replace "$base/tried" <<<"$version"
        ! booted || systemd-run --quiet --no-block --unit=cuelens-prove "$base/good/install.sh" prove
    fi
}

need_release() { usable current || die 99 "no release is installed here; install one first"; }

prove() {
    read_options "$@"
    need_release
    lock
    write_drop_in
    [ -z "$changed" ] || restart
    try_current
    remove_old 0
    say "$(version_of current) works"
}

apply() {
    read_options "$@"
    need_release
    lock
    version=$(version_of current) release=$base/current work=$(mktemp -d)
    try_out
    put_settings
    write_drop_in
    booted || return 0
    restart
    works "$version" && return
    say_log
    [ -n "$changed" ] && [ -n "$given_settings" ] && [ -e "$settings.old" ] ||
        die 99 "it does not work with these settings: $missing"
    replace "$settings" <"$settings.old"
    write_drop_in
    restart
    die 99 "it does not work with these settings: $missing; those before are back"
}

roll_back() {
    local good current
    need_release
    lock
    good=$(version_of good) current=$(version_of current)
    if [ "$current" != "$good" ]; then
        go_back "by hand"
        ! booted || works "$good" || die 99 "$good does not work either: $missing"
    elif usable previous && [ "$(version_of previous)" != "$current" ]; then
        set_link current "$(version_of previous)"
        rm -f -- "$base/tried"
        if booted; then
            restart
            try_current
        fi
        say "$(version_of current) is the release again; another rollback goes to $current"
    else
        die 99 "there is no release before $current to go back to"
    fi
}

show_status() {
    local number version name is
    while read -r number version; do
        is=
        for name in current good previous; do [ "$version" != "$(version_of "$name")" ] || is+=", $name"; done
        echo "$version ${is#, }"
    done < <(whole_releases)
    [ "$(version_of current)" = "$(version_of good)" ] || echo "on trial: $(version_of current)"
    [ ! -e "$base/failed" ] || echo "taken back: $(cat -- "$base/failed")"
    usable current || echo "no release is installed"
}

remove_all() {  # [--all]
    local name
    case ${1:-} in "" | --all) ;; *) die 2 "unknown option '$1'; valid is --all" ;; esac
    lock
    ! booted || systemctl stop cuelens-prove.service cuelens.service cuelens-safe.service cuelens-settle.service 2>/dev/null || :
    rm -f -- "$drop_in" "$safe_drop_in" "$journal"
    ! is_our_link || rm -f -- "$on_path"
    for name in cuelens cuelens-safe cuelens-settle; do rm -f -- "$wants/$name.service" "$units/$name.service"; done
    if [ "${1:-}" = --all ]; then
        rm -rf -- "$(dirname -- "$drop_in")" "$(dirname -- "$safe_drop_in")" "$at/etc/cuelens" "$at/var/lib/cuelens" "$at/var/lib/private/cuelens"
    fi
    rmdir -- "$(dirname -- "$drop_in")" "$(dirname -- "$safe_drop_in")" "$(dirname -- "$journal")" "$units" "$(dirname -- "$units")" 2>/dev/null || :
    rm -rf -- "${base:?}"
    if booted; then
        systemctl daemon-reload
        systemctl reset-failed 'cuelens*' 2>/dev/null || :
        systemctl restart systemd-journald.service || :
    fi
    say "removed$([ "${1:-}" = --all ] || echo ", but for the settings in /etc/cuelens and what was saved in /var/lib/cuelens")"
}

main() {
    local command=${1:-}
    trap cleanup EXIT
    trap '' HUP PIPE  # a connection that breaks is no reason to stop in the middle
    export LC_ALL=C.UTF-8
    case $command in
    help | -h | --help | "") usage ;;
    facts) say_facts ;;
    status) show_status ;;
    install | settle | prove | apply | rollback | mark-good | remove)
        need_root "$command"
        case $command in
        install) install_bundle "${@:2}" ;;
        settle) settle ;;
        prove) prove "${@:2}" ;;
        apply) apply "${@:2}" ;;
        rollback) roll_back ;;
        mark-good) need_release && lock && mark_good ;;
        remove) remove_all "${@:2}" ;;
        esac
        ;;
    *) die 2 "unknown command '$command'; valid are install, apply, rollback, mark-good, status, facts, settle, prove and remove" ;;
    esac
}

main "$@"
exit  # whatever is written over this file while it runs
