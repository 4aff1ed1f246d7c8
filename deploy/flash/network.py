"""A wireless network as the first boot joins it: what the maker says of it, and its text for each release.

What only looks like the name or the password (a blank at an end, a number, a quote) reaches the radio as it was given.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from deploy.failure import Failure

# What --wifi-security takes, and what each means.
SECURITIES = {
    "wpa2-wpa3": "WPA2, or WPA2 and WPA3 mixed",
    "wpa2": "WPA2 alone; then the card has only the key that the password makes",
    "wpa3": "WPA3 alone (SAE)",
    "open": "no password",
}
NOT_SERVED = {  # by what people call them
    r".*(enterprise|eap|802\.?1x|radius|eduroam).*": "an enterprise network (802.1X, with a user name) is not set up "
    "by flash; use another network, or log in by cable and set it up there: sudo nmtui",
    r"wep.*": "WEP is no protection, and new systems do not join it; set the router to WPA2",
    r"owe|enhanced.open": "OWE (Enhanced Open) alone is not set up by flash; take a network with a password, or open",
}
# ISO 3166-1, as tzdata's iso3166.tab has it, by which raspi-config takes a country.
CODES = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC
CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD
GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH
KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW
MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC
SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY
UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
COUNTRIES = frozenset(CODES.split())
OFTEN_MEANT = {"UK": "GB", "EL": "GR", "EN": "GB", "SF": "FI", "SW": "SE", "JA": "JP"}
HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}")
PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]([A-Za-z0-9_. -]*[A-Za-z0-9_.-])?")


@dataclass(frozen=True, slots=True)
class Wifi:
    """A network: its name, the country whose rules hold, one of SECURITIES, its password or key, and if it hides."""

    name: str
    country: str
    security: str = "open"
    secret: str = ""
    hidden: bool = False


def mistake_in_security(given: str) -> str | None:
    """Return what is wrong with a --wifi-security; None where it is valid."""
    if given in SECURITIES:
        return None
    reasons = [words for pattern, words in NOT_SERVED.items() if re.fullmatch(pattern, given.lower())]
    reasons.append(f"valid are {', '.join(SECURITIES)}")
    return f"--wifi-security is '{given}'; {reasons[0]}"


def mistake_in_country(given: str) -> str | None:
    """Return what is wrong with a --country; None where it is ISO 3166's."""
    if given in COUNTRIES:
        return None
    meant = OFTEN_MEANT.get(given.upper(), given.upper() if given.upper() in COUNTRIES else "")
    advice = f"did you mean {meant}?" if meant else "valid are the two letters of ISO 3166, such as DE"
    return f"--country is '{given}', by whose rules --wifi sends; {advice}"


def wpa_key(name: str, password: str) -> str:
    """Return WPA2's key of a network, 64 hexadecimal digits: PBKDF2 as in IEEE 802.11, annex J; or they as given."""
    if HEX_KEY.fullmatch(password):
        return password.lower()
    return hashlib.pbkdf2_hmac("sha1", password.encode(), name.encode(), 4096, 32).hex()


def check_password(password: str, security: str) -> None:
    """Hold a password to what wpa_supplicant takes; raises Failure, which does not quote it."""
    if HEX_KEY.fullmatch(password):
        if security == "wpa3":
            raise Failure(
                "flash-means-missing", "64 hexadecimal digits are a key of WPA2; WPA3 needs the password itself"
            )
        return
    size = len(password.encode())
    if "\n" in password:
        raise Failure("flash-means-missing", "a password of several lines; the file has the password and nothing else")
    if re.search(r"[\0-\x1f\x7f]", password):
        raise Failure("flash-means-missing", "a password with a control character (a tab?); type it again")
    if not 8 <= size <= 63:
        bytes_of = "" if size == len(password) else f" ({size} bytes of UTF-8)"
        raise Failure(
            "flash-means-missing",
            f"a password of {len(password)} letters{bytes_of}; Wi-Fi takes 8 to 63 ASCII letters (another letter "
            "counts as its bytes of UTF-8), or 64 hexadecimal digits",
        )


def notes(wifi: Wifi, password: str) -> list[str]:
    """Return what the maker should know of a network that may not be joined as they think; quotes no password."""
    found = []
    if wifi.name != wifi.name.strip():
        found.append(f"--wifi {wifi.name!r} begins or ends with a blank, which counts")
    if password != password.strip():
        found.append("the password begins or ends with a blank, which counts")
    if not password.isascii():
        found.append(
            "the password has letters beyond ASCII, which the device sends as UTF-8; not every router takes them"
        )
    if wifi.security == "wpa2-wpa3" and HEX_KEY.fullmatch(wifi.secret):
        found.append("the card has a key of WPA2: a network of WPA3, or of both, needs the password itself")
    if wifi.security == "wpa3":
        found.append(
            "not every Raspberry Pi's radio and system join a network of WPA3 alone; if yours does not, set the router "
            "to WPA2 and WPA3 and leave --wifi-security out"
        )
    return found


def keyfile(wifi: Wifi) -> str:
    """Return the network as NetworkManager's keyfile (nm-settings-keyfile(5))."""
    parts = [
        "[connection]\nid=cuelens\ntype=wifi\n",
        f"[wifi]\nmode=infrastructure\nssid={_bytes(wifi.name)}\n" + ("hidden=true\n" if wifi.hidden else ""),
    ]
    if wifi.security == "wpa3":
        # 3: frames of the management are protected, which WPA3 demands.
        parts.append(f"[wifi-security]\nkey-mgmt=sae\npmf=3\npsk={_value(wifi.secret)}\n")
    elif wifi.security != "open":
        # With a password NetworkManager offers SAE beside WPA2 where the radio can do it.
        parts.append(f"[wifi-security]\nkey-mgmt=wpa-psk\npsk={_value(wifi.secret)}\n")
    parts += ["[ipv4]\nmethod=auto\n", "[ipv6]\nmethod=auto\n"]
    return "\n".join(parts)


def netplan(wifi: Wifi) -> str:
    """Return the network as netplan's YAML, with the wired one: what is not here is not set up once this file is."""
    lines = ["hidden: true"] if wifi.hidden else []
    if wifi.security == "wpa3":
        lines += ["auth:", "  key-management: sae", f"  password: {quote_yaml(wifi.secret)}"]
    elif wifi.security == "open":
        lines += ["auth:", "  key-management: none"]
    else:
        lines.append(f"password: {quote_yaml(wifi.secret)}")
    if not PLAIN_NAME.fullmatch(wifi.name):
        # netplan's keyfile loses a blank at an end, and what looks like a list of bytes is read as one.
        lines += ["networkmanager:", "  passthrough:", f"    wifi.ssid: {quote_yaml(_bytes(wifi.name))}"]
    settings = "".join(f"          {line}\n" for line in lines)
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
        {quote_yaml(wifi.name)}:
{settings}"""


def quote_yaml(text: str) -> str:
    """Return the text as YAML's double-quoted scalar, in ASCII: a string, whatever it looks like."""
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


def _bytes(name: str) -> str:
    # No letter of a name in bytes means anything to a shell or to NetworkManager.
    return "".join(f"{byte};" for byte in name.encode())


def _value(text: str) -> str:
    # GKeyFile's escapes; plain blanks at an end may be stripped.
    return re.sub("^ +| +$", lambda blanks: "\\s" * len(blanks[0]), text.replace("\\", "\\\\"))
