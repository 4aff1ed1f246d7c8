"""The last layer learns what the raters said, is as sure as it is right, and leans to the stated prior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.datasets.fer2013 import CLASSES
from lab.datasets.ferplus import COLUMNS

pytestmark = pytest.mark.host

VOTED = {"happy": "happiness", "sad": "sadness", "angry": "anger"}


def network() -> Any:
    """A network of features that a random projection makes: a last layer can distinguish the demo's faces by them."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    pixels = layers.Input((48, 48, 1), name="pixels")
    x = layers.AveragePooling2D(4)(layers.Rescaling(1 / 127.5, -1)(pixels))
    x = layers.Dense(96, activation="relu", trainable=False)(layers.Flatten()(x))
    x = layers.Dropout(0.1, name="features")(x)
    return keras.Model(pixels, layers.Softmax(name="probabilities")(layers.Dense(7)(x)))


def test_the_head_of_least_entropy_is_found() -> None:
    from lab.networks.keras_file import as_batch
    from training.head import refit_head

    model = network()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 48, 48), dtype=np.uint8)
    bright = images.reshape(300, -1).mean(axis=1)
    images[bright > np.median(bright)] //= 2
    dark = images.reshape(300, -1).mean(axis=1) < 100
    shares = np.zeros((300, 7), np.float32)
    shares[:, 0], shares[:, 3] = np.where(dark, 0.9, 0.2), np.where(dark, 0.1, 0.8)
    entropy = refit_head(model, images, shares)
    least = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1)) / 2 - (0.2 * np.log(0.2) + 0.8 * np.log(0.8)) / 2
    assert entropy == pytest.approx(least, abs=0.02)
    given = np.asarray(model.predict_on_batch(as_batch(images)))
    assert np.abs(given - shares).max() < 0.1
    # Nothing but the last layer changed.
    frozen = network().layers[4].get_weights()
    assert all(np.array_equal(one, other) for one, other in zip(model.layers[4].get_weights(), frozen, strict=True))


def write_tables(folder: Path) -> tuple[Path, Path]:
    """FER2013's table of the demo's faces, and raters who call every second angry face neutral, one rater contempt."""
    from tests.support.tables import write_table

    data, votes = folder / "fer2013.csv", folder / "votes.csv"
    write_table(data)
    lines = [f"Usage,Image name,{','.join(COLUMNS)}"]
    for number, row in enumerate(data.read_text().splitlines()[1:]):
        name = CLASSES[int(row.split(",")[0])]
        seen = "neutral" if name == "angry" and number % 2 else name
        counts = [9 * (column == VOTED.get(seen, seen)) + (column == "contempt") for column in COLUMNS]
        lines.append(f"{row.rsplit(',', 1)[1]},x.png,{','.join(map(str, counts))}")
    votes.write_text("\n".join(lines) + "\n")
    return data, votes


def test_a_network_is_aimed_at_the_raters_and_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lab.datasets.ferplus import relabel
    from lab.datasets.read import read_data
    from lab.networks.keras_file import as_batch, load_keras, read_about, save_keras
    from training import raters

    data, votes = write_tables(tmp_path)
    source, plain, leaning = (tmp_path / f"{name}.keras" for name in ("source", "plain", "leaning"))
    save_keras(network(), source, {"classes": list(CLASSES)})
    monkeypatch.setattr(raters, "TRUST", 0.0)
    raters.aim_at_raters(source, data, votes, plain)
    monkeypatch.setattr(raters, "TRUST", 1.0)
    given = raters.aim_at_raters(source, data, votes, leaning)
    from edge.vision.preprocessing import Preprocessing

    chosen = relabel(read_data(data, Preprocessing(48), ("choose",), ferplus=votes).choose)
    said = [np.asarray(load_keras(path).predict_on_batch(as_batch(chosen.images))) for path in (plain, leaning)]
    others = chosen.labels != CLASSES.index("neutral")
    assert (said[0].argmax(axis=1) == chosen.labels)[others].mean() > 0.8
    # The prior moves every answer by the same ratio, and neutral up.
    shares = raters.PRIOR["neutral"] / raters.PRIOR["fear"]
    neutral, fear = CLASSES.index("neutral"), CLASSES.index("fear")
    moved = np.log(said[1][:, neutral] / said[1][:, fear]) - np.log(said[0][:, neutral] / said[0][:, fear])
    assert np.ptp(moved) < 1e-2
    assert moved.mean() == pytest.approx(np.log(shares * _share(votes, "fear") / _share(votes, "neutral")), abs=0.05)
    about = read_about(leaning)
    assert about["classes"] == list(CLASSES)
    assert about["temperature"] == given["temperature"]
    assert about["prior"] == {"shares": raters.PRIOR, "trust": 1.0, "applied": "in the last layer's biases"}
    assert about["votes"]["rows"] == 256


def _share(votes: Path, column: str) -> float:
    rows = [line.split(",") for line in votes.read_text().splitlines()[1:] if line.startswith("Training")]
    counts = np.array([row[2:] for row in rows], int)[:, :8]
    counts = counts[:, [COLUMNS.index(name) for name in COLUMNS[:7]]]
    return float((counts / counts.sum(axis=1, keepdims=True)).mean(axis=0)[COLUMNS.index(column)])


def test_the_prior_is_one() -> None:
    from training.raters import PRIOR

    assert set(PRIOR) == set(CLASSES)
    assert sum(PRIOR.values()) == pytest.approx(1)
