"""The page in a real Chromium: what is seen, clicked and typed, on a phone and beside a browser that stalls."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest

from edge.runtime.links import LinkReport
from edge.runtime.metrics import SinkMetrics
from edge.sinks.audio import AudioSettings
from edge.sinks.glasses.known import glasses_file, load_glasses
from edge.sinks.web import WebSink
from tests.support.browser import (
    CUES,
    DESK,
    PATIENCE,
    PHONE,
    TOKEN,
    Feed,
    chromium,
    feed,
    look_at,
    playwright,
    says,
    until,
    visit,
)

__all__ = ["chromium", "feed", "visit"]  # fixtures

pytestmark = pytest.mark.slow

NARROW = {"width": 320, "height": 568}
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3
LEAST_TARGET = 24  # pixels; WCAG 2.2, 2.5.8

SENTENCES = {
    "smile": "The face shows a smile, on the left.",
    "surprise": "The face shows surprise.",
    "upset": "The face looks upset, on the right.",
    "neutral": "The face is neutral.",
    "new": "A face is turned to you, far away, straight ahead.",
    "poor": "Unsure: the face is not clear enough, on the right.",
    "no_face": "There is no face.",
    "no_camera": "The camera gives no picture.",
}


def test_a_phone_shows_each_cue_large_and_never_wider_than_itself(
    feed: Callable[..., Feed], visit: Callable[..., Any], tmp_path: Path
) -> None:
    fed = feed()
    page = visit(fed.sink.url)
    heights = set()
    for name, cue in CUES.items():
        fed.cue = cue
        says(page, "#sentence", SENTENCES[name])
        look_at(page, tmp_path, f"phone-{name}")
        heights.add(page.locator("#pause").bounding_box()["y"])
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        if name in ("smile", "surprise", "upset"):
            box = page.locator("#glyph").bounding_box()
            assert box["width"] >= PHONE["width"] * 0.5
            assert float(page.locator("#word").evaluate("e => getComputedStyle(e).fontSize").removesuffix("px")) >= 40
    assert len(heights) == 1  # the button stays under the thumb
    assert heights.pop() < PHONE["height"] - 52


@pytest.mark.parametrize("language", ["en", "de", "es", "fr"])
@pytest.mark.parametrize("viewport", [NARROW, PHONE, DESK], ids=["narrow", "phone", "desk"])
def test_the_whole_page_fits_in_every_language(
    feed: Callable[..., Feed], visit: Callable[..., Any], tmp_path: Path, language: str, viewport: dict[str, int]
) -> None:
    fed = feed(picture=True)
    fed.cue = CUES["surprise"]
    fed.control.change("look", {"language": language})
    page = visit(fed.sink.url, viewport)
    playwright.expect(page.locator("html")).to_have_attribute("lang", language)
    page.locator("#show-picture").check()
    page.locator("#canvas").wait_for(state="visible")
    page.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    cut = page.evaluate(
        "[...document.querySelectorAll('p, label, span, dt, dd, button, legend, h1, h2, select')]"
        ".filter(e => e.offsetParent && !e.classList.contains('unseen') && e.scrollWidth > e.clientWidth + 1"
        " && getComputedStyle(e).display !== 'inline').map(e => e.textContent)"
    )
    assert cut == []
    look_at(page, tmp_path, f"{language}-{viewport['width']}", full_page=True)


def test_the_picture_has_boxes_and_goes_when_it_is_turned_off(
    feed: Callable[..., Feed], visit: Callable[..., Any], tmp_path: Path
) -> None:
    page = visit(feed(picture=True).sink.url, DESK)
    assert page.locator("#canvas").is_hidden()
    page.locator("#show-picture").check()
    page.locator("#canvas").wait_for(state="visible")
    white = (
        "document.getElementById('canvas').getContext('2d').getImageData(0, 0, 640, 480).data.filter(v => v === 255)"
    )
    assert page.evaluate(f"{white}.length > 640 * 480 + 1000")  # more than every pixel's opacity
    look_at(page, tmp_path, "desk-picture")
    page.locator("#show-picture").uncheck()
    page.locator("#canvas").wait_for(state="hidden")


def test_without_leave_there_is_no_picture_to_turn_on(feed: Callable[..., Feed], visit: Callable[..., Any]) -> None:
    page = visit(feed(picture=False).sink.url)
    page.locator("#settings").wait_for(state="visible")
    assert page.locator("#picture").is_hidden()


def test_the_pause_is_clicked_here_and_seen_there(
    feed: Callable[..., Feed], visit: Callable[..., Any], tmp_path: Path
) -> None:
    fed = feed()
    one, other = visit(fed.sink.url), visit(fed.sink.url, DESK)
    one.locator("#pause:enabled").click()
    for page in (one, other):
        says(page, "#sentence", "Cuelens is paused.")
        says(page, "#pause", "Resume")
    assert fed.control.paused is True
    look_at(one, tmp_path, "phone-paused")
    other.locator("#pause").click()
    for page in (one, other):
        says(page, "#word", "smile")
        says(page, "#pause", "Pause")
    assert fed.control.paused is False


def test_settings_are_changed_here_seen_there_and_saved(
    feed: Callable[..., Feed], visit: Callable[..., Any], tmp_path: Path
) -> None:
    fed = feed(tmp_path / "saved.toml")
    one, other = visit(fed.sink.url), visit(fed.sink.url, DESK)
    one.get_by_label("Sensitivity").select_option("calm")
    playwright.expect(other.locator("#cue-sensitivity")).to_have_value("calm")
    one.get_by_label("Word below the sign").uncheck()
    says(other, "#word", "")
    one.get_by_label("Language").select_option("de")
    for page in (one, other):
        says(page, "#sentence", "Das Gesicht zeigt ein Lächeln, links.")
        playwright.expect(page.locator("html")).to_have_attribute("lang", "de")
        says(page, "#pause", "Pause")
        says(page, "#settings-title", "Einstellungen")
    assert fed.control.settings.cue.sensitivity == "calm"
    assert (fed.control.settings.look.language, fed.control.settings.look.words) == ("de", False)
    one.get_by_role("button", name="Speichern").click()
    says(one, "#saved", "Gespeichert.")
    saved = (tmp_path / "saved.toml").read_text()
    assert 'language = "de"' in saved
    assert 'sensitivity = "calm"' in saved


def test_a_value_that_is_not_valid_is_answered_beside_its_field(
    feed: Callable[..., Feed], visit: Callable[..., Any], tmp_path: Path
) -> None:
    fed = feed()
    before = fed.control.settings.cue.hold
    page = visit(fed.sink.url, refused=1)
    page.locator("summary").click()
    field = page.locator("#cue-hold")
    field.fill("99")
    field.press("Enter")
    says(page, "#cue-hold-error", "cue.hold is 99; valid are 0.0 to 10.0 s")
    playwright.expect(field).to_have_attribute("aria-invalid", "true")
    assert fed.control.settings.cue.hold == before
    field.scroll_into_view_if_needed()
    look_at(page, tmp_path, "phone-invalid")
    field.fill("0.9")
    field.press("Enter")
    says(page, "#cue-hold-error", "")
    playwright.expect(field).to_have_attribute("aria-invalid", "false")
    assert fed.control.settings.cue.hold == 0.9


def test_saving_without_a_file_states_what_to_do(feed: Callable[..., Feed], visit: Callable[..., Any]) -> None:
    page = visit(feed().sink.url, refused=1)
    page.locator("#save").click()
    says(page, "#save-error", "settings cannot be saved: no file for that; start with --saved FILE")


def test_what_stops_coming_is_taken_away(feed: Callable[..., Feed], visit: Callable[..., Any], tmp_path: Path) -> None:
    fed = feed(picture=True)
    page = visit(fed.sink.url)
    page.locator("#show-picture").check()
    page.locator("#canvas").wait_for(state="visible")
    says(page, "#word", "smile")
    fed.fed.clear()  # the loop stalls, the server does not
    says(page, "#sentence", "No data")
    says(page, "#word", "")
    playwright.expect(page.locator("#stale-for")).to_have_text(re.compile(r"^for \d+ s$"))
    assert page.locator("#glyph").inner_html() == ""
    assert page.locator("#canvas").is_hidden()
    look_at(page, tmp_path, "phone-stale")
    fed.fed.set()
    says(page, "#word", "smile")


def test_a_device_that_is_gone_is_reported_and_found_again(
    feed: Callable[..., Feed], chromium: Any, tmp_path: Path
) -> None:
    # Not by the fixture: a browser that loses its server complains, and is to.
    fed = feed()
    port = int(fed.sink.url.rstrip("/").rpartition(":")[2])
    with contextlib.closing(chromium.new_context(viewport=PHONE)) as context:
        page = context.new_page()
        page.goto(fed.sink.url)
        says(page, "#word", "smile")
        fed.close()
        says(page, "#link", "Not connected")
        says(page, "#sentence", "No data")
        assert page.locator("#pause").is_disabled()
        look_at(page, tmp_path, "phone-lost")
        again = Feed(None)
        again.sink.close()
        again.sink = WebSink(str(port), again.control)
        try:
            says(page, "#word", "smile")
            says(page, "#link", "Connected")
        finally:
            again.close()


def test_a_screen_reader_hears_the_sentence_only_when_it_changes(
    feed: Callable[..., Feed], visit: Callable[..., Any]
) -> None:
    fed = feed()
    page = visit(fed.sink.url)
    says(page, "#sentence", "The face shows a smile, on the left.")
    page.evaluate(
        "window.spoken = []; new MutationObserver(() => spoken.push(document.getElementById('sentence').textContent))"
        ".observe(document.getElementById('sentence'), {childList: true, characterData: true, subtree: true})"
    )
    before = page.evaluate("document.getElementById('sentence').getAttribute('aria-live')")
    assert before == "polite"
    page.evaluate("window.came = 0; const heed = hear; hear = (held) => { came += 1; heed(held); }; 0")
    until(page, "came >= 10")  # pieces of news that change nothing
    fed.cue = CUES["upset"]
    says(page, "#sentence", SENTENCES["upset"])
    spoken = [SENTENCES["smile"], *page.evaluate("spoken")]
    assert all(before != after for before, after in pairwise(spoken))
    known = [sentence for sentence, _ in groupby(one for one in spoken if one != "No data")]  # as on a busy machine
    assert known == [SENTENCES["smile"], SENTENCES["upset"]]


def test_everything_has_a_name_and_a_place_for_a_screen_reader(
    feed: Callable[..., Feed], visit: Callable[..., Any]
) -> None:
    page = visit(feed(picture=True).sink.url)
    page.locator("summary").click()
    tree = page.locator("body").aria_snapshot()
    for line in ("- banner:", "- main:", '- region "Cue"', '- region "Settings"', '- heading "Cuelens" [level=1]'):
        assert line in tree
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, select')].filter(e =>"
        " !(e.labels && e.labels.length && e.labels[0].textContent.trim()) && !e.textContent.trim()).map(e => e.id)"
    )
    assert nameless == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len({*ids})


def test_keys_alone_do_it_all_and_the_focus_is_seen(
    feed: Callable[..., Feed], visit: Callable[..., Any], tmp_path: Path
) -> None:
    fed = feed(tmp_path / "saved.toml", picture=True)
    page = visit(fed.sink.url)
    page.locator("#pause:enabled").wait_for()

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                assert outline != "none"
                return
        raise AssertionError(f"no way to {selector}")

    tab_to("#pause")
    look_at(page, tmp_path, "phone-focus")
    page.keyboard.press("Space")
    says(page, "#sentence", "Cuelens is paused.")
    page.keyboard.press("Enter")
    says(page, "#word", "smile")
    tab_to("#show-picture")
    page.keyboard.press("Space")
    page.locator("#canvas").wait_for(state="visible")
    tab_to("#look-words")
    page.keyboard.press("Space")
    says(page, "#word", "")
    tab_to("#audio-volume")
    page.keyboard.press("ArrowRight")
    tab_to("summary")
    page.keyboard.press("Enter")
    tab_to("#cue-hold")
    page.keyboard.press("Control+a")
    page.keyboard.type("1.5")
    tab_to("#save")
    page.keyboard.press("Enter")
    says(page, "#saved", "Saved.")
    settings = fed.control.settings
    assert (settings.look.words, settings.of(AudioSettings).volume, settings.cue.hold) == (False, 0.31, 1.5)


CONTRASTS = """() => {
  const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const values = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const v = values(getComputedStyle(e).backgroundColor);
      if (v.length === 3 || v[3] > 0) return v;
    }
  };
  return [...document.querySelectorAll('body *')]
    .filter((e) => e.offsetParent && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
    .map((e) => {
      const [a, b] = [light(values(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
      return [e.textContent, (a + 0.05) / (b + 0.05)];
    });
}"""


def test_every_text_stands_out_and_every_target_can_be_hit(
    feed: Callable[..., Feed], visit: Callable[..., Any]
) -> None:
    fed = feed(picture=True)
    page = visit(fed.sink.url)
    page.locator("summary").click()
    for name in ("smile", "surprise", "upset", "poor"):
        fed.cue = CUES[name]
        says(page, "#sentence", SENTENCES[name])
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 50
        assert [text for text, contrast in contrasts if contrast < LEAST_CONTRAST] == []
    small = page.evaluate(
        "least => [...document.querySelectorAll('button, input, select, summary')].filter(e =>"
        " e.offsetParent && Math.min(e.offsetWidth, e.offsetHeight) < least).map(e => e.id)",
        LEAST_TARGET,
    )
    assert small == []


def test_nothing_moves_for_who_wants_no_motion(feed: Callable[..., Feed], visit: Callable[..., Any]) -> None:
    page = visit(feed().sink.url, reduced_motion="reduce")
    says(page, "#word", "smile")
    assert page.evaluate("document.getAnimations().length") == 0


def test_a_browser_that_stalls_costs_the_other_nothing(feed: Callable[..., Feed], visit: Callable[..., Any]) -> None:
    fed = feed(picture=True)
    stalled, lively = visit(fed.sink.url), visit(fed.sink.url, DESK)
    for page in (stalled, lively):
        says(page, "#word", "smile")
    # Its script stands still for longer than the test looks, as on a phone that is put away.
    stalled.evaluate("setTimeout(() => { const end = Date.now() + 6000; while (Date.now() < end); }, 0)")
    for name in ("upset", "surprise", "smile") * 3:
        fed.cue = CUES[name]
        says(lively, "#word", name)
    says(stalled, "#link", "Connected")
    says(stalled, "#word", "smile")


def test_signing_in_is_needed_once_and_leads_to_the_page(
    feed: Callable[..., Feed], chromium: Any, tmp_path: Path
) -> None:
    # Not by the fixture: a wrong token is an answer of 403, which Chromium notes as a failed load.
    fed = feed(token=TOKEN)
    with contextlib.closing(chromium.new_context(viewport=PHONE, locale="de-DE")) as context:
        page = context.new_page()
        page.goto(fed.sink.url)
        assert page.url == f"{fed.sink.url}login"
        playwright.expect(page.locator("html")).to_have_attribute("lang", "de")
        page.get_by_label("Schlüsselwort").fill("wrong")
        page.keyboard.press("Enter")
        says(page, "#error", "Das ist nicht das Schlüsselwort.")
        look_at(page, tmp_path, "phone-login")
        page.get_by_label("Schlüsselwort").fill(TOKEN)
        page.get_by_role("button", name="Anmelden").click()
        says(page, "#word", "smile")
        assert page.url == fed.sink.url
        (cookie,) = context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"]) == (True, "Strict", -1)
        assert TOKEN not in json.dumps(cookie)
        page.goto(fed.sink.url)
        says(page, "#word", "smile")


def test_glasses_are_searched_for_and_paired_while_the_cue_goes_on(
    feed: Callable[..., Feed], visit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bleak", reason="bleak is not installed; ./deploy.sh sinks adds it")
    pytest.importorskip("bumble", reason="bumble is not installed; ./deploy.sh test adds it")
    from edge.sinks.glasses import visit as visits
    from tests.glasses.air import AirRadio
    from tests.glasses.peripherals import ActiveLookPeripheral

    glasses = ActiveLookPeripheral("Engo $& 2")
    monkeypatch.setattr(visits, "Radio", lambda: AirRadio(glasses))
    released, search = threading.Event(), visits.search

    def search_long(makes: Any, seconds: float) -> Any:
        released.wait(PATIENCE)
        while not (found := search(makes, 2.0)):  # a busy machine may take longer to advertise
            pass
        return found

    monkeypatch.setattr(visits, "search", search_long)
    fed = feed()
    page = visit(fed.sink.url)
    page.locator("#search").click()
    says(page, "#pairing", "Searching for ten seconds.")
    assert page.locator("#search").is_disabled()
    fed.cue = CUES["upset"]
    says(page, "#sentence", SENTENCES["upset"])
    assert page.locator("#search").is_disabled(), "the cue came while the search went on"
    released.set()
    says(page, "#pairing", "Choose yours. The nearest is first.")
    look_at(page, tmp_path, "glasses-found", full_page=True)
    page.get_by_role("button", name="Pair with Engo $& 2").click()
    page.get_by_text("Paired with Engo $& 2. They are remembered.").wait_for(timeout=60_000)
    assert [known.name for known in load_glasses(glasses_file())] == ["Engo $& 2"]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_link_and_the_battery_of_what_is_worn_are_shown(
    feed: Callable[..., Feed], visit: Callable[..., Any]
) -> None:
    fed = feed()
    assert fed.control.metrics is not None
    fed.control.metrics.sinks["glasses:halo"] = SinkMetrics()
    link = fed.control.links["glasses:halo"] = LinkReport("halo", "Halo 08", "connected", battery=61)
    page = visit(fed.sink.url)
    worn = page.locator("#sinks li").nth(2)
    playwright.expect(worn).to_have_text("glassesworksHalo 08, battery 61 %")
    link.state, link.error = "lost", "Halo 08 is out of reach, or off; come nearer, or turn it on"
    playwright.expect(worn).to_have_attribute("data-state", "lost")
    playwright.expect(worn).to_contain_text("connection lost")
    playwright.expect(worn).to_contain_text("come nearer, or turn it on")
