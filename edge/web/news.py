"""What a browser gets, as JSON-ready values: the cue and the run, the settings with their words, a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields
from typing import Any, get_type_hints

import cv2
import numpy as np

from edge.drawing.glyphs import Plan, cue_colour, draw_plan, glyph_name, glyph_svg, plan_cue
from edge.locale import LANGUAGES, read_locale
from edge.locale.words import describe, word
from edge.runtime.control import Control
from edge.runtime.links import LinkReport, sink_state
from edge.runtime.metrics import percentile
from edge.settings import is_for_tuning
from edge.sinks.table import live_tables, table_of
from edge.types import Clock, Cue, Update

OUTDATED = 2.0  # seconds after which what was seen is not shown any more
LASTING = ("paused", "no_camera")
REPEATED = 5.0  # seconds in which the loop has sent these again: it does every second
LARGEST_WIDTH = 640  # pixels of a picture that is sent
QUALITY = 70  # of its JPEG
G2_WIDTH, G2_HEIGHT = 288, 144  # pixels of the largest picture that Even's app takes; the display has 576 x 288


@dataclass(frozen=True, slots=True)
class Arrived:
    """An update and when it was true, on the clock that frames arrive by."""

    update: Update
    t: float

    @classmethod
    def now(cls, update: Update, clock: Clock) -> Arrived:
        """Return it with when it was true: when its frame reached us, now where it has none."""
        return cls(update, clock() if update.frame is None else update.frame.t_arrived)


def cue_of(arrived: Arrived | None, control: Control) -> Cue | None:
    """Return what is to be shown; the pause counts before the loop has heard of it, None where nothing is known."""
    if control.paused:
        return Cue("paused", None, 0.0, 0.0)
    return arrived.update.cue if arrived else None


def cue_message(arrived: Arrived | None, control: Control, now: float) -> dict[str, Any]:
    """Return the cue in words of the present language; `age` in seconds, None where nothing is known."""
    look = control.settings.look
    cue = cue_of(arrived, control)
    facts: dict[str, Any] = {
        "paused": control.paused,
        # Neither is about a face that may have gone. The loop repeats both while they are true: silence is a loop that
        # hangs, and a pause that it has not taken yet may have left the camera open.
        "lasts": cue is not None
        and (arrived is None or (arrived.update.cue.state in LASTING and now - arrived.t < REPEATED)),
        "age": None if arrived is None else round(max(0.0, now - arrived.t), 2),
    }
    if cue is None:
        return facts
    locale = read_locale(look.language)
    name = glyph_name(cue, look)
    return facts | {
        "state": locale.page[f"state.{cue.state}"],
        "colour": "#{:02x}{:02x}{:02x}".format(*cue_colour(cue)),
        "word": word(cue, look) if look.words else "",
        "sentence": describe(cue, look),
        "glyph": glyph_svg(name, cue.distance) if name else "",
        "side": cue.side if look.arrow else None,
        "partner": ", ".join(locale.sentences[place] for place in (cue.distance, cue.side) if place),
    }


def run_message(control: Control, total_ms: Sequence[float]) -> dict[str, Any]:
    """Return how the run is doing; `total_ms` are the newest latencies, capture to cue."""
    metrics = control.metrics
    texts = read_locale(control.settings.look.language).page
    facts: dict[str, Any] = {}
    if total_ms:
        facts |= {f"p{percent}": round(percentile(total_ms, percent)) for percent in (50, 95)}
    if metrics is None:
        return facts
    return facts | {
        "fps": round(metrics.recent_fps, 1),
        "dropped": metrics.dropped,
        "sinks": [
            {"name": name.partition(":")[0], "state": state, "says": texts[f"sink.{state}"], "error": error}
            | ({"worn": _describe_worn(control.links[name], texts)} if name in control.links else {})
            for name, sink in tuple(metrics.sinks.items())
            for state, error in [sink_state(sink, control.links.get(name))]
        ],
    }


def _describe_worn(link: LinkReport, texts: Mapping[str, str]) -> str:
    """Return which thing is worn, and its battery."""
    battery = "" if link.battery is None else texts["battery"].replace("{n}", str(link.battery))
    return ", ".join(part for part in (link.name, battery) if part)


def page_message(control: Control, pictures: bool) -> dict[str, Any]:
    """Return the page's words and all settings that may be changed, with their values and what is valid."""
    version = control.settings_version  # before the settings, which are changed after it
    language = control.settings.look.language
    texts = read_locale(language).page
    groups = []
    for table in live_tables(control.settings):
        values = table_of(control.settings, table)
        hints = get_type_hints(type(values))
        described = []
        for item in fields(values):
            field: dict[str, Any] = {
                "table": table,
                "key": item.name,
                "label": texts.get(f"setting.{item.name}") or _label(item),
                "value": getattr(values, item.name),
                "advanced": is_for_tuning(item),
            }
            if "choices" in item.metadata:
                choices = item.metadata["choices"]
                if choices == LANGUAGES:
                    field["choices"] = [[choice, read_locale(choice).name] for choice in choices]
                else:
                    field["choices"] = [[choice, texts.get(f"choice.{choice}", choice)] for choice in choices]
            elif "range" in item.metadata:
                field["range"] = list(item.metadata["range"])
                field["whole"] = hints[item.name] is int
            elif hints[item.name] is not bool:
                continue  # of a text there is nothing to choose, and it may be a secret
            described.append(field)
        groups.append({"title": texts.get(f"group.{table}", table.capitalize()), "fields": described})
    return {"language": language, "texts": texts, "groups": groups, "pictures": pictures, "version": version}


def _label(item: Field[Any]) -> str:
    """Return what a setting is called that no language has words for: its name and unit."""
    unit = f" ({item.metadata['unit']})" if "unit" in item.metadata else ""
    return f"{item.name.replace('_', ' ').capitalize()}{unit}"


def draw_g2(cue: Cue | None, control: Control) -> bytes:
    """Draw a cue as Even G2 takes it: a gray PNG of G2_WIDTH x G2_HEIGHT, black where there is nothing to show."""
    plan = Plan(None) if cue is None else plan_cue(cue, control.settings.look)
    _, png = cv2.imencode(".png", draw_plan(plan, G2_WIDTH, G2_HEIGHT, "gray"))
    return png.tobytes()


def picture_message(arrived: Arrived) -> tuple[dict[str, Any], bytes]:
    """Return an update's picture as a gray JPEG at most LARGEST_WIDTH wide, and what is to be drawn over it.

    Each face is its box's middle and size in pixels of that JPEG, its roll in degrees, and its distance as text.
    """
    update = arrived.update
    assert update.frame is not None
    gray = update.frame.gray
    scale = min(1.0, LARGEST_WIDTH / gray.shape[1])
    if scale < 1:
        size = (LARGEST_WIDTH, max(1, round(gray.shape[0] * scale)))
        gray = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, jpeg = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    faces = [
        {
            "x": round(scale * (face.box[0] + face.box[2] / 2), 1),
            "y": round(scale * (face.box[1] + face.box[3] / 2), 1),
            "width": round(scale * face.box[2], 1),
            "height": round(scale * face.box[3], 1),
            "roll_deg": round(face.roll_deg, 1),
            "says": f"{face.distance_m:.1f} m" if math.isfinite(face.distance_m) else "",
        }
        for face in update.faces
    ]
    return {"width": gray.shape[1], "height": gray.shape[0], "faces": faces}, jpeg.tobytes()
