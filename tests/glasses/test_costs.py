"""What a cue costs on each make, measured on the virtual radio, is what docs/glasses.md says."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

pytest.importorskip("bleak", reason="bleak is not installed; ./deploy.sh sinks adds it")
pytest.importorskip("bumble", reason="bumble is not installed; ./deploy.sh test adds it")
pytest.importorskip("halo_emulator", reason="halo-emulator is not installed; ./deploy.sh test adds it")

from benchmarks.start import IMPORTS
from edge.sinks.glasses.link import Link
from edge.sinks.glasses.radio import Connection
from edge.types import Cue
from tests.glasses.peripherals import ActiveLookPeripheral, HaloPeripheral
from tests.glasses.worn import worn

PAGE = Path(__file__).resolve().parents[2] / "docs" / "glasses.md"
CUES = [Cue("expression", name, 0.9, 0.0) for name in ("smile", "surprise", "upset")]
TITLES = {"activelook": "ActiveLook", "halo": "Halo"}


@pytest.mark.parametrize("make", TITLES)
@pytest.mark.parametrize("mtu", [247, 512])
def test_the_table_of_costs_is_measured(make: str, mtu: int, monkeypatch: pytest.MonkeyPatch) -> None:
    glasses = ActiveLookPeripheral() if make == "activelook" else HaloPeripheral()
    glasses.mtu = mtu
    sizes: list[int] = []
    write = Connection.write

    async def counted(self: Connection, uuid: str, data: bytes) -> None:
        await write(self, uuid, data)
        sizes.append(len(data))

    cues: list[tuple[int, int]] = []
    carry_out = Link._carry_out

    async def noted(self: Link, order, wearable) -> None:  # type: ignore[no-untyped-def]
        before = len(sizes)
        await carry_out(self, order, wearable)
        if order.kind == "draw":
            cues.append((sum(sizes[before:]), len(sizes) - before))

    monkeypatch.setattr(Connection, "write", counted)
    monkeypatch.setattr(Link, "_carry_out", noted)
    with worn(make, glasses) as one:
        once = sum(sizes)
        for number, cue in enumerate(CUES, 1):
            one.hold(cue, lambda number=number: len(cues) >= number)
    size = round(median(size for size, _ in cues))
    writes = round(median(count for _, count in cues))
    row = f"| {TITLES[make]} | {mtu} | {once / 1000:.1f} kB | {size} | {writes} | {2 * 15 * writes} ms |"
    assert row in PAGE.read_text(encoding="utf-8").splitlines(), row
    if isinstance(glasses, HaloPeripheral):
        glasses.stop()


@pytest.mark.parametrize(("more", "imported"), [("", False), ("import edge.sinks.glasses.link", True)])
def test_a_start_imports_bleak_only_where_a_sink_is_glasses(more: str, imported: bool, repository: Path) -> None:
    """The step of `cuelens-bench start` whose instructions the page has, with and without."""
    program = f"{IMPORTS}\n{more}\nimport sys; print(sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)
    assert ("'bleak'" in done.stdout, "'dbus_fast'" in done.stdout) == (imported, imported)


@pytest.mark.parametrize(("make", "other"), [("halo", "activelook"), ("activelook", "halo")])
def test_a_start_imports_the_make_that_is_set_alone(make: str, other: str, repository: Path) -> None:
    program = (
        f"from edge.sinks.glasses.sink import choose_make\nimport sys\nchoose_make({make!r})\nprint([*sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)
    imported = [f"edge.sinks.glasses.{name}" in ast.literal_eval(done.stdout) for name in (make, other)]
    assert imported == [True, False]
