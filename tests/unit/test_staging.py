"""What a library writes by itself is old or new, whatever ends it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.staging import stage


def test_a_file_takes_its_place_when_it_is_whole_and_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "net.keras", []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (synced.append(path.exists()), fsync(number)))
    with stage(path, ".keras") as staged:
        assert (staged.parent, staged.suffix) == (tmp_path, ".keras")
        staged.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert synced == [False, True]  # the file before it takes its place, the folder after it
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_ends_the_writing_leaves_the_old_file_and_nothing_else(
    error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes(b"old")
    with pytest.raises(error), stage(path, ".keras") as staged:
        staged.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_write_into_each_other(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    with stage(path) as first, stage(path) as second:
        assert first != second
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    assert path.read_bytes() == b"first"  # whose block ends last


def test_where_nothing_was_written_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), stage(path):
        pass
    assert path.read_bytes() == b"old"
