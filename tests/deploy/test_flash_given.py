"""What the maker hands to flash: keys as sshd takes them, passwords and networks as NetworkManager and netplan do."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.failure import Failure
from deploy.flash import keys
from deploy.flash.given import read_text
from deploy.flash.keys import public_keys, read_keys
from deploy.flash.network import Wifi, check_password, keyfile, netplan, notes, wpa_key
from tests.deploy.machines import make_key
from tests.support.failures import refusal_of

ED25519 = f"AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 43}"


def blob(*fields: bytes) -> str:
    """A key of these fields in base64."""
    return base64.b64encode(b"".join(len(field).to_bytes(4, "big") + field for field in fields)).decode()


WHOLE = {
    "ssh-ed25519": ED25519,
    "ssh-rsa": blob(b"ssh-rsa", b"\1\0\1", b"n" * 257),
    "ecdsa-sha2-nistp256": blob(b"ecdsa-sha2-nistp256", b"nistp256", b"q" * 65),
    "sk-ssh-ed25519@openssh.com": blob(b"sk-ssh-ed25519@openssh.com", b"k" * 32, b"ssh:"),
    "sk-ecdsa-sha2-nistp256@openssh.com": blob(b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"q" * 65, b"ssh:"),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_key_of_each_type_is_taken(kind: str) -> None:
    assert read_keys(f"{kind} {WHOLE[kind]} me@desk\n", "x") == [f"{kind} {WHOLE[kind]} me@desk"]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (f"ssh-ed25519 {ED25519}", f"ssh-ed25519 {ED25519}"),
        (f"ssh-ed25519 {ED25519} Jürgen's Rechner ✓", f"ssh-ed25519 {ED25519} Jürgen's Rechner ✓"),
        (f"ssh-ed25519\t{ED25519}\tme", f"ssh-ed25519 {ED25519} me"),
        (f"  ssh-ed25519   {ED25519} me  ", f"ssh-ed25519 {ED25519} me"),
        (f"restrict,pty ssh-ed25519 {ED25519} me", f"restrict,pty ssh-ed25519 {ED25519} me"),
        (
            f'from="10.0.0.*",command="echo \\"a b\\"" ssh-ed25519 {ED25519} me',
            f'from="10.0.0.*",command="echo \\"a b\\"" ssh-ed25519 {ED25519} me',
        ),
        (f"ssh-ed25519 {ED25519} a\x1b[31mb", f"ssh-ed25519 {ED25519} a[31mb"),
    ],
)
def test_a_line_is_read_as_sshd_reads_it(line: str, wanted: str) -> None:
    assert read_keys(f"# mine\n\n{line}\n# the end", "x") == [wanted]


REFUSED = {  # name: text, words
    "a private key": ("-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n", "a private key, which stays with you"),
    "PuTTY's private key": ("PuTTY-User-Key-File-3: ssh-ed25519\nc2VjcmV0\n", "PuTTY's private key"),
    "PuTTY's public key": ("---- BEGIN SSH2 PUBLIC KEY ----\nc2VjcmV0\n", "ssh-keygen -i -f x"),
    "a certificate": (f"ssh-ed25519-cert-v01@openssh.com {ED25519} c2VjcmV0", "x:1 is a certificate"),
    "a DSA key": (f"ssh-dss {ED25519} c2VjcmV0", "ssh-keygen -t ed25519"),
    "a key cut short": (f"ssh-ed25519 {ED25519[:-8]} c2VjcmV0", "cut short or damaged"),
    "a key of another type": (f"ssh-rsa {ED25519} c2VjcmV0", "cut short or damaged"),
    "a key broken into lines": (f"ssh-ed25519 {ED25519[:30]}\n{ED25519[30:]} c2VjcmV0", "x:1: the ssh-ed25519 key is"),
    "a password": ("c2VjcmV0 word", "x:1 has a line that is no public key"),
    "an open quote": (f'command="c2VjcmV0 ssh-ed25519 {ED25519}', "no public key"),
    "options alone": ("restrict", "no public key"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_public_key_is_refused_and_not_quoted(name: str) -> None:
    text, words = REFUSED[name]
    with pytest.raises(Failure) as caught:
        read_keys(text, "x")
    assert words in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)
    assert caught.value.cause == "flash-means-missing"


def test_a_certificate_beside_its_key_is_passed_over(tmp_path: Path) -> None:
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    (ssh / "id_ed25519.pub").write_bytes(f"\ufeffssh-ed25519 {ED25519} me\r\n".encode())
    (ssh / "id_rsa.pub").write_text(f"ssh-ed25519 {ED25519} me\nssh-rsa {WHOLE['ssh-rsa']}\n")
    (ssh / "id_ed25519-cert.pub").write_text("ssh-ed25519-cert-v01@openssh.com AAAA me\n")
    assert public_keys(None, tmp_path) == (f"ssh-ed25519 {ED25519} me", f"ssh-rsa {WHOLE['ssh-rsa']}")


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real ssh agent with one key; returns the key's public half."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("no ssh-agent on this system; .ci/run installs it")
    key, socket = make_key(tmp_path / "key"), tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    subprocess.run(["ssh-add", "-q", key], check=True, stdin=subprocess.DEVNULL)
    yield key.with_suffix(".pub")
    process.terminate()
    process.communicate()


def test_without_a_file_the_agents_keys_are_taken(agent: Path, tmp_path: Path) -> None:
    assert [key.split()[:2] for key in public_keys(None, tmp_path)] == [agent.read_text().split()[:2]]


def test_without_file_and_agent_there_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(Failure, match=r"neither ~/\.ssh/id_\*\.pub nor the ssh agent has no ssh key"):
        public_keys(None, tmp_path)
    monkeypatch.setattr(keys.shutil, "which", lambda name: None)
    with pytest.raises(Failure, match="give --ssh-key FILE"):
        public_keys(None, tmp_path)


@pytest.mark.parametrize("content", [b"word\r\n", b"\xef\xbb\xbfword\r\n", b"word\n", b"word\r"])
def test_a_byte_order_mark_and_other_line_ends_are_no_part_of_a_text(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert read_text(path, "give another") == "word\n"


@pytest.mark.parametrize("code", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_a_text_in_another_code_is_refused_without_a_word_of_it(code: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("Gruß und Kuß\n".encode(code))
    with pytest.raises(Failure, match="save it as UTF-8, or give another") as caught:
        read_text(path, "give another")
    assert not {"Gru", "und", "0xdf"} & set(str(caught.value).split())


def test_a_networks_key_is_the_standards() -> None:
    # IEEE 802.11, annex J.4.2
    assert wpa_key("IEEE", "password") == "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
    assert (
        wpa_key("ThisIsASSID", "ThisIsAPassword") == "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"
    )
    assert wpa_key("any", "F4" * 32) == "f4" * 32


@pytest.mark.parametrize("password", ["x" * 8, "x" * 63, "Grüße ✓", "a b c d  ", "0f" * 32, " \\\"'$%;#:"])
def test_a_password_that_wpa_supplicant_takes_is_taken(password: str) -> None:
    assert refusal_of(check_password, password, "wpa2-wpa3") == ""


@pytest.mark.parametrize(
    ("password", "security", "words"),
    [
        ("x" * 7, "wpa2", "of 7 letters"),
        ("x" * 64, "wpa3", "of 64 letters"),
        ("ü" * 32, "wpa2", r"of 32 letters \(64 bytes of UTF-8\)"),
        ("0f" * 32, "wpa3", "WPA3 needs the password itself"),
        ("tab\tin it", "wpa2", "control character"),
        ("two\nlines of it", "wpa2", "several lines"),
        ("", "wpa2", "of 0 letters"),
    ],
)
def test_another_password_is_refused_and_not_quoted(password: str, security: str, words: str) -> None:
    with pytest.raises(Failure, match=words) as caught:
        check_password(password, security)
    assert not password or password not in str(caught.value)


@pytest.mark.parametrize(
    ("wifi", "password", "count"),
    [
        (Wifi("Home", "DE", "wpa2-wpa3", "correct horse"), "correct horse", 0),
        (Wifi("Home ", "DE", "wpa2-wpa3", "correct horse"), "correct horse", 1),
        (Wifi("Home", "DE", "wpa2-wpa3", "correct horse "), "correct horse ", 1),
        (Wifi("Home", "DE", "wpa2-wpa3", "0f" * 32), "0f" * 32, 1),
        (Wifi("Home", "DE", "wpa2", "0f" * 32), "0f" * 32, 0),
        (Wifi("Home", "DE", "wpa3", "Grüße ✓✓"), "Grüße ✓✓", 2),
        (Wifi("Home", "DE"), "", 0),
    ],
)
def test_what_may_keep_a_network_from_being_joined_is_noted(wifi: Wifi, password: str, count: int) -> None:
    found = notes(wifi, password)
    assert len(found) == count
    assert not password or not any(password in note for note in found)


def test_each_kind_of_network_has_its_keyfile() -> None:
    texts = {kind: keyfile(Wifi("a b", "NO", kind, " a \\b ")) for kind in ("wpa2-wpa3", "wpa2", "wpa3")}
    for kind, protection in {"wpa2-wpa3": "wpa-psk", "wpa2": "wpa-psk", "wpa3": "sae\npmf=3"}.items():
        assert f"[wifi-security]\nkey-mgmt={protection}\npsk=\\sa \\\\b\\s\n" in texts[kind]
    assert "ssid=97;32;98;\n" in texts["wpa3"]
    assert "security" not in keyfile(Wifi("a", "NO"))
    assert "hidden" not in keyfile(Wifi("a", "NO"))
    assert "\nhidden=true\n" in keyfile(Wifi("a", "NO", hidden=True))


def test_each_kind_of_network_has_its_netplan() -> None:
    """What netplan makes of it is in test_first_boot.py."""
    assert '        "on":\n          password: "12345678"\n' in netplan(Wifi("on", "NO", "wpa2-wpa3", "12345678"))
    wpa3 = netplan(Wifi("on", "NO", "wpa3", "12345678", hidden=True))
    auth = '          auth:\n            key-management: sae\n            password: "12345678"\n'
    assert f'        "on":\n          hidden: true\n{auth}' in wpa3
    assert 'regulatory-domain: "NO"' in wpa3
    assert "key-management: none\n" in netplan(Wifi("on", "NO"))
