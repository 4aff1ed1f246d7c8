"""What may be changed while it runs, from any thread, and what is known of the run; sinks read it, the loop obeys."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.config import SENSITIVITIES, Settings, check_setting, read_settings, with_sensitivity, with_settings
from edge.errors import SettingsInvalid
from edge.files import replace_file

if TYPE_CHECKING:
    from edge.health import Health

LIVE = ("cue", "look", "audio")  # tables that may be changed while it runs
END = "# end"  # the last line of what was saved: a file that lacks it was cut short
NOTICE = 5.0  # seconds for which each problem is shown at the start


def without_folders(text: str) -> str:
    """Leave of each path its last part: a small display has no room for more."""
    return re.sub(r"(?<!\S)/\S*/", "", text)


class Control:
    """The settings in force, the pause, and the run's health; each may be read and changed by any thread."""

    def __init__(self, settings: Settings | None = None, saved: Path | None = None) -> None:
        """Begin with `settings`, the defaults where None; `saved` is the file that save() writes, None for none."""
        self._settings = settings or Settings()
        self._lock = threading.Lock()
        self._changed: dict[tuple[str, str], Any] = {}
        self.saved = saved
        self.problems: list[str] = []  # that the run goes on in spite of: a line each
        self._told: float | None = None  # when the first of them was first shown
        self.paused = False
        self.health: Health | None = None  # of the run, once it has begun

    @property
    def settings(self) -> Settings:
        """The settings in force; a frozen value, another one after each change."""
        return self._settings

    def change(self, table: str, values: Mapping[str, Any]) -> None:
        """Change settings of one of the LIVE tables; raises SettingsInvalid, and then nothing is changed."""
        if table not in LIVE:
            raise SettingsInvalid(f"{table!r} cannot be changed while it runs; valid are {', '.join(LIVE)}")
        with self._lock:
            before = getattr(self._settings, table)
            checked = {key: check_setting(type(before), key, value, f"{table}.{key}") for key, value in values.items()}
            if "sensitivity" in checked:
                before = with_sensitivity(before, checked["sensitivity"])
                moved = {(table, key) for preset in SENSITIVITIES.values() for key in preset}
                self._changed = {where: value for where, value in self._changed.items() if where not in moved}
            self._settings = with_settings(self._settings, {table: with_settings(before, checked)})
            self._changed |= {(table, key): value for key, value in checked.items()}

    def notice(self, now: float) -> str:
        """Return the problem to show at `now` (monotonic), each for NOTICE seconds from the first call on, or ""."""
        if not self.problems:
            return ""
        self._told = now if self._told is None else self._told
        number = int((now - self._told) / NOTICE)
        return without_folders(self.problems[number]) if 0 <= number < len(self.problems) else ""

    def load(self) -> None:
        """Take what was saved before, if anything was; raises SettingsInvalid where that is damaged, and takes none."""
        if self.saved is None or not self.saved.exists():
            return
        import tomllib

        saved = read_settings(self.saved, Settings)  # checks it; only what the file names is taken
        text = self.saved.read_text(encoding="utf-8")
        if text.rstrip().rpartition("\n")[2] != END:
            raise SettingsInvalid(f"{self.saved}: cut short, its last line is not {END!r}; save again, or delete it")
        table = tomllib.loads(text)
        for name in LIVE:
            if name in table:
                self.change(name, {key: getattr(getattr(saved, name), key) for key in table[name]})

    def save(self) -> Path:
        """Write what was changed, now and before, to the file for that, and return its path.

        Raises SettingsInvalid without such a file, SinkUnwritable or DiskFull.
        """
        if self.saved is None:
            raise SettingsInvalid("settings cannot be saved: no file for that; start with --saved FILE")
        with self._lock:
            changed = dict(self._changed)
        lines = ["# Changed and saved while Cuelens ran; overrules the settings file. Delete it to undo."]
        for name in LIVE:
            keys = {key: value for (table, key), value in changed.items() if table == name}
            if keys:  # of these tables' values, JSON is TOML
                lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        replace_file(self.saved, "\n".join([*lines, "", END, ""]).encode())
        return self.saved
