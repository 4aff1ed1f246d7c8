#!/usr/bin/env bash
# On the device: finds a Python, and starts the installer with it. That is the Python which pack.sh puts behind this file.
# The whole comes from the maker's checkout (push, flash, Ansible) or from a release whose signature was verified when it was
# installed: nothing of a new bundle runs before the installer has found its signature good.
set -u

value() { sed -n "s/^$1=//p" "${CUELENS_ROOT:-}/etc/os-release" 2>/dev/null | tr -d '"'; }  # NAME: os-release's

find_python() {  # sets $python
    for python in python3 python3.{14..11}; do
        ! "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || return 0
    done
    return 1
}

refuse() {  # [COMMAND]: there is no such Python; for ./deploy.sh push, which then names why, enough of the facts
    local version
    version=$(python3 -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
    if [ "${1:-}" = facts ]; then
        printf '%s\n' "system=$(value PRETTY_NAME)" "suite=$(value VERSION_CODENAME)" "arch=$(uname -m)" "python=$version" \
            "free_kib=$(df --output=avail / | tail -n 1)"
        exit
    elif [ -n "$version" ]; then
        echo "cuelens: python3 here is $version, valid are 3.11 and later; use the system's own Python [device-tools]" >&2
    else
        echo "cuelens: no python3 on this system; install it with: apt install python3 [device-tools]" >&2
    fi
    exit 90  # as deploy/failure.py has it
}

find_python || refuse "$@"
# What is behind this file, or follows it on standard input, is read to its end before anything is done.
start='import sys
sources = dict(part.split("\n", 1) for part in sys.stdin.buffer.read().decode().split("\n#==> ")[1:])
scope = {"__name__": "packed"}
exec(compile(sources["deploy/device/packed.py"], "deploy/device/packed.py", "exec"), scope)
scope["start"](sources)'
if [ -f "${BASH_SOURCE[0]:-}" ]; then exec "$python" -I -c "$start" "$@" <"${BASH_SOURCE[0]}"; fi
"$python" -I -c "$start" "$@"
exit
