"""From a network fitted to one label a picture to one that gives the shares of raters' votes, calibrated.

Between the last fit and the conversion: the last dense layer is fitted to FER+'s votes, a temperature to their
majority, and a prior is put into its biases.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from lab.calibration import fit_temperature
from lab.datasets.ferplus import drop_no_face, relabel, soft_labels
from lab.datasets.labelled import Labelled
from lab.datasets.read import read_data
from lab.networks.classifier import predict_keras
from lab.networks.keras_file import load_keras, preprocessing_of, read_about, save_keras
from training.head import last_dense, refit_head

LEAST_VOTES = 5  # of the ten raters, for one of the seven classes: fewer say more of the picture than of the face

PRIOR = {
    "angry": 0.035,
    "disgust": 0.01,
    "fear": 0.01,
    "happy": 0.33,
    "sad": 0.035,
    "surprise": 0.03,
    "neutral": 0.55,
}
"""Shares assumed of faces in company, mostly at rest or smiling, as on photographs of the news; not measured."""

TRUST = 0.25
"""Power of PRIOR against the shares that the network was fitted to, 0 (none) to 1: chosen on PublicTest and `wild`.

At 1 the four words are right most often in everyday faces, and posed anger and sadness are called neutral.
"""


def temper(source: Path, data_path: Path, target: Path) -> float:
    """Fit a temperature on the choose split, put it into the last layer's weights and save as `target`; returns it.

    Dividing weights and bias divides the logits (Guo et al., arXiv 1706.04599): no reader can forget to. The decision
    for each picture stays as it was.
    """
    model = load_keras(source)
    data = read_data(data_path, preprocessing_of(model, source), ("choose",))
    temperature = fit_temperature(predict_keras(model, data.choose.images), data.choose.labels)
    dense = last_dense(model)
    dense.set_weights([weights / temperature for weights in dense.get_weights()])
    save_keras(model, target, _about(source, temperature=_describe(temperature, next(iter(data.splits)))))
    return temperature


def _describe(temperature: float, split: str) -> dict[str, Any]:
    return {"value": round(temperature, 5), "fitted_on": split, "applied": "in the last layer"}


def _about(source: Path, **given: Any) -> dict[str, Any]:
    return {**read_about(source), "made_from": hashlib.sha256(source.read_bytes()).hexdigest(), **given}


def aim_at_raters(source: Path, data_path: Path, ferplus: Path, target: Path) -> dict[str, Any]:
    """Give the network at `source` the raters' truth and save it as `target`; returns what it was given.

    Raises what `read_data`, `load_keras` and `save_keras` raise, SettingsInvalid for classes that FER+ lacks.
    """
    model = load_keras(source)
    data = read_data(data_path, preprocessing_of(model, source), ("fit", "choose"), ferplus=ferplus)
    train = _rated(data.fit)
    shares = soft_labels(_votes(train))
    both = np.concatenate([train.images, train.images[:, :, ::-1]])
    entropy = refit_head(model, both, np.concatenate([shares, shares]))
    chosen = relabel(data.choose)
    temperature = fit_temperature(predict_keras(model, chosen.images), chosen.labels)
    ratio = np.array([PRIOR[name] for name in data.classes]) / shares.mean(axis=0)
    dense = last_dense(model)
    kernel, bias = dense.get_weights()
    dense.set_weights([kernel / temperature, bias / temperature + TRUST * np.log(ratio)])
    given = {
        "temperature": _describe(temperature, list(data.splits)[1]),
        "votes": {"rows": len(train.labels), "cross_entropy": round(entropy, 5), "fitted": "the last layer"},
        "prior": {"shares": PRIOR, "trust": TRUST, "applied": "in the last layer's biases"},
    }
    save_keras(model, target, _about(source, **given))
    return given


def _rated(data: Labelled) -> Labelled:
    """Return the rows that enough raters gave one of the seven classes."""
    faces = drop_no_face(data)
    columns = soft_labels(np.eye(10, dtype=np.uint8)).any(axis=1)
    return faces.take(np.flatnonzero(_votes(faces)[:, columns].sum(axis=1) >= LEAST_VOTES))


def _votes(data: Labelled) -> np.ndarray[Any, np.dtype[np.uint8]]:
    assert data.votes is not None
    return data.votes
