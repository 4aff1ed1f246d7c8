"""The page of a conversion: its numbers are the report's, its pictures are there, and its names are only text."""

from __future__ import annotations

import base64
import json
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from converter.report import write_report
from converter.report_plots import plot_layers
from edge.errors import SinkUnwritable
from lab.reporting.plots import GALLERY

pytest.importorskip("matplotlib", reason="matplotlib is the host's")

VOID = {"meta", "img", "br"}
JUDGED = "tflite-runtime 2.14.0, built-in kernels, x86_64"
OTHER = "ai-edge-litert 2.3.0, XNNPACK, x86_64"
PLOTS = ("layers", "classes", "confidence", "reliability", "runtimes")


class Page(HTMLParser):
    """Collects a page's words, pictures with alt texts and tags, and holds its tags to be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words, self.tags, self._open = "", set[str](), list[str]()
        self.alts: dict[str, str] = {}  # by the plot's name; of other pictures by their number
        self.pictures: dict[str, bytes] = {}
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "img":
            given = dict(attrs)
            kind, _, content = (given["src"] or "").partition(",")
            assert kind == "data:image/png;base64", given["src"]
            alt = given["alt"] or ""
            plot = alt.partition(":")[0]
            name = plot if plot in PLOTS else f"flip {len(self.alts)}"
            self.alts[name], self.pictures[name] = alt, base64.b64decode(content)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.replace("\N{NO-BREAK SPACE}", " ") + "\n"


def draw(classes: int, channels: int = 1, count: int = 80, noise: float = 0.1) -> dict[str, np.ndarray]:
    """Draw pictures, labels, and the probabilities of a float network and of its int8 file, noisier by `noise`."""
    rng = np.random.default_rng(0)
    shape = (count, 12, 12) if channels == 1 else (count, 12, 12, channels)
    logits = rng.normal(size=(count, classes))

    def softmax(values: np.ndarray) -> np.ndarray:
        return np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)

    return {
        "images": rng.integers(0, 256, shape).astype(np.uint8),
        "labels": rng.integers(classes, size=count),
        "real": softmax(logits),
        "quantised": softmax(logits + rng.normal(size=logits.shape) * noise),
    }


def runtime(name: str, classes: list[str], flips: int) -> dict[str, Any]:
    row = {"rows": 40, "recall_float": 0.5175, "recall_int8": 0.5053, "agreement": 0.9625}
    return {
        "runtime": name,
        "rows": 80,
        "accuracy": 0.6123,
        "interval": [0.5012, 0.7134],
        "ece": 0.0456,
        "loss": 0.0123,
        "loss_interval": [-0.0234, 0.0345],
        "agreement": 0.9375,
        "flips": flips,
        "confidence_drift": {"mean": 0.0071, "p95": 0.0202, "largest": 0.0903},
        "largest_logit_difference": {"value": 1.25, "row": 17, "class": classes[1]},
        "classes": {each: row | {"difference": -0.0122, "difference_interval": [-0.0301, 0.0042]} for each in classes},
        "against_judged": {"rows": 80, "equal_bytes": 1.0, "largest_steps": 0, "argmax_flips": 0},
    }


def build(classes: list[str], flips: int = 5) -> dict[str, Any]:
    """Build the report of a small conversion."""
    layer = {
        "operator": "CONV_2D",
        "snr_db": 41.5,
        "added_noise": 0.0,
        "clipped": 0.0,
        "levels": 251,
        "kept_float": False,
    }
    other = runtime(OTHER, classes, flips)
    other["against_judged"] = {"rows": 64, "equal_bytes": 0.8125, "largest_steps": 3, "argmax_flips": 2}
    return {
        "format": 1,
        "model": "emotion",
        "keras_sha256": "4" * 64,
        "tflite_sha256": "7" * 64,
        "bytes": {"float": 1731980, "int8": 465224},
        "recipe": {"calibration": 1000, "ranges": "mse", "bias_correction": True},
        "split": "PublicTest",
        "rows": 80,
        "classes": classes,
        "float": {"accuracy": 0.6246, "interval": [0.5134, 0.7245], "ece": 0.0234, "confidence": 0.66},
        "judged": JUDGED,
        "runtimes": [runtime(JUDGED, classes, flips), other],
        "not_measured": ["aarch64: no emulated root; ./deploy.sh arm64 makes one"],
        "layers": [
            layer | {"layer": "rescaling", "operator": "QUANTIZE", "snr_db": 120.0},
            layer | {"layer": "re_lu_9", "snr_db": 33.25, "added_noise": 0.00047, "clipped": 0.00321},
            layer | {"layer": "dense", "levels": None, "kept_float": True},
        ],
        "worst_layer": "re_lu_9",
        "worst_class": classes[0],
        "operators": [{"operator": "CONV_2D", "version": 3, "count": 12, "most": 8}],
        "gate": {
            "least_agreement": 0.93,
            "most_loss": 0.015,
            "most_drift": 0.05,
            "agreement": 0.9375,
            "loss": 0.0123,
            "drift": 0.0071,
            "passed": True,
        },
    }


def written(out: Path, report: dict[str, Any], arrays: dict[str, np.ndarray]) -> Page:
    write_report(out, report, **arrays)
    return Page((out / "report.html").read_text())


@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (7, 3)])
def test_every_picture_of_the_page_is_there_described_and_not_blank(
    tmp_path: Path, classes: int, channels: int
) -> None:
    out, report, arrays = (
        tmp_path / "deep" / "out",
        build([f"class {i}" for i in range(classes)]),
        draw(classes, channels),
    )
    shown = written(out, report, arrays)
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json"]
    assert json.loads((out / "report.json").read_text()) == report
    assert set(PLOTS) <= set(shown.alts)
    assert all(shown.alts.values())
    for name, content in shown.pictures.items():
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert content.startswith(b"\x89PNG"), name
        assert picture.std() > 1, name
    flips = (arrays["real"].argmax(axis=1) != arrays["quantised"].argmax(axis=1)).sum()
    assert 0 < sum(name.startswith("flip") for name in shown.alts) == min(flips, GALLERY)


def test_the_verdict_says_what_is_lost_where_and_for_which_size(tmp_path: Path) -> None:
    words = written(tmp_path, build(["fear", "joy"]), draw(2)).words
    assert (
        "Passed: on 80 pictures of PublicTest the int8 file loses 1.23 points of accuracy (95 % interval -2.34 to "
        "3.45) and decides as the float network does on 93.75% (5 decisions differ), in 465,224 bytes instead of "
        "1,731,980 (3.7 times smaller); the layer that adds the most noise is re_lu_9 (signal to noise 33.2 dB); the "
        "class agreed on least is fear (96.25%, accuracy -1.22 points, -3.01 to 0.42)."
    ) in words
    assert "at least 93.00% and got 93.75%, for a loss of at most 1.50 points and got 1.23, and for a mean" in words


def test_a_conversion_refused_for_its_drift_shows_the_limit_that_it_broke(tmp_path: Path) -> None:
    report = build(["fear", "joy"])
    report["gate"] |= {"drift": 0.0612, "passed": False}
    words = written(tmp_path, report, draw(2)).words
    assert "Failed: on 80 pictures" in words
    assert "for a mean drift of confidence of at most 0.0500 and got 0.0612" in words


def test_a_failed_conversion_that_gains_says_both(tmp_path: Path) -> None:
    report = build(["fear", "joy"])
    report["gate"]["passed"] = False
    report["runtimes"][0] |= {"loss": -0.0123, "loss_interval": [-0.0345, 0.0234]}
    words = written(tmp_path, report, draw(2)).words
    assert "Failed: on 80 pictures" in words
    assert "gains 1.23 points of accuracy (95 % interval -2.34 to 3.45)" in words


def test_the_tables_hold_the_reports_numbers(tmp_path: Path) -> None:
    write_report(tmp_path, build(["fear", "joy"]), **draw(2))
    text = (tmp_path / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")

    def row(*cells: str) -> str:
        return "".join(f"<td>{cell}</td>" for cell in cells)

    accuracy, loss = "61.23 (50.12 to 71.34)", "1.23 (-2.34 to 3.45)"
    for cells in (
        ("float network", "62.46 (51.34 to 72.45)", *"\N{EN DASH}" * 5, "80"),
        (f"{JUDGED} (judged by)", accuracy, loss, "93.75", "100.00", "0", "0", "80"),
        (OTHER, accuracy, loss, "93.75", "81.25", "3", "2", "80, 64 compared"),
        ("rescaling", "QUANTIZE", "120.0", "0.000", "0.000", "251", "int8"),
        ("re_lu_9", "CONV_2D", "33.2", "0.047", "0.321", "251", "int8"),
        ("dense", "CONV_2D", "41.5", "0.000", "0.000", "\N{EN DASH}", "float"),
        ("joy", "51.75", "50.53", "-1.22 (-3.01 to 0.42)", "96.25", "40"),
        ("CONV_2D", "3", "8", "12"),
        ("ranges", "mse"),
        ("bias_correction", "true"),
        ("tflite", f"sha256 {'7' * 12}…"),
    ):
        assert row(*cells) in text
    assert "<li>aarch64: no emulated root; ./deploy.sh arm64 makes one</li>" in text


def test_the_alt_texts_say_what_was_found(tmp_path: Path) -> None:
    alts = written(tmp_path, build(["fear", "joy"]), draw(2)).alts
    assert (
        "re_lu_9 (CONV_2D) adds the most noise, signal to noise 33.2 dB. Most clipped: re_lu_9, 0.321% of its values"
        in alts["layers"]
    )
    assert "Most lost: fear, -1.22 points" in alts["classes"]
    assert "Intervals that leave out 0: none" in alts["classes"]
    assert "0.0071 on average, by up to 0.0202" in alts["confidence"]
    assert "5 of 80 decisions differ. Largest logit difference: 1.25, row 17, class joy" in alts["confidence"]
    assert "float 2.34%, int8 4.56%" in alts["reliability"]
    assert "2 runtimes" in alts["runtimes"]


def test_the_gallery_begins_with_the_largest_change_and_shows_both_decisions(tmp_path: Path) -> None:
    arrays = draw(2, count=4)
    arrays["labels"] = np.array([0, 1, 1, 0])
    arrays["real"] = np.array([[0.9, 0.1], [0.55, 0.45], [0.7, 0.3], [0.2, 0.8]])
    arrays["quantised"] = np.array([[0.6, 0.4], [0.49, 0.51], [0.25, 0.75], [0.2, 0.8]])
    shown = written(tmp_path, build(["fear", "joy"]), arrays)
    flips = {alt: shown.pictures[name] for name, alt in shown.alts.items() if name.startswith("flip")}
    assert list(flips) == [
        "Picture: float fear 0.70, int8 joy 0.75, labelled joy, row 2",
        "Picture: float fear 0.55, int8 joy 0.51, labelled joy, row 1",
    ]
    assert "Of 2 decisions that differ, float has 0 right and int8 2" in shown.words
    first = cv2.imdecode(np.frombuffer(next(iter(flips.values())), np.uint8), cv2.IMREAD_GRAYSCALE)
    picture = cv2.resize(first, (12, 12), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(picture.ravel(), arrays["images"][2].ravel())[0, 1] > 0.9


def test_names_are_text_and_nothing_is_asked_of_the_network(tmp_path: Path) -> None:
    hostile = [
        "<script>alert(1)</script>",
        '"><img src=x onerror=y>',
        "$\\frac{1}$ & co",
        "a name too long for any axis " * 3,
    ]
    report, arrays = build(hostile), draw(4)
    report |= {"model": "<i>emotion</i>", "recipe": {"<u>": "<s>"}, "not_measured": ["<em>"], "split": "<q>"}
    report["layers"][1]["layer"] = report["worst_layer"] = "$x<b>"
    shown = written(tmp_path, report, arrays)
    assert not shown.tags & {"script", "link", "i", "u", "s", "em", "q", "b"}
    assert "http" not in (tmp_path / "report.html").read_text()
    assert all(name in shown.words for name in hostile)
    assert "the most noise is $x<b>" in shown.words


def test_an_int8_file_that_decides_alike_has_an_empty_gallery(tmp_path: Path) -> None:
    arrays = draw(3, noise=0)
    shown = written(tmp_path, build(["a", "b", "c"], flips=0), arrays)
    assert "Decisions that differ\nNone." in shown.words
    assert set(shown.alts) == set(PLOTS)


def test_without_layers_the_page_shows_so_and_has_the_other_plots(tmp_path: Path) -> None:
    report = build(["a", "b"]) | {"layers": [], "worst_layer": None, "worst_class": None, "not_measured": []}
    shown = written(tmp_path, report, draw(2))
    assert "No layer was measured." in shown.words
    assert "most noise" not in shown.words
    assert "agreed on least" not in shown.words
    assert "Not measured\nNothing is left." in shown.words
    assert set(PLOTS) - set(shown.alts) == {"layers"}


def test_a_class_without_pictures_in_the_split_is_left_out(tmp_path: Path) -> None:
    report, arrays = build(["a", "b", "c"]), draw(3)
    for row in report["runtimes"]:
        del row["classes"]["b"]
    arrays["labels"][arrays["labels"] == 1] = 0
    write_report(tmp_path, report, **arrays)
    text = (tmp_path / "report.html").read_text()
    assert "<td>a</td>" in text
    assert "<td>b</td>" not in text


def test_of_a_layers_operators_the_one_that_adds_most_is_named(tmp_path: Path) -> None:
    report = build(["a", "b"])
    report["layers"][2] |= {"layer": "re_lu_9", "operator": "ADD", "added_noise": 0.002}
    assert "re_lu_9 (ADD) adds the most noise" in written(tmp_path, report, draw(2)).alts["layers"]


def test_a_hundred_layers_are_drawn_no_taller_than_sixty() -> None:
    def height(count: int, worst: str) -> int:
        report = build(["a", "b"])
        layer = report["layers"][1]
        report |= {"layers": [layer | {"layer": f"layer {i}"} for i in range(count)], "worst_layer": worst}
        return cv2.imdecode(np.frombuffer(plot_layers(report), np.uint8), cv2.IMREAD_COLOR).shape[0]

    assert height(2, "layer 1") < height(60, "layer 7") == height(100, "layer 7")


def test_an_exact_layer_leaves_the_others_their_room() -> None:
    def blue(snr_db: float) -> int:
        report = build(["a", "b"])
        report["layers"] = [report["layers"][0] | {"snr_db": 30.0}, report["layers"][0] | {"snr_db": snr_db}]
        picture = cv2.imdecode(np.frombuffer(plot_layers(report), np.uint8), cv2.IMREAD_COLOR)
        return int((np.abs(picture.astype(int) - (0xB2, 0x72, 0)).sum(axis=2) < 6).sum())

    assert blue(120.0) == pytest.approx(blue(30.0), rel=0.02)


def test_the_layer_that_adds_most_noise_is_drawn_unlike_the_others() -> None:
    def orange(report: dict[str, Any]) -> int:
        picture = cv2.imdecode(np.frombuffer(plot_layers(report), np.uint8), cv2.IMREAD_COLOR)
        return int((np.abs(picture.astype(int) - (0, 0x5E, 0xD5)).sum(axis=2) < 6).sum())

    report = build(["a", "b"])
    assert orange(report) > 1000
    assert orange(report | {"worst_layer": None}) == 0


def test_a_number_that_json_has_not_leaves_no_report(tmp_path: Path) -> None:
    report = deepcopy(build(["a", "b"]))
    report["layers"][0]["snr_db"] = float("inf")
    with pytest.raises(ValueError, match="JSON"):
        write_report(tmp_path / "out", report, **draw(2))
    assert not (tmp_path / "out").exists()


def test_a_report_in_the_place_of_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(SinkUnwritable, match="taken"):
        write_report(tmp_path / "taken", build(["a", "b"]), **draw(2))
