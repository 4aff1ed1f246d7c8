"""The card's figures are those that were measured, of the very files that ship."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from training.ship import OTHERS, shipped_result, write_comparison, write_tables

MODELS = Path(__file__).resolve().parents[2] / "models"
RESULTS: list[dict[str, Any]] = json.loads((MODELS / "evaluation.json").read_text())
CONTRACT: dict[str, Any] = json.loads((MODELS / "emotion.json").read_text())


def test_the_cards_tables_are_what_was_measured() -> None:
    card = (MODELS / "CARD.md").read_text()
    assert write_tables(card, RESULTS, CONTRACT) == card
    # And the comparison can fail.
    changed = [{**result, "accuracy": result["accuracy"] + 0.001} for result in RESULTS]
    assert write_tables(card, changed, CONTRACT) != card


@pytest.mark.parametrize("name", ["emotion.keras", "emotion.tflite"])
def test_what_was_measured_is_what_ships(name: str) -> None:
    sha256 = hashlib.sha256((MODELS / name).read_bytes()).hexdigest()
    assert {result["sha256"] for result in RESULTS if result["model"] == name} == {sha256}


def test_the_contract_names_the_network_it_was_made_from() -> None:
    assert CONTRACT["training"]["keras_sha256"] == hashlib.sha256((MODELS / "emotion.keras").read_bytes()).hexdigest()
    assert CONTRACT["sha256"] == hashlib.sha256((MODELS / "emotion.tflite").read_bytes()).hexdigest()
    measured = CONTRACT["measured"]["PublicTest"]
    runtime = next(result for result in RESULTS if result["runtime"] == measured["runtime"])
    assert measured["accuracy"] == runtime["accuracy"]


def test_the_shipped_network_meets_its_bounds() -> None:
    shipped = shipped_result(RESULTS)
    assert shipped["split"] == "PrivateTest"
    assert shipped["accuracy"] >= 0.70
    of_float = [r for r in RESULTS if r["model"] == "emotion.keras" and r["labels"] == "fer2013"][-1]
    assert of_float["split"] == shipped["split"]
    assert abs(of_float["accuracy"] - shipped["accuracy"]) <= 0.01
    assert shipped["ece"] <= 0.03
    assert shipped["bytes"] <= 500_000
    assert (MODELS / "emotion.tflite").stat().st_size == shipped["bytes"]


def test_the_card_says_what_it_must() -> None:
    card = (MODELS / "CARD.md").read_text()
    for title in (
        "Measured",
        "How it was made",
        "Known failures",
        "Intended use",
        "Forbidden use",
        "What evidence says",
    ):
        assert f"\n## {title}\n" in card


def test_the_comparisons_table_is_what_was_measured() -> None:
    page = (MODELS / "COMPARISON.md").read_text()
    comparison = json.loads((MODELS / "comparison.json").read_text())
    assert write_comparison(page, comparison) == page
    assert [row["model"] for row in comparison["models"]] == ["compact", *OTHERS]
