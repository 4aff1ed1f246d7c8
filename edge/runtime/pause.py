"""A pause that outlasts the run: a file in the state folder, there as long as nobody has ended the pause."""

from __future__ import annotations

import contextlib
import errno
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

from edge.errors import CuelensError
from edge.files import replace_file, sink_error, sync_folder
from edge.system.systemd import state_folder

NAME = "paused"
CONTENT = b"paused\n"
NO_PLACE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)  # nothing was ever kept in a folder that cannot be entered


def pause_file(environment: Mapping[str, str] = os.environ, folder_of_run: Path | None = None) -> Path | None:
    """Return where a pause is kept: the service's state folder, or the user's; None where there is neither.

    By hand, a pause holds for every camera; of a recording, which looks at nobody, for runs in its own folder alone.
    """
    name = NAME if folder_of_run is None else f"{NAME}-{zlib.crc32(os.fsencode(folder_of_run)):08x}"
    if service := state_folder(environment):
        return service / NAME
    if folder := environment.get("XDG_STATE_HOME", ""):
        return Path(folder, "cuelens", name)
    home = environment.get("HOME", "") or environment.get("USERPROFILE", "")  # Windows' name for it
    return Path(home, ".local", "state", "cuelens", name) if home else None


class KeptPause:
    """Whether somebody paused, in this run or before it; changing it is on the disk when it returns."""

    def __init__(self, path: Path | None) -> None:
        """Read what `path` says; what is damaged or cannot be read is a pause, and `problem` says so."""
        self._path = path
        self.problem = ""
        self.on = path is not None and self._read(path)

    def _read(self, path: Path) -> bool:
        try:
            path.lstat()
            whole = path.read_bytes() == CONTENT
        except OSError as error:
            if error.errno in NO_PLACE and not os.path.lexists(path):
                return False
            whole = False
        if not whole:
            self.problem = f"{path}: damaged, so Cuelens stays paused; resume, and the file is removed"
        return True

    def set(self, on: bool) -> str:
        """Pause, or go on; returns what is wrong where that cannot be kept, else an empty text."""
        self.on = on
        if self._path is None:
            return "the pause is not kept over a restart: there is no state folder, and no HOME" if on else ""
        try:
            if on:
                with contextlib.suppress(OSError):  # the next line says what is wrong
                    self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace_file(self._path, CONTENT)
            else:
                self._remove(self._path)
        except CuelensError as error:
            return f"{error}; a restart would {'end the pause' if on else 'pause again'}"
        return ""

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except IsADirectoryError:
            with contextlib.suppress(OSError):
                path.rmdir()
            return
        except OSError as error:
            raise sink_error(path, error) from error
        with contextlib.suppress(OSError):
            sync_folder(path.parent)
