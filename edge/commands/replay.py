"""`cuelens replay`: decide a log's cues again, without pixels."""

from __future__ import annotations

import argparse
import json

from edge.errors import printable_lines
from edge.settings import CueSettings, with_sensitivity
from edge.settings_file import load_settings


def run(args: argparse.Namespace) -> int:
    """Decide a log's cues again, and write, draw and count them."""
    from edge.diagnostics.replay import describe_summary, replay, summarise
    from edge.files import replace_file
    from edge.sinks.log import log_line

    settings = load_settings(args.settings).cue if args.settings else None
    if args.sensitivity:
        settings = with_sensitivity(settings or CueSettings(), args.sensitivity)
    decisions = list(replay(args.log, settings))
    if args.out:
        replace_file(args.out, b"".join(log_line(item.record) for item in decisions))
    if args.timeline:
        from edge.diagnostics.timeline import draw_timeline

        replace_file(args.timeline, draw_timeline(decisions, args.start, args.seconds).encode())
    summary = summarise(decisions)
    print(json.dumps(summary) if args.json else printable_lines(describe_summary(summary)))
    return 0
