"""`cuelens-bench faces`: how well and how dearly faces are found, beside plain Haar: turns, clips, light, stills, cost.

Measures are pure functions of boxes or of numbers; what runs a finder over pictures is apart from them.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.faces_clips import Clip, read_clips, spread
from benchmarks.faces_haar import find_plain, find_sure, find_upright
from benchmarks.faces_measures import (
    ANGLES_DEG,
    KEPT_FRAMES,
    LEVEL_DEG,
    LOST_S,
    METHODS,
    NARROWEST,
    OFF,
    WARMUP_FRAMES,
    WIDEST,
    Seen,
    Turned,
    describe_cost,
    describe_film,
    match,
    share,
    split_cost,
    spot_of,
    tally,
    turn,
)
from benchmarks.faces_plots import draw_sheet, plot_cost, plot_turned
from benchmarks.faces_tracks import DEFINITIONS as TRACKS_DEFINITIONS
from benchmarks.faces_tracks import describe_tracks, measure_tracks
from benchmarks.films import CROWD, FPS, MOST_FACES, SIZES, draw_crowd, read_frames, resize, sway
from benchmarks.relight import DEFINITIONS as LIGHT_DEFINITIONS
from benchmarks.relight import measure_light
from benchmarks.report import Measured
from benchmarks.result import table
from edge.errors import DataMissing, SettingsInvalid, SourceEmpty
from edge.files import replace_file
from edge.settings import FaceSettings
from edge.sources import open_source
from edge.sources.file import PICTURES, load_picture
from edge.stills.finder import StillFinder
from edge.system.quiet import quiet, tame_opencv
from edge.types import Gray
from edge.vision.faces import FaceFinder
from edge.vision.tflite import load_interpreter, models_folder, name_delegate, read_model
from edge.vision.verifier import read_contract
from edge.vision.views import wrap_deg

FILM_FRAMES = 30
LEAST_WIDTH = 60.0  # pixels, in clips shrunk to a width of 640: faces that are turned
EVERY = {"turned": 30, "light": 6}  # frames from one that is measured to the next
FRAMES = {"light": 90, "cost": 240}
LOWER = (
    "boxes_off",
    "read_off",
    "changed_boxes_off",
    "changed_read_off",
    "false_",
)  # figures that are better lower, as all of `faces cost` are
DEFINITIONS = {
    "plain": "OpenCV's frontal cascade on the whole frame: scale step 1.1, 5 neighbours, faces from 30 pixels",
    "still": "edge.stills.finder.StillFinder, as `cuelens faces` does",
    "film": f"edge.vision.faces.FaceFinder, found in the last of {FILM_FRAMES} equal frames at {FPS:g} a second",
    "turned": "frames in which a stricter Haar finds one face and in it two eyes: the easy ones",
    "found": f"a box whose middle is within {OFF} sides of the true face's, {NARROWEST} to {WIDEST} times as wide",
    "level": f"share of the found whose roll is within {LEVEL_DEG:g} degrees of the eyes' line",
    "rate": "share of the frames with any face, true or false; worse: below plain Haar's",
    "switches": f"a face in its place with another id, from frame to frame or within {LOST_S:g} s of being lost; "
    "of clips of one face: changes of the nearest face's id",
    "found_by_still, found_by_film": "share of the frames at all angles in which the face is found",
    "frames_with_face": "rate over the frames of all clips that show faces",
    "false_frames": "frames of clips that show nobody in which a face is found",
    "pictures_without_false": "share of the pictures without a face in which none is found",
    "ms": f"CPU of the calling thread in FaceFinder.find after {WARMUP_FRAMES} frames of warm-up, nearest rank",
    "fit": "least squares over all frames of drawn faces: ms of a frame, of a look, of a thousand windows scanned",
}


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


def find_in_file(path: Path) -> list[dict[str, Any]]:
    """Find the faces of a picture as `cuelens faces` does; returns each with the picture's name."""
    return [
        {"path": path.name, "score": face.score, "box": list(face.box), "roll_deg": face.roll_deg}
        for face in _still_finder().find(load_picture(path))
    ]


def time_film(frames: Iterable[Gray]) -> npt.NDArray[np.float64]:
    """Run a finder over frames; returns float (frames, 4): CPU ms of this thread, looks, windows and faces of each."""
    finder = FaceFinder(FaceSettings())
    rows = []
    for index, gray in enumerate(frames):
        begun = time.thread_time()
        faces = finder.find(gray, index / FPS)
        rows.append((1000 * (time.thread_time() - begun), finder.work.looks, finder.work.windows, len(faces)))
    return np.array(rows, np.float64)


def measure_cost(args: argparse.Namespace) -> dict[str, Any]:
    """Time the finder over --frames of each size, number of faces, and of the --empty clip where given.

    Raises SettingsInvalid without a frame that surely has one upright face, and what the sources raise.
    """
    spec, count = "demo" if args.clip is None else f"file:{args.clip}", args.frames
    frames = list(itertools.islice(read_frames(spec), KEPT_FRAMES))
    sure = find_sure(spec, frames)
    films = {f"{width}x{height}": resize(itertools.cycle(sway(frames)), width, height) for width, height in SIZES}
    films |= {f"{faces} faces": draw_crowd(sway(sure), faces) for faces in range(MOST_FACES + 1)}
    if args.empty is not None:
        scene = list(itertools.islice(read_frames(f"file:{args.empty}"), KEPT_FRAMES))
        films["nobody"] = resize(itertools.cycle(sway(scene)), *CROWD)
    timed = {
        name: time_film(itertools.islice(film, WARMUP_FRAMES + count))
        for name, film in tqdm(films.items(), unit="film", leave=False, disable=None)
    }
    costs = {name: describe_cost(rows) for name, rows in timed.items()}
    drawn = np.concatenate([timed[f"{faces} faces"][WARMUP_FRAMES:] for faces in range(MOST_FACES + 1)])
    of_one = None if args.empty is None else share(costs["nobody"]["mean_ms"], costs["640x480"]["mean_ms"])
    return {"source": spec, "frames": count, "films": costs, "fit": split_cost(drawn), "nobody_of_one_face": of_one}


def measure_turned(args: argparse.Namespace) -> dict[str, Any]:
    """Turn the frames of clips with one large face; returns what is found by angle."""
    single = [
        clip for clip in read_clips(args.clips, args.only) if clip.n_faces == 1 and clip.face_width >= LEAST_WIDTH
    ]
    clips = [clip for clip in single if not clip.path.name.startswith("head-pose")]  # whose faces are not upright
    parts = [part for part in spread(functools.partial(turn_clip, every=args.every), clips, "clip") if part]
    rows = [row for part in parts for row in part]
    if not rows:
        raise SourceEmpty(f"{args.clips}: no frame of {len(clips)} clips has one surely upright face; give others")
    return {
        "every": args.every,
        "by_angle": [{"angle_deg": deg} | tally([row for row in rows if row.angle_deg == deg]) for deg in ANGLES_DEG],
        "within": [
            {"most_deg": deg} | tally([row for row in rows if abs(row.angle_deg) <= deg]) for deg in (30, 60, 90, 180)
        ],
        "by_clip": [{"clip": part[0].clip} | tally(part) for part in parts],
    }


def measure_clips(args: argparse.Namespace) -> dict[str, Any]:
    """Find the faces of every frame of clips; returns rates, ids and switches."""
    clips = read_clips(args.clips, args.only)
    return {"clips": spread(functools.partial(film_clip, plain=args.plain), clips, "clip")}


def measure_stills(args: argparse.Namespace) -> dict[str, Any]:
    """Look for faces in pictures without any; returns what fires."""
    try:
        paths = sorted(path for path in args.images.iterdir() if path.suffix.lower() in PICTURES)
    except OSError as error:
        raise DataMissing(f"{args.images}: {error.strerror}; give a folder of pictures") from error
    if not paths:
        raise SourceEmpty(f"{args.images}: no picture in this folder; pictures end in {', '.join(PICTURES)}")
    false = [face for faces in spread(find_in_file, paths, "picture") for face in faces]
    false.sort(key=lambda face: -face["score"])
    return {"pictures": len(paths), "pictures_with_false": len({face["path"] for face in false}), "false": false}


TASKS: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "faces turned": measure_turned,
    "faces clips": measure_clips,
    "faces tracks": measure_tracks,
    "faces light": measure_light,
    "faces stills": measure_stills,
    "faces cost": measure_cost,
}


def add_arguments(parser: argparse.ArgumentParser, task: str) -> None:
    """Add the task's options."""
    part = task.removeprefix("faces ")
    if part in ("turned", "clips", "tracks", "light"):
        parser.add_argument("--clips", type=Path, required=True, help="folder of clips with their labels.csv")
        parser.add_argument("--only", default="*", metavar="PATTERN", help="clips whose name is like this: 'cap*'")
    if part in EVERY:
        parser.add_argument(
            "--every",
            type=int,
            default=EVERY[part],
            help="frames from one that is measured to the next; default %(default)s",
        )
    if part in FRAMES:
        parser.add_argument(
            "--frames",
            type=int,
            default=FRAMES[part],
            help="of each film, after a warm-up where there is one; default %(default)s",
        )
    if part == "clips":
        parser.add_argument(
            "--no-plain", dest="plain", action="store_false", help="without plain Haar, which takes longest"
        )
    if part == "tracks":
        parser.add_argument(
            "--boxes", type=Path, required=True, help="what benchmarks/peers/boxes.py wrote of the clips"
        )
    if part == "stills":
        parser.add_argument("--images", type=Path, required=True, help="folder of pictures without a face")
    if part == "cost":
        parser.add_argument("--clip", type=Path, help="a video of one person; default the demo's")
        parser.add_argument("--empty", type=Path, help="a video without anybody, to compare with one face")


def measure(args: argparse.Namespace) -> Measured:
    """Measure one task; raises SettingsInvalid for a number that it cannot have, and what the task raises."""
    for name in ("every", "frames"):
        if getattr(args, name, 1) < 1:
            raise SettingsInvalid(f"--{name} is {getattr(args, name)}; it must be at least 1")
    tame_opencv()
    result = TASKS[args.task](args)
    figures = figures_of(args.task, result)
    verifier = models_folder() / "face.tflite"
    with quiet():
        interpreter, runtime = load_interpreter(read_model(verifier))
        interpreter.allocate_tensors()
    return Measured(
        result,
        {name: [value] for name, value in figures.items() if value is not None},
        {"faces light": LIGHT_DEFINITIONS, "faces tracks": TRACKS_DEFINITIONS}.get(args.task, DEFINITIONS),
        frozenset(name for name in figures if is_better_higher(args.task, name)),
        asdict(FaceSettings()),
        {
            "sha256": read_contract(verifier.with_suffix(".json")).sha256,
            "runtime": runtime,
            "delegate": name_delegate(interpreter),
            "threads": 1,
        },
        counted=args.task != "faces cost",
    )


def figures_of(task: str, result: Mapping[str, Any]) -> dict[str, float | None]:
    """Return what two results of a task are compared by: shares, counts of false faces, or the CPU of `faces cost`."""
    if task == "faces turned":
        return {f"found_by_{method}": result["within"][-1][method] for method in METHODS if method != "plain"}
    if task == "faces clips":
        of = {shown: [row for row in result["clips"] if bool(row["n_faces"]) == shown] for shown in (True, False)}
        seen, frames = (
            {shown: sum(row[key] for row in rows) for shown, rows in of.items()} for key in ("with_face", "frames")
        )
        return {
            "frames_with_face": share(seen[True], frames[True]),
            "false_frames": seen[False],
        }
    if task == "faces tracks":
        shares = ("frames_with_face", "boxes_off", "read_off")
        return {f"{of}{name}": result[f"{of}{name}"] for of in ("", "changed_") for name in shares}
    if task == "faces light":
        return {
            f"{key}_{row['light']}_{row['factor']:g}": row[key]
            for key in ("found", "false")
            for row in result["by_light"]
        }
    if task == "faces stills":
        return {"pictures_without_false": share(result["pictures"] - result["pictures_with_false"], result["pictures"])}
    return {f"{name.replace(' ', '_')}_mean_ms": cost["mean_ms"] for name, cost in result["films"].items()}


def is_better_higher(task: str, figure: str) -> bool:
    """Return whether a figure of a task is better the higher it is."""
    return task != "faces cost" and not figure.startswith(LOWER)


def describe(report: Mapping[str, Any]) -> str:
    """Lay out a report's result."""
    task, result = report["task"], report["result"]
    if task == "faces turned":
        return "\n\n".join(table(result[name]) for name in ("by_angle", "within", "by_clip"))
    if task == "faces clips":
        lines = [table([row | {"worse": "WORSE" if row["worse"] else ""} for row in result["clips"]])]
        for row in (row for row in result["clips"] if row["n_faces"] > 1):
            ids = (f"{each['id']} from {each['first']} to {each['last']} ({each['frames']})" for each in row["ids"])
            lines.append(f"{row['clip']}, each id's frames: {', '.join(ids) or 'none'}")
        return "\n\n".join(lines)
    if task == "faces tracks":
        return describe_tracks(result)
    if task == "faces light":
        return table(result["by_light"])
    if task == "faces stills":
        fired = [f"{table(result['false'])}\n"] if result["false"] else []
        count = (
            f"{len(result['false'])} false faces in {result['pictures_with_false']} of {result['pictures']} pictures"
        )
        return "".join([*fired, count])
    lines = [table([{"film": name} | cost for name, cost in result["films"].items()]), table([result["fit"]])]
    if result["nobody_of_one_face"] is not None:
        lines.append(f"nobody costs {result['nobody_of_one_face']} of one face")
    return "\n\n".join(lines)


def finish(args: argparse.Namespace, report: Mapping[str, Any]) -> None:
    """Draw the plot or the contact sheet into --out; raises RuntimeMissing without matplotlib, and what a file may."""
    task, result = args.task, report["result"]
    if args.out and (draw := {"faces turned": plot_turned, "faces cost": plot_cost}.get(task)):
        replace_file(args.out / f"{task.removeprefix('faces ')}.png", draw(result))
    if args.out and task == "faces stills" and result["false"]:
        replace_file(args.out / "stills.png", draw_sheet(args.images, result["false"]))
