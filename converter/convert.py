"""`cuelens-convert`: calibrate, quantise, compare with the float model, and only then write."""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converter.contract import write_contract
from edge.command import command
from edge.errors import GateFailed, RuntimeMissing, SinkUnwritable
from edge.files import replace_file
from edge.model import ExpressionModel, load_interpreter
from edge.quiet import quiet
from training.evaluate import load_keras, predict_keras, predict_tflite
from training.fer2013 import CLASSES, Labelled, read_fer2013

LEAST_AGREEMENT = 0.97  # top-1, float against int8: below it the file is not the network that was evaluated
MOST_LOSS = 0.01  # of PublicTest accuracy


def choose_calibration(train: Labelled, count: int, seed: int) -> npt.NDArray[np.uint8]:
    """Draw `count` Training faces, the same share of each class as far as it has them: uint8 (n, h, w)."""
    rng = np.random.default_rng(seed)
    present = np.unique(train.labels)
    chosen = [
        rng.permutation(np.flatnonzero(train.labels == label))[: max(1, count // len(present))] for label in present
    ]
    images: npt.NDArray[np.uint8] = train.images[rng.permutation(np.concatenate(chosen))]
    return images


def quantise(model: Any, calibration: npt.NDArray[np.uint8]) -> bytes:
    """Turn a Keras model of raw gray pixels into a TFLite file: int8 in and out, weights per channel.

    Ranges come from `calibration`, uint8 (n, side, side). Raises RuntimeMissing without TensorFlow.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise RuntimeMissing("tensorflow is not installed here; run ./deploy.sh host and use .venv-host/bin") from error

    def faces() -> Iterator[list[npt.NDArray[np.float32]]]:
        # Two flat pictures pin the input's range to 0..255 whatever was drawn: int8 is then pixel - 128 exactly.
        extremes = np.stack([np.zeros_like(calibration[0]), np.full_like(calibration[0], 255)])
        for face in np.concatenate([calibration, extremes]):
            yield [face[None, :, :, None].astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = faces
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet():
        return bytes(converter.convert())


def convert(path: Path, train: Labelled, public: Labelled, out: Path, *, count: int, seed: int) -> dict[str, Any]:
    """Convert the .keras file at `path` into OUT/NAME.tflite and OUT/NAME.json; returns the contract.

    Raises GateFailed, and then writes nothing, when int8 agrees with float on less than 97 % of
    `public` or loses more than a point there.
    """
    model = load_keras(path)
    content = quantise(model, choose_calibration(train, count, seed))
    interpreter, _ = load_interpreter(content)
    contract = write_contract(
        content,
        interpreter,
        CLASSES,
        training={
            "data": "FER2013 Training (Goodfellow et al., arXiv 1307.0414)",
            "rows": len(train.labels),
            "network": model.name,
            "keras_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        },
        calibration={"rows": count, "seed": seed, "split": "Training"},
    )
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder) / f"{path.stem}.tflite"
        staged.write_bytes(content)
        staged.with_suffix(".json").write_text(json.dumps(contract))
        quantised = ExpressionModel(staged)  # the device's own checks come first
        int8, real = predict_tflite(quantised, public.images), predict_keras(model, public.images)
    accuracy_int8 = float((int8.argmax(axis=1) == public.labels).mean())
    accuracy_float = float((real.argmax(axis=1) == public.labels).mean())
    agreement = float((int8.argmax(axis=1) == real.argmax(axis=1)).mean())
    if agreement < LEAST_AGREEMENT or accuracy_float - accuracy_int8 > MOST_LOSS:
        raise GateFailed(
            f"{path}: int8 agrees with float on {agreement:.3f} of PublicTest (least {LEAST_AGREEMENT}) and scores "
            f"{accuracy_int8:.4f} against {accuracy_float:.4f} (most loss {MOST_LOSS}); nothing was written"
        )
    contract["measured"] = {
        "PublicTest": {
            "rows": len(public.labels),
            "accuracy": round(accuracy_int8, 5),
            "accuracy_float": round(accuracy_float, 5),
            "agreement": round(agreement, 5),
            "runtime": quantised.runtime,
        }
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkUnwritable(f"{out}: {error.strerror}; give --out a folder that can be written") from error
    replace_file(out / f"{path.stem}.tflite", content)
    replace_file(out / f"{path.stem}.json", json.dumps(contract, indent=1).encode() + b"\n")
    return contract


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Convert a .keras classifier of gray faces to full int8 TFLite with its contract."""
    parser.add_argument("model", type=Path, help="a .keras file by cuelens-train")
    parser.add_argument("--data", type=Path, required=True, help="fer2013.csv, plain or .gz, .xz, .zip")
    parser.add_argument("--out", type=Path, required=True, help="folder for NAME.tflite and NAME.json")
    parser.add_argument("--calibration", type=int, default=1000, help="Training faces to calibrate with (1000)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    data = read_fer2013(args.data, "Training", "PublicTest")
    contract = convert(
        args.model, data["Training"], data["PublicTest"], args.out, count=args.calibration, seed=args.seed
    )
    measured = contract["measured"]["PublicTest"]
    print(
        f"{args.out / args.model.stem}.tflite: {contract['size'] / 1e6:.3f} MB, PublicTest {measured['accuracy']:.4f} "
        f"(float {measured['accuracy_float']:.4f}), agreement {measured['agreement']:.4f}"
    )
