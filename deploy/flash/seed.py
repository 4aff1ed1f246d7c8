"""What the first boot reads: the files that Raspberry Pi OS takes its set-up from, in the form of each release.

Bookworm runs firstrun.sh, named on the kernel's command line, as Raspberry Pi Imager has it do; Trixie's cloud-init
reads user-data, meta-data and network-config. Both call first-boot.sh, which installs the bundle. Pure: wishes in,
bytes out.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass

from deploy.flash.network import Wifi, keyfile, netplan, quote_yaml

FOLDER = "cuelens"  # on the boot partition, while the first boot is not done
MOUNTED = "/boot/firmware"
SCRIPT = f"{MOUNTED}/{FOLDER}/first-boot.sh"
IMAGER = "/usr/lib/raspberrypi-sys-mods/imager_custom"
USERCONF = "/usr/lib/userconf-pi/userconf"
NOT_OURS = re.compile(r"systemd\.(run|unit)\S*|ds=nocloud\S*|overlayroot=\S*")  # of an earlier flash


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the maker wants the device to be."""

    hostname: str
    user: str
    keys: tuple[str, ...]
    wifi: Wifi | None = None
    read_only: bool = False


def seed_files(suite: str, wishes: Wishes, cmdline: str) -> dict[str, bytes]:
    """Return the files by their paths on the boot partition; `cmdline` is the image's cmdline.txt."""
    kept = " ".join(word for word in cmdline.split() if not NOT_OURS.fullmatch(word))
    if suite == "bookworm":
        texts = {
            "firstrun.sh": _firstrun(wishes),
            "cmdline.txt": f"{kept} systemd.run={MOUNTED}/firstrun.sh systemd.run_success_action=reboot"
            " systemd.unit=kernel-command-line.target\n",
        }
    else:
        user_data = _user_data(wishes)
        instance = f"cuelens-{hashlib.sha256(user_data.encode()).hexdigest()[:12]}"
        # With the instance's name on the command line cloud-init knows it again when the files are gone.
        texts = {
            "user-data": user_data,
            "meta-data": f"dsmode: local\ninstance-id: {instance}\n",
            "cmdline.txt": f"{kept} ds=nocloud;i={instance}\n",
        }
        if wishes.wifi:
            texts["network-config"] = netplan(wishes.wifi)
    texts[f"{FOLDER}/first-boot.conf"] = "".join(
        f"{name}={shlex.quote(value)}\n"
        for name, value in (
            ("user", wishes.user),
            ("country", wishes.wifi.country if wishes.wifi else ""),
            ("read_only", "yes" if wishes.read_only else ""),
        )
    )
    return {path: text.encode() for path, text in texts.items()}


def _user_data(wishes: Wishes) -> str:
    # Quoted, a name such as 1234, on or null is none of YAML's other types.
    # bootcmd runs in every boot until cloud-init is turned off; runcmd only once, also when that once was cut short.
    keys = "".join(f"    - {quote_yaml(key)}\n" for key in wishes.keys)
    return f"""\
#cloud-config
hostname: {quote_yaml(wishes.hostname)}
manage_etc_hosts: true
user:
  name: {quote_yaml(wishes.user)}
  shell: /bin/bash
  lock_passwd: true
  sudo: "ALL=(ALL) NOPASSWD:ALL"
  ssh_authorized_keys:
{keys}ssh_pwauth: false
bootcmd:
  - [sh, {SCRIPT}, prepare, start]
"""


def _firstrun(wishes: Wishes) -> str:
    user, sudoers = wishes.user, f"/etc/sudoers.d/010_{wishes.user}-nopasswd"
    wifi = _put_keyfile(wishes.wifi) if wishes.wifi else ""
    # In braces it is read to its end before it begins: it deletes itself. A step that fails keeps none from the next:
    # a device without its name is better than none.
    return f"""\
#!/bin/sh
# Run by systemd.run= on the kernel's command line, in every boot until it has come to its end.
{{
{IMAGER} set_hostname {shlex.quote(wishes.hostname)}
{IMAGER} enable_ssh -k {shlex.join(wishes.keys)}
{USERCONF} {shlex.quote(user)} '*'
echo {shlex.quote(f"{user} ALL=(ALL) NOPASSWD:ALL")} >{sudoers}
chmod 440 {sudoers}
{wifi}sh {SCRIPT} prepare
sed 's/ systemd\\.[^ ]*//g' {MOUNTED}/cmdline.txt >{MOUNTED}/cmdline.new
sync
mv {MOUNTED}/cmdline.new {MOUNTED}/cmdline.txt
sync
sh {SCRIPT} wipe firstrun.sh
exit 0
}}
"""


def _put_keyfile(wifi: Wifi) -> str:
    path = "/etc/NetworkManager/system-connections/cuelens.nmconnection"
    return f"""\
install -m 600 /dev/null {path}
cat >{path} <<'END'
{keyfile(wifi)}END
"""
