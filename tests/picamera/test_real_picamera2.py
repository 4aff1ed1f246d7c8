"""The camera source on the real picamera2 and libcamera, whose virtual camera shows the demo person smiling."""

from __future__ import annotations

import json
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.errors import CameraLost, CameraMissing
from edge.sources.demo import DemoSource
from tests.support.failures import ended_by

HERE = Path(__file__).parent
SMILING = range(230, 290, 4)  # frames of demo:1
CAMERA = """
"Virtual0":
  supported_formats:
  - width: {width}
    height: {height}
  frames:
    path: "/mnt/frames/"
  location: "CameraLocationFront"
  model: "virtual"
"""
# The repository and a folder of files for one test, in the root for this process alone: the root itself stays as it is.
ENTER = 'mount --bind "$1" "$3/srv" && mount --bind "$2" "$3/mnt" && exec chroot "${@:3}"'
LAUNCH = "/srv/tests/picamera/launch.py"
GRAB = """
import sys, numpy as np
from itertools import islice
from edge.sources import open_source

frames = list(islice(open_source("picamera", live=True).frames(), 40))
np.savez("taken", gray=[frame.gray for frame in frames], late=[frame.t_arrived - frame.t for frame in frames])
"""
TWICE = """
import sys
from edge.errors import CameraMissing
from edge.sources import open_source

first = open_source("picamera", live=True)
frames = first.frames()
next(frames)
try:
    open_source("picamera", live=True)
except CameraMissing as error:
    print(error, file=sys.stderr)
first.close()
next(open_source("picamera", live=True).frames())
print("opened again", file=sys.stderr)
"""

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="its root is for x86-64"),
    *(
        pytest.mark.skipif(shutil.which(tool) is None, reason=f"no {tool} on this system; .ci/run installs it")
        for tool in ("mmdebstrap", "gcc", "unshare")
    ),
]


@pytest.fixture(scope="module")
def root() -> Path:
    made = subprocess.run([HERE / "root.sh"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no root for picamera2 can be made here: {made.stderr.strip().splitlines()[-1:]}")
    return Path(made.stdout.strip())


class Glasses:
    """What runs in the root, with the folder that it has its settings, its camera's pictures and its output in."""

    def __init__(self, root: Path, repository: Path, folder: Path, width: int = 640, height: int = 480) -> None:
        self.folder = folder
        self._inside = ("unshare", "--mount", "bash", "-c", ENTER, "enter", str(repository), str(folder), str(root))
        (folder / "frames").mkdir()
        (folder / "pins").mkdir()
        demo = DemoSource("1")
        self.pictures = [demo.render(number) for number in SMILING]
        there_and_back = self.pictures + self.pictures[-2:0:-1]
        for number, picture in enumerate(there_and_back):
            cv2.imwrite(str(folder / "frames" / f"{number}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
        (folder / "virtual.yaml").write_text(CAMERA.format(width=width, height=height))

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        variables = {
            "LD_PRELOAD": "/opt/buffers.so",
            "PYTHONPATH": "/srv",
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        }
        settings = [f"{name}={value}" for name, value in variables.items()]
        command = [*self._inside, "/usr/bin/env", "--chdir=/mnt", *settings, "/opt/venv/bin/python", *words]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def run(self, *words: str, **environment: str) -> tuple[int, str]:
        with self.start(*words, **environment) as process:
            _, errors = process.communicate(timeout=120)
        return process.returncode, errors

    def cues(self) -> list[dict[str, Any]]:
        path = self.folder / "log.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines[1:] if line.endswith("\n")]


@pytest.fixture
def glasses(root: Path, repository: Path, tmp_path: Path) -> Glasses:
    return Glasses(root, repository, tmp_path)


RUN = (LAUNCH, "run", "--source", "picamera", "--sink", "log:log.jsonl")


@pytest.mark.parametrize(("width", "height"), [(640, 480), (800, 600)])
def test_frames_are_the_luma_of_what_the_camera_sees(
    width: int, height: int, root: Path, repository: Path, tmp_path: Path
) -> None:
    """Also at a size that was not asked for: libcamera settles on what it has, and says so."""
    glasses = Glasses(root, repository, tmp_path, width, height)
    code, errors = glasses.run(LAUNCH, "-c", GRAB)
    assert code == 0, errors
    with np.load(tmp_path / "taken.npz") as taken:
        gray, late = taken["gray"], taken["late"]
    assert gray.shape == (40, height, width)
    seen = [cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR) for picture in glasses.pictures]
    nearest = [min(float(np.abs(frame - other.astype(int)).mean()) for other in seen) for frame in gray]
    assert max(nearest) < 2, "JPEG's loss, and libyuv's scaling"
    assert len({frame.tobytes() for frame in gray}) > 5, "it moves"
    assert 0 <= late.min() <= late.max() < 1, "the sensor's timestamp is on our clock"


def test_the_demo_person_smiles_and_a_pause_closes_the_camera_and_opens_it_again(glasses: Glasses) -> None:
    (glasses.folder / "cuelens.toml").write_text('[pins]\nchip = "mock:pins"\npause = 4\nlight = 17\n')
    process = glasses.start(*RUN, "--config", "cuelens.toml")

    def wait_for(what: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not what():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until, glasses.cues()[-1:]
            time.sleep(0.05)

    def shown(cue: str, lit: bool) -> bool:
        new = glasses.cues()[before:]
        return any(cue in (each["state"], each["expression"]) for each in new) and light.read_text() == str(int(lit))

    def press() -> None:
        for level in "01":
            (glasses.folder / "pins" / "4").write_text(level)
            time.sleep(0.1)

    light, before = glasses.folder / "pins" / "17", 0
    for _ in range(2):
        wait_for(lambda: shown("smile", True))
        press()
        before = len(glasses.cues())
        wait_for(lambda: shown("paused", False))
        press()
        before = len(glasses.cues())
    wait_for(lambda: shown("smile", True))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert light.read_text() == "0"
    assert {each["expression"] for each in glasses.cues()} == {None, "smile"}
    assert "no_camera" not in {each["state"] for each in glasses.cues()}


def test_a_camera_that_stops_giving_frames_is_lost_and_the_process_ends(glasses: Glasses) -> None:
    code, errors = glasses.run(*RUN, CUELENS_FREEZE="30")
    ended_by(CameraLost, code, errors)
    assert "picamera: no frame for 2 s after frame" in errors
    assert glasses.cues()[-1]["state"] == "no_camera"


def test_a_missing_camera_is_reported(glasses: Glasses) -> None:
    (glasses.folder / "virtual.yaml").unlink()
    code, errors = glasses.run(*RUN)
    ended_by(CameraMissing, code, errors)
    assert "picamera: no camera 0; found: none" in errors


def test_a_camera_is_opened_again_only_after_it_was_closed(glasses: Glasses) -> None:
    """Why a run ends where its driver hangs: nothing else lets go of the camera."""
    code, errors = glasses.run(LAUNCH, "-c", TWICE)
    assert code == 0, errors
    assert "camera 0 does not start" in errors
    assert errors.rstrip().endswith("opened again")
