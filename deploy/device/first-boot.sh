#!/bin/sh
# The first boot of a card that ./deploy.sh flash wrote. It lies on the boot partition beside what it installs; as root:
#   prepare [start]   from firstrun.sh, or with `start` from cloud-init, in every boot until all is done: the unit that installs
#   install           from that unit: the bundle; then what holds secrets is wiped, and the unit goes
#   wipe NAME...      files of the boot partition
# What is interrupted is done again in the next boot.
set -u
user='' country='' read_only=''  # first-boot.conf's
boot=/boot/firmware
here=$boot/cuelens
unit=cuelens-first-boot.service
log=$boot/cuelens-first-boot.log  # there as long as something is left to do, for a maker who can read nothing but the card
clouded=/var/lib/cuelens-first-boot  # there as long as cloud-init is at work

say() {
    echo "cuelens: $*"
    echo "$*" >>"$log"
}

wipe() {
    for name in "$@"; do
        [ -f "$boot/$name" ] || continue
        dd if=/dev/zero of="$boot/$name" bs="$(stat -c %s "$boot/$name")" count=1 conv=notrunc,fsync status=none
        rm -f "${boot:?}/$name"
    done
    sync
}

prepare() {
    if [ "$1" = start ]; then
        # cloud-init takes most of what it does for done once it has begun: after a boot that was cut short it must forget that.
        if [ -e "$clouded" ]; then
            say "the last boot was cut short: cloud-init starts again"
            rmdir "$clouded"
            sync
            exec cloud-init clean --reboot
        fi
        mkdir "$clouded"
    fi
    install -m 644 "$here/$unit" "/etc/systemd/system/$unit"
    systemctl enable "$unit"
    sync
    [ "$1" != start ] || systemctl --no-block start "$unit"
}

install_all() {
    # shellcheck source=/dev/null
    . "$here/first-boot.conf"
    systemctl enable --now --no-block ssh
    # The system's own question for a user, where it still stands: nothing after it would start.
    if systemctl is-enabled --quiet userconfig.service 2>/dev/null; then
        cancel-rename "$user"
        systemctl --no-block stop userconfig.service
    fi
    if [ -e "$clouded" ]; then
        say "waiting for cloud-init"
        timeout 600 cloud-init status --wait >>"$log" 2>&1
        id "$user" >>"$log" 2>&1 || give_up "cloud-init has made no user $user"
        sync
        rmdir "$clouded"
    fi
    # Raspberry Pi OS keeps the radio off until it knows the country.
    [ -z "$country" ] || raspi-config nonint do_wifi_country "$country" >>"$log" 2>&1 || say "the Wi-Fi country could not be set"
    set -- "$here"/cuelens-*.tar --signers "$here/allowed_signers"
    if [ -e "$1" ]; then
        say "installing; this takes some minutes"
        [ ! -e "$here/cuelens.toml" ] || set -- "$@" --settings "$here/cuelens.toml"
        # The deadline is long: a card's file system may still be growing.
        bash "$here/install.sh" install "$@" --deadline 300 >>"$log" 2>&1
        case $? in
        0) say "it works" ;;
        99)  # release-failed
            say "it is installed, but does not work yet; see cuelens check"
            read_only=
            echo "read_only=" >>"$here/first-boot.conf"
            ;;
        *) give_up "$(tail -n 1 "$log")" ;;
        esac
    fi
    # With its files gone cloud-init would take this for another machine, with other host keys.
    [ ! -d /etc/cloud ] || touch /etc/cloud/cloud-init.disabled
    sync
    wipe user-data network-config
    rm -f "$here"/cuelens-*.tar
    [ "$read_only" != yes ] || raspi-config nonint enable_overlayfs >>"$log" 2>&1 || read_only=
    say "done"
    rm -rf "$here" "$log"
    systemctl disable "$unit"
    rm -f "/etc/systemd/system/$unit"
    sync
    [ "$read_only" != yes ] || systemctl reboot
}

give_up() {
    say "$1; the next boot tries again"
    exit 1
}

# Read to its end before anything is done: the file is deleted on the way.
main() {
    case $1 in
    prepare) prepare "${2:-}" ;;
    install) install_all ;;
    wipe) shift && wipe "$@" ;;
    esac
    exit
}

main "$@"
