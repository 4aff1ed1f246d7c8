"""What is fuzzed: each parser of ours that reads what others wrote, and the errors that it may end with.

A target takes bytes and a folder for files, and returns where the input was taken or refused as documented: whatever
else it raises is a finding. Seeds are whole inputs, words are what a fuzzer cannot guess.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import socket
import struct
import subprocess
import tarfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deploy.bundle import verify
from deploy.failure import Failure
from deploy.flash.__main__ import published_digest
from deploy.flash.image import Boot, Partition, identify, read_partitions
from deploy.flash.seed import Wishes, seed_files
from edge.diagnostics.replay import describe_summary, replay, summarise
from edge.diagnostics.status import ask, describe_status
from edge.diagnostics.timeline import draw_timeline
from edge.errors import CuelensError
from edge.runtime.control import Control
from edge.runtime.metrics import Metrics
from edge.settings import Settings
from edge.settings_file import load_settings, load_settings_safely
from edge.sinks.log import log_line
from edge.sources.file import FileSource, load_picture
from edge.sources.picamera import monotonic_of
from edge.sources.pictures import decode
from edge.sources.pixels import KNOWN, PixelsInvalid, luma
from edge.vision import model, tflite, verifier

REPOSITORY = Path(__file__).resolve().parents[2]
LONGEST_WORDS = 1000  # characters of an error: a line for a person


@dataclass(frozen=True, slots=True)
class Target:
    """One parser."""

    name: str
    run: Callable[[bytes, Path], None]
    seeds: Callable[[], Sequence[bytes]]
    words: Sequence[bytes] = ()
    share: float = 1.0  # of the examples that others get: some cost more


@contextlib.contextmanager
def refusals(*kinds: type[Exception]) -> Any:
    """Let the documented errors pass, each a line of bounded length that a terminal shows as it stands."""
    try:
        yield
    except kinds as error:
        words = str(error)
        assert 0 < len(words) <= LONGEST_WORDS, f"{len(words)} characters: {words[:200]!r}"
        assert words.isprintable(), f"not one plain line: {words[:300]!r}"


def _put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# Settings.


def _settings(data: bytes, folder: Path) -> None:
    path = _put(folder, "cuelens.toml", data)
    with refusals(CuelensError):
        load_settings(path)
    settings, mistakes = load_settings_safely(path)
    assert isinstance(settings, Settings)
    for mistake in mistakes:
        with refusals(ValueError):
            raise ValueError(mistake)
    control = Control(saved=path)
    with refusals(CuelensError):
        control.load()


def _settings_seeds() -> list[bytes]:
    shipped = (REPOSITORY / "deploy" / "cuelens.toml").read_bytes()
    return [
        shipped,
        b'source = "file:a.mp4"\nsinks = ["log:a", "web"]\nthreads = 2\n[cue]\nsensitivity = "calm"\nenter = 0.8\n',
        b'[web]\nhost = "0.0.0.0"\ntoken = "aaaaaaaaaaaaaaaaaaaaaaaa"\nnames = ["a.local"]\n[pins]\nlight = 17\n',
        b"[faces]\nleast_side = 1e400\nfov_deg = nan\nbudget = 0x7fffffffffffffff\nburst = -0b1\nadmit = inf\n",
        b"look.language = 'de'\n[[cue]]\nenter=1\n[look.words]\na.b.c = 1979-05-27T07:32:00Z\n",
        b"[cue]\nenter = 1" + b"0" * 400 + b"\n",
        b"threads = 0x" + b"f" * 5000 + b"\n",
        b"threads = " + b"9" * 5000 + b"\n",
        b"source = " + b"[" * 3000 + b"\n",
        b"source" + b".a" * 400 + b" = 1\n" + b"pace" + b".a" * 400 + b" = 1\n",
        b'"\\n\\u001b[2J" = 1\n',
        b"\xef\xbb\xbfthreads = 1\r\n",
    ]


# Contracts, models.


def _contract(data: bytes, folder: Path) -> None:
    path = _put(folder, "emotion.json", data)
    with refusals(CuelensError):
        found = model.read_contract(path)
        assert found.side > 0
        assert all(isinstance(label, str) for label in found.labels)
    with refusals(CuelensError):
        verifier.read_contract(path)


def _contract_seeds() -> list[bytes]:
    shipped = [(REPOSITORY / "models" / name).read_bytes() for name in ("emotion.json", "face.json")]
    return [*shipped, b"[" * 5000, b'{"format": 3, "input": {"shape": [1, 1e999], "dtype": "x"}}']


@cache
def _small_model() -> bytes:
    """The shipped model without most of its graph: what is read of a file before a runtime sees it is at its end."""
    content = model.shipped_model().read_bytes()
    return content[:64] + content[-4096:]


def _model(data: bytes, folder: Path) -> None:
    """A model that agrees with its contract's digest, so that everything is read but the graph."""
    path = _put(folder, "emotion.tflite", data)
    contract = json.loads((REPOSITORY / "models" / "emotion.json").read_text())
    contract |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    _put(folder, "emotion.json", json.dumps(contract).encode())
    with refusals(CuelensError):
        content = tflite.read_model(path)
        found = model.read_contract(path.with_suffix(".json"))
        tflite.check_content(path, content, found.size, found.sha256)
        model._check_carried(path, content, found)


# Logs.


def _log(data: bytes, folder: Path) -> None:
    path = _put(folder, "log.jsonl", data)
    with refusals(CuelensError):
        decisions = list(replay(path))
        for decision in decisions:
            log_line(decision.record)
        describe_summary(summarise(decisions))
        draw_timeline(decisions)


def _log_seeds() -> list[bytes]:
    from dataclasses import asdict

    from edge.settings import CueSettings
    from edge.sinks.log import log_record
    from edge.types import Cue, Face, Frame, Reading, Update

    labels = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    lines = []
    for seq in range(4):
        cue = Cue("unsure", None, 0.0, 0.0, "new")
        frame = Frame(np.zeros((2, 2), np.uint8), seq / 10, seq, 0.0)
        reading = Reading(1, (0.0, 0.0, 0.0, 0.9, 0.0, 0.1, 0.0), seq / 10)
        record = log_record(Update(frame, (Face(1, (1, 2, 90, 90), 3.0, score=9.0),), (reading,), labels, cue, {}, 0))
        if not seq:
            record = {"run": {"labels": labels, "cue": asdict(CueSettings())}} | record
        lines.append(log_line(record))
    lost = log_record(Update(None, (), (), labels, Cue("no_camera", None, 0.0, 1.0), {}, 0))
    return [b"".join(lines), b"".join([*lines, log_line(lost)]), lines[0] + b"[" * 5000 + b"\n"]


# Pictures and films.


def _picture(data: bytes, folder: Path) -> None:
    with refusals(CuelensError):
        gray = load_picture(_put(folder, "picture.png", data))
        assert (gray.ndim, gray.dtype) == (2, np.uint8)


def _picture_seeds() -> list[bytes]:
    gray = (np.arange(48 * 64).reshape(48, 64) % 251).astype(np.uint8)
    seeds = []
    for suffix in (".jpg", ".png", ".webp", ".bmp", ".pgm", ".tiff", ".ppm"):
        picture = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR) if suffix == ".ppm" else gray
        seeds.append(cv2.imencode(suffix, picture)[1].tobytes())
    return [*seeds, b"P5\n60000 60000\n255\n" + b"a" * 99]


def _video(data: bytes, folder: Path) -> None:
    with refusals(CuelensError):
        source = FileSource(str(_put(folder, "film.avi", data)), live=False)
        try:
            for seq, frame in enumerate(source.frames()):
                assert (frame.gray.ndim, frame.gray.dtype) == (2, np.uint8)
                if seq > 50:
                    break
        finally:
            source.close()


@cache
def _films() -> tuple[bytes, ...]:
    import tempfile

    films = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, code in ((".avi", "MJPG"), (".mp4", "mp4v"), (".mkv", "mp4v")):
            path = Path(folder) / f"film{suffix}"
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), 25.0, (64, 48))
            for seq in range(4):
                writer.write(np.full((48, 64, 3), 60 * seq, np.uint8))
            writer.release()
            films.append(path.read_bytes())
    return tuple(films)


def _camera(data: bytes, _: Path) -> None:
    """What a camera delivers: a format, a size and a row's length as its driver reports them, and bytes."""
    head, body = data[:5].ljust(5, b"\0"), data[5:]
    name = ("H264", *KNOWN)[head[0] % (len(KNOWN) + 1)]
    width, height, stride = head[1] % 64, head[2] % 64, head[3] * (head[4] % 3)
    raw = np.frombuffer(body * (1 + 250 * (head[4] % 2)), np.uint8)  # enough for a frame, every other time
    with refusals(PixelsInvalid):
        gray = luma(raw, name, width, height, stride, decode)
        assert gray.ndim == 2
        assert gray.dtype == np.uint8
        assert gray.size
        assert gray.flags["C_CONTIGUOUS"]
        assert not np.shares_memory(gray, raw), "a view of a driver's buffer"


def _stamp(data: bytes, _: Path) -> None:
    now = 1000.0
    for stamp in (int.from_bytes(data, "little", signed=True), data, None, data and data[0] > 9, 0.5):
        assert now - 1.1 <= monotonic_of(stamp, now) <= now


# The status socket.


class _Answerer:
    """Answers whoever connects with what it was given last."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "s"
        self.answer = b""
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen(8)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            asker, _ = self._listener.accept()
            with asker, contextlib.suppress(OSError):
                asker.sendall(self.answer)


@cache
def _answerer(folder: Path) -> _Answerer:
    return _Answerer(folder)


def _status(data: bytes, folder: Path) -> None:
    answerer = _answerer(folder)
    answerer.answer = data
    with refusals(CuelensError):
        shown = ask(answerer.path)
        describe_status(shown)


def _status_seeds() -> list[bytes]:
    shown = {
        "version": "1", "state": "no_face", "expression": None, "reason": None, "paused": False, "source": "demo",
        "model": {"name": "emotion.tflite", "sha256": "0" * 64}, "runtime": "x", "temperature_c": 50.0, "uptime": 3.0,
        "throttled": "0x0", "memory_mb": {"now": 80.0, "peak": 90.0}, "frames": 3, "dropped": 0, "fps": 30.0,
        "recent_fps": 30.0, "latency_ms": {"find": {"p50": 1.0}}, "camera_losses": 1, "last_frame_age": 0.1,
        "sinks": {"log": {"state": "working", "shown": 3, "missed": 0, "failures": 1, "error": "x"}},
    }  # fmt: skip
    return [json.dumps(shown).encode() + b"\n", b"[" * 100_000, b'{"latency_ms": {"find": 3}}', b'{"sinks": [1]}']


# The web page: requests as the server hands them over.


class _Asked:
    """The page's application, asked without a socket."""

    def __init__(self) -> None:
        from edge.web.access import Names
        from edge.web.app import make_app
        from edge.web.broadcast import Broadcast
        from edge.web.pairing import Pairing

        control = Control()
        control.metrics = Metrics("x")
        pairing = Pairing(control)
        self.app, self.open = (
            make_app(control, Broadcast(control, False, pairing), pairing, Names("127.0.0.1"), token)
            for token in ("correct horse battery", "")
        )
        self.loop = asyncio.new_event_loop()

    def ask(self, app: Any, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> int:
        parts = [body[:100], body[100:]]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            part = parts.pop(0) if parts else b""
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode("utf-8", "replace"), "query_string": b"", "root_path": "",
            "headers": headers, "client": ("127.0.0.1", 9), "server": ("127.0.0.1", 8317),
        }  # fmt: skip
        self.loop.run_until_complete(app(scope, receive, send))
        for name, value in sent[0]["headers"]:
            assert b"\n" not in name + value, (name, value)
        return int(sent[0]["status"])


@cache
def _asked() -> _Asked:
    return _Asked()


def _web(data: bytes, _: Path) -> None:
    """METHOD PATH, headers, an empty line, a body: as in a request, which need not be whole."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, path = first.partition(b" ")
    headers = [
        (b"host", b"127.0.0.1:8317"),
        (b"origin", b"http://127.0.0.1:8317"),
        (b"content-type", b"application/json"),
    ]
    for line in lines:
        name, _, value = line.partition(b":")
        name = name.lower().strip()
        headers = [(key, old) for key, old in headers if key != name] + [(name, value.strip())]
    asked = _asked()
    for app in (asked.app, asked.open):
        status = asked.ask(app, method.decode("latin-1").upper(), path.decode("utf-8", "replace"), headers, body)
        assert 200 <= status < 500, status


def _web_seeds() -> list[bytes]:
    return [
        b'POST /settings\n\n{"table": "cue", "values": {"enter": 0.8, "sensitivity": "calm"}}',
        b'POST /settings\n\n{"table": "look", "values": {"language": "de", "words": false}}',
        b'POST /settings\n\n{"table": "audio", "values": {"volume": 1e999}}',
        b'POST /settings\n\n{"table": "cue", "values": {"enter": 1' + b"0" * 400 + b"}}",
        b'POST /login\n\n{"token": "correct horse battery"}',
        b'POST /pause\n\n{"paused": true}',
        b"POST /save\n\n{}",
        b"GET /login\naccept-language: de;q=0.9, en-GB;q=nan, *;q=\n\n",
        b"GET /\ncookie: cuelens=x; a=b\nhost: localhost:8317\n\n",
        b"GET /../../etc/passwd\nhost: [::1]:8317\n\n",
        b"GET /login\nx-forwarded-prefix: /glasses\nhost: LOCALHOST.:9000\n\n",
        b"GET /\nhost: home.example\naccept: text/html\naccept-language: fr\n\n",
        b'POST /pause\nx-cuelens-key: \xff\norigin: https://[::1]:9\n\n{"paused": true}',
        b"POST /settings\n\n" + b"[" * 5000,
    ]


# Bundles and images.


@cache
def _tars() -> tuple[bytes, ...]:
    """A bundle whose signature is no good, and one with a file of a terabyte that takes 512 bytes."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        for name, content in {"allowed_signers": b"x", "SHA256SUMS": b"", "VERSION": b"1", "TARGET": b"a b"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    outer = io.BytesIO()
    with tarfile.open(fileobj=outer, mode="w") as archive:
        for name, content in {
            "payload.tar.sig": b"-----BEGIN SSH SIGNATURE-----",
            "payload.tar": inner.getvalue(),
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    sparse = tarfile.TarInfo("payload.tar.sig")
    sparse.type, sparse.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = tarfile.itn(1 << 40, 12, tarfile.GNU_FORMAT)
    block[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(block))[0]
    negative = io.BytesIO()
    with tarfile.open(fileobj=negative, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("payload.tar.sig"))
        entry = tarfile.TarInfo("payload.tar")
        entry.pax_headers = {"size": "-1536"}  # it ends where it begins
        archive.addfile(entry)
    return outer.getvalue(), bytes(block) + outer.getvalue()[1024:], negative.getvalue()


@contextlib.contextmanager
def _no_programs() -> Any:
    """Answer for the programs that are asked, so that only what is ours runs: ssh-keygen finds everything good."""
    from deploy import verify as check

    kept = check.run
    check.run = lambda *_, **__: subprocess.CompletedProcess([], 0, "Good signature SHA256:x", "")
    try:
        yield
    finally:
        check.run = kept


def _bundle(data: bytes, folder: Path) -> None:
    with refusals(Failure), _no_programs():
        contents = verify(_put(folder, "b.tar", data))
        assert set(contents.sizes) >= {"SHA256SUMS", "VERSION", "TARGET"}


@cache
def _disk() -> bytes:
    """An image as far as it is read here: an MBR, a FAT32's first sector, an ext4's mark."""
    image = bytearray(8 * 512)
    for index, (kind, start, sectors) in enumerate(((0x0C, 1, 2), (0x83, 3, 5))):
        struct.pack_into("<4xB3xII", image, 446 + 16 * index, kind, start, sectors)
    image[510:512] = b"\x55\xaa"
    struct.pack_into("<HB", image, 512 + 11, 512, 8)
    image[512 + 82 : 512 + 87] = b"FAT32"
    image[3 * 512 + 1080 : 3 * 512 + 1082] = b"\x53\xef"
    return bytes(image)


class _Files:
    """The root partition's files as a fuzzer has them, in the place of debugfs."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.read = lambda path: files.get(path, b"")
        self.text = lambda path: self.read(path).decode(errors="replace")
        self.names = lambda folder: [name.rpartition("/")[2] for name in files if name.startswith(f"{folder}/")]


_READ = (
    "/usr/lib/os-release", "/etc/rpi-issue", "/usr/bin/dpkg", "/var/lib/dpkg/status", "/etc/passwd",
    "/etc/cloud/cloud.cfg.d/99.cfg",
)  # fmt: skip


def _image(data: bytes, folder: Path) -> None:
    path = _put(folder, "os.img", data)
    with refusals(Failure):
        boot, _ = read_partitions(path, path.name)
        Boot(path, Partition(boot.start, boot.size))


def _system(data: bytes, folder: Path) -> None:
    """The files that a flash reads of an image, one after another, and the checksum beside it."""
    files = dict(zip(_READ, data.split(b"\xff\xff"), strict=False))
    with refusals(Failure):
        system = identify(_Files(files))  # type: ignore[arg-type]
        seed_files(system.suite, Wishes("glasses", "maker", ("ssh-ed25519 AAAA",)), data.decode(errors="replace"))
    _put(folder, "os.img.sha256", data)
    _put(folder, "os.img", b"")
    with refusals(Failure):
        published_digest(folder / "os.img")


def _system_seeds() -> list[bytes]:
    names = ("python3", "openssh-server", "sudo", "cloud-init", "raspberrypi-sys-mods", "userconf-pi")
    status = "".join(f"Package: {name}\nStatus: install ok installed\n\n" for name in names)
    dpkg = b"\x7fELF\x02" + b"\0" * 13 + struct.pack("<H", 183)
    seeds = []
    for suite in ("trixie", "bookworm"):
        release = f'ID=debian\nVERSION_CODENAME={suite}\nPRETTY_NAME="Debian"\n'.encode()
        files = (release, b"Raspberry Pi reference 2026", dpkg, status.encode(), b"pi:x:1000:1000::\nroot:x:0:0")
        seeds.append(b"\xff\xff".join((*files, b"seedfrom: file:///boot/firmware")))
    return [*seeds, b"0" * 64 + b"  os.img\n"]


TARGETS = {
    target.name: target
    for target in (
        Target("settings", _settings, _settings_seeds, (b"[cue]\n", b"enter=", b"0x", b'"""', b"[[", b"\n", b"inf")),
        Target("contract", _contract, _contract_seeds, (b'"format": 3', b"null", b"1e999", b"NaN", b"[1]", b"-1")),
        Target("model", _model, lambda: [_small_model()], (b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04", b"labels.txt")),
        Target("log", _log, _log_seeds, (b"null", b"1e999", b"NaN", b'"seq": null', b"-1e308", b"{}", b"[]", b"\n")),
        Target("picture", _picture, _picture_seeds, (b"\xff\xd8\xff", b"IHDR", b"\x7f\xff\xff\xff", b"RIFF")),
        Target("video", _video, _films, (b"moov", b"avih", b"\x1a\x45\xdf\xa3", b"\x7f\xff\xff\xff"), share=0.1),
        Target(
            "camera",
            _camera,
            lambda: [
                bytes((1 + KNOWN.index("MJPG"), 64, 48, 0, 0)) + _picture_seeds()[0],
                *(bytes((index, 4, 3, 20, 2)) + b"abcd" * 60 for index in range(0, len(KNOWN), 9)),
            ],
            (b"\xff\xd8\xff", b"\xff\xd9"),
        ),
        Target("stamp", _stamp, lambda: [(999_900_000_000).to_bytes(8, "little"), b"\x7f" * 8, b"\x7f" * 200]),
        Target("status", _status, _status_seeds, (b"null", b"1e999", b'"sinks": 1', b"[]", b"{}"), share=0.5),
        Target("web", _web, _web_seeds, (b"POST ", b"/settings", b'"values": ', b"1e999", b"host: ", b"cookie: "), 0.5),
        Target("bundle", _bundle, _tars, (b"ustar  \0", b"SHA256SUMS", b"S", b"x", b"30 size=-1\n"), share=0.5),
        Target("image", _image, lambda: [_disk()], (b"\x55\xaa", b"FAT32", b"\x53\xef")),
        Target("system", _system, _system_seeds, (b"\xff\xff", b"Package: ", b"Status: x installed", b"\n\n")),
    )
}


def one(target: Target, data: bytes, folder: Path) -> None:
    """Run one input, in `folder`."""
    target.run(data, folder)
