"""Everything that ships, by one command, on a small scale; and tables that cannot lie."""

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

from edge.errors import DataUnreadable, MemoryShort
from edge.vision.model import ExpressionModel
from lab.datasets.fer2013 import CLASSES
from lab.datasets.ferplus import COLUMNS
from training.raters import TRUST
from training.ship import _call, write_comparison, write_tables

SHIP = [sys.executable, "-c", "from training.ship import main; main()"]
VOTED = {"angry": "anger", "happy": "happiness", "sad": "sadness"}


def result(**changes: Any) -> dict[str, Any]:
    classes = {name: {"precision": 0.5, "recall": 0.4, "f1": 0.444, "support": 7} for name in CLASSES}
    made = {
        "model": "emotion.tflite",
        "runtime": "r 1",
        "data": "FER2013",
        "split": "PrivateTest",
        "labels": "majority",
        "flip": False,
        "rows": 70,
        "classes": classes,
    }
    made |= {"accuracy": 0.7, "accuracy_interval": [0.69, 0.71], "balanced_accuracy": 0.6, "macro_f1": 0.61}
    made |= {"ece": 0.02, "coverage": {"accuracy_at": {"1": 0.7, "0.5": 0.9}}}
    share = {"share": 0.81, "interval": [0.8, 0.82], "rows": 9}
    word = {
        "precision": share,
        "recall": share,
        "right_of_shown": share,
        "precision_at_recall": {"precision": 0.5, "goal": 0.75},
    }
    steady = {"shown": share, "right_of_shown": share}
    made["words"] = {"accuracy": 0.8, "accuracy_interval": [0.79, 0.81], "steady": steady}
    made["words"]["words"] = {"upset": word}
    made["own_labels"] = {"accuracy": 0.6, "accuracy_interval": [0.59, 0.61]}
    group = {"group": "dark, below 90", "rows": 30, "accuracy": 0.65, "accuracy_interval": [0.6, 0.7]}
    group |= {"words_accuracy": 0.75, "words_interval": [0.7, 0.8], "shown": 0.5, "right_of_shown": 0.9}
    return made | {"groups": [{"by": "darkness", "rows": [group]}]} | changes


CONTRACT = {"temperature": {"value": 1.25, "fitted_on": "PublicTest", "applied": "in the last layer"}}
TABLES = ("measured", "wild", "mirrored", "words", "groups", "classes", "parity", "coverage", "temperature")
PAGE = "".join(f"<!-- {name} -->\nstale\n<!-- end -->\n" for name in TABLES)
PARITY = {
    "runtimes": [
        {
            "runtime": "r 1, built-in kernels, x86_64",
            "rows": 70,
            "loss": 0.0123,
            "loss_interval": [-0.01, 0.03],
            "agreement": 0.98,
            "confidence_drift": {"mean": 0.0071},
            "against_judged": {"equal_bytes": 0.75, "largest_steps": 3.0, "argmax_flips": 2},
        }
    ]
}


def test_the_cards_table_of_everyday_faces_has_them_alone() -> None:
    wild = result(labels="own", split="all", model="fer2013.tflite", rows=9121)
    upset = wild["words"]["words"]["upset"]
    wild["words"]["words"]["upset"] = upset | {"precision_at_recall": {"precision": 0.25, "goal": 0.75}}
    card = write_tables(PAGE, [result(), wild], CONTRACT, PARITY)
    measured, everyday = (card.split(f"<!-- {name} -->")[1].split("<!-- end -->")[0] for name in ("measured", "wild"))
    assert "fer2013.tflite" not in measured
    assert "emotion.tflite" not in everyday
    assert everyday.splitlines()[-1].endswith("| 0.810, 0.810 | 0.810, 0.810, 0.250 |")


def test_readings_of_both_mirror_images_have_a_table_of_their_own() -> None:
    mirrored = result(split="PublicTest", flip=True, accuracy=0.75)
    everyday = result(data="wild", labels="own", split="all", flip=True, rows=9121)
    # What is shown of the others is of the results without mirror images, whichever comes last.
    card = write_tables(PAGE, [result(), mirrored, everyday], CONTRACT, PARITY)
    tables = {name: card.split(f"<!-- {name} -->")[1].split("<!-- end -->")[0] for name in TABLES}
    first, second = tables["mirrored"].splitlines()[-2:]
    share = "0.8100 (0.8000 to 0.8200)"
    assert first == (
        f"| FER2013, PublicTest | r 1 | 70 | 0.7500 (0.6900 to 0.7100) | 0.0200 | 0.8000 (0.7900 to 0.8100) "
        f"| {share} | {share} | 0.500 | {share} |"
    )
    assert second.startswith("| wild, all | r 1 | 9121 | 0.7000 ")
    others = write_tables(PAGE, [result()], CONTRACT, PARITY)
    for name in set(TABLES) - {"mirrored"}:
        assert others.split(f"<!-- {name} -->")[1].split("<!-- end -->")[0] == tables[name], name


def test_the_cards_tables_say_what_was_measured_and_nothing_else() -> None:
    card = write_tables(PAGE, [result()], CONTRACT, PARITY)
    figures = "0.7000 (0.6900 to 0.7100) | 0.6000 | 0.6100 | 0.0200 | 0.8000 (0.7900 to 0.8100) | 0.810, 0.810"
    assert f"| emotion.tflite | r 1 | PrivateTest | {figures} | 0.6000 (0.5900 to 0.6100) |" in card
    words = "0.8100 (0.8000 to 0.8200) | 0.8100 (0.8000 to 0.8200) | 0.500 | 0.8100 (0.8000 to 0.8200) | 9 |"
    assert f"| upset | {words}" in card
    groups = "30 | 0.6500 (0.6000 to 0.7000) | 0.7500 (0.7000 to 0.8000) | 0.500, 0.900 |"
    assert f"| darkness | dark, below 90 | {groups}" in card
    assert "| angry | 0.500 | 0.400 | 0.444 | 7 |" in card
    assert "| 50% | 0.9000 |" in card
    line = "| r 1, built-in kernels, x86_64 | 70 | +1.23 (-1.00 to +3.00) | 0.9800 | 0.0071 | 0.7500 | 3 | 2 |"
    assert line in card
    assert "Temperature 1.250, fitted on PublicTest" in card
    assert "stale" not in card
    assert write_tables(card, [result()], CONTRACT, PARITY) == card


def test_a_network_with_contempt_is_shown_as_ferplus_publishes() -> None:
    eight = {"accuracy": 0.85, "accuracy_interval": [0.84, 0.86], "rows": 3137}
    card = write_tables(PAGE, [result(ferplus=eight)], CONTRACT, PARITY)
    assert "emotion.tflite on r 1, PrivateTest: 0.8500 (0.8400 to 0.8600), 3137 rows." in card


def test_a_page_without_room_for_a_table_is_refused() -> None:
    with pytest.raises(DataUnreadable, match="0 places for its table <!-- coverage -->"):
        write_tables(PAGE.replace("coverage", "cover"), [result()], CONTRACT, PARITY)


def add_module(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let the children of this test import `step`, whose main() does what `body` has."""
    (folder / "step.py").write_text(f"import os, signal, sys, time\ndef main():\n    {body}\n")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_under_way_too(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = tmp_path / "finished"
    # Python's SIGINT goes to one process here: a terminal's goes to both.
    add_module(tmp_path, monkeypatch, f"print('begun', flush=True); time.sleep(300); open({str(finished)!r}, 'w')")
    program = "import sys; from training.ship import _call; from edge.system.program import command\n"
    program += "@command\ndef main(parser, argv):\n    _call('step')\nmain([])"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        process.communicate(timeout=240)
    assert process.returncode == 128 + number
    assert not finished.exists()


@pytest.mark.parametrize(("body", "code"), [("sys.exit(30)", 30), ("os.kill(os.getpid(), signal.SIGHUP)", 129)])
def test_a_step_that_fails_ends_the_command_with_its_own_code(
    body: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_module(tmp_path, monkeypatch, body)
    with pytest.raises(SystemExit) as ended:
        _call("step")
    assert ended.value.code == code
    assert "step ended with" in capsys.readouterr().err


def test_a_step_that_is_killed_is_short_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_module(tmp_path, monkeypatch, "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(MemoryShort, match="step was killed"):
        _call("step")


def test_the_comparison_names_each_recipe_and_its_difference() -> None:
    interval = [0.1, 0.2]
    measures = {"accuracy": 0.15, "balanced_accuracy": 0.15, "macro_f1": 0.15, "ece": 0.15}
    row = {
        "model": "compact",
        "bytes": 480_000,
        **measures,
        "bootstrap": dict.fromkeys(measures, interval),
    }
    other = row | {
        "model": "simple",
        "against_first": {"accuracy": -0.05, "interval": [-0.07, -0.03]},
    }
    page = write_comparison("<!-- comparison -->\n<!-- end -->", {"models": [row, other]})
    assert "| compact | 0.480 | 0.1500 (0.1000 to 0.2000) |" in page
    assert "| -0.0500 (-0.0700 to -0.0300) |" in page


@pytest.mark.host
@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_one_command_makes_all_that_ships_and_again_only_what_is_missing(tmp_path: Path, repository: Path) -> None:
    from tests.support.tables import write_table

    data, votes, out, work = (tmp_path / name for name in ("fer2013.csv", "votes.csv", "out", "work"))
    write_table(data, PrivateTest=70)
    voted = [f"Usage,Image name,{','.join(COLUMNS)}"]
    for row in data.read_text().splitlines()[1:]:
        name = CLASSES[int(row.split(",")[0])]
        counts = [10 * (column == VOTED.get(name, name)) for column in COLUMNS]
        voted.append(f"{row.rsplit(',', 1)[1]},x.png,{','.join(map(str, counts))}")
    votes.write_text("\n".join(voted) + "\n")
    # Both runs have the emulated runtimes, or neither: another test may make their tree meanwhile.
    subprocess.run([repository / "deploy" / "arm64.sh"], capture_output=True, check=False)
    line = [*SHIP, "--data", data, "--ferplus", votes, "--work", work, "--out", out, "--epochs", "15"]
    line += ["--precision", "float32"]
    first = subprocess.run(line, cwd=repository, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    results = json.loads((out / "evaluation.json").read_text())
    assert {(r["model"], r["split"], r["labels"], r["own_labels"]["labels"], r["flip"]) for r in results} == {
        *(
            (model, split, "majority", "fer2013", False)
            for model in ("emotion.keras", "emotion.tflite", "fer2013.tflite")
            for split in ("PublicTest", "PrivateTest")
        ),
        ("emotion.tflite", "PublicTest", "majority", "fer2013", True),
    }
    contract = json.loads((out / "emotion.json").read_text())
    assert contract["temperature"]["fitted_on"] == "PublicTest"
    assert contract["prior"]["trust"] == TRUST
    assert contract["votes"]["rows"] == 256
    assert contract["training"]["network"] == "compact"
    card = (out / "CARD.md").read_text()
    parity = json.loads((out / "parity.json").read_text())
    assert parity["gate"]["passed"]
    assert write_tables(card, results, contract, parity) == card
    assert (out / "parity.png").read_bytes().startswith(b"\x89PNG")
    assert ExpressionModel(out / "emotion.tflite").contract.labels == CLASSES

    before = {path: path.stat().st_mtime_ns for folder in (work, out) for path in folder.rglob("model.*")}
    measured = (out / "evaluation.json").stat().st_mtime_ns
    (out / "CARD.md").unlink()
    again = subprocess.run(line, cwd=repository, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "epoch" not in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert (out / "evaluation.json").stat().st_mtime_ns == measured
    assert (out / "CARD.md").read_text() == card


@pytest.mark.host
def test_a_temperature_in_the_last_layer_changes_confidence_and_no_decision(tmp_path: Path) -> None:
    import keras
    from keras import layers

    from lab.networks.keras_file import as_batch, read_about, save_keras
    from tests.support.tables import write_table
    from training.raters import temper

    keras.utils.set_random_seed(0)
    write_table(tmp_path / "fer2013.csv")
    pixels = layers.Input((48, 48, 1))
    x = layers.Flatten()(layers.AveragePooling2D(8)(layers.Rescaling(1 / 127.5, -1)(pixels)))
    logits = layers.Dense(7)(x)
    model = keras.Model(pixels, layers.Softmax(name="probabilities")(logits))
    save_keras(model, tmp_path / "before.keras", {"classes": CLASSES})
    temperature = temper(tmp_path / "before.keras", tmp_path / "fer2013.csv", tmp_path / "after.keras")
    images = as_batch(np.random.default_rng(0).integers(0, 256, (64, 48, 48), dtype=np.uint8))
    before = model.predict(images, verbose=0)
    after = keras.saving.load_model(tmp_path / "after.keras").predict(images, verbose=0)
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    ratio = np.log(before / before[:, :1])[:, 1:] / np.log(after / after[:, :1])[:, 1:]
    assert ratio == pytest.approx(temperature, rel=1e-2)
    assert abs(temperature - 1) > 0.05
    about = read_about(tmp_path / "after.keras")
    assert about["classes"] == list(CLASSES)
    assert about["temperature"]["value"] == pytest.approx(temperature, abs=1e-4)
