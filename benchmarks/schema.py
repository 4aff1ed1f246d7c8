"""What a report of cuelens-bench holds: every key with its type, by task; units are the ends of the names.

A change of a key's meaning, unit or name counts VERSION up; a reader checks it before anything else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any

VERSION = 3  # 3: `task` and `version` by these names; `settings`; the tasks of faces and cue, too

_Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Maybe:
    """A part that may be null."""

    spec: Any


@dataclass(frozen=True)
class Signed:
    """A number that may be below nothing."""

    spec: Any


@dataclass(frozen=True)
class OrMissing:
    """A part in whose place may be the reason why it is missing."""

    spec: Any


_PERCENTILES: _Spec = {"p50": float, "p95": float, "p99": float}
_STAGE: _Spec = {kind: {**_PERCENTILES, "p90": float} for kind in ("wall_ms", "cpu_ms")}
_STATE: _Spec = {
    "governor": str | None,
    "frequency_mhz": float | None,
    "temperature_c": Maybe(Signed(float)),
    "throttled": str | None,
    "load_average": float,
}
_SHARES: _Spec = {"cpu_share": float, "drawing_share": float, "frames_with_face": int}
_SAMPLE: _Spec = {"t": float, "rss_mb": float, "threads": int, "descriptors": int, "frames": int}
_ENDURANCE: _Spec = {
    "source": str,
    "seconds": float,
    "dropped": int,
    "slope_mb_per_hour": Signed(float),
    "slope_error": float,
    "rss_mb": float,
    "peak_rss_mb": float,
    "fps_median": float,
    "fps_least": float,
    "rates": [float],
    "threads_more": Signed(int),
    "descriptors_more": Signed(int),
    "minutes": [_SAMPLE],
}
_COST: _Spec = {kind: {"p50": float, "p90": float, "p99": float} for kind in ("wall_ms", "cpu_ms")}
_POINT: _Spec = {
    "warmup_frames": int,
    "frames": int,
    "found": float,
    "find": _COST,
    "read": Maybe(_COST),
    "whole": _COST,
}
_COUNT: _Spec = {"first": float, "mean": float, "p95": float}
_TURN: _Spec = {
    **dict.fromkeys((f"{name}_ms_per_frame" for name in ("cpu", "wall", "decoding_cpu", "detection_cpu")), float),
    "share_with_face": float,
    "faces": float,
    "label_changes_per_minute": float | None,
    "display_changes_per_minute": float | None,
}
_TURN_ONCE: _Spec = dict.fromkeys(("start_cpu_s", "first_result_cpu_s", "peak_rss_mb"), float)
_AGAINST: _Spec = {"median": float, "least": float, "most": float}
_SYSTEM: _Spec = {
    "what": str,
    "software": {"*": str},
    **_TURN,
    **_TURN_ONCE,
    "clips": {"*": _TURN},
    "rounds": [{**_TURN, **_TURN_ONCE}],
    "accuracy": Maybe(OrMissing({"share": float, "interval": [float], "rows": int})),
}
_PEER: _Spec = {
    **_SYSTEM,
    "against": dict.fromkeys(("cpu_ms_per_frame", "wall_ms_per_frame", *_TURN_ONCE), _AGAINST),
}
_TURNED: _Spec = {
    "turned": int,
    **dict.fromkeys(("plain", "still", "still_level", "film", "film_level"), float | None),
}
_LIGHT: _Spec = {"light": str, "factor": float, "of_frames": int, "false": int, "plain_false": int}
_TRACKS: _Spec = dict.fromkeys(("frames", "with_face", "boxes", "none", "wide", "read", "read_none", "read_wide"), int)
_CUE_CLIPS: _Spec = dict.fromkeys(
    (
        *(f"{name}_changes_per_minute" for name in ("raw", "word", "cue")),
        *("mean_cue_changes", "mean_shown", "coverage", "mean_coverage", "raw_right", "cue_right", "mean_cue_right"),
    ),
    float,
)
_RIGHT: _Spec = dict.fromkeys(("coverage", "right", "raw_right"), float)
_CHOSEN: _Spec = dict.fromkeys(
    ("coverage", "right", "mean_coverage", "mean_right", "talk_shown", "talk_changes"), float
)

RESULTS: Mapping[str, _Spec] = {
    "stages": {
        "source": str,
        "repeat": int,
        "frames": int,
        "frames_with_face": int,
        "width": int,
        "height": int,
        "warmup_frames": int,
        "pace": str,
        "dropped": int,
        "peak_rss_mb": float,
        "stages": dict.fromkeys(("capture", "find", "read", "cue", "sink", "whole"), _STAGE),
    },
    "e2e": {
        "source": str,
        "dropped": int,
        "frames": int,
        "fps": float,
        "missed": int,
        "latency_ms": _PERCENTILES,
        "jitter_ms": _PERCENTILES,
        "jitter_histogram": {"*": int},
    },
    "start": {"elapsed_s": float, "cpu_s": float, "instructions_m": Maybe({"*": float})},
    "idle": {
        "busy_share": float,
        "idle_share": float,
        "ratio": float,
        "runs": {"busy": _SHARES, "idle": _SHARES},
    },
    "scale": {
        "source": str,
        "rounds": int,
        "sizes": [{"width": int, "height": int, **_POINT}],
        "faces": [{"faces": int, **_POINT}],
        "threads": [{"threads": int, **_POINT}],
        "networks": [
            {
                "model": str,
                "runtime": str,
                "delegate": str,
                "threads": int,
                "setting": bool,
                "reads": int,
                **_COST,
                "wall_p90_rounds": [float],
                "cpu_mean_rounds": [float],
            }
        ],
        "left_out": [str],
        "recommendations": [
            {
                "model": str,
                "verdict": str,
                "setting": str,
                "margin": {"ratio": float, "low": float, "high": float},
                "text": str,
            }
        ],
    },
    "memory": _ENDURANCE,
    "soak": _ENDURANCE,
    "peers": {
        "rounds": int,
        "frames": int,
        "warmup": int,
        "clips": [{"clip": str, "width": int, "height": int, "frames": int, "video_s": float}],
        "systems": {"cuelens": _SYSTEM, "*": OrMissing(_PEER)},
    },
    "arm": {
        "frames": int,
        "runs": [
            {
                "runtime": str,
                "version": str,
                "opencv": str,
                "core": str,
                "start": float,
                "stages": dict.fromkeys(("find", "read", "cue", "sink", "whole"), _COUNT),
            }
        ],
        "boards": [
            {"board": str, "core": str, "runtime": str, "clock_ghz": float, "ipc": str, "expected_fps": str},
        ],
    },
    "faces turned": {
        "every": int,
        "by_angle": [{"angle_deg": Signed(int), **_TURNED}],
        "within": [{"most_deg": int, **_TURNED}],
        "by_clip": [{"clip": str, **_TURNED}],
    },
    "faces clips": {
        "clips": [
            {
                "clip": str,
                "n_faces": int,
                "frames": int,
                "with_face": int,
                "switches": int,
                "worse": bool,
                **dict.fromkeys(("plain_rate", "rate", "plain_faces_a_frame", "faces_a_frame"), float | None),
                "ids": [dict.fromkeys(("id", "first", "last", "frames"), int)],
            }
        ]
    },
    "faces tracks": {
        "films": [{"film": str, "change": str, **_TRACKS}],
        "changes": [{"change": str, **_TRACKS}],
        "whole": _TRACKS,
        "changed": _TRACKS,
        **{
            f"{of}{name}": float | None
            for of in ("", "changed_")
            for name in ("frames_with_face", "boxes_off", "read_off", "unread")
        },
    },
    "faces light": {
        "frames": int,
        "every": int,
        "by_light": [{**_LIGHT, "found": float | None, "plain_found": float | None}],
        "by_clip": [{"clip": str, **_LIGHT, "found": int, "plain_found": int}],
    },
    "faces stills": {
        "pictures": int,
        "pictures_with_false": int,
        "false": [{"path": str, "score": Signed(float), "box": [Signed(int)], "roll_deg": Signed(float)}],
    },
    "faces cost": {
        "source": str,
        "frames": int,
        "films": {"*": dict.fromkeys(("p50_ms", "p99_ms", "mean_ms", "first_ms", "looks", "windows", "found"), float)},
        "fit": dict.fromkeys(("frame_ms", "look_ms", "thousand_windows_ms", "r2"), Signed(float)),
        "nobody_of_one_face": float | None,
    },
    "cue streams": {"noise": {"*": {"*": float}}, "onset_s": {"*": float}, "gone_s": {"*": float}, "bridged": float},
    "cue sequences": {
        "split": str,
        "rows": int,
        **dict.fromkeys(("coverage", "right", "raw_right"), float),
        "lively": _RIGHT,
    },
    "cue clips": {
        "clips": [
            {
                "clip": str,
                "seconds": float,
                "shown": float,
                **dict.fromkeys(("raw_changes", "word_changes", "cue_changes"), int),
                **dict.fromkeys(("labelled", "raw_right", "covered", "right"), int),
            }
        ],
        "sums": {"*": _CUE_CLIPS},
    },
    "cue people": {
        "people": [
            {
                "group": str,
                "people": int,
                "own_neutral": bool,
                **dict.fromkeys(("coverage", "right", "neutral", "as_upset", "smile", "upset"), float | None),
            }
        ]
    },
    "cue tune": {
        "limits": {"*": float},
        "settings": {"*": {"*": float}},
        "points": [{"sensitivity": str, **_CHOSEN, "onset_s": float | None}],
        "curve": [{"caution": Signed(float), **_CHOSEN}],
        "buys": [{"setting": str, "value": float | str, **_CHOSEN}],
        "over": {"*": float | None},
        "held_out": Maybe({"*": _CUE_CLIPS}),
    },
    "cue blocked": dict.fromkeys(("seconds", "fps", "fps_blocked", "ratio"), float),
}

REPORT: _Spec = {
    "version": int,
    "task": str,
    "date": str,
    "void": [str],
    "settings": Maybe({"*": Signed(bool | float | str)}),
    "result": {},
    "figures": {"*": {"better": str, "median": float, "rounds": [float]}},
    "definitions": {"*": str},
    "model": Maybe({"sha256": str, "runtime": str | None, "delegate": str | None, "threads": int | None}),
    "provenance": {
        "machine": {"cpu": str, "architecture": str, "cores": int, "memory_mb": int | None, "board": str | None},
        "before": Maybe(_STATE),
        "after": Maybe(_STATE),
        "others": float | None,
        "throttled_meanwhile": str | None,
        "power": Maybe({"sensor": str, "samples": int, "mean_w": float, "most_w": float}),
        "software": {
            "os": str,
            "kernel": str,
            "python": str,
            "opencv": str,
            "numpy": str,
            "commit": str | None,
        },
    },
}


def complaints(report: object) -> list[str]:
    """Return everything in which a parsed report differs from the schema; empty where nothing does."""
    if not isinstance(report, dict):
        return differences(report, REPORT)
    if report.get("version") != VERSION:
        return [f"report.version is {report.get('version')!r}; this version reads {VERSION}"]
    task = report.get("task")
    if not isinstance(task, str) or task not in RESULTS:
        return [f"report.task is {task!r}; known are {', '.join(RESULTS)}"]
    return differences(report, {**REPORT, "result": RESULTS[task]})


def differences(value: object, spec: Any, where: str = "report", *, signed: bool = False) -> list[str]:
    """Return everything in which a parsed value differs from a part of the schema; empty where nothing does."""
    if isinstance(spec, Maybe):
        return [] if value is None else differences(value, spec.spec, where)
    if isinstance(spec, Signed):
        return differences(value, spec.spec, where, signed=True)
    if isinstance(spec, OrMissing):
        missing = isinstance(value, dict) and "missing" in value
        return differences(value, {"missing": str} if missing else spec.spec, where)
    if isinstance(spec, Mapping):
        if not isinstance(value, dict):
            return [f"{where} is {value!r}; it must be an object"]
        if "*" in spec:
            spec = {**dict.fromkeys(value, spec["*"]), **{key: part for key, part in spec.items() if key != "*"}}
        lines = [f"{where}.{key} is missing" for key in spec if key not in value]
        lines += [f"{where}.{key} is not in the schema" for key in value if key not in spec]
        for key in spec.keys() & value.keys():
            lines += differences(value[key], spec[key], f"{where}.{key}")
        return sorted(lines)
    if isinstance(spec, list):
        if not isinstance(value, list):
            return [f"{where} is {value!r}; it must be a list"]
        return [line for index, item in enumerate(value) for line in differences(item, spec[0], f"{where}[{index}]")]
    kinds = spec.__args__ if isinstance(spec, UnionType) else (spec,)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if type(value) not in kinds and not (float in kinds and number):
        names = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
        return [f"{where} is {value!r}; it must be {names}"]
    if number and not (math.isfinite(value) and (signed or value >= 0)):  # type: ignore[arg-type, operator]
        return [f"{where} is {value!r}"]
    return []
