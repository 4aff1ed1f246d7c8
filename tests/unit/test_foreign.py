"""What a network made elsewhere expects is found on labelled pictures, and nothing is found where nothing is to be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge.errors import InputMisread, LabelsPermuted, ModelUnreadable, SettingsInvalid
from lab.datasets.classes import match_classes, reorder
from lab.datasets.fer2013 import CLASSES
from lab.datasets.ferplus import EIGHT
from lab.datasets.labelled import DataSet, Labelled
from lab.networks.foreign import (
    AS_OPTION,
    IN_RECIPE,
    USUAL,
    Pixels,
    Scaling,
    assign,
    describe_order,
    examine,
    find_order,
    rarer_scalings,
    read_scaling,
)
from tests.support.failures import refusal_of

FERPLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")  # FER+'s own order
SIDE = 12


def draw(count: int = 210, colours: int = 0, classes: int = 7, seed: int = 0) -> tuple[Any, Any]:
    """Draw pictures whose brightness (and, of colour, balance) is the class: uint8 (n, 12, 12[, 3]), labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    levels = 30 + 190 * (labels / (classes - 1)) ** 1.7  # uneven: inverted they are no other order of the same
    shape = (count, SIDE, SIDE) + ((3,) if colours else ())
    values = np.broadcast_to(levels.reshape(-1, *(1,) * (len(shape) - 1)), shape).copy()
    if colours:
        values[..., 0] = 250 - values[..., 0]
    return np.clip(values + rng.normal(0, 4, shape), 0, 255).astype(np.uint8), labels.astype(np.int64)


class Reader:
    """A network that knows `draw`'s classes where it is given pixels as it expects them, in its order of columns."""

    def __init__(self, scaling: Scaling, order: Sequence[int], channels: int = 1) -> None:
        images, labels = draw(7, channels - 1)
        pixels = images.reshape(7, SIDE, SIDE, -1).astype(np.float32)
        means = scaling.apply(pixels).mean(axis=(1, 2))
        self._means, self._order, self._spread = means, list(order), np.ptp(means) / 20
        assert labels.tolist() == list(range(7))

    def __call__(self, pixels: Pixels) -> npt.NDArray[np.float64]:
        seen = pixels.mean(axis=(1, 2))
        far = np.abs(seen[:, None] - self._means[None]).sum(axis=2) / self._spread
        powers = np.exp(-np.minimum(far, 50)) + 1e-9
        said = np.zeros_like(powers)
        said[:, self._order] = powers / powers.sum(axis=1, keepdims=True)
        return said


PLAIN = tuple(range(7))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
def test_an_assignment_is_the_best_of_all(size: int) -> None:
    rng = np.random.default_rng(size)
    for ties in (False, True):
        gains = rng.integers(0, 3, (size, size)).astype(float) if ties else rng.random((size, size))
        best = max(sum(gains[row, column] for row, column in enumerate(order)) for order in permutations(range(size)))
        order = assign(gains)
        assert sorted(order) == list(range(size))
        assert sum(gains[row, column] for row, column in enumerate(order)) == pytest.approx(best)
    assert assign(np.ones((size, size))) == list(range(size))


@pytest.mark.parametrize(
    "name", ["pixels / 255", "pixels / 127.5 - 1", "1 - pixels / 255", "pixels less the data's mean"]
)
def test_a_scaling_is_found_and_said_as_the_recipe_and_the_option_have_it(name: str) -> None:
    images, labels = draw()
    scaling = (USUAL | rarer_scalings(images))[name]
    for advice in (IN_RECIPE, AS_OPTION):
        with pytest.raises(InputMisread) as caught:
            examine(Path("a.h5"), Reader(scaling, PLAIN), images, labels, CLASSES, advice=advice)
        words = str(caught.value)
        assert f"1.000 with {name}: " in words
        found = words.partition("{ " if advice is IN_RECIPE else "--input '")[2].rstrip(" }'")
        pixels = images[:20, :, :, None].astype(np.float32)
        assert read_scaling(found).apply(pixels) == pytest.approx(scaling.apply(pixels), abs=1e-3)
    examine(Path("a.h5"), Reader(scaling, PLAIN), images, labels, CLASSES, scaled=True, ordered=True)


@pytest.mark.parametrize(
    "scaling",
    [
        Scaling(1 / 255, mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225)),
        Scaling(mean=(103.939, 116.779, 123.68), channels="bgr"),
        Scaling(1 / 255, channels="bgr"),
        Scaling(channels="bgr"),
    ],
)
def test_means_and_channels_of_colour_networks_are_found(scaling: Scaling) -> None:
    images, labels = draw(colours=2)
    with pytest.raises(InputMisread) as caught:
        examine(Path("a.h5"), Reader(scaling, PLAIN, 3), images, labels, CLASSES)
    found = read_scaling(str(caught.value).partition("--input '")[2].rstrip("'"))
    assert (found.channels, found.scale) == (scaling.channels, pytest.approx(scaling.scale))
    assert len(found.mean) == len(scaling.mean)


def test_a_network_of_plain_pixels_in_the_datas_order_is_believed() -> None:
    images, labels = draw()
    assert refusal_of(examine, Path("a.h5"), Reader(Scaling(), PLAIN), images, labels, CLASSES) == ""


@pytest.mark.parametrize(
    "names",
    [
        sorted(CLASSES),
        FERPLUS,
        ("happy", *CLASSES[1:3], "angry", *CLASSES[4:]),
        (*CLASSES[:-2], "neutral", "surprise"),
        CLASSES[::-1],
    ],
)
def test_another_order_of_the_classes_is_found_and_named(names: Sequence[str]) -> None:
    images, labels = draw()
    places = dict(match_classes(names, CLASSES).pairs)
    with pytest.raises(LabelsPermuted) as caught:
        examine(Path("a.h5"), Reader(Scaling(), [places[i] for i in range(7)]), images, labels, CLASSES)
    stated = str(caught.value).partition("--classes ")[2].split(",")
    assert dict(match_classes(stated, CLASSES).pairs) == places


def test_a_scaling_is_found_through_another_order() -> None:
    images, labels = draw()
    with pytest.raises(InputMisread, match=r"1\.000 with pixels / 127\.5 - 1"):
        examine(Path("a.h5"), Reader(Scaling(1 / 127.5, -1), [6, 5, 4, 3, 2, 1, 0]), images, labels, CLASSES)


@pytest.mark.parametrize("seed", range(8))
def test_chance_and_one_answer_to_everything_are_no_other_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.arange(350) % 7
    assert find_order(rng.integers(7, size=350), labels, 7) == list(PLAIN)
    assert find_order(np.full(350, seed % 7), labels, 7) == list(PLAIN)


def test_a_class_that_is_mostly_taken_for_a_common_one_has_not_changed_places() -> None:
    # As of FER2013's networks on news photographs: of 4,854 neutral faces 1,456 are called so, 1,800 sad.
    labels = np.array([6] * 4854 + [4] * 70)
    said = np.array([6] * 1456 + [4] * 1800 + [0] * 1598 + [4] * 45 + [6] * 25)
    assert describe_order(said, labels, CLASSES) is None


def test_two_rare_classes_that_change_places_are_found_among_common_ones() -> None:
    rng = np.random.default_rng(1)
    labels = np.concatenate([np.full(2000, 3), np.full(60, 1), np.full(60, 2)])
    said = np.where(rng.random(2120) < 0.7, np.array([0, 2, 1, 3, 4, 5, 6])[labels], 3)
    found = describe_order(said, labels, CLASSES)
    assert found is not None
    assert found[0] == ("angry", "fear", "disgust", "happy", "sad", "surprise", "neutral")


def test_classes_match_by_their_names_whatever_their_order_and_spelling() -> None:
    match = match_classes(("Neutral", "happiness", "anger", "contempt"), CLASSES)
    assert match.classes == ("angry", "happy", "neutral")
    assert (match.columns, match.model_only) == ([2, 1, 0], ("contempt",))
    assert match.data_only == ("disgust", "fear", "sad", "surprise")
    assert match.relabel(np.array([0, 1, 3, 6])).tolist() == [0, -1, 1, 2]
    said = match.select(np.array([[0.2, 0.2, 0.1, 0.5], [0, 0, 0, 1.0]]))
    assert said == pytest.approx(np.array([[0.2, 0.4, 0.4], [1 / 3] * 3]))
    assert match.narrow(["angry", "neutral"]).columns == [2, 0]


def test_data_follows_the_order_of_the_network() -> None:
    data = DataSet(
        "x", ("anger", "contempt", "disgust"), {"train": Labelled(np.zeros((3, 2, 2), np.uint8), np.arange(3))}
    )
    moved = reorder(data, ("disgust", "angry", "contempt"))
    assert moved.classes == ("disgust", "anger", "contempt")
    assert moved.fit.labels.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("scale =", "--input"),
        ("scal = 1", "did you mean 'scale'"),
        ('channels = "grb"', "rgb, bgr"),
        ("mean = ['a']", "float"),
    ],
)
def test_words_that_say_no_scaling_are_named(words: str, said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said):
        read_scaling(words)


def test_a_scaling_of_other_channels_is_named() -> None:
    with pytest.raises(SettingsInvalid, match=r"input\.mean has 3 values"):
        Scaling(mean=(1.0, 2.0, 3.0)).check(1)


@pytest.mark.host
@pytest.mark.parametrize(
    "scaling", [Scaling(1 / 127.5, -1.0), Scaling(0.5, 1.0, (1.0, 2.0, 3.0), (2.0, 4.0, 8.0), "bgr")]
)
def test_what_is_put_before_a_network_does_what_the_scaling_says(scaling: Scaling) -> None:
    import keras

    from lab.networks.keras_file import give_pixels

    pixels = keras.Input((4, 4, 3))
    network = give_pixels(keras.Model(pixels, keras.layers.Reshape((4, 4, 3))(pixels)), scaling)
    given = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3)).astype(np.float32)
    assert network.predict(given, verbose=0) == pytest.approx(scaling.apply(given), abs=1e-3)


@pytest.mark.host
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_sequential_of_keras_2_is_read_and_what_cannot_be_is_explained(tmp_path: Path) -> None:
    import json

    import h5py
    import keras

    from lab.networks.keras_file import load_keras

    model = keras.Sequential(
        [keras.layers.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, name="conv"), keras.layers.Flatten(name="flat")]
    )
    path = tmp_path / "old.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layers = config["config"]["layers"]
        del layers[0]
        layers[0]["config"]["batch_input_shape"] = [None, 8, 8, 1]
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config).encode(), b"2.2.4"
    images = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    assert load_keras(path).predict(images, verbose=0) == pytest.approx(model.predict(images, verbose=0), abs=1e-5)

    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"x")
    for name in ("saved", "saved/saved_model.pb"):
        with pytest.raises(ModelUnreadable, match=r"a SavedModel; .*\.keras or \.h5"):
            load_keras(tmp_path / name)
    pixels = keras.Input((8, 8, 1))
    lambda_model = keras.Model(pixels, keras.layers.Flatten()(keras.layers.Lambda(lambda x: x / 255)(pixels)))
    lambda_model.save(tmp_path / "lambda.keras")
    with pytest.raises(ModelUnreadable, match="a Lambda layer") as caught:
        load_keras(tmp_path / "lambda.keras")
    assert "safe_mode" not in str(caught.value)


def test_the_eight_classes_begin_with_fer2013s() -> None:
    assert EIGHT[:7] == CLASSES
