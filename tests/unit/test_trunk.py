"""dlib's file read layer by layer, and the network that starts from it: at first it computes what dlib's does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edge.errors import ModelUnreadable
from edge.vision.preprocessing import Preprocessing
from tests.support.failures import ended_by

pytestmark = [pytest.mark.host, pytest.mark.slow]

Floats = npt.NDArray[np.float32]
Layer = tuple[Floats, Floats, Floats, Floats]  # filters (h, w, in, out), biases, scales, offsets (out,)


def draw_layers(widths: Sequence[int], depths: Sequence[int], seed: int = 0) -> list[Layer]:
    """Draw what dlib's file would hold of such a network, from its input on."""
    rng = np.random.default_rng(seed)
    sizes = [(7, 3, widths[0])]
    for width, depth in zip(widths, depths, strict=True):
        for _ in range(depth):
            sizes += [(3, sizes[-1][2], width), (3, width, width)]
    layers = []
    for size, taken, given in sizes:
        filters = rng.normal(0, 1 / size / np.sqrt(taken), (size, size, taken, given))
        around = rng.normal(0, 0.3, (3, given))
        layers.append(tuple(a.astype(np.float32) for a in (filters, around[0], 1 + around[1], around[2])))
    return layers  # type: ignore[return-value]


def write_integer(value: int) -> bytes:
    count = (value.bit_length() + 7) // 8
    return bytes([count]) + value.to_bytes(count, "little")


def serialise(layers: Sequence[Layer]) -> bytes:
    """Write layers as dlib does: a name, the version 2, four sizes, then numbers."""
    content = b"\x01\x01" * 20
    for filters, biases, scales, offsets in layers:
        flat = np.concatenate([filters.transpose(3, 2, 0, 1).ravel(), biases]).astype("<f4")
        both = np.concatenate([scales, offsets]).astype("<f4")
        for name, values in ((b"\x05con_4", flat), (b"\x07affine_", both)):
            content += name + write_integer(2) + write_integer(values.size) + write_integer(1) * 3 + values.tobytes()
    return content


def test_every_layer_is_read_from_the_bytes() -> None:
    from training.recipes.trunk import read_dlib

    layers = draw_layers((4, 6), (1, 2))
    read = list(read_dlib(serialise(layers)))
    assert len(read) == len(layers) == 7
    for found, written in zip(read, layers, strict=True):
        for one, other in zip(found, written, strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"GIF89a", "0 convolutions, 0 affine"),
        (serialise(draw_layers((4,), (1,)))[:-100], "it is cut off"),
        (b"\x05con_4\x01\x02\x01\x09", "the layer at 8 needs more: it is cut off"),
        (
            serialise([(np.zeros((3, 3, 2, 4), np.float32), *np.zeros((3, 4), np.float32))]),
            "convolution 1 has 76 numbers",
        ),
    ],
)
def test_what_is_no_such_network_is_refused(content: bytes, said: str) -> None:
    from training.recipes.trunk import read_dlib

    with pytest.raises(ValueError, match=said):
        list(read_dlib(content))


def convolve(x: Floats, filters: Floats, stride: int, same: bool) -> Floats:
    size = len(filters)
    if same:
        missing = (-(-x.shape[1] // stride) - 1) * stride + size - x.shape[1]
        around = (missing // 2, missing - missing // 2)
        x = np.pad(x, ((0, 0), around, around, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return np.asarray(np.einsum("nyxihw,hwio->nyxo", windows, filters), np.float32)


def run_dlib(faces: Floats, layers: Iterator[Layer], widths: Sequence[int], depths: Sequence[int]) -> Floats:
    """Compute what dlib's layers give of gray faces (n, side, side), as means over places: (n, channels)."""

    def affine(x: Floats, stride: int = 1, same: bool = True) -> Floats:
        filters, biases, scales, offsets = next(layers)
        return (convolve(x, filters, stride, same) + biases) * scales + offsets

    means = np.array([122.782, 117.001, 104.298], np.float32)
    x = np.maximum(affine((faces[..., None] - means) / 256, 2, same=False), 0)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2]
    x = windows.max(axis=(-2, -1))
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            branch = affine(np.maximum(affine(x, stride), 0))
            if stride == 2:
                count, side, _, channels = x.shape
                x = x.reshape(count, side // 2, 2, side // 2, 2, channels).mean(axis=(2, 4))
                x = np.concatenate([x, np.zeros((*x.shape[:3], width - channels), np.float32)], axis=-1)
            x = np.maximum(branch + x, 0)
    return x.mean(axis=(1, 2))


@pytest.mark.parametrize("colour", ["gray", "rgb"])
def test_before_the_first_step_it_computes_what_dlibs_network_does(
    colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    from training.recipes import trunk

    widths, depths, side = (4, 6, 8), (2, 1, 1), 39  # the sides after it: 17, 8, 4, 2
    monkeypatch.setattr(trunk, "WIDTHS", widths)
    monkeypatch.setattr(trunk, "DEPTHS", depths)
    monkeypatch.setattr(trunk, "SIDE", side)
    layers = draw_layers(widths, depths)
    gray = np.random.default_rng(1).integers(0, 256, (16, side, side)).astype(np.uint8)
    faces = gray if colour == "gray" else np.repeat(gray[..., None], 3, axis=-1)
    model = trunk.build(Preprocessing(side, colour), 7)
    trunk.carry(model, trunk.read_dlib(serialise(layers)), faces[:8], noise=0)
    features = keras.Model(model.input, model.get_layer("features").output)
    found = features.predict(faces.reshape(16, side, side, -1).astype(np.float32), verbose=0)
    assert found == pytest.approx(run_dlib(gray.astype(np.float32), iter(layers), widths, depths), rel=1e-3, abs=1e-3)
    # What normalises has the statistics of the faces: the first step sees what it expects.
    pooled = keras.Model(model.input, model.get_layer("features").input)
    seen = faces[:8].reshape(8, side, side, -1).astype(np.float32)
    fitting, after = np.asarray(pooled(seen, training=True)), np.asarray(pooled(seen, training=False))
    assert fitting == pytest.approx(after, rel=1e-3, abs=1e-3)


def test_the_recipe_keeps_its_size() -> None:
    from training.recipes import count_macs, find_recipe

    model = find_recipe("trunk").build(Preprocessing(48), 7)
    assert count_macs(model) <= 40_000_000
    assert model.count_params() <= 900_000


def test_a_fit_starts_from_dlibs_file_and_a_cut_one_is_one_line(tmp_path: Path, repository: Path) -> None:
    from lab.datasets.fer2013 import CLASSES

    rng = np.random.default_rng(0)
    lines = ["emotion,pixels,Usage"]
    for number in range(70):
        pixels = rng.integers(0, 256, 48 * 48)
        lines.append(
            f"{number % len(CLASSES)},{' '.join(map(str, pixels))},{'PublicTest' if number < 7 else 'Training'}"
        )
    (tmp_path / "fer2013.csv").write_text("\n".join(lines) + "\n")
    content = serialise(draw_layers((32, 64, 128), (3, 4, 2)))
    for name, end in (("whole.dat", None), ("cut.dat", -4)):
        (tmp_path / name).write_bytes(content[:end])
        line = [sys.executable, "-c", "from training.fit import main; main()", "trunk", "--epochs", "1"]
        line += ["--data", str(tmp_path / "fer2013.csv"), "--weights", str(tmp_path / name)]
        line += ["--out", str(tmp_path / name[:-4])]
        done = subprocess.run(line, cwd=repository, capture_output=True, text=True, check=False)
        if end is None:
            assert done.returncode == 0, done.stderr
            assert (tmp_path / "whole" / "model.keras").exists()
        else:
            ended_by(ModelUnreadable, done.returncode, done.stderr)
            assert "cut.dat: " in done.stderr.splitlines()[-1]
            assert "it is cut off; give trunk's own weights" in done.stderr.splitlines()[-1]
