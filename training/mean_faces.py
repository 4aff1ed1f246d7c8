"""The demo person's faces: averages of many FER2013 Training faces a class, so of nobody who exists.

Eyes are found, faces set upright, those chosen that the network reads most clearly as their class, bent
onto their common shape and averaged. Host only; edge/sources/demo.py plays what this writes.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import DataSplitEmpty, SettingsInvalid
from edge.files import replace_file
from edge.system.program import command
from edge.vision.finders.haar import load_cascade
from edge.vision.model import ExpressionModel
from lab.datasets.fer2013 import CLASSES, read_fer2013
from lab.datasets.labelled import Labelled
from lab.progress import progress

FACE_SIDE = 96  # of the faces written: twice FER2013's, so that averaging keeps what alignment gains
LEAST_MEMBERS = 25  # fewer and a mean face starts to look like one of its members
EYES_AT = np.array([[0.31, 0.375], [0.69, 0.375]])  # left and right eye as seen, of the side: FER2013's own framing

_SEARCH_SIDE = 144  # the eye cascade wants eyes of 20 pixels and more; FER2013's have 10
_LEAST = 1e-4  # probability: keeps log odds finite
_CLEAR = 2.0  # log odds: seven to one that the face is its class and no other
_ROUNDS = 4  # of coming closer to the running mean; it no longer moves after three
_POOL = 1.4  # times the members, from which those that look alike are taken
_LIGHT = 8.0  # pixels of FACE_SIDE: shading wider than this is the photographer's, not the face's
_CRISP = 0.8  # of what is finer than two pixels is added back: an average is softer than a photograph
_SAME_PICTURE = 0.85  # correlation of two crops of one picture; of two people it is less

Faces = npt.NDArray[np.float32]


def find_eyes(image: npt.NDArray[np.uint8], cascade: cv2.CascadeClassifier) -> npt.NDArray[np.float64] | None:
    """Find the eyes of one face crop: uint8 (n, n) in, ((x, y), (x, y)) of the side out, left as seen first.

    None unless exactly one pair lies as eyes lie: level, apart, above the middle.
    """
    large = cv2.resize(image, (_SEARCH_SIDE, _SEARCH_SIDE), interpolation=cv2.INTER_CUBIC)
    low, high = int(0.18 * _SEARCH_SIDE), int(0.42 * _SEARCH_SIDE)
    found = cascade.detectMultiScale(large[: int(0.7 * _SEARCH_SIDE)], 1.1, 4, minSize=(low, low), maxSize=(high, high))
    boxes = np.asarray(found, np.float64).reshape(-1, 4)
    centres = (boxes[:, :2] + boxes[:, 2:] / 2) / _SEARCH_SIDE
    pairs = []
    for left in centres:
        for right in centres:
            apart, down = right - left
            level = apart > 0 and abs(down) < 0.35 * apart
            if level and 0.27 < apart < 0.52 and 0.25 < (left[1] + right[1]) / 2 < 0.52:
                pairs.append(np.array([left, right]))
    return pairs[0] if len(pairs) == 1 else None


def align(image: npt.NDArray[np.uint8], eyes: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.uint8]:
    """Turn, scale and shift a face so that its eyes lie at EYES_AT: uint8 (n, n) in, (side, side) out."""
    source = eyes * len(image) - 0.5
    target = EYES_AT * side - 0.5
    a, b = source[1] - source[0], target[1] - target[0]
    turn = complex(*b) / complex(*a)
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    matrix = np.hstack([linear, (target.mean(0) - linear @ source.mean(0))[:, None]])
    turned = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, np.uint8)


def oval(side: int) -> Faces:
    """Draw the part of the aligned frame that is face, float32 (side, side) of 0 to 1."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    radius = np.hypot((x - 0.5) / 0.40, (y - 0.53) / 0.47)
    return np.asarray(np.clip((1.06 - radius) / 0.12, 0, 1), np.float32)


def normalise(faces: Faces, mask: Faces) -> Faces:
    """Take light and contrast out: mean 0 and deviation 1 under the mask, float32 (n, h, w)."""
    weight = mask / mask.sum()
    mean = (faces * weight).sum((1, 2), keepdims=True)
    deviation = np.sqrt(((faces - mean) ** 2 * weight).sum((1, 2), keepdims=True))
    return np.asarray(np.clip((faces - mean) / np.maximum(deviation, 4), -4, 4), np.float32)


def clarity(
    model: ExpressionModel, faces: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return how clearly the network reads each aligned face as its class: uint8 (n, h, w) to log odds (n,).

    A face whose label another rater would not give, a watermark or a hand is not read clearly.
    """
    side = model.contract.side
    faces = progress(faces, "read faces")
    small = (np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA), np.uint8) for face in faces)
    own = np.array([model.read(face)[label] for face, label in zip(small, labels, strict=True)])
    return np.log(own + _LEAST) - np.log(1 - own + _LEAST)


def choose(
    faces: Faces, odds: npt.NDArray[np.float64], members: int, mask: Faces, person: Faces | None = None
) -> list[int]:
    """Choose the rows of one class to average: clear ones, no picture twice, that look alike.

    FER2013 holds many pictures several times over, cropped a little differently: those count once.
    A class may have several ways to look (a fear with the mouth open or shut): the commonest is kept,
    of those the ones closest to `person` (h, w), so that the seven means look like one.
    """
    points = _points(faces, mask)
    mirrored = _points(faces[:, :, ::-1], mask)
    pool: list[int] = []
    for row in np.argsort(-odds, kind="stable"):
        enough = len(pool) >= _POOL * members and odds[row] < _CLEAR
        if enough or not np.isfinite(odds[row]):
            break
        same = np.maximum(points[pool] @ points[row], mirrored[pool] @ points[row])
        if same.max(initial=-1.0) < _SAME_PICTURE:
            pool.append(int(row))
    bias = 0.0 if person is None else (points[pool] + mirrored[pool]) @ _points(person[None], mask)[0]
    fine = np.stack([face - cv2.GaussianBlur(face, (0, 0), _LIGHT) for face in faces[pool]])
    both = _points(fine, mask) + _points(fine[:, :, ::-1], mask)
    kept = np.arange(min(members, len(pool)))
    for _ in range(_ROUNDS):
        mode = both[kept].mean(0)
        kept = np.argsort(-(both @ mode / np.linalg.norm(mode) + bias), kind="stable")[:members]
    return [pool[i] for i in kept]


def _points(faces: Faces, mask: Faces) -> Faces:
    """Shrink faces to 32 x 32 unit vectors of what is under the mask: their products are correlations."""
    small = np.stack([cv2.resize(face * mask, (32, 32), interpolation=cv2.INTER_AREA) for face in faces])
    rows = small.reshape(len(small), -1)
    rows -= rows.mean(1, keepdims=True)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def merge(faces: Faces) -> Faces:
    """Average faces on their common shape: float32 (n, h, w) normalised in, (h, w) out.

    Each is bent onto the running mean by optical flow, less the flow they all share, so that a
    mouth is averaged with mouths and stays crisp.
    """
    flow_finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow_finder.setFinestScale(0)
    side = faces.shape[1]
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).astype(np.float32)
    mean = faces.mean(0)
    for _ in range(_ROUNDS):
        target = _visible(mean)
        flows = []
        for face in faces:
            flow = flow_finder.calc(target, _visible(face), np.zeros((side, side, 2), np.float32))
            flows.append(cv2.GaussianBlur(flow, (0, 0), 2.0))
        shared = np.mean(flows, 0)
        bent = [
            cv2.remap(face, grid + flow - shared, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
            for face, flow in zip(faces, flows, strict=True)
        ]
        mean = np.asarray(np.mean(bent, 0), np.float32)
    return np.asarray(mean, np.float32)


def _visible(face: Faces) -> npt.NDArray[np.uint8]:
    return np.clip(face * 45 + 128, 0, 255).astype(np.uint8)


def finish(means: Faces, mask: Faces) -> npt.NDArray[np.uint8]:
    """Put the mean faces in one light, and give them a photograph's crispness: uint8 (n, h, w)."""
    soft = np.stack([cv2.GaussianBlur(mean, (0, 0), _LIGHT) for mean in means])
    alike = means - soft + soft.mean(0)
    crisp = np.stack([mean + _CRISP * (mean - cv2.GaussianBlur(mean, (0, 0), 2.0)) for mean in alike])
    return np.clip(normalise(crisp * 50, mask) * 46 + 134, 0, 255).astype(np.uint8)


def mean_faces(
    train: Labelled, cascade: cv2.CascadeClassifier, model: ExpressionModel, members: int
) -> npt.NDArray[np.uint8]:
    """Average `members` clear faces of each class: uint8 (classes, FACE_SIDE, FACE_SIDE).

    Raises DataSplitEmpty when a class has too few different faces whose eyes are found.
    """
    found: list[npt.NDArray[np.uint8]] = []
    rows: list[int] = []
    for row in progress(range(len(train.labels)), "find eyes"):
        eyes = find_eyes(train.images[row], cascade)
        if eyes is not None:
            found.append(align(train.images[row], eyes, FACE_SIDE))
            rows.append(row)
    labels = train.labels[rows]
    _check_enough({name: int((labels == label).sum()) for label, name in enumerate(CLASSES)})
    mask = oval(FACE_SIDE)
    aligned = np.stack(found)
    faces = normalise(aligned.astype(np.float32), mask)
    person = np.mean([faces[labels == label].mean(0) for label in range(len(CLASSES))], 0)
    odds = clarity(model, aligned, labels)
    chosen = {}
    for label, name in enumerate(CLASSES):
        own = np.flatnonzero(labels == label)
        chosen[name] = own[choose(faces[own], odds[own], members, mask, person)]
    _check_enough({name: len(rows) for name, rows in chosen.items()})
    # Each with its mirror image: nobody's own asymmetry stays.
    means = [merge(np.concatenate([faces[rows], faces[rows, :, ::-1]])) for rows in chosen.values()]
    return finish(np.stack(means), mask)


def _check_enough(counts: dict[str, int]) -> None:
    for name, count in counts.items():
        if count < LEAST_MEMBERS:
            raise DataSplitEmpty(f"class {name}: {count} usable faces; {LEAST_MEMBERS} or more are needed")


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Average clear Training faces of each class into the demo person's faces."""
    parser.add_argument("--data", type=Path, required=True, help="FER2013's fer2013.csv, plain or .gz, .xz or .zip.")
    parser.add_argument("--out", type=Path, required=True, help="The .npz to write.")
    parser.add_argument("--members", type=int, default=30, help="Faces averaged for each class.")
    parser.add_argument("--model", type=Path, help="Model that chooses clear faces. The default is the shipped one.")
    args = parser.parse_args(argv)
    if args.members < LEAST_MEMBERS:
        raise SettingsInvalid(f"--members is {args.members}; {LEAST_MEMBERS} or more make a face that is nobody's")
    cascade, model = load_cascade("haarcascade_eye.xml"), ExpressionModel(args.model)
    train = read_fer2013(args.data, "Training")["Training"]
    content = io.BytesIO()
    np.savez_compressed(content, faces=mean_faces(train, cascade, model, args.members), classes=np.array(CLASSES))
    replace_file(args.out, content.getvalue())
    print(f"{args.out}: {len(CLASSES)} faces of {args.members} members each, {len(content.getvalue())} bytes")


if __name__ == "__main__":
    main()
