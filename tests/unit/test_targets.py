"""What a network is fitted to: labels, teachers' soft labels, votes; and which rows a small sample takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.errors import DataMissing, DataUnreadable
from lab.datasets.labelled import Labelled
from lab.datasets.sample import draw_rows
from training.targets import make_targets, read_soft_labels, vote_shares, write_soft_labels

CLASSES = ("a", "b", "c")


def draw(count: int = 6) -> Labelled:
    images = np.random.default_rng(0).integers(0, 256, (count, 4, 4), dtype=np.uint8)
    return Labelled(images, np.arange(count) % 3)


def test_targets_are_shares_with_the_label_ahead() -> None:
    targets = make_targets(draw(), None, 3, 0.3, None, 0.7)
    assert targets.sum(axis=1) == pytest.approx(1)
    assert targets[0] == pytest.approx([0.8, 0.1, 0.1])


def test_teachers_take_the_weight_that_they_are_given() -> None:
    soft = np.tile(np.array([0.0, 0.0, 1.0], np.float32), (6, 1))
    assert make_targets(draw(), None, 3, 0.0, soft, 0.7)[0] == pytest.approx([0.3, 0.0, 0.7])


def test_votes_can_stand_in_the_place_of_labels() -> None:
    shares = np.tile(np.array([0.2, 0.5, 0.3], np.float32), (6, 1))
    assert make_targets(draw(), shares, 3, 0.0, None, 0.7) == pytest.approx(shares)


def test_soft_labels_of_several_teachers_are_averaged(tmp_path: Path) -> None:
    data = draw()
    for name, column in (("one", 0), ("two", 1)):
        one_hot = np.eye(3, dtype=np.float32)[np.full(6, column)]
        write_soft_labels(tmp_path / f"{name}.npz", one_hot, data, CLASSES)
    soft = read_soft_labels([tmp_path / "one.npz", tmp_path / "two.npz"], data, CLASSES)
    assert soft is not None
    assert soft == pytest.approx(np.tile([0.5, 0.5, 0.0], (6, 1)))
    assert read_soft_labels([], data, CLASSES) is None


def test_soft_labels_of_other_pictures_classes_or_no_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "soft.npz"
    write_soft_labels(path, np.full((6, 3), 1 / 3, np.float32), draw(), CLASSES)
    with pytest.raises(DataUnreadable, match="other pictures"):
        read_soft_labels([path], draw(5), CLASSES)
    with pytest.raises(DataUnreadable, match="other pictures or classes"):
        read_soft_labels([path], draw(), ("a", "b", "d"))
    with pytest.raises(DataMissing, match="cuelens-train teacher"):
        read_soft_labels([tmp_path / "none.npz"], draw(), CLASSES)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataUnreadable, match=r"soft\.npz"):
        read_soft_labels([path], draw(), CLASSES)


def test_votes_become_shares_of_the_raters() -> None:
    votes = np.array([[4, 0, 0, 1, 3, 2, 0, 0, 0, 0], [0] * 10], np.uint8)
    shares = vote_shares(votes)
    assert shares[0, [0, 3, 4, 5]] == pytest.approx([0.4, 0.1, 0.3, 0.2])
    assert not shares[1].any()


def test_a_sample_has_as_many_of_each_class_and_comes_from_the_seed() -> None:
    labels = np.array([0] * 500 + [1] * 100 + [2] * 10)
    rows = draw_rows(labels, 90, 3)
    assert np.array_equal(rows, draw_rows(labels, 90, 3))
    assert not np.array_equal(rows, draw_rows(labels, 90, 4))
    assert np.bincount(labels[rows]).tolist() == [30, 30, 10]
    assert len(set(rows.tolist())) == 70
