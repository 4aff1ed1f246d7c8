"""Halo on the air: our program runs on the vendor's emulator, and what its display holds is our picture."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bleak", reason="bleak is not installed; ./deploy.sh sinks adds it")
pytest.importorskip("bumble", reason="bumble is not installed; ./deploy.sh test adds it")
pytest.importorskip("halo_emulator", reason="halo-emulator is not installed; ./deploy.sh test adds it")

from bleak import BleakClient, BleakScanner

from edge.sinks.glasses.halo import PROGRAM
from edge.types import Cue
from tests.glasses.air import Air, AirClient, AirScanner
from tests.glasses.peripherals import HaloPeripheral
from tests.glasses.worn import NOBODY, SMILE, UPSET, Worn, quick, shows, wait_until, worn


@pytest.fixture
def glasses() -> Iterator[HaloPeripheral]:
    """Glasses whose program ends with the test."""
    made = HaloPeripheral()
    yield made
    made.stop()


def test_what_the_wearer_sees_is_the_cues_picture(glasses: HaloPeripheral) -> None:
    with worn("halo", glasses) as one:
        for cue in (SMILE, UPSET, Cue("unsure", None, 0.0, 0.0, "new", "near"), NOBODY):
            one.hold(cue, lambda cue=cue: shows(glasses, cue))
        assert not glasses.seen.any()
        one.hold(SMILE, lambda: shows(glasses, SMILE))
    wait_until(lambda: not glasses.seen.any(), "the end is dark")


def test_the_program_is_sent_once_and_never_half(glasses: HaloPeripheral) -> None:
    with worn("halo", glasses):
        (name,) = (path.name for path in glasses.folder.glob("*"))
        assert (glasses.folder / name).read_text() == PROGRAM.read_text(), "as it is here, and no other file"
        sent = glasses.received
    with worn("halo", glasses):
        assert glasses.received - sent < 300
    (glasses.folder / name).unlink()
    (glasses.folder / "cuelens.part").write_text("half of it")
    with worn("halo", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
    assert [path.name for path in glasses.folder.glob("*")] == [name]


def test_a_cue_is_a_few_writes_of_what_a_packet_takes(glasses: HaloPeripheral) -> None:
    with worn("halo", glasses) as one:
        for cue in (SMILE, UPSET, Cue("expression", "surprise", 0.9, 0.0)):
            glasses.writes.clear()
            one.hold(cue, lambda cue=cue: shows(glasses, cue))
            picture = [data for data in glasses.writes if data[1:2] in b"PD"]
            assert 3 <= len(picture) <= 7
            assert all(len(data) <= glasses.mtu - 3 for data in picture)
            assert sum(map(len, picture)) < 1600


def test_it_goes_dark_by_itself_when_it_hears_nothing_more(glasses: HaloPeripheral) -> None:
    """As when the Pi's power is cut: the link falls silent, and nobody says goodbye."""
    with worn("halo", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        glasses.deaf = True
        wait_until(lambda: not glasses.seen.any())
        glasses.deaf = False
        one.hold(UPSET, lambda: shows(glasses, UPSET))


def test_a_cue_that_it_blanked_meanwhile_is_drawn_again(
    glasses: HaloPeripheral, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cue stands, and our words come later than the glasses wait for them."""
    monkeypatch.setattr("edge.sinks.glasses.stage.KEEP", 2.0)
    with worn("halo", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        one.hold(SMILE, lambda: not glasses.seen.any(), "dark by itself")
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        assert one.report.losses == 0


def test_glasses_whose_program_does_not_hear_that_a_cue_stands_are_lost(glasses: HaloPeripheral) -> None:
    with worn("halo", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        glasses.deaf = True
        one.hold(SMILE, lambda: one.report.state == "lost", "they acknowledge, and are dark")


def test_a_cue_that_stands_is_held_by_a_word_and_not_drawn_again(glasses: HaloPeripheral) -> None:
    with worn("halo", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        glasses.writes.clear()
        one.hold(SMILE, lambda: glasses.writes.count(b"\x01K") >= 5)
        assert shows(glasses, SMILE)
        assert set(glasses.writes) == {b"\x01K"}


def test_a_link_that_a_killed_run_left_is_taken_over(glasses: HaloPeripheral) -> None:
    glasses.kept = True
    with worn("halo", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))


def test_out_of_reach_it_goes_dark_shows_that_it_lost_us_and_shows_cues_again(glasses: HaloPeripheral) -> None:
    with worn("halo", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        one.radio.do(glasses.leave())
        one.hold(UPSET, lambda: one.report.state == "lost")
        wait_until(lambda: not glasses.seen.any())
        one.radio.do(glasses.advertise())
        one.hold(UPSET, lambda: shows(glasses, UPSET))
        assert (one.report.losses, one.control.problems) == (1, [])


def test_in_the_dark_a_lost_link_is_a_mark_for_some_seconds(glasses: HaloPeripheral) -> None:
    with worn("halo", glasses) as one:
        one.radio.do(glasses.leave())
        wait_until(lambda: 0 < np.count_nonzero(glasses.seen.any(axis=2)) <= 160, "a short line")
        wait_until(lambda: not glasses.seen.any())


def test_display_and_link_rest_when_nobody_is_there_and_wake_for_a_cue(glasses: HaloPeripheral) -> None:
    with worn("halo", glasses) as one:
        one.hold(NOBODY, glasses.emulator._display.power_save)
        assert glasses.emulator._bluetooth.connection_interval() == 60
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        assert not glasses.emulator._display.power_save()
        assert glasses.emulator._bluetooth.connection_interval() == 15


def test_glasses_that_acknowledge_and_never_draw_are_lost(
    glasses: HaloPeripheral, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch, ANSWER=0.5)
    with worn("halo", glasses) as one:
        glasses.deaf = True
        one.hold(SMILE, lambda: one.report.state == "lost")
        wait_until(lambda: not glasses.seen.any())  # what it drew before goes 1.5 s after our last word
        glasses.deaf = False
        one.hold(SMILE, lambda: shows(glasses, SMILE))


def refused(glasses: HaloPeripheral, words: str) -> None:
    one = Worn("halo", glasses)
    try:
        one.hold(SMILE, lambda: words in one.report.error, f"{words}: {one.report}")
        wait_until(lambda: one.report.state == "refused")
    finally:
        one.sink.close()
    assert not glasses.seen.any()


def test_old_firmware_is_reported(glasses: HaloPeripheral) -> None:
    glasses.firmware = "0.8.7"
    refused(glasses, "firmware 0.8.7, 0.8.8 or newer is needed; update it")


def test_a_packet_of_23_bytes_is_reported_as_too_small(glasses: HaloPeripheral) -> None:
    glasses.mtu = 23
    refused(glasses, "takes packets of 23 bytes (MTU), 100 are needed")


def test_a_program_that_fails_says_why(glasses: HaloPeripheral) -> None:
    glasses.fails = "error('display broke')"
    refused(glasses, "the program on it failed")


def test_garbage_is_passed_over(glasses: HaloPeripheral) -> None:
    random = np.random.default_rng(1)
    with worn("halo", glasses) as one:
        for _ in range(40):
            one.radio.do(glasses.send(glasses._tx, random.bytes(60)))
        one.hold(SMILE, lambda: shows(glasses, SMILE))
    assert one.report.losses == 0


def test_the_makers_own_library_speaks_to_the_glasses_of_these_tests(
    glasses: HaloPeripheral, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tests hold Halo to be is what its maker's library, unmodified, expects of it."""
    library = pytest.importorskip("brilliant_ble.brilliant_ble")

    class Scanner(BleakScanner):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options, backend=AirScanner)

    class Client(BleakClient):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options, backend=AirClient)

    monkeypatch.setattr(library, "BleakScanner", Scanner)
    monkeypatch.setattr(library, "BleakClient", Client)

    async def speak() -> tuple[str, str, Any]:
        await Air().open(glasses)
        maker = library.BrilliantBle()
        await maker.connect(glasses.name)
        found = maker.type
        await maker.send_break_signal()
        version = await maker.send_lua("print(frame.FIRMWARE_VERSION)", await_print=True)
        await maker.upload_file_from_string(PROGRAM.read_text(), "theirs.lua")
        await maker.disconnect()
        return version, (glasses.folder / "theirs.lua").read_text(), found

    version, uploaded, found = asyncio.run(speak())
    assert version.startswith("0.8.")
    assert uploaded == PROGRAM.read_text()
    assert found is library.BrilliantDeviceType.HALO
