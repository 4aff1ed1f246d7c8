"""`cuelens-explain`: what a Keras classifier looks at and looks for, as pictures and a page that shows them.

training/explain_methods.py computes, this draws.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from edge.errors import (
    SettingsInvalid,
    printable,
)
from edge.files import make_folder, replace_file
from edge.system.program import command
from lab.datasets.classes import Floats, match_classes
from lab.datasets.labelled import DataSet
from lab.datasets.read import read_data
from lab.networks.foreign import Given, Pixels, add_foreign_options, examine, read_foreign_options
from lab.networks.keras_file import read_about
from lab.reporting.pages import join, page, paragraph, sheet
from training.explain_methods import activations, dream, grad_cam, occlusion
from training.explain_network import Images, Network
from training.explain_pictures import PER_CLASS, Pictures, draw_pictures, read_labels, read_pictures
from training.explain_sheets import BLIND, Cell, draw_bars, draw_grid, draw_sheet, lay_rows
from training.seed import add_seed

WHAT = ("activations", "dream", "gradcam", "occlusion")
MOST_CHANNELS = 64  # of a layer
MOST_CLASSES = 16  # dreamt of unless --class names one
MIDDLE_CHANNELS = 16  # of the middle layer dreamt of
LEAST_DROP = 0.02  # of probability: less is not coloured as if it were much
STARTS = 2  # of each class's dream: what two starts agree on is the network's, the rest is the start's
PICTURE_STEPS = 15  # of an octave from a picture: more, and nothing of it is left


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: files beside it, each with the words for who cannot see it."""

    heading: str
    text: str
    files: tuple[tuple[str, str], ...] = ()


def _hold(path: Path, network: Network, data: DataSet, given: Given, labels: Sequence[str]) -> None:
    """Hold a network to the data: raises InputMisread or LabelsPermuted for one made elsewhere that differs."""
    match = match_classes(labels, data.classes)
    if read_about(path) or path.with_suffix(".json").is_file() or len(match.pairs) < 2:
        return
    ((_, labelled),) = data.splits.items()
    truth = match.relabel(labelled.labels)
    rows = np.flatnonzero(truth >= 0)

    def answer(pixels: Pixels) -> Floats:
        return network.ask(pixels)[:, match.columns]

    images = labelled.images[rows]
    scaled, ordered = given.scaling is not None, bool(given.classes)
    examine(path, answer, images, truth[rows], match.classes, scaled=scaled, ordered=ordered)


def show(title: str, sections: Sequence[Section]) -> str:
    """Write a page of pictures that needs nothing but the files beside it."""
    parts = []
    for section in sections:
        pictures = [sheet(quote(file), words) for file, words in section.files]
        parts.append((section.heading, join(paragraph(section.text), *pictures)))
    return page(title, parts)


class Explanation:
    """The pictures of one network in one folder."""

    def __init__(
        self,
        network: Network,
        labels: Sequence[str],
        folder: Path,
        pictures: Pictures | None = None,
        *,
        wanted: int | None = None,
        seed: int = 0,
    ) -> None:
        """Write into `folder`, which is there; `labels` name the classes, `wanted` is one for all pictures."""
        self._network, self._labels, self._folder, self._seed = network, tuple(labels), folder, seed
        self._pictures, self._wanted = pictures, wanted
        looks = network.looks(network.noise(4)) or (pictures is not None and network.looks(pictures.images))
        self._blind = "" if looks else f"{BLIND}. "

    def draw(self, what: str) -> Section:
        """Draw one of WHAT; all but the dream need pictures."""
        if what == "dream":
            return self._draw_dream()
        assert self._pictures is not None
        draw = {"activations": self._draw_activations, "gradcam": self._draw_gradcam, "occlusion": self._draw_occlusion}
        return draw[what](self._pictures)

    def _draw_activations(self, pictures: Pictures) -> Section:
        """Draw what each layer makes of the first picture, a numbered file a layer in `activations/`."""
        image, name = pictures.images[0], pictures.names[0]
        top = self._reading(self._network.predict(image[None])[0])
        (self._folder / "activations").mkdir(exist_ok=True)
        files = []
        layers = activations(self._network, image)
        for number, (layer, kind, values) in enumerate(layers, 1):
            file = f"activations/{number:0{len(str(len(layers)))}}_{_file_name(layer)}.png"
            shape = " x ".join(map(str, values.shape))
            named = number >= len(layers) - 1 and values.shape == (len(self._labels),)  # logits, probabilities
            bars = values.ndim == 1 or values.shape[:2] == (1, 1)
            strength = np.abs(values).ravel() if bars else np.abs(values).mean(axis=(0, 1))
            channels = np.argsort(-strength, kind="stable")[:MOST_CHANNELS]
            count = f"all {len(strength)}" if len(channels) == len(strength) else f"{len(channels)} of {len(strength)}"
            title = f"{number}. {layer}: {kind}, {shape}\n"
            if bars:
                title += f"{count} units" if len(channels) == len(strength) else f"the strongest {count} units"
                shown = np.sort(channels)
                drawn = draw_bars(
                    values.ravel()[shown], self._labels if named else [str(i) for i in shown], image, title, top
                )
            else:
                title += f"{count} channels, the strongest first, each from its least (dark) to its most (bright)"
                drawn = draw_grid(values[..., channels], channels, image, title, top)
            replace_file(self._folder / file, drawn)
            files.append((file, f"Layer {number}, {layer} ({kind}, {shape}), for {name}"))
        text = f"What each layer makes of {name}, read as {top}, in the order of the network."
        return Section("Activations", self._blind + text, tuple(files))

    def _draw_dream(self) -> Section:
        """Draw what each class (or the one wanted) and a middle layer look for, and that starting from a picture."""
        network, pictures, wanted, count = self._network, self._pictures, self._wanted, len(self._labels)
        units = [wanted] if wanted is not None else list(range(min(count, MOST_CLASSES)))
        blind = self._blind
        note = f"the first {len(units)} of {count} classes" if wanted is None and len(units) < count else ""
        title = blind or ", ".join(
            filter(None, ["What the network looks for: pictures made to raise a class's probability", note])
        )
        rounds = [dream(network, units, seed=self._seed + i) for i in range(STARTS)]
        stages = [rounds[0][0], *(dreamt for _, dreamt in rounds)]
        replace_file(self._folder / "dream.png", draw_sheet(self._dreams(units, stages), title))
        words = "start and dreams of " + ", ".join(self._labels[unit] for unit in units)
        files = [("dream.png", blind + words)]

        (self._folder / "dream").mkdir(exist_ok=True)
        for i, unit in enumerate(units):
            (line,) = zip(*self._dreams([unit], [images[i : i + 1] for images in stages]), strict=True)
            file = f"dream/{unit}_{_file_name(self._labels[unit])}.png"
            replace_file(self._folder / file, draw_sheet([line], title, cell=3.5))
            files.append((file, f"{blind}A dream of {self._labels[unit]}"))
        if pictures is not None:
            _, dreamt = dream(network, units, pictures.images[0], seed=self._seed, steps=PICTURE_STEPS)
            start = np.repeat(pictures.images[:1], len(units), axis=0)
            title = blind or f"What the network would add to {pictures.names[0]} for each class"
            replace_file(self._folder / "dream_picture.png", draw_sheet(self._dreams(units, [start, dreamt]), title))
            files.insert(1, ("dream_picture.png", f"{blind}{pictures.names[0]} and {words}"))
        middle = network.middle_layer()
        if middle is not None:
            layer, shape = network.layers[middle]
            watched = network.noise(8) if pictures is None else pictures.images
            channels = network.loudest(middle, watched, MIDDLE_CHANNELS)
            _, dreamt = dream(network, channels, layer=middle, seed=self._seed)
            drawn = [Cell(p, f"channel {c}") for c, p in zip(channels, dreamt, strict=True)]
            title = blind or f"What channels of {layer.name} answer to ({len(channels)} of its {shape[2]})"
            replace_file(self._folder / "dream_layer.png", draw_sheet(lay_rows(drawn, 8), title))
            files.append(("dream_layer.png", f"{blind}Dreams of {len(channels)} channels of {layer.name}"))
        text = (
            "Pictures changed step by step to raise a class, with the probability reached. They show what the network "
            "answers to, which need not be what a person would call that expression."
        )
        return Section("Deep dream", blind + text, tuple(files))

    def _dreams(self, units: Sequence[int], rows: Sequence[Images]) -> list[list[Cell | None]]:
        """Lay out starts (the first row) and dreams, a column a class, eight columns at most."""
        cells: list[list[Cell]] = []
        for kind, images in zip(("start", *["dream"] * len(rows)), rows, strict=False):
            read = self._network.predict(images)
            titles = [f"{kind}: {self._labels[unit]}\n{row[unit]:.2f}" for unit, row in zip(units, read, strict=True)]
            cells.append([Cell(image, title) for image, title in zip(images, titles, strict=True)])
        return [list(row[i : i + 8]) for i in range(0, len(units), 8) for row in cells]

    def _draw_gradcam(self, pictures: Pictures) -> Section:
        """Draw where the last maps speak for the class read and the true one, or for the one wanted."""
        about = "Bright is where the last maps before pooling speak for the class (Grad-CAM)."
        if self._network.spatial_layer() is None:
            return Section("Grad-CAM", f"{self._blind}There is no convolution in this network to show maps of.")
        probabilities = self._network.predict(pictures.images)
        top = probabilities.argmax(axis=1)
        named = [self._named(pictures, i, int(top[i])) for i in range(len(top))]
        rows = [i for i, classes in enumerate(named) for _ in classes]
        asked = [c for classes in named for c in classes]
        heats = list(grad_cam(self._network, pictures.images[rows], asked))
        cells: list[Cell | None] = []
        for i, classes in enumerate(named):
            cells += [self._face(pictures, i)]
            for c in classes:
                heat = heats.pop(0)
                title = self._says(pictures, i, c, probabilities[i]) + ("" if heat.any() else ", nothing shows")
                cells += [Cell(pictures.images[i], title, heat)]
            cells += [None] * (2 - len(classes))
        return self._maps("gradcam.png", "Grad-CAM", about, pictures, cells, "inferno")

    def _draw_occlusion(self, pictures: Pictures) -> Section:
        """Draw what hiding each part costs the class read and the true one, or the one wanted."""
        about = "Red: hiding it costs the class its probability, at most what stands above; blue: it gains (occlusion)."
        probabilities, lost = self._network.predict(pictures.images), occlusion(self._network, pictures.images)
        cells: list[Cell | None] = []
        for i, row in enumerate(probabilities):
            classes = self._named(pictures, i, int(row.argmax()))
            cells += [self._face(pictures, i)]
            for c in classes:
                over = lost[i, ..., c]
                title = f"{self._says(pictures, i, c, row)}, falls by {max(0, over.max()):.2f}"
                cells += [Cell(pictures.images[i], title, over / max(float(np.abs(over).max()), LEAST_DROP))]
            cells += [None] * (2 - len(classes))
        return self._maps("occlusion.png", "Occlusion", about, pictures, cells, "RdBu_r")

    def _maps(self, file: str, heading: str, about: str, pictures: Pictures, cells: Any, colours: str) -> Section:
        columns = 6 if len(cells) > 3 else 3
        replace_file(self._folder / file, draw_sheet(lay_rows(cells, columns), self._blind + about, colours))
        return Section(heading, self._blind + about, ((file, f"{heading} maps of {', '.join(pictures.names)[:500]}"),))

    def _named(self, pictures: Pictures, i: int, top: int) -> list[int]:
        if self._wanted is not None:
            return [self._wanted]
        truth = pictures.classes[i]
        return list(dict.fromkeys([top, self._labels.index(truth)] if truth in self._labels else [top]))

    def _face(self, pictures: Pictures, i: int) -> Cell:
        truth = pictures.classes[i]
        return Cell(pictures.images[i], pictures.names[i][-20:] + (f"\ntrue: {truth}" if truth else "\n"))

    def _says(self, pictures: Pictures, i: int, c: int, row: npt.NDArray[np.float32]) -> str:
        kind = "read as" if c == row.argmax() else "true" if self._labels[c] == pictures.classes[i] else "asked for"
        return f"{kind}: {self._labels[c]}\n{row[c]:.2f}"

    def _reading(self, row: npt.NDArray[np.float32]) -> str:
        return f"{self._labels[row.argmax()]} {row.max():.2f}"


def _file_name(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name)


def _what(words: str | None, pictured: bool) -> list[str]:
    asked = [word.strip() for word in words.split(",")] if words is not None else list(WHAT if pictured else ("dream",))
    for word in asked:
        if word not in WHAT:
            raise SettingsInvalid(f"--what has {word!r}; valid are {', '.join(WHAT)}, with commas between")
        if word != "dream" and not pictured:
            raise SettingsInvalid(f"--what {word} needs a picture; give an IMAGE file or --data, or --what dream alone")
    return [word for word in WHAT if word in asked]


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Show what a Keras classifier looks at and looks for."""
    parser.epilog = "example: cuelens-explain models/emotion.keras face.png --out runs/explain"
    parser.add_argument("model", type=Path, metavar="MODEL", help="A .keras file.")
    parser.add_argument("images", type=Path, nargs="*", metavar="IMAGE", help="A picture that is cut to one face.")
    parser.add_argument(
        "--data",
        type=Path,
        help=f"FER2013's fer2013.csv, or a folder, of which {PER_CLASS} pictures of each class are taken.",
    )
    parser.add_argument("--split", default="choose", help="Part of --data: fit, choose, report or its own name.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for the pictures and index.html.")
    parser.add_argument(
        "--what", help=f"What to show, of {','.join(WHAT)}. The default is all; without a picture it is dream."
    )
    parser.add_argument("--class", dest="name", metavar="NAME", help="Explain this class alone.")
    add_foreign_options(parser, "--labels")
    add_seed(parser, "Seed of the dreams and of the pictures drawn from --data.")
    args = parser.parse_args(argv)
    what = _what(args.what, bool(args.images or args.data))
    given = read_foreign_options(args)
    network = Network(args.model, given.scaling)
    labels = read_labels(args.model, network.width, args.classes)
    if args.name is not None and args.name not in labels:
        raise SettingsInvalid(f"--class is {args.name!r}; {args.model} knows {', '.join(labels)}")
    wanted = None if args.name is None else labels.index(args.name)
    pictures = read_pictures(args.images, network.preprocessing) if args.images else None
    if args.data is not None:
        data = read_data(args.data, network.preprocessing, (args.split,), lenient=True)
        _hold(args.model, network, data, given, labels)
        drawn = draw_pictures(data, args.seed)
        pictures = drawn if pictures is None else pictures.join(drawn)
    make_folder(args.out)
    explanation = Explanation(network, labels, args.out, pictures, wanted=wanted, seed=args.seed)
    sections = []
    for word in what:
        sections.append(explanation.draw(word))
        print(printable(f"{word}: {len(sections[-1].files)} picture(s). {sections[-1].text}"), flush=True)
    index = args.out / "index.html"
    replace_file(index, show(f"{args.model.name}: what it looks at", sections).encode())
    print(printable(index))
