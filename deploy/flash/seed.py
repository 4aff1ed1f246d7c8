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

FOLDER = "cuelens"  # on the boot partition, while the first boot is not done
MOUNTED = "/boot/firmware"
SCRIPT = f"{MOUNTED}/{FOLDER}/first-boot.sh"
IMAGER = "/usr/lib/raspberrypi-sys-mods/imager_custom"
USERCONF = "/usr/lib/userconf-pi/userconf"
NOT_OURS = re.compile(r"systemd\.(run|unit)\S*|ds=nocloud\S*|overlayroot=\S*")  # of an earlier flash


@dataclass(frozen=True, slots=True)
class Wifi:
    """A network of WPA2: its name, the key that its password and name make, and the country whose rules hold."""

    name: str
    key: str
    country: str


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the maker wants the device to be."""

    hostname: str
    user: str
    keys: tuple[str, ...]
    wifi: Wifi | None = None
    read_only: bool = False


def wpa_key(name: str, password: str) -> str:
    """Return WPA2's key of a network, 64 hexadecimal digits: PBKDF2 as in IEEE 802.11, annex J; or they as given."""
    if re.fullmatch(r"[0-9A-Fa-f]{64}", password):
        return password.lower()
    return hashlib.pbkdf2_hmac("sha1", password.encode(), name.encode(), 4096, 32).hex()


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
            texts["network-config"] = _network_config(wishes.wifi)
    texts[f"{FOLDER}/first-boot.conf"] = "".join(
        f"{name}={shlex.quote(value)}\n"
        for name, value in (
            ("user", wishes.user),
            ("country", wishes.wifi.country if wishes.wifi else ""),
            ("read_only", "yes" if wishes.read_only else ""),
        )
    )
    return {path: text.encode() for path, text in texts.items()}


def _yaml(text: str) -> str:
    """Return the text as YAML's double-quoted scalar, in ASCII."""
    quoted = ""
    for letter in text:
        code = ord(letter)
        if letter in '"\\':
            quoted += "\\" + letter
        elif 0x20 <= code < 0x7F:
            quoted += letter
        else:
            quoted += f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return f'"{quoted}"'


def _user_data(wishes: Wishes) -> str:
    # bootcmd runs in every boot until cloud-init is turned off; runcmd only once, also when that once was cut short.
    keys = "".join(f"    - {_yaml(key)}\n" for key in wishes.keys)
    return f"""\
#cloud-config
hostname: {wishes.hostname}
manage_etc_hosts: true
user:
  name: {wishes.user}
  shell: /bin/bash
  lock_passwd: true
  sudo: "ALL=(ALL) NOPASSWD:ALL"
  ssh_authorized_keys:
{keys}ssh_pwauth: false
bootcmd:
  - [sh, {SCRIPT}, prepare, start]
"""


def _network_config(wifi: Wifi) -> str:
    # Wired networks stand here too: what is not here is not set up once this file is.
    return f"""\
network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      dhcp6: true
      optional: true
  wifis:
    wlan0:
      dhcp4: true
      optional: true
      regulatory-domain: "{wifi.country}"
      access-points:
        {_yaml(wifi.name)}:
          password: "{wifi.key}"
"""


def _firstrun(wishes: Wishes) -> str:
    user, sudoers = wishes.user, f"/etc/sudoers.d/010_{wishes.user}-nopasswd"
    wifi = _keyfile(wishes.wifi) if wishes.wifi else ""
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


def _keyfile(wifi: Wifi) -> str:
    # The name in bytes: no letter of it means anything to the shell or to NetworkManager.
    name = "".join(f"{byte};" for byte in wifi.name.encode())
    path = "/etc/NetworkManager/system-connections/cuelens.nmconnection"
    return f"""\
install -m 600 /dev/null {path}
cat >{path} <<'END'
[connection]
id=cuelens
type=wifi

[wifi]
mode=infrastructure
ssid={name}

[wifi-security]
key-mgmt=wpa-psk
psk={wifi.key}

[ipv4]
method=auto

[ipv6]
method=auto
END
"""
