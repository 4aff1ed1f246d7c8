"""An emulated 64-bit Arm board: Debian's kernel and Python on it, and ours, a line at a time."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PATIENCE = 300.0  # seconds; only to end what would never
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


def copy_models(repository: Path, guest: Path) -> None:
    """Put the models where the board's code looks for them."""
    (guest / "opt" / "models").mkdir()
    for name in ("emotion.tflite", "emotion.json", "face.tflite", "face.json", "scan.tflite", "scan.json"):
        shutil.copy(repository / "models" / name, guest / "opt" / "models")


def board_files(script: str = "board.sh", *words: str) -> Path:
    """The folder of what a board boots, which a script here makes; skips where it cannot be made."""
    environment = {**os.environ, "PYTHON": sys.executable}
    made = subprocess.run([HERE / script, *words], env=environment, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no board can be made here: {made.stderr.strip().splitlines()[-1:]}")
    return Path(made.stdout.strip())


class Machine:
    """A machine whose program is guest.py, on its console: it takes lines of Python."""

    longest = 600.0  # seconds until it is ended whatever it does

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, which is killed whole: user-mode Linux is several processes
        )
        self._ends = threading.Timer(self.longest, self._kill)
        self._ends.start()
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        seen = []
        for line in self._process.stdout:
            text = line.decode(errors="replace").strip()
            if text.startswith("=> "):
                return text[3:]
            seen.append(text)
        raise AssertionError("the machine ended: " + "\n".join(seen[-30:]))

    def do(self, line: str) -> str:
        """Run a line of Python on the machine, and return its value as it prints."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()
        return self._answer()

    def value(self, line: str) -> Any:
        """Run a line that gives a literal; what it raises fails the test."""
        said = self.do(line)
        try:
            return ast.literal_eval(said)
        except (SyntaxError, ValueError):
            raise AssertionError(f"{line}: {said}") from None

    def wait(self, line: str) -> None:
        """Wait until a line is true."""
        until = time.monotonic() + PATIENCE
        while not self.value(f"bool({line})"):
            assert time.monotonic() < until, f"never true: {line}"

    def _kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        self._ends.cancel()
        if self._process.poll() is None:
            self._kill()
        self._process.communicate()


class Board(Machine):
    """An emulated board whose only program is guest.py, with our code; with a camera, also what a run on it needs."""

    init = "/init"  # the first program that it starts

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
        self.lay_out(guest, repository)
        if camera:
            for name in ("camera.py", "formats.py"):
                shutil.copy(HERE / name, guest / "opt")
            copy_models(repository, guest)
        names = "\n".join(str(path.relative_to(guest)) for path in sorted(guest.rglob("*")))
        pack = ("cpio", "--quiet", "--create", "--format=newc", "--owner=0:0")
        packed = subprocess.run(pack, cwd=guest, input=names.encode(), capture_output=True, check=True).stdout
        parts = [files / "initrd", *([files / "camera"] if camera else [])]
        (folder / "initrd").write_bytes(b"".join(part.read_bytes() for part in parts) + packed)
        tree = ("-dtb", str(files / "pi3.dtb")) if machine == RASPBERRY_PI else ()
        # Python needs no random numbers then: the board has none so early.
        boot = f"console=ttyAMA0 console=ttyS1 loglevel=0 rdinit={self.init} PYTHONHASHSEED=0 {options}"
        command = ["qemu-system-aarch64", *machine, *tree, "-kernel", str(files / "kernel"), "-append", boot]
        command += ["-initrd", str(folder / "initrd"), "-display", "none", "-serial", "stdio", "-no-reboot"]
        command += ["-qmp", f"unix:{folder / 'qmp'},server,nowait"]
        self._monitor: socket.socket | None = None
        super().__init__(command)
        self._monitor = socket.socket(socket.AF_UNIX)
        self._monitor.connect(str(folder / "qmp"))
        self._replies = self._monitor.makefile()
        self._replies.readline()
        self.command("qmp_capabilities")

    def lay_out(self, guest: Path, repository: Path) -> None:
        """Put into a new folder what the board's file system has besides what is made once."""
        (guest / "opt").mkdir(parents=True)
        shutil.copy(HERE / "guest.py", guest / "init")
        shutil.copytree(repository / "edge", guest / "opt" / "edge", ignore=shutil.ignore_patterns("__pycache__"))

    def command(self, name: str, **arguments: object) -> Any:
        """Ask QEMU."""
        assert self._monitor is not None
        self._monitor.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        while "return" not in (reply := json.loads(self._replies.readline())):
            assert "error" not in reply, reply
        return reply["return"]

    def close(self) -> None:
        super().close()
        if self._monitor is not None:
            self._replies.close()
            self._monitor.close()
