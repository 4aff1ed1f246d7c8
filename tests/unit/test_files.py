"""Files that are old or new: written beside, synced, renamed, and the folder synced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edge.errors import DiskFull, SinkUnwritable
from edge.files import replace_file


def test_the_file_is_on_the_disk_before_it_is_renamed_and_the_rename_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, done = tmp_path / "saved.toml", []
    path.write_text("old")
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(number: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file"
        done.append((kind, path.read_text()))
        real_fsync(number)

    def replace(self: Path, target: Path) -> Path:
        done.append(("rename", path.read_text()))
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    replace_file(path, b"new")
    assert done == [("file", "old"), ("rename", "old"), ("folder", "new")]
    assert [item.name for item in tmp_path.iterdir()] == ["saved.toml"]


def test_what_cannot_be_written_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "saved.toml"
    path.write_text("old")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull):
        replace_file(path, b"new")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["saved.toml"]
    with pytest.raises(SinkUnwritable):
        replace_file(tmp_path / "none" / "x", b"new")


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = os.open

    def refuse(path: Path, flags: int, *rest: int) -> int:
        if flags & os.O_DIRECTORY:
            raise OSError(13, "Permission denied")
        return real_open(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    replace_file(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"
