"""The figures in the docs are those of the reports and evaluations that they come from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks import page
from benchmarks.live import growth
from edge.settings import GONE, CueSettings, FaceSettings
from training.ship import shipped_result

ROOT = Path(__file__).resolve().parents[2]
EVALUATION = ROOT / "models" / "evaluation.json"


def test_the_figures_of_everyday_faces_are_those_of_the_evaluation() -> None:
    plain, mirrored = sorted(
        (
            each
            for each in json.loads(EVALUATION.read_text())
            if each["model"] == "emotion.tflite" and each["split"] == "all"
        ),
        key=lambda each: bool(each["flip"]),
    )
    readme, changelog, benchmarks = (
        " ".join((ROOT / name).read_text().split()) for name in ("README.md", "CHANGELOG.md", "docs/benchmarks.md")
    )
    faces = f"{plain['rows']:,} everyday faces"
    right = f"{100 * plain['words']['accuracy']:.1f} %"
    upset = f"and only {100 * plain['words']['words']['upset']['precision']['share']:.1f} % of those"
    assert f"{right} on {faces} it never learnt from, {upset}" in changelog
    assert f"{right} of the four words on {faces} that it never learnt from" in benchmarks
    steady = mirrored["words"]["steady"]
    shown, of_shown = (f"{100 * steady[name]['share']:.1f} %" for name in ("shown", "right_of_shown"))
    of_upset = mirrored["words"]["words"]["upset"]
    rightly = round(of_upset["right_of_shown"]["share"] * of_upset["right_of_shown"]["rows"])
    assert f"of {faces} in photographs and film stills, held still, it shows a word for {shown}" in readme
    upset_shown = f"`upset` is shown for {rightly} of {of_upset['recall']['rows']} upset faces, and for"
    assert (
        f"Of these words {of_shown} are right. {upset_shown} {of_upset['right_of_shown']['rows'] - rightly} others"
        in readme
    )
    assert f"everyday faces a steady reading shows a word for {shown}, {of_shown} of them right" in changelog
    assert f"the cue shows a word in {shown}, and {of_shown} of these are right" in benchmarks


def test_the_networks_figures_are_those_of_its_evaluation() -> None:
    measured = " ".join(page.RESULTS_PAGE.read_text().split())
    shipped = shipped_result(json.loads(EVALUATION.read_text()))
    words = shipped["words"]["accuracy"]
    assert (
        f"{words:.1%} of the four words and {shipped['accuracy']:.1%} of the seven classes".replace("%", " %")
        in measured
    )
    assert f"in {shipped['bytes'] / 1e6:.3f} MB" in measured
    changelog = " ".join((ROOT / "CHANGELOG.md").read_text().split())
    assert f"A network of {shipped['bytes'] / 1e6:.3f} MB" in changelog
    assert f"{100 * words:.1f} % of the four words on FER2013's PrivateTest" in changelog


def test_reports_of_another_network_are_named_as_such() -> None:
    """The page names the network of the reports, where that is not the one that ships."""
    ran = {
        folder: {
            model["sha256"]
            for path in (page.REFERENCE / folder).glob("*.json")
            if (model := json.loads(path.read_text()).get("model"))
        }
        for folder in ("x86-64", "cue")
    }
    of_file = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in EVALUATION.parent.glob("*.tflite")}
    page_text = " ".join(page.RESULTS_PAGE.read_text().split())
    former, shipped = {of_file["fer2013.tflite"]}, {of_file["emotion.tflite"]}
    assert set(map(frozenset, ran.values())) <= {frozenset(former), frozenset(shipped)}
    assert ("The reports of x86-64 ran `fer2013.tflite`" in page_text) == (ran["x86-64"] == former)
    assert ("All of them ran `fer2013.tflite`" in page_text) == (ran["cue"] == former)
    shares = [each["own_labels"]["accuracy"] for each in json.loads(EVALUATION.read_text()) if is_shipped_runtime(each)]
    assert ([f"gets {share:.1%} there".replace("%", " %") in page_text for share in shares] == [True]) == (
        ran["x86-64"] == former
    )


def is_shipped_runtime(result: dict[str, Any]) -> bool:
    """Whether a result is of the file that ships on PrivateTest, on the runtime of the reports."""
    return (result["model"], result["split"], result["runtime"].split()[0]) == (
        "emotion.tflite",
        "PrivateTest",
        "tflite-runtime",
    )


def test_the_finders_figures_are_those_of_the_reports() -> None:
    folder = page.REFERENCE / "faces"
    turned, light = (json.loads((folder / f"{name}.json").read_text()) for name in ("turned", "light"))
    measured, today = turned["settings"], FaceSettings()
    stated = (
        f"made with `confirm = {measured['confirm']:g}` and `burst = {measured['burst']}`; "
        f"today they are {today.confirm:g} and {today.burst}."
    )
    is_other = (measured["confirm"], measured["burst"]) != (today.confirm, today.burst)
    assert (stated in " ".join(page.RESULTS_PAGE.read_text().split())) == is_other
    # CHANGELOG: in weak light and in front of a window no fewer faces than plain Haar, and no false ones.
    gone = {key: value for key, value in light["settings"].items() if ("faces", key) in GONE}
    assert light["settings"] == asdict(today) | gone
    by_light = light["result"]["by_light"]
    assert all(row["found"] >= row["plain_found"] and row["false"] == 0 for row in by_light)
    record = " ".join((ROOT / "docs" / "decisions" / "02-haar-proposes.md").read_text().split())
    assert f"false faces: {sum(row['plain_false'] for row in by_light)} in the frames of" in record


def test_table_and_page_of_results_are_what_the_reports_give() -> None:
    pytest.importorskip("jinja2", reason="jinja2 is the host's")
    boards = page.read_boards(page.REFERENCE)
    plots = {path.stem: path.read_text() for path in (page.REFERENCE / "plots").glob("*.svg")}
    changed = page.changes(page.wanted(page.REFERENCE, page.RESULTS_PAGE, boards, plots), page.REFERENCE)
    assert not changed, page.stale(changed)
    assert plots.keys() == {f"{name}-{key}" for name, key, _, _ in page.plots_of(boards)}


def test_nothing_grew_in_any_boards_half_hour() -> None:
    for name, reports in page.read_boards(page.REFERENCE).items():
        if "soak" in reports:
            result = reports["soak"]["result"]
            assert result["seconds"] >= 1800, name
            assert growth(result) == [], name


@pytest.mark.host
def test_plots_of_results_are_what_the_reports_give() -> None:
    drawn = page.draw_plots(page.read_boards(page.REFERENCE))
    assert {path.stem: path.read_text() for path in (page.REFERENCE / "plots").glob("*.svg")} == drawn


def test_the_cues_figures_are_those_of_the_reports() -> None:
    folder = ROOT / "benchmarks" / "reference" / "cue"
    reports = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    measured = " ".join(page.RESULTS_PAGE.read_text().split())
    faces, clips, streams = (reports[name]["result"] for name in ("PublicTest", "clips", "streams"))
    talk, clips = clips["sums"]["talk"], clips["sums"]["whole"]
    assert f"shows a word {faces['coverage']:.1%} of the time, and {faces['right']:.1%}".replace("%", " %") in measured
    assert f"right in {faces['raw_right']:.1%}".replace("%", " %") in measured
    assert f"changes {clips['raw_changes_per_minute']} times a minute" in measured
    assert (
        f"one word to another {clips['word_changes_per_minute']} times, and {clips['cue_changes_per_minute']}"
        in measured
    )
    assert f"shows one in {clips['coverage']:.1%}, and {clips['cue_right']:.1%}".replace("%", " %") in measured
    means = f"{talk['mean_coverage']:.1%} shown, {talk['mean_cue_right']:.1%}".replace("%", " %")
    assert f"{means} of that right, and {talk['mean_cue_changes']} changes a minute" in measured
    assert f"within {max(streams['onset_s'].values()):.2f} s" in measured
    noise = [max(rates.values()) for name, rates in streams["noise"].items() if "0.3 s" not in name]
    assert max(noise) <= 1.0
    measured_with = [reports[name]["settings"] for name in ("streams", "clips", "PublicTest")]
    assert measured_with == [asdict(CueSettings())] * 3
