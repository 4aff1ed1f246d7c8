"""The shipped model on an emulated Raspberry Pi, byte by byte; and the tree for that: made whole, or left as it was."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flatbuffers", reason="flatbuffers is the host's")

from converter import runtimes
from converter.runtimes import Runtime, emulate, find_runtimes, run_raw
from edge.sources.demo import FACES
from edge.vision.model import ExpressionModel, shipped_model
from tests.support.failures import CODES

DEVICE_PYTHON = Path(os.environ.get("CUELENS_DEVICE_PYTHON", runtimes.CHECKOUT / ".venv" / "bin" / "python"))
MACHINES = ("x86_64", "aarch64")
FEW = 0.02  # share of bytes

# What the stand-ins of mmdebstrap and pip make: a tree of one file, and one package.
DEBIAN = "#!/bin/bash\n[ -z \"$MMDEBSTRAP_FAILS\" ] || { echo 'no mirror' >&2; exit 1; }\ncd $FILES && tar -c usr\n"
PIP = """#!/bin/bash
case "$*" in
*"-m pip install"*)
    [ -z "$STAND_IN_FAILS" ] || { echo 'no wheel' >&2; exit 1; }
    sleep "${STAND_IN_SECONDS:-0}"
    mkdir -p "$6" && cat "${!#}" >"$6/requirements"
    ;;
*) exit 1 ;;
esac
"""


class Checkout:
    """A copy of what deploy/arm64.sh needs, with stand-ins for what it downloads with."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self.root, self.bin, self.files = folder / "check out", folder / "bin", folder / "files"
        self.tree = self.root / ".cache" / "roots" / "arm64"
        shutil.copytree(repository / "deploy", self.root / "deploy")
        shutil.copy(repository / "pyproject.toml", self.root)
        (self.files / "usr").mkdir(parents=True)
        (self.files / "usr" / "file").touch()
        self.program(self.bin / "mmdebstrap", DEBIAN)
        self.program(self.bin / "qemu-aarch64-static", "#!/bin/sh\n")
        self.program(self.bin / "uname", '#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo x86_64\n')
        self.program(self.root / ".venv" / "bin" / "python", PIP)
        for tool in ("awk", "bash", "cat", "dirname", "flock", "mkdir", "mv", "readlink", "rm", "sha256sum", "sleep"):
            self.link(tool)
        for tool in ("sh", "tar", "tee"):
            self.link(tool)

    def program(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def link(self, tool: str) -> None:
        found = shutil.which(tool)
        assert found, tool
        (self.bin / tool).symlink_to(found)

    def start(self, **extra: str) -> subprocess.Popen[str]:
        environment = {"PATH": str(self.bin), "FILES": str(self.files), **extra}
        script = self.root / "deploy" / "arm64.sh"
        return subprocess.Popen([script], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def run(self, **extra: str) -> tuple[int, str]:
        with self.start(**extra) as process:
            _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    def left(self) -> list[str]:
        return sorted(path.name for path in self.tree.parent.iterdir()) if self.tree.parent.is_dir() else []


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Checkout:
    return Checkout(tmp_path, repository)


def test_the_tree_is_made_once_and_again_for_another_lock(checkout: Checkout) -> None:
    code, errors = checkout.run()
    assert (code, checkout.left()) == (0, ["arm64"]), errors
    assert (checkout.tree / "usr" / "file").exists()
    code, errors = checkout.run(MMDEBSTRAP_FAILS="1")
    assert code == 0, errors
    lock = checkout.root / "deploy" / "locks" / "device.txt"
    lock.write_text(lock.read_text().replace("numpy==1.26.4", "numpy==1.26.3"))
    code, errors = checkout.run()
    assert code == 0, errors
    assert "numpy==1.26.3" in (checkout.tree / "opt" / "tflite-runtime" / "requirements").read_text()


def test_each_runtime_gets_the_packages_that_the_locks_have_for_it(checkout: Checkout) -> None:
    checkout.run()
    asked = {folder.name: (folder / "requirements").read_text() for folder in (checkout.tree / "opt").iterdir()}
    names = {
        runtime: {line.partition("==")[0]: line.split()[0] for line in text.splitlines() if "==" in line}
        for runtime, text in asked.items()
    }
    assert names["tflite-runtime"].keys() == {"numpy", "opencv-python-headless", "tflite-runtime"}
    assert names["tflite-runtime"]["numpy"].startswith("numpy==1.")
    assert {"ai-edge-litert", "flatbuffers", "numpy", "opencv-python-headless"} <= names["ai-edge-litert"].keys()
    assert names["ai-edge-litert"]["numpy"].startswith("numpy==2.")
    assert all("--hash=sha256:" in text and ";" not in text for text in asked.values())


def test_a_core_of_the_pi_is_described_where_the_machines_own_would_show(checkout: Checkout) -> None:
    checkout.run()
    assert "CPU part\t: 0xd08" in (checkout.tree / "proc" / "cpuinfo").read_text()  # runtimes.CORE
    assert (checkout.tree / "sys" / "devices" / "system" / "cpu" / "possible").read_text() == "0-3\n"


@pytest.mark.parametrize("tool", ["mmdebstrap", "qemu-aarch64-static"])
def test_a_missing_tool_is_named_with_its_package(checkout: Checkout, tool: str) -> None:
    (checkout.bin / tool).unlink()
    code, errors = checkout.run()
    assert (code, "[emulator-missing]" in errors) == (CODES["emulator-missing"], True), errors
    assert f"no {tool.removesuffix('-static')} on this machine" in errors
    assert "sudo apt install mmdebstrap qemu-user-static" in errors


@pytest.mark.parametrize("fault", ["MMDEBSTRAP_FAILS", "STAND_IN_FAILS"])
def test_a_failed_download_leaves_the_old_tree_or_none(checkout: Checkout, fault: str) -> None:
    code, errors = checkout.run(**{fault: "1"})
    assert (code, checkout.left()) == (CODES["emulator-download-failed"], [])
    assert "[emulator-download-failed]" in errors
    assert {"MMDEBSTRAP_FAILS": "no mirror", "STAND_IN_FAILS": "no wheel"}[fault] in errors
    assert checkout.run()[0] == 0
    (checkout.tree / "old").touch()
    (checkout.tree / ".stamp").write_text("of another lock")
    assert checkout.run(**{fault: "1"})[0] == CODES["emulator-download-failed"]
    assert checkout.left() == ["arm64"]
    assert (checkout.tree / "old").exists()


def test_killed_in_the_middle_is_repaired_by_the_next_start(checkout: Checkout) -> None:
    process = checkout.start(STAND_IN_SECONDS="60")
    deadline = time.monotonic() + 30
    while not (checkout.tree.with_name("arm64.new") / "usr").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert checkout.left() == ["arm64.new"]
    assert checkout.run()[0] == 0
    assert checkout.left() == ["arm64"]


def test_a_lock_without_a_package_that_is_needed_is_refused(checkout: Checkout) -> None:
    lock = checkout.root / "deploy" / "locks" / "host.txt"
    lock.write_text(lock.read_text().replace("\nflatbuffers==", "\nmapbuffers=="))
    code, errors = checkout.run()
    assert code == CODES["emulator-download-failed"], errors
    assert "[emulator-download-failed]" in errors
    assert "flatbuffers" in errors
    assert "deploy/lock.sh" in errors


@pytest.fixture(scope="module")
def found(repository: Path) -> list[Runtime]:
    """The device's runtime on this machine, and both on emulated aarch64; skips where they can't be had."""
    if platform.machine() != "x86_64":
        pytest.skip(f"compares x86-64 with emulated aarch64; this is {platform.machine()}")
    made = subprocess.run([repository / "deploy" / "arm64.sh"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no arm64 tree: {made.stderr.strip().splitlines()[-1:]}")
    found, missing = find_runtimes(DEVICE_PYTHON)
    assert not [line for line in missing if "aarch64" in line], missing
    if not [runtime for runtime in found if runtime.name.startswith("tflite-runtime") and not runtime.emulated]:
        pytest.skip("; ".join(missing))
    return found


@pytest.fixture(scope="module")
def raw(found: list[Runtime]) -> dict[tuple[str, str, str], np.ndarray]:
    """Raw outputs, int8 (16, 7), of the shipped model for 16 faces, by runtime, kernels and machine."""
    with np.load(FACES) as table:
        faces = table["faces"]
    model, rng = ExpressionModel(), np.random.default_rng(0)
    dimmed = [np.clip(faces[row % len(faces)] * rng.uniform(0.6, 1.1), 0, 255).astype(np.uint8) for row in range(16)]
    inputs = np.concatenate([model.prepare(face) for face in dimmed])
    reference = (
        Runtime(
            runtime.name, "reference", runtime.machine, runtime.emulated, (*runtime.command, "--kernels", "reference")
        )
        for runtime in found
        if runtime.name.startswith("tflite-runtime")
    )
    return {
        (runtime.name.split()[0], runtime.kernels, runtime.machine): run_raw(runtime, shipped_model(), inputs)
        for runtime in (*found, *reference)
    }


def differing(left: np.ndarray, right: np.ndarray) -> tuple[float, int]:
    """Share of bytes that differ, and the most steps by which one does."""
    steps = np.abs(left.astype(int) - right)
    return float((steps > 0).mean()), int(steps.max())


@pytest.mark.slow
def test_the_oldest_runtime_gives_the_same_bytes_by_every_kernel_on_both_machines(
    raw: dict[tuple[str, str, str], np.ndarray],
) -> None:
    mine = {key[1:]: outputs for key, outputs in raw.items() if key[0] == "tflite-runtime"}
    assert mine.keys() == {(kernels, machine) for kernels in ("built-in", "reference") for machine in MACHINES}
    first = mine["built-in", "x86_64"]
    assert len({tuple(row) for row in first}) > 4
    assert {key: int((outputs != first).sum()) for key, outputs in mine.items()} == dict.fromkeys(mine, 0)


@pytest.mark.slow
def test_the_reference_kernels_have_hardly_changed_since(raw: dict[tuple[str, str, str], np.ndarray]) -> None:
    old = raw["tflite-runtime", "reference", "aarch64"]
    for machine in MACHINES:
        assert differing(old, raw["ai-edge-litert", "reference", machine])[0] <= FEW


@pytest.mark.slow
def test_every_other_kernel_decides_alike_if_not_to_the_byte(raw: dict[tuple[str, str, str], np.ndarray]) -> None:
    reference = raw["tflite-runtime", "reference", "x86_64"]
    ordered = np.sort(reference.astype(int), axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 64  # steps, a quarter of what an output can say
    assert clear.sum() >= 8
    xnnpack = {key: outputs for key, outputs in raw.items() if key[1] == "XNNPACK"}
    assert ("ai-edge-litert", "XNNPACK", "aarch64") in xnnpack
    assert all(differing(reference, outputs)[0] > 0 for outputs in xnnpack.values())
    wrong = {key: int((out.argmax(1) != reference.argmax(1))[clear].sum()) for key, out in raw.items()}
    assert wrong == dict.fromkeys(raw, 0)


@pytest.mark.slow
@pytest.mark.usefixtures("found")
def test_the_device_on_arm_has_the_operators_of_the_table() -> None:
    operators = pytest.importorskip("converter.operators", reason="flatbuffers and ai-edge-litert are the host's")
    table = operators.read_table()
    codes = operators.schema.BuiltinOperator
    asked = {
        f"{name} {version}": operators.build_tiny(getattr(codes, name), version)
        for name, most in table.items()
        for version in (most, most + 1)
    }
    packages = runtimes.ARM64 / "opt" / "tflite-runtime"
    qemu = next(filter(shutil.which, runtimes._QEMU))
    answer = runtimes.probe(emulate(qemu, runtimes.ARM64, packages), asked)
    assert answer["machine"] == "aarch64"
    assert answer["refused"].keys() == {f"{name} {most + 1}" for name, most in table.items()}
