"""Training and conversion for real, on a small scale: synthetic faces, the shipped recipe, the real converter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import GateFailed, ModelUnreadable
from edge.model import ExpressionModel
from training.fer2013 import CLASSES, Labelled

pytestmark = [pytest.mark.host, pytest.mark.slow]

TRAIN = [sys.executable, "-c", "from training.fit import main; main()", "compact"]
CONVERT = [sys.executable, "-c", "from converter.convert import main; main()"]
EVALUATE = [sys.executable, "-c", "from training.evaluate import main; main()"]


def draw(count: int, seed: int) -> Labelled:
    """Draw `count` pictures in which the bright stripe's height is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    images = rng.integers(20, 90, (count, 48, 48))
    for image, label in zip(images, labels, strict=True):
        image[4 + 6 * label : 10 + 6 * label] += 150
    return Labelled(images.astype(np.uint8), labels.astype(np.int64))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "fer2013.csv"
    lines = ["emotion,pixels,Usage"]
    for split, count in (("Training", 256), ("PublicTest", 70)):
        data = draw(count, len(split))
        for image, label in zip(data.images, data.labels, strict=True):
            lines.append(f"{label},{' '.join(map(str, image.ravel()))},{split}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def stripes() -> Any:
    """A small network that knows the stripes."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((48, 48, 1)),
            layers.Rescaling(1 / 127.5, -1),
            layers.Conv2D(8, 3, 2, "same", activation="relu"),
            layers.AveragePooling2D(3),
            layers.Flatten(),
            layers.Dense(len(CLASSES), activation="softmax"),
        ]
    )
    data = draw(512, 3)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 0.01
    model.fit(data.images[..., None].astype(np.float32), data.labels, epochs=15, verbose=0)
    return model


def test_the_compact_recipe_keeps_its_size() -> None:
    from training.recipes import RECIPES, count_macs

    model = RECIPES["compact"].build(48, 7)
    assert count_macs(model) <= 40_000_000
    assert model.count_params() <= 1_000_000
    assert model.output_shape == (None, 7)


def test_training_killed_after_an_epoch_goes_on_from_there_and_its_model_can_be_evaluated(
    table: Path, tmp_path: Path, repository: Path
) -> None:
    out = tmp_path / "out"
    command = [*TRAIN, "--data", str(table), "--out", str(out), "--epochs", "3"]
    first = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert first.stdout is not None
    for line in first.stdout:
        if line.lstrip("\r").startswith("epoch 2/3"):
            break
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    first.stdout.close()
    assert not (out / "emotion.keras").exists()
    history = json.loads((out / "history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2]

    (out / "staged.weights.h5").write_bytes(b"half a checkpoint: the kill may come while it is saved")
    second = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert "epoch 1/3" not in second.stdout
    assert not (out / "staged.weights.h5").exists()
    assert "epoch 3/3" in second.stdout
    resumed = json.loads((out / "history.json").read_text())
    assert [row["epoch"] for row in resumed] == [1, 2, 3]
    assert resumed[0] == history[0]
    assert (out / "history.png").read_bytes().startswith(b"\x89PNG")

    judged = [*EVALUATE, str(out / "emotion.keras"), "--data", str(table), "--json"]
    result = json.loads(subprocess.run(judged, cwd=repository, capture_output=True, text=True, check=True).stdout)
    assert result["rows"] == 70
    # The file holds the averaged weights that the last epoch was judged by.
    assert result["accuracy"] == pytest.approx(resumed[-1]["val_accuracy"], abs=0.02)


def test_a_converted_model_is_whole_int8_and_agrees(stripes: Any, tmp_path: Path) -> None:
    from converter.convert import convert

    stripes.save(tmp_path / "stripes.keras")
    out = tmp_path / "out"
    contract = convert(tmp_path / "stripes.keras", draw(280, 1), draw(140, 2), out, count=140, seed=0)
    assert sorted(path.name for path in out.iterdir()) == ["stripes.json", "stripes.tflite"]
    assert contract["input"] == {"shape": [1, 48, 48, 1], "dtype": "int8", "scale": 1.0, "zero_point": -128}
    assert contract["measured"]["PublicTest"]["agreement"] >= 0.97
    model = ExpressionModel(out / "stripes.tflite")
    data = draw(70, 9)
    said = [int(np.argmax(model.read(image))) for image in data.images]
    assert np.mean(np.array(said) == data.labels) > 0.9


def test_a_conversion_that_is_not_the_network_is_refused_and_nothing_is_written(
    stripes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    from converter import convert as module

    other = keras.models.clone_model(stripes)  # the same graph with weights of its own
    content = module.quantise(other, draw(70, 1).images)
    monkeypatch.setattr(module, "quantise", lambda model, calibration: content)
    stripes.save(tmp_path / "stripes.keras")
    with pytest.raises(GateFailed, match="agrees with float on"):
        module.convert(tmp_path / "stripes.keras", draw(70, 1), draw(140, 2), tmp_path / "out", count=70, seed=0)
    assert not (tmp_path / "out").exists()


def test_a_damaged_keras_file_is_one_line(table: Path, tmp_path: Path, repository: Path) -> None:
    (tmp_path / "bad.keras").write_bytes(b"PK\x03\x04 not a model")
    command = [*CONVERT, str(tmp_path / "bad.keras"), "--data", str(table), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == ModelUnreadable.exit_code
    assert "bad.keras" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_calibration_is_drawn_from_every_class_and_by_the_seed() -> None:
    from converter.convert import choose_calibration

    data = draw(700, 0)
    first, again = choose_calibration(data, 140, 1), choose_calibration(data, 140, 1)
    assert np.array_equal(first, again)
    assert len(first) == 140
    brightest = first[:, 4:46].reshape(140, 7, 6, 48).mean(axis=(2, 3)).argmax(axis=1)
    assert np.bincount(brightest, minlength=7).tolist() == [20] * 7
