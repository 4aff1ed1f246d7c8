"""The tuning of the cue's settings on clips by person, and what each buys; benchmarks/cue_page.py makes the page."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.cue_clips import judge_clips, person_of, sum_folders
from benchmarks.cue_noise import MINUTES, least_bridged, make_noise, worst_onset
from benchmarks.streams import Stream, changes, play
from edge.settings import CueSettings, with_settings
from lab.progress import progress

# What is varied. The rest of the settings are the wearer's taste, or measured elsewhere: `life` is chosen on everyday
# faces, since on films of people who mostly smile or rest the most of it wins, and hides what is rare.
VARIED: dict[str, tuple[float, ...]] = {
    "filter": (0.08, 0.1, 0.15, 0.2),
    "doubt": (1.0, 2.0, 3.0, 4.0),
    "enter": (0.6, 0.65, 0.7, 0.75, 0.8),
    "leave": (0.5, 0.55, 0.6, 0.65),
    "margin": (0.3, 0.4, 0.5, 0.58, 0.65),
    "trace": (0.03, 0.05, 0.07, 0.1),
    "bridge": (1.0, 1.5, 2.0, 3.0, 4.0),
    "bridge_doubt": (0.0, 1.0, 2.0, 3.0),
    "bridge_enter": (0.55, 0.6, 0.65, 0.7, 0.75),
    "bridge_leave": (0.3, 0.35, 0.4, 0.45, 0.5),
    "bridge_margin": (0.1, 0.2, 0.3),
    "bridge_reach": (0.7, 1.0, 1.5, 2.0),
    "bridge_turn": (0.4, 0.5, 0.7, 1.0, 1.5),
    "onset": (0.05, 0.1, 0.15),
    "decay": (0.3, 0.5, 0.8),
    "least_quality": (0.2, 0.3, 0.4),
}
# Seconds of onset; changes a minute on noise, on readings that wander within 0.3 s, and on films of people who talk;
# the least share of the time in which the word of a made-up talking face is shown.
LIMITS = {"onset_s": 0.57, "noise": 6.0, "talk": 6.0, "bridged": 0.92}
WRONG = 2.0  # a wrong word costs what so many right ones are worth
FOLDS = 5
QUIET = (5, 15, 30)  # frames a second at which noise is played: what holds at 30 holds at 60
# What one knob does, from the steadiest to the quickest: both filters must be so much surer. The sensitivities are
# points of that curve; each has its own pace, which is how fast its wearer reads the display.
KNOB = (0.2, 0.15, 0.1, 0.05, 0.0, -0.05, -0.1, -0.15, -0.2)
MOVED = ("enter", "bridge_enter")
PACES = {"calm": {"onset": 0.15, "hold": 1.0}, "normal": {}, "quick": {"onset": 0.0, "hold": 0.4}}
CAUTION = {"calm": 0.05, "normal": 0.0, "quick": -0.1}


@functools.cache
def noises(fps: float) -> dict[str, Stream]:
    """Return made-up noise; half a minute of it is too little: what wanders then changes 4 to 12 times a minute."""
    return make_noise(fps)


@dataclass
class Bench:
    """Clips, and what is known of settings on them; each setting is played on each clip once."""

    clips: Mapping[str, Stream]
    rows: dict[tuple[CueSettings, str], dict[str, Any]] = field(default_factory=dict)
    _over: dict[CueSettings, float] = field(default_factory=dict)

    def judge(self, settings: CueSettings, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return `sum_folders` of those clips."""
        for name in names:
            if (settings, name) not in self.rows:
                (self.rows[settings, name],) = judge_clips({name: self.clips[name]}, settings)
        return sum_folders([self.rows[settings, name] for name in names])

    def worth(self, settings: CueSettings, names: Sequence[str]) -> float:
        """Return what settings are worth on those clips: right less wrong, of frames and of clips, steadiness."""
        parts = self.judge(settings, names)
        whole, talk = parts["whole"], parts.get("talk", parts["whole"])

        def gain(coverage: float, right: float) -> float:
            return coverage * (right - WRONG * (1 - right))

        mean = gain(whole["mean_coverage"], whole["mean_cue_right"]) + gain(whole["coverage"], whole["cue_right"])
        flicker = max(0.0, talk["mean_cue_changes"] / LIMITS["talk"] - 1)
        return mean / 2 + 0.3 * talk["mean_shown"] - 0.5 * flicker

    def excess(self, settings: CueSettings) -> float:
        """Return by how much the limits on made-up streams are passed, 0 where none is."""
        if settings not in self._over:
            over = max(0.0, max(worst_onset(settings).values()) / LIMITS["onset_s"] - 1)
            if over == 0:
                over = max(0.0, LIMITS["bridged"] - least_bridged(settings))
            for fps in QUIET:
                for stream in noises(fps).values():
                    if over == 0:
                        limit = LIMITS["noise"]
                        over = max(0.0, changes(play(stream, settings)) / MINUTES / limit - 1)
            self._over[settings] = over
        return self._over[settings]


def climb(bench: Bench, start: CueSettings, names: Sequence[str], rounds: int, what: str) -> CueSettings:
    """Climb to the settings that are worth most on those clips, one at a time, within the limits."""
    rng = np.random.default_rng(0)
    best, reached = start, bench.worth(start, names) - (10.0 if bench.excess(start) else 0.0)
    for number in range(rounds):
        before = best
        order = progress(rng.permutation(list(VARIED)), f"{what} {number + 1}")
        for name in order:
            choices = VARIED[name]
            place = min(range(len(choices)), key=lambda index: abs(choices[index] - getattr(best, name)))
            for ways in (choices[place + 1 :], choices[:place][::-1]):
                for choice in ways:
                    tried = with_settings(best, {name: choice})
                    if tried.leave > tried.enter or tried.bridge_leave > tried.bridge_enter:
                        break
                    worth = bench.worth(tried, names)
                    if worth <= reached or bench.excess(tried):
                        break
                    best, reached = tried, worth
        if best == before:
            break
    return best


def folds(names: Sequence[str]) -> list[list[str]]:
    """Return the clips in FOLDS parts, nobody in two of them."""
    people = sorted({person_of(name) for name in names})
    return [[name for name in names if people.index(person_of(name)) % FOLDS == part] for part in range(FOLDS)]


def cross_validate(bench: Bench, start: CueSettings, rounds: int) -> dict[str, dict[str, float]]:
    """Choose settings without each fifth of the people and judge them on it; returns `sum_folders` of all those."""
    names = list(bench.clips)
    rows = []
    for part, held in enumerate(folds(names)):
        if not held:
            continue
        chosen = climb(bench, start, [name for name in names if name not in held], rounds, f"without {part + 1}")
        bench.judge(chosen, held)
        rows += [bench.rows[chosen, name] for name in held]
    return sum_folders(rows)


def with_caution(settings: CueSettings, caution: float) -> CueSettings:
    """Return settings that ask both filters to be `caution` surer before a word is shown."""
    moved = {name: round(min(max(getattr(settings, name) + caution, 0.4), 0.98), 3) for name in MOVED}
    keeps = {
        name: min(getattr(settings, name), moved[of])
        for name, of in (("leave", "enter"), ("bridge_leave", "bridge_enter"))
    }
    return with_settings(settings, moved | keeps)


def sensitivity_settings(normal: CueSettings) -> dict[str, CueSettings]:
    """Return the settings of each sensitivity: the knob's place and the pace, from normal's."""
    return {name: with_settings(with_caution(normal, CAUTION[name]), pace) for name, pace in PACES.items()}


def right_against_shown(bench: Bench, normal: CueSettings) -> list[dict[str, float]]:
    """Return the curve: for each place of the knob, what is shown and what of it is right."""
    points = []
    for caution in KNOB:
        parts = bench.judge(with_caution(normal, caution), list(bench.clips))
        points.append({"caution": caution} | _figures(parts))
    return points


def what_each_buys(bench: Bench, normal: CueSettings) -> list[dict[str, Any]]:
    """Return what the figures are with one setting at each of its choices and the others as they are."""
    rows: list[dict[str, Any]] = [
        {"setting": "as chosen", "value": ""} | _figures(bench.judge(normal, list(bench.clips)))
    ]
    offs = {"bridge_enter": 1.0, "rest_most": 0.0}  # without the bridge, without one's own neutral
    for name, choices in (VARIED | {"rest_most": (normal.rest_most,)}).items():
        for choice in sorted({*choices, *([offs[name]] if name in offs else [])}):
            if choice != getattr(normal, name):
                keep = {"bridge_leave": 1.0} if name == "bridge_enter" and choice == 1.0 else {}
                tried = with_settings(normal, {name: choice} | keep)
                if tried.leave <= tried.enter:
                    figures = _figures(bench.judge(tried, list(bench.clips)))
                    rows.append({"setting": name, "value": choice} | figures)
    return rows


def _finite(value: float) -> float | None:
    """Return what a report can hold: None where a clear expression is never shown, which takes endless seconds."""
    return value if math.isfinite(value) else None


def _figures(parts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    whole, talk = parts["whole"], parts.get("talk", parts["whole"])
    return {
        "coverage": whole["coverage"],
        "right": whole["cue_right"],
        "mean_coverage": whole["mean_coverage"],
        "mean_right": whole["mean_cue_right"],
        "talk_shown": talk["mean_shown"],
        "talk_changes": talk["mean_cue_changes"],
    }


def tune(bench: Bench, start: CueSettings, rounds: int, validate: bool) -> dict[str, Any]:
    """Choose normal's settings from `start` on, and the sensitivities around them; returns them and what each buys."""
    normal = climb(bench, start, list(bench.clips), rounds, "normal")
    chosen = sensitivity_settings(normal)
    return {
        "limits": LIMITS,
        "settings": {name: {key: getattr(each, key) for key in (*VARIED, "hold")} for name, each in chosen.items()},
        "points": [
            {"sensitivity": name}
            | _figures(bench.judge(each, list(bench.clips)))
            | {"onset_s": _finite(max(worst_onset(each).values()))}
            for name, each in chosen.items()
        ],
        "curve": right_against_shown(bench, normal),
        "buys": what_each_buys(bench, normal),
        "over": {name: _finite(bench.excess(each)) for name, each in chosen.items()},
        "held_out": cross_validate(bench, start, rounds) if validate else None,
    }
