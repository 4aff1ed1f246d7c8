"""The fault table: whatever the camera, the network, a sink or the system does, what is shown, how soon, and what then.

The rows are played side by side, on the real loop with its real deadlines, finder, network and policy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import CameraLost, CameraStuck, CuelensError, ModelFailed
from edge.sinks.table import SINKS
from edge.types import Frame
from tests.faults.outlets import FAULTS, play_sinks
from tests.faults.processes import (
    DISKS,
    FAKETIME,
    SIGNALS,
    Nursery,
    Signal,
    play_clock,
    play_disk,
    play_memory,
    play_signal,
    play_start,
)
from tests.faults.stage import RESULTS, TRUE, Result, Row, Stage, failing, judge, pictures, resized

SIDE_BY_SIDE = 9

pytestmark = pytest.mark.slow


def alter(how: Any) -> Any:
    """Return what sets how the device alters its frames."""

    def do(stage: Stage) -> None:
        stage.device.alters = how

    return do


def well(stage: Stage) -> None:
    stage.device.alters = lambda frame: frame
    stage.device.plugged = True


def freeze(stage: Stage) -> None:
    kept = stage.device.film[0]
    stage.device.alters = lambda frame: replace(frame, gray=kept.copy())


def hang(*calls: str) -> Any:
    def do(stage: Stage) -> None:
        stage.device.hangs = " ".join(calls)

    return do


def hang_when_opened(stage: Stage) -> None:
    stage.device.hangs = "open"
    stage.device.raises = CameraLost("unplugged")


def throw(error: Exception) -> Any:
    def do(stage: Stage) -> None:
        stage.device.raises = error

    return do


def unplug(stage: Stage) -> None:
    stage.device.unplug()
    time.sleep(1.5)


def stagger(frame: Frame) -> Frame:
    """A stamp that goes back, stands still, jumps, or is none."""
    broken = (frame.t - 5, frame.t, frame.t - 0.5, frame.t + 1e6, math.nan, 0.0, -math.inf)
    return replace(frame, t=broken[frame.seq % len(broken)])


def infer(fault: Any) -> Any:
    """Return what puts a fault into the network."""

    def do(stage: Stage) -> None:
        stage.network.fault = fault

    return do


def stand_still(stage: Stage) -> None:
    def wait() -> None:
        stage.network.fault = None
        time.sleep(4.0)

    stage.network.fault = wait


def replace_model(stage: Stage) -> None:
    stage.model_path.write_bytes(stage.model_path.read_bytes()[:1000])


def replace_and_break_model(stage: Stage) -> None:
    replace_model(stage)
    stage.network.fault = failing(RuntimeError("bad node"))


def break_for_good(stage: Stage) -> None:
    stage.model.stays = True
    stage.network.fault = failing(RuntimeError("bad node"))


BLACK = np.full((480, 640), 16, np.uint8)
ROWS = [
    Row(
        "the camera disappears and does not come back",
        lambda stage: stage.device.unplug(),
        back=None,
        ends=CameraLost,
        says="unplugged; looking for it again",
        causes=("lost",),
    ),
    Row(
        "opening the camera again never returns",
        hang_when_opened,
        back=None,
        ends=CameraStuck,
        says="a call to open has not returned for 12 s; no process can open a camera twice",
    ),
    Row(
        "a read never returns: another thread opens the camera",
        hang("read"),
        back=15,
        says="a call to read has not returned for 6 s; looking for it again",
        causes=("silent", "stuck"),
    ),
    Row(
        "a read never returns and the camera cannot be closed",
        hang("read", "close"),
        back=None,
        ends=CameraStuck,
        says="it cannot be closed; no process can open a camera twice",
        causes=("silent", "stuck"),
    ),
    Row(
        "the camera raises and is well again",
        throw(CameraLost("select timeout")),
        says="select timeout; looking",
        causes=("lost",),
    ),
    Row(
        "the driver raises what nobody expects",
        throw(ZeroDivisionError("odd")),
        back=None,
        ends=CuelensError,
        says="source: ZeroDivisionError: odd",
    ),
    Row(
        "the camera disappears and comes back",
        unplug,
        undo=well,
        back=8,
        says="the camera gives frames again, after",
        causes=("lost",),
    ),
    Row(
        "the camera gives None",
        alter(lambda frame: None),
        undo=well,
        back=5,
        says="given no frame for 1 s",
        causes=("silent",),
    ),
    Row(
        "the camera gives None and must be opened again",
        lambda stage: (alter(lambda frame: None)(stage), time.sleep(3))[0],
        undo=well,
        within=3,
        back=5,
        says="no picture for 2 s, but NoneType instead of a frame",
        causes=("damaged",),
    ),
    Row(
        "the camera gives empty pictures",
        alter(lambda frame: replace(frame, gray=frame.gray[:0])),
        undo=well,
        causes=("silent",),
    ),
    Row(
        "the camera gives pictures of floats",
        alter(lambda frame: replace(frame, gray=frame.gray / 255)),
        undo=well,
        causes=("silent",),
    ),
    Row(
        "the camera repeats one picture",
        freeze,
        undo=well,
        within=4,
        says="the same picture for 2 s",
        causes=("frozen",),
    ),
    Row(
        "the camera goes black",
        alter(lambda frame: replace(frame, gray=BLACK)),
        undo=well,
        says="nothing but black",
        causes=("dark",),
    ),
    Row("the camera changes its size", alter(lambda frame: resized(frame, 320, 240)), shows="face", back=5),
    Row("every other picture is damaged", alter(lambda frame: frame if frame.seq % 2 else None), shows=TRUE),
    Row(
        "the pictures are not contiguous",
        alter(lambda frame: replace(frame, gray=np.asfortranarray(frame.gray))),
        shows=TRUE,
    ),
    Row("the camera's clock goes back, jumps and is not a number", alter(stagger), shows=TRUE),
    Row(
        "the network raises once",
        infer(failing(RuntimeError("bad node"), 1)),
        shows=TRUE,
        says="network: RuntimeError: bad node; left out",
    ),
    Row(
        "the network raises until it is loaded again",
        infer(failing(RuntimeError("bad node"))),
        shows=TRUE,
        says="failed 3 times in a row; loading it again",
    ),
    Row(
        "the network raises, also after it is loaded again",
        break_for_good,
        shows="",
        back=None,
        ends=ModelFailed,
        says="3 times in a row after it was loaded again; start again",
    ),
    Row("the network stands still for four seconds", stand_still, back=10, says="the loop was blocked for"),
    Row("the model's file is replaced by half of one", replace_model, shows=TRUE),
    Row(
        "the model's file is replaced by half of one, and the network raises",
        replace_and_break_model,
        shows="",
        back=None,
        ends=ModelFailed,
        says="cannot be loaded again: .*ends after 1000 of",
    ),
]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    """Begin with all rows, by their names; those that take longest first."""
    film = pictures()

    def folder() -> Path:
        return tmp_path_factory.mktemp("row")

    with pytest.MonkeyPatch.context() as monkey, Nursery() as nursery, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        monkey.setenv("SDL_VIDEODRIVER", "dummy")
        plays = {row.fault: pool.submit(judge, row, Stage(folder(), film)) for row in ROWS[:4]}
        outlets = pool.submit(play_sinks, folder(), film)
        plays |= {row.fault: pool.submit(play_signal, row, nursery, folder()) for row in SIGNALS}
        plays |= {kind: pool.submit(play_disk, kind, nursery, folder()) for kind in DISKS}
        plays["memory"] = pool.submit(play_memory, nursery, folder())
        plays["start"] = pool.submit(play_start, folder())
        if FAKETIME is not None:
            plays["clock"] = pool.submit(play_clock, folder())
        plays |= {row.fault: pool.submit(judge, row, Stage(folder(), film)) for row in ROWS[4:]}
        plays["sinks"] = outlets
        yield plays


def hold(result: Result) -> None:
    RESULTS.append(result)
    assert result.wrong == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.fault)
def test_when(row: Row, played: dict[str, Future[Any]]) -> None:
    hold(played[row.fault].result())


@pytest.mark.parametrize("row", SIGNALS, ids=lambda row: row.fault)
def test_a_run_ends_by(row: Signal, played: dict[str, Future[Any]]) -> None:
    hold(played[row.fault].result())


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", SINKS)
def test_a_sink(kind: str, fault: str, played: dict[str, Future[Any]]) -> None:
    result = played["sinks"].result()[kind, fault]
    if not result.fault:
        pytest.skip(result.wrong[0])
    hold(result)


@pytest.mark.parametrize("kind", DISKS)
def test_a_full_disk_costs_the_sink_alone(kind: str, played: dict[str, Future[Any]]) -> None:
    hold(played[kind].result())


def test_memory_that_is_used_up_ends_the_run_with_a_line(played: dict[str, Future[Any]]) -> None:
    hold(played["memory"].result())


def test_a_service_starts_without_its_camera_says_so_and_finds_it(played: dict[str, Future[Any]]) -> None:
    hold(played["start"].result())


@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime: apt install faketime")
def test_a_wall_clock_that_jumps_changes_nothing(played: dict[str, Future[Any]]) -> None:
    hold(played["clock"].result())
