"""`cuelens-bench faces`: how well and how dearly faces are found, beside plain Haar: clips, light, turns, stills.

Measures are pure functions of boxes or of numbers; what runs a finder over pictures is apart from them.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import time
from collections.abc import Iterable
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
from benchmarks.films import CROWD, FPS, MOST_FACES, SIZES, draw_crowd, read_frames, resize, sway
from benchmarks.relight import DEFINITIONS as LIGHT_DEFINITIONS
from benchmarks.relight import run_light
from benchmarks.result import add_output, make_folder, table, write_result
from edge.errors import DataMissing, SettingsInvalid, SourceEmpty
from edge.files import replace_file
from edge.settings import FaceSettings
from edge.sources import open_source
from edge.sources.file import PICTURES, load_picture
from edge.stills.finder import StillFinder
from edge.system.quiet import tame_opencv
from edge.types import Face, Gray
from edge.vision.faces import FaceFinder
from edge.vision.model import load_interpreter, models_folder, read_model
from edge.vision.verifier import read_contract
from edge.vision.views import wrap_deg

FILM_FRAMES = 30
LEAST_WIDTH = 60.0  # pixels, in clips shrunk to a width of 640: faces that are turned
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the parts, each with its options."""
    tasks = parser.add_subparsers(dest="part", required=True, metavar="TASK")
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


def run(args: argparse.Namespace) -> None:
    """Measure one part; raises SettingsInvalid for a number that it cannot have, and what the part raises."""
    for name in ("every", "frames"):
        if getattr(args, name, 1) < 1:
            raise SettingsInvalid(f"--{name} is {getattr(args, name)}; it must be at least 1")
    make_folder(args.out)
    tame_opencv()
    runs = {"turned": run_turned, "clips": run_clips, "light": run_light, "stills": run_stills, "cost": run_cost}
    result = runs[args.part](args)
    if args.out:
        model = models_folder() / "face.tflite"
        verifier = {
            "sha256": read_contract(model.with_suffix(".json")).sha256,
            "runtime": load_interpreter(read_model(model))[1],
        }
        write_result(
            args.out / f"{args.part}.json",
            result,
            LIGHT_DEFINITIONS if args.part == "light" else DEFINITIONS,
            settings=asdict(FaceSettings()),
            verifier=verifier,
        )
        if draw := {"turned": plot_turned, "cost": plot_cost}.get(args.part):
            replace_file(args.out / f"{args.part}.png", draw(result))
