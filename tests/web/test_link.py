"""The page's connection in a real Chromium: half dead, slow, behind a proxy, one too many, on a phone that slept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import (
    CHROMIUM,
    DESK,
    PATIENCE,
    PHONE,
    SILENT,
    Feed,
    chromium,
    feed,
    look_at,
    playwright,
    says,
    until,
    visit,
)
from tests.web.relay import Relay

__all__ = ["chromium", "feed", "visit"]  # fixtures

from edge.locale import read_locale
from edge.sinks.audio import AudioSettings
from edge.web import broadcast

pytestmark = pytest.mark.slow


@pytest.fixture
def relay() -> Iterator[Callable[..., Relay]]:
    made: list[Relay] = []

    def make(fed: Feed, path: str = "", headers: str = "") -> Relay:
        made.append(Relay(port_of(fed), path, headers))
        return made[-1]

    yield make
    for one in made:
        one.close()


def port_of(fed: Feed) -> int:
    return int(fed.sink.url.rstrip("/").rpartition(":")[2])


def count_links(page: Any) -> list[str]:
    made: list[str] = []
    page.on("websocket", lambda opened: made.append(opened.url))
    return made


@contextlib.contextmanager
def opened(chromium: Any, url: str) -> Iterator[Any]:
    """Open the page where a browser that complains is right to: it loses connections here."""
    with contextlib.closing(chromium.new_context(viewport=PHONE)) as context:
        page = context.new_page()
        page.goto(url)
        yield page


def test_a_line_that_dies_without_a_word_is_closed_and_another_one_opened(
    feed: Callable[..., Feed], relay: Callable[..., Relay], chromium: Any, tmp_path: Path
) -> None:
    line = relay(feed())
    with opened(chromium, line.url) as page:
        made = count_links(page)
        says(page, "#word", "smile")
        says(page, "#link", "Connected")
        line.silent = 10**6  # new ones bring nothing either: the network is away
        says(page, "#link", "Not connected")
        says(page, "#word", "")
        says(page, "#fps", "\u2013")
        assert page.locator("#sinks li").count() == 0
        assert page.locator("#pause").is_disabled()
        until(page, "linked === 'lost' && link !== null && link.readyState === 0")  # it tries
        says(page, "#link", "Not connected")
        look_at(page, tmp_path, "phone-silent")
        line.silent = line.opened
        says(page, "#word", "smile")
        says(page, "#link", "Connected")
        assert len(made) >= 1


def test_what_was_long_under_way_is_not_shown_as_new(
    feed: Callable[..., Feed], relay: Callable[..., Relay], chromium: Any, tmp_path: Path
) -> None:
    """Over a line that holds everything back for 2.5 s all news is old; the page reports that, and stays connected."""
    line = relay(feed())
    with opened(chromium, line.url) as page:
        says(page, "#word", "smile")
        line.delay = 2.5  # more than OUTDATED, well below OPENING
        page.evaluate(
            "window.shown = []; new MutationObserver(() => shown.push(at('word').textContent))"
            ".observe(at('word'), {childList: true, characterData: true, subtree: true})"
        )
        says(page, "#link", "Slow connection")
        says(page, "#sentence", "No data")
        page.evaluate("const heed = hear; hear = (held) => { link.brought = (link.brought || 0) + 1; heed(held); }; 0")
        until(page, "link !== null && link.brought > 2 && linked === 'slow'")  # one stays: none is opened ever again
        look_at(page, tmp_path, "phone-slow")
        assert page.evaluate("shown.filter((word) => word !== '')") == []
        line.delay = 0.0
        says(page, "#word", "smile")
        says(page, "#link", "Connected")


def test_a_phone_that_slept_believes_nothing_from_before(feed: Callable[..., Feed], visit: Callable[..., Any]) -> None:
    """The steady clock of some systems stands still in sleep; the other one shows it."""
    page = visit(feed().sink.url)
    made = count_links(page)
    says(page, "#word", "smile")
    before = len(made)
    slept = "const now = Date.now; Date.now = () => now() + 3600e3"
    assert page.evaluate(f"{slept}; link.onmessage = null; showCue(); watch(); [at('word').textContent, linked]") == [
        "",
        "lost",
    ]
    until(page, "spoke && linked === 'connected'")
    says(page, "#word", "smile")
    assert len(made) == before + 1


def test_a_page_that_nobody_sees_shows_nothing_and_makes_room(
    feed: Callable[..., Feed], visit: Callable[..., Any]
) -> None:
    fed = feed()
    page = visit(fed.sink.url)
    says(page, "#word", "smile")

    def hide(hidden: str) -> None:
        page.evaluate(f"Object.defineProperty(document, 'hidden', {{ get: () => {hidden}, configurable: true }})")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    hide("true")
    assert page.evaluate("[at('word').textContent, at('glyph').innerHTML]") == ["", ""]
    page.evaluate("rest()")  # after HIDDEN seconds
    assert page.evaluate("[linked, link]") == ["lost", None]
    hide("false")
    says(page, "#word", "smile")
    says(page, "#link", "Connected")


def test_back_from_another_page_nothing_old_is_shown(feed: Callable[..., Feed], visit: Callable[..., Any]) -> None:
    fed = feed()
    page = visit(fed.sink.url)
    says(page, "#word", "smile")
    page.goto("about:blank")
    fed.fed.clear()
    page.go_back()
    says(page, "#sentence", "No data")
    fed.fed.set()
    says(page, "#word", "smile")
    says(page, "#link", "Connected")


def test_the_newest_page_is_served_and_the_oldest_says_why_it_is_not(
    feed: Callable[..., Feed], visit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "WATCHERS", 2)
    for name in ("LATE", "STALLED"):
        monkeypatch.setattr(broadcast, name, PATIENCE)  # a busy machine's browser answers late
    fed = feed()
    pages = []
    for number in range(3):
        pages.append(visit(fed.sink.url))
        says(pages[number], "#link", "Connected")
        pages[number].evaluate("watch = () => {}; 0")  # none is opened again because the machine is busy
    says(pages[0], "#link", "Too many pages open")
    says(pages[0], "#why", "Close another page of Cuelens. This one continues by itself, or when you tap it.")
    says(pages[0], "#word", "")
    look_at(pages[0], tmp_path, "phone-full")
    pages[0].locator("h1").click()
    says(pages[0], "#word", "smile")
    says(pages[0], "#why", "")
    says(pages[1], "#link", "Too many pages open")
    pages[2].close()
    pages[1].evaluate("connect(true)")  # as it does by itself after a while
    says(pages[1], "#word", "smile")
    says(pages[0], "#link", "Connected")


@pytest.mark.parametrize("headers", ["", "\r\nX-Forwarded-Prefix: /glasses"], ids=["silent", "says its path"])
@pytest.mark.parametrize("token", ["", "correct horse battery"], ids=["open", "token"])
def test_below_a_path_of_a_proxy_the_whole_page_works(
    feed: Callable[..., Feed],
    relay: Callable[..., Relay],
    chromium: Any,
    tmp_path: Path,
    headers: str,
    token: str,
) -> None:
    fed = feed(tmp_path / "saved.toml", token=token)
    line = relay(fed, "/glasses", headers)
    with contextlib.closing(chromium.new_context(viewport=DESK)) as context:
        page = context.new_page()
        page.goto(line.url)
        if token:
            page.get_by_label("Token").fill(token)
            page.keyboard.press("Enter")
        says(page, "#word", "smile")
        page.locator("#pause:enabled").click()
        says(page, "#sentence", "Cuelens is paused.")
        page.get_by_label("Word below the sign").uncheck()
        page.locator("#save").click()
        says(page, "#saved", "Saved.")
        assert "words = false" in (tmp_path / "saved.toml").read_text()
        assert page.url == line.url


def test_an_address_that_the_glasses_do_not_know_is_reported_with_what_helps(
    feed: Callable[..., Feed], relay: Callable[..., Relay], chromium: Any, tmp_path: Path
) -> None:
    fed = feed()
    line = relay(fed, "/glasses")
    url = f"http://home.example:{line.port}/glasses/"
    mapped = [*SILENT, "--host-resolver-rules=MAP home.example 127.0.0.1"]
    with contextlib.closing(chromium.browser_type.launch(executable_path=CHROMIUM, args=mapped)) as browser:
        page = browser.new_context(viewport=PHONE).new_page()
        page.goto(url)
        says(
            page,
            "#why",
            f"The glasses do not know this address. Add it to names, under [web] in their settings file: {url[:-1]}",
        )
        says(page, "#link", "Not connected")
        look_at(page, tmp_path, "phone-foreign")
        known = relay(feed(names=(url[:-1],)), "/glasses")
        page.goto(url.replace(str(line.port), str(known.port)))
        says(page, "#word", "smile")


def test_a_proxy_that_passes_no_websocket_on_is_named_as_that(
    feed: Callable[..., Feed], relay: Callable[..., Relay], chromium: Any
) -> None:
    line = relay(feed())
    line.upgrades = False
    with opened(chromium, line.url) as page:
        says(page, "#why", read_locale("en").page["blocked_note"])
        says(page, "#link", "Not connected")
        line.upgrades = True
        says(page, "#link", "Connected")
        says(page, "#why", "")


def test_of_two_who_change_the_same_setting_one_is_warned(
    feed: Callable[..., Feed], visit: Callable[..., Any], tmp_path: Path
) -> None:
    fed = feed()
    page = visit(fed.sink.url, refused=1)
    page.locator("summary").click()
    field = page.locator("#cue-hold")
    field.fill("2")
    fed.control.change("cue", {"hold": 3.0})  # somebody else, while this one still types
    field.press("Enter")
    says(page, "#cue-hold-error", "Somebody else has changed this in the meantime. Check it, then change it again.")
    playwright.expect(field).to_have_value("3")
    field.scroll_into_view_if_needed()
    look_at(page, tmp_path, "phone-elsewhere")
    field.fill("2")
    field.press("Enter")
    says(page, "#cue-hold-error", "")
    assert fed.control.settings.cue.hold == 2.0


def test_who_changes_a_setting_many_times_is_nobody_else(feed: Callable[..., Feed], visit: Callable[..., Any]) -> None:
    fed = feed()
    page = visit(fed.sink.url)
    page.locator("#audio-volume").focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    until(page, "[...fields.values()].every((field) => !field.busy)")
    says(page, "#audio-volume-error", "")
    assert fed.control.settings.of(AudioSettings).volume == 0.38


def test_news_from_before_a_change_does_not_take_it_back(feed: Callable[..., Feed], visit: Callable[..., Any]) -> None:
    """News may be under way while a change is made and answered: it has the value from before."""
    fed = feed()
    page = visit(fed.sink.url)
    says(page, "#word", "smile")
    earlier = page.evaluate("({ ...fields.get('audio.volume').member })")
    page.locator("#audio-volume").focus()
    page.keyboard.press("ArrowRight")
    until(page, "[...fields.values()].every((field) => !field.busy)")
    until(page, "settingsVersion === 1")
    late = "(member) => { settingsVersion = 0; updateField(fields.get('audio.volume'), member); settingsVersion = 1; }"
    page.evaluate(late, earlier)
    assert page.locator("#audio-volume").input_value() == "0.31"
    page.evaluate("(member) => updateField(fields.get('audio.volume'), member)", earlier)  # somebody set it back
    assert page.locator("#audio-volume").input_value() == "0.3"
    page.evaluate("fields.get('audio.volume').version = 9; leave(0)")  # the device starts anew, and counts from 0
    until(page, "spoke && linked === 'connected' && fields.get('audio.volume').version === 0")


def test_a_page_whose_scripts_did_not_come_says_so(feed: Callable[..., Feed], chromium: Any, tmp_path: Path) -> None:
    fed = feed()
    with contextlib.closing(chromium.new_context(viewport=PHONE)) as context:
        page = context.new_page()
        page.route("**/page.js", lambda route: route.fulfill(status=503))
        page.goto(fed.sink.url)
        page.locator("#unscripted").wait_for(state="visible")
        says(page, "#unscripted", "This page did not load completely. Load it again.")
        says(page, "#link", "")
        look_at(page, tmp_path, "phone-unscripted")
        page.unroute("**/page.js")
        page.reload()
        says(page, "#word", "smile")
        assert page.locator("#unscripted").count() == 0
