"""The public keys that may log in: read as sshd reads authorized_keys, from files or from the ssh agent."""

from __future__ import annotations

import base64
import binascii
import re
import shutil
import struct
from pathlib import Path

from deploy.failure import Failure, plain
from deploy.flash.given import read_text
from deploy.tools import run

ADVICE = "give --ssh-key the file of a public key (.pub)"
# sshd's types but DSA, which it no longer accepts.
TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
CERTIFICATE = re.compile(r"\S+-cert-v0[01]@openssh\.com")
OPTIONS = re.compile(r'(?:[^\s"]|"(?:\\"|[^"])*")+')  # quotes hold blanks together
OTHERS = {  # how a file begins that is no list of public keys
    "PuTTY-User-Key-File": "is PuTTY's private key; copy the public key from PuTTYgen's window into a file",
    "---- BEGIN SSH2 PUBLIC KEY": "is a public key in the form of RFC 4716; turn it into OpenSSH's: ssh-keygen -i -f",
    "-----BEGIN CERTIFICATE": "is a certificate of TLS, no ssh key",
    "-----BEGIN PUBLIC KEY": "is a public key in PEM; turn it into OpenSSH's: ssh-keygen -i -m PKCS8 -f",
    "-----BEGIN RSA PUBLIC KEY": "is a public key in PEM; turn it into OpenSSH's: ssh-keygen -i -m PEM -f",
    "-----BEGIN ": "is a private key, which stays with you",
}


def public_keys(given: Path | None, home: Path) -> tuple[str, ...]:
    """Return the lines of authorized_keys: of the file, else of ~/.ssh/id_*.pub, else the ssh agent's.

    Raises Failure where there is none, or one that sshd would not take.
    """
    if given:
        keys = read_keys(read_text(given, ADVICE), str(given))
    else:
        certificates = "-cert.pub"  # ssh-keygen -s writes them beside their keys
        found = [path for path in sorted((home / ".ssh").glob("id_*.pub")) if not path.name.endswith(certificates)]
        keys = [key for path in found for key in read_keys(read_text(path, ADVICE), str(path))]
        if not found:
            keys = agent_keys()
    if not keys:
        where = str(given) if given else "neither ~/.ssh/id_*.pub nor the ssh agent"
        raise Failure(
            "flash-means-missing",
            f"{where} has no ssh key to log in by; make one with ssh-keygen, or give --ssh-key FILE",
        )
    return tuple(dict.fromkeys(keys))


def agent_keys() -> list[str]:
    """Return the keys that the ssh agent holds; none where there is no agent."""
    if not shutil.which("ssh-add"):
        return []
    done = run("ssh-add", "-L")
    lines = "\n".join(line for line in done.stdout.splitlines() if not CERTIFICATE.match(line))
    return read_keys(lines, "the ssh agent") if done.returncode == 0 else []


def read_keys(text: str, where: str) -> list[str]:
    """Return the keys in a text with one a line, without comments and blank lines; raises Failure."""
    for begin, words in OTHERS.items():
        if text.lstrip().startswith(begin):
            what = f"{words} {where}" if words.endswith("-f") else f"{words}; {ADVICE}"
            raise Failure("flash-means-missing", f"{where} has a line that is no public key: it {what}")
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [read_key(line, f"{where}:{number}") for number, line in lines if line and not line.startswith("#")]


def read_key(line: str, where: str) -> str:
    """Return a key's line as it goes onto the card: options, type, key, and a comment that a terminal may show.

    The grammar is sshd(8)'s, AUTHORIZED_KEYS FILE FORMAT. Raises Failure, which does not quote the line.
    """
    options, rest = "", line
    if rest.split(None, 1)[0] not in TYPES and (match := OPTIONS.match(line)):
        options, rest = match[0], line[match.end() :].lstrip()
    kind, blob, comment = (*rest.split(None, 2), "", "", "")[:3]
    for name in (options, kind):
        if CERTIFICATE.fullmatch(name):
            raise Failure(
                "flash-means-missing",
                f"{where} is a certificate, by which sshd lets nobody in; give the .pub file of its key",
            )
        if name == "ssh-dss":
            raise Failure(
                "flash-means-missing", f"{where} is a DSA key, which sshd refuses; make another: ssh-keygen -t ed25519"
            )
    if kind not in TYPES:
        raise Failure("flash-means-missing", f"{where} has a line that is no public key; {ADVICE}")
    if not is_whole(kind, blob):
        raise Failure(
            "flash-means-missing", f"{where}: the {plain(kind)} key is cut short or damaged; copy the whole line again"
        )
    words = (options, kind, blob, "".join(letter for letter in comment if letter.isprintable()).strip())
    return " ".join(filter(None, words))


def is_whole(kind: str, blob: str) -> bool:
    """Return whether a key in base64 is of that type and is whole: strings with their lengths (RFC 4253, 6.6)."""
    try:
        content = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return False
    fields = []
    while content:
        if len(content) < 4:
            return False
        (length,) = struct.unpack_from(">I", content)
        fields.append(content[4 : 4 + length])
        if len(fields[-1]) < length:
            return False
        content = content[4 + length :]
    wanted = 2 if kind == "ssh-ed25519" else 4 if kind.startswith("sk-ecdsa") else 3
    return len(fields) == wanted and fields[0] == kind.encode() and all(fields)
