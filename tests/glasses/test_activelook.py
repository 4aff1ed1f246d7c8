"""ActiveLook on the air: what its screen holds is our picture, bit for bit, whatever comes in between."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("bleak", reason="bleak is not installed; ./deploy.sh sinks adds it")
pytest.importorskip("bumble", reason="bumble is not installed; ./deploy.sh test adds it")

from edge.drawing.glyphs import plan_cue
from edge.settings import LookSettings
from edge.sinks.glasses.activelook import draw_activelook
from edge.sinks.glasses.stage import Order, Stage
from edge.types import Cue
from tests.glasses.air import Peripheral
from tests.glasses.peripherals import ActiveLookPeripheral
from tests.glasses.worn import LOOK, NOBODY, SMILE, UPSET, Worn, quick, shows, wait_until, worn


def test_what_the_wearer_sees_is_the_cues_picture() -> None:
    glasses = ActiveLookPeripheral()
    with worn("activelook", glasses) as one:
        for cue in (SMILE, UPSET, Cue("unsure", None, 0.0, 0.0, "new", "near"), NOBODY):
            one.hold(cue, lambda cue=cue: shows(glasses, cue))
        assert not glasses.screen.any()
        one.hold(SMILE, lambda: shows(glasses, SMILE))
    wait_until(lambda: not glasses.screen.any(), "the end is dark")


def drawn(glasses: ActiveLookPeripheral) -> int:
    return sum(command in (0x42, 0x44) for command, _ in glasses.commands)


def test_pictures_are_saved_once_and_a_cue_is_27_bytes_after_that() -> None:
    glasses = ActiveLookPeripheral()
    with worn("activelook", glasses) as one:
        saved = glasses.received
        assert saved > 20_000
        one.hold(SMILE, lambda: shows(glasses, SMILE))
    glasses.commands.clear()
    glasses.received = 0
    with worn("activelook", glasses) as one:
        assert glasses.received < 200, "they are there"
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        wait_until(lambda: one.sink._link._stage.take(0.0) is None)
        before = glasses.received
        one.hold(UPSET, lambda: shows(glasses, UPSET))
        assert glasses.received - before == 27
        assert 0x41 not in [command for command, _ in glasses.commands]


def test_what_is_not_saved_is_streamed_and_the_same_to_the_wearer() -> None:
    glasses = ActiveLookPeripheral()
    other = Cue("expression", "sad", 0.9, 0.0)
    with worn("activelook", glasses) as one:
        one.hold(other, lambda: shows(glasses, other))
        german = LookSettings(language="de")
        one.look(language="de")
        one.hold(SMILE, lambda: shows(glasses, SMILE, german))


def test_another_look_has_other_pictures_from_the_next_link_on() -> None:
    glasses = ActiveLookPeripheral()
    with worn("activelook", glasses):
        before = dict(glasses.configs[b"cuelens"]["images"])
    with worn("activelook", glasses, look=LookSettings(language="de")):
        after = glasses.configs[b"cuelens"]["images"]
    assert any(not np.array_equal(before[number], after[number]) for number in before)


@pytest.mark.parametrize("state", ["no_camera", "paused", "stopped"])
def test_the_screen_is_dark_while_the_camera_or_the_run_is_not_there(state: str) -> None:
    glasses = ActiveLookPeripheral()
    with worn("activelook", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        one.show(Cue(state, None, 0.0, 0.0))  # type: ignore[arg-type]
        wait_until(lambda: not glasses.screen.any())


def test_a_cue_that_nobody_repeats_goes_dark() -> None:
    glasses = ActiveLookPeripheral()
    with worn("activelook", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        wait_until(lambda: not glasses.screen.any(), "dark by itself")


def test_a_picture_changes_at_once_and_never_in_parts() -> None:
    """Between hold and flush nothing reaches the screen: the wearer sees one whole picture, then the other."""
    glasses = ActiveLookPeripheral()
    seen: set[bytes] = set()
    flush = glasses._flush

    def watched(*, everything: bool) -> None:
        flush(everything=everything)
        seen.add(glasses.screen.tobytes())

    glasses._flush = watched  # type: ignore[method-assign]
    with worn("activelook", glasses) as one:
        for cue in (SMILE, UPSET, SMILE):
            one.hold(cue, lambda cue=cue: shows(glasses, cue))
    whole = [np.zeros_like(glasses.screen)]
    whole += [15 * (draw_activelook(plan_cue(cue, LOOK))[::-1, ::-1, 0] > 0).astype(np.uint8) for cue in (SMILE, UPSET)]
    assert seen <= {picture.tobytes() for picture in whole}


def test_glasses_that_ask_to_wait_get_nothing_until_they_ask_for_more() -> None:
    glasses = ActiveLookPeripheral()
    glasses.asks_to_wait = 4
    with worn("activelook", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
    assert glasses.asks_to_wait == 0


def test_a_packet_of_23_bytes_is_enough() -> None:
    glasses = ActiveLookPeripheral()
    glasses.mtu = 23
    with worn("activelook", glasses, look=LookSettings(presence=False)) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))


def test_a_set_of_pictures_that_was_cut_off_is_saved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    glasses = ActiveLookPeripheral()
    with worn("activelook", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
    config = glasses.configs[b"cuelens"]
    config["version"] = bytes(4)
    del config["images"][3]
    with worn("activelook", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        assert len(config["images"]) > 3
        assert config["version"] != bytes(4)


def said(glasses: ActiveLookPeripheral, *words: str) -> None:
    """Try to wear such glasses, and wait for what is wrong with them to be said; nothing may be on their screen."""
    one = Worn("activelook", glasses)
    try:
        one.hold(SMILE, lambda: all(word in one.report.error for word in words), f"{words}: {one.report}")
        wait_until(lambda: one.report.state == "refused" or one.report.losses, str(one.report))
        assert any(words[0] in problem for problem in one.control.problems)
    finally:
        one.sink.close()
    assert not one.control.problems
    assert not glasses.screen.any()


def test_old_firmware_is_reported() -> None:
    said(ActiveLookPeripheral(firmware=(4, 3, 2, 0x62)), "firmware 4.3.2, 4.5.0 or newer is needed")


def test_glasses_that_acknowledge_and_show_nothing_are_reported() -> None:
    glasses = ActiveLookPeripheral()
    glasses.draws_nothing = True
    said(glasses, "takes our pictures and shows none")


def test_glasses_that_keep_no_picture_are_reported() -> None:
    glasses = ActiveLookPeripheral()
    glasses.keeps_nothing = True
    said(glasses, "did not keep our pictures")


def test_glasses_of_another_kind_with_the_same_advertisement_are_reported() -> None:
    class Scale(ActiveLookPeripheral):
        def gatt_services(self) -> list:  # type: ignore[type-arg]
            return Peripheral.gatt_services(self)

    said(Scale(), "is no ActiveLook glasses")


def test_a_flood_of_notifications_is_reported() -> None:
    glasses = ActiveLookPeripheral()
    one = Worn("activelook", glasses)
    try:
        wait_until(lambda: one.report.state == "connected")

        async def flood() -> None:
            for _ in range(400):
                await glasses.send(glasses._control, b"\x01")

        one.radio.do(flood())
        one.hold(SMILE, lambda: "notifications a second" in one.report.error)
    finally:
        one.sink.close()


def test_garbage_is_passed_over_and_what_follows_is_understood() -> None:
    random = np.random.default_rng(1)
    glasses = ActiveLookPeripheral()
    with worn("activelook", glasses) as one:
        for _ in range(20):
            one.radio.do(glasses.send(glasses._tx, random.bytes(60)))
            one.radio.do(glasses.send(glasses._control, random.bytes(3)))
        one.hold(SMILE, lambda: shows(glasses, SMILE))
    assert one.report.losses == 0


def test_a_link_that_a_killed_run_left_is_taken_over() -> None:
    glasses = ActiveLookPeripheral()
    glasses.kept = True
    with worn("activelook", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))


def test_out_of_reach_is_lost_is_reported_and_over_when_they_are_back() -> None:
    glasses = ActiveLookPeripheral()
    with worn("activelook", glasses) as one:
        one.hold(SMILE, lambda: shows(glasses, SMILE))
        one.radio.do(glasses.leave())
        one.hold(UPSET, lambda: one.report.state == "lost")
        assert "come nearer" in one.control.notice(time.monotonic())
        assert one.control.problems == [one.control.notice(time.monotonic())]
        one.radio.do(glasses.advertise())
        one.hold(UPSET, lambda: shows(glasses, UPSET))
        assert (one.report.losses, one.control.problems, one.report.state) == (1, [], "connected")
        assert one.control.notice(time.monotonic()) == ""


def test_glasses_that_answer_nothing_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, ANSWER=0.3)
    glasses = ActiveLookPeripheral()
    with worn("activelook", glasses) as one:
        glasses.mute = True
        one.hold(SMILE, lambda: one.report.state == "lost")
        assert "does not answer" in one.report.error
        glasses.mute = False
        one.hold(SMILE, lambda: shows(glasses, SMILE))


def test_glasses_that_answer_nothing_from_the_first_read_on_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, CONNECT=0.5)
    glasses = ActiveLookPeripheral()
    glasses.mute = True
    one = Worn("activelook", glasses)
    try:
        wait_until(lambda: "does not answer" in one.report.error)
        glasses.mute = False
        one.hold(SMILE, lambda: shows(glasses, SMILE))
    finally:
        one.sink.close()


def test_an_update_never_waits_for_glasses(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Order] = []

    def take(stage: Stage, now: float) -> Order | None:
        if (order := unwatched(stage, now)) is not None:
            taken.append(order)
        return order

    unwatched = Stage.take
    monkeypatch.setattr(Stage, "take", take)
    glasses = ActiveLookPeripheral()
    with worn("activelook", glasses) as one:
        glasses.mute = True
        begun = time.thread_time()
        for number in range(200):
            one.show(SMILE if number % 2 else UPSET)
        assert time.thread_time() - begun < 1
        assert len(taken) < 100, "newer ones took the place of most"
        glasses.mute = False
        one.radio.do(glasses.leave())


def test_a_low_battery_is_reported_once_and_again_only_after_it_was_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    glasses = ActiveLookPeripheral()
    with worn("activelook", glasses) as one:
        begun: list[str] = []
        monkeypatch.setattr(one.control, "begin_problem", begun.append)
        for level, count in ((50, 0), (14, 1), (13, 1), (16, 1), (12, 1), (30, 1), (9, 2)):
            one.radio.do(glasses.set_battery(level))
            wait_until(lambda level=level: one.report.battery == level)
            wait_until(lambda count=count: len(begun) == count, f"{level} %: {begun}")
        assert "has 14 % of its battery; charge it" in begun[0]


def test_only_the_pair_of_that_name_is_taken() -> None:
    other, ours = ActiveLookPeripheral("A.LooK 000666"), ActiveLookPeripheral("A.LooK 000123")
    with worn("activelook", ours, other) as one:
        one.hold(SMILE, lambda: shows(ours, SMILE))
        assert (ours.connections, other.connections) == (1, 0)
