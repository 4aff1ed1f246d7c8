"""What a network that was made elsewhere expects: found on labelled pictures, since its file does not say.

How pixels are scaled before it, and in which order its classes stand. Conversion, evaluation and explanation use it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import InputMisread, LabelsPermuted, SettingsInvalid
from lab.datasets.classes import Floats, canonical
from lab.datasets.sample import draw_rows
from lab.scores import confuse

Pixels = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Ask = Callable[[Pixels], Floats]
"""Asks a network: float32 (n, side, side, channels) as it shall see them in, its outputs (n, classes) out."""

_BATCH = 256
ASKED = 512  # pictures, as many of each class as there are
CLEARLY = 0.05  # of accuracy: so much better another reading must be to be believed
SURELY = 3.0  # standard errors of that difference
RARER = 0.05  # of accuracy: so much better a rare scaling must be than a usual one, and BGR than RGB
ORDER_SURELY = 4.0  # standard errors of the recall that another order gains: there are many orders
ORDER_CLEARLY = 0.1  # of recall, on average over the classes that change places


@dataclass(frozen=True, slots=True)
class Scaling:
    """What a network expects that does not scale pixels itself: (pixel * scale + offset - mean) / deviation.

    `mean` and `deviation` are one value or one a channel, in the order of `channels`.
    """

    scale: float = field(default=1.0, metadata={"range": (-1e6, 1e6)})
    offset: float = field(default=0.0, metadata={"range": (-1e6, 1e6)})
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    channels: str = field(default="rgb", metadata={"choices": ("rgb", "bgr")})

    def check(self, channels: int) -> None:
        """Raise SettingsInvalid for what no picture of so many channels can be given as."""
        for name in ("mean", "deviation"):
            values = getattr(self, name)
            if len(values) not in (0, 1, channels):
                raise SettingsInvalid(
                    f"input.{name} has {len(values)} values; valid are 1, or {channels} of a channel each"
                )
        if not self.scale or not all(self.deviation):
            raise SettingsInvalid("input.scale or input.deviation is 0: every picture would be the same")

    def factors(self, channels: int) -> tuple[Pixels, Pixels]:
        """Return what each channel, in the order that the network expects, is multiplied with and added to it."""
        mean = np.broadcast_to(np.array(self.mean or (0.0,), np.float64), channels)
        deviation = np.broadcast_to(np.array(self.deviation or (1.0,), np.float64), channels)
        return (self.scale / deviation).astype(np.float32), ((self.offset - mean) / deviation).astype(np.float32)

    def apply(self, pixels: Pixels) -> Pixels:
        """Turn RGB or gray pixels of 0 to 255, float32 (n, side, side, channels), into what the network expects."""
        times, plus = self.factors(pixels.shape[-1])
        swapped = pixels[..., ::-1] if self.channels == "bgr" else pixels
        return np.asarray(swapped * times + plus, np.float32)

    def words(self) -> str:
        """Return it as what stands between a recipe's `input = {` and `}`."""
        parts = []
        for each in fields(self):
            value = getattr(self, each.name)
            if value != each.default:
                shown = f"{value:.8f}".rstrip("0") + "0" * (value == int(value)) if isinstance(value, float) else None
                listed = f"[{', '.join(f'{item:g}' for item in value)}]" if isinstance(value, tuple) else f'"{value}"'
                parts.append(f"{each.name} = {shown or listed}")
        return ", ".join(parts) or "scale = 1.0"


IN_RECIPE = "say so in the recipe: {toml}"
AS_OPTION = "say so with {option}"
USUAL = {"pixels / 255": Scaling(1 / 255), "pixels / 127.5 - 1": Scaling(1 / 127.5, -1.0)}


def read_scaling(words: str) -> Scaling:
    """Read what stands between a recipe's `input = {` and `}`; raises SettingsInvalid."""
    import tomllib

    from edge.settings_file import check_setting

    try:
        table = tomllib.loads(f"input = {{ {words} }}")["input"]
    except ValueError as error:
        raise SettingsInvalid(
            f"--input {words!r}: {error}; as in a recipe: 'scale = 0.00392157, offset = 0.0'"
        ) from error
    return Scaling(**{key: check_setting(Scaling, key, value, f"--input {key}") for key, value in table.items()})


def rarer_scalings(images: npt.NDArray[np.uint8]) -> dict[str, Scaling]:
    """Name the other scalings that networks of pictures like these, uint8 (n, side, side[, 3]), are fitted with."""
    coloured = images.ndim == 4
    mean = tuple(np.round(np.atleast_1d(images.mean(axis=(0, 1, 2))), 1).tolist())
    deviation = tuple(np.maximum(np.round(np.atleast_1d(images.std(axis=(0, 1, 2))), 1), 0.1).tolist())
    found = {
        "pixels / 255 - 0.5": Scaling(1 / 255, -0.5),
        "pixels less the data's mean, over its deviation": Scaling(mean=mean, deviation=deviation),
        "pixels less the data's mean": Scaling(mean=mean),
        "1 - pixels / 255": Scaling(-1 / 255, 1.0),
    }
    if coloured:
        imagenet = Scaling(1 / 255, mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225))
        found["pixels / 255 less ImageNet's mean, over its deviation"] = imagenet
        found["BGR pixels less ImageNet's mean"] = Scaling(mean=(103.939, 116.779, 123.68), channels="bgr")
    return found


def assign(gains: Floats) -> list[int]:
    """Return for each row of gains (n, n) the column that is its own, so that the sum is largest.

    Kuhn, Naval Research Logistics Quarterly 2, 1955, by shortest augmenting paths. At equal sums a row keeps its own.
    Here and not by scipy's linear_sum_assignment: the device's environment, in which evaluation runs too, has no scipy.
    """
    count = len(gains)
    costs = -(gains + 1e-9 * np.eye(count))
    rows, columns = np.zeros(count + 1), np.zeros(count + 1)  # potentials; the last is of no row and no column
    row_of = np.full(count + 1, -1)
    for row in range(count):
        row_of[count], column = row, count
        least, back, used = np.full(count, np.inf), np.full(count, count), np.zeros(count + 1, bool)
        while row_of[column] >= 0:
            used[column] = True
            here = row_of[column]
            reduced = costs[here] - rows[here] - columns[:count]
            better = ~used[:count] & (reduced < least)
            least[better], back[better] = reduced[better], column
            step = np.where(used[:count], np.inf, least)
            following = int(step.argmin())
            rows[row_of[used]] += step[following]
            columns[used] -= step[following]
            least[~used[:count]] -= step[following]
            column = following
        while column != count:
            row_of[column] = row_of[back[column]]
            column = int(back[column])
    order = np.empty(count, np.int64)
    order[row_of[:count]] = np.arange(count)
    return [int(each) for each in order]


def _recalls(predicted: Labels, labels: Labels, count: int) -> Floats:
    confusion = confuse(predicted, labels, count)
    return np.asarray(confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1), np.float64)


def find_order(predicted: Labels, labels: Labels, count: int) -> list[int]:
    """Find in which column each of `count` classes stands, of what a network reports, (n,), of pictures labelled (n,).

    Classes change places where that gains recall clearly, surely, and in both halves of the pictures; else they stay.
    Recall, not accuracy: how common a class is here says nothing about its column.
    """
    whole = assign(_recalls(predicted, labels, count))
    halves = [assign(_recalls(predicted[half], labels[half], count)) for half in _halves(labels)]
    order = list(range(count))
    for cycle in _cycles(whole):
        gain, variance = 0.0, 0.0
        for label in cycle:
            own = predicted[labels == label]
            if not len(own):
                continue
            gained = (own == whole[label]).astype(float) - (own == label)
            gain += gained.mean()
            variance += (gained.var() + 1 / len(own)) / len(own)
        same = all(half[label] == whole[label] for half in halves for label in cycle)
        if same and gain > max(ORDER_CLEARLY * len(cycle), ORDER_SURELY * math.sqrt(variance)):
            for label in cycle:
                order[label] = whole[label]
    return order


def _halves(labels: Labels) -> list[Labels]:
    """Return two halves of the rows with every class in both, as far as there are two of it."""
    order = np.argsort(labels, kind="stable")
    return [np.sort(order[0::2]), np.sort(order[1::2])]


def _cycles(order: Sequence[int]) -> list[list[int]]:
    cycles, seen = [], set()
    for start in range(len(order)):
        cycle, here = [], start
        while here not in seen:
            seen.add(here)
            cycle.append(here)
            here = order[here]
        if len(cycle) > 1:
            cycles.append(cycle)
    return cycles


def _hits(predicted: Labels, labels: Labels, count: int) -> npt.NDArray[np.bool_]:
    """Return which rows (n,) are right in the best order of the classes, found on the other half of them."""
    hits = np.empty(len(labels), bool)
    halves = _halves(labels)
    for found_on, half in zip(halves, reversed(halves), strict=True):
        order = np.array(assign(_recalls(predicted[found_on], labels[found_on], count)))
        hits[half] = predicted[half] == order[labels[half]]
    plain = predicted == labels
    return hits if hits.mean() > plain.mean() else plain


def _ask(
    ask: Ask, pixels: Pixels, labels: Labels, count: int, scaling: Scaling
) -> tuple[npt.NDArray[np.bool_], Labels]:
    predicted = ask(scaling.apply(pixels)).argmax(axis=1)
    return _hits(predicted, labels, count), predicted


def examine(
    path: Path,
    ask: Ask,
    images: npt.NDArray[np.uint8],
    labels: Labels,
    classes: Sequence[str],
    *,
    scaled: bool = False,
    ordered: bool = False,
    advice: str = AS_OPTION,
) -> None:
    """Hold a network made elsewhere to pictures, uint8 (n, side, side[, 3]), labelled (n,) by places in `classes`.

    That is the order in which its columns are taken.

    Raises InputMisread where it knows them clearly better by another scaling, and LabelsPermuted where it does in
    another order of the classes; of what the user stated, `scaled` or `ordered`, the user's word is taken. `advice`
    says how to state it: IN_RECIPE or AS_OPTION.
    """
    rows = draw_rows(labels, ASKED, 0)
    images, labels, count = images[rows], labels[rows], len(classes)
    pixels = images.reshape(*images.shape[:3], -1).astype(np.float32)
    hits, predicted = _ask(ask, pixels, labels, count, Scaling())
    if not scaled:
        name, scaling, better = _find_scaling(ask, images, pixels, labels, count)
        gained = better.astype(float) - hits
        error = math.sqrt((gained.var() + 1 / len(gained)) / len(gained))  # of few pictures one may always be luck
        if gained.mean() > max(CLEARLY, SURELY * error):
            words = scaling.words()
            raise InputMisread(
                f"{path}: knows {hits.mean():.3f} of {len(labels)} pictures with pixels 0 to 255 and "
                f"{better.mean():.3f} with {name}: it does not scale them itself; "
                + advice.format(toml=f"input = {{ {words} }}", option=f"--input '{words}'")
            )
    if not ordered:
        hold_order(path, predicted, labels, classes, advice=advice)


def _find_scaling(
    ask: Ask, images: npt.NDArray[np.uint8], pixels: Pixels, labels: Labels, count: int
) -> tuple[str, Scaling, npt.NDArray[np.bool_]]:
    """Find the scaling by which most is right: its name, itself and which rows are."""
    tried = {name: (each, _ask(ask, pixels, labels, count, each)[0]) for name, each in USUAL.items()}
    best = max(tried, key=lambda name: tried[name][1].mean())
    for name, each in rarer_scalings(images).items():
        tried[name] = (each, _ask(ask, pixels, labels, count, each)[0])
        if tried[name][1].mean() > tried[best][1].mean() + (RARER if best in USUAL else 0):
            best = name
    if images.ndim == 4 and tried[best][0].channels == "rgb":
        for plain, each in ({"pixels": Scaling()} | USUAL | {best: tried[best][0]}).items():
            name, swapped = f"BGR {plain}", replace(each, channels="bgr")
            tried[name] = (swapped, _ask(ask, pixels, labels, count, swapped)[0])
            if tried[name][1].mean() > tried[best][1].mean() + RARER:
                best = name
    return best, *tried[best]


def describe_order(predicted: Labels, labels: Labels, classes: Sequence[str]) -> tuple[tuple[str, ...], str] | None:
    """Return the order in which the classes stand and what it gains, in words; None where they stand as they are taken.

    `predicted` (n,) is what a network reports of pictures labelled (n,), both as indices into `classes`.
    """
    order = find_order(predicted, labels, len(classes))
    if order == list(range(len(classes))):
        return None
    names = [""] * len(classes)
    for label, column in enumerate(order):
        names[column] = classes[label]
    now, then = float((predicted == labels).mean()), float((predicted == np.array(order)[labels]).mean())
    moved = ", ".join(name for label, name in enumerate(classes) if order[label] != label)
    words = f"knows {now:.3f} of {len(labels)} pictures, and {then:.3f} with {moved} in another order"
    return tuple(names), f"{words}: its classes stand as {', '.join(names)}"


def hold_order(path: Path, predicted: Labels, labels: Labels, classes: Sequence[str], *, advice: str) -> None:
    """Raise LabelsPermuted where the classes stand in another order; `advice` is as for `examine`."""
    found = describe_order(predicted, labels, classes)
    if found is not None:
        names, words = found
        listed = ", ".join(f'"{name}"' for name in names)
        option = f"--classes {','.join(names)}"
        raise LabelsPermuted(f"{path}: {words}; {advice.format(toml=f'classes = [{listed}]', option=option)}")


def ask_keras(network: Any) -> Ask:
    """Return what asks a Keras network."""

    def ask(pixels: Pixels) -> Floats:
        return np.asarray(network.predict(pixels, batch_size=_BATCH, verbose=0), np.float64)

    return ask


@dataclass(frozen=True, slots=True)
class Given:
    """What the user stated of networks that were made elsewhere; None or empty: nothing."""

    scaling: Scaling | None = None
    classes: tuple[str, ...] = ()


def add_foreign_options(parser: argparse.ArgumentParser, *also: str) -> None:
    """Add --input and --classes, by which a user states what a network that was made elsewhere expects.

    `also` are more names of --classes.
    """
    parser.add_argument(
        "--input",
        metavar="WORDS",
        help="Pixels that a network made elsewhere expects, as in a recipe: 'scale = 0.00392157, offset = 0.0'.",
    )
    parser.add_argument(
        "--classes",
        *also,
        dest="classes",
        metavar="A,B,C",
        help="Classes of a network made elsewhere, in its order. The default is the file's own, else the data's.",
    )


def read_foreign_options(args: argparse.Namespace) -> Given:
    """Return what was stated with the options of `add_foreign_options`; raises SettingsInvalid."""
    named = tuple(name.strip() for name in (args.classes or "").split(",") if name.strip())
    if len({canonical(name) for name in named}) < len(named):
        raise SettingsInvalid(f"--classes {','.join(named)}: a class twice; name each once, in the network's order")
    return Given(None if args.input is None else read_scaling(args.input), named)
