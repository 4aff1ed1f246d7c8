"""`cuelens faces`: print where the faces are in pictures, with their expressions if wanted."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.commands import read
from edge.commands.pictures import look_at_each
from edge.errors import printable_lines
from edge.settings import Settings
from edge.settings_file import load_settings
from edge.system.quiet import tame_opencv

if TYPE_CHECKING:
    from edge.types import Face, Gray


def run(args: argparse.Namespace) -> int:
    """Print the faces of each picture, with their expressions if wanted; one that cannot be read costs only itself."""
    from edge.stills.finder import StillFinder, describe_still, still_record

    if args.read:
        return read.run(argparse.Namespace(**vars(args), out=None, model=None))
    tame_opencv()

    def show(path: Path, _: Gray, faces: Sequence[Face]) -> None:
        record = json.dumps(still_record(path, faces)) if args.json else None
        print(record or printable_lines(describe_still(path, faces)), flush=True)

    finder = StillFinder((load_settings(args.config) if args.config else Settings()).faces)
    return look_at_each(args, args.pictures, finder.find, show)
