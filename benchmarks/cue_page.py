"""The page that `cuelens-bench cue tune` writes: what each setting buys, and right words against shown ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.files import replace_file

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 420, 70, 50  # pixels of the plot, and of its margins with numbers
LOOKS = {"calm": ("#5b8def", "square"), "normal": ("#222", "circle"), "quick": ("#d97706", "triangle")}
_HEAD = """Written by `cuelens-bench cue tune`, for the network {}. Shown and right are of the frames to which the eye
gives a word (`clip_words.csv`); `talk` counts all frames of people who talk, and its changes include steps to and from
`unsure`."""
NAMES = {
    "coverage": "shown",
    "right": "right of shown",
    "mean_coverage": "shown, mean of clips",
    "mean_right": "right, mean of clips",
    "talk_shown": "talk: a word shown",
    "talk_changes": "talk: changes a minute",
}


def write_page(path: Path, result: Mapping[str, Any], model: str) -> None:
    """Write the Markdown page of a tuning's result, and its plot beside it; raises what `replace_file` raises."""
    drawn = path.with_suffix(".svg")
    replace_file(drawn, draw_curve(result["curve"], result["points"]).encode())
    lines = [
        "# What the cue's settings buy",
        "",
        _HEAD.format(model[:12]),
        "",
        f"![Right of what is shown against what is shown, by caution, and the three sensitivities]({drawn.name})",
        "",
        *_table(
            [
                {"sensitivity": each["sensitivity"]} | _shown(each) | {"onset s": each["onset_s"]}
                for each in result["points"]
            ]
        ),
    ]
    if result["held_out"]:
        lines += [
            "",
            "Chosen without each fifth of the people, and judged on it:",
            "",
            *_table([{"clips": name} | _held_out(part) for name, part in result["held_out"].items()]),
        ]
    lines += ["", "One setting at another value, the others as chosen:", ""]
    lines += _table([{"setting": each["setting"], "value": each["value"]} | _shown(each) for each in result["buys"]])
    replace_file(path, ("\n".join(lines) + "\n").encode())


def _shown(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: figures[key] for key, name in NAMES.items()}


def _held_out(part: Mapping[str, float]) -> dict[str, float]:
    return {
        "shown": part["coverage"],
        "right of shown": part["cue_right"],
        "shown, mean of clips": part["mean_coverage"],
        "right, mean of clips": part["mean_cue_right"],
        "a word shown": part["mean_shown"],
        "changes a minute": part["mean_cue_changes"],
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    head = list(rows[0])
    body = [
        [f"{value:.3f}" if isinstance(value, float) and key != "value" else f"{value}" for key, value in row.items()]
        for row in rows
    ]
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body)]


def draw_curve(curve: Sequence[Mapping[str, float]], points: Sequence[Mapping[str, Any]]) -> str:
    """Return an SVG of right words against shown ones: the curve of caution, each sensitivity as a named mark."""
    every = [*curve, *points]
    ends = [(min(each[key] for each in every), max(each[key] for each in every)) for key in ("coverage", "right")]
    (left, right), (low, high) = [
        (low - 0.1 * (high - low) - 0.005, high + 0.1 * (high - low) + 0.005) for low, high in ends
    ]

    def at(each: Mapping[str, Any]) -> tuple[float, float]:
        x = LEFT + (each["coverage"] - left) / (right - left) * (WIDTH - LEFT - 20)
        return x, HEIGHT - BOTTOM - (each["right"] - low) / (high - low) * (HEIGHT - BOTTOM - 20)

    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<path d="M{LEFT},20 V{HEIGHT - BOTTOM} H{WIDTH - 20}" fill="none" stroke="#666"/>',
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 10}" text-anchor="middle">shown, of frames with a word</text>',
        f'<text transform="translate(18,{HEIGHT / 2}) rotate(-90)" text-anchor="middle">right, of what is shown</text>',
    ]
    for step in range(5):
        part, share = left + step / 4 * (right - left), low + step / 4 * (high - low)
        x, y = at({"coverage": part, "right": share})
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{part:.2f}</text>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share:.3f}</text>')
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, curve))
    parts.append(f'<polyline points="{line}" fill="none" stroke="#888" stroke-width="1.5"/>')
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="#888"/>' for x, y in map(at, curve)]
    for each in points:
        (x, y), (colour, shape) = at(each), LOOKS[each["sensitivity"]]
        parts.append(_mark(x, y, colour, shape))
        parts.append(f'<text x="{x + 9:.1f}" y="{y - 7:.1f}" fill="{colour}">{each["sensitivity"]}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _mark(x: float, y: float, colour: str, shape: str) -> str:
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour}"/>'
    corners = ((-6, -6), (6, -6), (6, 6), (-6, 6)) if shape == "square" else ((0, -7), (7, 6), (-7, 6))
    points = " ".join(f"{x + right:.1f},{y + down:.1f}" for right, down in corners)
    return f'<polygon points="{points}" fill="{colour}"/>'
