"""Pairing from the page: found, chosen, remembered, on the virtual radio; nothing waits for it, strangers cannot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("bleak", reason="bleak is not installed; ./deploy.sh sinks adds it")
pytest.importorskip("uvicorn", reason="uvicorn is not installed; ./deploy.sh sinks adds it")
pytest.importorskip("websockets", reason="websockets is not installed; ./deploy.sh sinks adds it")
pytest.importorskip("bumble", reason="bumble is not installed; ./deploy.sh test adds it")

from bleak.exc import BleakBluetoothNotAvailableError, BleakBluetoothNotAvailableReason

from edge.errors import SettingsInvalid, SinkFailed
from edge.runtime.control import Control
from edge.sinks.glasses import visit
from edge.sinks.glasses.known import Glasses, glasses_file, load_glasses
from edge.sinks.web import WebSettings
from edge.web import pairing as pairing_module
from edge.web.pairing import Busy, Pairing
from tests.glasses.air import Air, AirRadio, Peripheral
from tests.glasses.peripherals import ActiveLookPeripheral
from tests.glasses.worn import wait_until
from tests.support.web import TOKEN, Page

ADDRESS = "F0:F1:00:00:00:08"


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put glasses in reach, and make a search as short as it can be to see them all."""
    search, pair, near = visit.search, visit.pair, list[Peripheral]()

    def search_briefly(makes: Any, seconds: float) -> Any:
        while len(found := search(makes, 0.5)) < len(near):
            pass
        return found

    def pair_again(makes: Any, name: str, seconds: float, look: Any) -> Any:
        while True:
            try:
                return pair(makes, name, 0.5, look)
            except SinkFailed as error:
                if not near or "in reach" not in str(error):
                    raise

    monkeypatch.setattr(visit, "search", search_briefly)
    monkeypatch.setattr(visit, "pair", pair_again)

    def put(*peripherals: Peripheral) -> None:
        near[:] = peripherals
        monkeypatch.setattr(visit, "Radio", lambda: AirRadio(*peripherals))

    return put


def finished(pairing: Pairing) -> dict[str, Any]:
    """Wait until a search or a pairing has ended; returns what the page shows then."""

    def message() -> dict[str, Any]:
        found = pairing.message()
        assert found is not None
        return found

    wait_until(lambda: message()["state"] not in ("searching", "pairing"))
    return message()


def test_glasses_are_found_chosen_and_remembered(near: Callable[..., None]) -> None:
    ours, other = ActiveLookPeripheral("Engo 1"), ActiveLookPeripheral("Engo 2")
    near(ours, other)
    pairing = Pairing(Control())
    assert pairing.message() == {"state": "idle", "found": [], "name": "", "error": ""}
    pairing.search()
    found = finished(pairing)["found"]
    assert sorted((one["name"], one["make"]) for one in found) == [("Engo 1", "activelook"), ("Engo 2", "activelook")]
    (address,) = (one["address"] for one in found if one["name"] == "Engo 1")
    pairing.pair(address)
    end = finished(pairing)
    assert (end["state"], end["name"], end["error"]) == ("paired", "Engo 1", "")
    assert load_glasses(glasses_file()) == (Glasses("activelook", address, "Engo 1"),)
    assert (ours.connections, other.connections) == (1, 0)


def test_nothing_in_reach_is_no_failure(near: Callable[..., None]) -> None:
    near()
    pairing = Pairing(Control())
    pairing.search()
    assert finished(pairing) == {"state": "found", "found": [], "name": "", "error": ""}


def test_what_was_not_found_is_not_paired() -> None:
    with pytest.raises(SettingsInvalid, match="was not found; search first"):
        Pairing(Control()).pair(ADDRESS)


def test_one_search_at_a_time_and_the_next_after_it(near: Callable[..., None]) -> None:
    near(ActiveLookPeripheral())
    pairing = Pairing(Control())
    pairing.search()
    with pytest.raises(Busy):
        pairing.search()
    finished(pairing)
    pairing.search()
    finished(pairing)


def test_glasses_that_left_are_reported_and_the_page_stays_usable(near: Callable[..., None]) -> None:
    near(ActiveLookPeripheral("Engo"))
    pairing = Pairing(Control())
    pairing.search()
    address = finished(pairing)["found"][0]["address"]
    near()
    pairing.pair(address)
    end = finished(pairing)
    assert (end["state"], end["name"]) == ("failed", "Engo")
    assert f"no {address} in reach" in end["error"]
    assert load_glasses(glasses_file()) == ()
    pairing.search()
    assert finished(pairing)["state"] == "found"


def test_a_fault_of_bluetooth_is_reported_with_what_to_do(
    near: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Air.__init__

    def made(self: Air) -> None:
        make(self)
        self.unavailable = BleakBluetoothNotAvailableError("off", BleakBluetoothNotAvailableReason.POWERED_OFF)

    monkeypatch.setattr(Air, "__init__", made)
    near(ActiveLookPeripheral())
    pairing = Pairing(Control())
    pairing.search()
    end = finished(pairing)
    assert end["state"] == "failed"
    assert "rfkill unblock" in end["error"]


def test_a_fault_of_ours_leaves_the_page_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(visit, "search", fail)
    pairing = Pairing(Control())
    pairing.search()
    assert finished(pairing)["error"] == "ZeroDivisionError: odd; a fault of ours, see cuelens report"


def test_without_bluetooths_library_or_a_place_to_remember_nothing_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Pairing(Control()).message() is not None
    with monkeypatch.context() as changed:
        changed.setattr(pairing_module, "find_spec", lambda _: None)
        assert Pairing(Control()).message() is None
    monkeypatch.setattr(pairing_module, "glasses_file", lambda: None)
    assert Pairing(Control()).message() is None


@pytest.fixture
def page() -> Iterator[Page]:
    served = Page(WebSettings(port=0, token=TOKEN))
    yield served
    served.sink.close()


def sign_in(page: Page) -> dict[str, str]:
    """Return the headers of a browser that is signed in."""
    return {"Cookie": page.ask("POST", "/login", token=TOKEN).headers["Set-Cookie"].partition(";")[0]}


def test_only_who_is_signed_in_may_search_or_pair(page: Page) -> None:
    for path, values in (("/glasses/search", {}), ("/glasses/pair", {"address": ADDRESS})):
        assert page.ask("POST", path, **values).status == 401
        assert page.ask("GET", path).status in (401, 405)
    signed_in = sign_in(page)
    assert page.ask("POST", "/glasses/search", headers=signed_in | {"Origin": "http://elsewhere"}).status == 403
    assert page.ask("POST", "/glasses/pair", headers=signed_in, address=7).status == 400
    answer = page.ask("POST", "/glasses/pair", headers=signed_in, address=ADDRESS)
    assert answer.status == 422
    assert "search first" in answer.text  # type: ignore[attr-defined]


def test_no_request_waits_for_a_search(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers of a search that hangs come at once, and the page's other requests are served."""
    release = threading.Event()

    def hang(*_: Any) -> list[Any]:
        release.wait(60)
        return []

    monkeypatch.setattr(visit, "search", hang)
    signed_in = sign_in(page)
    try:
        assert page.ask("POST", "/glasses/search", headers=signed_in).status == 204
        assert page.ask("POST", "/glasses/search", headers=signed_in).status == 409
        assert page.ask("GET", "/session", headers=signed_in).status == 204
        assert page.ask("POST", "/pause", headers=signed_in, paused=True).status == 204
    finally:
        release.set()
