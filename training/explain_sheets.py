"""Sheets of pictures, maps over them, bars and mosaics, as PNG: what cuelens-explain shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lab.reporting.plots import as_drawn, as_png, make_figure

BLIND = "this network does not look at the picture"
_CELL = 1.75  # inches, of a sheet's picture
_DPI = 110


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture of a sheet: uint8 (h, w[, 1 or 3]), with a map float32 (h, w) over it where there is one."""

    picture: npt.NDArray[np.uint8]
    title: str
    over: npt.NDArray[np.float32] | None = None


def lay_rows(cells: Sequence[Cell | None], columns: int) -> list[list[Cell | None]]:
    """Lay cells out in rows of so many columns."""
    return [list(cells[i : i + columns]) for i in range(0, len(cells), columns)]


def _show(axes: Any, picture: npt.NDArray[np.uint8]) -> None:
    picture = picture[..., 0] if picture.shape[2:] == (1,) else picture
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")


def draw_sheet(
    rows: Sequence[Sequence[Cell | None]], title: str, colours: str = "inferno", cell: float = _CELL
) -> bytes:
    """Draw rows of pictures with their titles under one, as PNG; over them maps of 0 (or -1) to 1, clear where 0."""
    from matplotlib.colors import Normalize

    columns = max(map(len, rows))
    size = (max(columns * cell, 6) + 0.6, len(rows) * (cell + 0.5) + 0.6)
    figure = make_figure(*size, _DPI)
    every = figure.subplots(len(rows), columns, squeeze=False)
    scale, drawn = Normalize(-1 if colours == "RdBu_r" else 0, 1), None
    for row, line in zip(rows, every, strict=True):
        for axes in line:
            axes.axis("off")
        for part, axes in zip(row, line, strict=False):
            if part is None:
                continue
            _show(axes, part.picture)
            axes.set_title(as_drawn(part.title), fontsize=9)
            if part.over is not None:
                drawn = axes.imshow(part.over, cmap=colours, norm=scale, alpha=np.abs(part.over) * 0.7)
    if drawn is not None:
        figure.colorbar(drawn, ax=every, shrink=min(1, 3 / size[1]), aspect=30, label="share of each map's most")
    figure.suptitle(as_drawn(title), fontsize=11, color="darkred" if title.startswith(BLIND) else "black", wrap=True)
    return as_png(figure)


def _beside(image: npt.NDArray[np.uint8], title: str, top: str) -> tuple[Any, Any]:
    figure = make_figure(10, 7, _DPI)
    left, right = figure.subplots(1, 2, width_ratios=(1, 4))
    left.axis("off")
    _show(left, image)
    left.set_title(as_drawn(f"input, read as\n{top}"), fontsize=9)
    figure.suptitle(as_drawn(title), fontsize=11)
    return figure, right


def draw_bars(values: npt.NDArray[np.float32], names: Sequence[str], image: Any, title: str, top: str) -> bytes:
    """Draw units, float32 (n,), as bars under their names beside the picture, as PNG."""
    figure, axes = _beside(image, title, top)
    axes.bar(range(len(values)), values)
    turned, size = 90 if len(values) > 10 else 0, 6 if len(values) > 30 else 9
    axes.set_xticks(range(len(values)), list(map(as_drawn, names)), rotation=turned, fontsize=size)
    axes.grid(axis="y", alpha=0.3)
    return as_png(figure)


def draw_grid(maps: npt.NDArray[np.float32], channels: Any, image: Any, title: str, top: str) -> bytes:
    """Draw maps, float32 (h, w, n), as a mosaic under their channels' numbers beside the picture, as PNG."""
    figure, axes = _beside(image, title, top)
    height, width, count = maps.shape
    columns = int(np.ceil(np.sqrt(count)))
    below, beside = max(1, round(height / 4)), max(1, round(width / 16))  # below: room for the next one's number
    least, most = maps.min(axis=(0, 1)), maps.max(axis=(0, 1))
    maps = (maps - least) / np.where(most > least, most - least, 1)
    lines = -(-count // columns)
    mosaic = np.full((lines * (height + below), columns * (width + beside)), np.nan, np.float32)
    for i in range(count):
        y, x = i // columns * (height + below) + below, i % columns * (width + beside)
        mosaic[y : y + height, x : x + width] = maps[..., i]
        axes.text(x - 0.5, y - 0.5, str(channels[i]), fontsize=7, va="bottom")
    axes.imshow(mosaic, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    axes.axis("off")
    return as_png(figure)
