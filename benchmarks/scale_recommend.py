"""Which number of threads `cuelens-bench scale` recommends, of what it measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.compare import interval

MORE_CPU = 0.2  # share by which a setting may cost more than the cheapest and still be recommended


def cpu_of(network: Mapping[str, Any]) -> float:
    """Return what a read costs in CPU ms, threads that wait for each other included: the rounds' median mean."""
    return float(statistics.median(network["cpu_mean_rounds"]))


def choose(networks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return those of a network's points that cost little enough CPU, the fastest first."""
    least = min(map(cpu_of, networks))
    cheap = [point for point in networks if cpu_of(point) <= (1 + MORE_CPU) * least]
    return sorted(cheap, key=lambda point: float(point["wall_ms"]["p90"]))


def recommend(networks: Sequence[Mapping[str, Any]], model: str, threads: int) -> dict[str, Any]:
    """Return which number of threads a network should have, where `threads` is the present one.

    `verdict` is keep (the present one is the best), change, or undecided (what would be better cannot be distinguished
    from it); `margin` is the ratio of the best to the present one, or of the next to it where it is the best.
    """
    own = [point for point in networks if point["model"] == model]
    settable = [point for point in own if point["setting"]]
    (present,) = (point for point in settable if point["threads"] == threads)
    best, *others = choose(settable)
    cheap = [best, *others]
    other = best
    if best is present:
        other = others[0] if others else min((point for point in settable if point is not present), key=cpu_of)
    by_time = present in cheap and other in cheap
    kind = "wall_p90_rounds" if by_time else "cpu_mean_rounds"
    span = interval(present[kind], other[kind])
    text = f"threads = {other['threads']} takes {_times(span)} {'as long' if by_time else 'the CPU'} as {threads}"
    verdict = "undecided"
    if best is present and span[1] > 1:
        verdict, text = "keep", f"threads = {threads} is best: {text}, and is the next"
    elif best is not present and span[2] < 1:
        verdict, text = "change", f"write threads = {best['threads']}: {text}"
    else:
        text += f"; the intervals overlap, so keep threads = {threads}"
    fastest = choose(own)[0]
    if not fastest["setting"] and (gain := interval(best["wall_p90_rounds"], fastest["wall_p90_rounds"]))[2] < 1:
        text += (
            f"; {fastest['runtime']} with {fastest['delegate']}, threads {fastest['threads']}, would take "
            f"{_times(gain)} as long, but no setting chooses it"
        )
    return {
        "model": model,
        "verdict": verdict,
        "setting": f"threads = {best['threads'] if verdict == 'change' else threads}",
        "margin": dict(zip(("ratio", "low", "high"), (round(end, 3) for end in span), strict=True)),
        "text": text,
    }


def _times(span: tuple[float, float, float]) -> str:
    return f"{span[0]:.2f} times ({span[1]:.2f}-{span[2]:.2f})"
