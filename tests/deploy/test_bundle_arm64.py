"""The real bundles on an emulated Raspberry Pi of each release: installed offline, looked over, held to x86's bytes."""

from __future__ import annotations

import io
import json
import platform
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from deploy.bundle import packed_installer
from edge.sources.demo import FACES
from edge.vision.model import ExpressionModel, shipped_model
from tests.deploy.machines import REPOSITORY, copy_root, enter, run

# The Raspberry Pi 4's. qemu's own default has pointer authentication, which Trixie's programs use and which it emulates
# so slowly that an installation takes minutes.
CORE = "cortex-a72"
CPUINFO = "\n".join(
    f"processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
    "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n"
    for number in range(4)
)
# The installer gives pip an environment of its own; the emulator is not part of what it should be without.
ENV = f"""#!/bin/sh
if [ "$1" = -i ]; then
    shift
    exec /usr/bin/env -i QEMU_CPU={CORE} "$@"
fi
exec /usr/bin/env "$@"
"""
INSTALL = (
    "bash /files/install.sh install /files/bundle.tar --signers /files/signers --settings /files/demo.toml --no-start"
)
SUITES = ("bookworm", "trixie")
RAW_OUTPUTS = REPOSITORY / "converter" / "raw_outputs.py"

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="compares emulated aarch64 with x86-64"),
    pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="no qemu-user-static; .ci/run installs it"),
]


class Device:
    """An emulated root with files for it in /files, and what its installer said."""

    def __init__(self, suite: str, root: Path) -> None:
        self.suite, self.root, self.files = suite, root, root / "files"
        self.files.mkdir()
        (self.files / "cpuinfo").write_text(CPUINFO)  # where it names an x86-64 processor, a runtime for Arm crashes
        processors = root / "sys" / "devices" / "system" / "cpu"
        processors.mkdir(parents=True)
        for name in ("possible", "present", "online"):
            (processors / name).write_text("0-3\n")
        environment = root / "usr" / "local" / "bin" / "env"
        environment.write_text(ENV)
        environment.chmod(0o755)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, without a network."""
        script = f"mount --bind /files/cpuinfo /proc/cpuinfo && exec unshare --net {command}"
        return enter(self.root, "sh", "-c", script, QEMU_CPU=CORE, PATH="/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")


@pytest.fixture(scope="module")
def devices(real_bundle: Callable[[str, str], Path], signers: Path, memory: Path) -> dict[str, Device]:
    """A root of each suite, and in it the real bundle with settings for the demo's source: at once, on two cores."""
    devices = {suite: Device(suite, copy_root(f"{suite}-arm64", memory / f"{suite}-arm64")) for suite in SUITES}
    for device in devices.values():
        tried = device.run("true")
        if tried.returncode:
            pytest.skip(f"no arm64 root can be entered here: {tried.stderr.strip().splitlines()[-1:]}")
        (device.files / "install.sh").write_bytes(packed_installer())
        for path in (RAW_OUTPUTS, signers):
            shutil.copy(path, device.files)
        shutil.copy(real_bundle(device.suite, "aarch64"), device.files / "bundle.tar")
        (device.files / "demo.toml").write_text('source = "demo"\n')
    with ThreadPoolExecutor(len(devices)) as both:
        for done in both.map(lambda device: device.run(INSTALL), devices.values()):
            assert done.returncode == 0, done.stderr
    return devices


@pytest.fixture(params=SUITES)
def device(request: pytest.FixtureRequest, devices: dict[str, Device]) -> Device:
    return devices[request.param]


def test_it_installs_without_a_network_and_a_person_has_nothing_to_do(device: Device) -> None:
    done = device.run("/opt/cuelens/current/venv/bin/cuelens check --json")
    answer = {line["name"]: line for line in json.loads(done.stdout)["lines"]}
    assert done.returncode == 0, done.stdout
    assert "aarch64" in answer["board"]["says"]
    assert device.suite in answer["board"]["says"]
    assert {"bookworm": "tflite-runtime", "trixie": "ai-edge-litert"}[device.suite] in answer["runtime"]["says"]
    for name in ("settings", "network", "faces", "release"):
        assert answer[name]["state"] == "ok", answer[name]


def test_its_model_gives_x86s_bytes(device: Device, real_bundle: Callable[[str, str], Path], tmp_path: Path) -> None:
    """By the reference kernels, which are the same on both; tflite-runtime's own as well."""
    model = next(device.root.glob("opt/cuelens/releases/*/venv/lib/python3*/site-packages/edge/model/emotion.tflite"))
    assert model.read_bytes() == shipped_model().read_bytes()
    write_inputs(device.files / "inputs.npy")
    for path in (model, RAW_OUTPUTS, device.files / "inputs.npy"):
        shutil.copy(path, tmp_path)
    kernels = ("reference", "built-in") if device.suite == "bookworm" else ("reference",)
    python = "/opt/cuelens/current/venv/bin/python"
    on_arm = []
    for name in kernels:
        words = f"--kernels {name} /{model.relative_to(device.root)} /files/inputs.npy /files/{name}.npy"
        done = device.run(f"{python} /files/raw_outputs.py {words}")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["machine"] == "aarch64"
        on_arm.append(np.load(device.files / f"{name}.npy"))
    expected = outputs_on_x86(device.suite, real_bundle(device.suite, "x86_64"), tmp_path)
    assert len({tuple(row) for row in expected}) > 4
    assert [int((outputs != expected).sum()) for outputs in on_arm] == [0] * len(kernels)


def write_inputs(path: Path) -> None:
    """Write the model's inputs, int8 (16, ...), for 16 faces of the demo in different light."""
    with np.load(FACES) as table:
        faces = table["faces"]
    model, rng = ExpressionModel(), np.random.default_rng(0)
    dimmed = [np.clip(faces[row % len(faces)] * rng.uniform(0.6, 1.1), 0, 255).astype(np.uint8) for row in range(16)]
    np.save(path, np.concatenate([model.prepare(face) for face in dimmed]))


def outputs_on_x86(suite: str, bundle: Path, folder: Path) -> np.ndarray:
    """Outputs of a folder's emotion.tflite and inputs.npy on x86-64, by a bundle's runtime and its suite's Python."""
    with tarfile.open(bundle) as outer, tarfile.open(fileobj=outer.extractfile("payload.tar")) as payload:
        for member in payload:
            if member.name.endswith(".whl"):
                wheel = payload.extractfile(member)
                assert wheel
                with zipfile.ZipFile(io.BytesIO(wheel.read())) as archive:
                    archive.extractall(folder / "packages")
    root = run("bash", REPOSITORY / "tests" / "deploy" / "roots.sh", f"{suite}-amd64", HOME="/root").stdout.strip()
    script = """
        mount --bind "$1" "$0/mnt" || exit
        cd /
        PYTHONPATH=/mnt/packages exec chroot "$0" python3 -P /mnt/raw_outputs.py --kernels reference \\
            /mnt/emotion.tflite /mnt/inputs.npy /mnt/outputs.npy
    """
    done = run("unshare", "--mount", "sh", "-c", script, root, folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["machine"] == "x86_64"
    return np.load(folder / "outputs.npy")
