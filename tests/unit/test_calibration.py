"""Reliability and temperature on cases whose answer is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from lab.calibration import INT8_LEAST, TEMPERATURES, calibration_error, fit_temperature, reliability, temper


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels from the softmax of logits: at temperature 1 those are calibrated."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 5))
    cumulative = softmax(logits).cumsum(axis=1)
    return logits, (rng.random((count, 1)) > cumulative).sum(axis=1).clip(max=4)


def test_a_model_as_sure_as_it_is_right_has_no_calibration_error() -> None:
    probabilities = np.tile([0.75, 0.25], (4, 1))
    assert calibration_error(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(0)


def test_the_bins_hold_every_row_once_and_the_surest_lies_in_the_last() -> None:
    probabilities = np.array([[1.0, 0.0], [0.95, 0.05], [0.5, 0.5], [0.51, 0.49]])
    bins = reliability(probabilities, np.array([0, 1, 0, 1]))
    assert [(bar.rows, bar.accuracy) for bar in bins] == [(2, 0.5), (2, 0.5)]
    assert bins[-1].confidence == pytest.approx(0.975)
    assert (bins[0].low, bins[-1].high) == (pytest.approx(7 / 15), 1)


def test_the_calibration_error_is_the_gap_between_said_and_true() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    labels = np.array([0] * 5 + [1] * 5 + [0] * 6 + [1] * 4)
    assert calibration_error(probabilities, labels) == pytest.approx((0.4 * 10 + 0.0 * 10) / 20)


@pytest.mark.parametrize("hotter", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found_again(hotter: float) -> None:
    logits, labels = draw(20_000, 1)
    probabilities = softmax(logits * hotter)
    found = fit_temperature(probabilities, labels, least=1e-30)
    assert found == pytest.approx(hotter, rel=0.05)
    assert np.allclose(temper(probabilities, hotter, least=1e-30), softmax(logits))


def test_tempering_mends_an_overconfident_model_and_changes_no_answer() -> None:
    logits, labels = draw(5_000, 2)
    probabilities = softmax(3 * logits)
    mended = temper(probabilities, fit_temperature(probabilities, labels))
    assert calibration_error(mended, labels) < 0.03 < calibration_error(probabilities, labels)
    assert (mended.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_no_other_temperature_makes_the_labels_likelier() -> None:
    logits, labels = draw(500, 3)
    probabilities = softmax(2 * logits)

    def loss(temperature: float) -> float:
        return float(-np.log(temper(probabilities, temperature)[np.arange(500), labels]).mean())

    found = fit_temperature(probabilities, labels)
    assert loss(found) < min(loss(found * 1.02), loss(found / 1.02))


def test_an_int8_model_that_shows_nought_for_the_truth_still_gets_a_finite_temperature() -> None:
    probabilities = np.array([[1.0, 0.0]] * 9 + [[0.75, 0.25]] * 9)
    labels = np.array([0] * 8 + [1] + [0] * 6 + [1] * 3)
    assert TEMPERATURES[0] < fit_temperature(probabilities, labels, INT8_LEAST) < TEMPERATURES[1]


@pytest.mark.parametrize(("label", "bound"), [(0, TEMPERATURES[0]), (1, TEMPERATURES[1])])
def test_a_model_that_is_always_right_or_always_wrong_ends_at_a_bound(label: int, bound: float) -> None:
    probabilities = np.tile([0.7, 0.3], (10, 1))
    assert fit_temperature(probabilities, np.full(10, label)) == pytest.approx(bound)
