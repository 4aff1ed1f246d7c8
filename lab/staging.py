"""Files that libraries and compilers write by themselves: beside their place, which they take when they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.files import staged_name, sync_folder


@contextmanager
def stage(path: Path, suffix: str = "") -> Iterator[Path]:
    """Lend a name beside `path`, ending in `suffix`; the file written there takes the place of `path`.

    Whatever ends the block early, a signal too, leaves `path` as it was and nothing else. Raises OSError.
    """
    staged = staged_name(path, suffix)
    try:
        yield staged
        with staged.open("rb+") as file:
            os.fsync(file.fileno())
        staged.replace(path)
    except BaseException:
        with suppress(OSError):  # the first is what is wrong
            staged.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # it is whole: a power cut may bring the old back
        sync_folder(path.parent)
