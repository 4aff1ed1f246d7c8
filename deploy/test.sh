#!/usr/bin/env bash
# `deploy.sh test`: every check, in both environments; all run, the summary and the exit code say which failed.
set -euo pipefail
# shellcheck source=deploy/venv.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
cd -- "$root"
environment .venv device sinks tools
environment .venv-host host sinks tools
bin=.venv/bin summary=() failed=0 chosen=$#

check() {  # NAME COMMAND...
    local start=$SECONDS code=0
    say "$1"
    "${@:2}" || code=$?
    if [ "$code" = 0 ]; then
        summary+=("ok      $1 ($((SECONDS - start)) s)")
    else
        summary+=("FAILED  $1 ($((SECONDS - start)) s, exit code $code)")
        failed=1
    fi
}

# shellcheck disable=SC2329  # check calls it
tests() {  # COMMAND...: a choice of tests may leave one environment with none, which is pytest's code 5
    local code=0
    "$@" || code=$?
    [ "$code" = 5 ] && [ "$chosen" != 0 ] || return "$code"
}

# shellcheck disable=SC2329  # check calls it
machines_ended() {
    local code=0
    wait "$machines" || code=$?
    cat -- "$beside/log"
    return "$code"
}

shellcheck=$bin/shellcheck
[ -x "$shellcheck" ] || shellcheck=shellcheck  # no wheel on aarch64: sudo apt install shellcheck

check "ruff format" $bin/ruff format --check .
check "ruff check" $bin/ruff check .
# The host's packages are the same for every Python; OpenCV 4.11's types, of the device on 3.11, are less true.
check "mypy" $bin/mypy --python-executable .venv-host/bin/python
shopt -s globstar
check "shellcheck" "$shellcheck" --external-sources deploy.sh {deploy,benchmarks,training}/**/*.sh tests/{boards,deploy,picamera}/*.sh .ci/run
# Machines that boot mostly wait: they do so beside the others, in a folder of their own, since pytest keeps the newest three.
beside=$(mktemp -d)
TMPDIR=$beside tests $bin/pytest -p no:cacheprovider -m "root and not host" "$@" >"$beside/log" 2>&1 &
machines=$!
trap 'kill "$machines" 2>/dev/null || :; rm -rf -- "$beside"' EXIT
check "pytest, device packages" tests $bin/pytest -m "not host and not root" "$@"
# What is slow and needs nothing of the host has run in the first.
check "pytest, host packages" tests .venv-host/bin/pytest -m "(host or not slow) and not root" "$@"
check "pytest, booted machines" machines_ended

printf '\n' >&2
for line in "${summary[@]}"; do say "$line"; done
exit $failed
