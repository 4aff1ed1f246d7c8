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
from edge.errors import GateFailed, RuntimeMissing
from edge.files import replace_file, sink_error
from edge.model import ExpressionModel, load_interpreter
from edge.quiet import quiet
from training.data import read_data
from training.evaluate import predict_keras, predict_tflite
from training.keras_file import as_batch, check_classes, load_keras, preprocessing_of, read_about
from training.sample import draw_rows

LEAST_AGREEMENT = 0.97  # top-1, float against int8: below it the file is not the network that was evaluated
MOST_LOSS = 0.01  # of PublicTest accuracy


def quantise(model: Any, calibration: npt.NDArray[np.uint8]) -> bytes:
    """Turn a Keras model of raw pixels into a TFLite file: int8 in and out, weights per channel.

    Ranges come from `calibration`, uint8 (n, side, side) or (n, side, side, 3). Raises RuntimeMissing without
    TensorFlow.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise RuntimeMissing("tensorflow is not installed here; run ./deploy.sh host and use .venv-host/bin") from error

    def pictures() -> Iterator[list[npt.NDArray[np.float32]]]:
        # Two flat pictures pin the input's range to 0..255 whatever was drawn: int8 is then pixel - 128 exactly.
        extremes = np.stack([np.zeros_like(calibration[0]), np.full_like(calibration[0], 255)])
        for picture in as_batch(np.concatenate([calibration, extremes])):
            yield [picture[None]]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = pictures
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet():
        return bytes(converter.convert())


def convert(path: Path, source: Path, out: Path, *, count: int, seed: int) -> dict[str, Any]:
    """Convert the .keras file at `path` into OUT/NAME.tflite and OUT/NAME.json; returns the contract.

    Calibrates on the data's fit split and compares on its choose split. Raises GateFailed, and then writes nothing,
    when int8 agrees with float on less than 97 % of that or loses more than a point there; ModelShape for a network
    of other classes or one that takes no pictures.
    """
    model = load_keras(path)
    preprocessing, about = preprocessing_of(model, path), read_about(path)
    data = read_data(source, preprocessing, ("fit", "choose"))
    check_classes(path, about.get("classes", data.classes), data)
    train, chosen, split = data.fit, data.choose, list(data.splits)[1]
    content = quantise(model, train.images[draw_rows(train.labels, count, seed)])
    interpreter, _ = load_interpreter(content)
    contract = write_contract(
        content,
        interpreter,
        preprocessing,
        data.classes,
        training={
            "data": about.get("data", data.title),
            "rows": about.get("rows"),
            "network": model.name,
            "keras_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        },
        calibration={"rows": count, "seed": seed, "split": next(iter(data.splits))},
    )
    if "temperature" in about:
        contract["temperature"] = about["temperature"]
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder) / f"{path.stem}.tflite"
        staged.write_bytes(content)
        staged.with_suffix(".json").write_text(json.dumps(contract))
        quantised = ExpressionModel(staged)  # the device's own checks come first
        int8, real = predict_tflite(quantised, chosen.images), predict_keras(model, chosen.images)
    accuracy_int8 = float((int8.argmax(axis=1) == chosen.labels).mean())
    accuracy_float = float((real.argmax(axis=1) == chosen.labels).mean())
    agreement = float((int8.argmax(axis=1) == real.argmax(axis=1)).mean())
    if agreement < LEAST_AGREEMENT or accuracy_float - accuracy_int8 > MOST_LOSS:
        raise GateFailed(
            f"{path}: int8 agrees with float on {agreement:.3f} of {split} (least {LEAST_AGREEMENT}) and scores "
            f"{accuracy_int8:.4f} against {accuracy_float:.4f} (most loss {MOST_LOSS}); nothing was written"
        )
    contract["measured"] = {
        split: {
            "rows": len(chosen.labels),
            "accuracy": round(accuracy_int8, 5),
            "accuracy_float": round(accuracy_float, 5),
            "agreement": round(agreement, 5),
            "runtime": quantised.runtime,
        }
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise sink_error(out, error) from error
    replace_file(out / f"{path.stem}.tflite", content)
    replace_file(out / f"{path.stem}.json", json.dumps(contract, indent=1).encode() + b"\n")
    return contract


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Convert a .keras classifier of pictures to full int8 TFLite with its contract."""
    parser.add_argument("model", type=Path, help="a .keras file by cuelens-train")
    parser.add_argument("--data", type=Path, required=True, help="fer2013.csv (.gz, .xz, .zip) or a folder of pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder for NAME.tflite and NAME.json")
    parser.add_argument("--calibration", type=int, default=1000, help="pictures to calibrate with (1000)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    contract = convert(args.model, args.data, args.out, count=args.calibration, seed=args.seed)
    ((split, measured),) = contract["measured"].items()
    print(
        f"{args.out / args.model.stem}.tflite: {contract['size'] / 1e6:.3f} MB, {split} {measured['accuracy']:.4f} "
        f"(float {measured['accuracy_float']:.4f}), agreement {measured['agreement']:.4f}"
    )
