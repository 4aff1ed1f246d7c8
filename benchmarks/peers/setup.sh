#!/usr/bin/env bash
# Make .venv-peer-NAME in the checkout from benchmarks/peers/NAME.txt, for each peer named: `benchmarks/peers/setup.sh all`.
# What cannot be installed says why in .venv-peer-NAME.failed, and does not stop the others; the exit code is then its own.
set -euo pipefail
# shellcheck source=deploy/venv.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../../deploy/venv.sh"

peers=(fer face_classification mediapipe)

say() { printf 'setup.sh: %s\n' "$*" >&2; }

[ "$*" != all ] || set -- "${peers[@]}"
[ "$#" != 0 ] || die command-line "no peer named; valid are ${peers[*]}, or all"
for peer in "$@"; do
    [[ " ${peers[*]} " == *" $peer "* ]] || die command-line "no peer '$peer'; valid are ${peers[*]}, or all"
done

code=0
for peer in "$@"; do
    venv=$root/.venv-peer-$peer
    # pip writes the whole reason in one line, its first error; what die says after it is where to read on.
    if said=$( (step make_venv "$venv" "$root/benchmarks/peers/$peer.txt") 2>&1 | tee >(cat >&2)); then
        rm -f -- "$venv.failed"
        say "$peer is ready"
    else
        code=$?
        reason=$(grep -m 1 '^ERROR: No' <<<"$said" || grep '^ERROR: ' <<<"$said" | tail -n 1 || tail -n 1 <<<"$said")
        printf '%s\n' "${reason#ERROR: }" >"$venv.failed"
        say "$peer cannot be installed: ${reason#ERROR: }"
    fi
done
exit "$code"
