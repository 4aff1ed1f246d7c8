"""Training and conversion for real, on a small scale: synthetic faces, the shipped recipe, the real converter."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import (
    CheckpointUnusable,
    CuelensError,
    DiskFull,
    FitDiverged,
    MemoryShort,
    ModelMissing,
    ModelUnreadable,
    SettingsInvalid,
)
from edge.vision.model import ExpressionModel
from edge.vision.preprocessing import Preprocessing
from lab.datasets.fer2013 import CLASSES
from lab.datasets.labelled import Labelled
from tests.support.failures import ended_by

pytestmark = [pytest.mark.host, pytest.mark.slow]

TRAIN = [sys.executable, "-c", "from training.fit import main; main()"]
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


def test_the_compact_recipe_keeps_its_size() -> None:
    from training.recipes import count_macs, find_recipe

    model = find_recipe("compact").build(Preprocessing(48), 7)
    assert count_macs(model) <= 40_000_000
    assert model.count_params() <= 500_000
    assert model.output_shape == (None, 7)


def kill_after(start: str, command: list[str]) -> None:
    """Kill a command, and what it started, as soon as it prints a line that starts so."""
    running = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stdout is not None
    for line in running.stdout:
        if line.lstrip("\r").startswith(start):
            break
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    running.stdout.close()


def test_training_killed_after_an_epoch_goes_on_from_there_and_its_model_can_be_evaluated(
    table: Path, tmp_path: Path, repository: Path
) -> None:
    out = tmp_path / "out"
    command = [*TRAIN, "compact", "--data", str(table), "--out", str(out), "--epochs", "3"]
    kill_after("epoch 2/3", command)
    assert not (out / "model.keras").exists()
    history = json.loads((out / "history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2]

    second = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert "epoch 1/3" not in second.stdout
    assert "epoch 3/3" in second.stdout
    resumed = json.loads((out / "history.json").read_text())
    assert [row["epoch"] for row in resumed] == [1, 2, 3]
    assert resumed[0] == history[0]
    assert (out / "history.png").read_bytes().startswith(b"\x89PNG")

    judged = [*EVALUATE, str(out / "model.keras"), "--data", str(table), "--json"]
    result = json.loads(subprocess.run(judged, cwd=repository, capture_output=True, text=True, check=True).stdout)
    assert result["rows"] == 70
    # The file holds the averaged weights that the last epoch was judged by.
    assert result["accuracy"] == pytest.approx(resumed[-1]["val_accuracy"], abs=0.02)


def test_a_damaged_keras_file_is_one_line(table: Path, tmp_path: Path, repository: Path) -> None:
    (tmp_path / "bad.keras").write_bytes(b"PK\x03\x04 not a model")
    command = [*CONVERT, str(tmp_path / "bad.keras"), "--data", str(table), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    ended_by(ModelUnreadable, done.returncode, done.stderr)
    assert "bad.keras" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def train(*words: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    line = [*TRAIN, *map(str, words)]
    repository = Path(__file__).parents[2]
    return subprocess.run(
        line, cwd=repository, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
    )


def test_a_loss_that_is_no_number_stops_with_the_step_and_the_last_good_checkpoint(table: Path, tmp_path: Path) -> None:
    done = train("simple", "--data", table, "--out", tmp_path, "--epochs", "4", "--learning-rate", "1e30")
    ended_by(FitDiverged, done.returncode, done.stderr)
    said = r"the loss is (nan|inf) at epoch \d, step \d; .*checkpoint\.npz holds epoch \d"
    # Not always the last line: what fed TensorFlow may have its own last words.
    assert re.search(said, done.stderr), done.stderr
    assert not (tmp_path / "model.keras").exists()


def test_a_full_disk_at_a_checkpoint_leaves_the_older_one(table: Path, tmp_path: Path, repository: Path) -> None:
    command = [*TRAIN, "simple", "--data", str(table), "--out", str(tmp_path), "--epochs", "3"]
    kill_after("epoch 2/3", command)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    # A file may have 300 KB: enough for history and plot, not for a checkpoint of 4 MB.
    limited = ["bash", "-c", 'ulimit -f 300; exec "$@"', "bash", *command]
    done = subprocess.run(limited, cwd=repository, capture_output=True, text=True, check=False)
    ended_by(DiskFull, done.returncode, done.stderr)
    assert "checkpoint.npz" in done.stderr.splitlines()[-1]
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.npz", "history.json", "history.png"]


def test_a_checkpoint_of_another_fit_is_not_gone_on_from(table: Path, tmp_path: Path) -> None:
    assert train("dummy", "--data", table, "--out", tmp_path, "--epochs", "1").returncode == 0
    before = (tmp_path / "checkpoint.npz").read_bytes()
    done = train("dummy", "--data", table, "--out", tmp_path, "--epochs", "2")
    ended_by(CheckpointUnusable, done.returncode, done.stderr)
    assert "of a fit with epochs 1" in done.stderr.splitlines()[-1]
    assert (tmp_path / "checkpoint.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "cause", "said"),
    [
        (["transfer"], ModelMissing, "--weights none"),
        (["transfer", "--weights", "nowhere.h5"], ModelMissing, "nowhere.h5: no such file"),
        (["simple", "--side", "8"], SettingsInvalid, "simple takes 16 to 512 pixels"),
        (["compact", "--rows", "0"], SettingsInvalid, "--rows is 0; it must be more than 0"),
        (["compact", "--mixup", "2"], SettingsInvalid, "--mixup is 2.0; it must be a share"),
        (["compact", "--cutmix", ".6", "--mixup", ".6"], SettingsInvalid, "more than every batch"),
    ],
)
def test_what_a_recipe_cannot_do_is_one_line(
    words: list[str], cause: type[CuelensError], said: str, table: Path, tmp_path: Path
) -> None:
    done = train(*words, "--data", table, "--out", tmp_path / "out", env={"KERAS_HOME": str(tmp_path / "cache")})
    ended_by(cause, done.returncode, done.stderr)
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    if words == ["transfer"]:
        assert f"{tmp_path}/cache/models/inception_v3" in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_into_the_memory_names_a_batch_that_may(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras
    import tensorflow as tf

    from lab.datasets.read import read_data
    from training.fitting import fit
    from training.recipes import find_recipe

    def exhaust(*_: Any, **__: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[128,48,48,512]")

    monkeypatch.setattr(keras.Model, "fit", exhaust)
    data = read_data(table, Preprocessing(48), ("fit", "choose"))
    with pytest.raises(MemoryShort, match="batches of 128 do not fit into the memory; try --batch 64"):
        fit("dummy", find_recipe("dummy"), Preprocessing(48), data, tmp_path)


def test_a_teacher_sees_the_votes_and_its_soft_labels_fit_the_compact_network(table: Path, tmp_path: Path) -> None:
    # Votes that know better than the labels, two of seven of which are wrong.
    rows = table.read_text().splitlines()
    rng = np.random.default_rng(0)
    columns = {0: 4, 1: 5, 2: 6, 3: 1, 4: 3, 5: 2, 6: 0}  # FER2013's classes in FER+'s columns
    noisy, votes = (
        [rows[0]],
        ["Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"],
    )
    for number, row in enumerate(rows[1:]):
        label, rest = row.split(",", 1)
        count = np.zeros(10, int)
        count[columns[int(label)]] = 10
        usage = rest.rsplit(",", 1)[1]
        votes.append(f"{usage},fer{number:07}.png,{','.join(map(str, count))}")
        wrong = usage == "Training" and rng.random() < 2 / 7
        noisy.append(f"{rng.integers(7) if wrong else label},{rest}")
    (tmp_path / "noisy.csv").write_text("\n".join(noisy) + "\n")
    (tmp_path / "votes.csv").write_text("\n".join(votes) + "\n")
    data = ["--data", tmp_path / "noisy.csv", "--ferplus", tmp_path / "votes.csv"]
    done = train("teacher", *data, "--out", tmp_path / "teacher", "--epochs", "6", "--batch", "32")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "teacher" / "soft-labels.npz") as content:
        predicted = content["probabilities"].argmax(axis=1)
    true = [int(row.split(",")[0]) for row in rows[1:] if row.endswith(",Training")]
    given = [int(row.split(",")[0]) for row in noisy[1:] if row.endswith(",Training")]
    assert np.mean(predicted == true) > np.mean(np.array(given) == true)
    soft = ["--soft-labels", tmp_path / "teacher" / "soft-labels.npz"]
    done = train("compact", *data, *soft, "--out", tmp_path / "compact", "--epochs", "1")
    assert done.returncode == 0, done.stderr
    done = train("compact", "--data", table, *soft, "--out", tmp_path / "other", "--epochs", "1")
    assert "soft labels of other pictures" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("labels", ["majority", "votes"])
def test_raters_can_label_instead_of_fer2013(labels: str, table: Path, tmp_path: Path) -> None:
    from lab.datasets.ferplus import COLUMNS
    from lab.networks.keras_file import read_about

    # Every rater sees neutral, but for two rows that nobody takes for a face.
    lines = [f"Usage,Image name,{','.join(COLUMNS)}"]
    for number, row in enumerate(table.read_text().splitlines()[1:]):
        seen = "NF" if number < 2 else "neutral"
        lines.append(f"{row.rsplit(',', 1)[1]},x.png,{','.join(str(10 * (name == seen)) for name in COLUMNS)}")
    (tmp_path / "votes.csv").write_text("\n".join(lines) + "\n")
    options = ["--ferplus", tmp_path / "votes.csv", "--labels", labels]
    done = train("dummy", "--data", table, *options, "--out", tmp_path, "--epochs", "20", "--learning-rate", "1")
    assert done.returncode == 0, done.stderr
    assert read_about(tmp_path / "model.keras")["rows"] == 256 - 2
    assert json.loads((tmp_path / "history.json").read_text())[-1]["val_accuracy"] == 1
    done = train("dummy", "--data", table, "--labels", labels, "--out", tmp_path / "other")
    ended_by(SettingsInvalid, done.returncode, done.stderr)
    assert "--ferplus" in done.stderr.splitlines()[-1]


def test_a_fit_starts_from_the_mean_of_several_weights_and_teaches_the_next(table: Path, tmp_path: Path) -> None:
    import keras

    from lab.networks.keras_file import load_keras

    for seed in (1, 2):
        options = ["--epochs", "1", "--seed", str(seed), "--out", tmp_path / f"{seed}", "--teach"]
        done = train("compact", "--data", table, *options)
        assert done.returncode == 0, done.stderr
    networks = [load_keras(tmp_path / f"{seed}" / "model.keras") for seed in (1, 2)]
    soft = np.load(tmp_path / "1" / "soft-labels.npz")["probabilities"]
    assert soft.shape == (256, 7)
    assert soft.sum(axis=1) == pytest.approx(1, abs=0.01)
    # A step too small to move anything: what comes out is what it began from.
    options = ["--epochs", "1", "--learning-rate", "1e-9", "--out", tmp_path / "mean"]
    for seed in (1, 2):
        options += ["--weights", tmp_path / f"{seed}" / "model.keras"]
        options += ["--soft-labels", tmp_path / f"{seed}" / "soft-labels.npz"]
    done = train("compact", "--data", table, *options)
    assert done.returncode == 0, done.stderr
    began = load_keras(tmp_path / "mean" / "model.keras")
    for mean, *own in zip(*(model.trainable_variables for model in (began, *networks)), strict=True):
        expected = np.mean([keras.ops.convert_to_numpy(each) for each in own], axis=0)
        assert keras.ops.convert_to_numpy(mean) == pytest.approx(expected, abs=1e-5)


def test_transfer_starts_from_the_weights_of_a_file(tmp_path: Path) -> None:
    import keras

    from training.recipes import find_recipe
    from training.recipes.transfer import SIDE

    base = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
    base.save_weights(tmp_path / "inception.weights.h5")
    recipe = find_recipe("transfer")
    model = recipe.build(Preprocessing(SIDE, "rgb"), 7)
    assert recipe.start is not None
    recipe.start(model, tmp_path / "inception.weights.h5", np.zeros((1, 96, 96), np.uint8))
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.float32)
    pooled = keras.ops.convert_to_numpy(keras.ops.mean(base(pixels / 127.5 - 1), axis=(1, 2)))
    inner = keras.Model(model.input, model.get_layer("features").output)
    assert inner.predict(pixels, verbose=0) == pytest.approx(pooled, rel=1e-3, abs=1e-4)


def test_a_recipe_spread_over_four_devices_learns_what_it_learns_on_one(table: Path, tmp_path: Path) -> None:
    histories = []
    for devices in (1, 4):
        out = tmp_path / str(devices)
        spread = {"KERAS_BACKEND": "jax", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        done = train("simple", "--data", table, "--out", out, "--epochs", "2", "--batch", "64", env=spread)
        assert done.returncode == 0, done.stderr
        histories.append(json.loads((out / "history.json").read_text()))
    for one, four in zip(*histories, strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            # 70 rows to judge by: the two that fill up the last four weigh nothing in the accuracy.
            assert four[name] == pytest.approx(one[name], rel=0.05 if name == "val_loss" else 0.01), name


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's faces, with happy ones twice as often: even the dummy can be right."""
    from tests.support.tables import write_table

    path = tmp_path_factory.mktemp("faces") / "fer2013.csv"
    write_table(path)
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows, *(row for row in rows if row.startswith("3,"))]) + "\n")
    return path


@pytest.mark.timeout(900)
@pytest.mark.parametrize("recipe", ["dummy", "simple", "complex", "transfer", "compact"])
def test_every_recipe_is_trained_converted_and_runs_on_the_device_loop(
    recipe: str, uneven: Path, tmp_path: Path, repository: Path
) -> None:
    # An epoch of complex or transfer takes seconds; with 30, close calls of complex hang on the processor's rounding.
    epochs = {"simple": "30", "complex": "10", "transfer": "2", "compact": "30"}
    words = ["--epochs", epochs[recipe], "--batch", "32"] if recipe in epochs else []
    words += ["--weights", "none"] if recipe == "transfer" else []
    done = train(recipe, "--data", uneven, "--out", tmp_path, *words)
    assert done.returncode == 0, done.stderr
    convert = [*CONVERT, str(tmp_path / "model.keras"), "--data", str(uneven), "--out", str(tmp_path)]
    convert.append("--native")  # emulated, these would take minutes each
    done = subprocess.run(convert, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    model = ExpressionModel(tmp_path / "model.tflite")
    assert model.contract.labels == CLASSES
    run = [sys.executable, "-c", "from edge.cli import main; main()", "demo", "--pace", "fast", "--seconds", "5"]
    run += ["--model", str(tmp_path / "model.tflite"), "--sink", f"log:{tmp_path / 'log.jsonl'}"]
    done = subprocess.run(run, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    read = [face["class"] for line in log for face in line["faces"] if face["class"]]  # a new face waits for its turn
    assert len(read) > 20
    if recipe == "dummy":
        assert set(read) == {"happy"}


@pytest.mark.shared
@pytest.mark.timeout(900)
def test_blood_cells_of_unseen_patients_are_distinguished_in_int8(
    shared: Path, tmp_path: Path, repository: Path
) -> None:
    # Fewer epochs than the recipe has, which are enough; with 60, whether they are depends on the processor's rounding.
    done = train("compact", "--data", shared / "cells", "--out", tmp_path, "--epochs", "100")
    assert done.returncode == 0, done.stderr
    for line in (
        [*CONVERT, str(tmp_path / "model.keras"), "--data", str(shared / "cells"), "--out", str(tmp_path), "--native"],
        [*EVALUATE, str(tmp_path / "model.tflite"), "--data", str(shared / "cells"), "--split", "test", "--json"],
    ):
        done = subprocess.run(line, cwd=repository, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result["classes"]) == ["Parasitized", "Uninfected"]
    assert result["rows"] == 150
    assert result["accuracy"] >= 0.9
    assert ExpressionModel(tmp_path / "model.tflite").contract.preprocessing == Preprocessing(48, "rgb")
