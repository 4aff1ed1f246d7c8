"""`cuelens-ship`: everything in models/ from the data, by one command; what is there already is not made again.

teacher -> soft labels -> fits of compact to FER2013's label, one from another: fer2013.* -> the last layer fitted to
the raters' votes: emotion.keras -> int8, contract and parity.json -> evaluation.json -> the card's tables; and, asked
to, the other recipes beside it -> comparison.json -> the comparison's table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from converter.report_plots import plot_layers
from edge.errors import DataMissing, DataUnreadable, MemoryShort, printable
from edge.files import make_folder, replace_file
from edge.system.messages import Failed, say
from edge.system.program import command
from lab.datasets.labelled import split_names
from lab.networks.keras_file import read_about
from lab.scores import with_interval
from training.fitting import plot_history
from training.raters import aim_at_raters, temper

TEACHERS = 1


class Fit(NamedTuple):
    """A fit of the compact network, by the numbers of fits before it."""

    start: tuple[int, ...] = ()  # begins from the mean of their weights
    teachers: tuple[int, ...] = ()  # learns from their soft labels too
    options: tuple[str, ...] = ()


FITS = (
    Fit(),
    Fit((0,), (), ("--epochs", "60", "--learning-rate", "0.05")),
    Fit((1,), (), ("--epochs", "75", "--learning-rate", "0.1", "--mixup", "0.5", "--seed", "1")),
    Fit((1, 2), (1, 2), ("--epochs", "75", "--learning-rate", "0.05", "--mixup", "0.5", "--seed", "2")),
    Fit((3,), (2, 3), ("--epochs", "50", "--learning-rate", "0.05", "--mixup", "0.5", "--seed", "3")),
)
OTHERS = {  # the study's networks, with the options that make a fit of theirs affordable
    "dummy": (),
    "simple": (),
    "complex": ("--epochs", "8"),
    "transfer": ("--weights", "none", "--rows", "2000", "--epochs", "4"),
}
SMALL = ("emotion.tflite", "fer2013.tflite")  # what is measured on everyday faces, new beside old
MODELS = Path(__file__).parent.parent / "models"
KILLED = -9  # SIGKILL, by a name that Windows lacks


def _call(module: str, *words: str | Path, python: str | Path = sys.executable) -> str:
    """Run a command's module by itself, its words passing through at once; returns its output.

    Ends as the command does where that fails; raises MemoryShort where it was killed.
    """
    line = [python, "-c", f"from {module} import main; main()", *words]
    found = []
    with subprocess.Popen(list(map(str, line)), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for text in process.stdout:
                found.append(text)
                if "--json" not in words:
                    print(text, end="", flush=True)
        except BaseException:
            process.terminate()
            raise
    code = process.returncode
    if code == KILLED:
        raise MemoryShort(f"{module} was killed, mostly for want of memory; the same command goes on")
    if code:
        say(Failed(f"{module} ended with {code}; its words are above; the same command goes on"))
        sys.exit(code if code > 0 else 128 - code)
    return "".join(found)


def _train(recipe: str, out: Path, *words: str | Path) -> None:
    if not (out / "model.keras").exists():
        _call("training.fit", recipe, "--out", out, *words)


def evaluate_all(
    models: Path, data: Path, ferplus: Path, device_python: Path | None, wild: Path | None = None
) -> list[dict[str, Any]]:
    """Evaluate what lies in `models` on the splits that choose and report, on every runtime there is.

    By the majority of FER+'s raters, with FER2013's own labels, the wearer's words and groups beside it; and, where
    given, all of `wild`, a folder of everyday faces. What the device runs is evaluated with the mirrored pictures too,
    as it reads a film, but for the report split: that was looked at once. These two are by the last runtime alone.

    The report split is evaluated once a file: results in an older evaluation.json are kept while the file is the same.
    """
    kept = models / "evaluation.json"
    before = json.loads(kept.read_text()) if kept.exists() else []
    _, chosen, reported = split_names(data)
    pythons = [Path(sys.executable), *([device_python] if device_python is not None else [])]
    words = ("--words", "--by", "darkness")
    votes = ("--data", data, "--ferplus", ferplus, "--labels", "majority", *words)
    runners = {"emotion.keras": pythons[:1]} | dict.fromkeys(SMALL, pythons)
    asked: list[tuple[str, str, list[Path], str, tuple[str | Path, ...]]] = [
        (split, name, runners[name], "majority", votes) for split in (chosen, reported) for name in runners
    ]
    asked.append((chosen, SMALL[0], pythons[-1:], "majority", (*votes, "--flip")))
    if wild is not None:
        everyday = ("--data", wild, *words)
        asked += [("all", name, pythons[-1:], "own", everyday) for name in SMALL]
        asked.append(("all", SMALL[0], pythons[-1:], "own", (*everyday, "--flip")))
    results = []
    for split, name, each, labels, options in asked:
        of = {"sha256": _hash(models / name), "split": split, "labels": labels, "flip": "--flip" in options}
        known = [result for result in before if all(result[key] == value for key, value in of.items())]
        line: list[str | Path] = [models / name, "--split", split, *options, "--json"]
        results += known or [json.loads(_call("training.evaluate", *line, python=python)) for python in each]
    if results != before:
        replace_file(kept, json.dumps(results, indent=1).encode() + b"\n")
    return results


def write_tables(card: str, results: Sequence[dict[str, Any]], contract: dict[str, Any], parity: dict[str, Any]) -> str:
    """Return the card with its tables, each between `<!-- NAME -->` and `<!-- end -->`, made of what was measured."""
    shipped = shipped_result(results)
    fitted = contract["temperature"]
    answered = shipped["coverage"]["accuracy_at"]
    tables = {
        "measured": _tabulate_measured(results),
        "words": _tabulate_words(shipped["words"]),
        "groups": _tabulate_groups(shipped["groups"]),
        "classes": [
            *_head("class", "precision", "recall", "F1", "rows"),
            *(
                _line(name, *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")), str(row["support"]))
                for name, row in shipped["classes"].items()
            ),
        ],
        "coverage": [
            *_head("share answered", "accuracy there"),
            *(_line(f"{float(share):.0%}", f"{accuracy:.4f}") for share, accuracy in answered.items()),
        ],
        "temperature": [
            f"Temperature {fitted['value']:.3f}, fitted on {fitted['fitted_on']}, applied {fitted['applied']}."
        ],
        "parity": _tabulate_parity(parity),
        "wild": _tabulate_wild(results),
        "mirrored": _tabulate_mirrored(results),
    }
    for name, lines in tables.items():
        card = _replace_table(card, name, lines)
    return card


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _head(*names: str) -> list[str]:
    return [_line(*names), "| --- " * len(names) + "|"]


def _with_interval(value: float, interval: Sequence[float]) -> str:
    return with_interval(value, interval, 4)


def _tabulate_measured(results: Sequence[dict[str, Any]]) -> list[str]:
    lines = _head(
        "file", "runtime", "split", "raters' majority (95 % interval)", "balanced", "macro F1", "ECE", "four words",
        "shown, right of shown", "FER2013's own label",
    )  # fmt: skip
    results = [result for result in results if result["labels"] == "majority" and not result["flip"]]
    for result in results:
        words, own = result["words"], result["own_labels"]
        steady = words["steady"]
        shown, right = steady["shown"]["share"], steady["right_of_shown"]["share"]
        cells = [result["model"], result["runtime"], result["split"]]
        cells.append(_with_interval(result["accuracy"], result["accuracy_interval"]))
        cells += [f"{result[name]:.4f}" for name in ("balanced_accuracy", "macro_f1", "ece")]
        cells += [_with_interval(words["accuracy"], words["accuracy_interval"]), f"{shown:.3f}, {right:.3f}"]
        cells.append(_with_interval(own["accuracy"], own["accuracy_interval"]))
        lines.append(_line(*cells))
    published = [result for result in results if "ferplus" in result]
    lines += [""] if published else []
    lines += [
        f"Eight classes as FER+ publishes, {result['model']} on {result['runtime']}, {result['split']}: "
        f"{_with_interval(result['ferplus']['accuracy'], result['ferplus']['accuracy_interval'])}, "
        f"{result['ferplus']['rows']} rows.  "
        for result in published
    ]
    return lines


def _tabulate_wild(results: Sequence[dict[str, Any]]) -> list[str]:
    lines = _head(
        "file", "runtime", "faces", "seven classes", "balanced", "ECE", "four words", "shown, right of shown",
        "upset: precision, recall, precision at recall 0.75",
    )  # fmt: skip
    for result in results:
        if result["labels"] == "own" and not result["flip"]:
            words, upset = result["words"], result["words"]["words"]["upset"]
            steady = words["steady"]
            shown = f"{steady['shown']['share']:.3f}, {steady['right_of_shown']['share']:.3f}"
            shares = [upset["precision"]["share"], upset["recall"]["share"], upset["precision_at_recall"]["precision"]]
            cells = [result["model"], result["runtime"], str(result["rows"])]
            cells.append(_with_interval(result["accuracy"], result["accuracy_interval"]))
            cells += [f"{result['balanced_accuracy']:.4f}", f"{result['ece']:.4f}"]
            cells += [_with_interval(words["accuracy"], words["accuracy_interval"]), shown]
            lines.append(_line(*cells, ", ".join(f"{share:.3f}" for share in shares)))
    return lines


def _tabulate_mirrored(results: Sequence[dict[str, Any]]) -> list[str]:
    lines = _head(
        "data", "runtime", "faces", "seven classes", "ECE", "four words", "shown", "right of shown",
        "upset: precision at recall 0.75", "upset: right when shown",
    )  # fmt: skip
    for result in results:
        if result["flip"]:
            words, upset = result["words"], result["words"]["words"]["upset"]
            cells = [f"{result['data']}, {result['split']}", result["runtime"], str(result["rows"])]
            cells += [_with_interval(result["accuracy"], result["accuracy_interval"]), f"{result['ece']:.4f}"]
            cells.append(_with_interval(words["accuracy"], words["accuracy_interval"]))
            steady = words["steady"]
            shares = (steady["shown"], steady["right_of_shown"], upset["right_of_shown"])
            shown, right, right_upset = (_with_interval(share["share"], share["interval"]) for share in shares)
            cells += [shown, right, f"{upset['precision_at_recall']['precision']:.3f}", right_upset]
            lines.append(_line(*cells))
    return lines


def _tabulate_words(words: dict[str, Any]) -> list[str]:
    goal = next(iter(words["words"].values()))["precision_at_recall"]["goal"]
    lines = _head("word", "precision", "recall", f"precision at recall {goal:g}", "right when shown", "rows")
    for word, row in words["words"].items():
        shares = [
            _with_interval(row[name]["share"], row[name]["interval"])
            for name in ("precision", "recall", "right_of_shown")
        ]
        at = f"{row['precision_at_recall']['precision']:.3f}"
        lines.append(_line(word, shares[0], shares[1], at, shares[2], str(row["recall"]["rows"])))
    return lines


def _tabulate_groups(groups: Sequence[dict[str, Any]]) -> list[str]:
    lines = _head("by", "group", "pictures", "raters' majority", "four words", "shown, right of shown")
    for found in groups:
        for row in found["rows"]:
            cells = [found["by"], row["group"], str(row["rows"])]
            cells.append(_with_interval(row["accuracy"], row["accuracy_interval"]))
            cells.append(_with_interval(row["words_accuracy"], row["words_interval"]))
            lines.append(_line(*cells, f"{row['shown']:.3f}, {row['right_of_shown']:.3f}"))
    return lines


def _tabulate_parity(parity: dict[str, Any]) -> list[str]:
    lines = _head(
        "runtime", "pictures", "loss in points (95 % interval)", "agreement", "mean drift", "equal bytes",
        "largest step", "other decisions",
    )  # fmt: skip
    for entry in parity["runtimes"]:
        loss, low, high = (100 * value for value in (entry["loss"], *entry["loss_interval"]))
        raw = entry["against_judged"]
        cells = [entry["runtime"], str(entry["rows"]), f"{loss:+.2f} ({low:+.2f} to {high:+.2f})"]
        cells += [f"{entry['agreement']:.4f}", f"{entry['confidence_drift']['mean']:.4f}"]
        cells += [f"{raw['equal_bytes']:.4f}", f"{raw['largest_steps']:.0f}", str(raw["argmax_flips"])]
        lines.append(_line(*cells))
    return lines


def write_comparison(page: str, comparison: dict[str, Any]) -> str:
    """Return the comparison page with its table made of `cuelens-evaluate`'s results of several models."""
    rows = _head("recipe", "MB", "accuracy", "balanced", "macro F1", "ECE", "accuracy against compact")
    for row in comparison["models"]:
        cells = [row["model"], f"{row['bytes'] / 1e6:.3f}"]
        cells += [_with_interval(row[name], interval) for name, interval in row["bootstrap"].items()]
        against = row.get("against_first")
        low, high = against["interval"] if against else (0, 0)
        cells.append(f"{against['accuracy']:+.4f} ({low:+.4f} to {high:+.4f})" if against else "")
        rows.append(_line(*cells))
    return _replace_table(page, "comparison", rows)


def _replace_table(page: str, name: str, lines: Sequence[str]) -> str:
    block = f"<!-- {name} -->\n" + "\n".join(lines) + "\n<!-- end -->"
    page, found = re.subn(rf"<!-- {name} -->\n.*?<!-- end -->", lambda _: block, page, flags=re.DOTALL)
    if found != 1:
        raise DataUnreadable(f"the page has {found} places for its table <!-- {name} -->; it needs one")
    return page


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shipped_result(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Pick the result that the product is judged by: the int8 file on the report split, by the raters' majority."""
    judged = [r for r in results if r["model"] == "emotion.tflite" and r["labels"] == "majority" and not r["flip"]]
    return judged[-1]


def compare_recipes(compact: Path, work: Path, out: Path, data: Path, common: Sequence[str | Path]) -> None:
    """Fit, convert and compare the other recipes with `compact` on the choose split, as int8 files."""
    for name, options in OTHERS.items():
        _train(name, work / name, *common, *options)
    networks = {"compact": compact} | {name: work / name / "model.keras" for name in OTHERS}
    files = [network.with_suffix(".tflite") for network in networks.values()]
    for network, file in zip(networks.values(), files, strict=True):
        if not file.exists():
            _call("converter.convert", network, "--data", data, "--out", network.parent, "--native")
    comparison = json.loads(_call("training.evaluate", *files, "--data", data, "--json", "--out", work / "comparison"))
    for name, row in zip(networks, comparison["models"], strict=True):
        row["model"] = name
    replace_file(out / "comparison.json", json.dumps(comparison, indent=1).encode() + b"\n")
    page = write_comparison(_page(out, "COMPARISON.md"), comparison)
    replace_file(out / "COMPARISON.md", page.encode())


def fit_all(work: Path, common: Sequence[str | Path]) -> list[Path]:
    """Fit the teachers and FITS in folders of `work`, what is there left as it is; returns the folders of FITS."""
    teachers = [work / f"teacher-{seed}" for seed in range(TEACHERS)]
    for seed, folder in enumerate(teachers):
        _train("teacher", folder, *common, "--seed", str(seed))
    folders = [work / f"compact-{number}" for number in range(len(FITS))]
    for folder, fit in zip(folders, FITS, strict=True):
        starts = [word for n in fit.start for word in ("--weights", folders[n] / "model.keras")]
        soft = [*teachers, *(folders[n] for n in fit.teachers)]
        taught = [word for teacher in soft for word in ("--soft-labels", teacher / "soft-labels.npz")]
        _train("compact", folder, *fit.options, *common, *starts, *taught, "--teach")
    return folders


def _page(out: Path, name: str) -> str:
    """Read a page to fill in: the one in `out`, or the one that ships."""
    return (out / name if (out / name).exists() else MODELS / name).read_text()


@command
def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Make everything that ships, from the data; run it again to go on."""
    parser.epilog = "example: cuelens-ship --data fer2013.csv --ferplus fer2013new.csv --work runs/ship --out models"
    parser.add_argument("--data", type=Path, required=True, help="FER2013's fer2013.csv, plain or .gz, .xz or .zip.")
    parser.add_argument("--ferplus", type=Path, required=True, help="FER+'s fer2013new.csv.")
    parser.add_argument("--work", type=Path, required=True, help="Folder for checkpoints and networks on the way.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for what ships: models/.")
    parser.add_argument(
        "--precision", default="mixed_bfloat16", help="Number format of the fits. Use float32 without AMX or a GPU."
    )
    parser.add_argument("--epochs", type=int, help="Epochs of each fit, instead of its recipe's.")
    parser.add_argument("--device-python", type=Path, help="Python of the device's environment, to evaluate there too.")
    parser.add_argument("--wild", type=Path, help="Folder of everyday faces to evaluate on. Nothing is fitted to them.")
    parser.add_argument("--compare", action="store_true", help="Fit the study's other networks too, and compare.")
    args = parser.parse_args(argv)
    for path in (args.data, args.ferplus):
        if not path.exists():
            raise DataMissing(f"{path}: no such file")
    make_folder(args.out)
    plain = ["--data", args.data, "--precision", args.precision]
    if args.epochs is not None:
        plain += ["--epochs", str(args.epochs)]
    common = [*plain, "--ferplus", args.ferplus]
    folders = fit_all(args.work, common)
    compact, of_labels, shipped = (
        folders[-1] / "model.keras",
        args.out / "fer2013.keras",
        args.out / "emotion.keras",
    )
    if read_about(of_labels).get("made_from") != _hash(compact):
        print(f"temperature {temper(compact, args.data, of_labels):.4f}")
        history = [row for folder in folders for row in json.loads((folder / "history.json").read_text())]
        history = [row | {"epoch": epoch} for epoch, row in enumerate(history, 1)]
        replace_file(args.out / "history.json", json.dumps(history, indent=1).encode() + b"\n")
        replace_file(args.out / "history.png", plot_history(history, *split_names(args.data)[:2]))
    if read_about(shipped).get("made_from") != _hash(of_labels):
        given = aim_at_raters(of_labels, args.data, args.ferplus, shipped)
        print(f"temperature {given['temperature']['value']:.4f} by the raters' majority")
    report = args.work / "parity"
    words = ["--data", args.data, "--out", args.out, "--recipe", MODELS / "emotion.toml"]
    _call("converter.convert", of_labels, *words, "--report", args.work / "parity-fer2013", "--native")
    if args.device_python is not None:
        words += ["--device-python", args.device_python]
    _call("converter.convert", shipped, *words, "--ferplus", args.ferplus, "--report", report)
    parity = (report / "report.json").read_bytes()
    replace_file(args.out / "parity.json", parity)
    replace_file(args.out / "parity.png", plot_layers(json.loads(parity)))
    results = evaluate_all(args.out, args.data, args.ferplus, args.device_python, args.wild)
    contract = json.loads((args.out / "emotion.json").read_text())
    card = write_tables(_page(args.out, "CARD.md"), results, contract, json.loads(parity))
    replace_file(args.out / "CARD.md", card.encode())
    if args.compare:
        compare_recipes(compact, args.work, args.out, args.data, plain)
    result = shipped_result(results)
    own, words = result["own_labels"]["accuracy"], result["words"]["accuracy"]
    figures = f"{result['accuracy']:.4f} by the raters' majority, words {words:.4f}, {own:.4f} by FER2013's own label"
    print(printable(f"{args.out}: {result['split']} {figures}, int8, ECE {result['ece']:.4f}; see CARD.md there"))
