"""Scores on cases that can be worked out by hand, and `cuelens-evaluate` on models of both kinds."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.errors import (
    DataColumnMissing,
    DataMissing,
    DataSplitEmpty,
    ModelMissing,
    ModelShape,
    ModelUnreadable,
    SettingsInvalid,
)
from lab.datasets.fer2013 import CLASSES
from lab.networks.classifier import open_model, predict_keras
from lab.scores import MEASURES, bootstrap, compare, cover, mcnemar, score, wilson_interval
from tests.support.failures import ended_by
from training.evaluate import describe, main

EVALUATE = [sys.executable, "-c", "from training.evaluate import main; main()"]


def certain(labels: list[int]) -> np.ndarray:
    return np.eye(7)[labels]


def draw(accuracy: float, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw probabilities (count, 3) whose top class is right with this chance, and the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    said = np.where(rng.random(count) < accuracy, labels, (labels + 1) % 3)
    sure = rng.uniform(0.5, 1, (count, 1))
    return np.eye(3)[said] * sure + (1 - np.eye(3)[said]) * (1 - sure) / 2, labels


@pytest.fixture
def fer2013(tmp_path: Path) -> Path:
    """A table of 14 random faces in PublicTest, two a class, and one in Training."""
    rng = np.random.default_rng(0)
    lines = ["emotion,pixels,Usage", f"0,{' '.join(['0'] * 2304)},Training"]
    lines += [f"{i % 7},{' '.join(map(str, rng.integers(0, 256, 2304)))},PublicTest" for i in range(14)]
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A folder of red and blue pictures; the validation split has 6 of each, and one that is no picture."""
    for split, count in (("train", 2), ("validation", 6), ("test", 2)):
        for name, colour in (("blue", (255, 40, 40)), ("red", (40, 40, 255))):
            folder = tmp_path / "colours" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                cv2.imwrite(str(folder / f"{i}.png"), np.full((20, 24, 3), colour, np.uint8))
    (tmp_path / "colours" / "validation" / "red" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "colours"


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Save a network that distinguishes red from blue by the mean pixel; `turned` answers the wrong way round."""

    def save(
        name: str, *, side: int = 8, classes: tuple[str, ...] = (), softmax: bool = True, turned: bool = False
    ) -> Path:
        import keras
        from keras import layers

        from lab.networks.keras_file import save_keras

        last = layers.Dense(2, activation="softmax" if softmax else None)
        model = keras.Sequential(
            [layers.Input((side, side, 3)), layers.Rescaling(1 / 255), layers.GlobalAveragePooling2D(), last]
        )
        weights = np.array([[-4, 4], [0, 0], [4, -4]], np.float32)
        last.set_weights([-weights if turned else weights, np.zeros(2, np.float32)])
        return save_keras(model, tmp_path / name, {"classes": classes} if classes else {})

    return save


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    return int(end.value.code or 0), printed.out, printed.err


def test_a_perfect_model_scores_one() -> None:
    labels = np.array([0, 1, 2, 3, 4, 5, 6])
    result = score(certain(labels.tolist()), labels, CLASSES)
    assert (result["accuracy"], result["balanced_accuracy"], result["macro_f1"]) == (1, 1, 1)
    assert (result["ece"], result["nll"], result["brier"], result["coverage"]["aurc"]) == (0, 0, 0, 0)
    assert result["coverage"]["coverage_for"] == {"0.8": 1, "0.9": 1}
    assert result["confusion"] == np.eye(7, dtype=int).tolist()


def test_a_case_worked_out_by_hand() -> None:
    truth, said = np.array([3, 3, 3, 3, 6, 6]), [3, 3, 3, 6, 6, 3]
    result = score(certain(said), truth, CLASSES)
    assert result["accuracy"] == pytest.approx(4 / 6, abs=1e-5)
    assert result["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert result["macro_f1"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert result["classes"]["happy"] == {"precision": 0.75, "recall": 0.75, "f1": 0.75, "support": 4}
    assert result["classes"]["angry"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert result["confusion"][6][3] == 1
    assert result["ece"] == pytest.approx(2 / 6, abs=1e-5)
    assert result["brier"] == pytest.approx(2 * 2 / 6, abs=1e-5)
    assert result["nll"] == pytest.approx(2 / 6 * math.log(512), abs=1e-5)


def test_nll_and_brier_of_a_model_that_is_not_sure() -> None:
    result = score(np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]]), np.array([0, 1]), ("a", "b", "c"))
    assert result["nll"] == pytest.approx(-(math.log(0.7) + math.log(0.3)) / 2, abs=1e-5)
    assert result["brier"] == pytest.approx((0.09 + 0.04 + 0.01 + 0.25 + 0.49 + 0.04) / 2, abs=1e-5)


def test_a_model_that_is_right_when_sure_is_right_more_often_at_lower_coverage() -> None:
    sure = np.linspace(0.99, 0.55, 10)
    labels = np.array([0] * 5 + [1, 0, 1, 1, 1])
    result = score(np.stack([sure, 1 - sure], axis=1), labels, ("a", "b"))
    coverage = result["coverage"]
    assert coverage["accuracy_at"] == {"1": 0.6, "0.9": 0.66667, "0.8": 0.75, "0.7": 0.85714, "0.5": 1}
    assert coverage["coverage_for"] == {"0.8": 0.7, "0.9": 0.5}
    kept = [1, 1, 1, 1, 1, 5 / 6, 6 / 7, 6 / 8, 6 / 9, 6 / 10]
    assert coverage["aurc"] == pytest.approx(1 - np.mean(kept), abs=1e-5)


def test_an_accuracy_that_is_never_reached_has_no_coverage() -> None:
    result = score(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([1, 1]), ("a", "b"))
    assert result["coverage"]["coverage_for"] == {"0.8": 0, "0.9": 0}


def test_rows_that_are_equally_sure_count_the_same_in_any_order() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.6, 0.4]])
    labels = np.array([0, 0, 1, 1])
    assert cover(probabilities, labels).tolist() == pytest.approx([1, (4 / 3) / 2, (5 / 3) / 3, 2 / 4])
    order = [3, 1, 2, 0]
    assert np.allclose(cover(probabilities[order], labels[order]), cover(probabilities, labels))


def test_wilsons_interval_against_a_published_value() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 gives 0.2553 to 0.3662.
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_the_bootstrap_scatters_as_a_share_does_and_is_the_same_again() -> None:
    probabilities, labels = draw(0.8, 400, 0)
    (drawn,) = bootstrap([probabilities], labels, draws=1000)
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    assert set(MEASURES) <= set(drawn)
    assert drawn["accuracy"].mean() == pytest.approx(accuracy, abs=0.005)
    assert drawn["accuracy"].std() == pytest.approx(math.sqrt(accuracy * (1 - accuracy) / 400), rel=0.1)
    (again,) = bootstrap([probabilities], labels, draws=1000)
    assert all((again[measure] == drawn[measure]).all() for measure in MEASURES)


def test_a_resampling_scores_as_score_does() -> None:
    probabilities, labels = draw(0.7, 60, 1)
    (drawn,) = bootstrap([probabilities], labels, draws=1, seed=5)
    rows = np.random.default_rng(5).integers(60, size=60)
    result = score(probabilities[rows], labels[rows], ("a", "b", "c"))
    assert {measure: pytest.approx(float(drawn[measure][0]), abs=1e-5) for measure in MEASURES} == {
        measure: result[measure] for measure in MEASURES
    }


def test_pairing_shows_a_difference_that_the_models_own_intervals_hide() -> None:
    first, labels = draw(0.7, 600, 2)
    better = first.copy()
    wrong = np.flatnonzero(first.argmax(axis=1) != labels)[:15]
    better[wrong] = np.eye(3)[labels[wrong]]
    results = [score(each, labels, ("a", "b", "c")) for each in (first, better)]
    one, two = compare(results, [first, better], labels)
    assert one["bootstrap"]["accuracy"][1] > two["bootstrap"]["accuracy"][0]
    found = two["against_first"]
    assert found["accuracy"] == pytest.approx(15 / 600)
    assert found["excludes_zero"]
    assert (found["only_first_right"], found["only_this_right"]) == (0, 15)
    assert found["mcnemar_p"] == pytest.approx(2 * 0.5**15, rel=1e-2)


def test_a_model_does_not_differ_from_itself() -> None:
    probabilities, labels = draw(0.7, 100, 3)
    result = score(probabilities, labels, ("a", "b", "c"))
    found = compare([result, result], [probabilities, probabilities], labels)[1]["against_first"]
    assert (found["accuracy"], found["interval"], found["excludes_zero"], found["mcnemar_p"]) == (0, [0, 0], False, 1)


@pytest.mark.parametrize(("only_first", "only_second", "p"), [(1, 9, 0.021484375), (9, 1, 0.021484375), (5, 5, 1)])
def test_mcnemars_exact_p_is_that_of_a_fair_coin(only_first: int, only_second: int, p: float) -> None:
    first = np.array([True] * only_first + [False] * only_second + [True] * 20)
    second = np.array([False] * only_first + [True] * only_second + [True] * 20)
    assert mcnemar(first, second) == pytest.approx(p)


def test_mcnemars_p_stays_a_number_when_thousands_differ() -> None:
    assert mcnemar(np.array([True, False] * 5000), np.array([False, True] * 5000)) == 1
    assert 0 <= mcnemar(np.array([True] * 5000), np.array([False] * 5000)) < 1e-300


def test_the_shipped_model_is_evaluated_on_a_table(
    fer2013: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = repository / "models" / "emotion.tflite"
    code, out, err = run(capsys, model, "--data", fer2013, "--json")
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert (result["data"], result["split"], result["labels"], result["rows"]) == (
        "FER2013",
        "PublicTest",
        "fer2013",
        14,
    )
    assert (result["model"], result["bytes"]) == ("emotion.tflite", model.stat().st_size)
    assert list(result["classes"]) == list(CLASSES)
    assert np.sum(result["confusion"]) == 14

    code, out, _ = run(capsys, model, "--data", fer2013)
    assert code == 0
    assert f"accuracy {result['accuracy']:.4f}" in out
    assert all(name in out for name in CLASSES)


def test_two_models_of_one_name_are_distinct_by_their_folders(
    fer2013: Path, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = repository / "models" / "emotion.tflite"
    for suffix in (".tflite", ".json"):
        (tmp_path / f"emotion{suffix}").write_bytes(shipped.with_suffix(suffix).read_bytes())
    code, out, _ = run(capsys, shipped, tmp_path / "emotion.tflite", "--data", fer2013, "--json")
    comparison = json.loads(out)
    first, second = comparison["models"]
    assert code == 0
    assert [first["model"], second["model"]] == [str(shipped), str(tmp_path / "emotion.tflite")]
    assert "against_first" not in first
    assert second["against_first"]["accuracy"] == 0
    low, high = first["bootstrap"]["accuracy"]
    assert low <= first["accuracy"] <= high

    code, out, _ = run(capsys, shipped, tmp_path / "emotion.tflite", "--data", fer2013, "--compare")
    assert code == 0
    assert "no difference shown" in out


@pytest.mark.parametrize("count", [1, 2])
def test_a_folder_holds_what_was_printed_and_a_page(
    fer2013: Path, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is the host's")
    models = [repository / "models" / "emotion.tflite"] * count
    code, out, _ = run(capsys, *models, "--data", fer2013, "--json", "--out", tmp_path / "report")
    assert code == 0
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == json.loads(out)
    assert "FER2013, PublicTest, 14 rows" in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["--compare"], SettingsInvalid, "two or more"),
        (["--labels", "ferplus"], SettingsInvalid, "--ferplus FILE"),
        (["--labels", "majority"], SettingsInvalid, "--ferplus FILE"),
        (["--ferplus", "votes.csv"], DataMissing, "votes.csv"),
        (["--by", "age"], DataColumnMissing, "darkness"),
        (["--classes", "a,b,a"], SettingsInvalid, "a class twice"),
        (["--input", "scale = "], SettingsInvalid, "--input"),
        (["--input", "scal = 2"], SettingsInvalid, "did you mean 'scale'"),
        (["--split", "PrivateTest"], DataSplitEmpty, "PrivateTest"),
        (["--split", "tomorrow"], DataSplitEmpty, "tomorrow"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    fer2013: Path,
    repository: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    error: type[SettingsInvalid],
    said: str,
) -> None:
    code, out, err = run(capsys, repository / "models" / "emotion.tflite", "--data", fer2013, *words)
    assert said in ended_by(error, code, err)
    assert (out, err.count("\n")) == ("", 1)


def test_a_model_of_other_classes_than_the_datas_is_refused(
    colours: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = repository / "models" / "emotion.tflite"
    code, out, err = run(capsys, model, "--data", colours)
    assert "angry, disgust" in ended_by(ModelShape, code, err)
    assert out == ""
    assert "blue, red" in err


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("none.tflite", None, ModelMissing),
        ("notes.txt", b"hello", ModelUnreadable),
        ("model", b"hello", ModelUnreadable),
        ("short.tflite", b"hello", ModelUnreadable),
    ],
)
def test_what_is_no_model_is_named(
    tmp_path: Path, name: str, content: bytes | None, error: type[ModelUnreadable]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=name):
        open_model(tmp_path / name)


@pytest.mark.host
def test_a_colour_network_reads_any_pictures_and_what_is_skipped_is_reported(
    colours: Path, save: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = save("model.keras", classes=("blue", "red"))
    code, out, err = run(capsys, model, "--data", colours, "--json")
    result = json.loads(out)
    assert code == 0
    assert "1 skipped" in err
    assert result["labels"] == "own"
    assert (result["split"], result["rows"], result["skipped"], result["accuracy"]) == ("validation", 12, 1, 1)
    assert {name: row["support"] for name, row in result["classes"].items()} == {"blue": 6, "red": 6}


@pytest.mark.host
def test_models_of_different_sides_are_compared_each_on_its_own_pictures(
    colours: Path, save: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    named = ("blue", "red")
    right, wrong = save("right.keras", classes=named), save("wrong.keras", side=12, turned=True, classes=named)
    code, out, _ = run(capsys, right, wrong, "--data", colours, "--json")
    first, second = json.loads(out)["models"]
    assert code == 0
    assert (first["accuracy"], second["accuracy"]) == (1, 0)
    assert (second["against_first"]["interval"], second["against_first"]["excludes_zero"]) == ([-1, -1], True)


@pytest.mark.host
@pytest.mark.parametrize("turned", [True, False])
def test_the_classes_in_a_keras_file_are_matched_by_name_and_an_order_that_is_not_theirs_is_warned_of(
    colours: Path, save: Callable[..., Path], capsys: pytest.CaptureFixture[str], turned: bool
) -> None:
    model = save("model.keras", classes=("red", "blue"), turned=turned)
    code, out, err = run(capsys, model, "--data", colours, "--json")
    result = json.loads(out)
    assert (code, list(result["classes"]), result["accuracy"]) == (0, ["blue", "red"], 1 if turned else 0)
    assert ("warning: " in err) is not turned
    assert (result["order"] is None) is turned
    assert turned or "knows 0.000 of 12 pictures, and 1.000 with blue, red in another order" in err


@pytest.mark.host
def test_a_network_of_another_width_is_refused(
    fer2013: Path, save: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, save("model.keras"), "--data", fer2013)
    assert "2 classes" in ended_by(ModelShape, code, err)
    assert "angry, disgust" in err


@pytest.mark.host
def test_a_network_without_a_softmax_is_refused(
    colours: Path, save: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, save("model.keras", softmax=False), "--data", colours)
    assert "softmax" in ended_by(ModelShape, code, err)


@pytest.mark.host
@pytest.mark.parametrize(("shape", "flat", "said"), [((8, 9, 1), True, "8, 9, 1"), ((8, 8, 1), False, "8, 8, 2")])
def test_a_network_that_does_not_turn_square_pictures_into_classes_is_refused(
    tmp_path: Path, shape: tuple[int, ...], flat: bool, said: str
) -> None:
    import keras
    from keras import layers

    between = [layers.Flatten()] if flat else []
    model = keras.Sequential([layers.Input(shape), *between, layers.Dense(2, activation="softmax")])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ModelShape, match=said):
        open_model(tmp_path / "model.keras")


def test_flipping_averages_two_readings_of_the_device(repository: Path) -> None:
    model = repository / "models" / "emotion.tflite"
    pictures = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    plain, both = open_model(model), open_model(model, flip=True)
    wanted = (plain.predict(pictures) + plain.predict(np.ascontiguousarray(pictures[:, :, ::-1]))) / 2
    assert both.predict(pictures) == pytest.approx(wanted)
    assert both.predict(pictures) != pytest.approx(plain.predict(pictures))


@pytest.mark.host
def test_flipping_averages_a_picture_with_its_mirror_image() -> None:
    import keras
    from keras import layers

    last = layers.Dense(2, activation="softmax")
    model = keras.Sequential([layers.Input((4, 4, 1)), layers.Flatten(), last])
    left = np.zeros((4, 4, 2), np.float32)
    left[:, :2, 0] = 0.01
    last.set_weights([left.reshape(16, 2), np.zeros(2, np.float32)])
    image = np.zeros((1, 4, 4), np.uint8)
    image[:, :, :2] = 100
    seen, mirrored = predict_keras(model, image), predict_keras(model, image[:, :, ::-1])
    assert seen[0, 0] > mirrored[0, 0] + 0.1
    assert predict_keras(model, image, flip=True) == pytest.approx((seen + mirrored) / 2)


@pytest.mark.shared
@pytest.mark.slow
def test_ferplus_labels_drop_the_rows_without_a_majority(
    shared: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared / "fer2013"
    words: list[Any] = ["--data", folder / "fer2013.csv.xz", "--ferplus", folder / "fer2013new.csv"]
    code, out, _ = run(capsys, repository / "models" / "emotion.tflite", *words, "--labels", "ferplus", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["rows"] + result["dropped"] == 3589
    assert result["dropped"] > 0
    assert result["labels"] == "majority"
    assert "by the raters' majority" in describe(result)


@pytest.mark.shared
@pytest.mark.slow
def test_the_shipped_model_scores_what_its_card_shows_without_tensorflow(shared: Path, repository: Path) -> None:
    folder = shared / "fer2013"
    model = repository / "models" / "emotion.tflite"
    data = ["--data", str(folder / "fer2013.csv.xz"), "--ferplus", str(folder / "fer2013new.csv")]
    command = [*EVALUATE, str(model), *data, "--split", "PublicTest", "--json"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert done.stderr == ""
    contract = json.loads(model.with_suffix(".json").read_text())
    # Runtimes differ in rounding: see the card for by how much.
    assert result["accuracy"] == pytest.approx(contract["measured"]["PublicTest"]["accuracy"], abs=0.004)
    assert result["accuracy"] >= 0.85
    assert list(result["classes"]) == list(CLASSES)


def test_a_missing_model_is_one_line_and_its_own_code(repository: Path) -> None:
    command = [*EVALUATE, "none.tflite", "--data", "none.csv", "--json"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    ended_by(ModelMissing, done.returncode, done.stderr)
    record = json.loads(done.stdout)
    assert record["error"] == "model-missing"
    assert "none.tflite" in record["message"]
    assert done.stderr.count("\n") == 1
    assert "none.tflite" in done.stderr
