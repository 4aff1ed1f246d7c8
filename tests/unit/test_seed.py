"""The option --seed: what no generator takes is refused with the rest of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from training import explain, fit, scanner, verifier
from training.seed import MOST, add_seed

DATA, OUT = ["--data", "none.csv"], ["--out", "none"]
COMMANDS: list[tuple[Callable[[list[str]], None], list[str]]] = [
    (fit.main, ["compact", *DATA, *OUT]),
    (explain.main, ["none.keras", *OUT]),
    (verifier.main, [*DATA, "--scenes", "none", *OUT]),
    (scanner.main, [*DATA, "--scenes", "none", "--verifier", "none", *OUT]),
]


@pytest.mark.parametrize(("main", "words"), COMMANDS, ids=["train", "explain", "verifier", "scanner"])
@pytest.mark.parametrize("seed", ["-1", str(MOST + 1), "1.5", "one"])
def test_a_seed_that_no_generator_takes_is_refused_in_a_line(
    main: Callable[[list[str]], None], words: list[str], seed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--seed", seed])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"argument --seed: {seed!r} is no seed; valid are 0 to {MOST} [command-line]" in said.splitlines()[-1]


def test_a_seed_is_0_unless_one_is_given() -> None:
    parser = argparse.ArgumentParser()
    add_seed(parser)
    assert [parser.parse_args(words).seed for words in ([], ["--seed", "0"], ["--seed", str(MOST)])] == [0, 0, MOST]
