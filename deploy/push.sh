#!/usr/bin/env bash
# `deploy.sh push` and what else is done to a device over ssh; the work there is done by the installer, sent along.
set -euo pipefail
# shellcheck source=deploy/venv.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"

usage() {
    cat <<'END'
usage: ./deploy.sh COMMAND [USER@]HOST [ARGUMENTS]

  push       install this checkout's release there, or go back to the former if it does not work
    --bundle FILE    another release, as ./deploy.sh bundle made it
    --signers FILE   allowed_signers that it must be signed by; default those that the device knows, at first your own
    --settings FILE  settings for /etc/cuelens/cuelens.toml, checked before they count
    --deadline N     seconds in which it must work; default 90
  status     the releases there, and how the running one is doing
  logs       what the service said; further arguments go to journalctl: --follow
  rollback   go back to the release before
  bench      cuelens-bench there, as JSON on standard output; what follows goes to it: stages --frames 300
  uninstall  remove everything there; settings and what was saved stay with --keep-settings

USER needs sudo there, or is root. Where sudo asks for a password, so does this, once; without a terminal CUELENS_SUDO_PASSWORD
has it. CUELENS_SSH has options for ssh: CUELENS_SSH="-p 2222 -i KEY". HOST is a name or an address: pi@fe80::1%eth0, pi@[fd00::5].
END
}

program=/opt/cuelens/current/venv/bin/cuelens
read -ra options <<<"${CUELENS_SSH:-}"
exec </dev/null  # ssh would take what is meant for others
sudo="" password=""
# For the shell there: sudo asks a program for the password, which comes first of all on standard input and is in no command line.
# shellcheck disable=SC2016
askpass='IFS= read -r CUELENS_SUDO_PASSWORD; export CUELENS_SUDO_PASSWORD
SUDO_ASKPASS=$(mktemp) || exit; export SUDO_ASKPASS
printf "#!/bin/sh\nprintf \"%%s\\\\n\" \"\$CUELENS_SUDO_PASSWORD\"\n" >"$SUDO_ASKPASS"; chmod 700 "$SUDO_ASKPASS"'

read_host() {  # [USER@]HOST: sets $host as ssh takes it, and $rsync_host as rsync does
    local given=${1#ssh://} user="" name port=""
    given=${given%/}
    [[ $given != *@* ]] || user=${given%@*}@
    name=${given##*@}
    if [[ $name =~ ^\[([^]]+)\](:([0-9]+))?$ ]]; then
        name=${BASH_REMATCH[1]} port=${BASH_REMATCH[3]}
    elif [[ $name =~ ^([^:]+):([0-9]+)$ ]]; then
        name=${BASH_REMATCH[1]} port=${BASH_REMATCH[2]}
    fi
    [ -z "$port" ] || die command-line "'$1' has a port; give it in CUELENS_SSH: CUELENS_SSH=\"-p $port\" ./deploy.sh $command $user$name"
    case $name in
    "" | -*) die command-line "'$1' names no host; give [USER@]HOST" ;;
    *::* | *:*:*:*:*:*:*:*) rsync_host="${user}[$name]" ;;
    *:*) die command-line "'$1' is no host; valid are a name, an IPv4 address and an IPv6 address such as fd00::5 or fe80::1%eth0" ;;
    *) rsync_host=$user$name ;;
    esac
    host=$user$name
}

connect() {  # one connection for all that follows
    command -v ssh >/dev/null || die device-silent "no ssh on this machine; install it with: sudo apt install openssh-client"
    folder=$(mktemp -d /tmp/cuelens.XXXXXX)  # a socket's path is short
    options+=(-o "ControlPath=$folder/%C" -o ControlMaster=auto -o ControlPersist=60 -o ConnectTimeout=15 -o ServerAliveInterval=15)
    trap 'ssh "${options[@]}" -O exit "$host" 2>/dev/null || :; rm -rf -- "$folder"' EXIT
}

remote() {  # COMMAND: by the shell there
    local code=0
    ssh "${options[@]}" -- "$host" "$1" || code=$?
    [ "$code" != 255 ] || die device-silent "$host is not reached (ssh's words are above); try: ssh ${CUELENS_SSH:+$CUELENS_SSH }$host"
    return "$code"
}

remote_line() { remote "$1" | tail -n 1; }  # COMMAND: the last line of what it prints: a .bashrc may print before

as_root() {  # COMMAND: by the shell there, in which $sudo makes root of what follows it
    if [ -z "$password" ]; then
        remote "$1"
    else
        { remote "$askpass; ($1); code=\$?; rm -f \"\$SUDO_ASKPASS\"; exit \$code" < <(printf '%s\n' "$password" && cat <&3); } 3<&0
    fi
}

installer() { bash "$root/deploy/device/pack.sh"; }

device() {  # COMMAND [ARGUMENTS...]: the installer there, as root
    local words
    printf -v words ' %q' "$@"
    as_root "${sudo}bash -s$words" < <(installer)
}

find_root() {  # sets $sudo, and $password where sudo asks for one
    # shellcheck disable=SC2016  # for the shell there
    case $(remote_line '[ "$(id -u)" = 0 ] && echo root || { sudo -n true 2>/dev/null && echo sudo; } || id -un') in
    root) sudo="" ;;
    sudo) sudo="sudo -n " ;;
    "") exit "$(code_of device-silent)" ;;
    *) ask_sudo ;;
    esac
}

ask_sudo() {
    local allow="echo \"\$USER ALL=(ALL) NOPASSWD: ALL\" | sudo tee /etc/sudoers.d/cuelens"
    password=${CUELENS_SUDO_PASSWORD:-}
    if [ -z "$password" ] && [ -t 2 ] && { : </dev/tty; } 2>/dev/null; then
        read -rsp "deploy.sh: password of $host, for sudo there: " password </dev/tty || :
        echo >&2
    fi
    [ -n "$password" ] || die root-needed "$host may not use sudo there without a password (new Raspberry Pi OS asks for it); start this in a terminal, give it in CUELENS_SUDO_PASSWORD, push as root@, or log in there and allow it: $allow"
    sudo="sudo -A "
    as_root "${sudo}true" || die root-needed "$host: sudo there does not take this password, or not from this user (its words are above); log in there and try: sudo -v"
}

read_facts() {  # sets $facts
    local line
    # A .bashrc may print something, too.
    while read -r line; do
        [[ ! $line =~ ^[a-z_0-9]+= ]] || facts[${line%%=*}]=${line#*=}
    done < <(remote "bash -s facts" < <(installer))
    [ -n "${facts[arch]:-}" ] || exit "$(code_of device-silent)"
    say "$host: ${facts[board]:-${facts[arch]}}, ${facts[system]}, Python ${facts[python]:-none}, $((facts[free_kib] / 1024)) MiB free, cameras: ${facts[cameras]:-none}, groups: ${facts[groups]:-none}"
}

check_device() {
    case ${facts[arch]} in
    aarch64 | x86_64) ;;
    *) die device-architecture "$host is ${facts[arch]}; valid are aarch64 and x86_64: a Raspberry Pi needs the 64-bit Raspberry Pi OS" ;;
    esac
    local wanted
    case ${facts[suite]} in
    bookworm) wanted=3.11 ;;
    trixie) wanted=3.13 ;;
    *) die device-system "$host has ${facts[system]:-no system that says its name}; valid are Raspberry Pi OS and Debian, Bookworm or Trixie" ;;
    esac
    [ "${facts[python]}" = "$wanted" ] || die device-tools "$host: python3 is ${facts[python]:-missing}, ${facts[suite]}'s own is $wanted; make that the first again: sudo apt install python3"
    [ "${facts[file_system]}" = writable ] || die device-read-only "$host: the root file system is ${facts[file_system]}; nothing installed would stay: make it writable first (raspi-config, Performance Options, Overlay File System)"
    [ "${facts[systemd]}" = running ] || die device-system "$host does not run systemd; valid are Raspberry Pi OS and Debian"
}

python_here() { PYTHONPATH=$root:$root/.venv/backend "$root/.venv/bin/python" -P "$@"; }

make_bundle() {  # sets $bundle
    local version
    version=$(python_here -c 'from deploy.packages import project_version; print(project_version()[0])')
    bundle=$root/dist/cuelens-$version-${facts[suite]}-${facts[arch]}.tar
    [ -e "$bundle" ] || "$root/deploy/bundle.sh" --suite "${facts[suite]}" --arch "${facts[arch]}" >&2
}

empty_inbox() { remote 'rm -rf ~/.cache/cuelens; rmdir ~/.cache 2>/dev/null || :'; }

bundle_version() { tar -xOf "$1" payload.tar 2>/dev/null | tar -xO VERSION 2>/dev/null || :; }

show_progress() {  # BYTES: passes standard input on
    if [ -t 2 ] && [ -x "$root/.venv/bin/python" ]; then
        "$root/.venv/bin/python" -m tqdm --bytes --total "$1" --desc "deploy.sh: sending" --leave False
    else
        cat
    fi
}

upload() {  # FILE: as bundle.tar into $inbox there, whatever it is called here; goes on where a connection broke
    local there=$inbox/bundle.tar size have sum code=0
    size=$(stat -Lc %s -- "$1")
    if [ -n "${facts[rsync]}" ] && command -v rsync >/dev/null; then
        local progress=() shell
        [ ! -t 2 ] || progress=(--info=progress2)
        printf -v shell ' %q' "${options[@]}"
        rsync --partial --inplace --ignore-times --copy-links "${progress[@]}" --rsh "ssh$shell" -- "$1" "$rsync_host:$there" >&2 || code=$?
        case $code in
        0) return ;;
        2) say "rsync does not understand the answer of $host (does a .bashrc print something?); sending without it" ;;
        *) die device-silent "$host: rsync could not send ${1##*/} (its words are above); push again, it goes on where it stopped" ;;
        esac
    fi
    sum=$(sha256sum <"$1")
    have=$(remote_line "stat -c %s $there 2>/dev/null || echo 0")
    [[ $have =~ ^[0-9]+$ ]] || have=0
    while :; do
        [ "$have" -lt "$size" ] || have=0
        [ "$have" != 0 ] || remote "rm -f $there"
        tail -c "+$((have + 1))" -- "$1" | show_progress "$((size - have))" | remote "cat >>$there" ||
            die device-silent "$host: ${1##*/} could not be sent; push again, it goes on where it stopped"
        [ "$(remote_line "sha256sum <$there")" != "$sum" ] || return 0
        [ "$have" != 0 ] || die device-silent "$host: ${1##*/} arrived damaged; check the network and the card there, then push again"
        have=$size  # what was there was of another file
    done
}

push() {
    local bundle="" signers="" settings="" deadline="" own_signers="" size code=0 words=()
    check_machine
    local -A facts
    while [ $# != 0 ]; do
        case $1 in
        --bundle | --signers | --settings | --deadline)
            [ $# -ge 2 ] || die command-line "$1 needs a value"
            local "${1#--}=$2"
            shift
            ;;
        *) die command-line "unknown argument '$1'; valid are --bundle, --signers, --settings and --deadline" ;;
        esac
        shift
    done
    local file
    for file in "$bundle" "$signers" "$settings"; do [ -z "$file" ] || [ -r "$file" ] || die command-line "$file: no file that can be read"; done
    case $bundle in "" | /*) ;; *) bundle=$PWD/$bundle ;; esac  # tar and rsync take what is before a colon for a host
    read_facts
    check_device
    find_root
    environment .venv device
    [ -n "$bundle" ] || make_bundle
    [ -z "$deadline" ] || words+=(--deadline "$deadline")
    version=$(bundle_version "$bundle")
    # Where this fails, nothing was sent yet.
    if [ -z "$signers" ] && [ "${facts[signers]}" = no ]; then own_signers=$(python_here -m deploy.keys); fi
    inbox=$(remote_line 'mkdir -p ~/.cache/cuelens && chmod 700 ~/.cache/cuelens && cd ~/.cache/cuelens && pwd')
    [[ $inbox =~ ^/[A-Za-z0-9/._-]+$ ]] || die device-silent "$host: the home folder is '$inbox'; valid are names of letters, digits, dots and dashes"
    if [ -n "$settings" ]; then
        remote "cat >$inbox/cuelens.toml" <"$settings"
        words+=(--settings "$inbox/cuelens.toml")
    fi
    if [ -n "$version" ] && [ "$version" = "${facts[current]}" ] && [ "$version" = "${facts[good]}" ]; then
        say "$version is there already"
        if [ -n "$settings" ]; then device apply "${words[@]}"; else device prove "${words[@]}"; fi || code=$?
    else
        size=$(stat -Lc %s -- "$bundle")
        # What is sent, and what becomes of it there, five times as much; the installer counts it exactly.
        [ "${facts[free_kib]}" -ge $((size * 6 / 1024)) ] ||
            die device-space-short "$host has $((facts[free_kib] / 1024)) MiB free, $((size * 6 / 1048576)) are needed; free some, then push again"
        if [ -n "$signers" ]; then
            remote "cat >$inbox/allowed_signers" <"$signers"
            words+=(--signers "$inbox/allowed_signers")
        elif [ -n "$own_signers" ]; then
            remote "cat >$inbox/allowed_signers" <<<"$own_signers"
            words+=(--signers "$inbox/allowed_signers")
        fi
        say "sending $version, $((size / 1048576)) MiB"
        upload "$bundle"
        device install "$inbox/bundle.tar" "${words[@]}" || code=$?
    fi
    empty_inbox
    if [ "$code" = 0 ]; then  # a camera that is missing, say, or a weak power supply
        as_root "$sudo$program check" | grep -v '^ok' >&2 || :
    fi
    return "$code"
}

bench() {  # [TASK ARGUMENTS...]: what it needs beyond a release is sent along; the service is stopped for so long
    local there words
    [ "$#" != 0 ] || set -- stages
    printf -v words ' %q' "$@"
    find_root
    there=$(remote_line 'mktemp -d')
    tar -c -C "$root" --exclude=reference --exclude=__pycache__ benchmarks | remote "tar -x -C $there"
    as_root "trap '${sudo}systemctl start cuelens.service; rm -rf $there' EXIT
        ${sudo}systemctl stop cuelens.service && cd $there && PYTHONDONTWRITEBYTECODE=1 /opt/cuelens/current/venv/bin/python -m benchmarks.bench$words --json"
}

command=${1:-help} host=${2:-}
case $command in
push | status | logs | rollback | bench | uninstall) ;;
*)
    usage
    exit 0
    ;;
esac
case $host in
-h | --help)
    usage
    exit 0
    ;;
"" | -*) die command-line "$command needs a [USER@]HOST; see ./deploy.sh $command --help" ;;
esac
shift 2
read_host "$host"
connect
case $command in
push) push "$@" ;;
bench) bench "$@" ;;
*)
    find_root
    case $command in
    status)
        device status
        as_root "[ ! -e $program ] || $sudo$program status"
        ;;
    logs)
        [ $# != 0 ] || set -- --lines=100
        printf -v words ' %q' "$@"
        as_root "${sudo}journalctl --unit=cuelens.service --no-pager$words"
        ;;
    rollback) device rollback "$@" ;;
    uninstall)
        empty_inbox
        case ${1:-} in
        "") device remove --all ;;
        --keep-settings) device remove ;;
        *) die command-line "unknown argument '$1'; valid is --keep-settings" ;;
        esac
        ;;
    esac
    ;;
esac
