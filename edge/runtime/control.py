"""What may be changed while it runs, from any thread, and what is known of the run; sinks read it, the loop obeys."""

from __future__ import annotations

import math
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import SettingsInvalid
from edge.runtime.pause import KeptPause
from edge.runtime.saved import MOVED, SavedSettings, Values
from edge.settings import Settings, is_changeable, with_sensitivity, with_settings
from edge.settings_file import check_setting
from edge.sinks.table import live_tables, table_of, with_table
from edge.system.messages import Warned, say

if TYPE_CHECKING:
    from edge.runtime.links import LinkReport
    from edge.runtime.metrics import Metrics

NOTICE = 5.0  # seconds for which displays show each problem


def without_folders(text: str) -> str:
    """Leave of each path its last part: a small display has no room for more."""
    return re.sub(r"(?<!\S)/\S*/", "", text)


class ChangedMeanwhile(SettingsInvalid):
    """A setting has another value by now than the one that whoever changes it had seen."""


class Control:
    """The settings in force, the pause, and the run's metrics; each may be read and changed by any thread."""

    def __init__(
        self, settings: Settings | None = None, saved: Path | None = None, pause: KeptPause | None = None
    ) -> None:
        """Begin with `settings`, the defaults where None; `saved` is the file that save() writes, None for none.

        `pause` keeps the pause over a restart; None keeps it in this run alone.
        """
        self._settings = settings or Settings()
        self._settings_version = 0
        self._lock = threading.Lock()
        self._changed: Values = {}
        self.saved = saved
        self._saved = None if saved is None else SavedSettings(saved)
        self.problems: list[str] = []  # that the run goes on in spite of: a line each
        self._unseen: deque[str] = deque()  # of them, in the order in which displays show them
        self._seen = ("", -math.inf)  # the one that displays show, and until when (monotonic)
        self.links: dict[str, LinkReport] = {}  # to what is worn, by the sink's NAME:ARGUMENT
        self._pause = pause or KeptPause(None)
        self._keeps = pause is not None
        self._pausing = threading.Lock()
        self.metrics: Metrics | None = None  # of the run, once it has begun

    @property
    def settings(self) -> Settings:
        """The settings in force; a frozen value, another one after each change."""
        return self._settings

    @property
    def settings_version(self) -> int:
        """How often the settings were changed, by which a page knows news from before its own change."""
        return self._settings_version

    @property
    def paused(self) -> bool:
        """Whether no frame may be read; setting it is in force at once, and on the disk when it returns."""
        return self._pause.on

    @paused.setter
    def paused(self, paused: bool) -> None:
        with self._pausing:
            problem = self._pause.set(paused)
        if problem and self._keeps and problem not in self.problems:
            self.begin_problem(problem)

    def pause_unasked(self) -> None:
        """Pause this run alone, as nobody asked for it: the next one begins without."""
        with self._pausing:
            self._pause.on = True

    @property
    def pause_problem(self) -> str:
        """What was wrong with the pause that an earlier run left, else an empty text."""
        return self._pause.problem

    def change(self, table: str, values: Mapping[str, Any], seen: Mapping[str, Any] | None = None) -> None:
        """Change settings of a live table: `cue`, `look`, and those of sinks that the settings name, opened or not.

        Raises SettingsInvalid, and then nothing is changed. `seen` are the values that they had for whoever changes
        them: where one is another by now, ChangedMeanwhile is raised, so that of two people who change the same setting
        one is answered.
        """
        if table not in (valid := live_tables(self._settings)):
            raise SettingsInvalid(f"{table!r} cannot be changed while it runs; valid are {', '.join(valid)}")
        self._change(table, values, seen)

    def _change(self, table: str, values: Mapping[str, Any], seen: Mapping[str, Any] | None = None) -> None:
        with self._lock:
            before = table_of(self._settings, table)
            for item in fields(before):  # before an error quotes a value, which may be a secret
                if item.name in values and not is_changeable(item, getattr(before, item.name)):
                    raise SettingsInvalid(
                        f"{table}.{item.name} cannot be changed while it runs; change it in the settings file"
                    )
            for key in values.keys() & (seen or {}).keys():
                now = getattr(before, key, None)
                if seen is not None and now != seen[key] and now != values[key]:
                    raise ChangedMeanwhile(
                        f"{table}.{key} was changed to {now!r} by somebody else meanwhile; look, then change it again"
                    )
            checked = {key: check_setting(type(before), key, value, f"{table}.{key}") for key, value in values.items()}
            if "sensitivity" in checked:
                before = with_sensitivity(before, checked["sensitivity"])
                self._changed = {where: value for where, value in self._changed.items() if where not in MOVED}
            self._settings_version += 1
            self._settings = with_table(self._settings, table, with_settings(before, checked))
            self._changed |= {(table, key): value for key, value in checked.items()}

    def keep_problem(self, problem: str) -> None:
        """Keep a problem of the start in the status; displays show it in its turn."""
        with self._lock:
            if problem not in self.problems:
                self.problems.append(problem)
                self._unseen.append(problem)

    def begin_problem(self, problem: str, say: Callable[[str], None] = say) -> None:
        """Print a problem that came up just now, have displays show it first, and keep it until it ends."""
        with self._lock:
            self._forget(problem)
            self.problems.append(problem)
            if interrupted := self._seen[0]:
                self._unseen.appendleft(interrupted)
            self._unseen.appendleft(problem)
            self._seen = "", -math.inf
        say(Warned(f"cuelens: {problem}"))

    def end_problem(self, problem: str) -> None:
        """Take that a problem is over; one that nobody began is none."""
        with self._lock:
            self._forget(problem)

    def _forget(self, problem: str) -> None:
        for kept in (self.problems, self._unseen):
            if problem in kept:
                kept.remove(problem)
        if problem == self._seen[0]:
            self._seen = "", -math.inf

    def notice(self, now: float) -> str:
        """Return the problem that displays show at `now` (monotonic), else ""; each has NOTICE seconds in all."""
        with self._lock:
            problem, until = self._seen
            if now >= until:
                problem = self._unseen.popleft() if self._unseen else ""
                self._seen = problem, now + NOTICE if problem else -math.inf
        return without_folders(problem)

    def load(self) -> None:
        """Take what was saved before, if anything was; raises SettingsInvalid where that is damaged, and takes none."""
        if self._saved is not None:
            self._take(self._saved.load())

    def _take(self, saved: Mapping[tuple[str, str], Any]) -> None:
        # Also those of a sink that this run is without: they are saved again, for the next run that has it.
        for name in dict.fromkeys(table for table, _ in saved):
            self._change(name, {key: value for (table, key), value in saved.items() if table == name})

    def save(self) -> Path:
        """Write what was changed, now and before, to the file for that, and return its path.

        What another program saved there meanwhile stays, and is in force here too. Raises SettingsInvalid without such
        a file or where both changed the same setting, SinkUnwritable or DiskFull.
        """
        if self._saved is None:
            raise SettingsInvalid("settings cannot be saved: no file for that; start with --saved FILE")
        self._take(self._saved.save(self._changes))
        return self._saved.path

    def _changes(self) -> Values:
        with self._lock:
            return dict(self._changed)
