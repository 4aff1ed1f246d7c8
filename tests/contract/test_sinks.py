"""The promises of every sink, each on every sink of the table; one whose hardware or library is missing is skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.errors import RuntimeMissing, SettingsInvalid, SinkFailed
from edge.needs import Needs
from edge.runtime.control import Control
from edge.settings import Settings
from edge.sinks.opening import open_sink
from edge.sinks.places import check_places
from edge.sinks.table import SINKS, needs_of
from edge.types import Capabilities, Cue, Face, Frame, Prepared, Reading, Sink, Update
from tests.support.sinks import spec_of

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def updates() -> Iterator[Update]:
    """What a run shows: somebody who smiles, then nobody, a lost camera, a pause, the end."""
    gray = np.full((240, 320), 90, np.uint8)
    face = Face(1, (100, 60, 90, 90), 0.0)
    for seq, cue in enumerate((Cue("unsure", None, 0.0, 0.0, "new"), Cue("expression", "smile", 0.9, 0.1))):
        reading = Reading(1, (0.0, 0.0, 0.0, 0.9, 0.0, 0.0, 0.1), seq / 10)
        yield Update(Frame(gray, seq / 10, seq, 0.0), (face,), (reading,), LABELS, cue, {"total": 3.0}, 0)
    yield Update(Frame(gray, 0.2, 2, 0.0), (), (), LABELS, Cue("no_face", None, 0.0, 0.2), {"total": 3.0}, 0)
    for state in ("no_camera", "paused", "stopped"):
        yield Update(None, (), (), LABELS, Cue(state, None, 0.0, 0.3), {}, 0)  # type: ignore[arg-type]


@pytest.fixture(params=SINKS)
def spec(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each sink, as it opens without its device."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    return spec_of(request.param, tmp_path)


@pytest.fixture
def sink(spec: str) -> Iterator[Sink]:
    """Each sink, opened."""
    try:
        opened = open_sink(spec, Control())
    except (RuntimeMissing, SinkFailed) as error:
        pytest.skip(str(error))
    yield opened
    opened.close()


def test_it_says_what_it_can(sink: Sink) -> None:
    assert isinstance(sink.capabilities, Capabilities)
    assert 0 < sink.capabilities.deadline <= 10


def test_it_shows_whatever_a_run_shows_and_closes_twice(sink: Sink, spec: str) -> None:
    if isinstance(sink, Prepared):
        sink.prepare()
    failures: list[SinkFailed] = []
    for update in updates():
        try:
            sink.show(update)
        except SinkFailed as error:
            failures.append(error)
            break  # what it cannot reach it still closes
    sink.close()
    sink.close()
    # `mqtt` has no broker here; a sink of a file or of a dummy has no excuse.
    assert not failures or (needs_of(spec, Settings()).network and spec != "web:0"), failures


def test_it_states_what_it_needs_for_any_argument_and_without_opening_anything(spec: str, tmp_path: Path) -> None:
    for argument in (spec, spec.partition(":")[0], f"{spec.partition(':')[0]}:what is this"):
        assert isinstance(needs_of(argument, Settings()), Needs)
    assert not [path for path in tmp_path.iterdir() if path.name != "home"]


def test_twice_at_one_place_is_seen(spec: str) -> None:
    if spec == "web:0":
        spec = "web:8317"  # on port 0 each gets its own
    with pytest.raises(SettingsInvalid, match="is given twice"):
        check_places(Settings(sinks=(spec, spec)))
