#!/usr/bin/env bash
# Cuelens in one command; the work is done by deploy/*.sh and the programs in the environment.
read -r first <"$0"; [ "${first%$'\r'}" = "$first" ] || { echo "deploy.sh: this checkout has Windows' line ends (CRLF); take a fresh clone, or a copy that nothing rewrote [checkout-incomplete]" >&2; exit 88; } #
set -euo pipefail
# shellcheck source=deploy/venv.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/deploy/venv.sh"

usage() {
    cat <<'END'
usage: ./deploy.sh COMMAND [ARGUMENTS]

On this computer, with the program of this checkout; ./deploy.sh COMMAND --help explains each:
  demo [--open]        show Cuelens at work, without a camera; with --open as a page in a browser
  run [ARGUMENTS]      run Cuelens on a camera, a video or pictures
  faces IMAGE...       find the faces in pictures
  read IMAGE...        name the expression of each face in pictures
  replay LOG           decide the cues of a log again, without pixels
  check                examine this computer, and print what to do
  status               print how the Cuelens that runs here is doing
  needs                print what the settings of the service need of it
  report               write a file for whoever helps, without personal data
  dark                 put out a camera light or glasses that a killed run left on
  pair                 find glasses, bond with them, and remember them
  preview GLASSES      draw what glasses show of each cue
  safe                 show on the displays why the service stopped

Set up this checkout:
  sinks                add the libraries of the sinks display, oled, web, mqtt and glasses, and of [pins], to .venv
  host                 set up .venv-host, for training, conversion and benchmarks
  arm64                make .cache/roots/arm64, on which converted models are tried as on a Raspberry Pi
  docs [--out FOLDER]  build the site of the documentation in dist/site
  test [--all]         run the checks and tests, with --all the slow ones too; arguments go to pytest
  release              make wheel, sdist and checksums in dist/, and name the tag to make

On a Raspberry Pi, over ssh; see ./deploy.sh push --help:
  bundle [ARGUMENTS]   make signed release files for devices, in dist/
  flash [ARGUMENTS]    write a card that starts as Cuelens
  push USER@HOST       install this checkout's release there
  status USER@HOST     print the releases there, and how the running one is doing
  logs, rollback, bench, uninstall USER@HOST

  help                 print this text

example: ./deploy.sh demo --seconds 5

The first start of a command sets up what it needs in .venv or .venv-host, here in this folder and without root.
CUELENS_PYTHON names the Python to use, 3.11 to 3.14 (for host, 3.13).
END
}

command=${1:-help}
# `status` is a word for both: with a host it asks a device, else what runs here.
case ${2:-} in "" | -*) ;; *) [ "$command" != status ] || command=remote-status ;; esac

case $command in
demo) # its page needs the libraries of `web`
    case " $* " in *" --open "*) environment .venv device sinks ;; *) environment .venv device ;; esac
    exec "$root/.venv/bin/cuelens" "$@"
    ;;
run | faces | read | replay | check | status | needs | report | dark | pair | preview | safe)
    environment .venv device
    exec "$root/.venv/bin/cuelens" "$@"
    ;;
sinks)
    environment .venv device sinks
    say "ready in .venv: the sinks display, oled, web, mqtt and glasses, and [pins]"
    ;;
host)
    environment .venv-host host
    say "ready in .venv-host/bin: cuelens-data, cuelens-train, cuelens-evaluate, cuelens-explain, cuelens-convert, cuelens-ship, cuelens-verifier, cuelens-scanner, cuelens-bench"
    ;;
arm64) exec "$root/deploy/arm64.sh" ;;
bundle) exec "$root/deploy/bundle.sh" "${@:2}" ;;
docs) exec "$root/deploy/docs.sh" "${@:2}" ;;
push | remote-status | logs | rollback | bench | uninstall) exec "$root/deploy/push.sh" "$@" ;;
release) exec "$root/deploy/release.sh" "${@:2}" ;;
flash) exec "$root/deploy/flash.sh" "${@:2}" ;;
test) exec "$root/deploy/test.sh" "${@:2}" ;;
help | -h | --help) usage ;;
*)
    die command-line "unknown command '$1'; valid are demo, run, faces, read, replay, check, status, needs, report, dark, pair, preview, safe, sinks, host, arm64, docs, test, release, bundle, flash, push, logs, rollback, bench, uninstall and help"
    ;;
esac
