"""The unit file: systemd accepts it, and it keeps what the design promises."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.runtime.capture import CAMERA_TIMEOUT

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNIT, SETTLE, SAFE = (
    DEPLOY / "cuelens.service",
    *(DEPLOY / "device" / f"cuelens-{n}.service" for n in ("settle", "safe")),
)
PROGRAMS = (
    *(f"/opt/cuelens/{link}/venv/bin/cuelens" for link in ("current", "good")),
    "/opt/cuelens/good/install.sh",
    "/bin/sh",
)
START = 8  # seconds, at most, that a start takes on any board but for its camera

systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this system")


def read(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), allow_no_value=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path, encoding="utf-8")
    return parser


@pytest.fixture
def unit() -> configparser.ConfigParser:
    return read(UNIT)


@pytest.mark.parametrize("path", [UNIT, SAFE], ids=lambda path: path.name)
def test_its_lines_go_to_the_journal_which_takes_their_priorities(path: Path) -> None:
    """systemd's defaults; with one of these, edge.system.messages would print no priority, or the journal show it."""
    other = {"SyslogLevelPrefix", "SyslogLevel", "StandardError", "StandardOutput"}
    assert not other & read(path)["Service"].keys()


@systemd
@pytest.mark.parametrize("unit", [UNIT, SETTLE, SAFE], ids=lambda path: path.name)
def test_systemd_accepts_it(tmp_path: Path, unit: Path) -> None:
    """On a root of its own, where the programs are there: verify wants the executable."""
    for program in (tmp_path / name.lstrip("/") for name in PROGRAMS):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n", encoding="utf-8")
        program.chmod(0o755)
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for path in (UNIT, SETTLE, SAFE):
        shutil.copy(path, units)
    for target in ("basic", "sysinit", "shutdown"):  # what every service pulls in
        (units / f"{target}.target").write_text("[Unit]\nDescription=stub\nDefaultDependencies=no\n", encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={tmp_path}", unit.name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@systemd
@pytest.mark.parametrize("unit", [UNIT, SAFE], ids=lambda path: path.name)
def test_it_can_reach_little(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", unit],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_waits_for_no_network(unit: configparser.ConfigParser) -> None:
    for key in ("After", "Wants", "Requires", "BindsTo", "PartOf", "Upholds"):
        assert "network" not in unit["Unit"].get(key, "")


def test_it_has_no_network(unit: configparser.ConfigParser) -> None:
    assert "INET" not in unit["Service"]["RestrictAddressFamilies"]


def test_it_names_no_group_that_a_system_may_lack_and_no_other_device_than_those_of_cameras_displays_and_pins(
    unit: configparser.ConfigParser,
) -> None:
    assert "SupplementaryGroups" not in unit["Service"]
    assert unit["Service"]["DevicePolicy"] == "closed"
    allowed = {line.split("=")[1] for line in UNIT.read_text().splitlines() if line.startswith("DeviceAllow=")}
    kinds = ("video4linux", "media", "dma_heap", "drm", "i2c", "spi", "gpiochip", "bcm2835-gpiomem")
    assert allowed == {"/dev/udmabuf rw", *(f"char-{kind} rw" for kind in kinds)}


def test_what_a_power_cut_left_is_settled_before_it_starts_by_the_release_that_was_seen_working() -> None:
    settle = read(SETTLE)
    assert settle["Unit"]["Before"] == UNIT.name
    assert settle["Service"]["ExecStart"].startswith("/opt/cuelens/good/")
    assert settle["Service"]["Type"] == "oneshot"


def test_it_writes_no_picture_by_accident(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    assert (service["LimitCORE"], service["MemorySwapMax"], service["ProtectSystem"]) == ("0", "0", "strict")


def test_systemd_stops_a_service_that_ends_at_once_or_hangs_and_never_for_a_missing_camera(
    unit: configparser.ConfigParser,
) -> None:
    service, limits = unit["Service"], unit["Unit"]
    assert (service["Type"], service["Restart"]) == ("notify", "always")
    tries, within = int(limits["StartLimitBurst"]), int(limits["StartLimitIntervalSec"])
    pause, watchdog = int(service["RestartSec"]), int(service["WatchdogSec"])
    assert tries * (pause + START) <= 120  # to the display's word, in seconds
    assert tries * (pause + START + watchdog) <= within
    assert tries * (pause + CAMERA_TIMEOUT) > within
    assert limits["OnFailure"] == SAFE.name


def test_safe_mode_ends_when_it_is_started_again_holds_no_camera_and_tries_again_itself() -> None:
    safe, main = read(SAFE), read(UNIT)
    assert safe["Unit"]["Conflicts"] == safe["Unit"]["After"] == UNIT.name
    allowed = {line for line in SAFE.read_text().splitlines() if line.startswith("DeviceAllow=")}
    assert allowed == {f"DeviceAllow=char-{kind} rw" for kind in ("drm", "i2c", "spi", "gpiochip")}
    assert "INET" not in safe["Service"]["RestrictAddressFamilies"]
    assert safe["Service"]["RuntimeMaxSec"] == "180"
    assert "systemctl start --no-block cuelens.service" in safe["Service"]["ExecStopPost"]
    # What is kept and where settings are: the same places and the same user.
    for key in ("DynamicUser", "User", "StateDirectory", "ConfigurationDirectory", "LimitCORE", "MemorySwapMax"):
        assert safe["Service"][key] == main["Service"][key]
    assert "WantedBy" not in SAFE.read_text()
