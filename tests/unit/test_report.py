"""The page and pictures of an evaluation: whole, offline, and showing what was asked for."""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.errors import RuntimeMissing, SinkUnwritable
from lab.datasets.labelled import Labelled
from lab.reporting import pages
from lab.reporting.pages import encode, page, paragraph
from lab.reporting.plots import GALLERY, open_folder
from lab.scores import MEASURES, compare, cover, score
from training.report import choose_pictures, write_comparison, write_report

CLASSES = ("cat", "<b>dog</b> & $co", "a class whose name is rather long for any axis")
ABOUT = {
    "left_out": {"of_model": [], "of_data": [], "rows": 0, "answered": 0.0},
    "model": "model.keras",
    "bytes": 1234,
    "sha256": "0" * 64,
    "runtime": "keras 3",
}


class Images(HTMLParser):
    """Collects a page's pictures, with their alt texts, and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.alts: dict[str, str] = {}
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "img":
            given = dict(attrs)
            self.alts[given["src"] or ""] = given["alt"] or ""


def draw(accuracy: float, channels: int = 1, count: int = 90, seed: int = 0) -> tuple[Labelled, np.ndarray]:
    """Draw pictures, labels and probabilities whose top class is right with this chance."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    said = np.where(rng.random(count) < accuracy, labels, (labels + 1) % 3)
    sure = rng.uniform(0.5, 1, (count, 1))
    images = rng.integers(0, 256, (count, 12, 12) + (() if channels == 1 else (3,)))
    names = tuple(f"row {i}" for i in range(count))
    probabilities = np.eye(3)[said] * sure + (1 - np.eye(3)[said]) * (1 - sure) / 2
    return Labelled(images.astype(np.uint8), labels.astype(np.int64), names), probabilities


def evaluated(data: Labelled, probabilities: np.ndarray) -> dict[str, Any]:
    return ABOUT | score(probabilities, data.labels, CLASSES)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder for a report; skips where no plots can be drawn."""
    pytest.importorskip("matplotlib", reason="matplotlib is the host's")
    open_folder(tmp_path / "deep" / "report")
    return tmp_path / "deep" / "report"


@pytest.mark.parametrize(("accuracy", "channels"), [(0.7, 1), (0.7, 3), (1.0, 1), (0.0, 3)])
def test_every_picture_of_the_page_is_there_decodes_and_is_described(out: Path, accuracy: float, channels: int) -> None:
    data, probabilities = draw(accuracy, channels)
    result = evaluated(data, probabilities)
    write_report(out, result, data, probabilities, cover(probabilities, data.labels), "a split")
    assert json.loads((out / "report.json").read_text()) == result
    images = Images((out / "index.html").read_text()).alts
    written = {path.name for path in out.iterdir()} - {"report.json", "index.html", "mistakes.html"}
    assert set(images) == written
    assert {"reliability.png", "coverage.png", "confusion.png", "classes.png", "distribution.png"} <= written
    assert all(images.values())
    for name in written:
        picture = cv2.imread(str(out / name))
        assert picture is not None, name
        assert picture.std() > 0, name
    wrong = int((probabilities.argmax(axis=1) != data.labels).sum())
    assert sum(name.startswith("worst") for name in written) == min(wrong, GALLERY)
    assert sum(name.startswith("unsure") for name in written) == GALLERY


def test_the_page_asks_nothing_of_the_network_and_names_are_text_in_it(out: Path) -> None:
    data, probabilities = draw(0.5)
    write_report(
        out, evaluated(data, probabilities), data, probabilities, cover(probabilities, data.labels), "a <split>"
    )
    text = (out / "index.html").read_text()
    assert "http" not in text
    assert not Images(text).tags & {"script", "link", "b", "split"}
    assert "&lt;b&gt;dog&lt;/b&gt; &amp; $co" in text


def test_the_gallery_names_the_decision_how_sure_and_where_the_picture_is_from(out: Path) -> None:
    data, probabilities = draw(0.7)
    write_report(out, evaluated(data, probabilities), data, probabilities, cover(probabilities, data.labels), "a split")
    (worst, *_), _ = choose_pictures(probabilities, data.labels)
    alt = Images((out / "index.html").read_text()).alts["worst-01.png"]
    assert f"{probabilities[worst].max():.2f}" in alt
    assert CLASSES[probabilities[worst].argmax()] in alt
    assert alt.endswith(f"labelled {CLASSES[data.labels[worst]]}")
    assert f"<small>row {worst}</small>" in (out / "index.html").read_text()
    shown = cv2.imread(str(out / "worst-01.png"), cv2.IMREAD_GRAYSCALE)
    times = shown.shape[0] // 12
    small = cv2.resize(shown, (12, 12), interpolation=cv2.INTER_AREA)
    assert times >= 8
    assert np.corrcoef(small.ravel(), data.images[worst].ravel())[0, 1] > 0.9


def test_forty_classes_still_make_a_report(out: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 40
    probabilities = rng.dirichlet(np.ones(40), 80)
    data = Labelled(rng.integers(0, 256, (80, 8, 8)).astype(np.uint8), labels)
    result = ABOUT | score(probabilities, labels, [f"class {i}" for i in range(40)])
    write_report(out, result, data, probabilities, cover(probabilities, labels), "a split")
    assert (out / "index.html").is_file()


def test_a_comparison_shows_every_model_and_its_verdict(out: Path) -> None:
    data, first = draw(0.7)
    _, second = draw(0.5, seed=1)
    results = [evaluated(data, first) | {"model": "first.keras"}, evaluated(data, second) | {"model": "x/second.keras"}]
    comparison = {"draws": 2000, "models": compare(results, [first, second], data.labels)}
    write_comparison(out, comparison, MEASURES, ["the second is <worse>"], "a split")
    assert json.loads((out / "report.json").read_text()) == comparison
    text = (out / "index.html").read_text()
    assert "the second is &lt;worse&gt;" in text
    assert all(f"<td>{name}</td>" in text for name in ("first.keras", "x/second.keras"))
    (alt,) = Images(text).alts.values()
    assert f"accuracy {results[1]['accuracy']:.4f}" in alt
    assert cv2.imread(str(out / "intervals.png")).std() > 0


def test_the_worst_mistakes_come_surest_first_and_the_least_sure_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.55, 0.45], [0.3, 0.7]])
    worst, unsure = choose_pictures(probabilities, np.array([0, 1, 0, 0, 0]))
    assert worst.tolist() == [2, 4, 1]
    assert unsure.tolist() == [3, 1, 4, 2, 0]


def test_colours_are_written_as_they_are_and_large_pictures_are_not_enlarged() -> None:
    red = np.zeros((200, 200, 3), np.uint8)
    red[..., 0] = 255
    picture = cv2.imdecode(np.frombuffer(encode(red), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (200, 200, 3)
    assert picture[0, 0].tolist() == [0, 0, 255]


def test_a_page_escapes_all_but_the_markup_of_its_templates() -> None:
    pytest.importorskip("jinja2", reason="jinja2 is the host's")
    text = page("<script>", [("one & two", paragraph("<b>three\x1b"))])
    assert "<script>" not in text
    assert "<h2>one &amp; two</h2><p>&lt;b&gt;three\\x1b</p>" in text
    assert "&lt;p&gt;four" in page("", [("", "<p>four</p>")])  # type: ignore[list-item]


def test_without_jinja_a_page_shows_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    pages._environment.cache_clear()
    with pytest.raises(RuntimeMissing, match=r"deploy\.sh host"):
        paragraph("one")


def test_a_report_in_the_place_of_a_file_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is the host's")
    (tmp_path / "taken").write_text("")
    with pytest.raises(SinkUnwritable, match="taken"):
        open_folder(tmp_path / "taken")


@pytest.mark.skipif(find_spec("matplotlib") is not None, reason="matplotlib is installed here")
def test_without_matplotlib_a_report_shows_what_to_do_and_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissing, match=r"deploy\.sh host"):
        open_folder(tmp_path / "report")
    assert not (tmp_path / "report").exists()
