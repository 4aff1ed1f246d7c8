#!/usr/bin/env bash
# `training/scenes.sh OUT`: OUT/pictures, some thousand pictures without faces out of Debian's packages, for
# cuelens-verifier --scenes. Needs no root; what is there already is not fetched or made again.
set -euo pipefail
# shellcheck source=deploy/venv.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../deploy/venv.sh"

packages=(  # wallpapers, things to stamp, walls and floors of games; licences are in each one's copyright file
    plasma-workspace-wallpapers gnome-backgrounds mate-backgrounds lomiri-wallpapers-16.04 lomiri-wallpapers-20.04
    ukui-wallpapers sway-backgrounds tuxpaint-stamps-default ufoai-textures openarena-081-textures
)
# By their paths: what shows faces (people, portraits, statues, masks, dolls), and previews of other pictures.
faces='/people/|/faces/|/screenshot\.[a-z]+$|(art_|egypt|banner_watch|face|portrait|skull|poster|clown|fireman|toxic|biohaz|desert002)[^/]*$'

say() { printf 'scenes.sh: %s\n' "$*" >&2; }

[ $# = 1 ] && [ "${1#-}" = "$1" ] || die command-line "usage: training/scenes.sh OUT: a folder for packages and pictures, 4 GB"
for tool in apt-get apt-cache dpkg-deb python3; do
    command -v "$tool" >/dev/null || die tool-missing "no $tool on this machine; this needs Debian or Raspberry Pi OS, with python3"
done
mkdir -p -- "$1/packages" 2>/dev/null && out=$(cd -- "$1" && pwd -P) && [ -w "$out" ] ||
    die path-refused "$1: cannot be written; choose a folder that you may write"

staged=$out/.new
rm -rf -- "$staged"
trap 'rm -rf -- "$staged"' EXIT
mkdir -- "$staged"

chosen=()
for package in "${packages[@]}"; do
    found=("$out/packages/${package}"_*.deb)
    if [ ! -e "${found[0]}" ]; then
        apt-cache show -- "$package" >/dev/null 2>&1 ||
            die download-failed "apt does not know $package; sudo apt update, or put its .deb into $out/packages"
        say "fetching $package"
        # Into a folder of its own: a download that is cut off must not look like a package.
        (cd -- "$staged" && apt-get download -qq -- "$package" >&2) ||
            die download-failed "apt could not fetch $package (its words are above); check the network and the disk, then start again"
        mv -- "$staged/${package}"_*.deb "$out/packages/"
        found=("$out/packages/${package}"_*.deb)
    fi
    chosen+=("${found[-1]}")  # the newest, where there are several
done

stamp=$(cat -- "${BASH_SOURCE[0]}" "${chosen[@]}" | sha256sum)
if [ "$(cat -- "$out/pictures/.stamp" 2>/dev/null)" = "$stamp" ]; then
    say "ready in $out/pictures"
    exit 0
fi
mkdir -- "$staged/pictures"
for number in "${!packages[@]}"; do
    package=${packages[number]} tree=$staged/tree
    say "unpacking $package"
    again="delete ${chosen[number]} and start again"
    dpkg-deb -x -- "${chosen[number]}" "$tree" >&2 || die download-failed "$package: dpkg-deb cannot unpack it (above); $again"
    while IFS= read -r -d '' archive; do  # games keep their pictures in a zip
        python3 -m zipfile -e "$archive" "$archive.d" >&2 || die download-failed "$package: ${archive##*/} is no whole zip; $again"
    done < <(find "$tree" -name '*.pk3' -type f -print0)
    while IFS= read -r -d '' picture; do
        name=${picture#"$tree"/}
        if [[ ! /$name =~ $faces ]]; then
            mkdir -p -- "$staged/pictures/$package/${name%/*}"
            mv -- "$picture" "$staged/pictures/$package/$name"
        fi
    done < <(find "$tree" -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' -o -iname '*.webp' \) -print0)
    rm -rf -- "$tree"
done
printf '%s\n' "${chosen[@]##*/}" >"$staged/pictures/packages.txt"
echo "$stamp" >"$staged/pictures/.stamp"
rm -rf -- "$out/pictures"
mv -- "$staged/pictures" "$out/pictures"
say "ready in $out/pictures: $(find "$out/pictures" -type f -not -name '.stamp' -not -name packages.txt | wc -l) pictures"
