"""`cuelens check` on boards that are folders: each line's good case, and each bad one with what to do about it."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from edge import sources
from edge.diagnostics.checks import board, camera, machine, network, outputs, service, trials
from edge.diagnostics.checks.examine import CHECKS, examine
from edge.diagnostics.checks.machine import CheckLine, Machine, run_command, run_trial, run_within
from edge.diagnostics.status import gather_status
from edge.errors import CheckFailed
from edge.needs import Bus, Needs, Package
from edge.runtime.control import Control
from edge.runtime.metrics import Metrics
from edge.runtime.pause import KeptPause, pause_file
from edge.settings import CameraSettings, PinSettings, Settings
from edge.sinks.audio import AudioSettings
from edge.sinks.haptic import HapticSettings
from edge.sinks.mqtt_broker import MqttSettings
from edge.sinks.oled import OledSettings
from edge.sources.demo import DemoSource
from edge.sources.turning import Turn, TurnedSource
from edge.sources.v4l2_device import _kind
from edge.vision.model import ExpressionModel
from edge.vision.mounting import advise
from tests.unit.kernel import Camera, Kernel

GROUPS = "root:x:0:\nvideo:x:44:ada\nrender:x:105:\naudio:x:29:\ni2c:x:994:\nspi:x:995:\ngpio:x:993:\n"
UNIT = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "NRestarts": "0",
    "UnitFileState": "enabled",
    "User": "cuelens",
    "DynamicUser": "no",
    "SupplementaryGroups": "video render i2c spi gpio",
    "RestrictAddressFamilies": "AF_NETLINK AF_UNIX",
    "WantedBy": "multi-user.target",
}
IMX219 = {"cameras": ["imx219"], "libcamera": "/usr/lib/python3/dist-packages/libcamera/__init__.py"}
MODEL = {
    "name": "emotion.tflite",
    "sha256": "c071bede889a517b",
    "runtime": "ai-edge-litert 2.3.0",
    "delegate": "XNNPACK",
    "labels": ["happy", "neutral"],
    "label": "happy",
    "probability": 0.96,
    "ms": 1.25,
}
METADATA = "a camera's metadata node, which gives data about the pictures and not the pictures"
SEEN = {"faces": 0, "turned": None, "black": False, "size": [640, 480]}
WEBCAM = {"name": "C920", "captures": True, "busy": False}

Files = dict[str, str | None]  # by path; None: a folder


@dataclass
class Fake:
    """A machine made of tables; what a test changes in it, it finds."""

    root: Path
    files: Files
    commands: dict[str, str] = field(default_factory=dict)  # by their first word
    trials: dict[str, dict[str, Any]] = field(default_factory=dict)
    modules: set[str] = field(default_factory=lambda: {"pygame", "luma.oled", "PIL", "starlette", "uvicorn"})
    unit: dict[str, str] = field(default_factory=lambda: dict(UNIT))
    free: int | None = 9_000_000_000
    usable: bool = True
    architecture: str = "aarch64"
    now: float = 1_790_000_000.0
    user: tuple[str, frozenset[str]] = ("ada", frozenset({"ada", "video"}))
    status: dict[str, Any] | None = None

    def trial(self, name: str, *words: str) -> dict[str, Any]:
        """Answer a trial by its name, or by its name and words where the table has those."""
        answer = " ".join((name, *words)).replace(str(self.root), "")
        return self.trials.get(answer, self.trials.get(name, {"error": "not tried"}))

    def machine(self) -> Machine:
        """Write the files and return the machine."""
        for name, content in self.files.items():
            path = self.root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.mkdir(exist_ok=True)
            else:
                path.write_text(content)
        answer = {"systemctl": "".join(f"{key}={value}\n" for key, value in self.unit.items()), **self.commands}
        return Machine(
            self.root,
            command=lambda *words: answer.get(words[0]),
            trial=self.trial,
            has_module=lambda name: name in self.modules,
            free_bytes=lambda path: self.free,
            may_use=lambda path: self.usable,
            architecture=self.architecture,
            now=self.now,
            user=self.user,
            status=self.status,
        )


def meminfo(total_mb: int, available_mb: int, cma_mib: int) -> str:
    kb = {"MemTotal": total_mb * 1000, "MemAvailable": available_mb * 1000, "CmaTotal": cma_mib * 1024}
    return "".join(f"{key}: {value * 1000 // 1024 if 'Mem' in key else value} kB\n" for key, value in kb.items())


def raspberry_pi(root: Path, model: str, memory: str, *, heaps: tuple[str, ...], suite: str, zram: bool) -> Fake:
    swap = "/dev/zram0 partition 500000 0 100\n" if zram else ""
    files: Files = {
        "/proc/device-tree/model": f"{model}\0",
        "/proc/meminfo": memory,
        "/proc/mounts": "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n/dev/mmcblk0p1 /boot/firmware vfat rw 0 0\n",
        "/proc/swaps": f"Filename Type Size Used Priority\n{swap}",
        "/proc/asound/cards": " 0 [vc4hdmi0       ]: vc4-hdmi - vc4-hdmi-0\n",
        "/sys/class/thermal/thermal_zone0/temp": "48312\n",
        "/sys/class/drm/card1-HDMI-A-1/status": "connected\n",
        "/sys/class/drm/card1-HDMI-A-2/status": "disconnected\n",
        "/etc/os-release": f'PRETTY_NAME="Debian GNU/Linux {suite}"\nID=debian\n',
        "/etc/group": GROUPS,
        "/etc/cuelens/cuelens.toml": 'source = "picamera"\n',
        "/boot/firmware/config.txt": "camera_auto_detect=1\ndtoverlay=vc4-kms-v3d\n",
        "/dev/i2c-1": "",
        "/usr/bin/aplay": "",
        "/var/lib/cuelens": None,
        "/opt/cuelens/releases/0.1.0+gabc/venv/bin/cuelens": "",
        **{f"/dev/dma_heap/{name}": "" for name in heaps},
    }
    fake = Fake(
        root,
        files,
        commands={"vcgencmd": "throttled=0x0\n", "timedatectl": "yes\n"},
        trials={
            "picamera": IMX219,
            "model": MODEL,
            "faces": {"faces": 1},
            "i2c": {"answers": True},
            "listen": {"listens": True},
        },
    )
    for name in ("current", "good"):
        link = root / "opt/cuelens" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("releases/0.1.0+gabc")
    return fake


def zero_2_w(root: Path) -> Fake:
    """512 MB, of which the kernel leaves 430, and zram."""
    model, memory = "Raspberry Pi Zero 2 W Rev 1.0", meminfo(430, 240, 64)
    return raspberry_pi(root, model, memory, heaps=("linux,cma",), suite="13 (trixie)", zram=True)


def pi_4(root: Path) -> Fake:
    model, memory = "Raspberry Pi 4 Model B Rev 1.4", meminfo(3900, 3300, 512)
    return raspberry_pi(root, model, memory, heaps=("vidbuf_cached", "linux,cma"), suite="12 (bookworm)", zram=False)


def pi_5(root: Path) -> Fake:
    """Its camera takes the system's memory; its firmware's file lies elsewhere."""
    model, memory = "Raspberry Pi 5 Model B Rev 1.0", meminfo(8000, 7300, 16)
    fake = raspberry_pi(root, model, memory, heaps=("vidbuf_cached",), suite="13 (trixie)", zram=True)
    del fake.commands["vcgencmd"]
    fake.files["/sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"] = "0\n"
    return fake


def mini_pc(root: Path) -> Fake:
    """An x86-64 PC with a USB camera and no service."""
    files: Files = {
        "/proc/meminfo": meminfo(8000, 6000, 0),
        "/proc/mounts": "/dev/sda2 / ext4 rw 0 0\n",
        "/proc/swaps": "Filename Type Size Used Priority\n/swapfile file 1000 0 -2\n",
        "/sys/class/dmi/id/sys_vendor": "Intel\n",
        "/sys/class/dmi/id/product_name": "NUC11\n",
        "/sys/class/thermal/thermal_zone0/temp": "41000\n",
        "/sys/class/drm/card0-DP-1/status": "connected\n",
        "/etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
        "/etc/group": GROUPS,
        "/etc/cuelens/cuelens.toml": 'source = "v4l2"\n',
        "/dev/video0": "",
        "/dev/video10": "",
    }
    devices = {"/dev/video0": WEBCAM, "/dev/video10": {"name": "encoder", "captures": False}}
    return Fake(
        root,
        files,
        unit={"LoadState": "not-found", "ActiveState": "inactive"},
        trials={
            "v4l2": {"devices": devices},
            "model": MODEL,
            "faces": {"faces": 1},
            "picture": SEEN | {"faces": 1},
            "listen": {"listens": True},
        },
        architecture="x86_64",
    )


BOARDS: dict[str, Callable[[Path], Fake]] = {"zero 2 w": zero_2_w, "pi 4": pi_4, "pi 5": pi_5, "mini-PC": mini_pc}


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_with_which_all_is_well_has_nothing_to_do(tmp_path: Path, name: str) -> None:
    fake = BOARDS[name](tmp_path)
    lines = {line.name: line for line in examine(fake.machine())}
    assert {key: line.says for key, line in lines.items() if line.state == "do"} == {}
    assert [line.todo for line in lines.values() if line.todo] == []
    assert {"settings", "board", "groups", "camera", "runtime", "network", "faces", "disk", "memory"} <= lines.keys()
    expected = {"zero 2 w": "Zero 2 W", "pi 4": "Pi 4 Model B", "pi 5": "Pi 5 Model B", "mini-PC": "Intel NUC11"}
    assert expected[name] in lines["board"].says
    assert lines["runtime"].says == "ai-edge-litert 2.3.0, XNNPACK, 1 thread(s)"
    if name == "mini-PC":
        assert "not a Raspberry Pi" in lines["throttling"].says
        assert lines["camera"].says == "/dev/video0: C920"
        assert "not installed here" in lines["service"].says
    else:
        assert "imx219" in lines["camera"].says
        assert ("0x0, the kernel" if name == "pi 5" else "0x0, vcgencmd") in lines["throttling"].says
        assert lines["service"].says == "active (running), and starts on boot"
        assert lines["release"].says == "0.1.0+gabc was seen working"


def edit(**changes: Any) -> Callable[[Fake], None]:
    """Return what sets attributes of a fake, tables joined."""

    def apply(fake: Fake) -> None:
        for key, value in changes.items():
            before = getattr(fake, key)
            setattr(fake, key, before | value if isinstance(before, dict) else value)

    return apply


def without(*paths: str) -> Callable[[Fake], None]:
    """Return what takes files away."""

    def apply(fake: Fake) -> None:
        for path in paths:
            del fake.files[path]

    return apply


def camera_trial(**answer: Any) -> Callable[[Fake], None]:
    return edit(trials={"picamera": answer})


def v4l2_trial(**devices: dict[str, Any]) -> Callable[[Fake], None]:
    return edit(trials={"v4l2": {"devices": {f"/dev/{name}": answer for name, answer in devices.items()}}})


def unit(**values: str) -> Callable[[Fake], None]:
    return edit(unit=values)


def both(*changes: Callable[[Fake], None]) -> Callable[[Fake], None]:
    return lambda fake: [change(fake) for change in changes] and None


NO_SERVICE = edit(unit={"LoadState": "not-found", "ActiveState": "inactive"})
MISSING = "No module named 'picamera2'"
PACKAGES = "/usr/lib/python3/dist-packages"
HOLDS = {"source": "picamera", "state": "no_face", "last_frame_age": 0.03, "paused": False}
FRAME = "/sys/class/thermal/thermal_zone0/temp"

Check = Callable[[Machine, Settings], Iterator[CheckLine]]
Row = tuple[str, str, Callable[[Fake], None], Check, Settings, str, str]
DEFAULT = Settings()
V4L2 = Settings(source="v4l2")
GPIO = edit(files={"/dev/gpiochip0": ""}, modules={"gpiod"})
PINS = Settings(pins=PinSettings(light=17, pause=27))


def sinks(*names: str, **tables: Any) -> Settings:
    return Settings(sinks=names, **tables)


GLASSES = edit(
    files={"/sys/class/bluetooth/hci0/uevent": "", "/usr/libexec/bluetooth/bluetoothd": ""}, modules={"bleak"}
)

# what, board, change, check, settings, state, words of the line
TABLE: list[Row] = [
    ("32 bits", "pi 4", edit(architecture="armv7l"), board.check_board, DEFAULT, "do", "64-bit"),
    ("a board without a name", "mini-PC", without("/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name"),
     board.check_board, DEFAULT, "ok", "an unknown board, x86_64"),
    ("disk nearly full", "pi 4", edit(free=50_000_000), board.check_disk, DEFAULT, "do", "50 MB free in /"),
    ("disk full", "pi 4", edit(free=0), board.check_disk, DEFAULT, "do", "nothing free in /var/lib/cuelens"),
    ("disk whose free space is unknown", "pi 4", edit(free=None), board.check_disk, DEFAULT, "ok", "unknown"),
    ("read-only root", "pi 4", edit(files={"/proc/mounts": "/dev/root / ext4 ro,noatime 0 0\n"}),
     board.check_disk, DEFAULT, "note", "read-only"),
    ("overlay root", "pi 4", edit(files={"/proc/mounts": "/dev/x / ext4 rw 0 0\noverlay / overlay rw,ro 0 0\n"}),
     board.check_disk, DEFAULT, "note", "gone at the next start"),
    ("memory taken", "zero 2 w", both(NO_SERVICE, edit(files={"/proc/meminfo": meminfo(430, 90, 64)})),
     board.check_memory, DEFAULT, "do", "90 of 430 MB available"),
    ("memory taken by us", "zero 2 w", edit(files={"/proc/meminfo": meminfo(430, 90, 64)}),
     board.check_memory, DEFAULT, "ok", "90 of 430 MB available, zram"),
    ("small and no swap", "zero 2 w", edit(files={"/proc/swaps": "Filename Type\n"}),
     board.check_memory, DEFAULT, "note", "no swap"),
    ("no meminfo", "pi 4", without("/proc/meminfo"), board.check_memory, DEFAULT, "note", "does not report it"),
    ("warm", "pi 4", edit(files={FRAME: "74500\n"}), board.check_heat, DEFAULT, "note", "74 degrees"),
    ("hot", "pi 4", edit(files={FRAME: "81200\n"}), board.check_heat, DEFAULT, "do", "heat sink"),
    ("freezing", "pi 4", edit(files={FRAME: "-5000\n"}), board.check_heat, DEFAULT, "ok", "-5 degrees"),
    ("no thermometer", "pi 4", without(FRAME), board.check_heat, DEFAULT, "note", "does not report it"),
    ("under-voltage now and before", "pi 4", edit(commands={"vcgencmd": "throttled=0x50005\n"}),
     board.check_throttling, DEFAULT, "do", "under-voltage, throttled now (0x50005, vcgencmd)"),
    ("under-voltage before", "pi 4", edit(commands={"vcgencmd": "throttled=0x10000\n"}),
     board.check_throttling, DEFAULT, "do", "under-voltage since the start"),
    ("too hot now", "pi 4", edit(commands={"vcgencmd": "throttled=0x80008\n"}),
     board.check_throttling, DEFAULT, "do", "soft temperature limit now"),
    ("capped before", "pi 4", edit(commands={"vcgencmd": "throttled=0x20000\n"}),
     board.check_throttling, DEFAULT, "note", "frequency capped since the start"),
    ("neither reports it", "pi 4", edit(commands={"vcgencmd": "VCHI initialization failed\n"}),
     board.check_throttling, DEFAULT, "note", "neither vcgencmd"),
    ("the kernel's bits", "pi 5",
     edit(files={"/sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "50000\n"}),
     board.check_throttling, DEFAULT, "do", "under-voltage, throttled since the start (0x50000, the kernel)"),
    ("1970", "pi 4", edit(now=100.0), board.check_clock, DEFAULT, "note", "it says 1970"),
    ("not synchronised", "pi 4", edit(commands={"timedatectl": "no\n"}), board.check_clock, DEFAULT, "note", "network"),
    ("no timedatectl", "mini-PC", edit(), board.check_clock, DEFAULT, "ok", "it says 2026"),

    ("picamera not there", "pi 4", camera_trial(error=MISSING),
     camera.check_camera, DEFAULT, "do", "sudo apt install python3-picamera2"),
    ("picamera not seen by the venv", "pi 4",
     both(camera_trial(error=MISSING), edit(files={f"{PACKAGES}/picamera2": None, f"{PACKAGES}/libcamera": None})),
     camera.check_camera, DEFAULT, "do", "is there, but not seen"),
    ("picamera of another numpy", "pi 4", camera_trial(error="numpy.dtype size changed"),
     camera.check_camera, DEFAULT, "do", "numpy must be the system's"),
    ("picamera that hangs", "pi 4", camera_trial(error="no answer within 25 s"),
     camera.check_camera, DEFAULT, "do", "ribbon cable"),
    ("no camera on the ribbon", "pi 4", camera_trial(cameras=[], libcamera="x"),
     camera.check_camera, DEFAULT, "do", "check the ribbon cable at both ends"),
    ("detection turned off", "pi 4",
     both(camera_trial(cameras=[], libcamera="x"), edit(files={"/boot/firmware/config.txt": "arm_64bit=1\n"})),
     camera.check_camera, DEFAULT, "do", "add camera_auto_detect=1 to /boot/firmware/config.txt"),
    ("the old camera system", "pi 4",
     both(camera_trial(cameras=[], libcamera="x"), edit(files={"/boot/firmware/config.txt": "start_x=1\n"})),
     camera.check_camera, DEFAULT, "do", "take start_x=1 out"),
    ("camera of another number", "pi 5", edit(), camera.check_camera, Settings(source="picamera:1"),
     "do", "no camera 1; found are imx219"),
    ("picamera on a PC", "mini-PC", edit(), camera.check_camera, DEFAULT, "do", 'set source = "v4l2"'),
    ("held by us", "pi 4", both(edit(status=HOLDS), camera_trial(error="must not be tried")),
     camera.check_camera, DEFAULT, "ok", "newest frame 0.03 s ago"),
    ("held by us, paused", "pi 4", edit(status=HOLDS | {"paused": True}),
     camera.check_camera, DEFAULT, "ok", "holds it, paused"),
    ("held by us, not yet a frame", "pi 4", edit(status=HOLDS | {"last_frame_age": None}),
     camera.check_camera, DEFAULT, "note", "has not come yet"),
    ("held by us, and dead", "pi 4", edit(status=HOLDS | {"state": "no_camera"}),
     camera.check_camera, DEFAULT, "do", "gets no frames"),
    ("a service that does not answer us", "pi 4", edit(), camera.check_camera, DEFAULT, "ok", "held by the running"),
    ("no video device", "mini-PC", without("/dev/video0", "/dev/video10"),
     camera.check_camera, V4L2, "do", "plug it in again"),
    ("no device that captures", "mini-PC", v4l2_trial(video0={"name": "isp", "captures": False}),
     camera.check_camera, V4L2, "do", "no camera among /dev/video0 isp"),
    ("another device wanted", "mini-PC", edit(), camera.check_camera, Settings(source="v4l2:2,640x480@30"),
     "do", "no camera at 2 among /dev/video0 C920"),
    ("the device wanted", "mini-PC", edit(), camera.check_camera, Settings(source="v4l2:/dev/video0"), "ok", "C920"),
    ("a format that cannot be read", "mini-PC",
     v4l2_trial(video0=WEBCAM | {"formats": ["H264"], "readable": False}), camera.check_camera, V4L2, "do",
     "gives only H264, which cannot be read"),
    ("its metadata node", "mini-PC", v4l2_trial(video1={"name": "C920", "kind": METADATA, "captures": False}),
     camera.check_camera, V4L2, "do", "/dev/video1 C920, a camera's metadata node"),
    ("no right to it", "mini-PC", v4l2_trial(video0={"error": "Permission denied"}),
     camera.check_camera, V4L2, "do", "usermod -aG video"),
    ("busy", "mini-PC", v4l2_trial(video0=WEBCAM | {"busy": True}), camera.check_camera, V4L2, "do", "fuser"),
    ("busy by us", "mini-PC",
     both(v4l2_trial(video0=WEBCAM | {"busy": True}), unit(LoadState="loaded", ActiveState="active")),
     camera.check_camera, V4L2, "ok", "held by the running service"),
    ("a driver that hangs", "mini-PC", edit(trials={"v4l2": {"error": "no answer within 25 s"}}),
     camera.check_camera, V4L2, "do", "do not answer"),
    ("a file that is there", "mini-PC", edit(files={"/clip.mp4": ""}), camera.check_camera,
     Settings(source="file:/clip.mp4"), "ok", "a file that is there"),
    ("a file by its address", "mini-PC", edit(files={"/a clip.mp4": ""}), camera.check_camera,
     Settings(source="file:file:///a%20clip.mp4"), "ok", "a file that is there"),
    ("a file by its address that is not", "mini-PC", edit(), camera.check_camera,
     Settings(source="file:file:///x.mp4"), "do", "file:/x.mp4, which is not there"),
    ("a file of no name", "mini-PC", edit(), camera.check_camera, Settings(source="file:"), "do", "not there"),
    ("a stream", "mini-PC", edit(), camera.check_camera, Settings(source="file:rtsp://door/1"),
     "ok", "the source is file: has what it needs"),
    ("a stream, and a service without a network", "pi 4", edit(), camera.check_camera,
     Settings(source="file:rtsp://door/1"), "do", "the service has no network"),
    ("a source that nobody knows", "mini-PC", edit(), camera.check_camera, Settings(source="v4l3"),
     "do", "did you mean 'v4l2'"),
    ("a file that is not", "mini-PC", edit(), camera.check_camera, Settings(source="file:/x.mp4"), "do", "not there"),
    ("the demo", "mini-PC", edit(), camera.check_camera, Settings(source="demo:2"), "ok", "needs none"),
    ("no heap", "pi 4", without("/dev/dma_heap/vidbuf_cached", "/dev/dma_heap/linux,cma"),
     camera.check_camera_memory, DEFAULT, "do", "no vidbuf_cached or linux,cma"),
    ("a heap for others", "pi 4", edit(usable=False), camera.check_camera_memory, DEFAULT, "do", "no right"),
    ("little contiguous memory", "zero 2 w", edit(files={"/proc/meminfo": meminfo(430, 240, 16)}),
     camera.check_camera_memory, DEFAULT, "do", "cma-128"),
    ("enough of it", "zero 2 w", edit(), camera.check_camera_memory, DEFAULT, "ok", "linux,cma, 64 MiB"),

    ("no runtime", "pi 4", edit(trials={"model": {"error": "neither tflite-runtime nor ai-edge-litert"}}),
     network.check_network, DEFAULT, "do", "neither tflite-runtime"),
    ("a runtime for another processor", "pi 4", edit(trials={"model": {"error": "died by SIGILL"}}),
     network.check_network, DEFAULT, "do", "SIGILL"),
    ("a network that says nonsense", "pi 4", edit(trials={"model": MODEL | {"label": "neutral"}}),
     network.check_network, DEFAULT, "do", "reads an embedded smile as neutral"),
    ("a network of other classes", "pi 4", edit(trials={"model": MODEL | {"labels": ["cat", "dog"], "label": "cat"}}),
     network.check_network, DEFAULT, "note", "no answer is known"),
    ("no face finder", "pi 4", edit(trials={"faces": {"error": "OpenCV 5 has no CascadeClassifier"}}),
     network.check_faces, DEFAULT, "do", "CascadeClassifier"),
    ("a blind face finder", "pi 4", edit(trials={"faces": {"faces": 0}}),
     network.check_faces, DEFAULT, "do", "0 faces"),

    ("a display", "pi 4", edit(), outputs.check_sinks, sinks("display"), "ok", "HDMI-A-1 connected"),
    ("no display plugged in", "pi 4", edit(files={"/sys/class/drm/card1-HDMI-A-1/status": "disconnected\n"}),
     outputs.check_sinks, sinks("display"), "do", "plug the display in"),
    ("an unplugged display, and a buffer that is none", "pi 4",
     edit(files={"/sys/class/drm/card1-HDMI-A-1/status": "disconnected\n",
                 "/sys/class/drm/card1-Writeback-1/status": "connected\n"}),
     outputs.check_sinks, sinks("display"), "do", "HDMI-A-1 disconnected, HDMI-A-2 disconnected"),
    ("nothing but a buffer", "mini-PC",
     both(without("/sys/class/drm/card0-DP-1/status"),
          edit(files={"/sys/class/drm/card0-Writeback-1/status": "unknown\n"})),
     outputs.check_sinks, sinks("display"), "do", "vc4-kms-v3d"),
    ("no display driver", "mini-PC", without("/sys/class/drm/card0-DP-1/status"),
     outputs.check_sinks, sinks("display"), "do", "vc4-kms-v3d"),
    ("no pygame", "pi 4", edit(modules=set()), outputs.check_sinks, sinks("display"), "do", "pygame not installed"),
    ("an oled", "pi 4", edit(), outputs.check_sinks, sinks("oled"), "ok", "0x3c on /dev/i2c-1 answers"),
    ("no oled", "pi 4", edit(trials={"i2c": {"error": "[Errno 121] Remote I/O error"}}),
     outputs.check_sinks, sinks("oled"), "do", "i2cdetect -y 1"),
    ("no right to the bus", "pi 4", edit(trials={"i2c": {"error": "[Errno 13] Permission denied: '/dev/i2c-1'"}}),
     outputs.check_sinks, sinks("oled"), "do", "usermod -aG i2c"),
    ("an oled at the other address", "pi 4",
     edit(trials={"i2c": {"error": "[Errno 121] Remote I/O error"}, "i2c /dev/i2c-1 61": {"answers": True}}),
     outputs.check_sinks, sinks("oled"), "do", "something answers at 0x3d: set address = 0x3d in [oled]"),
    ("an oled at another bus", "pi 4", both(without("/dev/i2c-1"), edit(files={"/dev/i2c-3": "", "/dev/i2c-20": ""})),
     outputs.check_sinks, sinks("oled"), "do", "the bus is off; there are i2c-3, i2c-20, for [oled] port"),
    ("bus off", "pi 4", without("/dev/i2c-1"), outputs.check_sinks, sinks("oled"), "do", "do_i2c 0"),
    ("SPI off", "pi 4", edit(), outputs.check_sinks, sinks("oled", own={"oled": OledSettings(bus="spi", port=0)}),
     "do", "no /dev/spidev0.0"),
    ("SPI on", "pi 4", edit(files={"/dev/spidev0.0": ""}), outputs.check_sinks,
     sinks("oled", own={"oled": OledSettings(bus="spi", port=0)}), "ok", "does not answer"),
    ("no oled at all", "mini-PC", edit(), outputs.check_sinks, sinks("oled:dummy"), "ok", "has what it needs"),
    ("sound", "pi 4", edit(), outputs.check_sinks, sinks("audio"), "ok", "aplay and 1 sound card"),
    ("no player", "mini-PC", edit(), outputs.check_sinks, sinks("audio"), "do", "alsa-utils"),
    ("no card", "pi 4", edit(files={"/proc/asound/cards": "--- no soundcards ---\n"}),
     outputs.check_sinks, sinks("audio"), "do", "no sound card"),
    ("no voice", "pi 4", edit(), outputs.check_sinks, sinks("audio", own={"audio": AudioSettings(speech=True)}),
     "do", "sudo apt install espeak-ng"),
    ("a page", "mini-PC", edit(modules={"starlette", "uvicorn", "websockets"}),
     outputs.check_sinks, sinks("web"), "ok", "has what it needs"),
    ("a page whose port another has", "mini-PC",
     edit(modules={"starlette", "uvicorn", "websockets"}, trials={"listen": {"error": "[Errno 98] Address in use"}}),
     outputs.check_sinks, sinks("web:8090"), "do", "cannot listen on 127.0.0.1:8090: [Errno 98] Address in use"),
    ("a page whose port the running Cuelens has", "pi 4",
     both(edit(modules={"starlette", "uvicorn", "websockets"}, trials={"listen": {"error": "[Errno 98]"}}),
          unit(RestrictAddressFamilies="AF_INET AF_INET6 AF_UNIX")),
     outputs.check_sinks, sinks("web:8090"), "ok", "has what it needs"),
    ("a page's library", "pi 4", edit(), outputs.check_sinks, sinks("web"), "do", "websockets not installed"),
    ("a broker, and a service without a network", "pi 4", edit(modules={"paho.mqtt"}),
     outputs.check_sinks, sinks("mqtt"), "do", "RestrictAddressFamilies"),
    ("a broker, and a service with one", "pi 4",
     both(edit(modules={"paho.mqtt"}), unit(RestrictAddressFamilies="AF_INET AF_INET6 AF_UNIX")),
     outputs.check_sinks, sinks("mqtt"), "ok", "has what it needs"),
    ("no authority of a broker", "pi 4",
     both(edit(modules={"paho.mqtt"}), unit(RestrictAddressFamilies="AF_INET AF_INET6 AF_UNIX")),
     outputs.check_sinks, sinks("mqtt", own={"mqtt": MqttSettings(tls=True, ca="/etc/cuelens/ca.pem")}),
     "do", "PEM file"),
    ("an authority of a broker", "pi 4",
     both(edit(files={"/etc/ca.pem": ""}, modules={"paho.mqtt"}), unit(RestrictAddressFamilies="AF_INET AF_INET6")),
     outputs.check_sinks, sinks("mqtt", own={"mqtt": MqttSettings(tls=True, ca="/etc/ca.pem")}),
     "ok", "has what it needs"),
    ("a motor", "pi 4", edit(modules={"smbus2"}), outputs.check_sinks, sinks("haptic"), "ok", "0x5a on /dev/i2c-1"),
    ("no motor", "pi 4", edit(modules={"smbus2"}, trials={"i2c": {"error": "[Errno 121] Remote I/O error"}}),
     outputs.check_sinks, sinks("haptic"), "do", "i2cdetect -y 1"),
    ("a motor, and its bus off", "pi 4", both(edit(modules={"smbus2"}), without("/dev/i2c-1")),
     outputs.check_sinks, sinks("haptic"), "do", "do_i2c 0"),
    ("a motor, and no right to use its bus", "pi 4",
     edit(modules={"smbus2"}, trials={"i2c": {"error": "[Errno 13] Permission denied"}}),
     outputs.check_sinks, sinks("haptic"), "do", "usermod -aG i2c"),
    ("no motor at all", "pi 4", edit(), outputs.check_sinks, sinks("haptic:dummy"), "ok", "has what it needs"),
    ("a motor on a pin", "pi 4", edit(modules={"gpiod"}), outputs.check_sinks,
     sinks("haptic", own={"haptic": HapticSettings(driver="pin", pin=18)}), "ok", "the line 18 of the GPIO chip"),
    ("a motor on a pin, and its chip", "pi 4", GPIO, outputs.check_pins,
     sinks("haptic", own={"haptic": HapticSettings(driver="pin", pin=18)}), "ok", "/dev/gpiochip0 is there"),
    ("a motor on a pin, and no chip", "pi 4", edit(modules={"gpiod"}), outputs.check_pins,
     sinks("haptic", own={"haptic": HapticSettings(driver="pin", pin=18)}), "do", "no /dev/gpiochip*"),
    ("a motor on a pin, and no gpiod", "pi 4", edit(modules={"smbus2"}), outputs.check_sinks,
     sinks("haptic", own={"haptic": HapticSettings(driver="pin", pin=18)}), "do", "gpiod not installed"),
    ("glasses", "pi 4", GLASSES, outputs.check_sinks, sinks("glasses:halo:Halo 08"), "ok", "hci0, and Halo 08"),
    ("a service whose user is made for the run", "pi 4",
     both(GLASSES, edit(unit={"DynamicUser": "yes"}, files={"/etc/passwd": "root:x:0:0::/root:/bin/sh\n"})),
     outputs.check_sinks, sinks("glasses:halo:Halo 08"), "do", "install.sh apply"),
    ("a service whose user lasts", "pi 4",
     both(GLASSES, edit(unit={"DynamicUser": "yes"},
                        files={"/etc/passwd": "root:x:0:0::/root:/bin/sh\ncuelens:x:997:997::/:/usr/sbin/nologin\n"})),
     outputs.check_sinks, sinks("glasses:halo:Halo 08"), "ok", "hci0, and Halo 08"),
    ("glasses that are paired", "pi 4",
     both(GLASSES, edit(files={"/var/lib/cuelens/glasses.json":
                               '[{"make": "halo", "address": "F0:00:00:00:00:01", "name": "Halo 01"}]'})),
     outputs.check_sinks, sinks("glasses:halo"), "ok", "hci0, and Halo 01"),
    ("glasses that are not", "pi 4", GLASSES, outputs.check_sinks, sinks("glasses:halo"), "do", "cuelens pair halo"),
    ("a damaged file of pairs", "pi 4", both(GLASSES, edit(files={"/var/lib/cuelens/glasses.json": "{"})),
     outputs.check_sinks, sinks("glasses:halo"), "do", "cannot be read"),
    ("no library of glasses", "pi 4", edit(), outputs.check_sinks, sinks("glasses:halo"), "do", "bleak not installed"),
    ("no adapter", "pi 4", both(GLASSES, without("/sys/class/bluetooth/hci0/uevent")),
     outputs.check_sinks, sinks("glasses:halo"), "do", "disable-bt"),
    ("Bluetooth that is blocked", "pi 4",
     both(GLASSES, edit(files={"/sys/class/rfkill/rfkill0/type": "bluetooth", "/sys/class/rfkill/rfkill0/soft": "1"})),
     outputs.check_sinks, sinks("glasses:halo"), "do", "rfkill unblock bluetooth"),
    ("Wi-Fi that is blocked", "pi 4",
     both(GLASSES, edit(files={"/sys/class/rfkill/rfkill0/type": "wlan", "/sys/class/rfkill/rfkill0/soft": "1"})),
     outputs.check_sinks, sinks("glasses:halo:Mine"), "ok", "hci0, and Mine"),
    ("no bluetoothd", "pi 4", both(GLASSES, without("/usr/libexec/bluetooth/bluetoothd")),
     outputs.check_sinks, sinks("glasses:halo"), "do", "apt install bluez"),
    ("a log", "pi 4", edit(), outputs.check_sinks, sinks("log:/var/lib/cuelens/log.jsonl"), "ok", "is there"),
    ("a log in no folder", "pi 4", edit(), outputs.check_sinks, sinks("log:/data/log.jsonl"), "do", "no folder"),
    ("a log out of reach", "pi 4", edit(files={"/home": None}), outputs.check_sinks, sinks("video:/home/x.mp4"),
     "do", "out of the service's reach"),

    ("light and button", "pi 4", GPIO, outputs.check_pins, PINS, "ok", "/dev/gpiochip0 is there"),
    ("no gpiod", "pi 4", edit(files={"/dev/gpiochip0": ""}), outputs.check_pins, PINS, "do", "gpiod not installed"),
    ("no chip", "pi 4", edit(modules={"gpiod"}), outputs.check_pins, PINS, "do", "no /dev/gpiochip*"),
    ("a chip of one's own that is not there", "pi 4", GPIO, outputs.check_pins,
     Settings(pins=PinSettings(chip="/dev/gpiochip7", pause=27)), "do", "no /dev/gpiochip7"),
    ("no right to the chip", "mini-PC", both(GPIO, edit(usable=False)), outputs.check_pins, PINS, "do", "-aG gpio"),
    ("a light that outlives a kill", "pi 5", both(GPIO, edit(
        files={"/sys/module/pinctrl_rp1/parameters/persist_gpio_outputs": "Y\n"})), outputs.check_pins, PINS,
     "note", "dtparam=strict_gpiod"),
    ("a button that outlives nothing", "pi 5", both(GPIO, edit(
        files={"/sys/module/pinctrl_rp1/parameters/persist_gpio_outputs": "Y\n"})), outputs.check_pins,
     Settings(pins=PinSettings(pause=27)), "ok", "is there"),
    ("a service without the pins' group", "pi 4", unit(SupplementaryGroups="video"), service.check_groups,
     Settings(source="demo", pins=PinSettings(pause=27)), "do", "gpio for light and button"),

    ("groups of the service", "pi 4", edit(), service.check_groups, sinks("display", "oled"),
     "ok", "user cuelens is in video, render, i2c"),
    ("a group that the service lacks", "pi 4", unit(SupplementaryGroups="video"), service.check_groups, sinks("oled"),
     "do", "not in i2c for the display"),
    ("a group by /etc/group", "pi 4", both(unit(SupplementaryGroups=""), edit(
        files={"/etc/group": GROUPS.replace("video:x:44:ada", "video:x:44:ada,cuelens")})),
     service.check_groups, DEFAULT, "ok", "video"),
    ("a group that the system lacks", "pi 4", edit(files={"/etc/group": "video:x:44:\nrender:x:1:\n"}),
     service.check_groups, DEFAULT, "do", "sudo groupadd --system gpio; sudo groupadd --system i2c"),
    ("a maker who lacks one", "mini-PC", edit(user=("ada", frozenset({"ada"}))), service.check_groups, V4L2,
     "do", "sudo usermod -aG video ada"),
    ("root", "mini-PC", edit(user=("root", frozenset())), service.check_groups, V4L2, "ok", "user root needs none"),
    ("nothing to be in", "mini-PC", edit(), service.check_groups, Settings(source="demo"), "ok", "is none"),
    ("no systemd", "pi 4", edit(commands={"systemctl": ""}), service.check_unit, DEFAULT, "note", "does not answer"),
    ("failed", "pi 4", unit(ActiveState="failed", SubState="failed", Result="watchdog"),
     service.check_unit, DEFAULT, "do", "failed (failed), watchdog"),
    ("stopped", "pi 4", unit(ActiveState="inactive", SubState="dead"), service.check_unit, DEFAULT, "do", "reset"),
    ("dying again and again", "pi 4", unit(ActiveState="activating", SubState="auto-restart", NRestarts="7"),
     service.check_unit, DEFAULT, "do", "7 times"),
    ("not on boot", "pi 4", unit(WantedBy=""), service.check_unit, DEFAULT, "do", "systemctl enable"),
    ("restarted", "pi 4", unit(NRestarts="2"), service.check_unit, DEFAULT, "note", "restarted 2 times"),
    ("a checkout", "mini-PC", edit(), service.check_release, DEFAULT, "note", "a checkout"),
    ("a release that is half", "pi 4", without("/opt/cuelens/releases/0.1.0+gabc/venv/bin/cuelens"),
     service.check_release, DEFAULT, "do", "is not whole"),
    ("a release taken back", "pi 4", edit(files={"/opt/cuelens/failed": "0.2.0+gdef it died 3 times\n"}),
     service.check_release, DEFAULT, "note", "0.2.0+gdef was taken back: it died 3 times"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "name", "change", "check", "settings", "state", "words"),
    TABLE,
    ids=lambda item: item if isinstance(item, str) else "",
)
def test_a_line_says_what_it_found_and_what_to_do(
    tmp_path: Path,
    what: str,
    name: str,
    change: Callable[[Fake], None],
    check: Check,
    settings: Settings,
    state: str,
    words: str,
) -> None:
    fake = BOARDS[name](tmp_path)
    change(fake)
    lines = list(check(fake.machine(), settings))
    worst = max(lines, key=lambda line: ("ok", "note", "do").index(line.state))
    assert worst.state == state, lines
    assert any(words in f"{line.says}; {line.todo}" for line in lines), lines
    for line in lines:
        assert bool(line.todo) == (line.state == "do"), line


EVERYTHING = Needs(
    modules=("gonglib",),
    packages=(Package("gongd", ("/usr/bin/gongd",), "no gongd"),),
    network=True,
    screen=True,
    sound=True,
    bus=Bus(1, 0x3C),
    pairs=("halo", "Halo 08"),
    reads={"/etc/gong.pem": "put it there"},
    file="/var/lib/cuelens/gong",
    listens=("127.0.0.1", "8090"),
)
FINE = edit()
ALL_OF_IT = both(
    GLASSES,
    edit(files={"/usr/bin/gongd": "", "/etc/gong.pem": ""}, modules={"gonglib"}),
    unit(RestrictAddressFamilies="AF_INET AF_INET6 AF_UNIX", ActiveState="inactive"),
)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (FINE, "HDMI-A-1 connected"),
        (FINE, "0x3c on /dev/i2c-1 answers"),
        (FINE, "hci0, and Halo 08"),
        (FINE, "gongd and 1 sound card"),
        (FINE, "/var/lib/cuelens is there"),
        (edit(modules=set()), "gonglib not installed"),
        (edit(files={"/sys/class/drm/card1-HDMI-A-1/status": "disconnected"}), "HDMI-A-1 disconnected"),
        (edit(trials={"i2c": {"error": "[Errno 121] Remote I/O error"}}), "[Errno 121] Remote I/O error"),
        (without("/sys/class/bluetooth/hci0/uevent"), "no Bluetooth adapter"),
        (without("/usr/bin/gongd"), "no gongd"),
        (edit(files={"/proc/asound/cards": "--- no soundcards ---\n"}), "no sound card"),
        (without("/var/lib/cuelens"), "/var/lib/cuelens is no folder"),
        (unit(RestrictAddressFamilies="AF_UNIX"), "the service has no network"),
        (without("/etc/gong.pem"), "/etc/gong.pem is no file"),
        (edit(trials={"listen": {"error": "[Errno 98] Address in use"}}), "cannot listen on 127.0.0.1:8090"),
    ],
)
def test_the_check_finds_each_need_beside_others_that_are_fine(
    change: Callable[[Fake], None], says: str, tmp_path: Path
) -> None:
    fake = pi_4(tmp_path)
    both(ALL_OF_IT, change)(fake)
    found = outputs.look_for(EVERYTHING, fake.machine(), "gong")
    assert says in found[0]
    assert bool(found[1]) == (change is not FINE)


def test_a_port_is_free_or_another_has_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "in use" in run_trial("listen", "127.0.0.1", port)["error"]
    assert run_trial("listen", "127.0.0.1", "0") == {"listens": True}


def test_pins_that_are_not_used_are_not_looked_at(tmp_path: Path) -> None:
    assert list(outputs.check_pins(pi_4(tmp_path).machine(), DEFAULT)) == []


def test_a_release_on_trial_is_reported_as_such(tmp_path: Path) -> None:
    fake = pi_4(tmp_path)
    (tmp_path / "opt/cuelens/good").unlink()
    (line,) = service.check_release(fake.machine(), DEFAULT)
    assert line.says == "0.1.0+gabc is on trial: it was not seen working yet"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('source = "demo"\nsinkz = []\n', ":2: unknown setting 'sinkz'; did you mean 'sinks'?"),
        ("[cue]\nenter = 7\n", ":2: cue.enter is 7"),
        ("source = \n", "not TOML"),
    ],
)
def test_a_mistake_in_the_settings_is_named_with_its_line_and_the_rest_is_still_checked(
    tmp_path: Path, text: str, words: str
) -> None:
    fake = pi_4(tmp_path)
    fake.files["/etc/cuelens/cuelens.toml"] = text
    lines = list(examine(fake.machine()))
    assert (lines[0].name, lines[0].state) == ("settings", "do")
    assert words in lines[0].says
    assert {"camera", "network", "release"} <= {line.name for line in lines}


def test_a_check_that_hangs_or_breaks_is_a_line_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_: object) -> Iterator[CheckLine]:
        time.sleep(60)
        yield CheckLine("disk", "ok", "at last")

    def break_down(*_: object) -> Iterator[CheckLine]:
        raise ZeroDivisionError("odd")
        yield

    monkeypatch.setattr("edge.diagnostics.checks.examine.DEADLINE", 3.0)
    monkeypatch.setitem(CHECKS, "disk", hang)
    monkeypatch.setitem(CHECKS, "clock", break_down)
    lines = {line.name: line for line in examine(pi_4(tmp_path).machine())}
    assert (lines["disk"].state, lines["clock"].state, lines["release"].state) == ("do", "do", "ok")
    assert "no answer within 3 s" in lines["disk"].says
    assert "ZeroDivisionError: odd" in lines["clock"].says


def test_a_command_or_trial_that_hangs_dies_or_is_not_there_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_command("cuelens-no-such-command") is None
    assert run_command("false") is None
    assert run_command("echo", "yes") == "yes\n"
    code, out, _ = run_within(0.3, "sh", "-c", "echo begun; sleep 60 & sleep 60")
    assert (code, out) == (None, "")
    monkeypatch.setattr(machine, "TRIAL_DEADLINE", 0.01)
    assert run_trial("faces") == {"error": "no answer within 0 s"}


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "died by SIGILL"),
        ("print('{not json')", "ended with 0 and printed nothing"),
        ("raise SystemExit('words\\nat the end')", "at the end"),
        ("print('noise'); print('{\"faces\": 1}')", None),
    ],
)
def test_what_a_trial_leaves_behind_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: str | None
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert run_trial("faces") == ({"error": error} if error else {"faces": 1})


def test_the_shipped_network_and_the_face_finder_pass_their_trials_here() -> None:
    answer = run_trial("model", "", "1")
    assert (answer["label"], answer["name"]) == ("happy", "emotion.tflite")
    assert answer["probability"] > 0.8
    assert answer["delegate"] in ("XNNPACK", "built-in kernels")
    assert answer["runtime"].startswith("tflite-runtime" if answer["delegate"] != "XNNPACK" else "ai-edge-litert")
    assert run_trial("faces") == {"faces": 1}


def test_a_trial_imports_nothing_from_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "numpy", "cv2"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)
    assert run_trial("faces") == {"faces": 1}


def test_a_network_that_is_not_there_fails_its_trial_with_its_own_words(tmp_path: Path) -> None:
    assert "no such file" in run_trial("model", str(tmp_path / "none.tflite"), "1")["error"]


def test_devices_that_are_none_fail_their_trials(tmp_path: Path) -> None:
    (tmp_path / "video0").write_text("")
    answer = trials.try_v4l2(str(tmp_path / "video0"), str(tmp_path / "video1"))["devices"]
    assert [device["error"] for device in answer.values()] == [
        "Inappropriate ioctl for device",
        "No such file or directory",
    ]
    assert "ioctl" in run_trial("i2c", str(tmp_path / "video0"), "60")["error"]


FOUND = {"name": "UVC Camera", "kind": "camera", "captures": True, "busy": False}
V4L2_ANSWERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, FOUND | {"formats": ["YUYV", "MJPG"], "readable": True}),
    ({"refuses": {"REQBUFS": errno.EBUSY}}, FOUND | {"busy": True, "formats": ["YUYV", "MJPG"], "readable": True}),
    ({"formats": ("H264",)}, FOUND | {"formats": ["H264"], "readable": False}),
    ({"refuses": {"ENUM_FMT": errno.ENOTTY}}, FOUND | {"formats": [], "readable": True}),
    ({"own": 0x04A00000}, {"name": "UVC Camera", "kind": METADATA, "captures": False}),
    ({"own": 0x04204000}, {"name": "UVC Camera", "kind": _kind(0x4000), "captures": False}),
    ({"whole": 0x1, "own": 0}, FOUND | {"formats": ["YUYV", "MJPG"], "readable": True}),  # of an old driver
]


@pytest.mark.parametrize(("device", "expected"), V4L2_ANSWERS)
def test_a_video_device_is_understood(
    device: dict[str, Any], expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "video0"
    asked = Kernel(monkeypatch).plug(path, Camera(card=b"UVC Camera", **device))
    assert trials.try_v4l2(str(path))["devices"] == {str(path): expected}
    assert set(asked.calls) <= {"QUERYCAP", "ENUM_FMT", "REQBUFS"}, "nothing is changed in it"


PICTURES: list[tuple[dict[str, Any], CameraSettings, str, str, str]] = [
    ({"faces": 1}, CameraSettings(), "ok", "640x480, and somebody is seen upright", ""),
    ({"turned": 180.0}, CameraSettings(), "do", "faces are upside down in the picture", "rotate_deg = 180 in [camera]"),
    ({"turned": 180.0}, CameraSettings(180), "do", "upside down", "rotate_deg = 0 in [camera]"),
    ({"turned": 90.0}, CameraSettings(), "do", "faces are on their sides", "rotate_deg = 270 in [camera]"),
    ({"turned": -90.0}, CameraSettings(90), "do", "faces are on their sides", "rotate_deg = 180 in [camera]"),
    ({"turned": 90.0}, CameraSettings(90, mirror=True), "do", "on their sides", "rotate_deg = 180 in [camera]"),
    ({}, CameraSettings(), "note", "nobody is seen in it", "sit before the camera"),
    ({"black": True}, CameraSettings(), "note", "black", "uncover the camera"),
    ({"error": "v4l2: it is gone"}, CameraSettings(), "do", "no picture: v4l2: it is gone", "plug it in again"),
]


@pytest.mark.parametrize(("answer", "turned", "state", "says", "todo"), PICTURES)
def test_a_picture_that_is_upside_down_names_the_setting_to_write(
    answer: dict[str, Any], turned: CameraSettings, state: str, says: str, todo: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HOME", str(tmp_path))
    fake = mini_pc(tmp_path / "root")
    fake.trials["picture"] = SEEN | answer
    (line,) = camera.check_picture(fake.machine(), replace(V4L2, camera=turned))
    assert (line.name, line.state) == ("picture", state)
    assert says in line.says
    assert todo in line.todo


def test_a_running_service_says_itself_that_its_picture_is_upside_down(tmp_path: Path) -> None:
    fake = mini_pc(tmp_path)
    metrics = Metrics("")
    metrics.note_overturned(advise(180.0, CameraSettings()))
    control = Control()
    control.metrics = metrics
    control.problems += ["threads is 99; set it in [camera], or where it belongs"]
    fake.status = gather_status(control, ExpressionModel(), "0.1.0")
    (line,) = camera.check_picture(fake.machine(), V4L2)
    assert line.says == "faces are upside down in the picture"
    assert line.todo == "set rotate_deg = 180 in [camera] of the settings, then start again"


def test_no_camera_is_opened_while_somebody_paused_or_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    fake = mini_pc(tmp_path / "root")
    fake.trials["picture"] = SEEN | {"turned": 180.0}
    assert not list(camera.check_picture(fake.machine(), Settings(source="demo")))
    paused = pause_file()
    assert paused
    KeptPause(paused).set(True)
    (line,) = camera.check_picture(fake.machine(), V4L2)
    assert (line.state, line.says) == ("note", "somebody paused: the camera stays closed")


@pytest.mark.parametrize(("rotate_deg", "turned"), [(0, None), (180, 180.0), (270, -90.0)])
def test_the_trial_of_a_picture_sees_how_people_are_turned_in_it(rotate_deg: int, turned: float | None) -> None:
    def mounted(*_: object, **__: object) -> TurnedSource:
        return TurnedSource(DemoSource("1"), Turn.of(CameraSettings(rotate_deg)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "open_source", mounted)
        answer = trials.try_picture("v4l2", "0", "False", "", "-1", "-1")
    assert answer["turned"] == turned
    assert bool(answer["faces"]) == (turned is None)
    assert not answer["black"]


def test_picamera2_is_tried_by_its_list_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picamera2.py").write_text(
        "class Picamera2:\n"
        "    def __init__(self): raise RuntimeError('opened')\n"
        "    global_camera_info = staticmethod(lambda: [{'Model': 'imx708', 'Num': 0}])\n"
    )
    (tmp_path / "libcamera.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert run_trial("picamera") == {"cameras": ["imx708"], "libcamera": str(tmp_path / "libcamera.py")}


def test_a_picamera2_that_blocks_without_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picamera2.py").write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(machine, "TRIAL_DEADLINE", 1.0)
    fake = pi_4(tmp_path / "root")
    hung = fake.machine()
    hung.trial = run_trial
    (line,) = camera.check_camera(hung, DEFAULT)
    assert line.state == "do"
    assert "no answer" in line.says


def check_here(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, "-c", "from edge.cli import main; main()", "check", *words]
    return subprocess.run(script, cwd=repository, capture_output=True, text=True, timeout=120, check=False)


def test_this_machine_has_nothing_to_do_with_the_demo_as_its_source(repository: Path, tmp_path: Path) -> None:
    config = tmp_path / "cuelens.toml"
    config.write_text('source = "demo"\n')
    done = check_here(repository, "--config", str(config), "--json")
    answer = json.loads(done.stdout)
    todo = [
        line
        for line in answer["lines"]
        if line["state"] == "do" and line["name"] not in ("disk", "memory", "temperature")
    ]
    assert todo == []
    assert answer["ok"] == (done.returncode == 0)
    assert {"runtime", "network", "faces", "clock"} <= {line["name"] for line in answer["lines"]}


def test_what_must_be_done_is_an_exit_code_of_its_own(repository: Path, tmp_path: Path) -> None:
    config = tmp_path / "cuelens.toml"
    config.write_text(f'source = "file:{tmp_path}/none.mp4"\n')
    done = check_here(repository, "--config", str(config))
    assert done.returncode == CheckFailed.exit_code == 63
    assert "-> set source in the settings" in done.stdout
    assert done.stderr.endswith("lines say what to do [check-failed]\n")
    assert "Traceback" not in done.stderr
    answer = json.loads(check_here(repository, "--config", str(config), "--json").stdout)
    assert (answer["ok"], answer["error"]) == (False, "check-failed")
    assert answer["message"].endswith("lines say what to do")
