"""An emulated 64-bit Arm board: Debian's kernel and Python on it, and ours, a line at a time."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
RASPBERRY_PI = ("-machine", "raspi3b", "-serial", "null")  # its first UART is Bluetooth's, the second the console
VIRT = ("-machine", "virt", "-cpu", "cortex-a53", "-nic", "none")

NEEDS = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # of the first, which makes it
    *(
        pytest.mark.skipif(shutil.which(tool) is None, reason=f"no {tool} on this system; .ci/run installs it")
        for tool in ("mmdebstrap", "qemu-system-aarch64", "qemu-aarch64-static", "cpio", "xz")
    ),
]


def board_files() -> Path:
    """The folder of what a board boots; skips where it cannot be made."""
    environment = {**os.environ, "PYTHON": sys.executable}
    made = subprocess.run([HERE / "board.sh"], env=environment, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no board can be made here: {made.stderr.strip().splitlines()[-1:]}")
    return Path(made.stdout.strip())


class Board:
    """An emulated board whose only program is guest.py, with our code; with a camera, also what a run on it needs."""

    def __init__(
        self,
        files: Path,
        folder: Path,
        repository: Path,
        machine: tuple[str, ...],
        options: str = "",
        *,
        camera: bool = False,
    ) -> None:
        guest = folder / "guest"
        (guest / "opt" / "models").mkdir(parents=True)
        shutil.copy(HERE / "guest.py", guest / "init")
        shutil.copytree(repository / "edge", guest / "opt" / "edge", ignore=shutil.ignore_patterns("__pycache__"))
        if camera:
            for name in ("camera.py", "formats.py"):
                shutil.copy(HERE / name, guest / "opt")
            for name in ("emotion.tflite", "emotion.json", "face.tflite", "face.json", "scan.tflite", "scan.json"):
                shutil.copy(repository / "models" / name, guest / "opt" / "models")
        names = "\n".join(str(path.relative_to(guest)) for path in sorted(guest.rglob("*")))
        pack = ("cpio", "--quiet", "--create", "--format=newc", "--owner=0:0")
        packed = subprocess.run(pack, cwd=guest, input=names.encode(), capture_output=True, check=True).stdout
        parts = [files / "initrd", *([files / "camera"] if camera else [])]
        (folder / "initrd").write_bytes(b"".join(part.read_bytes() for part in parts) + packed)
        tree = ("-dtb", str(files / "pi3.dtb")) if machine == RASPBERRY_PI else ()
        # Python needs no random numbers then: the board has none so early.
        boot = f"console=ttyAMA0 console=ttyS1 loglevel=0 rdinit=/init PYTHONHASHSEED=0 {options}"
        command = ["qemu-system-aarch64", *machine, *tree, "-kernel", str(files / "kernel"), "-append", boot]
        command += ["-initrd", str(folder / "initrd"), "-display", "none", "-serial", "stdio", "-no-reboot"]
        command += ["-qmp", f"unix:{folder / 'qmp'},server,nowait"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._ends = threading.Timer(600, self._process.kill)
        self._ends.start()
        self._monitor: socket.socket | None = None
        assert self._answer() == "ready"
        self._monitor = socket.socket(socket.AF_UNIX)
        self._monitor.connect(str(folder / "qmp"))
        self._replies = self._monitor.makefile()
        self._replies.readline()
        self.command("qmp_capabilities")

    def _answer(self) -> str:
        assert self._process.stdout is not None
        seen = []
        for line in self._process.stdout:
            text = line.decode(errors="replace").strip()
            if text.startswith("=> "):
                return text[3:]
            seen.append(text)
        raise AssertionError("the board ended: " + "\n".join(seen[-30:]))

    def do(self, line: str) -> str:
        """Run a line of Python on the board, and return its value as it prints."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()
        return self._answer()

    def command(self, name: str, **arguments: object) -> Any:
        """Ask QEMU."""
        assert self._monitor is not None
        self._monitor.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        while "return" not in (reply := json.loads(self._replies.readline())):
            assert "error" not in reply, reply
        return reply["return"]

    def close(self) -> None:
        self._ends.cancel()
        self._process.kill()
        self._process.communicate()
        if self._monitor is not None:
            self._replies.close()
            self._monitor.close()
