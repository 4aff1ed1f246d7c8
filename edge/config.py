"""One TOML file to typed settings; a mistake is named with its line and the nearest valid key."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from edge.errors import SettingsInvalid

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FaceSettings:
    """How faces are looked for; each field's metadata says the valid range."""

    finder: str = field(default="haar", metadata={"choices": ("haar",)})
    """What proposes new faces: a name of edge.finders."""

    least_side: int = field(default=32, metadata={"range": (20, 1000)})
    """Faces narrower than this in the frame are not looked for: each step down costs more than all before it."""

    fov_deg: float = field(default=62.2, metadata={"range": (10.0, 170.0)})
    """The camera's horizontal field of view, for distances: 62.2 Camera Module 2, 66 Module 3 (data sheets)."""

    budget: int = field(default=4000, metadata={"range": (100, 1_000_000)})
    """Windows of a full scan that are tried in a frame, fewer while a face is there: the rest waits."""

    burst: int = field(default=24_000, metadata={"range": (100, 10_000_000)})
    """Windows that may be saved up: what the first frame, or one after quiet frames, may cost at most."""

    reads: int = field(default=1, metadata={"range": (1, 20)})
    """Faces read in a frame, at most: the partner when it is due, the others in turns between."""

    read_interval: float = field(default=0.05, metadata={"range": (0.0, 1.0)})
    """Seconds between readings of a face: a fifth of the filter's memory, and reading is half of a frame's cost."""

    admit: float = field(default=0.5, metadata={"range": (-10.0, 10.0)})
    """Log odds that the verifier must give a proposal for it to be followed at all."""

    confirm: float = field(default=6.0, metadata={"range": (-10.0, 100.0)})
    """Log odds, summed over its looks, from which a face counts: a clear one at once, a doubtful one after some frames.

    The sequential test of Wald (Annals of Mathematical Statistics 16, 1945); false faces are transient.
    """

    coast: float = field(default=1.5, metadata={"range": (0.0, 5.0)})
    """Seconds for which a lost face is looked for where it should be: a hand, a blink of the finder."""

    remember: float = field(default=8.0, metadata={"range": (0.0, 600.0)})
    """Seconds for which a face that left gets its id back when it returns looking the same."""


@dataclass(frozen=True, slots=True)
class CueSettings:
    """When the cue changes; seconds on the capture clock, probabilities 0 to 1."""

    filter: float = field(default=0.25, metadata={"range": (0.0, 10.0)})
    """Time constant of the probability filter: long against frames, short against expressions."""

    enter: float = field(default=0.45, metadata={"range": (0.0, 1.0)})
    """An expression is shown from this evidence on: its probability's way from chance (0) to certain (1).

    Chance counts the classes behind a word: an even vote of seven gives `upset` 4/7, and is no evidence.
    """

    leave: float = field(default=0.30, metadata={"range": (0.0, 1.0)})
    """A shown expression is dropped below this: the gap to `enter` is the hysteresis."""

    margin: float = field(default=0.10, metadata={"range": (0.0, 1.0)})
    """An expression is only shown when its evidence leads the next by this much."""

    hold: float = field(default=0.6, metadata={"range": (0.0, 10.0)})
    """A cue stays at least this long: shorter ones cannot be read off a display."""

    vanish: float = field(default=0.5, metadata={"range": (0.0, 10.0)})
    """A face not read for this long is gone: the cue goes dark, whatever was shown."""

    least_quality: float = field(default=0.4, metadata={"range": (0.0, 1.0)})
    """Faces of less quality (small, blurred, dim, far turned) are never read as an expression."""

    facing: float = field(default=0.5, metadata={"range": (0.0, 1.0)})
    """A face whose halves are less alike is turned away: the partner is the nearest one that is not."""

    partner_lead: float = field(default=1.3, metadata={"range": (1.0, 10.0)})
    """Another face becomes the partner when this many times nearer than the present one."""

    partner_hold: float = field(default=1.0, metadata={"range": (0.0, 30.0)})
    """... and only after leading for this long."""

    vocabulary: str = field(default="small", metadata={"choices": ("small", "full")})
    """`small`: smile, surprise, upset, neutral. `full`: the model's own classes."""

    @property
    def delay(self) -> float:
        """Seconds after which a steady, clear expression is shown at the latest: a hold, then the filter's 95 %."""
        return max(self.hold, self.vanish) + 3 * self.filter


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set, with what is used where nothing is said."""

    source: str = "picamera"
    sinks: tuple[str, ...] = ("terminal",)
    pace: str = field(default="live", metadata={"choices": ("live", "fast")})
    model: str = ""  # a path; empty: the shipped model
    threads: int = field(default=1, metadata={"range": (1, 8)})
    faces: FaceSettings = field(default_factory=FaceSettings)
    cue: CueSettings = field(default_factory=CueSettings)


def load_settings(path: Path) -> Settings:
    """Read the device's TOML file; raises what `read_settings` raises."""
    return read_settings(path, Settings)


def read_settings(path: Path, settings_type: type[T]) -> T:
    """Read a TOML file into a dataclass whose fields say what is valid, its tables into dataclasses of its own.

    Raises SettingsInvalid with file, line, value seen and valid values.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise SettingsInvalid(f"{path}: {error.strerror}; give a settings file that can be read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path}: not TOML: {error}") from error
    settings: T = _build(settings_type, table, path, text, "")
    return settings


def check(settings_type: type, name: str, value: object) -> str | None:
    """Say what is wrong with a setting's value, None when nothing is."""
    rule = next(item for item in fields(settings_type) if item.name == name).metadata
    if "range" in rule and not rule["range"][0] <= value <= rule["range"][1]:
        low, high = rule["range"]
        return f"valid are {low} to {high}"
    if "choices" in rule and value not in rule["choices"]:
        return f"valid are {', '.join(rule['choices'])}"
    return None


def _build(settings_type: type[Any], table: dict[str, Any], path: Path, text: str, section: str) -> Any:
    hints = get_type_hints(settings_type)
    values: dict[str, Any] = {}
    for key, value in table.items():
        where = f"{path}:{_line_of(text, section, key)}"
        full = f"{section}.{key}" if section else key
        if key not in hints:
            import difflib

            near = difflib.get_close_matches(key, hints, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(sorted(hints))}"
            raise SettingsInvalid(f"{where}: unknown setting {full!r}; {hint}")
        kind = hints[key]
        if isinstance(kind, type) and is_dataclass(kind):
            if not isinstance(value, dict):
                raise SettingsInvalid(f"{where}: {full} is {value!r}; it must be a table: [{full}]")
            values[key] = _build(kind, value, path, text, full)
            continue
        values[key] = _convert(kind, value, f"{where}: {full}")
        complaint = check(settings_type, key, values[key])
        if complaint:
            raise SettingsInvalid(f"{where}: {full} is {value!r}; {complaint}")
    return settings_type(**values)


def _convert(kind: Any, value: Any, where: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if kind == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise SettingsInvalid(f"{where} is {value!r}; it must be a list of strings")
    if type(value) is not kind:
        raise SettingsInvalid(f"{where} is {value!r}; it must be of type {kind.__name__}")
    return value


def _line_of(text: str, section: str, key: str) -> int:
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            current = header[1].strip()
            if current == (f"{section}.{key}" if section else key):
                return number
        elif current == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return number
    return 1
