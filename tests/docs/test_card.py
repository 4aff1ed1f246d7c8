"""The card's figures are those that were measured, of the very files that ship."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

MODELS = Path(__file__).resolve().parents[2] / "models"
RESULTS: list[dict[str, Any]] = json.loads((MODELS / "evaluation.json").read_text())


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: f"{result['split']} {result['runtime']}")
def test_a_row_of_the_card_is_what_was_measured(result: dict[str, Any]) -> None:
    low, high = result["accuracy_interval"]
    cells = [result["model"], result["runtime"], result["split"], f"{result['accuracy']:.4f} ({low:.4f} to {high:.4f})"]
    cells += [f"{result[name]:.4f}" for name in ("balanced_accuracy", "macro_f1", "ece")]
    row = f"| {' | '.join(cells)} |"
    assert row in (MODELS / "CARD.md").read_text().splitlines(), row


@pytest.mark.parametrize("name", ["emotion.keras", "emotion.tflite"])
def test_what_was_measured_is_what_ships(name: str) -> None:
    sha256 = hashlib.sha256((MODELS / name).read_bytes()).hexdigest()
    assert {result["sha256"] for result in RESULTS if result["model"] == name} == {sha256}


def test_the_contract_names_the_network_it_was_made_from() -> None:
    contract = json.loads((MODELS / "emotion.json").read_text())
    assert contract["training"]["keras_sha256"] == hashlib.sha256((MODELS / "emotion.keras").read_bytes()).hexdigest()
    assert contract["sha256"] == hashlib.sha256((MODELS / "emotion.tflite").read_bytes()).hexdigest()
    measured = contract["measured"]["PublicTest"]
    runtime = next(result for result in RESULTS if result["runtime"] == measured["runtime"])
    assert measured["accuracy"] == runtime["accuracy"]


def test_the_shipped_network_meets_its_bounds() -> None:
    accuracy = {result["model"]: result["accuracy"] for result in RESULTS if result["split"] == "PrivateTest"}
    assert accuracy["emotion.tflite"] >= 0.66
    assert abs(accuracy["emotion.keras"] - accuracy["emotion.tflite"]) <= 0.01
    assert (MODELS / "emotion.tflite").stat().st_size <= 1_000_000
