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

beside=$(mktemp -d)
declare -A lanes=()  # process by lane
trap 'kill "${lanes[@]}" 2>/dev/null || :; rm -rf -- "$beside"' EXIT

start_beside() {  # LANE COMMAND...: in a folder of its own, since pytest keeps the newest three
    mkdir -- "$beside/$1"
    TMPDIR=$beside/$1 tests "${@:2}" >"$beside/$1.log" 2>&1 &
    lanes[$1]=$!
}

# shellcheck disable=SC2329  # check calls it
ended() {  # LANE: wait for it and print what it printed
    local code=0
    wait "${lanes[$1]}" || code=$?
    cat -- "$beside/$1.log"
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
# Machines that boot mostly wait; fits and conversions take what the others leave, however long that is.
start_beside machines $bin/pytest -p no:cacheprovider -m "root and not host" "$@"
start_beside fits nice -n 5 .venv-host/bin/pytest -p no:cacheprovider --timeout 1200 -m "host and not root" "$@"
check "pytest, device packages" tests $bin/pytest -m "not host and not root" "$@"
# What is slow, or touches no package in which the environments differ, has run in the first.
check "pytest, host packages" tests .venv-host/bin/pytest -m "not host and not slow and not once and not root" "$@"
check "pytest, fits and conversions" ended fits
check "pytest, booted machines" ended machines

printf '\n' >&2
for line in "${summary[@]}"; do say "$line"; done
exit $failed
