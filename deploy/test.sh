#!/usr/bin/env bash
# `deploy.sh test [--all] [ARGUMENTS]`: every check, in both environments; all run, the summary and the exit code show which failed.
# Without --all it leaves out tests that are slow, boot a machine or fit a network. ARGUMENTS go to pytest; tests that they name all run.
set -euo pipefail
# shellcheck source=deploy/venv.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
cd -- "$root"
environment .venv device sinks tools
environment .venv-host host sinks tools
quick=" and not slow"
covered=()
if [ "${1:-}" = --all ]; then quick="" && shift; fi
if [ $# != 0 ]; then quick=""; elif [ ! "$quick" ]; then covered=(.venv-host/bin/coverage run --parallel-mode); fi
bin=.venv/bin chosen=("$@") order=() few=5  # test functions
declare -A results=() codes=() processes=()
scratch=$(mktemp -d)
trap 'end_lanes; rm -rf -- "$scratch"' EXIT
trap 'exit 130' INT  # pytest ends with a code of its own, after which bash would go on

check() {  # NAME COMMAND...
    local start=$SECONDS code=0
    say "$1"
    order+=("$1")
    "${@:2}" || code=$?
    results[$1]="ok      $1 ($((SECONDS - start)) s)"
    if [ "$code" != 0 ]; then
        codes[$1]=$code
        results[$1]="FAILED  $1 ($((SECONDS - start)) s, exit code $code)"
    fi
}

# The lanes. What is slow, or touches no package in which the environments differ, runs in the device's alone.
# shellcheck disable=SC2329  # lane calls them
{
    device() { $bin/pytest -m "not host and not root$quick" "$@"; }
    host() { "${covered[@]}" .venv-host/bin/pytest -m "not host and not slow and not once and not root" "$@"; }
    fits() { nice -n 2 "${covered[@]}" .venv-host/bin/pytest --timeout 1200 -m "host and slow and not root" "$@"; }
    keras() { "${covered[@]}" .venv-host/bin/pytest --timeout 1200 -m "host and not slow and not root" "$@"; }
    machines() { $bin/pytest -m "root and not host" "$@"; }
}

lane() {  # LANE [ARGUMENTS]: its tests; pytest keeps in a folder of the lane which of them failed
    local code=0
    "$1" -o cache_dir="$scratch/$1" "${chosen[@]}" "${@:2}" || code=$?
    # A choice of tests may leave one environment with none, which is pytest's code 5.
    [ "$code" = 5 ] && [ "${#chosen[@]}" != 0 ] || return "$code"
}

start_beside() {  # LANE...: one after the other, each with temporary files of its own: pytest keeps the newest three folders
    local name
    for name; do mkdir -p -- "$scratch/$name/files"; done
    set -m  # a process group, so that end_lanes reaches what pytest started, too
    for name; do
        TMPDIR=$scratch/$name/files lane "$name" >"$scratch/$name.log" 2>&1 && echo 0 >"$scratch/$name.code" ||
            echo $? >"$scratch/$name.code"
    done </dev/null &
    set +m
    for name; do processes[$name]=$!; done
}

# shellcheck disable=SC2329  # the trap calls it
end_lanes() {  # those that still run
    local group
    for group in "${processes[@]}"; do kill -- "-$group" 2>/dev/null || :; done
    wait
}

# shellcheck disable=SC2329  # check calls it
ended() {  # LANE: wait for it, and for those started with it, and print what it printed
    wait "${processes[$1]}" || :
    cat -- "$scratch/$1.log"
    return "$(cat -- "$scratch/$1.code" || echo 1)"
}

# shellcheck disable=SC2329  # check calls it
coverage() {  # of branches, by the lanes of the host's environment; pyproject.toml has what it may not fall below
    .venv-host/bin/coverage combine --quiet && .venv-host/bin/coverage report
}

again() {  # NAME LANE: a shared machine can be late for a test that waits; a few that failed run once more, with nothing beside
    local failures start=$SECONDS failed=$scratch/$2/v/cache/lastfailed
    [ "${codes[$1]:-0}" = 1 ] && [ -e "$failed" ] || return 0  # a lane that was killed has noted nothing
    failures=$($bin/python -c 'import json, sys; print(*json.load(open(sys.argv[1])), sep="\n")' "$failed")
    [ "$(cut -d'[' -f1 <<<"$failures" | sort -u | wc -l)" -le $few ] || return 0  # the rows of one table fail together
    say "$1, what failed, once more"
    if lane "$2" --last-failed; then
        results[$1]="LATE    ${results[$1]#FAILED  }; once more alone it passed ($((SECONDS - start)) s):"$'\n'"$failures"
        unset "codes[$1]"
    fi
}

shellcheck=$bin/shellcheck
[ -x "$shellcheck" ] || shellcheck=shellcheck  # no wheel on aarch64: sudo apt install shellcheck

check "ruff format" $bin/ruff format --check .
check "ruff check" $bin/ruff check .
# The host's packages are the same for every Python; OpenCV 4.11's types, of the device on 3.11, are less true.
check "mypy" $bin/mypy --python-executable .venv-host/bin/python
shopt -s globstar
check "shellcheck" "$shellcheck" --external-sources deploy.sh {deploy,benchmarks,training}/**/*.sh tests/{boards,deploy,picamera}/*.sh .ci/run
if [ "$quick" ]; then
    start_beside host
    check "pytest, device packages" lane device
    check "pytest, host packages" ended host
else
    mkdir -p .cache/coverage && .venv-host/bin/coverage erase
    # Machines that boot mostly wait; fits and conversions take what the others leave, however long that is, and so
    # have nothing before them.
    if [ "$(nproc)" -gt 2 ]; then start_beside machines && start_beside host; else start_beside machines host; fi
    start_beside fits
    check "pytest, device packages" lane device
    check "pytest, Keras and TensorFlow" lane keras
    check "pytest, host packages" ended host
    check "pytest, fits and conversions" ended fits
    check "pytest, booted machines" ended machines
    if [ ${#covered[@]} != 0 ]; then check "branch coverage" coverage && covered=(); fi
    again "pytest, booted machines" machines
    again "pytest, fits and conversions" fits
    again "pytest, Keras and TensorFlow" keras
fi
again "pytest, device packages" device
again "pytest, host packages" host

printf '\n' >&2
for name in "${order[@]}"; do say "${results[$name]}"; done
[ "${#codes[@]}" = 0 ]
