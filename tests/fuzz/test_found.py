"""What fuzzing found, each once: a dead run, a hang, a filled memory, a line that a terminal or a browser obeys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.bundle import packed_installer
from deploy.failure import Failure
from deploy.flash.image import Boot, Partition
from deploy.verify import Refused, open_bundle
from edge.diagnostics.replay import replay
from edge.diagnostics.timeline import draw_timeline
from edge.errors import LONGEST, CuelensError, SourceUnreadable
from edge.sources import file
from edge.sources.file import FileSource
from tests.fuzz.targets import TARGETS, _disk, _log_seeds, _system_seeds, _tars, one
from tests.support.failures import cause_of, ended_by

HUGE = b"1" + b"0" * 400
LOG = _log_seeds()[0]
SYSTEM = _system_seeds()[0]


def numbered(line: bytes, key: bytes, value: bytes) -> bytes:
    """Put a value into the log's last line."""
    *lines, last = line.splitlines(keepends=True)
    text = json.dumps(json.loads(last) | {key.decode(): "@"}).encode().replace(b'"@"', value)
    return b"".join(lines) + text + b"\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("settings", b"display.rotate_deg = 1"),  # TypeError: the service did not start
        ("settings", b"cue.enter = " + HUGE),  # OverflowError
        ("settings", b"threads = " + b"9" * 4301),  # ValueError
        ("settings", b"threads = 0x" + b"f" * 900),
        ("settings", b"source = " + b"[\n" * 3000),  # RecursionError
        ("settings", b"a" + b".a" * 30_000 + b" = 1"),  # minutes
        ("settings", b"".join(b"k%d = 1\n" % number for number in range(6000))),  # minutes
        ("contract", b'{"format": "' + b"x" * 5000 + b'"}'),
        ("log", LOG.replace(b'"size"', b'"s\x7fize"')),
        ("log", numbered(LOG, b"t", b"1e300")),  # a tick for each hour of it
        ("log", numbered(LOG, b"t", b"Infinity")),
        ("log", numbered(LOG, b"expression", b"[1]")),
        ("picture", b"P5\n60000 60000\n255\n" + b"a" * 99),  # cv2.error
        ("camera", bytes((64, 48, 1, 3, 4, 0))),  # cv2.error
        ("stamp", b"\x7f" * 200),  # OverflowError
        ("status", b"[" * 100_000),  # RecursionError
        ("status", b'{"latency_ms": {"find": {"p50": "x"}}}'),  # ValueError
        ("status", b'{"sinks": [1]}'),  # AttributeError
        ("bundle", _tars()[1]),  # a terabyte read into memory
        ("bundle", _tars()[2]),  # round for ever
        ("system", SYSTEM.replace(b"Package: sudo\n", b"")),  # KeyError
        ("system", SYSTEM.replace(b"ID=debian", b"ID=x").replace(b'"Debian"', b'"\x1b[2J"')),
    ],
)
def test_what_was_found_is_refused_as_documented(name: str, data: bytes, tmp_path: Path) -> None:
    one(TARGETS[name], data, tmp_path)


def test_a_drawn_log_holds_no_markup_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        LOG.replace(b'"unsure"', b'"expression"').replace(b'"expression":null', b'"expression":"<script>"')
    )
    assert "&lt;script&gt;" in draw_timeline(list(replay(path)))
    assert "<script>" not in draw_timeline(list(replay(path)))


def test_an_error_is_one_plain_line_whatever_it_quotes() -> None:
    assert str(CuelensError("a \x1b[2J\nb")) == r"a \x1b[2J\nb"
    long = str(SourceUnreadable("a" * 5000 + "; copy it again"))
    assert len(long) == LONGEST
    assert long.endswith("; copy it again")


def test_a_device_does_not_unpack_a_signature_of_a_terabyte(tmp_path: Path) -> None:
    (tmp_path / "bundle.tar").write_bytes(_tars()[1])
    (tmp_path / "signers").write_text("cuelens ssh-ed25519 AAAA\n")
    (tmp_path / "install.sh").write_bytes(packed_installer())
    words = ["bash", tmp_path / "install.sh", "install", "--signers", tmp_path / "signers"]
    done = subprocess.run(
        [*words, tmp_path / "bundle.tar"],
        env={**os.environ, "CUELENS_ROOT": str(tmp_path / "root")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert cause_of(done) == "bundle-damaged"
    assert "no bundle as it was made (payload.tar.sig is no plain file)" in done.stderr


def png(width: int, height: int) -> bytes:
    """A PNG of white that takes a thousandth of its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    row = zlib.compressobj()
    packed = b"".join(row.compress(b"\0" + b"\xff" * width) for _ in range(height)) + row.flush()
    head = width.to_bytes(4) + height.to_bytes(4) + b"\x08\0\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def test_a_boot_partition_without_clusters_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "os.img"
    path.write_bytes(_disk()[: 512 + 13] + b"\0" + _disk()[512 + 14 :])
    with pytest.raises(Failure, match="without clusters"):
        Boot(path, Partition(512, 1024))


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))
from edge.cli import main
main(sys.argv[1:])
"""


def cuelens(words: Sequence[str | Path], repository: Path) -> subprocess.CompletedProcess[str]:
    """Run it in as much memory as a small board and its swap have."""
    command = [sys.executable, "-c", LIMITED, *map(str, words)]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=60, check=False)


def test_a_small_file_that_unpacks_to_a_huge_picture_is_refused(tmp_path: Path, repository: Path) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(10_000, 10_000))
    assert bomb.stat().st_size < 200_000
    done = cuelens(["faces", bomb], repository)
    ended_by(SourceUnreadable, done.returncode, done.stderr)
    assert "more than 67 million pixels" in done.stderr


def test_a_folder_with_a_pipe_in_it_is_not_waited_for(tmp_path: Path, repository: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    done = cuelens(["run", "--source", f"file:{tmp_path}", "--sink", "log:/dev/null"], repository)
    ended_by(SourceUnreadable, done.returncode, done.stderr)
    assert "is no plain file" in done.stderr


def test_a_video_of_frames_too_large_is_refused_before_one_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    FileSource(str(film), live=False).close()
    monkeypatch.setattr(file, "MOST_PIXELS", 64 * 48 - 1)
    with pytest.raises(SourceUnreadable, match="frames of 64x48; valid are 16 pixels on each side up to"):
        FileSource(str(film), live=False)


@pytest.mark.parametrize("size", [1 << 20, 1 << 45, 1 << 60])
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_headers_is_refused_before_anything_of_its_size_is_read(
    kind: bytes, size: int, tmp_path: Path
) -> None:
    header = tarfile.TarInfo("payload.tar.sig")
    header.type, header.size = kind, size
    path = tmp_path / "bundle.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(Refused, match=f"a header of {size} bytes"), open_bundle(path):
        pass
