"""The unit on a real systemd: booted in a container, started, hung, restarted by the watchdog, stopped."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,ca-certificates"
GROUPS = ("video", "render", "i2c", "spi", "gpio")  # Raspberry Pi OS has them

CONTAINER = ("systemd-nspawn", "--register=no", "--keep-unit", "--machine=cuelens-test")

PROBE = r"""
wait_for() { for _ in $(seq 240); do eval "$1" && return; sleep 0.25; done; echo "never: $1"; }
value() { systemctl show cuelens --property "$1" --value; }
log=/var/lib/cuelens/log.jsonl
wait_for '[ "$(value ActiveState)" = active ]'
wait_for '[ "$(wc -l <$log)" -gt 30 ]'
echo "user $(awk '/^Uid:/ { print $2 }' "/proc/$(value MainPID)/status")"
echo "cue $(grep -c '"state":"expression"' $log)"
kill -STOP "$(value MainPID)"
wait_for '[ "$(value NRestarts)" = 1 ] && [ "$(value ActiveState)" = active ]'
wait_for '[ "$(wc -l <$log)" -gt 30 ]'
systemctl stop cuelens
echo "result $(value Result)"
journalctl --unit cuelens --no-pager --output cat
systemctl poweroff
"""
PROBE_UNIT = """
[Service]
Type=oneshot
ExecStart=/bin/bash /probe.sh
StandardOutput=file:/probe.log
StandardError=inherit
[Install]
WantedBy=multi-user.target
"""

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="systemd-nspawn boots an x86-64 root here"),
    *(
        pytest.mark.skipif(shutil.which(tool) is None, reason=f"no {tool} on this system; .ci/run installs it")
        for tool in ("mmdebstrap", "systemd-nspawn")
    ),
]


def run(*words: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    nothing = subprocess.DEVNULL
    return subprocess.run(words, cwd=folder, stdin=nothing, capture_output=True, text=True, timeout=300, check=False)


def do(*words: str | Path, folder: Path | None = None) -> None:
    done = run(*words, folder=folder)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def system(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian with systemd and the device's wheel in /opt/cuelens/current, as an installer leaves it."""
    cached = repository / ".cache" / "roots" / "trixie"
    if not cached.is_dir():
        staged = cached.with_name(f"trixie.{os.getpid()}")
        cached.parent.mkdir(parents=True, exist_ok=True)
        made = run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "trixie", staged)
        if made.returncode:
            shutil.rmtree(staged, ignore_errors=True)
            pytest.skip(f"no Debian root can be made here: {made.stderr.strip().splitlines()[-1:]}")
        staged.rename(cached)
    tried = run(*CONTAINER, "--quiet", f"--directory={cached}", "true")
    if tried.returncode:
        pytest.skip(f"no container can be started here: {tried.stderr.strip().splitlines()[-1:]}")
    root = tmp_path_factory.mktemp("boot") / "root"
    do("cp", "--archive", cached, root)
    # The container installs with the host's network, certificates and package index.
    for path in ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt"):
        if Path("/", path).exists():
            shutil.copy(Path("/", path), root / path)
    release = root / "opt" / "cuelens" / "current"
    release.mkdir(parents=True)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel:standard", "-d", str(root / "tmp")]
    do(*build, folder=repository)
    shutil.copy(repository / "deploy" / "locks" / "device.txt", root / "tmp")
    pip = "/opt/cuelens/current/venv/bin/pip install --quiet --no-deps"
    do("chroot", root, "python3", "-m", "venv", "/opt/cuelens/current/venv")
    do("chroot", root, "sh", "-c", f"{pip} --require-hashes --only-binary=:all: --requirement /tmp/device.txt")
    do("chroot", root, "sh", "-c", f"{pip} --no-index /tmp/*.whl")
    for group in GROUPS:
        do("chroot", root, "groupadd", "--force", "--system", group)
    return root


@pytest.mark.timeout(600)
def test_it_starts_on_boot_and_is_restarted_when_it_hangs_and_stops_cleanly(system: Path, repository: Path) -> None:
    units = system / "etc" / "systemd" / "system"
    shutil.copy(repository / "deploy" / "cuelens.service", units)
    settings = (repository / "deploy" / "cuelens.toml").read_text()
    settings = settings.replace('source = "picamera"', 'source = "demo"')
    settings = settings.replace('sinks = ["terminal"]', 'sinks = ["log:/var/lib/cuelens/log.jsonl", "terminal"]')
    (system / "etc" / "cuelens.toml").write_text(settings)
    (system / "probe.sh").write_text(PROBE)
    (units / "probe.service").write_text(PROBE_UNIT)
    do("chroot", system, "systemctl", "enable", "cuelens.service", "probe.service")
    booted = run(*CONTAINER, "--boot", f"--directory={system}")
    assert (system / "probe.log").exists(), booted.stdout + booted.stderr
    told = (system / "probe.log").read_text()
    assert "never: " not in told, told
    facts = dict(line.split(" ", 1) for line in told.splitlines()[:3])
    assert int(facts["user"]) > 0, "not root"
    assert int(facts["cue"]) > 0
    assert facts["result"] == "success"
    assert told.count("Watchdog timeout") == 1
    assert told.count("Started cuelens.service") == 2
    _, _, stopped = told.rpartition("Stopping cuelens.service")
    assert "frames," in stopped, told  # its summary
    assert "Deactivated successfully" in stopped
