"""Whole runs under strace: with the default settings nothing is written, connected or sent but lines of text."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import SourceUnreadable
from edge.sources.demo import DemoSource
from edge.sources.file import FileSource
from tests.support.failures import ended_by

STRACE = shutil.which("strace")
# A container may have it and not let it look.
WORKS = STRACE is not None and not subprocess.run([STRACE, "-qqo", os.devnull, "true"], check=False).returncode
pytestmark = [
    pytest.mark.slow,  # all of it together
    pytest.mark.skipif(not WORKS, reason="needs strace that may look at its own programs: apt install strace"),
]

OPENS = ("open", "openat", "openat2", "creat", "memfd_create")
CHANGES = ("mkdir", "mkdirat", "mknod", "mknodat", "rename", "renameat", "renameat2", "link", "linkat", "symlink")
CHANGES += ("symlinkat", "truncate", "ftruncate", "fallocate")
SENDS = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg")
PASSES_ON = ("sendfile", "splice", "vmsplice", "tee", "copy_file_range", "process_vm_writev", "io_uring_setup")
SOCKETS = ("socket", "socketpair", "bind", "connect", "listen", "shmget")
NEEDLE = 16  # pixels in a row that nothing else has by chance
HEAD = 4096  # bytes of a write that are looked at; a line of text has some hundred


@dataclass
class Seen:
    """What a run did that the world outside could notice."""

    files: list[str] = field(default_factory=list)  # opened for writing, made or changed
    sockets: list[str] = field(default_factory=list)  # opened, bound, connected
    written: list[bytes] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # that pass on what is not seen here

    def pixels(self, frames: Sequence[np.ndarray]) -> int:
        """Count the writes with a row of pixels of one of these frames in them."""
        needles = {
            row[at : at + NEEDLE].tobytes()
            for gray in frames
            for row in gray[::8]
            for at in range(0, len(row) - NEEDLE, NEEDLE)
            if len(set(row[at : at + NEEDLE].tolist())) > 4  # a wall is no picture of anybody
        }
        assert len(needles) > 100
        return sum(
            any(data[at : at + NEEDLE] in needles for at in range(len(data) - NEEDLE + 1)) for data in self.written
        )

    def not_text(self) -> list[bytes]:
        """Return what was written and is no text, but for the signs by which threads wake each other."""
        return [data for data in self.written if len(data) > 8 and not _is_text(data)]


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\n\r\t\033" for letter in text)


def watch(command: Sequence[str], folder: Path, environment: dict[str, str]) -> tuple[int, Seen, str]:
    """Run a command under strace; returns its exit code, what was seen, and what it said."""
    log = folder / "strace.log"
    calls = ",".join(f"?{name}" for name in (*OPENS, *CHANGES, *SENDS, *PASSES_ON, *SOCKETS))
    words = [str(STRACE), "-f", "--seccomp-bpf", "-qq", "-xx", "-s", str(HEAD), "-o", str(log), "-e", f"trace={calls}"]
    # What starts from a checkout would write byte code; the service may write nowhere.
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    done = subprocess.run(
        [*words, *command], cwd=folder, env=clean, capture_output=True, text=True, timeout=120, check=False
    )
    seen = Seen()
    pending: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        task, _, rest = line.partition(" ")
        rest = rest.lstrip()
        if rest.endswith("<unfinished ...>"):
            pending[task] = rest.removesuffix("<unfinished ...>")
            continue
        if match := re.match(r"<\.\.\. \w+ resumed>(.*)", rest):
            rest = pending.pop(task, "") + match[1]
        _take(rest, seen)
    return done.returncode, seen, done.stdout + done.stderr


def _take(call: str, seen: Seen) -> None:
    name, bracket, rest = call.partition("(")
    failed = re.search(r"\) += -1 E", rest)
    if not bracket or (failed and name not in ("connect", "sendto", "sendmsg")):
        return
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', rest)]
    first = repr(texts[0].decode(errors="replace")) if texts else ""
    plain = re.sub(r'"(\\x[0-9a-f]{2})*"(\.\.\.)?', lambda _: first, rest, count=1)
    if name in OPENS:
        if re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE|O_TRUNC", rest) or name in ("creat", "memfd_create"):
            seen.files.append(texts[0].decode(errors="replace"))
    elif name in CHANGES:
        seen.files.append(f"{name} {plain}")
    elif name in SENDS:
        # The address of a datagram is a text too, and no harm.
        seen.written += [text for text in texts if text]
    elif name in SOCKETS:
        seen.sockets.append(f"{name} {plain}")
    else:
        seen.others.append(call[:100])


@pytest.fixture
def service(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What systemd gives the unit, with a manager that listens."""
    folders = {name: tmp_path / name.lower() for name in ("RUNTIME", "STATE", "CONFIGURATION")}
    for folder in folders.values():
        folder.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        ended = threading.Event()
        manager.settimeout(0.2)

        def listen() -> None:
            while not ended.is_set():
                try:
                    manager.recv(4096)
                except TimeoutError:
                    continue

        listener = threading.Thread(target=listen)
        listener.start()
        environment = {f"{name}_DIRECTORY": str(folder) for name, folder in folders.items()}
        yield environment | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "10000000"}
        ended.set()
        listener.join()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of the demo person as a video, whose rows of pixels are like no others."""
    path = tmp_path_factory.mktemp("film") / "film.avi"
    source = DemoSource("2")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (640, 480))
    for seq in range(30):
        writer.write(cv2.cvtColor(source.render(seq), cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def decoded(film: Path) -> list[np.ndarray]:
    source = FileSource(str(film), live=False)
    return [frame.gray for frame in source.frames()]


CUELENS = ("-c", "from edge.cli import main; main()")


def cuelens(*words: str) -> list[str]:
    return [sys.executable, *CUELENS, *words]


def test_the_service_on_a_real_video_writes_no_file_opens_no_socket_but_its_own_and_sends_no_pixel(
    tmp_path: Path, service: dict[str, str], film: Path, repository: Path
) -> None:
    """The default settings but for the source: there is no camera here."""
    Path(service["CONFIGURATION_DIRECTORY"], "cuelens.toml").write_text(f'source = "file:{film}"\n')
    environment = service | {"PYTHONPATH": str(repository)}
    code, seen, words = watch(cuelens("run"), tmp_path, environment)
    assert code == 0, words
    counts = re.search(r"(\d+) frames, .*, (\d+) dropped", words)
    assert counts, words
    assert sum(map(int, counts.groups())) == 30
    assert set(seen.files) <= {"/dev/null"}
    status = f"{service['RUNTIME_DIRECTORY']}/status.sock"
    kinds = {text.split(",")[0] for text in seen.sockets if text.startswith("socket ")}
    assert kinds == {"socket AF_UNIX"}
    ends = [text for text in seen.sockets if not text.startswith(("socket ", "listen "))]
    assert len(ends) == 1, ends
    assert ends[0].startswith("bind ")
    assert status in ends[0]
    assert seen.others == []
    assert any(b"WATCHDOG=1" in data for data in seen.written), (
        "a notice to the manager is seen here, as all that is sent"
    )
    assert seen.not_text() == []
    assert sum(map(len, seen.written)) < HEAD, "some lines, and nothing longer that is spelt as text"
    assert seen.pixels(decoded(film)) == 0
    assert list(Path(service["STATE_DIRECTORY"]).iterdir()) == []
    assert list(Path(service["RUNTIME_DIRECTORY"]).iterdir()) == []


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Path]:
    """A D-Bus of its own, for the system's, and no bluetoothd on it."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("no dbus-daemon here; .ci/run installs it")
    path = tmp_path / "bus"
    words = ["dbus-daemon", "--session", "--nofork", "--print-address", f"--address=unix:path={path}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline().startswith(f"unix:path={path}")
        yield path
        daemon.terminate()


@pytest.mark.parametrize("worn", [True, False], ids=["worn", "not worn"])
def test_bluetooth_is_reached_over_the_d_bus_alone_and_only_where_glasses_are_worn(
    tmp_path: Path, service: dict[str, str], film: Path, repository: Path, bus: Path, *, worn: bool
) -> None:
    """No socket of the kernel's Bluetooth is opened, nor any of the network, and no pixel goes to the D-Bus."""
    pytest.importorskip("bleak", reason="bleak is not installed; ./deploy.sh sinks adds it")
    environment = service | {"PYTHONPATH": str(repository), "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
    sinks = ["--sink", "log:/dev/null", *(["--sink", "glasses:activelook:Engo"] if worn else [])]
    code, seen, words = watch(cuelens("run", "--source", f"file:{film}", *sinks), tmp_path, environment)
    assert code == 0, words
    assert {text.split(",")[0].split()[1] for text in seen.sockets if text.startswith("socket")} == {"AF_UNIX"}
    called = [text for text in seen.sockets if text.startswith("connect ")]
    assert bool(called) == worn, called
    assert all(str(bus) in text for text in called), called
    assert any(b"AUTH EXTERNAL" in data for data in seen.written) == worn, "what is sent to the D-Bus is seen here"
    assert any(b"org.bluez" in data for data in seen.written) == worn
    assert set(seen.files) <= {"/dev/null"}
    assert seen.others == []
    assert seen.pixels(decoded(film)) == 0
    assert ("no bluetoothd runs" in words) == worn


def test_the_demo_writes_no_file_and_opens_no_socket_at_all(tmp_path: Path, repository: Path) -> None:
    code, seen, words = watch(cuelens("demo", "--seconds", "1"), tmp_path, {"PYTHONPATH": str(repository)})
    assert code == 0, words
    assert set(seen.files) <= {"/dev/null"}
    assert seen.sockets == seen.others == seen.not_text() == []
    assert len(seen.written) >= 2
    assert sum(map(len, seen.written)) < HEAD
    source = DemoSource("1")
    assert seen.pixels([source.render(seq) for seq in range(60)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"strace.log"}


ROGUE = """
import sys
from edge.sinks.table import SINKS
from edge.types import Capabilities

class Rogue:
    capabilities = Capabilities(every_frame=True)
    def __init__(self, argument, control): ...
    def show(self, update):
        if update.frame is not None and update.frame.seq == 3:
            sys.stderr.buffer.write(update.frame.gray[100:110].tobytes())
    def close(self): ...

SINKS["log"] = "__main__:Rogue"
from edge.cli import main
main()
"""


def test_the_same_look_finds_frames_that_are_written_sent_or_leaked(
    tmp_path: Path, film: Path, repository: Path
) -> None:
    environment = {"PYTHONPATH": str(repository)}
    source = f"file:{film}"
    sinks = ("--sink", f"video:{tmp_path}/out.avi", "--sink", f"png:{tmp_path}/cue.png")
    code, seen, words = watch(cuelens("run", "--source", source, *sinks, "--pace", "fast"), tmp_path, environment)
    assert code == 0, words
    assert any("part.avi" in path for path in seen.files)
    assert any("cue.png" in path for path in seen.files)
    assert any("rename" in path for path in seen.files)
    assert seen.not_text()

    (tmp_path / "rogue.py").write_text(ROGUE)
    command = [sys.executable, "rogue.py", "run", "--source", source, "--sink", "log", "--pace", "fast"]
    code, seen, words = watch(command, tmp_path, environment)
    assert seen.pixels(decoded(film)) == 1


def test_the_page_is_seen_to_listen_and_a_broker_to_be_called(tmp_path: Path, film: Path, repository: Path) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is not installed; ./deploy.sh sinks adds it")
    environment = {"PYTHONPATH": str(repository)}
    sinks = ("--sink", "web:0", "--sink", "mqtt", "--sink", "log:/dev/null")
    command = cuelens("run", "--source", f"file:{film}", *sinks)
    _, seen, _ = watch(command, tmp_path, environment)
    assert any(text.startswith("bind ") and "AF_INET" in text for text in seen.sockets)
    assert any(text.startswith("connect ") and "AF_INET" in text for text in seen.sockets)


@pytest.mark.parametrize(
    "playlist",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n\0",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 96\r\n\0",
    ],
    ids=["HLS", "SDP"],
)
def test_a_video_that_is_a_playlist_of_addresses_calls_none(tmp_path: Path, repository: Path, playlist: bytes) -> None:
    (tmp_path / "film.mp4").write_bytes(playlist)
    command = cuelens("run", "--source", "file:film.mp4", "--sink", "log:/dev/null")
    code, seen, words = watch(command, tmp_path, {"PYTHONPATH": str(repository)})
    ended_by(SourceUnreadable, code, words)
    assert seen.sockets == []
