"""`cuelens faces`: print where the faces are in pictures, with their expressions if wanted."""

from __future__ import annotations

import argparse
import json
import sys

from edge.commands import read
from edge.errors import CuelensError, printable, printable_lines
from edge.quiet import tame_opencv
from edge.settings import Settings
from edge.settings_file import load_settings


def run(args: argparse.Namespace) -> int:
    """Print the faces of each picture, with their expressions if wanted; one that cannot be read costs only itself."""
    from edge.sources.pictures import load_picture
    from edge.stills import StillFinder, describe_still, failed_record, still_record, watching

    if args.read:
        return read.run(argparse.Namespace(**vars(args), out=None, model=None))
    tame_opencv()
    finder = StillFinder((load_settings(args.config) if args.config else Settings()).faces)
    code = 0

    def say(line: str) -> None:
        print(printable(f"cuelens: {line}"), file=sys.stderr)

    for path in args.pictures:
        try:
            gray = load_picture(path, say)
            with watching(path) as progress:
                faces = finder.find(gray, progress)
        except CuelensError as error:
            if args.debug:
                raise
            print(f"cuelens: {error.line}", file=sys.stderr)
            if args.json:
                print(json.dumps(failed_record(path, error)), flush=True)
            code = code or error.exit_code
            continue
        print(
            json.dumps(still_record(path, faces)) if args.json else printable_lines(describe_still(path, faces)),
            flush=True,
        )
    return code
