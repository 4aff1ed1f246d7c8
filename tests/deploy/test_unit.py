"""The unit file: systemd accepts it, and it keeps what the design promises."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parents[2] / "deploy" / "cuelens.service"
PROGRAM = "/opt/cuelens/current/venv/bin/cuelens"

systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this system")


@pytest.fixture
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), allow_no_value=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT, encoding="utf-8")
    return parser


@systemd
def test_systemd_accepts_it(tmp_path: Path) -> None:
    """On a root of its own, where the program is there: verify wants the executable."""
    program = tmp_path / PROGRAM.lstrip("/")
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    shutil.copy(UNIT, units)
    for target in ("basic", "sysinit", "shutdown"):  # what every service pulls in
        (units / f"{target}.target").write_text("[Unit]\nDescription=stub\nDefaultDependencies=no\n", encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={tmp_path}", UNIT.name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@systemd
def test_it_can_reach_little() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager", UNIT],
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


def test_it_writes_no_picture_by_accident(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    assert (service["LimitCORE"], service["MemorySwapMax"], service["ProtectSystem"]) == ("0", "0", "strict")


def test_a_hang_is_restarted_for_ever(unit: configparser.ConfigParser) -> None:
    """Each try lasts the watchdog's time and the pause: fewer fit in the interval than the limit allows."""
    service, limits = unit["Service"], unit["Unit"]
    tries = int(limits["StartLimitIntervalSec"]) / (int(service["WatchdogSec"]) + int(service["RestartSec"]))
    assert tries < int(limits["StartLimitBurst"])
    assert (service["Type"], service["Restart"]) == ("notify", "always")
