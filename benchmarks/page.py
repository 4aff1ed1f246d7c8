"""`cuelens-bench page`: docs/benchmarks.md, plots and one page of HTML, of the reports in benchmarks/reference.

A folder of reports by board -> benchmarks.sections.tasks -> files; --check names files that are out of date.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report import describe_provenance, read_report
from benchmarks.sections.section import NONE, Plot, Report, Table, share
from benchmarks.sections.tasks import SECTIONS
from edge.errors import ResultsStale, SettingsInvalid
from edge.files import replace_file, sink_error
from lab.reporting.pages import fill, join, page, paragraph, tabulate
from lab.reporting.pages import plots as side_by_side
from lab.reporting.plots import load_matplotlib

if TYPE_CHECKING:
    from markupsafe import Markup

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "benchmarks" / "reference"
RESULTS_PAGE = ROOT / "docs" / "benchmarks.md"
EVALUATION = ROOT / "models" / "evaluation.json"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
NO_BOARDS = ("cue", "faces", "plots")  # folders there that hold other things
EMULATED = "emulated-arm"  # comes last: what the emulator counts is of no machine
VOID = "void"
INTRODUCTION = (
    "Each figure leads to its report; in brackets are the least and the most of its rounds. Void is what was measured "
    "on a machine that was throttled or had other work."
)
ACCURACY = "FER2013's PrivateTest right, by its raters' majority (int8)"
STYLE = """
:root { color-scheme: light; color: #1a1a1a; background: #fff }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem } svg { max-width: 100%; height: auto }
pre { overflow-x: auto; font-size: .8rem; background: #f3f3f3; padding: .5rem }
.void { border-left: .4rem solid #d55e00; padding-left: .6rem }
"""
FONTS = ["DejaVu Sans", "Verdana", "Arial", "sans-serif"]  # the first is matplotlib's own, by which it lays text out

Boards = Mapping[str, Mapping[str, Report]]  # by folder and task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where the reports are, and --check."""
    parser.add_argument(
        "--reference",
        type=Path,
        default=REFERENCE,
        help="folder with a folder of reports for each board; docs/benchmarks.md is written of the default one only",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something would be changed")


def run(args: argparse.Namespace) -> None:
    """Write what changed, or only say what would; raises what `update` raises."""
    changed = update(args.reference, check=args.check)
    print("\n".join(map(str, changed)) or f"all is as the reports in {args.reference} give it")


def update(reference: Path, *, check: bool = False) -> Sequence[Path]:
    """Make plots and page of the reports in the folder, and docs/benchmarks.md where it is the repository's own folder.

    Returns the files that changed. Raises what read_boards, draw_plots and wanted raise, SinkUnwritable and DiskFull;
    with `check` nothing is written, and ResultsStale is raised for a file that would be.
    """
    published = RESULTS_PAGE if reference.resolve() == REFERENCE else None
    boards = read_boards(reference)
    changed = changes(wanted(reference, published, boards, draw_plots(boards)), reference)
    if check and changed:
        raise stale(changed)
    write(changed)
    return list(changed)


def read_boards(reference: Path) -> Boards:
    """Read every report in the folders of `reference`, by folder and task in the sections' order.

    Raises SettingsInvalid for one that is none, or stands under another task's name.
    """
    if not reference.is_dir():
        raise SettingsInvalid(
            f"--reference is {reference}, no folder; give one with a folder of reports for each board"
        )
    boards: dict[str, dict[str, Report]] = {}
    folders = [path for path in reference.iterdir() if path.is_dir() and path.name not in NO_BOARDS]
    for folder in sorted(folders, key=lambda path: (path.name == EMULATED, path.name)):
        reports: dict[str, Report] = {
            task: read_report(path) for task in SECTIONS if (path := folder / f"{task}.json").exists()
        }
        for task, report in reports.items():
            if report["task"] != task:
                raise SettingsInvalid(f"{folder / task}.json is of {report['task']}; name it {report['task']}.json")
        if reports:
            boards[folder.name] = reports
    return boards


def wanted(reference: Path, published: Path | None, boards: Boards, plots: Mapping[str, str]) -> dict[Path, bytes]:
    """Return the content of each file that is made of the reports; `plots` are SVGs by name.

    Raises SettingsInvalid for a page in Markdown without its block.
    """
    files = {reference / "plots" / f"{name}.svg": text for name, text in plots.items()}
    files[reference / "index.html"] = make_page(boards, plots)
    if published is not None:
        files[published] = put_block(published, make_block(boards, os.path.relpath(reference, published.parent)))
    return {path: text.encode() for path, text in files.items()}


def changes(files: Mapping[Path, bytes], reference: Path) -> dict[Path, bytes | None]:
    """Return those of the files that are not so already, and with None the plots of no report."""
    old = {path for path in (reference / "plots").glob("*") if path not in files}
    differing = {path: text for path, text in files.items() if not path.is_file() or path.read_bytes() != text}
    return {**differing, **dict.fromkeys(sorted(old))}


def write(changed: Mapping[Path, bytes | None]) -> None:
    """Write the files, and remove those that are None; raises SinkUnwritable or DiskFull."""
    for path, content in changed.items():
        try:
            path.parent.mkdir(exist_ok=True)
            if content is None:
                path.unlink()
        except OSError as error:
            raise sink_error(path, error) from error
        if content is not None:
            replace_file(path, content)


def stale(changed: Mapping[Path, bytes | None]) -> ResultsStale:
    """Return the error that names the files that are not what the reports give."""
    names = ", ".join(str(path) for path in changed)
    return ResultsStale(f"not what the reports give: {names}; run cuelens-bench page, of .venv-host, and commit")


# docs/benchmarks.md


def put_block(published: Path, block: str) -> str:
    """Return the page's text with the block in the place of the one that it has; raises SettingsInvalid for none."""
    text = published.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SettingsInvalid(
            f"{published} has no {BEGIN} with a {END} after it; put them where the results are to stand"
        )
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def make_block(boards: Boards, folder: str) -> str:
    """Return the block, in Markdown; `folder` is where the reports are, as seen from the page."""
    if not boards:
        return "\nNo board was measured yet.\n"
    parts = [INTRODUCTION]
    if table := board_table(boards, folder):
        parts.append(markdown(table))
    for name, task, report in each(boards):
        section = SECTIONS[task]
        link = f"[{name}]({folder}/{name}/{task}.json), {report['date'][:10]}"
        if section.first and report["void"]:
            parts.append(f"{section.title} ({link}): {VOID}.")
        elif section.first:
            parts.append(
                f"{section.title} ({link}). {section.first}:\n\n{markdown(section.tables[section.first](report))}"
            )
        parts += [
            f"![{plot.question} {plot.answer(report)}]({folder}/plots/{name}-{key}.svg)"
            for key, plot in section.plots.items()
            if plot.first and not report["void"]
        ]
    if not any("Raspberry Pi" in (report["provenance"]["machine"]["board"] or "") for _, _, report in each(boards)):
        parts.append("No figure was taken on a Raspberry Pi yet.")
    parts.append(f"All plots and where each number comes from are on [one page]({folder}/index.html), for a browser.")
    return "\n{}\n".format("\n\n".join(parts))


def board_table(boards: Boards, folder: str | None = None) -> Table:
    """Return what boards reach, a column each; cells are Markdown that leads to the reports where `folder` is given."""
    shown = {
        name: reports
        for name, reports in boards.items()
        if any(task in reports and SECTIONS[task].rows for task in SECTIONS)
    }
    rows: list[dict[str, str]] = []
    evaluations = json.loads(EVALUATION.read_bytes())
    evaluation = os.path.normpath(Path(folder or ".") / os.path.relpath(EVALUATION, REFERENCE))
    lines = [(task, what, state) for task, section in SECTIONS.items() for what, state in section.rows.items()]
    lines.append(("stages", ACCURACY, lambda report: accuracy(report, evaluations)))
    for task, what, state in lines:
        row = {"": what}
        for name, reports in shown.items():
            report = reports.get(task)
            cell = None if report is None else VOID if report["void"] and what != ACCURACY else state(report)
            source = evaluation if what == ACCURACY else f"{folder}/{name}/{task}.json"
            row[head(name, reports)] = NONE if cell is None else f"[{cell}]({source})" if folder else cell
        if set(row.values()) - {what, NONE}:
            rows.append(row)
    return rows


def head(name: str, reports: Mapping[str, Report]) -> str:
    """Return a board's name with its machine and the dates of its reports."""
    machines = [report["provenance"]["machine"] for report in reports.values()]
    names = dict.fromkeys(f"{each['board'] or each['cpu']}, {each['cores']} cores" for each in machines)
    dates = sorted({report["date"][:10] for report in reports.values()})
    return f"{name}: {'; '.join(names)}; {' to '.join(dict.fromkeys((dates[0], dates[-1])))}"


def accuracy(report: Report, evaluations: Any) -> str | None:
    """Return what the network that ships reaches with the report's runtime, as once recorded; None where not."""
    looked = {"model": "emotion.tflite", "runtime": report["model"]["runtime"]}
    looked |= {"split": "PrivateTest", "labels": "majority"}
    for record in evaluations:
        if all(record[key] == value for key, value in looked.items()):
            return share(record["accuracy"])
    return None


def each(boards: Boards) -> list[tuple[str, str, Report]]:
    """Return every report, with its board's name and its task."""
    return [(name, task, report) for name, reports in boards.items() for task, report in reports.items()]


def markdown(rows: Table) -> str:
    """Lay rows out as a table of Markdown under their keys."""
    lines = [list(rows[0]), ["---", *["---:"] * (len(rows[0]) - 1)], *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


# plots


def draw_plots(boards: Boards) -> dict[str, str]:
    """Draw every report's plots, SVG by name; the same reports give the same bytes. Raises RuntimeMissing for none."""
    mpl = load_matplotlib()
    plots = {}
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"svg.hashsalt": "cuelens", "svg.fonttype": "none", "font.sans-serif": FONTS})
        for name, key, plot, report in plots_of(boards):
            figure = plot.figure(report)
            if report["void"]:
                figure.supxlabel(f"VOID: {report['void'][0]}", color="#d55e00", size=8)
            plots[f"{name}-{key}"] = as_svg(figure)
    return plots


def plots_of(boards: Boards) -> list[tuple[str, str, Plot, Report]]:
    """Return every plot that the reports give: board, key, plot, report."""
    return [
        (name, key, plot, report)
        for name, task, report in each(boards)
        for key, plot in SECTIONS[task].plots.items()
        if plot.there(report)
    ]


def as_svg(figure: Any) -> str:
    """Return a figure as SVG, without a date, and without ids but those that it refers to itself."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:  # the engine's last digits differ from run to run
        axes.set_position([round(value, 4) for value in axes.get_position().bounds])
    content = io.StringIO()
    figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = re.sub(r'<g id="[^"]*"', "<g", content.getvalue())
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


# the page


def make_page(boards: Boards, plots: Mapping[str, str]) -> str:
    """Return the page: what boards reach, then each report with its plots, tables, figures and provenance."""
    table = board_table(boards)
    reached = _table(table) if table else paragraph("No board was measured yet.")
    parts = [("", join(fill("benchmark.html", "introduction"), reached))]
    for name, task, report in each(boards):
        section = SECTIONS[task]
        shown = {
            key: plots[f"{name}-{key}"]
            for key, plot in section.plots.items()
            if f"{name}-{key}" in plots and plot.there(report)
        }
        parts.append((f"{name}: {section.title}", _report(name, task, report, shown)))
    return page("Cuelens: what it costs", parts, STYLE)


def _report(name: str, task: str, report: Report, plots: Mapping[str, str]) -> Markup:
    section = SECTIONS[task]
    lines = [{"": what, "value": value} for what, row in section.rows.items() if (value := row(report)) is not None]
    pictures = [_picture(svg, section.plots[key], report) for key, svg in plots.items()]
    tables = [(heading, _table(rows)) for heading, table in section.tables.items() if (rows := table(report))]
    figures = [
        {
            "figure": figure,
            "better": found["better"],
            "median": f"{found['median']:g}",
            "rounds": ", ".join(f"{value:g}" for value in found["rounds"]),
        }
        for figure, found in report["figures"].items()
    ]
    return fill(
        "benchmark.html",
        "report",
        f"{name}/{task}.json",
        report["date"],
        report["void"],
        _table(lines) if lines else "",
        side_by_side(pictures) if pictures else "",
        tables,
        _table(figures) if figures else "",
        report["definitions"],
        describe_provenance(report).splitlines(),
    )


def _picture(svg: str, plot: Plot, report: Report) -> Markup:
    from markupsafe import Markup

    label = Markup('<svg role="img" aria-label="{}"').format(plot.answer(report))
    drawn = Markup(svg[svg.index("<svg") :].strip().replace("<svg", label, 1))
    return fill("benchmark.html", "plot", drawn, plot.question, plot.answer(report))


def _table(rows: Table) -> Markup:
    return tabulate(list(rows[0]), [list(row.values()) for row in rows])
