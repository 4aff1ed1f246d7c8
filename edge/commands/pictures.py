"""What `cuelens faces` and `cuelens read` share: pictures one after the other, of which a bad one costs only itself."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edge.errors import CuelensError
from edge.system.messages import Warned, failed, say

if TYPE_CHECKING:
    from edge.stills.finder import Progress
    from edge.types import Gray

T = TypeVar("T")


def look_at_each(
    args: argparse.Namespace,
    paths: Iterable[Path],
    look: Callable[[Gray, Progress | None], T],
    show: Callable[[Path, Gray, T], None],
) -> int:
    """Hand each picture to `look`, and what that finds to `show`; returns the exit code of the first that fails.

    A picture that cannot be read is named, with --json in a record too, and the others are still done.
    """
    from edge.sources.pictures import load_picture
    from edge.stills.finder import failed_record, watching

    code = 0
    for path in paths:
        try:
            gray = load_picture(path, lambda line: say(Warned(f"cuelens: {line}")))
            with watching(path) as progress:
                found = look(gray, progress)
        except CuelensError as error:
            if args.debug:
                raise
            say(failed(error, program="cuelens"))
            if args.json:
                print(json.dumps(failed_record(path, error)), flush=True)
            code = code or error.exit_code
            continue
        show(path, gray, found)
    return code
