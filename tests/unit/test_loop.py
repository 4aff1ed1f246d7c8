"""The loop that every fit shares: it goes on to the same network, keeps its journal, and stops at no number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge.errors import CheckpointUnusable, FitDiverged
from training.loop import Batches, Row, Run, average_momentum, read_history

pytestmark = pytest.mark.host


class KilledError(Exception):
    """Stands for a kill after an epoch's checkpoint."""


def draw(rows: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Any, npt.NDArray[np.float32]]:
    pixels = rng.normal(size=(len(rows), 3)).astype(np.float32)
    return pixels, pixels.sum(axis=1, keepdims=True)


def make_run(out: Path, *, killed_after: int = 0, **options: Any) -> Run:
    """Make the fit of a single layer with averaged weights, which is killed after an epoch."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    judged: list[int] = []

    def judge(before: Sequence[Row]) -> dict[str, int]:
        if killed_after and len(before) == killed_after:
            raise KilledError
        judged.append(len(before))
        return {"seen": len(before)}

    batches = Batches((7,), 4, 3, lambda rng: rng.permutation(12), draw)
    kept: dict[str, Any] = {"advice": "begin again", "describe": lambda row: f"seen {row['seen']}", "judge": judge}
    kept |= {"draw": lambda history: b"drawn", **options}
    return Run(model, 3, batches, out / "fit.npz", {"epochs": 3}, **kept)


def weights(run: Run) -> list[list[float]]:
    return [np.ravel(weight).tolist() for weight in run.model.get_weights()]


def test_a_fit_that_was_killed_goes_on_to_the_network_and_journal_of_one_that_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    straight = make_run(whole)
    straight.fit()
    with pytest.raises(KilledError):
        make_run(cut, killed_after=1).fit()
    assert [row["epoch"] for row in read_history(cut, named=False)] == [1]
    capsys.readouterr()
    resumed = make_run(cut)
    resumed.fit()
    printed = capsys.readouterr().out.replace("\r", "").splitlines()
    assert [line.split(":")[0] for line in printed] == ["epoch 2/3", "epoch 3/3"]
    assert weights(resumed) == weights(straight)
    rows = [[{**row, "wall_s": 0} for row in read_history(folder, named=False)] for folder in (whole, cut)]
    assert rows[0] == rows[1]
    assert [row["seen"] for row in rows[0]] == [0, 1, 2]
    assert (cut / "history.png").read_bytes() == b"drawn"


def test_one_killed_after_its_last_epoch_ends_with_the_averaged_weights_too(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.fit()
    again = make_run(tmp_path)
    again.fit()
    assert weights(again) == weights(run)
    with np.load(tmp_path / "fit.npz") as kept:
        raw = [np.ravel(kept[f"{i}"]).tolist() for i in range(2)]
    assert raw != weights(run)


@pytest.mark.parametrize("average", [True, False])
def test_an_epoch_is_judged_by_its_averaged_weights_where_there_are_any_and_the_fit_continues_from_the_raw_ones(
    average: bool, tmp_path: Path
) -> None:
    import keras

    seen: list[list[list[float]]] = []

    def judge(_: Sequence[Row]) -> dict[str, int]:
        seen.append(weights(run))
        return {"seen": 0}

    run = make_run(tmp_path, judge=judge)
    run.model.compile(keras.optimizers.SGD(0.1, use_ema=average, ema_momentum=0.5 if average else 0.99), "mse")
    run.epochs = 1
    run.fit()
    # The checkpoint has the raw weights, and after the last epoch the averaged ones are in the model.
    with np.load(tmp_path / "fit.npz") as kept:
        raw = [np.ravel(kept[f"{i}"]).tolist() for i in range(2)]
    assert len(seen) == 1
    np.testing.assert_allclose(np.concatenate(seen[0]), np.concatenate(weights(run)), rtol=1e-5)
    assert (raw != weights(run)) == average


def test_averaged_weights_remember_no_more_than_two_epochs() -> None:
    assert average_momentum(0.998, 10_000) == 0.998
    assert average_momentum(0.998, 5) == pytest.approx(0.9)


def test_a_batch_hangs_on_seed_epoch_and_number_alone(tmp_path: Path) -> None:
    drawn: list[list[float]] = []

    def note(rows: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Any, npt.NDArray[np.float32]]:
        pixels, targets = draw(rows, rng)
        drawn.append([*rows.tolist(), *pixels.ravel().tolist()])
        return pixels, targets

    run = make_run(tmp_path)
    run.batches = replace(run.batches, draw=note)
    run.fit()
    for epoch in (1, 2, 3):
        order = np.random.default_rng((7, epoch)).permutation(12)
        for index in range(3):
            rows, rng = order[4 * index : 4 * index + 4], np.random.default_rng((7, epoch, index))
            assert [*rows.tolist(), *draw(rows, rng)[0].ravel().tolist()] in drawn


def test_a_loss_that_is_no_number_stops_at_its_step(tmp_path: Path) -> None:
    run = make_run(tmp_path, name="long")
    run.batches = replace(run.batches, draw=lambda rows, rng: (np.full((len(rows), 3), np.nan), draw(rows, rng)[1]))
    with pytest.raises(FitDiverged, match=r"the loss is nan at epoch 1 of the long fit, step 1; begin again"):
        run.fit()
    assert list(tmp_path.iterdir()) == []


def test_the_rows_of_other_fits_stay_and_a_fit_without_a_journal_writes_its_checkpoint_alone(tmp_path: Path) -> None:
    other = {"round": "first", "epoch": 1}
    make_run(tmp_path, name="long", before=[other]).fit()
    rows = read_history(tmp_path, named=True)
    assert rows[0] == other
    assert [(row["round"], row["epoch"]) for row in rows[1:]] == [("long", 1), ("long", 2), ("long", 3)]
    (tmp_path / "bare").mkdir()
    make_run(tmp_path / "bare", draw=None).fit()
    make_run(tmp_path / "bare", draw=None).fit()
    assert [path.name for path in (tmp_path / "bare").iterdir()] == ["fit.npz"]


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (None, "0 of 3 epochs; delete .*fit.npz"),
        ('[{"epoch": 1}]', "1 of 3 epochs; delete .*fit.npz"),
        ('[{"round": "first", "epoch": 1}]', "another kind of fit; give --out another folder"),
        ("[{]", "give --out another folder"),
        ("[1]", "give --out another folder"),
    ],
)
def test_a_journal_that_does_not_fit_its_checkpoint_is_refused(left: str | None, said: str, tmp_path: Path) -> None:
    make_run(tmp_path).fit()
    if left is None:
        (tmp_path / "history.json").unlink()
    else:
        (tmp_path / "history.json").write_text(left)
    with pytest.raises(CheckpointUnusable, match=f"history.json: .*{said}"):
        make_run(tmp_path).fit()
