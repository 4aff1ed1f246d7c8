"""`glasses:activelook`, `glasses:halo`: the cue on glasses over Bluetooth: Engo and Julbo, Halo and Frame.

The link has a thread of its own, so that no update waits for it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge.backends import import_for
from edge.drawing.glyphs import plan_cue
from edge.errors import SettingsInvalid, SinkFailed
from edge.needs import Needs, Package
from edge.runtime.control import Control
from edge.runtime.links import LinkReport
from edge.settings import Settings
from edge.sinks.glasses.known import Wanted, glasses_file, load_glasses
from edge.sinks.glasses.makes import MAKES
from edge.sinks.glasses.stage import DARK, Stage, plan_for_glasses
from edge.sinks.glasses.wearable import Make
from edge.types import Capabilities, Clock, Update

if TYPE_CHECKING:  # of bleak, which not every device has
    from edge.sinks.glasses.link import Link
    from edge.sinks.glasses.radio import Radio

BLUETOOTHD = "/usr/libexec/bluetooth/bluetoothd"
BLUEZ = Package("bluez", (BLUETOOTHD,), f"no {BLUETOOTHD}")
INTERVAL = 0.05  # seconds between updates: the stage keeps the newest, whatever the link can take


class GlassesSink:
    """Show the cue on one pair of glasses, and nothing where nothing is known.

    `glasses:MAKE` is the pair that `cuelens pair` remembered last; `glasses:MAKE:NAME` the one of that name. While they
    are out of reach the sink goes on, and looks for them again and again; the status and the other sinks show that.
    """

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State bluetoothd, which is reached over the D-Bus, and the pair."""
        make, _, name = argument.partition(":")
        return Needs(("bleak",), (BLUEZ,), groups={"bluetooth": "the glasses"}, pairs=(make, name), safe_mode=True)

    def __init__(
        self, argument: str, control: Control, radio: Radio | None = None, clock: Clock = time.monotonic
    ) -> None:
        """Begin to look for the glasses; raises SettingsInvalid, RuntimeMissing, or SinkFailed where none are paired.

        `radio` is the Bluetooth to use, this machine's where None.
        """
        self._control, self._clock = control, clock
        make, name = choose_make(argument)
        self.capabilities = Capabilities(least_interval=INTERVAL)
        link = import_for("glasses", "edge.sinks.glasses.link", "bleak")
        wanted = choose_pair(make, name)
        self._spec = f"glasses:{argument}"
        self._reported: dict[str, str] = {}  # problems that last, by kind
        self._stage = Stage(make.least_interval, blanks_itself=make.blanks_itself)
        report = control.links[self._spec] = LinkReport(make.name, wanted.name or wanted.address)
        self._link: Link = link.Link(
            make, wanted, self._stage, report, lambda: control.settings.look, self._say, radio or link.Radio(), clock
        )

    def _say(self, kind: str, problem: str) -> None:
        """Have the other sinks say what is wrong, once, and forget it when it is over."""
        before = self._reported.get(kind, "")
        if problem == before:
            return
        self._reported[kind] = problem
        if before:
            self._control.end_problem(before)
        if problem:
            self._control.begin_problem(problem)

    def show(self, update: Update) -> None:
        """Leave the cue to the link; raises SinkFailed where a fault of ours ended that."""
        if self._link.failure is not None:
            failure = self._link.failure
            raise SinkFailed(f"glasses: {type(failure).__name__}: {failure}; a fault of ours: see --debug") from failure
        now = self._clock()
        plan = plan_cue(update.cue, self._control.settings.look, self._control.notice(now))
        if self._stage.offer(plan_for_glasses(update.cue, plan), now):
            self._link.wake()

    def close(self) -> None:
        """Blank the glasses, and leave them."""
        self._stage.offer(DARK, self._clock())
        self._link.close()
        for kind in tuple(self._reported):
            self._say(kind, "")
        self._control.links.pop(self._spec, None)


def choose_make(argument: str) -> tuple[Make, str]:
    """Return the make of MAKE or MAKE:NAME, and the name; raises SettingsInvalid for another make, or none."""
    name, _, which = argument.partition(":")
    if name not in MAKES:
        raise SettingsInvalid(f"glasses:{argument}: valid are {', '.join(f'glasses:{make}' for make in MAKES)}")
    return MAKES[name], which


def choose_pair(make: Make, name: str) -> Wanted:
    """Return the pair of that name, else that of the make that was paired last; raises SinkFailed where none was."""
    if name:
        return Wanted(name=name)
    for known in load_glasses(glasses_file()):
        if known.make == make.name:
            return Wanted(known.address, known.name)
    raise SinkFailed(f"glasses:{make.name}: none are paired; turn them on, then cuelens pair {make.name}")
