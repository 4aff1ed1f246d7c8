"""The wearer's words and the groups, on cases that can be worked out by hand, and through `cuelens-evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import DataColumnMissing, SettingsInvalid
from edge.vision.preprocessing import Preprocessing
from lab.datasets.fer2013 import CLASSES
from lab.datasets.ferplus import COLUMNS, majority, published_majority
from lab.datasets.labelled import Labelled, join_splits
from lab.datasets.read import read_data
from lab.scores import score
from tests.support.failures import ended_by
from training.evaluate import main
from training.groups import describe_groups, name_groups, name_thirds, score_groups, tabulate_groups
from training.report_parts import find_mistakes, lay_out_more, show_mistakes
from training.vocabulary import as_words, describe_words, find_shown, precision_at, score_words


def shares(*rows: dict[str, float]) -> np.ndarray:
    return np.array([[row.get(name, 0.0) for name in CLASSES] for row in rows])


def label(*names: str) -> np.ndarray:
    return np.array([CLASSES.index(name) for name in names])


SAID = shares(
    {"happy": 0.9, "sad": 0.1},  # smile, shown
    {"angry": 0.32, "disgust": 0.2, "fear": 0.2, "sad": 0.15, "neutral": 0.13},  # upset by four, shown
    {"neutral": 0.6, "sad": 0.4},  # neutral, too faint
    {"surprise": 0.97, "neutral": 0.03},  # surprise, shown
    {"neutral": 0.75, "sad": 0.25},  # neutral, shown
)
TRUE = label("happy", "fear", "sad", "happy", "neutral")


def test_words_are_the_policys_and_so_is_what_is_shown() -> None:
    words, truth, names = as_words(SAID, TRUE, CLASSES)
    assert names == ("smile", "surprise", "upset", "neutral")
    assert words[1] == pytest.approx([0, 0, 0.87, 0.13])
    assert truth.tolist() == [0, 2, 2, 0, 3]
    assert find_shown(words, names).tolist() == [True, True, False, True, True]
    smiling = np.array([[0.25, 0, 0, 0.75], [0.06, 0, 0.04, 0.9], [0.03, 0, 0.07, 0.9]])
    assert find_shown(smiling, names).tolist() == [False, False, True]  # neutral only beside a trace of a smile


def test_the_words_figures_of_a_case_worked_out_by_hand() -> None:
    figures = score_words(SAID, TRUE, CLASSES)
    assert (figures["rows"], figures["accuracy"]) == (5, 0.6)
    assert figures["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 2 + 1) / 3, abs=1e-5)
    steady = figures["steady"]
    assert (steady["enter"], steady["margin"]) == (0.7, 0.58)
    assert (steady["shown"]["share"], steady["right_of_shown"]["share"], steady["right_of_shown"]["rows"]) == (
        0.8,
        0.75,
        4,
    )
    upset = figures["words"]["upset"]
    assert (upset["precision"]["share"], upset["precision"]["rows"]) == (1, 1)
    assert (upset["recall"]["share"], upset["recall"]["rows"]) == (0.5, 2)
    assert figures["words"]["neutral"]["precision"]["share"] == 0.5
    assert figures["words"]["surprise"]["right_of_shown"] == {"share": 0.0, "interval": [0.0, 0.79346], "rows": 1}
    gaps = [0.1, 0.13, 0.6, 0.97, 0.25]  # each row is alone in its bin
    assert figures["ece"] == pytest.approx(sum(gaps) / 5, abs=1e-5)
    text = "\n".join(describe_words(figures))
    assert "0.800 (0.376 to 0.964) of all, 0.750 (0.301 to 0.954) of that right" in text


def test_precision_at_a_recall_takes_equal_scores_together() -> None:
    scores, positive = np.array([0.9, 0.8, 0.8, 0.8, 0.1]), np.array([True, False, True, True, True])
    assert precision_at(scores, positive, 0.25) == {"recall": 0.25, "precision": 1.0, "threshold": 0.9}
    assert precision_at(scores, positive, 0.5) == {"recall": 0.75, "precision": 0.75, "threshold": 0.8}
    assert precision_at(scores, positive, 1.0)["precision"] == 0.8
    assert precision_at(scores, np.zeros(5, bool))["precision"] == 0


def test_labels_without_a_word_are_left_out_and_other_classes_have_none() -> None:
    figures = score_words(np.pad(SAID, ((0, 0), (0, 1))), np.array([*TRUE[:4], 7]), (*CLASSES, "contempt"))
    assert figures["rows"] == 4
    with pytest.raises(SettingsInvalid, match="no two are expressions"):
        score_words(np.eye(2), np.arange(2), ("cat", "dog"))


def test_thirds_by_luma_of_gray_and_colour() -> None:
    images = np.arange(30, dtype=np.uint8).reshape(30, 1, 1) * np.ones((1, 4, 4), np.uint8)
    names = name_thirds(images)
    assert [name.split(",")[0] for name in names] == ["dark"] * 10 + ["middle"] * 10 + ["bright"] * 10
    blue, gray, green = (np.full((2, 4, 4, 3), value, np.uint8) for value in (0, 100, 0))
    blue[..., 2], green[..., 1] = 200, 200
    names = name_thirds(np.concatenate([blue, gray, green]))
    assert [name.split(",")[0] for name in names] == ["dark", "dark", "middle", "middle", "bright", "bright"]


def test_groups_by_hand_and_whole_groups_drawn_again() -> None:
    labels = np.zeros(40, np.int64)
    said = np.tile([0.8, 0.2], (40, 1))
    said[:10] = [0.2, 0.8]
    names = np.repeat(["a", "b", "c", "d"], 10)
    found = score_groups(names, said, labels, ("x", "y"), "who", words=False)
    assert [(row["group"], row["rows"], row["accuracy"]) for row in found["rows"]] == [
        ("a", 10, 0),
        ("b", 10, 1),
        ("c", 10, 1),
        ("d", 10, 1),
    ]
    assert found["rows"][1]["accuracy_interval"] == [pytest.approx(0.72247, abs=1e-4), pytest.approx(1, abs=1e-5)]
    # Of four groups drawn again, one of them always wrong: a binomial of four, whose 2.5 % bound is one right in four.
    assert found["accuracy_interval_by_group"] == [0.25, 1.0]
    assert "4 groups by who, mean of their accuracies 0.7500" in "\n".join(describe_groups(found))


def test_of_many_groups_the_largest_are_listed_and_the_rest_together() -> None:
    names = np.array([f"p{i:03}" for i in range(100)] + ["p000"] * 30 + ["p001"] * 20)
    found = score_groups(
        names, np.tile([0.9, 0.1], (150, 1)), np.zeros(150, np.int64), ("x", "y"), "subject", words=False
    )
    assert [row["group"] for row in found["rows"]] == ["p000", "p001"]
    assert found["others"] == {"groups": 98, "rows": 98, "accuracy": 1.0}
    assert tabulate_groups(found)[1][-1][:3] == ["98 others", "98", "1.000"]


def test_every_kind_of_mistake_is_on_a_page_of_its_own_data() -> None:
    pytest.importorskip("jinja2", reason="jinja2 is the host's")
    probabilities = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0, 0.3, 0.7], [1, 0, 0]])
    labels = np.array([1, 1, 1, 0])
    kinds = find_mistakes(probabilities, labels)
    assert [(true, said, rows.tolist()) for true, said, rows in kinds] == [(1, 0, [0, 1]), (1, 2, [2])]
    data = Labelled(np.zeros((4, 8, 8), np.uint8), labels, tuple("abcd"))
    text = show_mistakes("x", probabilities, data, ("cat", "<dog>\x1b[2J", "cow"))
    assert text.count("data:image/png;base64,") == 3
    assert "&lt;dog&gt;\\x1b[2J called cat: 2" in text
    assert "http" not in text


def test_ferplus_own_rule_drops_single_votes_and_asks_for_more_than_half() -> None:
    votes = np.array(
        [
            [5, 1, 1, 1, 1, 0, 0, 1, 0, 0],  # half of ten, all of what is left without single votes
            [4, 4, 0, 0, 0, 0, 0, 2, 0, 0],  # nobody has more than half
            [0, 0, 0, 0, 0, 0, 0, 6, 4, 0],  # contempt
            [0, 0, 0, 0, 0, 0, 0, 2, 8, 0],  # unknown
            [4, 2, 2, 2, 0, 0, 0, 0, 0, 0],  # most, yet not more than half
        ],
        np.uint8,
    )
    assert published_majority(votes).tolist() == [CLASSES.index("neutral"), -1, 7, -1, -1]
    assert majority(votes).tolist() == [6, -1, -1, -1, 6]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A folder of faces of four expressions, with contempt beside, who they are of and how old those are."""
    rng = np.random.default_rng(0)
    lines = ["path,label,split,subject,age"]
    names = ("happiness", "sadness", "neutral", "surprise", "contempt")
    for i in range(40):
        cv2.imwrite(str(tmp_path / f"{i}.png"), rng.integers(0, 256, (48, 48), np.uint8))
        lines.append(
            f"{i}.png,{names[i % 5]},{'train' if i < 10 else 'test'},p{i % 12 if i >= 10 else i + 20},{i % 2 * 40}"
        )
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    return int(end.value.code or 0), printed.out, printed.err


def test_the_classes_in_common_are_scored_and_the_others_named(
    people: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [repository / "models" / "emotion.tflite", "--data", people, "--split", "all", "--words"]
    words += ["--by", "subject", "--by", "Age", "--by", "darkness"]
    code, out, err = run(capsys, *words, "--json")
    result = json.loads(out)
    assert (code, err, result["split"], result["rows"]) == (0, "", "all", 32)
    assert set(result["classes"]) == {"happiness", "sadness", "neutral", "surprise"}
    assert result["left_out"]["of_data"] == ["contempt"]
    assert result["left_out"]["of_model"] == ["angry", "disgust", "fear"]
    assert result["left_out"]["rows"] == 8
    assert result["words"]["rows"] == 32
    assert [found["by"] for found in result["groups"]] == ["subject", "Age", "darkness"]
    assert [row["group"] for row in result["groups"][1]["rows"]] == ["0", "40"]
    assert sum(row["rows"] for row in result["groups"][2]["rows"]) == 32
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert "left out, as not in both: of the data contempt, 8 rows; of the model angry, disgust, fear" in out
    assert "shown on a steady reading" in out
    code, _, err = run(capsys, *words, "--by", "sex")
    ended_by(DataColumnMissing, code, err)


def test_the_raters_majority_comes_first_and_fer2013s_label_beside_it(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    lines, votes = ["emotion,pixels,Usage"], [f"Usage,Image name,{','.join(COLUMNS)}"]
    for i in range(21):
        lines.append(f"{i % 7},{' '.join(map(str, rng.integers(0, 256, 2304)))},PublicTest")
        voted = [0] * 10
        voted[i % 9] = 10  # an expression, contempt or unknown
        votes.append(f"PublicTest,x.png,{','.join(map(str, voted))}")
    (tmp_path / "fer2013.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "votes.csv").write_text("\n".join(votes) + "\n")
    words = [repository / "models" / "emotion.tflite", "--data", tmp_path / "fer2013.csv", "--words"]
    words += ["--ferplus", tmp_path / "votes.csv"]
    code, out, _ = run(capsys, *words, "--json")
    result = json.loads(out)
    assert (code, result["labels"], result["rows"], result["dropped"]) == (0, "majority", 17, 4)
    assert (result["own_labels"]["labels"], result["own_labels"]["rows"]) == ("fer2013", 21)
    assert "accuracy" in result["own_labels"]["words"]
    alone = json.loads(run(capsys, *words, "--labels", "fer2013", "--json")[1])
    assert alone["accuracy"] == result["own_labels"]["accuracy"]
    assert alone["words"] == result["own_labels"]["words"]
    out = run(capsys, *words)[1]
    assert out.index(f"accuracy {result['accuracy']:.4f}") < out.index("by FER2013's own label")


def test_all_splits_are_one_with_all_that_belongs_to_them(people: Path) -> None:
    data = join_splits(read_data(people, Preprocessing(48), lenient=True))
    assert list(data.splits) == ["all"]
    assert sorted(data.splits["all"].names) == sorted(f"{i}.png" for i in range(40))
    assert name_groups(people, data.splits["all"], "AGE").tolist() == [
        str(int(name.split(".")[0]) % 2 * 40) for name in data.splits["all"].names
    ]


def test_the_page_has_what_was_asked_for() -> None:
    pytest.importorskip("jinja2", reason="jinja2 is the host's")
    result = score(SAID, TRUE, CLASSES) | {"words": score_words(SAID, TRUE, CLASSES)}
    result["left_out"] = {"of_model": ["contempt"], "of_data": [], "rows": 0, "answered": 0.25}
    result["groups"] = [score_groups(np.array(list("aabbb")), SAID, TRUE, CLASSES, "who", words=True)]
    result["own_labels"] = result["ferplus"] = {"accuracy": 0.5, "accuracy_interval": [0.4, 0.6], "rows": 9}
    sections = dict(lay_out_more(result))
    assert list(sections) == ["Left out, as not in both", "The wearer's words", "By other labels", "By who"]
    assert "contempt" in sections["Left out, as not in both"]
    assert "0.5000 (0.4000 to 0.6000)" in sections["By other labels"]
    assert "<td>upset</td>" in sections["The wearer's words"]
