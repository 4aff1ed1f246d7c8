"""Compares the cue with what the demo person really shows; the demo's own judge, not for `--sink`."""

from __future__ import annotations

from edge.cue.policy import WORD_OF
from edge.settings import CueSettings
from edge.sources.demo import DemoSource
from edge.types import Capabilities, Update


class TruthSink:
    """Count the frames whose cue is true, among those whose truth has held longer than the policy's delay."""

    capabilities = Capabilities(every_frame=True, reopens=False)

    def __init__(self, source: DemoSource, settings: CueSettings) -> None:
        self._source = source
        self._delay = settings.delay
        self._words = {name: name for name in WORD_OF} if settings.vocabulary == "full" else WORD_OF
        self.steady = 0
        self.right = 0

    def show(self, update: Update) -> None:
        """Compare one frame's cue."""
        if update.frame is None:
            return
        truth = self._source.truth(update.frame.seq)
        if truth.steady_for < self._delay:
            return
        self.steady += 1
        if truth.expression is None:
            self.right += update.cue.state == "no_face"
        else:
            self.right += update.cue.expression == self._words[truth.expression]

    def close(self) -> None:
        """Keep the counts."""

    def summary(self) -> str:
        """Return how often the cue was true."""
        if not self.steady:
            return f"cue as the demo person's truth: no frame was steady for over {self._delay:.1f} s; run it longer"
        share = self.right / self.steady
        return (
            f"cue as the demo person's truth: {share:.1%} of {self.steady} frames steady for over {self._delay:.1f} s"
        )
