"""What the results page says of a report, by kind: rows of the boards' table, tables of its own, plots.

One report of benchmarks.report in, text or a matplotlib figure out; benchmarks.page puts them together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from training.report import BLUE, GRAY, LIGHT, ORANGE, draw

Report = Mapping[str, Any]
Table = Sequence[Mapping[str, str]]

GREEN, BLACK = "#009e73", "#000000"  # of the same palette
NONE = "\N{EN DASH}"  # in a table: not measured
# Told apart by hatch, too.
STAGES = {
    "capture": (LIGHT, ""),
    "find": (BLUE, ""),
    "read": (ORANGE, "////"),
    "cue": (BLACK, ""),
    "sink": (GRAY, "\\\\\\\\"),
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of a report: what it asks, what it answers in words, and a matplotlib figure.

    `first` ones stand in README; `there` says whether a report has what is drawn.
    """

    question: str
    answer: Callable[[Report], str]
    figure: Callable[[Report], Any]
    first: bool = False
    there: Callable[[Report], bool] = lambda report: True


@dataclass(frozen=True, slots=True)
class Section:
    """What is said of reports of one kind; `rows` are the boards' table's, `first` of the tables is README's, too."""

    title: str
    rows: Mapping[str, Callable[[Report], str | None]] = field(default_factory=dict)
    tables: Mapping[str, Callable[[Report], Table]] = field(default_factory=dict)
    plots: Mapping[str, Plot] = field(default_factory=dict)
    first: str | None = None


def spread(name: str, shape: str = ".2f") -> Callable[[Report], str | None]:
    """Return what tells a figure's median, and the least and the most of its rounds."""

    def tell(report: Report) -> str | None:
        figure = report["figures"].get(name)
        if figure is None:
            return None
        median, *ends = (
            format(value, shape) for value in (figure["median"], min(figure["rounds"]), max(figure["rounds"]))
        )
        return median if ends[0] == ends[1] else f"{median} ({ends[0]} to {ends[1]})"

    return tell


def power(report: Report) -> str:
    """Say what the board drew."""
    told = report["provenance"]["power"]
    return f"{told['mean_w']:.2f}, at most {told['most_w']:.2f}" if told else "the board does not tell"


def share(value: float) -> str:
    """Say a share."""
    return f"{100 * value:.1f} %"


def _pair(values: Mapping[str, float], *names: str, shape: str = ".1f") -> str:
    return " / ".join(format(values[name], shape) for name in names)


# stages


def stage_table(report: Report) -> Table:
    """Lay out elapsed and CPU ms of each stage."""
    keys = ("p50", "p90", "p99")
    return [
        {
            "stage": name,
            **{f"elapsed {key}, ms": f"{values['wall_ms'][key]:.3f}" for key in keys},
            **{f"CPU {key}, ms": f"{values['cpu_ms'][key]:.3f}" for key in keys},
        }
        for name, values in report["result"]["stages"].items()
    ]


def stage_means(report: Report) -> dict[str, float]:
    """Return mean CPU ms of each stage."""
    return {name: report["figures"][f"{name}_cpu_ms"]["median"] for name in STAGES}


def plot_stages(report: Report) -> Any:
    """Draw the mean CPU of each stage end to end, and below it how elapsed times spread."""
    figure, (upper, lower) = draw(4.0, 2, height_ratios=(1, 2.6))
    _stack(upper, [stage_means(report)], names=[""])
    upper.set(xlabel="CPU of a frame, mean (ms)")
    upper.spines["left"].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(STAGES), frameon=False, fontsize=9)
    names = (*STAGES, "whole")
    for place, name in enumerate(names):
        values = report["result"]["stages"][name]["wall_ms"]
        lower.plot((values["p50"], values["p99"]), (place, place), color=LIGHT, linewidth=4, zorder=1)
        for key, marker, colour in (("p50", "o", BLUE), ("p90", "D", GRAY), ("p99", "|", BLACK)):
            label = key if place == 0 else None
            lower.plot(values[key], place, marker, color=colour, label=label, markersize=6 + 5 * (key == "p99"))
    lower.set_yticks(range(len(names)), ("capture", "find", "read", "cue", "sink", "find to sink"))
    lower.tick_params(axis="y", length=0)
    lower.set(xscale="log", ylim=(len(names) - 0.5, -0.5), xlabel="elapsed (ms, logarithmic)")
    lower.xaxis.set_major_formatter("{x:g}")
    lower.grid(axis="x", alpha=0.3)
    lower.legend(loc="lower left", bbox_to_anchor=(0, 0.98), ncols=3, frameon=False, fontsize=9)
    return figure


def _stack(axes: Any, rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> None:
    """Draw rows of parts of STAGES as bars end to end, each labelled once, their sums at their ends."""
    places = range(len(rows))
    left = [0.0] * len(rows)
    for name in rows[0]:
        colour, hatch = STAGES[name]
        values = [row[name] for row in rows]
        axes.barh(places, values, 0.7, left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5, label=name)
        left = [start + value for start, value in zip(left, values, strict=True)]
    for place, whole in zip(places, left, strict=True):
        axes.annotate(f"{whole:.1f}", (whole, place), (4, 0), textcoords="offset points", va="center", size=9)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, 1.15 * max(left)))


def _say_stages(report: Report) -> str:
    means = stage_means(report)
    whole = report["result"]["stages"]["whole"]["wall_ms"]
    told = ", ".join(f"{name} {value:.2f}" for name, value in means.items())
    return f"Mean CPU ms: {told}. Elapsed from find to sink: p50 {whole['p50']:.2f} ms, p99 {whole['p99']:.2f} ms."


# scale


def scale_table(report: Report) -> Table:
    """Lay out what a frame costs by its size, by its faces and by the network's threads."""
    result = report["result"]
    named = [(f"{point['width']}x{point['height']}", point) for point in result["sizes"]]
    named += [(f"{point['faces']} faces", point) for point in result["faces"]]
    named += [(f"threads = {point['threads']}", point) for point in result["threads"]]
    return [
        {
            "point": name,
            "faces found": f"{point['found']:g}",
            **{
                f"{word} {key}, ms": f"{point['whole'][kind][key]:.2f}"
                for word, kind in (("CPU", "cpu_ms"), ("elapsed", "wall_ms"))
                for key in ("p50", "p90", "p99")
            },
        }
        for name, point in named
    ]


def network_table(report: Report) -> Table:
    """Lay out what one run of a network costs, by runtime, who runs its operators, and threads."""
    return [
        {
            "network": point["model"],
            "runtime": point["runtime"],
            "run by": point["delegate"],
            "threads": str(point["threads"]),
            "elapsed p50, ms": f"{point['wall_ms']['p50']:.3f}",
            "elapsed p90, ms": f"{point['wall_ms']['p90']:.3f}",
            "CPU p50, ms": f"{point['cpu_ms']['p50']:.3f}",
            "a setting": "yes" if point["setting"] else "no",
        }
        for point in report["result"]["networks"]
    ]


def plot_scale(report: Report) -> Any:
    """Draw what a frame costs by its size and by its faces."""
    result = report["result"]
    figure, (left, right) = draw(3.2, 1, ncols=2, sharey=True)
    for axes, points in ((left, result["sizes"]), (right, result["faces"])):
        for key, marker, colour in (("p99", "^", GRAY), ("p90", "D", BLUE), ("p50", "o", BLACK)):
            values = [point["whole"]["cpu_ms"][key] for point in points]
            axes.plot(range(len(points)), values, color=colour, marker=marker, markersize=5, label=key)
        axes.grid(axis="y", alpha=0.3)
    left.set_ylim(bottom=0)
    names = [f"{point['width']}\nx {point['height']}" for point in result["sizes"]]
    left.set_xticks(range(len(names)), names, size=9)
    right.set_xticks(range(len(result["faces"])), [str(point["faces"]) for point in result["faces"]], size=9)
    left.set(xlabel="frame, with one face", ylabel="CPU of a frame (ms)")
    right.set(xlabel="faces in 640 x 480")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def plot_threads(report: Report) -> Any:
    """Draw how long a run of the first network takes by threads, a line for each who runs it."""
    from matplotlib.ticker import LogLocator

    points = report["result"]["networks"]
    runs: dict[str, list[Report]] = {}
    for point in points:
        if point["model"] == points[0]["model"]:
            runs.setdefault(f"{point['runtime']}, {point['delegate']}", []).append(point)
    figure, axes = draw(3.0 + 0.2 * len(runs))
    looks = itertools.cycle(itertools.product("-:", ((BLUE, "o"), (ORANGE, "D"), (GREEN, "^"), (GRAY, "s"))))
    for (name, several), (line, (colour, marker)) in zip(runs.items(), looks, strict=False):
        t, elapsed = [point["threads"] for point in several], [point["wall_ms"]["p90"] for point in several]
        axes.plot(t, elapsed, line, color=colour, marker=marker, markersize=5, label=name)
    axes.set(xlabel="threads", ylabel="elapsed, p90 (ms, logarithmic)", yscale="log")
    axes.set_xticks(sorted({point["threads"] for point in points}))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside upper left", frameon=False, fontsize=9)
    return figure


def _say_scale(report: Report) -> str:
    result = report["result"]
    ends = {
        f"{size['width']}x{size['height']}": size["whole"]["cpu_ms"]["p90"]
        for size in (result["sizes"][0], result["sizes"][-1])
    } | {
        f"{point['faces']} faces": point["whole"]["cpu_ms"]["p90"]
        for point in (result["faces"][0], result["faces"][-1])
    }
    return "CPU of a frame, p90: " + ", ".join(f"{name} {value:.1f} ms" for name, value in ends.items()) + "."


def _say_threads(report: Report) -> str:
    return "; ".join(f"{each['model']}: {each['text']}" for each in report["result"]["recommendations"]) + "."


# e2e


def plot_jitter(report: Report) -> Any:
    """Draw how many frames were shown how much off their captures' own rhythm."""
    histogram = report["result"]["jitter_histogram"]
    bounds = list(histogram)
    names = [f"under {bounds[0]}", *(f"{low} to {high}" for low, high in itertools.pairwise(bounds[:-1]))]
    names.append(f"{bounds[-2]} and more")
    counts = list(histogram.values())
    figure, axes = draw(3.0)
    bars = axes.barh(range(len(counts)), counts, 0.7, color=BLUE)
    axes.bar_label(bars, [str(count) for count in counts], padding=3, size=9)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="frames", ylabel="off its rhythm by (ms)")
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, 1.12 * max(1, *counts)))
    return figure


def _say_jitter(report: Report) -> str:
    result = report["result"]
    return (
        f"Of {result['frames']} frames half are at most {result['jitter_ms']['p50']:.2f} ms off, 99 % at most "
        f"{result['jitter_ms']['p99']:.2f} ms; {result['missed']} were not shown."
    )


# start


def start_steps(report: Report) -> dict[str, float]:
    """Return what each step of a start adds, in millions of instructions; empty where they were not counted."""
    counts = report["result"]["instructions_m"] or {}
    names = [name for name in counts if name != "status"]  # which is a program of its own
    return {
        name: counts[name] - (counts[before] if before else 0.0)
        for before, name in itertools.pairwise((None, *names))
        if name is not None
    }


def start_table(report: Report) -> Table:
    """Lay out what each step of a start adds."""
    steps = start_steps(report)
    return [{"step": name, "adds, million instructions": f"{count:.1f}"} for name, count in steps.items()]


def plot_start(report: Report) -> Any:
    """Draw what each step of a start adds."""
    steps = start_steps(report)
    figure, axes = draw(0.9 + 0.33 * len(steps))
    bars = axes.barh(range(len(steps)), list(steps.values()), 0.7, color=BLUE)
    axes.bar_label(bars, [f"{count:.0f}" for count in steps.values()], padding=3, size=9)
    axes.set_yticks(range(len(steps)), list(steps))
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="adds, million instructions", ylim=(len(steps) - 0.4, -0.6), xlim=(0, 1.15 * max(steps.values())))
    return figure


def _say_start(report: Report) -> str:
    steps = start_steps(report)
    most = max(steps, key=steps.__getitem__)
    return f"{sum(steps.values()):.0f} million in all; most, {steps[most]:.0f}, for: {most}."


def _instructions(report: Report) -> str | None:
    counts = report["result"]["instructions_m"]
    return None if counts is None else f"{counts['first cue']:,.0f}".replace(",", " ")


# memory, soak


def plot_memory(report: Report) -> Any:
    """Draw resident memory over the minutes."""
    minutes = report["result"]["minutes"]
    t, rss = [sample["t"] / 60 for sample in minutes], [sample["rss_mb"] for sample in minutes]
    middle = (min(rss) + max(rss)) / 2
    reach = max(1.0, max(rss) - min(rss))  # MB: less than that looks like what it is, flat
    figure, axes = draw(2.6)
    axes.plot(t, rss, "o-", color=BLUE, markersize=4)
    axes.set(xlabel="minutes since the begin", ylabel="resident memory (MB)")
    axes.set(xlim=(0, None), ylim=(middle - reach, middle + reach))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(alpha=0.3)
    return figure


def slope(report: Report) -> str:
    """Say by how much memory grew an hour."""
    result = report["result"]
    return f"{result['slope_mb_per_hour']:.2f} \N{PLUS-MINUS SIGN} {result['slope_error']:.1g}"


def _say_memory(report: Report) -> str:
    result = report["result"]
    return (
        f"{slope(report)} MB an hour, after all that is kept is full; {result['rss_mb']:.1f} MB at the end, "
        f"{result['peak_rss_mb']:.1f} at most."
    )


def _endured(report: Report) -> str:
    result = report["result"]
    return (
        f"{slope(report)} MB an hour; {result['fps_least']:.1f} fps in the slowest minute; {result['dropped']} dropped"
    )


# peers


def peers_table(report: Report) -> Table:
    """Lay the systems out side by side, and ours by theirs."""
    rows = []
    for name, system in report["result"]["systems"].items():
        if reason := system.get("missing"):
            rows.append(dict.fromkeys(PEERS, NONE) | {"system": f"{name}: {reason}"})
            continue
        against = (system.get("against") or {}).get("cpu_ms_per_frame")
        accuracy = system.get("accuracy") or {}
        changes = (system["label_changes_per_minute"], system["display_changes_per_minute"])
        cells = (
            name,
            f"{system['cpu_ms_per_frame']:.1f}",
            f"{against['median']:.3f} ({against['least']:.3f} to {against['most']:.3f})" if against else NONE,
            f"{system['wall_ms_per_frame']:.1f}",
            f"{system['peak_rss_mb']:.0f}",
            f"{system['start_cpu_s']:.2f}",
            share(system["share_with_face"]),
            " / ".join(NONE if change is None else f"{change:.0f}" for change in changes),
            share(accuracy["share"]) if "share" in accuracy else NONE,
        )
        rows.append(dict(zip(PEERS, cells, strict=True)))
    return rows


PEERS = (
    "system",
    "CPU of a frame, ms",
    "our CPU by its",
    "elapsed, ms",
    "memory, MB",
    "start, CPU s",
    "frames with a face",
    "changes a minute: label / shown",
    "PrivateTest, FER2013's label",
)


def plot_peers(report: Report) -> Any:
    """Draw CPU of a frame, memory and CPU of a start of the systems that are there, side by side."""
    present = _present(report)
    panels = (
        ("cpu_ms_per_frame", "CPU of a frame (ms)"),
        ("peak_rss_mb", "memory (MB)"),
        ("start_cpu_s", "start (CPU s)"),
    )
    figure, several = draw(1.1 + 0.34 * len(present), 1, ncols=3, sharey=True, width_ratios=(1.3, 1, 1))
    for axes, (key, title) in zip(several, panels, strict=True):
        values = [system[key] for system in present.values()]
        bars = axes.barh(range(len(values)), values, 0.7, color=[ORANGE, *[BLUE] * (len(values) - 1)])
        axes.bar_label(bars, [f"{value:.3g}" if value < 100 else f"{value:.0f}" for value in values], padding=2, size=8)
        axes.set(xlim=(0, 1.35 * max(values)), ylim=(len(values) - 0.4, -0.6))
        axes.set_xlabel(title, size=9)
        axes.locator_params(axis="x", nbins=3)
        axes.tick_params(labelsize=8)
        axes.tick_params(axis="y", length=0)
    several[0].set_yticks(
        range(len(present)), [name.replace("face_classification", "face_classif.") for name in present]
    )
    return figure


def _present(report: Report) -> dict[str, Mapping[str, Any]]:
    return {name: system for name, system in report["result"]["systems"].items() if not system.get("missing")}


def _say_peers(report: Report) -> str:
    told = [
        f"{name} takes {1 / system['against']['cpu_ms_per_frame']['median']:.1f} times our CPU a frame"
        for name, system in _present(report).items()
        if system.get("against")
    ]
    return f"{'; '.join(told) or 'nobody else was there'}."


# arm


def forecast_table(report: Report) -> Table:
    """Lay out instructions a frame and the forecast by board."""
    result = report["result"]
    counts = {(run["core"], run["runtime"]): run["stages"]["whole"]["mean"] for run in result["runs"]}
    rows: dict[str, dict[str, str]] = {}
    for board in result["boards"]:
        row = rows.setdefault(
            board["board"],
            {"board": f"{board['board']} ({board['core']}, {board['clock_ghz']:g} GHz)"},
        )
        runtime = board["runtime"]
        row[f"{runtime}: million instructions a frame"] = f"{counts[board['core'], runtime]:.1f}"
        row[f"{runtime}: forecast, fps"] = board["expected_fps"].replace("-", " to ")
    return list(rows.values())


def count_table(report: Report) -> Table:
    """Lay out the counts by core, runtime and stage."""
    return [
        {
            "core": run["core"],
            "runtime": f"{run['runtime']} {run['version']}",
            **{f"{name}, mean": f"{values['mean']:.2f}" for name, values in run["stages"].items()},
            "whole, p95": f"{run['stages']['whole']['p95']:.2f}",
            "first frame": f"{run['stages']['whole']['first']:.1f}",
            "start": f"{run['start']:.0f}",
        }
        for run in report["result"]["runs"]
    ]


def plot_counts(report: Report) -> Any:
    """Draw the mean counts by stage, a bar a core and runtime."""
    runs = sorted(report["result"]["runs"], key=lambda run: run["core"])
    rows = [{name: run["stages"][name]["mean"] for name in STAGES if name in run["stages"]} for run in runs]
    figure, axes = draw(1.3 + 0.34 * len(runs))
    _stack(axes, rows, [f"{run['core']}, {run['runtime'].removeprefix('ai-edge-')}" for run in runs])
    axes.tick_params(axis="y", labelsize=9)
    axes.set(xlabel="million instructions a frame, mean")
    figure.legend(loc="outside upper center", ncols=len(rows[0]), frameon=False, fontsize=9)
    return figure


def plot_forecast(report: Report) -> Any:
    """Draw the range of frames a second that is forecast by board and runtime."""
    boards = report["result"]["boards"]
    names = list(dict.fromkeys(board["board"] for board in boards))
    runtimes = list(dict.fromkeys(board["runtime"] for board in boards))
    figure, axes = draw(1.5 + 0.4 * len(names))
    for board in boards:
        place = names.index(board["board"]) + 0.3 * (runtimes.index(board["runtime"]) - (len(runtimes) - 1) / 2)
        low, high = map(float, board["expected_fps"].split("-"))
        first = board["runtime"] == runtimes[0]
        label = board["runtime"] if board["board"] == names[0] else None
        style = {"color": BLUE, "linestyle": "-"} if first else {"color": ORANGE, "linestyle": (0, (1, 0.4))}
        axes.plot((low, high), (place, place), linewidth=5, solid_capstyle="butt", label=label, **style)
    axes.axvline(30, color=GRAY, linewidth=1, linestyle=":")
    axes.annotate("a camera's 30", (30, -0.62), (3, 0), textcoords="offset points", size=8, va="top", color="#555555")
    axes.set_yticks(range(len(names)), [f"Pi {name}" for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set(
        ylim=(len(names) - 0.4, -0.75), xscale="log", xlabel="forecast frames a second, not measured (logarithmic)"
    )
    axes.set_xticks([10, 20, 50, 100, 200, 500, 1000])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def _say_counts(report: Report) -> str:
    means = [run["stages"]["whole"]["mean"] for run in report["result"]["runs"]]
    return f"From {min(means):.1f} to {max(means):.1f} million instructions a frame, counted under emulation."


def _say_forecast(report: Report) -> str:
    return "A forecast: " + "; ".join(
        f"{board['board']} with {board['runtime']} {board['expected_fps'].replace('-', ' to ')}"
        for board in report["result"]["boards"]
    )


MEMORY = Plot("Does its memory grow?", _say_memory, plot_memory)

SECTIONS: Mapping[str, Section] = {
    "stages": Section(
        "What a frame costs, stage by stage",
        rows={
            "frames of": lambda report: "{source}, {width}x{height}".format(**report["result"]),
            "CPU of a frame, ms": spread("cpu_ms_per_frame"),
            "frames a second, as fast as it goes": spread("fps", ".0f"),
            "power, W": power,
        },
        tables={"By stage": stage_table},
        plots={"stages": Plot("Where does a frame's time go?", _say_stages, plot_stages, first=True)},
    ),
    "scale": Section(
        "By frame size, faces, threads and runtime",
        rows={
            "CPU of a frame of 1920x1080, ms": spread("whole_1920x1080_cpu_ms"),
            "CPU of a frame with 8 faces, ms": spread("whole_8_faces_cpu_ms"),
            "setting that is best here": lambda report: report["result"]["recommendations"][0]["setting"],
        },
        tables={"By point": scale_table, "A network's run": network_table},
        plots={
            "scale": Plot("What do size and faces cost?", _say_scale, plot_scale),
            "threads": Plot("How many threads should the network have?", _say_threads, plot_threads),
        },
    ),
    "e2e": Section(
        "From capture to shown",
        rows={
            "capture to shown, p50 / p95, ms": lambda report: _pair(report["result"]["latency_ms"], "p50", "p95"),
            "frames a second, at the source's pace": lambda report: (
                f"{report['result']['fps']:.1f}, {report['result']['missed']} of {report['result']['frames']} not shown"
            ),
        },
        plots={"jitter": Plot("How steady is the rhythm?", _say_jitter, plot_jitter)},
    ),
    "start": Section(
        "From the process's start to the first cue",
        rows={
            "start to first cue, s": spread("elapsed_s"),
            "start to first cue, CPU s": spread("cpu_s"),
            "start to first cue, million instructions": _instructions,
        },
        tables={"By step": start_table},
        plots={
            "start": Plot(
                "What does a start do?", _say_start, plot_start, there=lambda report: bool(start_steps(report))
            )
        },
    ),
    "memory": Section(
        "Memory over ten minutes",
        rows={
            "memory at most, MB": lambda report: f"{report['result']['peak_rss_mb']:.0f}",
            "memory's growth, MB an hour": slope,
        },
        plots={"memory": MEMORY},
    ),
    "idle": Section(
        "With nobody there",
        rows={
            "of a core, with somebody / nobody there": lambda report: (
                f"{share(report['result']['busy_share'])} / {share(report['result']['idle_share'])}"
            ),
        },
    ),
    "soak": Section("Half an hour", rows={"half an hour": _endured}, plots={"soak": MEMORY}),
    "peers": Section(
        "Beside what others use",
        tables={"Side by side": peers_table},
        plots={"peers": Plot("What do others cost?", _say_peers, plot_peers, first=True)},
        first="Side by side",
    ),
    "arm": Section(
        "What a frame costs an Arm core",
        tables={"Forecast by board, not measured": forecast_table, "Counted, million instructions": count_table},
        plots={
            "arm": Plot("Which stage costs an Arm core how much?", _say_counts, plot_counts, first=True),
            "forecast": Plot("What may boards make of it?", _say_forecast, plot_forecast),
        },
        first="Forecast by board, not measured",
    ),
}
