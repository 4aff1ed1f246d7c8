"""Calls of the loop into native libraries: one that fails is skipped; what keeps failing is loaded again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from edge.errors import ModelFailed
from edge.system.messages import Warned
from edge.types import Clock

Given = ParamSpec("Given")
Result = TypeVar("Result")

IN_A_ROW = 3  # failures until it is loaded again, and as many after that until the run ends
REPORT_INTERVAL = 10.0  # seconds between lines about single failures


class RetryingCall:
    """Makes calls of one kind, and counts those that fail."""

    def __init__(
        self,
        name: str,
        rebuild: Callable[[], None],
        count: Callable[[str], None],
        say: Callable[[str], None],
        clock: Clock = time.monotonic,
    ) -> None:
        """Begin without a failure; `count` gets the name once for each."""
        self._clock = clock
        self._name = name
        self._rebuild = rebuild
        self._count = count
        self._say = say
        self._failed = 0  # in a row
        self._reported = -math.inf

    def __call__(self, call: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result | None:
        """Return what the call returns, None where it fails; raises ModelFailed when nothing helps."""
        try:
            result = call(*args, **kwargs)
        except Exception as error:  # OpenCV, numpy and the interpreters have their own, and MemoryError
            self._fail(error)
            return None
        self._failed = 0
        return result

    def _fail(self, error: Exception) -> None:
        self._failed += 1
        self._count(self._name)
        what = f"{self._name}: {type(error).__name__}: {error}"
        if self._failed == 2 * IN_A_ROW:
            raise ModelFailed(f"{what}; {IN_A_ROW} times in a row after it was loaded again; start again") from error
        if (now := self._clock()) - self._reported > REPORT_INTERVAL:
            self._reported = now
            self._say(Warned(f"{what}; left out"))
        if self._failed == IN_A_ROW:
            self._say(Warned(f"{self._name}: failed {IN_A_ROW} times in a row; loading it again"))
            try:
                self._rebuild()
            except Exception as failure:
                raise ModelFailed(f"{what}; and it cannot be loaded again: {failure}; start again") from failure
