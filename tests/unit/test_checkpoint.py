"""A checkpoint is old or new, never half, and only of the fit that it belongs to."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from edge.errors import CheckpointUnusable, DiskFull

pytestmark = pytest.mark.host
ABOUT = {"recipe": "compact", "epochs": 3}


def test_variables_come_back_and_an_int_stays_an_int(tmp_path: Path) -> None:
    import keras

    from training.checkpoint import load_checkpoint, save_checkpoint

    given = [keras.Variable(np.arange(4.0, dtype="float32")), keras.Variable(7, dtype="int32")]
    save_checkpoint(tmp_path / "c.npz", given, ABOUT)
    taken = [keras.Variable(np.zeros(4, "float32")), keras.Variable(0, dtype="int32")]
    load_checkpoint(tmp_path / "c.npz", taken, ABOUT)
    assert np.asarray(taken[0].value).tolist() == [0, 1, 2, 3]
    assert int(taken[1].value) == 7


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    from training.checkpoint import load_checkpoint, save_checkpoint

    path, variable = tmp_path / "c.npz", keras.Variable(np.ones(4, "float32"))
    save_checkpoint(path, [variable], ABOUT)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    variable.assign(np.zeros(4, "float32"))
    with pytest.raises(DiskFull, match=r"c\.npz"):
        save_checkpoint(path, [variable], ABOUT)
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]
    load_checkpoint(path, [variable], ABOUT)
    assert np.asarray(variable.value).tolist() == [1, 1, 1, 1]


def test_a_checkpoint_cut_anywhere_or_of_another_fit_is_refused(tmp_path: Path) -> None:
    import keras

    from training.checkpoint import load_checkpoint, save_checkpoint

    path, variables = tmp_path / "c.npz", [keras.Variable(np.ones(4, "float32"))]
    save_checkpoint(path, variables, ABOUT)
    with pytest.raises(CheckpointUnusable, match="of a fit with epochs 3"):
        load_checkpoint(path, variables, {**ABOUT, "epochs": 4})
    whole = path.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointUnusable, match="another folder"):
            load_checkpoint(path, variables, ABOUT)
