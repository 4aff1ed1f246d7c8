"""`cuelens report`: secrets are planted wherever a device has any, and none may be found in what is written."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.diagnostics.checks.machine import Machine
from edge.diagnostics.phrases import names
from edge.diagnostics.report import GONE, Cleaner, clean_settings, clean_status, cues, make_report
from edge.errors import SinkUnwritable
from edge.settings import Settings
from tests.support.failures import ended_by

rng = np.random.default_rng(7)
PICTURE = cv2.imencode(".jpg", rng.integers(0, 255, (48, 48), np.uint8))[1].tobytes()
SECRETS = {
    "token": "Tok3n-of-the-page-0123",
    "password": "swordfish",
    "broker": "broker.lovelace.example",
    "broker's user": "4711",
    "topic": "sentence",  # a word of our own, so that only being set makes it personal
    "page's name": "ada-glasses.local",
    "stream": "rtsp://ada:analytical@engine.example/1",
    "stream's password": "analytical",
    "host": "adas-spectacles",
    "user": "adalovelace",
    "full name": "Augusta Byron",
    "folder": "Tagebuch",
    "ssid": "Nachbarschaftsnetz",
    "psk": "correct horse battery",
    "raw psk": "5f" * 32,
    "mac": "dc:a6:32:0b:1c:2d",
    "other mac": "DC-A6-32-0B-1C-2E",
    "address": "192.168.178.23",
    "long address": "2001:db8::dca6:320b",
    "glasses": "bookworm",  # a word that is kept, so that only being the name of glasses makes it personal
    "other glasses": "imx219",
    "glasses address": "F0:F1:A6:0B:1C:08",
    "serial": "10000000e4f5a6b7",
    "machine": "0123456789abcdef0123456789abcdef",
    "mail": "ada@lovelace.example",
    "picture": base64.b64encode(PICTURE).decode(),
}
SETTINGS = f"""
source = "file:{SECRETS["stream"]}"
sinks = ["log:/var/lib/cuelens/{SECRETS["folder"]}.jsonl", "web", "mqtt", "terminal",
         "glasses:halo:{SECRETS["other glasses"]}"]
model = "/home/{SECRETS["user"]}/own.tflite"
[cue]
enter = 0.8
[web]
token = "{SECRETS["token"]}"
names = ["{SECRETS["page's name"]}"]
[mqtt]
host = "{SECRETS["broker"]}"
user = "{SECRETS["broker's user"]}"
password = "{SECRETS["password"]}"
topic = "{SECRETS["topic"]}"
"""
FILES = {
    "/etc/cuelens/cuelens.toml": SETTINGS,
    "/etc/hostname": f"{SECRETS['host']}\n",
    "/etc/hosts": f"127.0.1.1 {SECRETS['host']}\n",
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"
    f"{SECRETS['user']}:x:1000:1000:{SECRETS['full name']},,:/home/{SECRETS['user']}:/bin/bash\n",
    "/etc/group": f"video:x:44:{SECRETS['user']}\n",
    "/etc/machine-id": SECRETS["machine"],
    "/etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
    "/etc/wpa_supplicant/wpa_supplicant.conf": f'ssid="{SECRETS["ssid"]}"\npsk="{SECRETS["psk"]}"\n',
    "/etc/NetworkManager/system-connections/x": f"ssid={SECRETS['ssid']}\npsk={SECRETS['raw psk']}\n",
    "/boot/firmware/network-config": f"wifis: {SECRETS['ssid']}: {SECRETS['psk']}",
    "/proc/cpuinfo": f"Serial\t\t: {SECRETS['serial']}\n",
    "/proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "/proc/device-tree/serial-number": f"{SECRETS['serial']}\0",
    "/proc/meminfo": "MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\n",
    "/sys/class/net/wlan0/address": f"{SECRETS['mac']}\n",
    "/sys/class/dmi/id/product_serial": SECRETS["serial"],
    "/var/lib/cuelens/settings.toml": SETTINGS,
    "/var/lib/cuelens/glasses.json": json.dumps(
        [{"make": "halo", "address": SECRETS["glasses address"], "name": SECRETS["glasses"]}]
    ),
    "/sys/class/bluetooth/hci0/address": f"{SECRETS['mac']}\n",
    "/usr/libexec/bluetooth/bluetoothd": "",
}
ALL = " ".join(SECRETS.values())


def cue_log() -> Iterator[str]:
    for t, state, expression in ((0.0, "no_face", None), (1.0, "expression", "smile"), (2.0, "expression", "smile")):
        faces = [{"id": 1, "box": [371, 190, 132, 133], "note": ALL}]
        yield json.dumps({"t": t, "state": state, "expression": expression, "faces": faces})
    for secret in SECRETS.values():
        yield json.dumps({"t": 3.0, "state": secret, "expression": None})
        yield secret
    yield json.dumps({"t": 4.0, "state": "no_camera", "expression": None})


def journal() -> str:
    messages = [
        "cuelens.service: Main process exited, code=killed, status=6/ABRT",
        "   3.0 s smile        ####  99%       1 face, 2 ms",
        "mqtt sink: Connection refused; is the broker running? trying again in 2 s",
        *(f"sink mqtt: {secret}: {ALL}" for secret in SECRETS.values()),
    ]
    entry = {"_HOSTNAME": SECRETS["host"], "_CMDLINE": ALL, "_MACHINE_ID": SECRETS["machine"]}
    entries = [
        entry | {"MESSAGE": message, "__MONOTONIC_TIMESTAMP": str(1_500_000 * number)}
        for number, message in enumerate(messages, 1)
    ]
    odd: list[dict[str, Any]] = [{"MESSAGE": [255, 254]}, {"MESSAGE": ALL, "__MONOTONIC_TIMESTAMP": "x"}]
    return "\n".join([*map(json.dumps, entries + odd), ALL, "[]"])


STATUS = {
    "version": "0.1.0+g0123456789ab",
    "state": "expression",
    "expression": "smile",
    "source": f"file:{SECRETS['stream']}",
    "runtime": "ai-edge-litert 2.3.0",
    "frames": 512,
    "model": {"name": f"{SECRETS['folder']}.tflite", "sha256": "c071" * 16},
    "latency_ms": {"total": {"p95": 7.25}},
    "sinks": {f"log:/home/{SECRETS['user']}/x": {"state": "waiting", "shown": 3, "error": ALL}},
    "links": {
        f"glasses:halo:{SECRETS['other glasses']}": {
            "make": "halo",
            "name": SECRETS["glasses"],
            "state": "lost",
            "error": f"{SECRETS['glasses']} is out of reach, or off; come nearer, or turn it on",
        }
    },
    "problems": [f"glasses: {SECRETS['glasses']} ({SECRETS['glasses address']}) has 14 % of its battery; charge it"],
    "changes": [[1.5, "smile"], [2.5, SECRETS["ssid"]], [ALL, "smile"], ALL],
    SECRETS["token"]: SECRETS["password"],
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A device full of secrets, whose every command and trial speaks of them too."""
    root = tmp_path_factory.mktemp("device")
    for name, content in FILES.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (root / f"var/lib/cuelens/{SECRETS['folder']}.jsonl").write_text("\n".join(cue_log()))
    (root / "var/lib/cuelens/picture.jpg").write_bytes(PICTURE)
    answer = {
        "journalctl": journal(),
        "systemctl": f"LoadState=loaded\nActiveState=active\nSubState={ALL}\nWantedBy={ALL}\nUser={SECRETS['user']}\n",
        "vcgencmd": f"throttled=0x50005 {ALL}",
        "timedatectl": ALL,
    }
    return Machine(
        root,
        command=lambda *words: answer.get(words[0]),
        trial=lambda name, *_: {"error": f"{name} broke: {ALL}"},
        has_module=lambda name: True,
        free_bytes=lambda path: 10**9,
        architecture="aarch64",
        now=1.79e9,
        user=(SECRETS["user"], frozenset()),
        status=STATUS,
    )


@pytest.fixture(scope="module")
def content(machine: Machine) -> bytes:
    return make_report(machine, None, lambda line: None)


def unpack(content: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name.partition("/")[2]: tar.extractfile(member).read().decode() for member in tar}  # type: ignore[union-attr]


def forms(secret: bytes) -> Iterator[bytes]:
    """Yield what a secret may look like: as it is, in base64 wherever it begins in it, in hex, quoted, compressed."""
    yield secret
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + secret)
        inner = whole[-(-shift * 4 // 3) + (shift > 0) : -4]
        if len(inner) >= 6:
            yield from (inner, inner.translate(bytes.maketrans(b"+/", b"-_")))
    yield from (secret.hex().encode(), secret.hex().upper().encode(), quote(secret, safe="").encode())
    yield from (
        json.dumps(secret.decode("latin-1"))[1:-1].encode(),
        zlib.compress(secret),
        gzip.compress(secret, mtime=0),
    )


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_in_the_report_in_any_form(content: bytes, name: str) -> None:
    inside = gzip.decompress(content)
    for form in forms(SECRETS[name].encode()):
        assert form not in content, form
        assert form not in inside, form
        assert form.lower() not in inside.lower(), form


def test_what_looks_for_secrets_would_find_them(content: bytes) -> None:
    secret = b"Nachbarschaftsnetz"
    for planted in (
        secret,
        base64.b64encode(b"x" + secret + b"y"),
        base64.b64encode(b"xy" + secret),
        secret.hex().encode(),
    ):
        assert any(form in planted for form in forms(secret))


def test_no_picture_is_in_the_report_in_any_form(content: bytes) -> None:
    inside = gzip.decompress(content)
    for start in range(0, len(PICTURE) - 24, 24):
        piece = PICTURE[start : start + 24]
        for form in (piece, base64.b64encode(piece), piece.hex().encode()):
            assert form not in inside
    assert b"\xff\xd8\xff" not in inside


def test_what_helps_is_still_in_it(content: bytes) -> None:
    files = unpack(content)
    assert sorted(files) == ["checks.json", "cues.txt", "journal.txt", "settings.json", "status.json", "versions.json"]
    assert "1.500 cuelens.service: Main process exited, code=killed, status=6/ABRT\n" in files["journal.txt"]
    assert "4.500 mqtt sink: Connection refused; is the broker running? trying again in 2 s\n" in files["journal.txt"]
    assert "smile" not in files["journal.txt"]  # the cue log has it
    assert files["cues.txt"].split() == ["1.50", "smile", "0.00", "no_face", "1.00", "smile", "4.00", "no_camera"]
    settings = json.loads(files["settings.json"])
    assert settings["source"] == f"file:{GONE}"
    assert settings["sinks"] == [f"log:{GONE}", "web", "mqtt", "terminal", f"glasses:{GONE}"]
    assert settings["cue"]["enter"] == 0.8
    assert settings["web"] == {"host": "127.0.0.1", "port": 8317, "token": GONE, "names": GONE, "picture": False}
    status = json.loads(files["status.json"])
    assert (status["version"], status["runtime"]) == (STATUS["version"], STATUS["runtime"])
    assert (status["frames"], status["latency_ms"]["total"]["p95"]) == (512, 7.25)
    assert status["sinks"][0]["name"] == f"log:{GONE}"
    (link,) = status["links"].values()
    assert link["error"] == f"{GONE} is out of reach, or off; come nearer, or turn it on"
    assert "Raspberry Pi 4 Model B Rev 1.4, aarch64" in json.loads(files["versions.json"])["board"]
    checks = {line["name"]: line["says"] for line in json.loads(files["checks.json"])}
    assert "under-voltage, throttled now (0x50005, vcgencmd)" in checks["throttling"]


def test_a_status_without_a_version_is_cleaned_too() -> None:
    cleaned = clean_status({"state": "no_face", "source": SECRETS["stream"]}, Cleaner([]))
    assert cleaned is not None
    assert cleaned["state"] == "no_face"
    assert "version" not in cleaned


def test_the_same_findings_give_the_same_bytes(machine: Machine, content: bytes) -> None:
    assert make_report(machine, None, lambda line: None) == content
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert {(member.mtime, member.uid, member.uname) for member in tar} == {(0, 0, "")}


def test_settings_with_a_mistake_reveal_nothing_either(machine: Machine) -> None:
    path = machine.path("/wrong.toml")
    for line in ('tokn = "hunterhunter"', 'token = ["hunterhunter"]', 'port = "hunterhunter"', 'token = "hunterhunter'):
        path.write_text(f"[web]\n{line}\n")
        files = unpack(make_report(machine, path, lambda line: None))
        assert "hunterhunter" not in "".join(files.values())
        assert json.loads(files["checks.json"])[0]["state"] == "do"


CLEANER = Cleaner(["ada", "4711"])
G = GONE
NAMES = (
    *(
        "Jones",
        "Wong",
        "Hall",
        "Grace",
        "Max",
        "Mark",
        "Wald",
        "Will",
        "Hope",
        "Page",
        "Kuhn",
        "May",
        "Rose",
        "Art",
        "Pat",
    ),
    *(
        "Young",
        "Case",
        "Bill",
        "Frank",
        "Miles",
        "Dean",
        "Chase",
        "Stone",
        "Field",
        "Read",
        "Price",
        "Ray",
        "Gray",
        "Haar",
    ),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no frame for 30 s; check the camera, then start again",) * 2,
        ("the camera gives frames again, after 12.5 s",) * 2,
        ("Started cuelens.service",) * 2,
        ("cuelens.service: Scheduled restart job, restart counter is at 3.",) * 2,
        ("cuelens: ZeroDivisionError: a fault of ours: see --debug [cuelens-error]",) * 2,
        ("/home/grace [camera-stuck] [data-row-invalid]", f"{G} [camera-stuck] [data-row-invalid]"),
        ("[grace-hall] [row-grace]", f"[{G}-{G}] [{G}-{G}]"),
        ("0x3c on /dev/i2c-1",) * 2,
        ("/home/grace/clip.mp4: No such file or directory", f"{G} No such file or directory"),
        ("/srv/Grace Hall/Max.mp4: no such file or folder", f"/{G}/{G} {G}/{G}.mp4: no such file or folder"),
        ("ada says 4711", f"{G} {G} {G}"),
        ("wlan0 dc:a6:32:0b:1c:2d up", f"{G} {G} {G}"),
        ("serial 00000000e4f5a6b7 or 12345678", f"{G} {G} or {G}"),
        ("10.0.0.7:1883 fe80::1", f"{G}:{G} {G}"),
        ("café Müller", f"{G} {G}"),
        ("no frame for 0171 234567 s", f"no frame for {G} {G} s"),
        ("no frame for 171 2345 678 s", f"no frame for {G} {G} {G} s"),
        ("no frame for +49 (171) 2345/678 s", f"no frame for +{G} ({G}) {G}/{G} s"),
        ("no frame for 27.05.1979", f"no frame for {G}.{G}.{G}"),
        ("/srv/1984 at", f"/{G}/{G} at"),
    ],
)
def test_a_word_stays_only_in_a_message(text: str, expected: str) -> None:
    assert CLEANER.text(text) == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "line",
    [
        "cuelens: /srv/{0}/interview with {0}.mp4: no such file or folder; give a video, picture or folder",
        "--source file:{0}: no such file or folder",
        "{0}: the camera gives frames again, after 2 s",
        "cuelens.service: Main process exited, {0}",
        "sink mqtt: {0} is not there; {0} trying again in 2 s",
        "{0}",
        "{0} {0}",
    ],
)
def test_no_name_stays_that_is_a_word_of_the_source_too(name: str, line: str) -> None:
    for form in (name, name.lower(), name.upper()):
        assert form not in re.findall(r"\w+", CLEANER.text(line.format(form)))


@given(st.text("0123456789abcdef", min_size=8, max_size=40), st.sampled_from(["{}", "key={}", "({})", "'{}',", "{}:1"]))
def test_no_long_number_key_or_serial_stays(secret: str, around: str) -> None:
    cleaned = CLEANER.text(around.format(secret))
    assert secret not in cleaned


@given(st.tuples(*[st.integers(0, 255)] * 6), st.sampled_from([":", "-"]), st.sampled_from(["{:02x}", "{:02X}"]))
def test_no_mac_address_stays(parts: tuple[int, ...], between: str, form: str) -> None:
    assert CLEANER.text(f"from {between.join(map(form.format, parts))} on") == f"from {GONE} on"


@given(st.text(min_size=1, max_size=80))
def test_of_any_text_nothing_but_names_of_things_comes_through(text: str) -> None:
    for word in re.findall(r"\w+", CLEANER.text(text)):
        assert word in names() or re.fullmatch(r"\d{1,4}\w{0,3}", word)


def test_defaults_are_reported_as_they_are() -> None:
    answer = clean_settings(Settings())
    assert GONE not in json.dumps(answer, ensure_ascii=False)
    assert answer["mqtt"]["topic"] == "cuelens"


def test_without_a_run_or_a_journal_there_is_still_a_report(tmp_path: Path) -> None:
    bare = Machine(tmp_path, command=lambda *_: None, trial=lambda *_: {"error": "none"}, user=("x", frozenset()))
    files = unpack(make_report(bare, None, lambda line: None))
    assert json.loads(files["status.json"]) is None
    assert (files["journal.txt"], files["cues.txt"]) == ("\n", "\n")
    assert list(cues(bare, Settings(sinks=("log:/none.jsonl",)))) == []


def test_it_is_written_whole_and_says_where(repository: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", "from edge.cli import main; main()", "report", "--out", str(tmp_path / "r.tar.gz")]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "read it before you send it" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["r.tar.gz"]
    assert "versions.json" in unpack((tmp_path / "r.tar.gz").read_bytes())


def test_a_place_that_cannot_be_written_is_an_error_of_one_line(repository: Path) -> None:
    words = [sys.executable, "-c", "from edge.cli import main; main()", "report", "--out", "/proc/none/r.tar.gz"]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True, timeout=120, check=False)
    assert ended_by(SinkUnwritable, done.returncode, done.stderr).count("\n") == 1
    assert done.stdout == ""
    assert "/proc/none/r.tar.gz: No such file" in done.stderr
