"""The camera that the settings name, and the memory that the Raspberry Pi's camera needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edge.diagnostics.checks.machine import CheckLine, Machine
from edge.diagnostics.checks.outputs import look_for
from edge.errors import SourceUnknown
from edge.hardware import board
from edge.needs import Needs, from_system
from edge.runtime.pause import KeptPause, pause_file
from edge.settings import Settings
from edge.sources import is_camera, needs_of
from edge.vision.mounting import advise, remedy

LEAST_CMA_MIB = 32  # four raw frames of a Camera Module 3 at half its size take 15, ours and the ISP's the rest
HEAPS = ("vidbuf_cached", "linux,cma")  # in libcamera's order; the first is the system's memory on a Raspberry Pi 5
CONFIG = ("/boot/firmware/config.txt", "/boot/config.txt")
_SEE_PACKAGES = "set the environment up again where the system's picamera2 is seen: ./deploy.sh demo, or push again"


def check_camera(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Look whether the camera of the settings is there, and free or the running Cuelens' own."""
    name, _, argument = settings.source.partition(":")
    try:
        needs = needs_of(settings.source, settings)
    except SourceUnknown as error:
        yield CheckLine("camera", "do", str(error), "set source in the settings", error.identify())
        return
    status = machine.status
    if needs.camera and status is not None and str(status.get("source", "")).partition(":")[0] == name:
        age = status.get("last_frame_age")
        if status.get("state") == "no_camera":
            yield CheckLine("camera", "do", "the running Cuelens gets no frames", _no_camera_todo(name))
        elif age is None and not status.get("paused"):
            yield CheckLine("camera", "note", "the running Cuelens holds it; its first frame has not come yet")
        else:
            seen = "paused" if status.get("paused") else f"newest frame {age} s ago"
            yield CheckLine("camera", "ok", f"the running Cuelens holds it, {seen}")
    elif name == "picamera":
        yield from _check_picamera(machine, int(argument or 0) if argument.isdecimal() or not argument else 0)
    elif name == "v4l2":
        yield from _check_v4l2(machine, argument.partition(",")[0])
    elif needs.plays is not None:
        yield _check_recording(machine, needs.plays)
    elif needs == Needs():
        yield CheckLine("camera", "ok", f"the source is {name}, which needs none")
    else:
        says, todo, *cause = look_for(needs, machine, name)
        yield CheckLine("camera", "do" if todo else "ok", f"the source is {name}: {says}", todo, *cause)


def _check_picamera(machine: Machine, number: int) -> Iterator[CheckLine]:
    if not machine.is_raspberry_pi and not machine.running:
        todo = 'set source = "v4l2" in the settings'
        yield CheckLine("camera", "do", "the source is picamera, and this is no Raspberry Pi", todo)
        return
    facts = machine.trial("picamera")
    if "error" in facts:
        yield _import_line(machine, str(facts["error"]))
        return
    cameras = [str(camera) for camera in facts["cameras"]]
    yield CheckLine("libcamera", "ok", f"picamera2 and libcamera are seen ({facts['libcamera']})")
    if number < len(cameras):
        held = ", held by the running service" if machine.running else ""
        yield CheckLine("camera", "ok", f"{number}: {cameras[number]}, of {len(cameras)}{held}")
    elif cameras:
        todo = f"name one of 0 to {len(cameras) - 1} in source"
        yield CheckLine("camera", "do", f"no camera {number}; found are {', '.join(cameras)}", todo)
    else:
        yield CheckLine("camera", "do", "libcamera sees no camera", _ribbon_todo(machine))


def _import_line(machine: Machine, error: str) -> CheckLine:
    """Return why picamera2 does not start: not there, not seen, or not of one mind with numpy."""
    if "No module named" not in error:
        todo = "numpy must be the system's where picamera2 is: uninstall --keep-settings, then push again"
        if "no answer" in error:
            todo = "power off and check the ribbon cable; if it stays so: sudo apt full-upgrade"
        return CheckLine("libcamera", "do", f"picamera2 does not work: {error}", todo)
    packages = machine.path("/usr/lib/python3/dist-packages")
    if (packages / "picamera2").is_dir() and (packages / "libcamera").is_dir():
        return CheckLine("libcamera", "do", f"picamera2 is there, but not seen here: {error}", _SEE_PACKAGES)
    return CheckLine("libcamera", "do", f"picamera2 is not there: {error}", from_system("python3-picamera2"))


def _ribbon_todo(machine: Machine) -> str:
    for name in CONFIG:
        text = machine.text(name)
        if text is not None and re.search(r"^\s*start_x=1", text, re.MULTILINE):
            return f"take start_x=1 out of {name}: it is the old camera system's; then restart"
        if text is not None and not re.search(r"^\s*(camera_auto_detect=1|dtoverlay=(imx|ov)\w+)", text, re.MULTILINE):
            return f"add camera_auto_detect=1 to {name}, then restart"
    return "power off, check the ribbon cable at both ends; a camera of another maker needs its dtoverlay in config.txt"


def _check_v4l2(machine: Machine, wanted: str) -> Iterator[CheckLine]:
    paths = [str(path) for path in machine.paths("/dev", "video*") if path.name[5:].isdecimal()]
    if not paths:
        yield CheckLine("camera", "do", "no /dev/video*: no camera is plugged in", _no_camera_todo("v4l2"))
        return
    facts = machine.trial("v4l2", *paths)
    if "error" in facts:
        yield CheckLine("camera", "do", f"the video devices do not answer: {facts['error']}", _no_camera_todo("v4l2"))
        return
    shown = {f"/dev/{Path(path).name}": device for path, device in facts["devices"].items()}
    refused = [path for path, device in shown.items() if device.get("error") == "Permission denied"]
    cameras = {path: device for path, device in shown.items() if device.get("captures")}
    if wanted:
        path = wanted if wanted.startswith("/") else f"/dev/video{wanted}"
        cameras = {path: cameras[path]} if path in cameras else {}
    if not cameras:
        kinds = {path: device.get("kind", "camera") for path, device in shown.items()}
        words = {path: "" if kind == "camera" else f", {kind}" for path, kind in kinds.items()}
        names = {path: device.get("name") or device.get("error") for path, device in shown.items()}
        seen = "; ".join(f"{path} {name}{words[path]}" for path, name in names.items())
        todo = "sudo usermod -aG video $USER, then log in again" if refused else _no_camera_todo("v4l2")
        yield CheckLine("camera", "do", f"no camera{' at ' + wanted if wanted else ''} among {seen}", todo)
        return
    for path, device in cameras.items():
        if not device.get("readable", True):
            says = f"{path}: {device['name']} gives only {', '.join(device['formats'])}, which cannot be read"
            yield CheckLine("camera", "do", says, "use another camera: every USB webcam gives YUYV, NV12 or MJPG")
        elif not device["busy"]:
            yield CheckLine("camera", "ok", f"{path}: {device['name']}")
        elif machine.running:
            yield CheckLine("camera", "ok", f"{path}: {device['name']}, held by the running service")
        else:
            todo = f"close the program that holds it: sudo fuser -v {path}"
            yield CheckLine("camera", "do", f"{path}: {device['name']} is in use", todo)


def _check_recording(machine: Machine, path: str) -> CheckLine:
    if path and machine.path(path).exists():
        return CheckLine("camera", "ok", "the source is a file that is there")
    return CheckLine("camera", "do", f"the source is file:{path}, which is not there", "set source in the settings")


def _no_camera_todo(name: str) -> str:
    if name == "picamera":
        return "power off, check the ribbon cable and the power supply, then try rpicam-hello"
    if name == "v4l2":
        return "plug it in again, into another socket; v4l2-ctl --list-devices lists what the kernel sees"
    return "check its cable and its power supply, then check again"


def check_picture(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Look through the camera, where nothing else does and nobody paused, whether people are upright in its picture."""
    if not is_camera(settings.source):
        return
    if machine.running:
        if overturned := (machine.status or {}).get("overturned"):
            says, _, todo = str(overturned).partition("; ")
            yield CheckLine("picture", "do", says, todo)
        return
    if KeptPause(pause_file()).on:
        yield CheckLine(
            "picture", "note", "somebody paused: the camera stays closed", "cuelens run --go-on ends the pause"
        )
        return
    camera, pins = settings.camera, settings.pins
    words = (camera.rotate_deg, camera.mirror, pins.chip, pins.light, pins.light_sense)
    facts = machine.trial("picture", settings.source, *map(str, words))
    if "error" in facts:
        todo = _no_camera_todo(settings.source.partition(":")[0])
        yield CheckLine("picture", "do", f"no picture: {facts['error']}", todo, facts.get("cause", ""))
        return
    size = "x".join(map(str, facts.get("size", ())))
    if facts["turned"] is not None:
        says = advise(facts["turned"], camera).partition(";")[0]
        yield CheckLine("picture", "do", says, f"set {remedy(facts['turned'], camera)}")
    elif facts["faces"]:
        yield CheckLine("picture", "ok", f"{size}, and somebody is seen upright in it")
    elif facts["black"]:
        yield CheckLine(
            "picture", "note", f"{size}, and black", "uncover the camera, or turn on a light, then check again"
        )
    else:
        todo = "sit before the camera and check again: then it is seen whether the picture is upright"
        yield CheckLine("picture", "note", f"{size}, and nobody is seen in it", todo)


def check_camera_memory(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Look whether the Raspberry Pi's camera gets its buffers."""
    if settings.source.partition(":")[0] != "picamera" or not machine.is_raspberry_pi:
        return
    heaps = [path for name in HEAPS if (path := machine.path(f"/dev/dma_heap/{name}")).exists()]
    if not heaps:
        todo = "take cma=0 out of cmdline.txt if it is there, and update: sudo apt full-upgrade"
        yield CheckLine("camera memory", "do", f"no {' or '.join(HEAPS)} in /dev/dma_heap", todo)
        return
    if not any(machine.may_use(path) for path in heaps):
        todo = "sudo usermod -aG video $USER, then log in again"
        yield CheckLine("camera memory", "do", f"/dev/dma_heap/{heaps[0].name}: no right to use it", todo)
        return
    mib = board.memory_kib(machine.root).get("CmaTotal", 0) // 1024
    if mib >= LEAST_CMA_MIB or "Raspberry Pi 5" in (machine.board or ""):  # whose camera takes the system's memory
        yield CheckLine("camera memory", "ok", f"/dev/dma_heap/{heaps[0].name}, {mib} MiB of contiguous memory")
    else:
        todo = "set dtoverlay=vc4-kms-v3d,cma-128 in /boot/firmware/config.txt, then restart"
        yield CheckLine("camera memory", "do", f"{mib} MiB of contiguous memory, of at least {LEAST_CMA_MIB}", todo)
