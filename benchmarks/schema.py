"""What a report of cuelens-bench holds: every key with its type; units are the ends of the names.

A change of a key's meaning, unit or name counts VERSION up; a reader checks it before anything else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any

VERSION = 1

_Spec = Mapping[str, Any]

_PERCENTILES: _Spec = {"p50": float, "p95": float, "p99": float}
_STATE: _Spec = {"temperature_c": float | None, "frequency_mhz": float | None, "throttled": str | None}
_PEER_ROUND: _Spec = {"ours_cpu_ms_per_frame": float, "peer_cpu_ms_per_frame": float}

PEER: _Spec = {
    "version": str,
    "python": str,
    "opencv": str,
    "numpy": str,
    "runtime": str,
    "frames": int,
    "frames_with_face": int,
    "faces": int,
    "peak_rss_mb": float,
    "cpu_ms_per_frame": float,
    "ours_cpu_ms_per_frame": float,
    "ratio": float,
    "rounds": [_PEER_ROUND],
}

REPORT: _Spec = {
    "schema": int,
    "date": str,
    "source": str,
    "frames": int,
    "frames_with_face": int,
    "dropped": int,
    "width": int,
    "height": int,
    "repeat": int,
    "warmup_frames": int,
    "pace": str,
    "fps": float,
    "stages_ms": {
        "capture": _PERCENTILES,
        "find": _PERCENTILES,
        "read": _PERCENTILES,
        "cue": _PERCENTILES,
        "whole": _PERCENTILES,
    },
    "cpu_ms_per_frame": float,
    "peak_rss_mb": float,
    "model_load_ms": float,
    "definitions": {
        "capture": str,
        "find": str,
        "read": str,
        "cue": str,
        "whole": str,
        "cpu_ms_per_frame": str,
        "model_load_ms": str,
        "peak_rss_mb": str,
        "percentiles": str,
    },
    "model": {"sha256": str, "runtime": str, "delegate": str, "threads": int},
    "machine": {
        "cpu": str,
        "architecture": str,
        "cores": int,
        "board": str | None,
        "governor": str | None,
        "load_average": [float],
        "before": _STATE,
        "after": _STATE,
    },
    "software": {
        "os": str,
        "kernel": str,
        "python": str,
        "opencv": str,
        "numpy": str,
        "commit": str | None,
    },
    "peers": {"*": PEER},
}


def complaints(value: object, spec: Any = REPORT, where: str = "report") -> list[str]:
    """Say everything in which a parsed report differs from the schema; empty where nothing does."""
    if isinstance(spec, Mapping):
        if not isinstance(value, dict):
            return [f"{where} is {value!r}; it must be an object"]
        if "*" in spec:
            return [line for key, item in value.items() for line in complaints(item, spec["*"], f"{where}.{key}")]
        lines = [f"{where}.{key} is missing" for key in spec if key not in value]
        lines += [f"{where}.{key} is not in the schema" for key in value if key not in spec]
        for key in spec.keys() & value.keys():
            lines += complaints(value[key], spec[key], f"{where}.{key}")
        return sorted(lines)
    if isinstance(spec, list):
        if not isinstance(value, list):
            return [f"{where} is {value!r}; it must be a list"]
        return [line for index, item in enumerate(value) for line in complaints(item, spec[0], f"{where}[{index}]")]
    kinds = spec.__args__ if isinstance(spec, UnionType) else (spec,)
    if float in kinds and type(value) in (int, float):
        number = float(value)  # type: ignore[arg-type]  # checked in the line above
        return [] if math.isfinite(number) and (number >= 0 or where.endswith("_c")) else [f"{where} is {value!r}"]
    if type(value) not in kinds:
        names = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
        return [f"{where} is {value!r}; it must be {names}"]
    if where == "report.schema" and value != VERSION:
        return [f"{where} is {value!r}; this version reads {VERSION}"]
    return [f"{where} is {value!r}"] if isinstance(value, int) and value < 0 else []
