"""A network's interpreters, by runtime, by who runs its operators and by threads, as points of the sweep."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.walk import Cost
from edge.runtime.metrics import percentile
from edge.system.quiet import quiet
from edge.types import Clock
from edge.vision.tflite import RUNTIMES, models_folder, name_delegate, read_model

READS, READS_SECONDS = 100, 0.2
PERCENTS = (50, 90, 99)
# By who runs the operators: the names of the interpreter's resolvers.
DEFAULT, BUILT_IN, REFERENCE = "AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF"
Turn = dict[str, list[Cost]]  # what a point's frames or reads took, by stage


class NetworkPoint:
    """A network's interpreter, on noise."""

    def __init__(self, about: dict[str, Any], interpreter: Any) -> None:
        self.about = about
        self._interpreter = interpreter
        draw = np.random.default_rng(0)
        self._inputs = [
            (end["index"], draw.integers(-128, 128, end["shape"]).astype(end["dtype"]))
            for end in interpreter.get_input_details()
        ]
        self._outputs = [end["index"] for end in interpreter.get_output_details()]

    def warm_up(self) -> None:
        """Read without being counted."""
        self.take_turn()

    def take_turn(self, clock: Clock = time.monotonic) -> Turn:
        """Read some times; `clock` says when READS_SECONDS are over."""
        costs = []
        end = clock() + READS_SECONDS
        for _ in range(READS):
            begun = time.perf_counter(), time.process_time()
            for index, picture in self._inputs:
                self._interpreter.set_tensor(index, picture)
            self._interpreter.invoke()
            for index in self._outputs:
                self._interpreter.get_tensor(index)
            now = time.perf_counter(), time.process_time()
            costs.append((1000 * (now[0] - begun[0]), 1000 * (now[1] - begun[1])))
            if clock() >= end:
                break
        return {"read": costs}

    def describe(self, turns: Sequence[Turn]) -> dict[str, Any]:
        """Return it for the report."""
        costs = [turn["read"] for turn in turns]
        return {
            **self.about,
            "reads": sum(map(len, costs)),
            **describe_costs(costs),
            "wall_p90_rounds": rounds_of(costs, 0, 90),
            "cpu_mean_rounds": [round(mean_cpu_ms(turn), 5) for turn in costs],
        }


def rounds_of(turns: Sequence[Sequence[Cost]], place: int, percent: float) -> list[float]:
    """Return a percentile of each turn, in ms: of wall (`place` 0) or CPU (1)."""
    return [round(percentile([cost[place] for cost in costs], percent), 5) for costs in turns]


def mean_cpu_ms(costs: Sequence[Cost]) -> float:
    """Return the mean of CPU ms."""
    return statistics.fmean(cpu for _, cpu in costs)


def describe_costs(turns: Sequence[Sequence[Cost]]) -> dict[str, dict[str, float]]:
    """Return the median over the turns of their percentiles, of wall and of CPU."""
    return {
        kind: {f"p{percent}": round(statistics.median(rounds_of(turns, place, percent)), 4) for percent in PERCENTS}
        for place, kind in enumerate(("wall_ms", "cpu_ms"))
    }


def build_networks(path: Path, threads: Sequence[int]) -> tuple[list[NetworkPoint], list[str]]:
    """Build a network's file in every runtime here, by all who may run it; returns them, and a line for each left out.

    The file must have been held to its contract: of a damaged one a runtime dies.
    """
    name = path.stem if path.parent == models_folder() else str(path)
    content = read_model(path)
    points: list[NetworkPoint] = []
    left_out: list[str] = []
    first = True  # of the runtimes that are here: the device's
    for distribution, module_name in RUNTIMES:
        try:
            module = import_module(module_name)
        except ImportError:
            continue
        runtime = f"{distribution} {import_module(module_name.partition('.')[0]).__version__}"
        delegated = False
        for resolver in (DEFAULT, BUILT_IN, REFERENCE):
            if resolver == BUILT_IN and not delegated:
                continue  # is what the default was
            for count in threads:
                try:
                    with quiet():
                        interpreter = module.Interpreter(
                            model_content=content,
                            num_threads=count,
                            experimental_op_resolver_type=getattr(module.OpResolverType, resolver),
                        )
                        interpreter.allocate_tensors()
                except (ValueError, RuntimeError, SystemError, ImportError, AttributeError) as error:
                    left_out.append(f"{name}, {runtime}, {resolver}: {' '.join(str(error).split())}")
                    break
                delegate = "reference kernels" if resolver == REFERENCE else name_delegate(interpreter)
                delegated = delegated or delegate == "XNNPACK"
                about = {"model": name, "runtime": runtime, "delegate": delegate, "threads": count}
                points.append(NetworkPoint(about | {"setting": first and resolver == DEFAULT}, interpreter))
        first = False
    return points, left_out
