#!/usr/bin/env bash
# Cuelens in one command; the work is done by deploy/*.sh and the programs in the environment.
read -r first <"$0"; [ "${first%$'\r'}" = "$first" ] || { echo "deploy.sh: this checkout has Windows' line ends (CRLF); take a fresh clone, or a copy that nothing rewrote" >&2; exit 88; } #
set -euo pipefail
# shellcheck source=deploy/venv.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/deploy/venv.sh"

usage() {
    cat <<'END'
usage: ./deploy.sh COMMAND [ARGUMENTS]

  demo [--seconds N]   show Cuelens working, without a camera
  run [ARGUMENTS]      cuelens run: a camera, a video or pictures; see ./deploy.sh run --help
  faces IMAGE...       cuelens faces: find the faces in pictures
  read IMAGE...        cuelens read: say which expression each face in pictures shows
  replay LOG           cuelens replay: decide the cues of a log again, without pixels
  sinks                add the libraries of the sinks display, oled, web and mqtt, and of [pins], to .venv
  host                 set up .venv-host, for training, conversion and benchmarks
  arm64                make .cache/roots/arm64, on which converted models are tried as on a Raspberry Pi
  bundle [ARGUMENTS]   make signed release files for devices, in dist/; see ./deploy.sh bundle --help
  flash [ARGUMENTS]    write a card that starts as Cuelens; see ./deploy.sh flash --help
  push USER@HOST       install this checkout's release on a Raspberry Pi over ssh; see ./deploy.sh push --help
  status USER@HOST     the releases there, and how it runs; also logs, rollback, bench and uninstall
  test [ARGUMENTS]     every check and test; arguments go to pytest
  help                 this text

The first start of a command sets up what it needs in .venv or .venv-host, here in this folder and without root.
CUELENS_PYTHON names the Python to use, 3.11 to 3.14 (for host, 3.13).
END
}

case ${1:-help} in
demo | run | faces | read | replay)
    environment .venv device
    exec "$root/.venv/bin/cuelens" "$@"
    ;;
sinks)
    environment .venv device sinks
    say "ready in .venv: the sinks display, oled, web and mqtt, and [pins]"
    ;;
host)
    environment .venv-host host
    say "ready in .venv-host/bin: cuelens-data, cuelens-train, cuelens-evaluate, cuelens-explain, cuelens-convert, cuelens-ship, cuelens-verifier, cuelens-scanner, cuelens-bench, cuelens-bench-faces, cuelens-bench-cue"
    ;;
arm64) exec "$root/deploy/arm64.sh" ;;
bundle) exec "$root/deploy/bundle.sh" "${@:2}" ;;
push | status | logs | rollback | bench | uninstall) exec "$root/deploy/push.sh" "$@" ;;
flash) exec "$root/deploy/flash.sh" "${@:2}" ;;
test) exec "$root/deploy/test.sh" "${@:2}" ;;
help | -h | --help) usage ;;
*)
    say "unknown command '$1'; valid are demo, run, faces, read, replay, sinks, host, arm64, bundle, flash, push, status, logs, rollback, bench, uninstall, test and help"
    exit 2
    ;;
esac
