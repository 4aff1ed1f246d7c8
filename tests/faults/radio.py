"""What the fault table's rows of glasses are played on: a run with glasses on a virtual radio, and another display."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bumble import gatt

from edge.drawing.glyphs import Plan, plan_cue
from edge.runtime.control import Control
from edge.runtime.sink_worker import STALE
from edge.sinks.glasses.makes import MAKES
from edge.sinks.glasses.sink import GlassesSink
from edge.sinks.glasses.stage import DARK, plan_for_glasses
from edge.types import Gray, Update
from tests.faults.stage import PATIENCE, TRUE, Result, Stage, Watcher, finish, longest_gap, wait_until
from tests.glasses.air import AirRadio, Peripheral
from tests.glasses.peripherals import ActiveLookPeripheral, HaloPeripheral

LOOK_AT_GLASSES = 0.02  # seconds between two looks
SETTLED = 4.0  # seconds from which on nothing stale may be seen: Halo blanks itself after 30 of its own steps of 50 ms
STAY = 5.5  # seconds for which a fault lasts at least
MARK_PIXELS = 160  # at most, of the line by which Halo shows that it lost us
MARK, MESSAGE = "mark", "message"

# What glasses may show while a fault lasts.
DARK_ALONE = frozenset({"dark"})
KEPT = frozenset({"dark", TRUE})  # by ActiveLook alone: only its own firmware could take its last picture away
LEFT = frozenset({"dark", MARK})  # by Halo, which blanks by itself


class Onlooker(Watcher):
    """The other display: what it says is wrong, and what glasses are to show of the same updates."""

    def __init__(self, control: Control) -> None:
        super().__init__()
        self.notices: list[tuple[float, str]] = []
        self.plans: dict[Plan, str] = {DARK: "dark"}  # what is on glasses, by picture
        self._control = control

    def show(self, update: Update) -> None:
        super().show(update)
        now = time.monotonic()
        notice = self._control.notice(now)
        if notice and (not self.notices or self.notices[-1][1] != notice):
            self.notices.append((now, notice))
        plan = plan_for_glasses(update.cue, plan_cue(update.cue, self._control.settings.look, notice))
        self.plans.setdefault(plan, MESSAGE if plan.text else update.cue.shown)


class Scene:
    """Somebody wears glasses while a run goes on; what is done to them is done in the radio's own loop."""

    def __init__(self, make: str, folder: Path, film: list[Gray]) -> None:
        self.make = make
        self.glasses: Any = ActiveLookPeripheral() if make == "activelook" else HaloPeripheral()
        self.other = Impostor(self.glasses.name)
        self.radio = AirRadio(self.glasses, self.other)
        self.control = Control()
        sink = GlassesSink(f"{make}:{self.glasses.name}", self.control, self.radio)
        (self.report,) = self.control.links.values()
        self.onlooker = Onlooker(self.control)
        self.stage = Stage(folder, film, [("glasses", sink), ("onlooker", self.onlooker)], self.control)
        self.looks: list[tuple[float, bytes]] = []  # screens, and when each was first seen
        self._pictures: dict[bytes, str] = {}  # what each screen is
        self._drawn: set[Plan] = set()
        self._ended = False
        self._watching: Future[None] | None = None

    def do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.radio.do(what)

    @property
    def air(self) -> Any:
        return self.radio.air

    def start(self) -> None:
        """Begin, and wait until the glasses show the cue."""
        self.stage.start()
        wait_until(lambda: self.report.state == "connected")
        assert self.radio._loop is not None
        self._watching = asyncio.run_coroutine_threadsafe(self._watch(), self.radio._loop)
        self.stage.wait_shown(TRUE, 0.0)
        wait_until(self.shows_cue)

    async def _watch(self) -> None:
        """See every screen in the loop in which ActiveLook's is drawn: none is seen half."""
        while not self._ended:
            screen = (self.glasses.seen > 0).tobytes()
            if not self.looks or self.looks[-1][1] != screen:
                self.looks.append((time.monotonic(), screen))
            await asyncio.sleep(LOOK_AT_GLASSES)

    def name(self, screen: bytes) -> str:
        """Return what is on a screen: the cue's name, dark, a mark, a message, or that nobody wanted that."""
        for plan in self.onlooker.plans.keys() - self._drawn:
            picture = MAKES[self.make].draw(plan)
            seen = picture[..., 0] if self.make == "activelook" else picture
            self._pictures[(seen > 0).tobytes()] = self.onlooker.plans[plan]
            self._drawn.add(plan)
        if screen in self._pictures:
            return self._pictures[screen]
        if self.make == "halo":
            lit = np.frombuffer(screen, bool)
            if lit.sum() <= 3 * MARK_PIXELS:
                return MARK
            for picture, name in self._pictures.items():
                if not (lit & ~np.frombuffer(picture, bool)).any():
                    return name  # the emulator's program is at it: it draws line after line
        return "nothing that was sent"

    def shows_cue(self) -> bool:
        return bool(self.looks) and self.name(self.looks[-1][1]) == TRUE

    def seen(self, begun: float, end: float) -> list[str]:
        """Return what the glasses showed from `begun` to `end`, in that order."""
        names = [self.name(screen) for _, screen in self.looks]
        ends = [when for when, _ in self.looks[1:]] + [end]
        spans = zip(self.looks, ends, names, strict=True)
        shown = [name for (start, _), until, name in spans if until > begun and start < end]
        return [name for number, name in enumerate(shown) if number == 0 or shown[number - 1] != name]

    def end(self, result: Result) -> None:
        self._ended = True
        if self._watching is not None:
            self._watching.result(PATIENCE)
        finish(self.stage, result)
        if self.make == "halo":
            self.glasses.stop()


class Impostor(Peripheral):
    """Something of the same name, which does not advertise until it is put in the glasses' place."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.place: Peripheral | None = None

    def gatt_services(self) -> list[gatt.Service]:
        return super().gatt_services()  # a battery, and nothing that shows anything

    async def join(self, air: Any) -> None:
        await super().join(air)
        await self._device.stop_advertising()


@dataclass(frozen=True)
class Worn:
    """A fault of Bluetooth or of glasses, and what must be seen of it.

    `says` is a pattern of what the other display must show within `within` seconds; empty where all must go on as if
    nothing had happened. `meanwhile` is what glasses may show from SETTLED on, until the fault is undone. `back` are
    the seconds from then on within which they show the cue again and nothing is wrong any more.
    """

    fault: str
    do: Callable[[Scene], None]
    says: str = ""
    make: str = "activelook"
    undo: Callable[[Scene], None] | None = None
    within: float = 5.0
    back: float = 8.0
    meanwhile: frozenset[str] = frozenset()


def play_worn(row: Worn, folder: Path, film: list[Gray]) -> Result:
    """Play a row; returns what came of it, `shown` as the glasses showed it from the fault to the end."""
    result, scene = Result(row.fault), Scene(row.make, folder, film)
    try:
        scene.start()
        _judge(row, scene, result)
    finally:
        scene.end(result)
    return result


def _judge(row: Worn, scene: Scene, result: Result) -> None:
    begun = gone = time.monotonic()
    row.do(scene)
    if row.says:
        found = _wait_notice(scene, row.says, begun)
        result.to_show, result.logged = found[0] - begun, found[1]
        if result.to_show > row.within:
            result.wrong.append(f"took {result.to_show:.1f} s to report it, over {row.within:g}")
    if row.undo is not None:
        time.sleep(max(0.0, begun + STAY - time.monotonic()))
        gone = time.monotonic()
        stale = set(scene.seen(begun + SETTLED, gone)) - row.meanwhile
        if stale:
            result.wrong.append(f"the glasses showed {stale}")
        row.undo(scene)
    wait_until(lambda: scene.report.state == "connected" and scene.shows_cue() and not scene.control.problems)
    result.to_recover = time.monotonic() - gone
    if result.to_recover > row.back:
        result.wrong.append(f"took {result.to_recover:.1f} s to recover, over {row.back:g}")
    if (gap := longest_gap(scene.stage, Result(""), begun, time.monotonic() - begun)) > 3:
        result.wrong.append(f"the other display waited {gap:.1f} s")
    seen = scene.seen(begun, time.monotonic())
    result.shown = f"glasses: {', '.join(seen)}"
    beside = {cue for when, cue in list(scene.stage.watcher.shown) if when >= begun - STALE}
    if odd := set(seen) - beside - row.meanwhile - ({"dark", MESSAGE} if row.says else set()):
        result.wrong.append(f"the glasses showed {odd}")
    if not row.says and scene.report.losses:
        result.wrong.append(f"the glasses were lost {scene.report.losses} times")


def _wait_notice(scene: Scene, says: str, begun: float) -> tuple[float, str]:
    """Return when the other display first showed what matches `says`, and that."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        for when, notice in list(scene.onlooker.notices):
            if when >= begun and re.search(says, notice):
                return when, notice
        time.sleep(0.02)
    raise AssertionError(f"never shown: {says!r}; shown {scene.onlooker.notices}, link {scene.report}")
