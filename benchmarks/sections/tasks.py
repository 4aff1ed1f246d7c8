"""What the results page shows of a report, by task: rows of the boards' table, tables of its own, plots.

One report of benchmarks.report in, text or a matplotlib figure out; benchmarks.page puts them together.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.sections.arm import count_table, forecast_table, plot_counts, plot_forecast, say_counts, say_forecast
from benchmarks.sections.peers import peers_table, plot_peers, say_peers
from benchmarks.sections.run import (
    endured,
    instructions,
    plot_jitter,
    plot_memory,
    plot_start,
    say_jitter,
    say_memory,
    say_start,
    slope,
    start_steps,
    start_table,
)
from benchmarks.sections.scale import network_table, plot_scale, plot_threads, say_scale, say_threads, scale_table
from benchmarks.sections.section import Plot, Section, power, share, spread
from benchmarks.sections.stages import plot_stages, say_stages, stage_table


def _pair(values: Mapping[str, float], *names: str, shape: str = ".1f") -> str:
    return " / ".join(format(values[name], shape) for name in names)


MEMORY = Plot("Does its memory grow?", say_memory, plot_memory)

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
        plots={"stages": Plot("Where does a frame's time go?", say_stages, plot_stages, first=True)},
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
            "scale": Plot("What do size and faces cost?", say_scale, plot_scale),
            "threads": Plot("How many threads should the network have?", say_threads, plot_threads),
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
        plots={"jitter": Plot("How steady is the rhythm?", say_jitter, plot_jitter)},
    ),
    "start": Section(
        "From the process's start to the first cue",
        rows={
            "start to first cue, s": spread("elapsed_s"),
            "start to first cue, CPU s": spread("cpu_s"),
            "start to first cue, million instructions": instructions,
        },
        tables={"By step": start_table},
        plots={
            "start": Plot(
                "What does a start do?", say_start, plot_start, there=lambda report: bool(start_steps(report))
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
    "soak": Section("Half an hour", rows={"half an hour": endured}, plots={"soak": MEMORY}),
    "peers": Section(
        "Beside what others use",
        tables={"Side by side": peers_table},
        plots={"peers": Plot("What do others cost?", say_peers, plot_peers, first=True)},
        first="Side by side",
    ),
    "arm": Section(
        "What a frame costs an Arm core",
        tables={"Forecast by board, not measured": forecast_table, "Counted, million instructions": count_table},
        plots={
            "arm": Plot("Which stage costs an Arm core how much?", say_counts, plot_counts, first=True),
            "forecast": Plot("What may boards make of it?", say_forecast, plot_forecast),
        },
        first="Forecast by board, not measured",
    ),
}
