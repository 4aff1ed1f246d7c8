"""`cuelens read`: say, and draw if wanted, which expression each face in pictures shows."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from edge.commands.pictures import look_at_each
from edge.errors import SettingsInvalid, printable_lines
from edge.files import make_folder
from edge.settings import Settings
from edge.settings_file import load_settings
from edge.system.quiet import tame_opencv

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    from edge.stills.reader import StillReading
    from edge.types import Gray

_IMAGES = (".png", ".jpg", ".jpeg", ".webp")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `cuelens read` takes."""
    parser.add_argument("pictures", nargs="+", type=Path, metavar="IMAGE", help="A picture, or a folder of pictures.")
    parser.add_argument("--json", action="store_true", help="Print one line of JSON for each picture.")
    parser.add_argument(
        "--out", type=Path, help="Also draw into this picture, or into this folder, with contact sheets."
    )
    parser.add_argument("--model", help="A .tflite file with its contract beside it. The default is the shipped one.")
    parser.add_argument("--config", type=Path, help="Settings file (TOML); it uses [faces], [cue] and [look].")


def run(args: argparse.Namespace) -> int:
    """Read the faces of each picture; one that cannot be read is named, and the others are still done."""
    from edge.stills.reader import StillReader, describe_readings, reading_record
    from edge.vision.model import ExpressionModel, shipped_model

    tame_opencv()
    settings = load_settings(args.config) if args.config else Settings()
    paths = list(_expand(args.pictures))
    drawing = _Drawing(args.out, paths, settings) if args.out else None
    model = ExpressionModel(Path(args.model or settings.model or shipped_model()), settings.threads)

    def show(path: Path, gray: Gray, readings: Sequence[StillReading]) -> None:
        record = json.dumps(reading_record(path, readings, settings.look)) if args.json else None
        print(record or printable_lines(describe_readings(path, readings, settings.look)), flush=True)
        if drawing is not None:
            drawing.add(path, gray, readings)

    code = look_at_each(args, paths, StillReader(settings, model).read, show)
    if drawing is not None:
        drawing.finish()
    return code


def _expand(pictures: Sequence[Path]) -> Iterator[Path]:
    """Name the pictures, those of a folder in its order; raises SourceEmpty for a folder without one."""
    from edge.sources.pictures import pictures_in

    for path in pictures:
        if not path.is_dir():
            yield path
            continue
        yield from pictures_in(path)


class _Drawing:
    """Writes each annotated picture, and contact sheets at the end."""

    def __init__(self, out: Path, paths: Sequence[Path], settings: Settings) -> None:
        """Decide between a file and a folder; raises SettingsInvalid, SinkUnwritable."""
        self._look = settings.look
        self._file = out if out.suffix.lower() in _IMAGES and not out.is_dir() else None
        self._folder = out
        self._names: set[str] = set()
        self._tiles: list[tuple[str, npt.NDArray[np.uint8]]] = []
        if self._file is not None:
            if len(paths) > 1:
                raise SettingsInvalid(f"--out is {out}, for {len(paths)} pictures; give the name of a folder")
            if any(path.exists() and out.exists() and path.samefile(out) for path in paths):
                raise SettingsInvalid(f"--out is {out}, the picture itself; give another name")
            return
        make_folder(out)
        if any(path.resolve().parent == out.resolve() for path in paths):
            raise SettingsInvalid(f"--out is {out}, the pictures' own folder; give another one")

    def add(self, path: Path, gray: Gray, readings: Sequence[StillReading]) -> None:
        """Draw and write a picture; raises DiskFull or SinkUnwritable."""
        from edge.stills.drawing import draw_readings, shrink_to_tile

        picture = draw_readings(gray, readings, self._look)
        if self._file is not None:
            _write(self._file, picture)
            return
        name, number = path.stem, 1
        if name.startswith("sheet-"):  # the contact sheets' own names
            name = f"picture-{name}"
        while name in self._names:
            number += 1
            name = f"{path.stem}-{number}"
        self._names.add(name)
        _write(self._folder / f"{name}.png", picture)
        self._tiles.append((path.name, shrink_to_tile(picture)))

    def finish(self) -> None:
        """Write the contact sheets of what was drawn; raises DiskFull or SinkUnwritable."""
        from edge.stills.drawing import draw_sheets

        for number, sheet in enumerate(draw_sheets(self._tiles), 1):
            _write(self._folder / f"sheet-{number:02d}.png", sheet)


def _write(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    import cv2

    from edge.files import replace_file

    _, content = cv2.imencode(path.suffix.lower(), picture)
    replace_file(path, content.tobytes())
