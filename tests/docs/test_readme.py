"""The README's commands run, its table of exit codes is whole, its links lead somewhere."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import subprocess
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import page
from benchmarks.live import growth
from edge import errors
from edge.config import CueSettings
from edge.sources.demo import FACES
from lab.datasets.fer2013 import CLASSES
from training.ship import shipped_result

README = Path(__file__).resolve().parents[2] / "README.md"
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
# Without these devices the answer must be the one line that says so.
HARDWARE = {"v4l2": {0, 14}, "picamera": {0, 14, 60}}


def write_table(path: Path, **more: int) -> None:
    """Write a FER2013 table of the demo's faces, each a little different: a network can learn it in seconds.

    `more` are further splits with their rows.
    """
    rng = np.random.default_rng(0)
    with np.load(FACES) as table:
        faces = dict(zip(table["classes"].tolist(), table["faces"], strict=True))
    lines = ["emotion,pixels,Usage"]
    for split, count in {"Training": 256, "PublicTest": 70, **more}.items():
        for row in range(count):
            label = row % len(CLASSES)
            face = cv2.resize(faces[CLASSES[label]], (48, 48), interpolation=cv2.INTER_AREA).astype(int)
            face = np.clip(face * rng.uniform(0.9, 1.1) + rng.normal(0, 3, face.shape), 0, 255).astype(np.uint8)
            lines.append(f"{label},{' '.join(map(str, face.ravel()))},{split}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def desk(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout to the README's commands, and keeps what they write out of it."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("deploy.sh", "models", "tests", ".venv", ".venv-host"):
        (folder / name).symlink_to(repository / name)
    write_table(folder / "fer2013.csv", PrivateTest=70)
    return folder


def test_there_are_commands() -> None:
    assert COMMANDS[:2] == ["./deploy.sh demo", "./deploy.sh test"]
    assert len(COMMANDS) >= 10


@pytest.mark.host  # once, in the second of the two environments: by then both exist
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(command: str, desk: Path) -> None:
    words = shlex.split(command)
    if words[0].startswith(".venv") and not (desk / words[0]).exists():
        pytest.skip(f"{words[0]} is not set up; ./deploy.sh test makes it")
    if words == ["./deploy.sh", "test"]:
        words.append("tests/unit/test_config.py")  # all of it would run this test again
    if words[0].endswith("cuelens-train"):
        words += ["--epochs", "30", "--batch", "32"]  # enough for the demo's faces
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(words, cwd=desk, env=environment, capture_output=True, text=True, check=False)
    allowed = next((codes for name, codes in HARDWARE.items() if name in words), {0})
    assert done.returncode in allowed, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if words == ["./deploy.sh", "demo"]:
        share = re.search(r"truth: ([\d.]+)% of (\d+) frames", done.stdout)
        assert share, done.stdout
        assert float(share[1]) >= 90
        assert int(share[2]) > 100


def test_the_networks_figures_are_those_of_its_evaluation() -> None:
    measured = " ".join(README.read_text().split("## Measured")[1].split("##")[0].split())
    shipped = shipped_result(json.loads((README.parent / "models" / "evaluation.json").read_text()))
    words = shipped["words"]["accuracy"]
    assert (
        f"{words:.1%} of the four words and {shipped['accuracy']:.1%} of the seven classes".replace("%", " %")
        in measured
    )
    assert f"in {shipped['bytes'] / 1e6:.3f} MB" in measured


def test_table_and_page_of_results_are_what_the_reports_give() -> None:
    boards = page.read_boards(page.REFERENCE)
    plots = {path.stem: path.read_text() for path in (page.REFERENCE / "plots").glob("*.svg")}
    changed = page.changes(page.wanted(page.REFERENCE, README, boards, plots), page.REFERENCE)
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
    folder = README.parent / "benchmarks" / "reference" / "cue"
    reports = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    measured = " ".join(README.read_text().split("## Measured")[1].split("##")[0].split())
    private, clips = reports["PrivateTest"], reports["clips"]["sums"]["whole"]
    assert f"tells {private['coverage']:.1%} of the time, and {private['right']:.1%}".replace("%", " %") in measured
    assert f"right in {private['raw_right']:.1%}".replace("%", " %") in measured
    assert f"changes {clips['raw_changes_per_minute']} times a minute" in measured
    assert (
        f"one word to another {clips['word_changes_per_minute']} times, and {clips['cue_changes_per_minute']}"
        in measured
    )
    assert f"tells one in {clips['told']:.1%}, and {clips['cue_right']:.1%}".replace("%", " %") in measured
    assert f"within {max(reports['streams']['onset_s'].values()):.2f} s" in measured
    noise = [max(rates.values()) for name, rates in reports["streams"]["noise"].items() if "0.3 s" not in name]
    assert max(noise) <= 1.0
    assert "measured before the cue bridged speech" in measured  # the films of faces: their reports have older settings
    assert [reports[name]["settings"] for name in ("streams", "clips")] == [asdict(CueSettings())] * 2


def test_every_exit_code_stands_in_the_readme_and_none_twice() -> None:
    classes = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, errors.CuelensError)]
    codes = [item.exit_code for item in classes]
    assert len(set(codes)) == len(codes)
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", README.read_text(), re.MULTILINE)}
    assert listed == {*codes, 2}


def test_every_error_is_also_the_builtin_a_caller_would_expect() -> None:
    for _, item in inspect.getmembers(errors, inspect.isclass):
        if issubclass(item, errors.CuelensError) and item is not errors.CuelensError:
            builtin = [base for base in item.__mro__ if base.__module__ == "builtins" and issubclass(base, Exception)]
            assert set(builtin) != {Exception}, item
            assert item.__doc__, item


def test_every_link_leads_somewhere() -> None:
    for text in (README, README.parent / "models" / "CARD.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", text.read_text()):
            assert (text.parent / target).exists(), f"{text.name}: {target}"
