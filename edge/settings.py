"""What can be set: values, ranges and their documentation; edge.settings_file reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, TypeVar

from edge.locale import LANGUAGES

T = TypeVar("T")

# A setting is a field with a default, a sentence below it and in its metadata what is valid (`range` or `choices`), its
# `unit`, and the audience: everybody, or those alone who tune how Cuelens sees and decides.
TUNING = {"audience": "tuning"}
SECRET = {"secret": True}  # of a setting whose value no error quotes: it logs in, or names a person or a home
LOGIN = {"secret": True, "login": True}  # of one that is printed nowhere at all
LIVE = {"live": True}  # of a text that may be changed while it runs, in a table that may

# Settings of earlier versions, by table and key, and why each has gone: a file that still has one is valid.
GONE = {("faces", "finder"): "new faces are proposed in one way"}


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """How the picture of a camera, a film or a stream is turned upright; fixed while a run lasts."""

    rotate_deg: int = field(default=0, metadata={"choices": (0, 90, 180, 270), "unit": "degrees"})
    """Turns the picture clockwise: 180 for a camera that is mounted upside down."""

    mirror: bool = False
    """Exchanges left and right, after turning: for a camera that looks into a mirror."""


@dataclass(frozen=True, slots=True)
class FaceSettings:
    """How faces are found and followed."""

    least_side: int = field(default=32, metadata=TUNING | {"range": (20, 1000), "unit": "px"})
    """Width in pixels of the frame below which faces are not searched: each step down costs more than all before it."""

    fov_deg: float = field(default=62.2, metadata={"range": (10.0, 170.0), "unit": "degrees"})
    """The camera's field of view across its unturned width, from which distances are computed: 62.2 for Camera Module
    2, 66 for Module 3 (their data sheets).
    """

    budget: int = field(default=4000, metadata=TUNING | {"range": (100, 1_000_000)})
    """Windows of a full scan that a frame searches, fewer while a face is there; the rest waits for later frames."""

    burst: int = field(default=80_000, metadata=TUNING | {"range": (100, 10_000_000)})
    """Windows that may be saved up: the most that the first frame, or one after quiet frames, may search."""

    reads: int = field(default=1, metadata=TUNING | {"range": (1, 20)})
    """Faces that are read in a frame, at most: the partner when it is due, the others in turns between."""

    read_interval: float = field(default=0.05, metadata=TUNING | {"range": (0.0, 1.0), "unit": "s"})
    """Seconds between two readings of a face. The default is less than half of the cue filter's time
    constant; reading is half of a frame's cost.
    """

    admit: float = field(default=0.5, metadata=TUNING | {"range": (-10.0, 10.0), "unit": "log odds"})
    """Log odds that the verifier must give a proposal before the face is followed."""

    confirm: float = field(default=5.0, metadata=TUNING | {"range": (-10.0, 100.0), "unit": "log odds"})
    """Log odds, summed over its looks, from which a face counts: a clear one at once, a doubtful one after some frames.

    This is the sequential test of Wald (Annals of Mathematical Statistics 16, 1945); false faces are transient.
    """

    coast: float = field(default=1.5, metadata=TUNING | {"range": (0.0, 5.0), "unit": "s"})
    """Seconds for which a lost face is searched where it should be: a hand in front of it, or a miss of the finder."""

    remember: float = field(default=8.0, metadata=TUNING | {"range": (0.0, 600.0), "unit": "s"})
    """Seconds for which a face that left gets its id back when it returns and looks the same."""


@dataclass(frozen=True, slots=True)
class CueSettings:
    """When the cue changes; seconds on the capture clock, probabilities 0 to 1."""

    sensitivity: str = field(default="normal", metadata={"choices": ("calm", "normal", "quick")})
    """Moves several settings for tuning together: `calm` is slower and surer, `quick` is faster and less sure. One
    that is set itself stays as set.
    """

    filter: float = field(default=0.11, metadata=TUNING | {"range": (0.0, 10.0), "unit": "s"})
    """Seconds, time constant of the probability filter: long against frames, short against expressions."""

    grain: float = field(default=0.15, metadata=TUNING | {"range": (0.0, 1.0), "unit": "s"})
    """Seconds of readings that are taken together when their contradiction is measured."""

    memory: float = field(default=4.0, metadata=TUNING | {"range": (0.0, 60.0), "unit": "s"})
    """Seconds over which the contradiction of readings is remembered."""

    doubt: float = field(default=3.0, metadata=TUNING | {"range": (0.0, 10.0)})
    """Standard errors of the filtered value that are taken off it: readings that flicker must be clearer."""

    enter: float = field(default=0.7, metadata=TUNING | {"range": (0.0, 1.0)})
    """Filtered probability from which an expression is shown; an even vote of the seven classes gives `upset` 4/7."""

    leave: float = field(default=0.55, metadata=TUNING | {"range": (0.0, 1.0)})
    """Filtered probability below which a shown expression fades: the gap to `enter` is the hysteresis."""

    margin: float = field(default=0.58, metadata=TUNING | {"range": (0.0, 1.0)})
    """Lead over the next expression that a probability needs before the expression is shown."""

    trace: float = field(default=0.05, metadata=TUNING | {"range": (0.0, 1.0)})
    """Filtered probability of a smile above which `neutral` does not begin: most faces that are wrongly read as neutral
    smile faintly.
    """

    onset: float = field(default=0.05, metadata=TUNING | {"range": (0.0, 5.0), "unit": "s"})
    """Seconds for which an expression must be clear before it is shown: one frame is not enough."""

    decay: float = field(default=0.8, metadata=TUNING | {"range": (0.0, 5.0), "unit": "s"})
    """Seconds for which a shown expression may be unclear before it is dropped: a blink, a spoken word."""

    bridge: float = field(default=3.0, metadata=TUNING | {"range": (0.0, 30.0), "unit": "s"})
    """Seconds, time constant of the filter that bridges speech: long against syllables, started again at a clear
    change.
    """

    bridge_doubt: float = field(default=2.0, metadata=TUNING | {"range": (0.0, 10.0)})
    """Standard errors of the bridging filter's value that are taken off it."""

    bridge_enter: float = field(default=0.7, metadata=TUNING | {"range": (0.0, 1.0)})
    """Probability of the bridging filter from which an expression is also shown, though the mouth speaks.

    At least `enter` less a quarter of what that leaves to 1, and only for `bridge_reach` seconds after readings that
    `enter`, `margin` and `trace` allow.
    """

    bridge_leave: float = field(default=0.4, metadata=TUNING | {"range": (0.0, 1.0)})
    """Probability of the bridging filter above which a shown expression stays, while it is the likeliest there."""

    bridge_margin: float = field(default=0.3, metadata=TUNING | {"range": (0.0, 1.0)})
    """Lead over the next expression that is needed in the bridging filter."""

    bridge_reach: float = field(default=1.5, metadata=TUNING | {"range": (0.0, 30.0), "unit": "s"})
    """Seconds after which an expression that the quick filter is no longer clear about is no longer bridged."""

    bridge_turn: float = field(default=1.2, metadata=TUNING | {"range": (0.1, 30.0), "unit": "s"})
    """Seconds for which another expression must be the quick filter's likeliest, however faint, before the bridging
    filter starts again from it: longer than a syllable.
    """

    life: float = field(default=0.25, metadata=TUNING | {"range": (0.0, 1.0)})
    """How far the shares of expressions move from the training data's (0) to a conversation's (1).

    A conversation is assumed to be neutral in 60 % of its seconds, a smile in 25, upset in 10 and surprise in 5.
    """

    rest: float = field(default=10.0, metadata=TUNING | {"range": (0.1, 600.0), "unit": "s"})
    """Seconds, time constant with which a person's own neutral face is learnt."""

    rest_most: float = field(default=1.5, metadata=TUNING | {"range": (0.0, 5.0), "unit": "log odds"})
    """Log odds that a person's own neutral face may take off `upset`; with 0 everybody is judged alike."""

    restless: float = field(default=0.0, metadata=TUNING | {"range": (0.0, 10.0), "unit": "s"})
    """Seconds by which the onset grows for each short expression shown lately, as routers damp routes that flap (RFC
    2439, 1998).
    """

    lasting: float = field(default=1.5, metadata=TUNING | {"range": (0.1, 60.0), "unit": "s"})
    """Seconds from which an expression is not short; the shorter it is, the more it counts as short."""

    calming: float = field(default=40.0, metadata=TUNING | {"range": (0.1, 600.0), "unit": "s"})
    """Seconds, time constant with which short expressions are forgotten."""

    lively: float = field(default=1.0, metadata=TUNING | {"range": (0.0, 10.0)})
    """Number of short expressions that cost nothing: one smile that passes is no flicker."""

    hold: float = field(default=0.6, metadata=TUNING | {"range": (0.0, 10.0), "unit": "s"})
    """Seconds for which an expression stays at least: shorter ones cannot be read off a display."""

    vanish: float = field(default=0.5, metadata=TUNING | {"range": (0.0, 10.0), "unit": "s"})
    """Seconds within which the cue of a face that is gone disappears, whatever was shown."""

    least_quality: float = field(default=0.3, metadata=TUNING | {"range": (0.0, 1.0)})
    """Quality of a face (size, sharpness, light, turn) below which its expression is not read."""

    away: float = field(default=0.02, metadata=TUNING | {"range": (0.0, 1.0)})
    """Likeness of a face's halves below which it is turned away too far to be read: the default excludes those without
    any likeness.

    On PublicTest the words for those are right as often as for others, but for two points of a hundred.
    """

    near_m: float = field(default=1.2, metadata=TUNING | {"range": (0.1, 100.0), "unit": "m"})
    """Metres up to which a partner is near: Hall's personal distance (The Hidden Dimension, 1966)."""

    far_m: float = field(default=3.6, metadata=TUNING | {"range": (0.1, 100.0), "unit": "m"})
    """Metres from which a partner is far: beyond Hall's social distance."""

    ahead_deg: float = field(default=10.0, metadata=TUNING | {"range": (0.0, 90.0), "unit": "degrees"})
    """Degrees to either side within which a partner is ahead."""

    facing: float = field(default=0.5, metadata=TUNING | {"range": (0.0, 1.0)})
    """Likeness of a face's halves below which it is turned away; the partner is the nearest face that is not."""

    partner_lead: float = field(default=1.3, metadata=TUNING | {"range": (1.0, 10.0)})
    """Factor by which another face must be nearer than the partner to become the partner."""

    partner_hold: float = field(default=1.0, metadata=TUNING | {"range": (0.0, 30.0), "unit": "s"})
    """Seconds for which it must be that much nearer."""

    vocabulary: str = field(default="small", metadata={"choices": ("small", "full")})
    """`small` is smile, surprise, upset and neutral; `full` is the model's own classes."""

    @property
    def delay(self) -> float:
        """Seconds after which a steady, clear expression is shown: a hold, the filter's 95 %, the onset."""
        return max(self.hold, self.vanish, self.decay) + 3 * self.filter + self.onset


# Points of the curve of `cuelens-bench cue tune`, beside the defaults above, `normal`'s: both filters surer, or less
# sure, each at a pace of its own.
SENSITIVITIES: dict[str, dict[str, float]] = {
    "calm": {"enter": 0.75, "bridge_enter": 0.75, "onset": 0.15, "hold": 1.0},
    "normal": {},
    "quick": {"enter": 0.6, "bridge_enter": 0.6, "onset": 0.0, "hold": 0.4, "decay": 0.3},
}


@dataclass(frozen=True, slots=True)
class LookSettings:
    """How the cue looks and reads on every display."""

    language: str = field(default="en", metadata={"choices": LANGUAGES})
    """The language of the words on displays, of the page and of the voice."""

    words: bool = True
    """Shows the cue's word below its sign; off, the sign is alone."""

    arrow: bool = False
    """Shows a small arrow to the side where the partner is, when that is not ahead."""

    presence: bool = True
    """Shows the outline of a face until it is read; off, the display stays dark until then."""

    neutral: bool = False
    """Shows a sign for a neutral face too; off, a neutral face leaves the display dark."""

    mark: bool = False
    """Shows a small mark while there is nothing else to show: a display that is off, or broken, has none."""


@dataclass(frozen=True, slots=True)
class PaceSettings:
    """When a live run slows down, step by step, before heat, power or memory stop the board."""

    slowest: int = field(default=6, metadata={"range": (0, 6)})
    """Step of edge.runtime.throttle to which a run may slow down; 0 is never."""

    hot_c: float = field(default=80.0, metadata=TUNING | {"range": (30.0, 120.0), "unit": "degrees Celsius"})
    """Degrees Celsius of the processor from which a run slows down: from 80 on, a Raspberry Pi's firmware slows the
    processor.
    """

    low_memory_mb: float = field(default=50.0, metadata=TUNING | {"range": (0.0, 10_000.0), "unit": "MB"})
    """MB (10^6 bytes) left for programs below which a run slows down."""

    low_battery: float = field(default=15.0, metadata={"range": (0.0, 100.0), "unit": "%"})
    """Per cent of a battery that the kernel knows below which a run slows down while the battery discharges."""


@dataclass(frozen=True, slots=True)
class PinSettings:
    """Lines of the GPIO header by their BCM numbers, -1 for none; fixed while a run lasts."""

    chip: str = ""
    """GPIO chip, such as /dev/gpiochip0; empty is the Raspberry Pi's header; `mock:FOLDER` takes the files of a folder
    for the lines.
    """

    pause: int = field(default=-1, metadata={"range": (-1, 1023)})
    """Line of a push button to ground: a press pauses, or resumes."""

    light: int = field(default=-1, metadata={"range": (-1, 1023)})
    """Line of the camera's light, which is lit while the line is high: exactly while the camera is open."""

    light_sense: int = field(default=-1, metadata={"range": (-1, 1023)})
    """Line of an input that is high only while the light draws current; without one, a burnt-out light is not noticed.
    """


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set, with its default."""

    source: str = "picamera"
    """Where frames come from, as `v4l2:/dev/video2`; see [Cameras, films and pictures](sources.md)."""

    sinks: tuple[str, ...] = ("terminal",)
    """Where the cue goes; see [Displays and other outputs](sinks.md)."""

    pace: str = field(default="live", metadata={"choices": ("live", "fast")})
    """`live` drops frames that are late, `fast` processes every frame of a recording."""

    model: str = ""
    """A .tflite file with its contract beside it; empty is the shipped one."""

    threads: int = field(default=1, metadata=TUNING | {"range": (1, 8)})
    """Threads of the interpreter; more than one is rarely faster."""

    camera: CameraSettings = field(default_factory=CameraSettings)
    faces: FaceSettings = field(default_factory=FaceSettings)
    cue: CueSettings = field(default_factory=CueSettings)
    look: LookSettings = field(default_factory=LookSettings)
    slow: PaceSettings = field(default_factory=PaceSettings)
    pins: PinSettings = field(default_factory=PinSettings)
    own: Mapping[str, Any] = field(default_factory=dict)  # of each sink that has some other than the defaults

    def of(self, kind: type[T]) -> T:
        """Return a sink's own settings, which are of that type."""
        return next((table for table in self.own.values() if type(table) is kind), None) or kind()


def with_sensitivity(settings: CueSettings, sensitivity: str) -> CueSettings:
    """Return the settings with what the sensitivity moves at its value for that one."""
    normal = {key: getattr(CueSettings(), key) for values in SENSITIVITIES.values() for key in values}
    return with_settings(settings, {**normal, **SENSITIVITIES[sensitivity], "sensitivity": sensitivity})


def with_settings(settings: T, values: Mapping[str, Any]) -> T:
    """Return settings with some fields at other values, which must be of their types."""
    changed: T = replace(settings, **values)  # type: ignore[type-var]
    return changed


def check(settings_type: type, name: str, value: object) -> str | None:
    """Return what is wrong with a setting's value, None when nothing is."""
    rule = next(item for item in fields(settings_type) if item.name == name).metadata
    if "range" in rule and not rule["range"][0] <= value <= rule["range"][1]:
        low, high = rule["range"]
        meant = rule.get("meant", {}).get(value)
        hint = "" if meant is None else f"; {value:#x} is printed on many boards, and is {meant:#x} here"
        return f"valid are {low} to {high}{_unit(rule)}{hint}"
    if "choices" in rule and value not in rule["choices"]:
        return f"valid are {', '.join(map(str, rule['choices']))}{_unit(rule)}"
    return None


def _unit(rule: Mapping[str, Any]) -> str:
    return f" {rule['unit']}" if "unit" in rule else ""


def is_changeable(item: Field[Any], value: object) -> bool:
    """Return whether a setting of a table that is live may be changed while it runs.

    A switch, a number and a choice may; a text, which can be a path, an address or a secret, where it says LIVE alone.
    """
    return isinstance(value, bool | int | float) or "choices" in item.metadata or "live" in item.metadata


def is_for_tuning(item: Field[Any]) -> bool:
    """Return whether nobody needs a setting who uses Cuelens, but those who tune how it sees and decides."""
    return item.metadata.get("audience") == "tuning"
