"""The numbers behind the gate, on cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("flatbuffers", reason="flatbuffers is the host's")

from converter.parity import (
    compare_answers,
    compare_raw,
    find_worst_class,
    find_worst_layer,
    paired_interval,
)


def answers(*decisions: int, sure: float = 0.8) -> np.ndarray:
    """Probabilities of three classes, `sure` of the one decided for."""
    said = np.full((len(decisions), 3), (1 - sure) / 2)
    said[np.arange(len(decisions)), decisions] = sure
    return said


def test_every_difference_is_counted_once() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    entry = compare_answers(
        answers(0, 0, 1, 1, 2, 0), answers(0, 1, 1, 1, 2, 2, sure=0.7), labels, ("one", "two", "three")
    )
    assert entry["accuracy"] == pytest.approx(5 / 6)
    assert entry["loss"] == 0, "one lost, one won"
    assert (entry["agreement"], entry["flips"]) == (pytest.approx(4 / 6), 2)
    assert entry["confidence_drift"] == {key: pytest.approx(0.1) for key in ("mean", "p95", "largest")}
    assert entry["classes"]["one"] == {
        "rows": 2,
        "recall_float": 1.0,
        "recall_int8": 0.5,
        "agreement": 0.5,
        "difference": -0.5,
        "difference_interval": list(paired_interval(0, 1, 2)),
    }
    assert entry["classes"]["three"]["difference"] == 0.5
    assert find_worst_class(entry) == "one", "of two that agree alike, the one that loses"
    low, high = entry["loss_interval"]
    assert low < 0 < high


def test_the_largest_difference_of_logits_is_found_where_it_is() -> None:
    real, said = answers(0, 1, 2), answers(0, 1, 2)
    said[1] = (0.3, 0.6, 0.1)
    entry = compare_answers(real, said, np.array([0, 1, 2]), ("one", "two", "three"))
    assert entry["largest_logit_difference"] == {"value": pytest.approx(np.log(3)), "row": 1, "class": "one"}


def test_a_class_without_pictures_is_left_out() -> None:
    entry = compare_answers(answers(0, 1), answers(0, 1), np.array([0, 1]), ("one", "two", "three"))
    assert entry["classes"].keys() == {"one", "two"}


@given(st.integers(0, 50), st.integers(0, 50), st.integers(100, 4000))
def test_the_interval_of_a_difference_is_turned_around_with_it(worse: int, better: int, rows: int) -> None:
    low, high = paired_interval(worse, better, rows)
    assert low < high
    assert paired_interval(better, worse, rows) == pytest.approx((-high, -low))
    assert low <= (worse - better) / rows <= high


def test_the_interval_of_a_difference_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    lost, won, rows, draws = 0.02, 0.015, 400, 2000
    counts = rng.multinomial(rows, (lost, won, 1 - lost - won), size=draws)
    held = [low <= lost - won <= high for low, high in (paired_interval(int(a), int(b), rows) for a, b, _ in counts)]
    assert 0.93 <= np.mean(held) <= 0.99


def test_raw_outputs_are_compared_by_byte_step_and_decision() -> None:
    judged = np.array([[10, 5, -3], [1, 2, 3]], np.int8)
    other = np.array([[10, 12, -3], [1, 2, 3]], np.int8)
    assert compare_raw(judged, other) == {
        "rows": 2,
        "equal_bytes": pytest.approx(5 / 6),
        "largest_steps": 7.0,
        "argmax_flips": 1,
    }


def test_the_worst_layer_is_the_one_that_adds_most() -> None:
    rows = [{"layer": name, "added_noise": noise} for name, noise in (("a", 0.1), ("b", 0.3), ("c", 0.2))]
    assert find_worst_layer(rows) == "b"
    assert find_worst_layer([]) is None
