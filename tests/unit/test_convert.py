"""`cuelens-convert` on networks that no recipe of ours made, by every kind of recipe of its own."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.errors import (
    DiskFull,
    GateFailed,
    InputMisread,
    LabelsPermuted,
    ModelShape,
    NotQuantised,
    OperatorUnsupported,
    RangesForeign,
    SettingsInvalid,
    SinkUnwritable,
)
from edge.vision.model import ExpressionModel
from lab.datasets.labelled import Labelled
from tests.support.failures import ended_by

pytestmark = [pytest.mark.host, pytest.mark.slow]

CONVERT = [sys.executable, "-c", "from converter.convert import main; main()"]
CLASSES = ("left", "middle", "right")
SIDE = 32


def draw(count: int, seed: int) -> Labelled:
    """Draw gray pictures in which the bright stripe's place is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    images = rng.integers(20, 90, (count, SIDE, SIDE))
    for image, label in zip(images, labels, strict=True):
        image[:, 4 + 9 * label : 10 + 9 * label] += rng.integers(25, 120)
    return Labelled(images.astype(np.uint8), labels.astype(np.int64))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures as a folder a class, split as the folder's reader does it."""
    root = tmp_path_factory.mktemp("stripes")
    for split, count in (("train", 240), ("validation", 150), ("test", 30)):
        data = draw(count, len(split))
        for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
            place = root / split / CLASSES[label]
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{number}.png"), image)
    return root


def build(*, activation: Any = "swish", scaled: bool = True) -> Any:
    """Fit a small separable network with concatenations: none of the recipes knows such a one."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    pixels = layers.Input((SIDE, SIDE, 1))
    x = layers.Rescaling(1 / 127.5, -1, name="rescaled")(pixels) if scaled else pixels
    activate = layers.Activation(activation, name="third") if isinstance(activation, str) else activation
    first = layers.Conv2D(8, 3, 2, "same", activation="swish" if scaled else "tanh", name="first")(x)
    second = layers.SeparableConv2D(8, 3, padding="same", use_bias=False, name="second")(first)
    second = activate(layers.BatchNormalization()(second))
    x = layers.MaxPooling2D()(layers.Concatenate()([first, second]))
    x = layers.Dropout(0.1)(layers.Flatten()(x))
    model = keras.Model(pixels, layers.Dense(len(CLASSES), activation="softmax", name="last")(x), name="stripes")
    data = draw(420, 3)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 0.005
    given = data.images[..., None].astype(np.float32)
    model.fit(given if scaled else given / 127.5 - 1, data.labels, epochs=10, verbose=0)
    return model


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "stripes.keras"
    build().save(path)
    return path


def convert(*words: str | Path, recipe: str | None = None, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run cuelens-convert in `folder`, with a recipe in TOML."""
    line = [*CONVERT, *map(str, words), "--native"]
    if recipe is not None:
        (folder / "recipe.toml").write_text(recipe)
        line += ["--recipe", str(folder / "recipe.toml")]
    where = Path(__file__).parents[2]
    return subprocess.run(line, cwd=where, capture_output=True, text=True, check=False)


def refusal_of(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["stripes.keras", "stripes.h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_network_that_no_recipe_knows_is_converted(name: str, network: Path, folder: Path, tmp_path: Path) -> None:
    if name.endswith(".h5"):
        import keras

        keras.saving.load_model(network).save(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(network.read_bytes())
    out = tmp_path / "out"
    done = convert(tmp_path / name, "--data", folder, "--out", out, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert sorted(path.name for path in out.iterdir()) == [
        "report.html",
        "report.json",
        "stripes.json",
        "stripes.tflite",
    ]
    model = ExpressionModel(out / "stripes.tflite")
    assert model.contract.labels == CLASSES
    assert (model.contract.input.dtype, model.contract.input.scale, model.contract.input.zero_point) == (
        "int8",
        1,
        -128,
    )
    data = draw(90, 9)
    said = [int(np.argmax(model.read(image))) for image in data.images]
    assert np.mean(np.array(said) == data.labels) > 0.9
    report = json.loads((out / "report.json").read_text())
    assert {"CONCATENATION", "DEPTHWISE_CONV_2D", "LOGISTIC"} <= {row["operator"] for row in report["operators"]}
    assert all(row["version"] <= row["most"] for row in report["operators"])
    assert report["gate"]["passed"]
    assert (out / "report.html").stat().st_size > 1000


def test_the_same_command_makes_the_same_bytes(network: Path, folder: Path, tmp_path: Path) -> None:
    for out in ("one", "two"):
        assert convert(network, "--data", folder, "--out", tmp_path / out, folder=tmp_path).returncode == 0
    for name in ("stripes.tflite", "stripes.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_operator_that_tflite_does_not_have_is_named(folder: Path, tmp_path: Path) -> None:
    from keras import ops

    build(activation=ops.erf).save(tmp_path / "stripes.keras")
    done = convert(tmp_path / "stripes.keras", "--data", folder, "--out", tmp_path / "out", folder=tmp_path)
    ended_by(OperatorUnsupported, done.returncode, done.stderr)
    assert "operator Erf" in refusal_of(done)
    assert not (tmp_path / "out").exists()


def test_a_layer_without_int8_kernels_is_named_and_may_be_kept_in_float(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "stripes.keras"
    build(activation="elu").save(path)
    refused = convert(path, "--data", folder, "--out", tmp_path / "out", folder=tmp_path)
    ended_by(NotQuantised, refused.returncode, refused.stderr)
    assert "ELU of layer third" in refusal_of(refused)
    assert not (tmp_path / "out").exists()
    kept = 'keep_float = ["third"]'
    done = convert(path, "--data", folder, "--out", tmp_path / "out", recipe=kept, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    contract = json.loads((tmp_path / "out" / "stripes.json").read_text())
    assert contract["recipe"]["kept_float"] == ["third"]
    again = convert(path, "--data", folder, "--check", tmp_path / "out" / "stripes.tflite", folder=tmp_path)
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("recipe", "ends", "gives"),
    [
        ('quantiser = "tensorflow"\nranges = "extremes"', ("int8", "int8"), "probabilities"),
        ("per_channel = false\ncorrect_biases = false", ("int8", "int8"), "probabilities"),
        ('ends = "float32"', ("float32", "float32"), "probabilities"),
        ("softmax = false", ("int8", "int8"), "logits"),
        ('[calibration]\nrows = 60\nchoice = "random"\nseed = 7', ("int8", "int8"), "probabilities"),
    ],
)
def test_what_a_recipe_says_is_done(
    recipe: str, ends: tuple[str, str], gives: str, network: Path, folder: Path, tmp_path: Path
) -> None:
    from converter.graph import WEIGHTED, read_graph

    done = convert(network, "--data", folder, "--out", tmp_path, recipe=recipe, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    model = ExpressionModel(tmp_path / "stripes.tflite")
    contract = model.contract
    assert (contract.input.dtype, contract.output.dtype) == ends
    assert contract.gives == gives
    graph = read_graph((tmp_path / "stripes.tflite").read_bytes())
    assert ("SOFTMAX" in {operator.name for operator in graph.operators}) == (gives == "probabilities")
    scales = {graph.tensors[step.inputs[1]].scale.size for step in graph.operators if step.name in WEIGHTED}
    assert (scales == {1}) == ("per_channel = false" in recipe)
    data = draw(60, 9)
    said = np.array([model.read(image) for image in data.images])
    assert said.sum(axis=1) == pytest.approx(np.ones(60), abs=1e-6)
    assert (said.argmax(axis=1) == data.labels).mean() > 0.9
    written = json.loads((tmp_path / "stripes.json").read_text())["recipe"]
    if "calibration" in recipe:
        assert written["calibration"] == {"rows": 60, "choice": "random", "seed": 7}


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("per_chanel = true", "recipe.toml:1: unknown setting 'per_chanel'; did you mean 'per_channel'"),
        ('quantiser = "torch"', "valid are ai-edge, tensorflow"),
        ('quantiser = "tensorflow"', 'ranges = "extremes"'),
        ("[calibration]\nrows = 0", "recipe.toml:2: calibration.rows is 0"),
        ('keep_float = ["fourth"]', "no layer 'fourth'; valid are rescaled, first"),
        ("per_channel =", "not TOML"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_one_line(
    recipe: str, words: str, network: Path, folder: Path, tmp_path: Path
) -> None:
    done = convert(network, "--data", folder, "--out", tmp_path / "out", recipe=recipe, folder=tmp_path)
    ended_by(SettingsInvalid, done.returncode, done.stderr)
    assert words in refusal_of(done)
    assert not (tmp_path / "out").exists()


def test_pixels_that_a_network_expects_scaled_are_found_out_and_given_so(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "stripes.keras"
    build(scaled=False).save(path)
    refused = convert(path, "--data", folder, "--out", tmp_path / "out", folder=tmp_path)
    ended_by(InputMisread, refused.returncode, refused.stderr)
    assert "with pixels / 127.5 - 1" in refusal_of(refused)
    assert not (tmp_path / "out").exists()
    recipe = refusal_of(refused).partition("the recipe: ")[2].rpartition(" [")[0]
    done = convert(path, "--data", folder, "--out", tmp_path / "out", recipe=recipe, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    model = ExpressionModel(tmp_path / "out" / "stripes.tflite")
    assert model.contract.input.scale == 1, "pixels go in as they are"
    data = draw(60, 9)
    assert np.mean([model.read(i)[c] > 0.4 for i, c in zip(data.images, data.labels, strict=True)]) > 0.9
    layers = json.loads((tmp_path / "out" / "report.json").read_text())["layers"]
    assert {"scaling", "first", "second"} <= {row["layer"] for row in layers}


def test_classes_in_another_order_are_found_out_and_stated(network: Path, folder: Path, tmp_path: Path) -> None:
    import keras

    model = keras.saving.load_model(network)
    order = [2, 0, 1]
    last = model.get_layer("last")
    last.set_weights([weights[..., order] for weights in last.get_weights()])
    path = tmp_path / "turned.keras"
    model.save(path)
    refused = convert(path, "--data", folder, "--out", tmp_path / "out", folder=tmp_path)
    ended_by(LabelsPermuted, refused.returncode, refused.stderr)
    assert not (tmp_path / "out").exists()
    recipe = refusal_of(refused).partition("the recipe: ")[2].rpartition(" [")[0]
    assert recipe == 'classes = ["right", "left", "middle"]'
    done = convert(path, "--data", folder, "--out", tmp_path / "out", recipe=recipe, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    model = ExpressionModel(tmp_path / "out" / "turned.tflite")
    assert model.contract.labels == ("right", "left", "middle")
    data = draw(60, 9)
    said = [model.contract.labels[int(np.argmax(model.read(image)))] for image in data.images]
    assert np.mean([name == CLASSES[label] for name, label in zip(said, data.labels, strict=True)]) > 0.9


def test_what_the_int8_kernels_refuse_is_named_by_its_layer(repository: Path) -> None:
    from converter.graph import read_graph
    from converter.probe import _explain_refusal

    graph = read_graph((repository / "models" / "emotion.tflite").read_bytes())
    words = (
        "tflite/kernels/kernel_util.cc:349 no_integer_overflow_from_quantization was not true.Node number 1 (X) failed"
    )
    found = _explain_refusal(graph, RuntimeError(words))
    assert isinstance(found, RangesForeign)
    assert "never fitted" in str(found)
    assert str(found).startswith("layer ")
    other = _explain_refusal(graph, RuntimeError("Node number 9999 failed"))
    assert isinstance(other, GateFailed)
    assert not isinstance(other, RangesForeign)
    assert "Node number 9999" in str(other)


def test_a_network_that_gives_logits_is_converted_as_such(network: Path, folder: Path, tmp_path: Path) -> None:
    import keras

    from converter.quantise import cut_softmax

    path = tmp_path / "stripes.keras"
    cut_softmax(keras.saving.load_model(network)).save(path)
    done = convert(path, "--data", folder, "--out", tmp_path, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    model = ExpressionModel(tmp_path / "stripes.tflite")
    assert model.contract.gives == "logits"
    data = draw(60, 9)
    said = np.array([model.read(image) for image in data.images])
    assert said.sum(axis=1) == pytest.approx(np.ones(60), abs=1e-6)
    assert (said.argmax(axis=1) == data.labels).mean() > 0.9


def test_another_number_of_classes_or_a_shape_that_is_no_picture_is_refused(
    network: Path, folder: Path, tmp_path: Path
) -> None:
    import keras

    other = keras.Sequential([keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    other.save(tmp_path / "four.keras")
    done = convert(tmp_path / "four.keras", "--data", folder, "--out", tmp_path / "out", folder=tmp_path)
    ended_by(ModelShape, done.returncode, done.stderr)
    assert "has 4 classes; stripes0 has 3: name the network's in its order, --classes" in refusal_of(done)
    assert not (tmp_path / "out").exists()


def test_a_refused_conversion_writes_its_report_where_asked_and_nothing_else(
    network: Path, folder: Path, tmp_path: Path
) -> None:
    out, report = tmp_path / "out", tmp_path / "report"
    # Nothing agrees as closely as this asks; no layer may be kept in float to get there.
    recipe = "most_float = 0\n[gate]\nagreement = 1.0\ndrift = 0.0"
    done = convert(network, "--data", folder, "--out", out, "--report", report, recipe=recipe, folder=tmp_path)
    assert done.returncode == GateFailed.exit_code
    assert done.stderr.rstrip().endswith(("[gate-failed]", "[confidence-drifted]"))
    assert "worst layer" in refusal_of(done)
    assert "worst class" in refusal_of(done)
    assert not out.exists()
    told_there = json.loads((report / "report.json").read_text())
    assert not told_there["gate"]["passed"]
    assert (report / "report.html").exists()


def test_the_noisiest_layers_are_kept_in_float_where_the_gate_fails_else(
    network: Path, folder: Path, tmp_path: Path
) -> None:
    """One scale for all weights of a layer, and a channel with huge ones: the others are lost until it is float."""
    import keras

    model = keras.saving.load_model(network)
    kernel, bias = model.get_layer("first").get_weights()
    kernel[..., 0] *= 300
    bias[0] = -10_000  # swish makes nothing of it: no other layer sees this channel
    model.get_layer("first").set_weights([kernel, bias])
    model.save(tmp_path / "stripes.keras")
    words = (tmp_path / "stripes.keras", "--data", folder, "--out", tmp_path / "out")
    coarse = 'per_channel = false\nranges = "extremes"\ncorrect_biases = false\n'
    refused = convert(*words, recipe=coarse + "most_float = 0", folder=tmp_path)
    assert refused.returncode != 0, refused.stdout
    assert "worst layer first" in refusal_of(refused)
    done = convert(*words, recipe=coarse, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    contract = json.loads((tmp_path / "out" / "stripes.json").read_text())
    assert contract["recipe"]["kept_float"][0] == "first"


def test_a_full_disk_is_one_line_and_leaves_nothing(network: Path, folder: Path, tmp_path: Path) -> None:
    words = [str(network), "--data", str(folder), "--out", str(tmp_path / "out"), "--native"]
    # A file may have 130 KB: enough for the network, not for the pictures that a runtime is given.
    limited = ["bash", "-c", 'ulimit -f 130; exec "$@"', "bash", *CONVERT, *words]
    where = Path(__file__).parents[2]
    done = subprocess.run(limited, cwd=where, capture_output=True, text=True, check=False)
    ended_by(DiskFull, done.returncode, done.stderr)
    assert "free some space" in refusal_of(done)
    assert not (tmp_path / "out").exists()


def test_steps_are_shown_on_a_terminal(network: Path, folder: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    line = [*CONVERT, str(network), "--data", str(folder), "--out", str(tmp_path), "--native"]
    where = Path(__file__).parents[2]
    with subprocess.Popen(line, cwd=where, stdout=subprocess.PIPE, stderr=theirs, text=True) as running:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # how a terminal ends
                break
    os.close(ours)
    assert running.returncode == 0
    for step in (b"read the data", b"calibrate", b"correct biases", b"judge"):
        assert step in shown


def test_a_network_of_a_name_that_is_no_utf8_is_converted(network: Path, folder: Path, tmp_path: Path) -> None:
    given, out = tmp_path / "caf\udce9.keras", tmp_path / "out\udce9"
    given.write_bytes(network.read_bytes())
    done = convert(given, "--data", folder, "--out", out, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "caf\\udce9.tflite" in done.stdout
    assert ExpressionModel(out / "caf\udce9.tflite").contract.labels == CLASSES


@pytest.mark.parametrize("out", ["out", "there", "o" * 256])
def test_a_name_too_long_for_a_file_is_refused_before_the_work(out: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    given = tmp_path / f"{'n' * 249}.keras"  # with .tflite one byte more than a file system takes
    given.write_bytes(b"no network")
    done = convert(given, "--data", folder, "--out", tmp_path / out, folder=tmp_path)
    ended_by(SinkUnwritable, done.returncode, done.stderr)
    assert "give it a shorter name" in refusal_of(done)
