#!/bin/sh
# Run by systemd.run= on the kernel's command line, in every boot until it has come to its end.
{
/usr/lib/raspberrypi-sys-mods/imager_custom set_hostname glasses
/usr/lib/raspberrypi-sys-mods/imager_custom enable_ssh -k 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA maker'"'"'s "desk" $(reboot)'
/usr/lib/userconf-pi/userconf maker '*'
echo 'maker ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/010_maker-nopasswd
chmod 440 /etc/sudoers.d/010_maker-nopasswd
install -m 600 /dev/null /etc/NetworkManager/system-connections/cuelens.nmconnection
cat >/etc/NetworkManager/system-connections/cuelens.nmconnection <<'END'
[connection]
id=cuelens
type=wifi

[wifi]
mode=infrastructure
ssid=105;116;39;115;32;34;109;121;92;110;101;116;34;32;36;40;114;101;98;111;111;116;41;59;32;35;195;169;226;156;147;

[wifi-security]
key-mgmt=wpa-psk
psk=correct horse; `reboot`

[ipv4]
method=auto

[ipv6]
method=auto
END
sh /boot/firmware/cuelens/first-boot.sh prepare
sed 's/ systemd\.[^ ]*//g' /boot/firmware/cmdline.txt >/boot/firmware/cmdline.new
sync
mv /boot/firmware/cmdline.new /boot/firmware/cmdline.txt
sync
sh /boot/firmware/cuelens/first-boot.sh wipe firstrun.sh
exit 0
}
