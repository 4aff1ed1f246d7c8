"""What was changed while it ran, in a file that several may write: merged by key, each lost change is reported."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edge.errors import SettingsInvalid
from edge.files import replace_file, sink_error
from edge.settings import SENSITIVITIES, Settings
from edge.settings_file import read_toml
from edge.sinks.table import COMMON, is_live, table_of

if sys.platform != "win32":
    import fcntl

END = "# end"  # the last line of the file: one that lacks it was cut short
LOCK_TIME = 5.0  # seconds for another one to finish writing: a card's sync may take one
LOCK_PAUSE = 0.02  # seconds between looks

MOVED = frozenset(("cue", key) for preset in SENSITIVITIES.values() for key in preset)  # by the sensitivity

Values = dict[tuple[str, str], Any]  # by table and key


class SavedSettings:
    """One run's view of the file: what it found there last, so that it knows what others wrote since."""

    def __init__(self, path: Path) -> None:
        """Take `path`; nothing is read yet."""
        self.path = path
        self._known: Values = {}
        self._saving = threading.Lock()

    def load(self) -> Values:
        """Return what is saved, nothing where there is no file; raises SettingsInvalid where that is damaged."""
        self._known = self._read()
        return dict(self._known)

    def _read(self) -> Values:
        if not self.path.exists():
            return {}
        file = read_toml(self.path)
        saved = file.build(Settings)  # checks it; only what the file names is taken
        if file.last_line != END:
            raise SettingsInvalid(f"{self.path}: cut short, its last line is not {END!r}; save again, or delete it")
        return {
            (name, key): getattr(table_of(saved, name), key)
            for name, table in file.table.items()
            if is_live(name)
            for key in table
        }

    def save(self, changes: Callable[[], Values]) -> Values:
        """Write what was changed here, beside what others wrote meanwhile, and return what others changed.

        `changes` gives what was changed here, once it is our turn to write. Raises SettingsInvalid where both changed
        the same setting, to different values: saved once more, the value of here is written. Also raises
        SinkUnwritable or DiskFull. A damaged file is written again.
        """
        with self._saving, self._locked():
            changed = changes()
            try:
                there = self._read()
            except SettingsInvalid:
                there = dict(self._known)  # ours is whole, and mends it
            # What is gone from the file is still in force here: to save means to keep that.
            theirs = {key for key, value in there.items() if self._known.get(key) != value}
            ours = {key for key in changed.keys() | self._known.keys() if changed.get(key) != self._known.get(key)}
            both = [key for key in theirs & ours if there[key] != changed.get(key)]
            known, self._known = self._known, there
            if both:
                names = "; ".join(f"{table}.{key}" for table, key in sorted(both))
                raise SettingsInvalid(
                    f"{self.path}: somebody else saved another value meanwhile: {names}; save again to overrule that"
                )
            moved = MOVED if ("cue", "sensitivity") in theirs else frozenset[tuple[str, str]]()
            merged = {key: value for key, value in changed.items() if key not in moved or known.get(key) != value}
            merged |= {key: there[key] for key in theirs}
            replace_file(self.path, written(merged))
            self._known = merged
            return {key: there[key] for key in theirs - ours}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from writing: the folder is locked, as the file itself is replaced; not on Windows."""
        if sys.platform == "win32":
            yield
            return
        try:
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise sink_error(self.path, error) from error
        try:
            end = time.monotonic() + LOCK_TIME
            while True:
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > end:
                        raise SettingsInvalid(
                            f"{self.path}: another program keeps the folder locked for {LOCK_TIME:.0f} s; end it, "
                            "then save again"
                        ) from error
                    time.sleep(LOCK_PAUSE)
                except OSError:
                    break  # a file system without locks: then there is one writer, or the newest counts
            yield
        finally:
            os.close(folder)


def written(values: Mapping[tuple[str, str], Any]) -> bytes:
    """Return the file's content."""
    lines = ["# Changed and saved while Cuelens ran; overrules the settings file. Delete it to undo."]
    for name in dict.fromkeys((*COMMON, *(table for table, _ in values))):
        keys = {key: value for (table, key), value in values.items() if table == name}
        if keys:  # of these tables' values, JSON is TOML
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join([*lines, "", END, ""]).encode()
