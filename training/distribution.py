"""`cuelens-data`: what a data set holds, before anything is fitted on it: counts, what was skipped, two pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import printable, printable_lines
from edge.files import make_folder, replace_file
from edge.system.program import command
from edge.vision.preprocessing import Preprocessing
from lab.datasets.ferplus import drop_no_face, relabel
from lab.datasets.folder import list_patients
from lab.datasets.labelled import DataSet, split_names
from lab.datasets.read import read_data
from lab.reporting.plots import SERIES, as_drawn, as_png, make_figure

SHEET_COLUMNS = 12  # pictures of each class
SHEET_SIDE = 96  # pixels of each, with the gap to the next


def count_classes(data: DataSet) -> dict[str, npt.NDArray[np.int64]]:
    """Count the pictures of each class by split: int64 (classes,)."""
    return {name: np.bincount(split.labels, minlength=len(data.classes)) for name, split in data.splits.items()}


def table(data: DataSet, patients: dict[str, str] | None = None) -> str:
    """Lay classes by splits out for a person, with the number of `patients` (by picture's name) where known."""
    counts = count_classes(data)
    rows = [(name, [int(column[i]) for column in counts.values()]) for i, name in enumerate(data.classes)]
    rows.append(("all", [int(column.sum()) for column in counts.values()]))
    if patients:
        rows.append(("patients", [len({patients[name] for name in split.names}) for split in data.splits.values()]))
    wide = max(14, len(data.title), *(len(name) for name, _ in rows))
    lines = [f"{data.title:{wide}}" + "".join(f"{name:>13}" for name in counts)]
    lines += [f"{name:{wide}}" + "".join(f"{number:13,}" for number in numbers) for name, numbers in rows]
    return "\n".join(lines)


def plot_distribution(data: DataSet, path: Path) -> None:
    """Draw the number of pictures of each class, a bar a split, into a PNG.

    Raises RuntimeMissing without matplotlib, SinkUnwritable or DiskFull.
    """
    counts = count_classes(data)
    height = 1.5 + len(data.classes) * (0.2 * len(counts) + 0.15)
    figure = make_figure(8, height)
    axes = figure.subplots()
    thick = 0.8 / len(counts)
    for i, (name, column) in enumerate(counts.items()):
        middles = np.arange(len(column)) + (i - (len(counts) - 1) / 2) * thick
        bars = axes.barh(middles, column, thick * 0.9, color=SERIES[i], label=as_drawn(f"{name}: {column.sum():,}"))
        axes.bar_label(bars, [f"{number:,}" for number in column], padding=3, fontsize=8)
    axes.set_yticks(range(len(data.classes)), list(map(as_drawn, data.classes)))
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.02)
    axes.set(xlabel="pictures", title=as_drawn(data.title))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(counts), frameon=False)
    _save(figure, path)


def plot_sheet(data: DataSet, path: Path) -> None:
    """Draw a contact sheet, for each class a row of some pictures of the first split, that to fit on, into a PNG.

    Raises RuntimeMissing without matplotlib, SinkUnwritable or DiskFull.
    """
    rng = np.random.default_rng(0)
    show = Preprocessing(SHEET_SIDE - 4, "rgb")
    first = next(iter(data.splits.values()))
    sheet = np.full((len(data.classes), SHEET_SIDE, SHEET_COLUMNS, SHEET_SIDE, 3), 255, np.uint8)
    for label in range(len(data.classes)):
        rows = rng.permutation(np.flatnonzero(first.labels == label))[:SHEET_COLUMNS]
        for column, row in enumerate(rows):
            sheet[label, 2:-2, column, 2:-2] = show.apply(first.images[row])
    figure = make_figure(13, 1 + len(data.classes))
    axes = figure.subplots()
    axes.imshow(sheet.reshape(len(data.classes) * SHEET_SIDE, -1, 3))
    axes.set_yticks((np.arange(len(data.classes)) + 0.5) * SHEET_SIDE, list(map(as_drawn, data.classes)), fontsize=12)
    axes.set_xticks([])
    axes.set_title(as_drawn(data.title))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    replace_file(path, as_png(figure, bbox_inches="tight"))


def _relabelled(data: DataSet) -> str:
    """Lay out what FER+'s raters make of the rows read."""
    changed = {name: relabel(split) for name, split in data.splits.items()}
    lines = [table(DataSet("FER+ majority", data.classes, changed))]
    for name, split in data.splits.items():
        rows = len(split.labels)
        lines.append(
            f"{name}: {rows - len(changed[name].labels):,} of {rows:,} rows without a majority, "
            f"{rows - len(drop_no_face(split).labels):,} of them no face"
        )
    return "\n".join(lines)


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Show what a data set holds: classes by splits, what cannot be read, patients where labels.csv names them."""
    parser.epilog = "example: cuelens-data fer2013.csv --out runs/data"
    parser.add_argument(
        "path", type=Path, help="FER2013's fer2013.csv, plain or .gz, .xz or .zip, or a folder of pictures."
    )
    parser.add_argument(
        "--ferplus", type=Path, help="FER+'s fer2013new.csv. The labels of its raters are then shown too."
    )
    parser.add_argument("--out", type=Path, help="Folder for distribution.png and for sheet.png, a contact sheet.")
    args = parser.parse_args(argv)
    preprocessing = Preprocessing(64, "rgb") if args.path.is_dir() else Preprocessing(48)
    data = read_data(args.path, preprocessing, ferplus=args.ferplus, lenient=True)
    print(printable_lines(table(data, list_patients(args.path))))
    if args.ferplus is not None:
        print(_relabelled(data))
    absent = [name for name in split_names(args.path) if name not in data.splits]
    if absent:
        print(f"no picture in {', '.join(absent)}: enough to evaluate on, a fit needs all splits")
    skipped = map(printable, data.skipped)
    print(f"{len(data.skipped)} pictures skipped{':' if data.skipped else ''}", *skipped, sep="\n  ")
    if args.out is not None:
        make_folder(args.out)
        plot_distribution(data, args.out / "distribution.png")
        plot_sheet(data, args.out / "sheet.png")
        print(printable(f"{args.out / 'distribution.png'}, {args.out / 'sheet.png'}"))
