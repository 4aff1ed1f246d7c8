"""The figures in the docs are those of the reports and evaluations that they come from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.live import growth
from edge.settings import CueSettings
from training.ship import shipped_result

ROOT = Path(__file__).resolve().parents[2]
EVALUATION = ROOT / "models" / "evaluation.json"


def test_readmes_figures_are_those_of_the_evaluation() -> None:
    (everyday,) = [
        each
        for each in json.loads(EVALUATION.read_text())
        if each["model"] == "emotion.tflite" and each["split"] == "all"
    ]
    words = everyday["words"]
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert (
        f"{everyday['rows']:,} everyday faces, {100 * words['accuracy']:.1f} % of the words were right, "
        f"and only {100 * words['words']['upset']['precision']['share']:.1f} % of those" in readme
    )


def test_the_networks_figures_are_those_of_its_evaluation() -> None:
    measured = " ".join(page.RESULTS_PAGE.read_text().split())
    shipped = shipped_result(json.loads(EVALUATION.read_text()))
    words = shipped["words"]["accuracy"]
    assert (
        f"{words:.1%} of the four words and {shipped['accuracy']:.1%} of the seven classes".replace("%", " %")
        in measured
    )
    assert f"in {shipped['bytes'] / 1e6:.3f} MB" in measured


def test_table_and_page_of_results_are_what_the_reports_give() -> None:
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
    private, clips = reports["PrivateTest"], reports["clips"]["sums"]["whole"]
    assert (
        f"shows a word {private['coverage']:.1%} of the time, and {private['right']:.1%}".replace("%", " %") in measured
    )
    assert f"right in {private['raw_right']:.1%}".replace("%", " %") in measured
    assert f"changes {clips['raw_changes_per_minute']} times a minute" in measured
    assert (
        f"one word to another {clips['word_changes_per_minute']} times, and {clips['cue_changes_per_minute']}"
        in measured
    )
    assert f"shows one in {clips['told']:.1%}, and {clips['cue_right']:.1%}".replace("%", " %") in measured
    assert f"within {max(reports['streams']['onset_s'].values()):.2f} s" in measured
    noise = [max(rates.values()) for name, rates in reports["streams"]["noise"].items() if "0.3 s" not in name]
    assert max(noise) <= 1.0
    assert "measured before the cue bridged speech" in measured  # the films of faces: their reports have older settings
    assert [reports[name]["settings"] for name in ("streams", "clips")] == [asdict(CueSettings())] * 2
