"""The page for Even G2 in a real Chromium, with an app that notes what the page asks of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from edge.drawing.glyphs import draw_plan, plan_cue
from edge.settings import LookSettings
from edge.types import Cue
from edge.web.news import G2_HEIGHT, G2_WIDTH
from tests.support.browser import CUES, PATIENCE, Feed, chromium, feed, says, visit

__all__ = ["chromium", "feed", "visit"]
pytestmark = pytest.mark.slow

APP = """window.asked = [];
const callHandler = async (name, message) => { window.asked.push([name, message]); return 0; };
window.flutter_inappwebview = { callHandler };
"""
LOOK = LookSettings(arrow=True)


def pictures(page: Any) -> list[np.ndarray[Any, Any]]:
    """Return the pictures that the app was given for the glasses, the newest last."""
    calls = [json.loads(message) for name, message in page.evaluate("window.asked") if name == "evenAppMessage"]
    found = [call["data"]["imageData"] for call in calls if call["method"] == "updateImageRawData"]
    return [np.asarray(cv2.imdecode(np.asarray(data, np.uint8), cv2.IMREAD_UNCHANGED)) for data in found]


def expected(cue: Cue) -> np.ndarray[Any, Any]:
    return draw_plan(plan_cue(cue, LOOK), G2_WIDTH, G2_HEIGHT, "gray")


def wait_for(page: Any, holds: Callable[[list[np.ndarray[Any, Any]]], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds(pictures(page)):
        assert time.monotonic() < end, f"never; {len(pictures(page))} pictures"
        page.wait_for_timeout(50)


def test_the_app_is_given_each_cues_picture_and_nothing_when_nothing_is_known(
    feed: Callable[..., Feed], chromium: Any
) -> None:
    fed = feed()
    page = chromium.new_context().new_page()
    page.add_init_script(APP)
    page.goto(f"{fed.sink.url}g2")
    for name in ("smile", "upset"):
        fed.cue = CUES[name]
        wait_for(page, lambda given, cue=fed.cue: bool(given) and np.array_equal(given[-1], expected(cue)))
    first = json.loads(page.evaluate("window.asked[0][1]"))
    assert (first["type"], first["method"]) == ("call_even_app_method", "createStartUpPageContainer")
    assert sum(one["isEventCapture"] for one in first["data"]["textObject"]) == 1
    assert sum('"createStartUp' in message for _, message in page.evaluate("window.asked")) == 1
    fed.fed.clear()
    wait_for(page, lambda given: not given[-1].any())
    says(page, "#sentence", "No data")
    fed.fed.set()
    wait_for(page, lambda given: np.array_equal(given[-1], expected(CUES["upset"])))
    fed.sink.close()
    wait_for(page, lambda given: not given[-1].any())
    page.context.close()


def test_without_the_app_it_is_a_page_like_another(feed: Callable[..., Feed], visit: Callable[..., Any]) -> None:
    fed = feed()
    page = visit(fed.sink.url)
    page.goto(f"{fed.sink.url}g2")
    says(page, "#sentence", "The face shows a smile, on the left.")
    lit = "c => c.getContext('2d').getImageData(0, 0, 576, 288).data.some((v, i) => i % 4 === 1 && v > 200)"
    end = time.monotonic() + PATIENCE
    while not page.locator("#canvas").evaluate(lit):
        assert time.monotonic() < end, "the canvas stays dark"
        page.wait_for_timeout(50)
