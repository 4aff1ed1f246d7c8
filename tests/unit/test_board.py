"""What is read of a board from the kernel, and what cannot be: made-up boards, and the machine that this runs on."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge.hardware import board

PLATFORM = "sys/devices/platform"


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


@pytest.mark.parametrize(
    ("folder", "text", "expected"),
    [
        ("soc/soc:firmware", "50005\n", "0x50005"),
        ("soc@107c000000/soc@107c000000:firmware", "0\n", "0x0"),
        ("soc/soc:firmware", "?", None),
        ("soc/elsewhere", "0\n", None),
    ],
)
def test_throttling_is_read_where_a_raspberry_pi_has_it(
    tmp_path: Path, folder: str, text: str, expected: str | None
) -> None:
    (tmp_path / PLATFORM / folder).mkdir(parents=True)
    (tmp_path / PLATFORM / folder / "get_throttled").write_text(text)
    assert board.throttled(tmp_path) == expected


@pytest.mark.parametrize(("text", "expected"), [("48312\n", 48.312), ("-3000\n", -3.0), ("", None), ("hot", None)])
def test_temperature_is_read_or_unknown(tmp_path: Path, text: str, expected: float | None) -> None:
    assert board.temperature_c(tmp_path) is None
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", text)
    assert board.temperature_c(tmp_path) == expected


def test_peak_memory_is_not_that_of_the_process_that_started_us(repository: Path) -> None:
    ballast = b"\1" * 200_000_000
    words = [sys.executable, "-c", "from edge.hardware.board import peak_rss_mb; print(peak_rss_mb())"]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True, timeout=60, check=True)
    assert 1 < float(done.stdout) < len(ballast) / 1e6


def test_peak_memory_is_known_where_proc_lacks_it(tmp_path: Path) -> None:
    assert board.peak_rss_mb(tmp_path) > 1
    assert board.rss_mb(tmp_path) is None


def test_a_board_without_facts_is_unknown_and_not_guessed(tmp_path: Path) -> None:
    for read in (
        *(board.board_model, board.product_name, board.processor_name, board.governor, board.frequency_mhz),
        *(board.busy_s, board.throttled, board.available_mb, board.memory_stalled, board.battery, board.sound_cards),
        *(board.rss_mb, board.swapped_mb),
    ):
        assert read(tmp_path) is None, read.__name__
    assert (board.memory_kib(tmp_path), board.swaps(tmp_path), board.connectors(tmp_path)) == ({}, [], {})
    assert board.root_mount(tmp_path) == ("", [""])
    assert (board.own_threads(tmp_path), board.own_descriptors(tmp_path)) == (0, 0)
    assert board.process_cpu_s(os.getpid(), tmp_path) is None


def test_what_a_board_reports_is_read(tmp_path: Path) -> None:
    files = {
        "proc/device-tree/model": "Raspberry Pi 5 Model B\0",
        "sys/class/dmi/id/sys_vendor": "Maker\n",
        "proc/cpuinfo": "processor : 0\nCPU part\t: 0xd0b\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
        "proc/meminfo": "MemTotal:  1000 kB\nMemAvailable:   500 kB\n",
        "proc/pressure/memory": "some avg10=1.50 avg60=0.00\nfull avg10=0.00\n",
        "proc/swaps": "Filename Type\n/dev/zram0 partition\n",
        "proc/mounts": "/dev/root / ext4 rw,noatime 0 0\noverlay / overlay ro 0 0\n",
        "sys/class/drm/card1-HDMI-A-1/status": "connected\n",
        "sys/class/drm/card1-DSI-1/status": "",
        "sys/module/gpio/parameters/persist": "Y\n",
        "sys/class/bluetooth/hci0/type": "primary\n",
        "sys/class/rfkill/rfkill0/type": "wlan\n",
        "sys/class/rfkill/rfkill0/soft": "1\n",
        "sys/class/rfkill/rfkill1/type": "bluetooth\n",
        "sys/class/rfkill/rfkill1/soft": "0\n",
        "sys/class/rfkill/rfkill1/hard": "1\n",
        "proc/self/status": "Name: x\nVmHWM:\t 2000 kB\nVmRSS:\t 1000 kB\nVmSwap:\t 0 kB\n",
        "proc/7/stat": "7 (a (b) c) S 1 1 1 0 -1 4194560 1 0 0 0 200 100 0 0 20",
    }
    for name, text in files.items():
        write(tmp_path, name, text)
    assert board.board_model(tmp_path) == "Raspberry Pi 5 Model B"
    assert board.product_name(tmp_path) == "Maker"
    assert board.processor_name(tmp_path) == "CPU part 0xd0b"
    assert (board.governor(tmp_path), board.frequency_mhz(tmp_path)) == ("ondemand", 1500.0)
    assert board.available_mb(tmp_path) == 0.512
    assert board.memory_stalled(tmp_path) == 1.5
    assert board.swaps(tmp_path) == ["/dev/zram0"]
    assert board.root_mount(tmp_path) == ("overlay", ["ro"])
    assert board.connectors(tmp_path) == {"card1-DSI-1": "?", "card1-HDMI-A-1": "connected"}
    assert board.bluetooth_adapters(tmp_path) == ["hci0"]
    assert board.is_bluetooth_blocked(tmp_path)
    write(tmp_path, "sys/class/rfkill/rfkill1/hard", "0\n")
    assert not board.is_bluetooth_blocked(tmp_path), "a switch of the Wi-Fi's is none of Bluetooth's"
    assert board.module_parameter("gpio/parameters/persist", tmp_path) == "Y"
    assert (board.peak_rss_mb(tmp_path), board.rss_mb(tmp_path), board.swapped_mb(tmp_path)) == (2.048, 1.024, 0.0)
    assert board.process_cpu_s(7, tmp_path) == 300 / os.sysconf("SC_CLK_TCK")


def test_of_this_machine_the_same_is_read_as_by_other_means() -> None:
    assert board.own_threads() >= threading.active_count()
    assert board.own_descriptors() > 3
    assert 1 < (board.rss_mb() or 0) <= board.peak_rss_mb()
    assert (board.process_cpu_s(os.getpid()) or 0) == pytest.approx(sum(os.times()[:2]), abs=0.5)
    assert (board.busy_s() or 0) > sum(os.times()[:2])


def test_nobody_else_reads_what_the_kernel_reports(repository: Path) -> None:
    named = {
        f"{path.relative_to(repository)} {node.value}"
        for room in ("edge", "benchmarks")
        for path in (repository / room).rglob("*.py")
        if path != repository / "edge" / "hardware" / "board.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.match(r"/?(proc|sys)/", node.value)
    }
    assert named == {"edge/sinks/places.py /proc/self/fd/1"}, "which is standard output's name, and not read"
