"""A pause holds until somebody ends it: over restarts, power cuts, full disks and damaged files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.runtime import pause
from edge.runtime.control import Control
from edge.runtime.pause import KeptPause, pause_file


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/cuelens", "HOME": "/root"}, "/var/lib/cuelens/paused"),
        ({"STATE_DIRECTORY": "/a:/b"}, "/a/paused"),
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/x"}, "/state/cuelens/paused"),
        ({"HOME": "/home/x"}, "/home/x/.local/state/cuelens/paused"),
        ({}, None),
    ],
)
def test_it_is_kept_in_the_state_folder(environment: dict[str, str], expected: str | None) -> None:
    assert pause_file(environment) == (Path(expected) if expected else None)


def test_a_pause_outlasts_the_process_and_ends_when_somebody_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state" / "paused"
    assert not Control(pause=KeptPause(path)).paused
    Control(pause=KeptPause(path)).paused = True
    assert Control(pause=KeptPause(path)).paused
    assert [each.name for each in path.parent.iterdir()] == ["paused"]
    Control(pause=KeptPause(path)).paused = False
    assert not Control(pause=KeptPause(path)).paused
    assert list(path.parent.iterdir()) == []


def test_it_is_on_the_disk_before_whoever_paused_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda number: (synced.append(str(Path(f"/proc/self/fd/{number}").readlink())), sync(number))
    )
    control = Control(pause=KeptPause(tmp_path / "paused"))
    control.paused = True
    assert [Path(name).name.startswith(".paused") for name in synced] == [True, False]
    assert synced[1] == str(tmp_path)
    control.paused = False
    assert synced[2:] == [str(tmp_path)]


@pytest.mark.parametrize("content", [b"", b"pau", b"\0\0\0\0\0\0\0", b"running\n", b"paused\npaused\n", b"\xff\xfe"])
def test_a_damaged_file_is_a_pause_and_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "paused"
    path.write_bytes(content)
    control = Control(pause=KeptPause(path))
    assert control.paused
    assert "damaged" in control.pause_problem
    control.paused = False
    assert not KeptPause(path).on


def test_what_is_no_file_or_may_not_be_read_is_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "paused"
    path.mkdir()
    assert KeptPause(path).on
    Control(pause=KeptPause(path)).paused = False
    assert not KeptPause(path).on
    path.symlink_to("paused")  # to itself
    assert KeptPause(path).on
    path.unlink()
    path.write_bytes(pause.CONTENT)
    monkeypatch.setattr(Path, "read_bytes", lambda _: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    assert KeptPause(path).on


@pytest.mark.parametrize("folder", ["/dev/null", "/proc/none", "/none"])
def test_where_nothing_can_be_kept_nothing_was_and_it_says_so(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    if folder == "/none" and os.geteuid() == 0:
        pytest.skip("root may make that folder")
    control = Control(pause=KeptPause(Path(folder, "cuelens", "paused")))
    assert (control.paused, control.pause_problem) == (False, "")
    control.paused = True
    assert control.paused
    assert len(control.problems) == 1
    assert "a restart would end the pause" in control.problems[0]
    assert control.problems[0] in capsys.readouterr().err
    control.paused = False
    control.paused = True
    assert len(control.problems) == 1


def test_without_a_place_it_says_that_a_restart_ends_it() -> None:
    control = Control(pause=KeptPause(None))
    control.paused = True
    assert control.problems == ["the pause is not kept over a restart: there is no state folder, and no HOME"]


def test_what_nobody_asked_for_is_not_kept(tmp_path: Path) -> None:
    control = Control(pause=KeptPause(tmp_path / "paused"))
    control.pause_unasked()
    assert control.paused
    assert not KeptPause(tmp_path / "paused").on


def test_by_hand_a_pause_holds_for_every_camera_and_for_recordings_in_the_same_folder() -> None:
    home, here, there = {"HOME": "/home/x"}, Path("/a"), Path("/b")
    assert pause_file(home, here) == pause_file(home, here)
    assert len({pause_file(home), pause_file(home, here), pause_file(home, there)}) == 3
    service = {"STATE_DIRECTORY": "/s"}
    assert pause_file(service) == pause_file(service, here)
