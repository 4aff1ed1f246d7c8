"""The Pi's own way to glasses: bleak, D-Bus, bluetoothd and Linux on an emulated board, whose UART has a controller."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("bumble", reason="bumble is not installed; ./deploy.sh test adds it")
pytest.importorskip("halo_emulator", reason="halo-emulator is not installed; ./deploy.sh test adds it")

from tests.boards.air import BoardAir
from tests.boards.board import NEEDS, board_files
from tests.boards.glasses_board import ActiveLook, BondingHalo, GlassesBoard
from tests.glasses.worn import NOBODY, SMILE, UPSET, shows

DROPS = 4  # of the link
CLEAR, IMAGE = 0x01, 0x42  # of ActiveLook's commands

pytestmark = [
    *NEEDS,
    pytest.mark.skipif(shutil.which("depmod") is None, reason="no depmod on this system; .ci/run installs kmod"),
]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[tuple[GlassesBoard, BoardAir]]:
    """A board with Bluetooth, and both makes of glasses in reach of it."""
    halo, activelook = BondingHalo(), ActiveLook()
    with contextlib.ExitStack() as stack:
        board = stack.enter_context(
            contextlib.closing(GlassesBoard(board_files("glasses.sh"), tmp_path_factory.mktemp("board"), repository))
        )
        stack.callback(halo.stop)
        air = stack.enter_context(contextlib.closing(BoardAir(board.uart, halo, activelook)))
        board.start_bluetooth()
        board.value("os.makedirs('/var/lib/cuelens')")
        yield board, air


@pytest.mark.timeout(2400)
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
    board.run("systemctl start --no-block cuelens.service")
    board.show(halo, cue)
    for number in range(1, DROPS + 1):
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
    assert cue == SMILE
    assert halo.pairings == pairings, "the bond is used again"

    status = board.status("cuelens.service")
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert int(status["CapEff"], 16) == 0
    assert "0" not in status["Uid"].split()
    assert board.run("systemctl stop cuelens.service")[0] == 0
    board.wait_until(lambda: not halo.seen.any(), "dark glasses at the end")


@pytest.mark.timeout(2400)
def test_activelook_is_paired_and_its_old_picture_goes_before_the_next_comes(
    machine: tuple[GlassesBoard, BoardAir],
) -> None:
    board, air = machine
    glasses = air.find(ActiveLook)
    board.pair(glasses, "activelook")
    assert not glasses.seen.any()

    board.wear("activelook", SMILE)
    board.run("systemctl start --no-block cuelens.service")
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
    assert board.run("systemctl stop cuelens.service")[0] == 0
    assert not glasses.seen.any()
