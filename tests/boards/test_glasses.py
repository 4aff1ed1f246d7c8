"""The Pi's own way to glasses: bleak, D-Bus, bluetoothd and Linux on an emulated board, whose UART has a controller."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("bumble", reason="bumble is not installed; ./deploy.sh test adds it")
pytest.importorskip("halo_emulator", reason="halo-emulator is not installed; ./deploy.sh test adds it")

from edge.runtime.sink_worker import STALE
from tests.boards.air import BoardAir
from tests.boards.board import NEEDS
from tests.boards.glasses_board import CUELENS, ActiveLook, BondingHalo, GlassesBoard
from tests.glasses.worn import NOBODY, SMILE, UPSET, shows

DROPS = {"bookworm": 4, "trixie": 1}  # of the link, on a board of each Debian
CUES = {"smile", "surprise", "upset"}  # of the demo's scene
CLEAR, IMAGE = 0x01, 0x42  # of ActiveLook's commands

pytestmark = [
    *NEEDS,
    pytest.mark.skipif(shutil.which("depmod") is None, reason="no depmod on this system; .ci/run installs kmod"),
]


@pytest.fixture(scope="module")
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> Iterator[tuple[GlassesBoard, BoardAir]]:
    """A board with Bluetooth, of the Debian that a test asks for, and both makes of glasses in reach of it."""
    halo, activelook = BondingHalo(), ActiveLook()
    with contextlib.ExitStack() as stack:
        board = GlassesBoard(request.param, tmp_path_factory.mktemp("board"), repository)
        stack.callback(board.close)
        stack.callback(halo.stop)
        air = stack.enter_context(contextlib.closing(BoardAir(board.uart, halo, activelook)))
        board.start_bluetooth()
        board.value("os.makedirs('/var/lib/cuelens')")
        yield board, air


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("machine", DROPS, indirect=True)
def test_halo_is_paired_bonds_and_gets_its_cue_again_after_every_drop(machine: tuple[GlassesBoard, BoardAir]) -> None:
    board, air = machine
    halo = air.find(BondingHalo)
    board.pair(halo, "halo")
    device = "/org/bluez/hci0/dev_" + halo.address.upper().replace(":", "_")
    assert board.ask(device, "Device1", "Bonded") == "b true"
    pairings = halo.pairings
    assert pairings >= 1
    board.wait_until(lambda: not halo.seen.any(), "dark glasses, without the mark of a lost link")

    cue = SMILE
    board.wear("halo", cue)
    board.run("systemctl start --no-block wearer.service")
    board.show(halo, cue)
    for number in range(1, DROPS[board.suite] + 1):
        before = halo.connections
        air.do(halo.leave())
        board.wait_until(lambda: not halo.seen.any(), f"dark glasses in drop {number}")
        over, cue = cue, UPSET if cue == SMILE else SMILE
        board.wear("halo", cue)
        assert (halo.connections, halo.seen.any()) == (before, False)
        air.do(halo.advertise())
        board.show(halo, cue, never=over)
        board.wait_until(halo.is_encrypted, "a link by the bond")
        assert halo.connections > before
    assert halo.pairings == pairings, "the bond is used again"

    status = board.status("wearer.service")
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert int(status["CapEff"], 16) == 0
    assert "0" not in status["Uid"].split()
    assert board.run("systemctl stop wearer.service")[0] == 0
    board.wait_until(lambda: not halo.seen.any(), "dark glasses at the end")


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("machine", ["bookworm"], indirect=True)
def test_activelook_is_paired_and_its_old_picture_goes_before_the_next_comes(
    machine: tuple[GlassesBoard, BoardAir],
) -> None:
    board, air = machine
    glasses = air.find(ActiveLook)
    board.pair(glasses, "activelook")
    assert not glasses.seen.any()

    board.wear("activelook", SMILE)
    board.run("systemctl start --no-block wearer.service")
    board.show(glasses, SMILE)
    air.do(glasses.leave())
    board.wear("activelook", UPSET)
    assert shows(glasses, SMILE), "these glasses keep it"
    before, given = glasses.connections, len(glasses.commands)
    air.do(glasses.advertise())
    board.show(glasses, UPSET)
    assert glasses.connections > before
    assert next(command for command, _ in glasses.commands[given:] if command in (CLEAR, IMAGE)) == CLEAR

    board.wear("activelook", NOBODY)
    board.wait_until(lambda: not glasses.seen.any(), "dark glasses")
    assert board.run("systemctl stop wearer.service")[0] == 0
    assert not glasses.seen.any()


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("machine", ["bookworm"], indirect=True)
def test_halo_goes_dark_by_itself_when_the_run_is_killed_and_the_next_run_shows_on_it(
    machine: tuple[GlassesBoard, BoardAir],
) -> None:
    board, air = machine
    halo = air.find(BondingHalo)
    board.pair_once(halo, "halo")
    board.run("systemctl start --no-block cuelens.service")
    killed = 0

    def is_killed_while_it_shows() -> bool:
        """Kill the run; returns whether it had not sent the word to be dark just before."""
        nonlocal killed
        board.wait_until(lambda: board.process("cuelens.service") not in (0, killed), "a run")
        killed = board.process("cuelens.service")
        halo.screens.clear()
        board.wait_until(lambda: halo.shown() & CUES and halo.seen.any(), "a cue")
        board.value(f"os.kill({killed}, signal.SIGKILL)")
        board.wait_until(halo.went_dark, "dark glasses after the kill")
        dark = halo.went_dark()
        assert dark is not None
        assert round(dark.silent, 3) <= STALE
        return dark.heard != b"B"

    board.wait_until(is_killed_while_it_shows, "a kill while a cue is shown")
    halo.screens.clear()
    board.wait_until(lambda: halo.shown() & CUES, "a cue of the next run")
    assert board.process("cuelens.service") not in (0, killed)


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("machine", ["bookworm"], indirect=True)
def test_a_run_by_the_services_unit_shows_its_cues_on_halo_until_it_is_stopped(
    machine: tuple[GlassesBoard, BoardAir],
) -> None:
    board, air = machine
    halo = air.find(BondingHalo)
    board.pair_once(halo, "halo")
    halo.screens.clear()
    board.run("systemctl start --no-block cuelens.service")  # unless it runs
    board.wait_until(lambda: halo.shown() >= CUES, "every cue of the demo")
    board.wait_until(lambda: board.link().get("state") == "connected", "the link in the status")
    assert "Halo 08 connected, battery 80 %" in board.run(f"{CUELENS} status")[1]

    air.do(halo.leave())
    board.wait_until(lambda: board.link().get("state") == "lost", "a lost link in the status")
    board.wait_until(lambda: not halo.seen.any(), "dark glasses out of reach")
    halo.screens.clear()
    air.do(halo.advertise())
    board.wait_until(lambda: halo.shown() & CUES, "cues again")
    board.wait_until(lambda: board.link().get("state") == "connected", "the link in the status again")

    board.wait_until(halo.seen.any, "a cue to leave")
    assert board.run("systemctl stop cuelens.service")[0] == 0
    board.wait_until(lambda: not halo.seen.any(), "dark glasses after the stop")
    assert board.run("systemctl show --property=Result --value cuelens.service")[1].strip() == "success"
