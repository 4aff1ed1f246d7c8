"""The card's figures are those that were measured, of the very files that ship."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from converter.recipe import Recipe
from edge.settings_file import read_settings
from training.ship import OTHERS, shipped_result, write_comparison, write_tables

MODELS = Path(__file__).resolve().parents[2] / "models"
RESULTS: list[dict[str, Any]] = json.loads((MODELS / "evaluation.json").read_text())
CONTRACT: dict[str, Any] = json.loads((MODELS / "emotion.json").read_text())
PARITY: dict[str, Any] = json.loads((MODELS / "parity.json").read_text())


def test_the_cards_tables_are_what_was_measured() -> None:
    card = (MODELS / "CARD.md").read_text()
    assert write_tables(card, RESULTS, CONTRACT, PARITY) == card
    # And the comparison can fail.
    changed = [{**result, "accuracy": result["accuracy"] + 0.001} for result in RESULTS]
    assert write_tables(card, changed, CONTRACT, PARITY) != card
    entries = [{**entry, "loss": entry["loss"] + 0.001} for entry in PARITY["runtimes"]]
    assert write_tables(card, RESULTS, CONTRACT, {**PARITY, "runtimes": entries}) != card


@pytest.mark.parametrize("name", ["emotion.keras", "emotion.tflite"])
def test_what_was_measured_is_what_ships(name: str) -> None:
    sha256 = hashlib.sha256((MODELS / name).read_bytes()).hexdigest()
    assert {result["sha256"] for result in RESULTS if result["model"] == name} == {sha256}


def test_the_contract_names_the_network_it_was_made_from() -> None:
    assert CONTRACT["training"]["keras_sha256"] == hashlib.sha256((MODELS / "emotion.keras").read_bytes()).hexdigest()
    assert CONTRACT["sha256"] == hashlib.sha256((MODELS / "emotion.tflite").read_bytes()).hexdigest()
    measured = CONTRACT["measured"]["PublicTest"]
    runtime = next(result for result in RESULTS if result["runtime"] == measured["runtime"])
    assert measured["accuracy"] in (runtime["accuracy"], runtime["own_labels"]["accuracy"])


def test_the_int8_file_is_the_float_network_on_every_runtime() -> None:
    assert PARITY["keras_sha256"] == CONTRACT["training"]["keras_sha256"]
    assert PARITY["tflite_sha256"] == CONTRACT["sha256"]
    assert PARITY["gate"]["passed"]
    whole = [entry for entry in PARITY["runtimes"] if entry["rows"] == PARITY["rows"] == 3372]
    assert len(whole) >= 3
    assert max(entry["loss"] for entry in whole) <= 0.003
    assert min(entry["agreement"] for entry in whole) >= 0.97
    oldest = [entry for entry in PARITY["runtimes"] if entry["runtime"].startswith("tflite-runtime 2.14")]
    assert sorted(entry["runtime"].split(", ")[-1] for entry in oldest) == ["aarch64 (emulated)", "x86_64"]
    assert {entry["against_judged"]["equal_bytes"] for entry in oldest} == {1}
    # What the card shows of it: XNNPACK rounds otherwise.
    xnnpack = [entry for entry in PARITY["runtimes"] if "XNNPACK" in entry["runtime"]]
    assert {entry["runtime"].split()[0] for entry in xnnpack} == {"ai-edge-litert"}
    assert max(entry["against_judged"]["equal_bytes"] for entry in xnnpack) < 1


def test_the_contract_names_the_recipe_that_ships() -> None:
    recipe = asdict(read_settings(MODELS / "emotion.toml", Recipe))
    # What a contract does not name is at its default.
    stated = json.loads(json.dumps(recipe)) | {"kept_float": []}
    assert set(CONTRACT["recipe"]) <= set(stated)
    assert stated | CONTRACT["recipe"] | {"input": stated["input"] | CONTRACT["recipe"]["input"]} == stated
    assert PARITY["recipe"] == CONTRACT["recipe"]


def test_the_shipped_network_meets_its_bounds() -> None:
    shipped = shipped_result(RESULTS)
    assert shipped["split"] == "PrivateTest"
    of_float = [r for r in RESULTS if r["model"] == "emotion.keras"][-1]
    assert (
        (of_float["split"], of_float["labels"]) == (shipped["split"], shipped["labels"]) == ("PrivateTest", "majority")
    )
    assert abs(of_float["accuracy"] - shipped["accuracy"]) <= 0.01
    assert abs(of_float["words"]["accuracy"] - shipped["words"]["accuracy"]) <= 0.01
    assert shipped["bytes"] <= 500_000
    assert (MODELS / "emotion.tflite").stat().st_size == shipped["bytes"]


def test_the_card_shows_what_it_must() -> None:
    card = (MODELS / "CARD.md").read_text()
    for title in (
        "Measured",
        "How it was made",
        "Known failures",
        "Intended use",
        "Forbidden use",
        "What the evidence shows",
    ):
        assert f"\n## {title}\n" in card


def test_the_comparisons_table_is_what_was_measured() -> None:
    page = (MODELS / "COMPARISON.md").read_text()
    comparison = json.loads((MODELS / "comparison.json").read_text())
    assert write_comparison(page, comparison) == page
    assert [row["model"] for row in comparison["models"]] == ["compact", *OTHERS]
