"""`cuelens pair` and `cuelens dark` on the air, and the file in which our glasses are remembered."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from tests.support.failures import ended_by

pytest.importorskip("bleak", reason="bleak is not installed; ./deploy.sh sinks adds it")
pytest.importorskip("bumble", reason="bumble is not installed; ./deploy.sh test adds it")
pytest.importorskip("halo_emulator", reason="halo-emulator is not installed; ./deploy.sh test adds it")

from bleak.exc import BleakBluetoothNotAvailableError, BleakBluetoothNotAvailableReason, BleakDBusError

from edge.cli import main
from edge.diagnostics.safe_mode import pages, show_failure
from edge.drawing.glyphs import plan_cue
from edge.errors import SettingsInvalid, SinkFailed, SinkUnwritable
from edge.runtime.control import Control
from edge.settings import LookSettings, Settings
from edge.sinks.glasses import link, visit
from edge.sinks.glasses.known import Glasses, forget_glasses, glasses_file, load_glasses, remember_glasses
from edge.sinks.glasses.makes import MAKES
from edge.sinks.opening import open_sink
from edge.types import Cue
from tests.glasses.air import Air, AirRadio, Peripheral
from tests.glasses.peripherals import ActiveLookPeripheral, HaloPeripheral
from tests.glasses.worn import PATIENCE, wait_until

STOPPED = Cue("stopped", None, 0.0, 0.0)


def run(monkeypatch: pytest.MonkeyPatch, words: str, *peripherals: Peripheral) -> int:
    """Run `cuelens` with these glasses in reach; returns its exit code."""
    monkeypatch.setattr(visit, "Radio", lambda: AirRadio(*peripherals))
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def _no_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("edge.commands.pair.STATE_FOLDER", tmp_path / "none")


@pytest.mark.parametrize("make", ["activelook", "halo"])
def test_the_only_glasses_in_reach_are_paired_and_remembered(
    make: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    glasses = ActiveLookPeripheral() if make == "activelook" else HaloPeripheral()
    assert run(monkeypatch, "pair --seconds 3", glasses) == 0
    printed = capsys.readouterr().out
    assert f"paired {glasses.name} ({glasses.address.upper()}), battery 80 %" in printed
    assert f"glasses:{make}" in printed
    assert load_glasses(glasses_file()) == (Glasses(make, glasses.address.upper(), glasses.name),)
    assert run(monkeypatch, "pair --list") == 0
    assert capsys.readouterr().out == f"{glasses.name}  {glasses.address.upper()}  glasses:{make}\n"
    if isinstance(glasses, HaloPeripheral):
        glasses.stop()


def test_of_several_one_must_be_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    near = ActiveLookPeripheral("Engo-1"), ActiveLookPeripheral("Engo-2")
    assert "several are in reach: Engo-" in ended_by(
        SettingsInvalid, run(monkeypatch, "pair activelook --seconds 3", *near), capsys.readouterr().err
    )
    assert run(monkeypatch, "pair activelook --seconds 3 --name Engo-2", *near) == 0
    assert [pair.name for pair in load_glasses(glasses_file())] == ["Engo-2"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("pair --seconds 0.2", "in reach"),
        ("pair halo --seconds 0.2 --name Mine", "no Mine in reach"),
        ("pair --seconds 0", "--seconds is 0.0; valid are more than 0, up to 600"),
        ("pair --forget Nobody", "'Nobody' is not paired; paired are none"),
    ],
)
def test_what_cannot_be_paired_is_reported_in_a_line(
    words: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, words) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert load_glasses(glasses_file()) == ()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            BleakBluetoothNotAvailableError("none", BleakBluetoothNotAvailableReason.NO_BLUETOOTH),
            "no Bluetooth adapter",
        ),
        (BleakBluetoothNotAvailableError("off", BleakBluetoothNotAvailableReason.POWERED_OFF), "rfkill unblock"),
        (BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", []), "enable --now bluetooth"),
        (BleakDBusError("org.bluez.Error.AuthenticationFailed", []), "pairing mode"),
        (BleakDBusError("org.freedesktop.DBus.Error.AccessDenied", []), "usermod -aG bluetooth"),
        (FileNotFoundError(2, "No such file or directory"), "apt install bluez dbus"),
        (EOFError(), "has ended"),
    ],
)
def test_what_is_wrong_with_bluetooth_is_reported_with_what_to_do(
    error: Exception, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Air, "__init__", _with(error))
    code = run(monkeypatch, "pair --seconds 0.2", ActiveLookPeripheral())
    (line,) = ended_by(SinkFailed, code, capsys.readouterr().err).splitlines()
    assert says in line


def _with(error: Exception):  # type: ignore[no-untyped-def]
    make = Air.__init__

    def made(self: Air) -> None:
        make(self)
        self.unavailable = error

    return made


@pytest.mark.parametrize("kept", [True, False], ids=["linked", "advertising"])
def test_a_picture_that_a_killed_run_left_is_taken_away(
    kept: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """bluetoothd keeps a killed run's link, and glasses with a link do not advertise; they do when it is lost."""
    glasses = ActiveLookPeripheral()
    glasses.kept = kept
    glasses.screen[50:80, 60:90] = 15
    settings = tmp_path / "settings.toml"
    settings.write_text('sinks = ["terminal", "glasses:activelook:A.LooK"]'.replace("A.LooK", glasses.name))
    assert run(monkeypatch, f"dark --config {settings}", glasses) == 0
    assert glasses.connections == 1
    assert not glasses.screen.any()
    assert 0x41 not in [command for command, _ in glasses.commands], "no picture is saved for that"


def test_after_a_run_that_ended_well_glasses_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    glasses = ActiveLookPeripheral()
    settings = tmp_path / "settings.toml"
    settings.write_text(f'sinks = ["glasses:activelook:{glasses.name}", "glasses:halo:Halo 08"]')
    monkeypatch.setenv("SERVICE_RESULT", "success")
    assert run(monkeypatch, f"dark --config {settings}", glasses) == 0
    assert glasses.connections == 0


def test_glasses_out_of_reach_keep_no_other_from_being_made_dark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    glasses = ActiveLookPeripheral()
    glasses.kept = True
    glasses.screen[50:80, 60:90] = 15
    (tmp_path / "18").write_bytes(b"1")
    sinks = json.dumps(["haptic", "glasses:activelook:Away", f"glasses:activelook:{glasses.name}"])
    settings = tmp_path / "settings.toml"
    settings.write_text(
        f'sinks = {sinks}\n[haptic]\ndriver = "pin"\npin = 18\n[pins]\nchip = "mock:{tmp_path}"\nlight_sense = 5\n'
    )
    assert run(monkeypatch, f"dark --config {settings}", glasses) != 0
    assert not glasses.screen.any()
    assert (tmp_path / "18").read_bytes() == b"0"
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2, "the light's and the absent pair's"
    assert sum("Away: not made dark" in line for line in said) == 1


def test_glasses_show_why_the_service_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    glasses, stop = ActiveLookPeripheral(), threading.Event()
    monkeypatch.setattr(link, "Radio", lambda: AirRadio(glasses))
    monkeypatch.setattr("edge.diagnostics.safe_mode.PAGE", 0.5)
    monkeypatch.setattr("edge.diagnostics.safe_mode.REPEAT", 0.05)
    control = Control(Settings(sinks=(f"glasses:activelook:{glasses.name}",)))
    plans = [plan_cue(STOPPED, LookSettings(), text) for text in pages("no camera; plug it in")[1:]]
    seen: set[int] = set()

    def watch() -> None:
        while not stop.wait(0.01):
            seen.update(number for number, plan in enumerate(plans) if glasses.shows(plan))
            if len(seen) == len(plans):
                stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    show_failure(control, "no camera; plug it in", stop, PATIENCE)
    stop.set()
    watcher.join()
    assert seen == set(range(len(plans)))
    wait_until(lambda: not glasses.screen.any(), "the end is dark")


def test_the_sink_takes_the_pair_of_its_make_that_was_paired_last() -> None:
    with pytest.raises(SinkFailed, match="none are paired; turn them on, then cuelens pair halo"):
        open_sink("glasses:halo", Control(Settings()))
    path = glasses_file()
    assert path is not None
    remember_glasses(path, Glasses("halo", "F0:00:00:00:00:01", "Halo 01"))
    remember_glasses(path, Glasses("halo", "F0:00:00:00:00:02", "Halo 02"))
    remember_glasses(path, Glasses("activelook", "F0:00:00:00:00:03", "Engo"))
    control = Control(Settings())
    sink = open_sink("glasses:halo", control)
    assert control.links["glasses:halo"].name == "Halo 02"
    sink.close()
    assert control.links == {}
    forget_glasses(path, "F0:00:00:00:00:02")
    assert [pair.name for pair in load_glasses(path)] == ["Engo", "Halo 01"]
    remember_glasses(path, Glasses("halo", "F0:00:00:00:00:01", "Halo 01"))
    assert [pair.name for pair in load_glasses(path)] == ["Halo 01", "Engo"], "once, and first"


def test_every_make_is_known_by_its_own_name() -> None:
    assert [make.name for make in MAKES.values()] == list(MAKES) != []


@pytest.mark.parametrize("argument", ["", "meta", "Halo", "halos:x"])
def test_a_make_that_there_is_not_is_refused_with_those_that_there_are(argument: str) -> None:
    with pytest.raises(SettingsInvalid, match="valid are glasses:activelook, glasses:halo"):
        open_sink(f"glasses:{argument}", Control(Settings()))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b'{"make": 1}',
        b"[" * 5000,
        b'[{"make": "halo", "address": "x", "name": "y"}]',
        b"\xff" * 20_000,
    ],
)
def test_a_damaged_file_is_reported_and_nothing_is_taken_of_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "glasses.json"
    path.write_bytes(content)
    with pytest.raises(SettingsInvalid, match=r"remove it, then cuelens pair"):
        load_glasses(path)


def test_a_folder_that_is_not_ours_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkUnwritable):
        remember_glasses(tmp_path / "file" / "glasses.json", Glasses("halo", "F0:00:00:00:00:01", "Halo"))


def test_the_file_is_plain(tmp_path: Path) -> None:
    remember_glasses(tmp_path / "glasses.json", Glasses("halo", "F0:00:00:00:00:01", "Halo 01"))
    rows = json.loads((tmp_path / "glasses.json").read_text())
    assert rows == [{"make": "halo", "address": "F0:00:00:00:00:01", "name": "Halo 01"}]
    assert oct((tmp_path / "glasses.json").stat().st_mode)[-3:] == "644"
