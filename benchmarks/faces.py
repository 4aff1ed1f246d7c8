"""`cuelens-bench-faces`: how well and how dearly faces are found, beside plain Haar: clips, light, turns, stills.

Measures are pure functions of boxes or of numbers; what runs a finder over pictures is apart from them.
"""

from __future__ import annotations

import argparse
import csv
import functools
import io
import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.films import CROWD, FPS, MOST_FACES, SIZES, draw_crowd, read_frames, resize, sway
from benchmarks.result import add_output, make_folder, table, write_result
from edge.command import command
from edge.config import FaceSettings
from edge.errors import CuelensError, DataColumnMissing, DataMissing, RuntimeMissing, SettingsInvalid, SourceEmpty
from edge.faces import FaceFinder
from edge.files import replace_file
from edge.finders.haar import load_cascade
from edge.health import percentile
from edge.model import load_interpreter, models_folder, read_model
from edge.quiet import tame_opencv
from edge.sources import open_source
from edge.sources.file import PICTURES, load_picture
from edge.stills import StillFinder
from edge.types import Box, Face, Gray
from edge.verifier import read_contract
from edge.views import Pyramid, Spot, overlap, wrap_deg

T = TypeVar("T")
R = TypeVar("R")
Seen = tuple[float, Sequence[tuple[int, Box]]]  # t of a frame, and the ids and boxes in it, nearest first

EYES_SIDE = 200  # pixels: a face is made so wide before its eyes are looked for
EYES_SHARE, EYES_APART = 0.6, 0.25  # of the face's height, from the top; of its side
LARGEST_OWN_DEG = 12.0  # roll of a face that is called upright
ANGLES_DEG = range(-180, 180, 20)
SURROUNDINGS = 2.0  # faces: the least side of a turned picture
METHODS = {"plain": "plain Haar", "still": "one picture", "film": "30 frames"}
FILM_FRAMES = 30
OFF, NARROWEST, WIDEST = 0.5, 0.6, 1.6  # of the true face's side: how far from it a box may be, and how wide
LEVEL_DEG = 10.0  # roll error up to which a face is cut out upright
LEAST_WIDTH = 60.0  # pixels, in clips shrunk to a width of 640: faces that are turned
SAME_PLACE, LOST_S = 0.3, 2.0  # intersection over union; seconds for which a lost face's place is its own
WARMUP_FRAMES, KEPT_FRAMES = 60, 150
TILE, TILES = 160, 8  # pixels; a row of the contact sheet
COLOURS = ("#4477aa", "#ddaa33", "#aa3377")  # told apart by the colour-blind, and in gray
DEFINITIONS = {
    "plain": "OpenCV's frontal cascade on the whole frame: scale step 1.1, 5 neighbours, faces from 30 pixels",
    "still": "edge.stills.StillFinder, as `cuelens faces` does",
    "film": f"edge.faces.FaceFinder, found in the last of {FILM_FRAMES} equal frames at {FPS:g} a second",
    "turned": "frames in which a stricter Haar finds one face and in it two eyes: the easy ones",
    "found": f"a box whose middle is within {OFF} sides of the true face's, {NARROWEST} to {WIDEST} times as wide",
    "level": f"share of the found whose roll is within {LEVEL_DEG:g} degrees of what the eyes tell",
    "rate": "share of the frames with any face, true or false; worse: below plain Haar's",
    "switches": f"a face in its place with another id, from frame to frame or within {LOST_S:g} s of being lost; "
    "of clips of one face: changes of the nearest face's id",
    "ms": f"CPU of the calling thread in FaceFinder.find after {WARMUP_FRAMES} frames of warm-up, nearest rank",
    "fit": "least squares over all frames of drawn faces: ms of a frame, of a look, of a thousand windows scanned",
}


@dataclass(frozen=True, slots=True)
class Clip:
    """A row of labels.csv; `face_width` in pixels of the clip shrunk to a width of at most 640."""

    path: Path
    n_faces: int
    face_width: float


@dataclass(frozen=True, slots=True)
class Turned:
    """A turned frame of a clip: each method's roll error in degrees, None where it did not find the face."""

    clip: str
    angle_deg: float
    error_deg: Mapping[str, float | None]


def spot_of(box: Box, roll_deg: float = 0.0) -> Spot:
    """Return the square of a box, turned by `roll_deg`."""
    x, y, width, height = box
    return Spot(x + (width - 1) / 2, y + (height - 1) / 2, float(width), roll_deg)


def match(spots: Sequence[Spot], truth: Spot) -> Spot | None:
    """Return the nearest of the spots that are near and alike enough to be the true face; None without one."""

    def off(spot: Spot) -> float:
        return float(np.hypot(spot.cx - truth.cx, spot.cy - truth.cy)) / truth.side

    fitting = (spot for spot in spots if off(spot) <= OFF and NARROWEST <= spot.side / truth.side <= WIDEST)
    return min(fitting, key=off, default=None)


def turn(gray: Gray, face: Spot, angle_deg: float) -> tuple[Gray, Spot]:
    """Turn a frame clockwise about the middle of its face, which comes to the picture's middle; edges are repeated.

    The picture is as large as the frame, or SURROUNDINGS faces where that is more; returns it and the face in it.
    """
    cx, cy = round(face.cx), round(face.cy)
    height, width = (max(side, round(SURROUNDINGS * face.side)) for side in gray.shape)
    matrix = cv2.getRotationMatrix2D((cx, cy), -angle_deg, 1.0)  # OpenCV turns counter-clockwise
    matrix[:, 2] += width // 2 - cx, height // 2 - cy
    turned = cv2.warpAffine(gray, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    truth = Spot(float(width // 2), float(height // 2), face.side, wrap_deg(face.roll_deg + angle_deg))
    return turned.astype(np.uint8, copy=False), truth


def eyes_roll_deg(eyes: Sequence[Box], side: float) -> float | None:
    """Return the roll that exactly two eyes in a face of `side` pixels tell; None where they are no level pair."""
    if len(eyes) != 2:
        return None
    left, right = sorted((spot_of(eye) for eye in eyes), key=lambda eye: eye.cx)
    roll_deg = float(np.rad2deg(np.arctan2(right.cy - left.cy, right.cx - left.cx)))
    return roll_deg if right.cx - left.cx >= EYES_APART * side and abs(roll_deg) < LARGEST_OWN_DEG else None


def tally(rows: Sequence[Turned]) -> dict[str, Any]:
    """Count turned frames: each method's share found, and of those the share level (None without any)."""
    result: dict[str, Any] = {"turned": len(rows)}
    for method in METHODS:
        errors_deg = [error for row in rows if (error := row.error_deg[method]) is not None]
        result[method] = share(len(errors_deg), len(rows))
        if method != "plain":  # which tells no roll
            result[f"{method}_level"] = share(sum(abs(error) <= LEVEL_DEG for error in errors_deg), len(errors_deg))
    return result


def share(part: float, whole: float) -> float | None:
    """Return part of whole, None where there is nothing."""
    return round(part / whole, 4) if whole else None


def nearest_switches(film: Iterable[Seen]) -> int:
    """Count how often the nearest face's id changes from one frame with a face to the next such frame."""
    ids = [faces[0][0] for _, faces in film if faces]
    return sum(a != b for a, b in itertools.pairwise(ids))


def place_switches(film: Iterable[Seen]) -> int:
    """Count how often a face in its place has another id: from frame to frame, or where a lost one was last seen."""
    switches = 0
    last: dict[int, tuple[float, Spot]] = {}
    before: dict[int, Spot] = {}
    for t, faces in film:
        now = {number: spot_of(box) for number, box in faces}
        for number, spot in now.items():
            there = max(before, key=lambda other: overlap(before[other], spot), default=number)
            if there in before and overlap(before[there], spot) > SAME_PLACE:
                switches += there != number
            elif number not in before:
                lost = {
                    other: np.hypot(place.cx - spot.cx, place.cy - spot.cy)
                    for other, (seen, place) in last.items()
                    if t - seen <= LOST_S and (other == number or other not in now)
                }
                nearest = min(lost, key=lost.__getitem__, default=number)
                switches += nearest != number and bool(lost[nearest] <= spot.side)
        last |= {number: (t, spot) for number, spot in now.items()}
        before = now
    return switches


def describe_film(film: Sequence[Seen], plain: Sequence[int] | None, n_faces: int) -> dict[str, Any]:
    """Measure what was found in each frame of a clip; `plain` is how many faces plain Haar found in each, if it ran."""
    frames: dict[int, list[int]] = {}
    for index, (_, faces) in enumerate(film):
        for number, _ in faces:
            frames.setdefault(number, []).append(index)
    with_face = sum(bool(faces) for _, faces in film)
    plain_with_face = None if plain is None else sum(count > 0 for count in plain)
    return {
        "n_faces": n_faces,
        "frames": len(film),
        "with_face": with_face,
        "plain_rate": None if plain_with_face is None else share(plain_with_face, len(film)),
        "rate": share(with_face, len(film)),
        "plain_faces_a_frame": None if plain is None else share(sum(plain), len(film)),
        "faces_a_frame": share(sum(len(faces) for _, faces in film), len(film)),
        "ids": [{"id": n, "first": at[0], "last": at[-1], "frames": len(at)} for n, at in sorted(frames.items())],
        "switches": nearest_switches(film) if n_faces == 1 else place_switches(film),
        "worse": n_faces > 0 and plain_with_face is not None and with_face < plain_with_face,
    }


def describe_cost(rows: npt.NDArray[np.float64]) -> dict[str, float]:
    """Summarise float (frames, 4): CPU ms, looks, windows and faces of each frame, the first ones the warm-up."""
    steady = rows[WARMUP_FRAMES:]
    ms, looks, windows, found = steady.mean(axis=0).tolist()
    p50, p99 = (percentile(steady[:, 0].tolist(), percent) for percent in (50, 99))
    values = {"p50_ms": p50, "p99_ms": p99, "mean_ms": ms, "first_ms": float(rows[0, 0])}
    return {name: round(v, 3) for name, v in (values | {"looks": looks, "windows": windows, "found": found}).items()}


def split_cost(rows: npt.NDArray[np.float64]) -> dict[str, float]:
    """Split the CPU ms of float (frames, 4), as in `describe_cost`, by least squares; `r2` is what that explains."""
    terms = np.column_stack([np.ones(len(rows)), rows[:, 1], rows[:, 2] / 1000])
    parts, *_ = np.linalg.lstsq(terms, rows[:, 0], rcond=None)
    r2 = 1 - np.var(rows[:, 0] - terms @ parts) / max(np.var(rows[:, 0]), 1e-12)
    names = ("frame_ms", "look_ms", "thousand_windows_ms", "r2")
    return {name: round(value, 4) for name, value in zip(names, [*parts.tolist(), float(r2)], strict=True)}


def detect(cascade: str, gray: Gray, neighbours: int, least: int) -> list[Box]:
    """Run a cascade of OpenCV's over a whole picture, for what is at least `least` pixels wide."""
    detector = _load_cascade(f"haarcascade_{cascade}.xml")
    hits = detector.detectMultiScale(gray, scaleFactor=1.1, minNeighbors=neighbours, minSize=(least, least))
    return [(int(x), int(y), int(width), int(height)) for x, y, width, height in hits]


_load_cascade = functools.cache(load_cascade)
find_plain = functools.partial(detect, "frontalface_default", neighbours=5, least=30)


def find_upright(gray: Gray) -> Spot | None:
    """Return a frame's one face and its own small roll, None where it is not sure that there is one and upright."""
    boxes = detect("frontalface_default", gray, neighbours=8, least=60)
    if len(boxes) != 1:
        return None
    x, y, width, height = boxes[0]
    upper = gray[y : y + round(EYES_SHARE * height), x : x + width]
    large = cv2.resize(upper, (EYES_SIDE, round(EYES_SIDE * EYES_SHARE))).astype(np.uint8, copy=False)
    roll_deg = eyes_roll_deg(detect("eye", large, neighbours=5, least=EYES_SIDE // 8), EYES_SIDE)
    return None if roll_deg is None else spot_of(boxes[0], roll_deg)


def find_sure(spec: str, frames: Sequence[Gray]) -> list[tuple[Gray, Spot]]:
    """Return the frames that surely have one upright face, with it; raises SettingsInvalid where none has."""
    sure = [(gray, face) for gray in frames if (face := find_upright(gray)) is not None]
    if not sure:
        raise SettingsInvalid(f"{spec}: no upright face in {len(frames)} frames; give a clip of one large face")
    return sure


@functools.cache
def _still_finder() -> StillFinder:
    return StillFinder(FaceSettings())


def turn_clip(clip: Clip, every: int) -> list[Turned]:
    """Turn sure frames of a clip, at least `every` frames apart, by every angle, and find the face again."""
    rows: list[Turned] = []
    due = 0
    for index, gray in enumerate(read_frames(f"file:{clip.path}")):
        if index < due or (face := find_upright(gray)) is None:
            continue
        due = index + every
        for angle_deg in ANGLES_DEG:
            picture, truth = turn(gray, face, angle_deg)
            finder = FaceFinder(FaceSettings())
            film = [finder.find(picture, number / FPS) for number in range(FILM_FRAMES)]
            faces = {"still": _still_finder().find(picture), "film": film[-1]}
            spots = {name: [spot_of(each.box, each.roll_deg) for each in found] for name, found in faces.items()}
            spots["plain"] = [spot_of(box) for box in find_plain(picture)]
            best = {name: match(found, truth) for name, found in spots.items()}
            error_deg = {
                name: None if it is None else wrap_deg(it.roll_deg - truth.roll_deg) for name, it in best.items()
            }
            rows.append(Turned(clip.path.name, angle_deg, error_deg))
    return rows


def film_clip(clip: Clip, plain: bool) -> dict[str, Any]:
    """Find the faces of a clip's every frame, with plain Haar too if wanted, and measure them."""
    finder = FaceFinder(FaceSettings())
    film: list[Seen] = []
    counts: list[int] = []
    for frame in open_source(f"file:{clip.path}", live=False).frames():
        film.append((frame.t, [(face.id, face.box) for face in finder.find(frame.gray, frame.t)]))
        if plain:
            counts.append(len(find_plain(frame.gray)))
    return {"clip": clip.path.name} | describe_film(film, counts if plain else None, clip.n_faces)


def find_in_file(path: Path) -> list[tuple[Path, Face]]:
    """Find the faces of a picture as `cuelens faces` does, each with the picture's path."""
    return [(path, face) for face in _still_finder().find(load_picture(path))]


def time_film(frames: Iterable[Gray]) -> npt.NDArray[np.float64]:
    """Run a finder over frames; returns float (frames, 4): CPU ms of this thread, looks, windows and faces of each."""
    finder = FaceFinder(FaceSettings())
    rows = []
    for index, gray in enumerate(frames):
        begun = time.thread_time()
        faces = finder.find(gray, index / FPS)
        rows.append((1000 * (time.thread_time() - begun), finder.work.looks, finder.work.windows, len(faces)))
    return np.array(rows, np.float64)


def measure_cost(clip: Path | None, empty: Path | None, count: int) -> dict[str, Any]:
    """Time the finder over `count` frames of each size, number of faces, and of the `empty` clip where given.

    Raises SettingsInvalid without a frame that surely has one upright face, and what the sources raise.
    """
    spec = "demo" if clip is None else f"file:{clip}"
    frames = list(itertools.islice(read_frames(spec), KEPT_FRAMES))
    sure = find_sure(spec, frames)
    films = {f"{width}x{height}": resize(itertools.cycle(sway(frames)), width, height) for width, height in SIZES}
    films |= {f"{faces} faces": draw_crowd(sway(sure), faces) for faces in range(MOST_FACES + 1)}
    if empty is not None:
        scene = list(itertools.islice(read_frames(f"file:{empty}"), KEPT_FRAMES))
        films["nobody"] = resize(itertools.cycle(sway(scene)), *CROWD)
    timed = {
        name: time_film(itertools.islice(film, WARMUP_FRAMES + count))
        for name, film in tqdm(films.items(), unit="film", leave=False, disable=None)
    }
    costs = {name: describe_cost(rows) for name, rows in timed.items()}
    drawn = np.concatenate([timed[f"{faces} faces"][WARMUP_FRAMES:] for faces in range(MOST_FACES + 1)])
    of_one = None if empty is None else share(costs["nobody"]["mean_ms"], costs["640x480"]["mean_ms"])
    return {"source": spec, "frames": count, "films": costs, "fit": split_cost(drawn), "nobody_of_one_face": of_one}


def read_clips(folder: Path, pattern: str) -> list[Clip]:
    """Read labels.csv of a folder of clips; raises DataMissing, DataColumnMissing or SettingsInvalid."""
    path = folder / "labels.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        named = [row for row in rows if fnmatch(row["path"], pattern)]
        clips = [
            Clip(folder / row["path"], int(row["n_faces"]), float(row["median_face_w_at_max640"])) for row in named
        ]
    except OSError as error:
        raise DataMissing(f"{path}: {error.strerror}; give a folder of clips with their labels.csv") from error
    except KeyError as error:
        raise DataColumnMissing(f"{path}: no column {error}; it has {', '.join(rows[0])}") from error
    if not clips:
        raise SettingsInvalid(f"--only {pattern}: none of the {len(rows)} clips of {path} is called so")
    return clips


def spread(task: Callable[[T], R], items: Sequence[T], unit: str) -> list[R]:
    """Do a task for each item in two new processes; returns the results in the items' order."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=tame_opencv) as pool:
        try:
            return list(tqdm(pool.map(task, items), total=len(items), unit=unit, leave=False, disable=None))
        except BrokenExecutor as error:
            raise CuelensError("a measuring process was killed; is there enough memory?") from error


def plot(parts: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw parts side by side: `x`, `lines` (name to values), `axes` (what matplotlib's set takes); returns a PNG.

    Raises RuntimeMissing without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeMissing(
            "matplotlib is not installed here: all but the plot is done; use .venv-host/bin"
        ) from error
    figure = Figure((3 + 4.5 * len(parts), 4.2), dpi=140, layout="constrained")
    for axes, part in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
        for (name, values), colour, marker in zip(part["lines"].items(), COLOURS, "so^", strict=False):
            axes.plot(part["x"], values, color=colour, marker=marker, label=name)
        axes.set(**part["axes"])
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


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


def draw_sheet(fired: Sequence[tuple[Path, Face]]) -> bytes:
    """Draw what fired, upright in its surroundings, with its number and score; returns a PNG."""
    sheet = np.full((-(-len(fired) // TILES) * TILE, TILES * TILE), 255, np.uint8)
    for index, (path, face) in enumerate(fired):
        y, x = (TILE * place for place in divmod(index, TILES))
        view = Pyramid(load_picture(path)).view(spot_of(face.box, face.roll_deg), TILE, 0.5)
        cv2.rectangle(view, (0, 0), (90, 22), 0, -1)
        cv2.putText(
            view, f"{index + 1}: {face.score:+.1f}", (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA
        )
        sheet[y : y + TILE, x : x + TILE] = view
    return bytes(cv2.imencode(".png", sheet)[1])


def run_turned(args: argparse.Namespace) -> dict[str, Any]:
    """Turn the frames of clips with one large face; prints and returns what is found by angle."""
    single = [
        clip for clip in read_clips(args.clips, args.only) if clip.n_faces == 1 and clip.face_width >= LEAST_WIDTH
    ]
    clips = [clip for clip in single if not clip.path.name.startswith("head-pose")]  # whose faces are not upright
    parts = [part for part in spread(functools.partial(turn_clip, every=args.every), clips, "clip") if part]
    rows = [row for part in parts for row in part]
    if not rows:
        raise SourceEmpty(f"{args.clips}: no frame of {len(clips)} clips has one surely upright face; give others")
    result: dict[str, Any] = {
        "every": args.every,
        "by_angle": [{"angle_deg": deg} | tally([row for row in rows if row.angle_deg == deg]) for deg in ANGLES_DEG],
        "within": [
            {"most_deg": deg} | tally([row for row in rows if abs(row.angle_deg) <= deg]) for deg in (30, 60, 90, 180)
        ],
        "by_clip": [{"clip": part[0].clip} | tally(part) for part in parts],
    }
    print(*(table(result[name]) for name in ("by_angle", "within", "by_clip")), sep="\n\n")
    return result


def run_clips(args: argparse.Namespace) -> dict[str, Any]:
    """Find the faces of every frame of clips; prints and returns rates, ids and switches."""
    clips = read_clips(args.clips, args.only)
    result = spread(functools.partial(film_clip, plain=args.plain), clips, "clip")
    print(table([row | {"worse": "WORSE" if row["worse"] else ""} for row in result]))
    for row in (row for row in result if row["n_faces"] > 1):
        ids = (f"{each['id']} from {each['first']} to {each['last']} ({each['frames']})" for each in row["ids"])
        print(f"\n{row['clip']}, each id's frames: {', '.join(ids) or 'none'}")
    return {"clips": result}


def run_stills(args: argparse.Namespace) -> dict[str, Any]:
    """Look for faces in pictures without any; prints and returns what fires, and draws it where wanted."""
    try:
        paths = sorted(path for path in args.images.iterdir() if path.suffix.lower() in PICTURES)
    except OSError as error:
        raise DataMissing(f"{args.images}: {error.strerror}; give a folder of pictures") from error
    if not paths:
        raise SourceEmpty(f"{args.images}: no picture in this folder; pictures end in {', '.join(PICTURES)}")
    fired = [pair for pairs in spread(find_in_file, paths, "picture") for pair in pairs]
    fired.sort(key=lambda pair: -pair[1].score)
    false = [
        {"path": path.name, "score": face.score, "box": face.box, "roll_deg": face.roll_deg} for path, face in fired
    ]
    if false:
        print(table(false))
    pictures = len({path for path, _ in fired})
    print(f"{len(false)} false faces in {pictures} of {len(paths)} pictures")
    if args.out and fired:
        replace_file(args.out / "stills.png", draw_sheet(fired))
    return {"pictures": len(paths), "pictures_with_false": pictures, "false": false}


def run_cost(args: argparse.Namespace) -> dict[str, Any]:
    """Time the finder; prints and returns CPU ms by frame size and by faces."""
    result = measure_cost(args.clip, args.empty, args.frames)
    rows = [{"film": name} | cost for name, cost in result["films"].items()]
    print(table(rows), table([result["fit"]]), sep="\n\n")
    if result["nobody_of_one_face"] is not None:
        print(f"\nnobody costs {result['nobody_of_one_face']} of one face")
    return result


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Measure how well and how dearly faces are found, beside plain Haar."""
    from benchmarks.relight import DEFINITIONS as LIGHT_DEFINITIONS
    from benchmarks.relight import run_light

    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    turned = tasks.add_parser("turned", help="frames with a known upright face, turned all the way round")
    clips = tasks.add_parser("clips", help="every frame of clips: found, ids, id switches, false faces")
    light = tasks.add_parser("light", help="clips with less light, and lit from behind: found, false faces")
    stills = tasks.add_parser("stills", help="pictures without a face: what fires")
    cost = tasks.add_parser("cost", help="CPU ms a frame, by frame size and by number of faces")
    for sub in (turned, clips, light):
        sub.add_argument("--clips", type=Path, required=True, help="folder of clips with their labels.csv")
        sub.add_argument("--only", default="*", metavar="PATTERN", help="clips whose name is like this: 'cap*'")
    turned.add_argument("--every", type=int, default=30, help="frames from one that is turned to the next; default 30")
    light.add_argument("--frames", type=int, default=90, help="of each clip, from its first; default 90")
    light.add_argument("--every", type=int, default=6, help="frames from one that is measured to the next; default 6")
    clips.add_argument("--no-plain", dest="plain", action="store_false", help="without plain Haar, which takes longest")
    stills.add_argument("--images", type=Path, required=True, help="folder of pictures without a face")
    cost.add_argument("--clip", type=Path, help="a video of one person; default the demo's")
    cost.add_argument("--empty", type=Path, help="a video without anybody, to compare with one face")
    cost.add_argument("--frames", type=int, default=240, help="measured of each film, after the warm-up; default 240")
    add_output(tasks.choices, " and its picture")
    args = parser.parse_args(argv)
    for name in ("every", "frames"):
        if getattr(args, name, 1) < 1:
            raise SettingsInvalid(f"--{name} is {getattr(args, name)}; it must be at least 1")
    make_folder(args.out)
    tame_opencv()
    runs = {"turned": run_turned, "clips": run_clips, "light": run_light, "stills": run_stills, "cost": run_cost}
    run = runs[args.task]
    result = run(args)
    if args.out:
        model = models_folder() / "face.tflite"
        verifier = {
            "sha256": read_contract(model.with_suffix(".json")).sha256,
            "runtime": load_interpreter(read_model(model))[1],
        }
        write_result(
            args.out / f"{args.task}.json",
            result,
            LIGHT_DEFINITIONS if args.task == "light" else DEFINITIONS,
            settings=asdict(FaceSettings()),
            verifier=verifier,
        )
        if draw := {"turned": plot_turned, "cost": plot_cost}.get(args.task):
            replace_file(args.out / f"{args.task}.png", draw(result))


if __name__ == "__main__":
    main()
