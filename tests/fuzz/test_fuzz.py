"""Hostile bytes at every parser of ours: only the documented errors come out. Longer: python -m tests.fuzz MINUTES."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS, one

EXAMPLES = 150


@pytest.mark.parametrize("name", TARGETS)
def test_whole_inputs_are_taken_or_refused_as_documented(name: str, tmp_path: Path) -> None:
    for seed in TARGETS[name].seeds():
        one(TARGETS[name], seed, tmp_path)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs_are_taken_or_refused_as_documented(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=max(10, int(EXAMPLES * target.share)), suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.one_of(mutated(target.seeds(), target.words), st.binary(max_size=300)))
    def fuzz(data: bytes) -> None:
        one(target, data, tmp_path)

    fuzz()
