#!/bin/sh
# The first boot of a card that ./deploy.sh flash wrote; it lies on the boot partition beside what it installs, and as root does
#   prepare [start]   called by firstrun.sh or cloud-init in every boot until all is done: the unit that installs
#   install           by that unit: the bundle from here, then what holds secrets is wiped and the unit goes
#   wipe NAME...      files of the boot partition
# Whatever is interrupted is done again in the next boot.
set -u
boot=/boot/firmware
here=$boot/cuelens
unit=cuelens-first-boot.service
log=$boot/cuelens-first-boot.log  # there while something is left to do, for a maker who can only read the card
cloud=/var/lib/cuelens-first-boot  # there while cloud-init is at work

say() {
    echo "cuelens: $*"
    echo "$*" >>"$log"
}

wipe() {
    for name in "$@"; do
        [ ! -f "$boot/$name" ] || dd if=/dev/zero of="$boot/$name" bs="$(stat -c %s "$boot/$name")" count=1 conv=notrunc,fsync status=none
        rm -f "${boot:?}/$name"
    done
    sync
}

prepare() {
    if [ "${1:-}" = start ]; then
        # What cloud-init does once it holds for done as soon as it has begun: interrupted, it must forget that.
        if [ -e "$cloud" ]; then
            say "the boot before was interrupted: cloud-init begins anew"
            rmdir "$cloud"
            sync
            exec cloud-init clean --reboot
        fi
        mkdir "$cloud"
    fi
    cp "$here/$unit" "/etc/systemd/system/$unit"
    systemctl enable "$unit"
    sync
    [ "${1:-}" != start ] || systemctl --no-block start "$unit"
}

main() {
    case $1 in
    prepare | wipe) "$@" ;;
    install)
        # shellcheck source=/dev/null
        . "$here/first-boot.conf"
        install_all
        ;;
    esac
}

main "$@"
exit
