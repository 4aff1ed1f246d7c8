"""Pictures of what the finder finds and costs: plots, and a sheet of what it takes for a face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.faces_measures import ANGLES_DEG, METHODS, spot_of
from benchmarks.films import MOST_FACES, SIZES
from edge.errors import RuntimeMissing
from edge.sources.file import load_picture
from edge.vision.views import Pyramid

TILE, TILES = 160, 8  # pixels; a row of the contact sheet


def plot(parts: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw parts side by side: `x`, `lines` (name to values), `axes` (what matplotlib's set takes); returns a PNG.

    Raises RuntimeMissing without matplotlib.
    """
    try:
        from lab.reporting.plots import SERIES, as_png, make_figure

        figure = make_figure(3 + 4.5 * len(parts), 4.2, dpi=140)
    except (ImportError, RuntimeMissing) as error:  # a device has neither
        raise RuntimeMissing("no plots can be made here: all but the plot is done; use .venv-host/bin") from error
    for axes, part in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
        for (name, values), colour, marker in zip(part["lines"].items(), SERIES, "so^", strict=False):
            axes.plot(part["x"], values, color=colour, marker=marker, label=name)
        axes.set(**part["axes"])
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return as_png(figure)


def plot_turned(result: Mapping[str, Any]) -> bytes:
    """Draw the share found by angle, a line a method; returns a PNG."""
    rows = result["by_angle"]
    lines = {name: [100 * row[method] for row in rows] for method, name in METHODS.items()}
    title = f"{rows[0]['turned']} frames of {len(result['by_clip'])} clips"
    axes = {"xlabel": "turned clockwise by, degrees", "xticks": ANGLES_DEG[::3], "ylabel": "faces found, %"}
    return plot([{"x": ANGLES_DEG, "lines": lines, "axes": axes | {"ylim": (0, 103), "title": title}}])


def plot_cost(result: Mapping[str, Any]) -> bytes:
    """Draw CPU ms by frame size and by number of faces; returns a PNG."""
    sizes = {f"{width}x{height}": width * height / 1e6 for width, height in SIZES}
    crowds = {f"{faces} faces": faces for faces in range(MOST_FACES + 1)}
    parts = []
    for places, label, title in ((sizes, "megapixels", ", ".join(sizes)), (crowds, "faces", "640x480")):
        lines = {key[:3]: [result["films"][name][key] for name in places] for key in ("p50_ms", "p99_ms")}
        axes = {"xlabel": label, "ylabel": "CPU ms a frame", "ylim": (0, None), "title": title}
        parts.append({"x": list(places.values()), "lines": lines, "axes": axes})
    return plot(parts)


def draw_sheet(folder: Path, fired: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw what fired in a folder's pictures, upright in its surroundings, with its number and score; returns a PNG."""
    sheet = np.full((-(-len(fired) // TILES) * TILE, TILES * TILE), 255, np.uint8)
    for index, face in enumerate(fired):
        y, x = (TILE * place for place in divmod(index, TILES))
        view = Pyramid(load_picture(folder / face["path"])).view(spot_of(face["box"], face["roll_deg"]), TILE, 0.5)
        cv2.rectangle(view, (0, 0), (90, 22), 0, -1)
        cv2.putText(
            view, f"{index + 1}: {face['score']:+.1f}", (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA
        )
        sheet[y : y + TILE, x : x + TILE] = view
    return bytes(cv2.imencode(".png", sheet)[1])
