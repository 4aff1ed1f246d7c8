"""What is left when the service is no longer restarted: its displays say that it stopped, why, and how to see more.

A run leaves the reason in the state folder, or what the service manager says of its end is put there; `cuelens safe`
shows it, with no camera and no network of faces, until the service is started again.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from edge.errors import CuelensError, SinkFailed
from edge.files import replace_file
from edge.runtime.control import Control, without_folders
from edge.system.messages import Failed, failed, say
from edge.system.secrecy import plain
from edge.system.systemd import state_folder

FILE = "failure"  # in the state folder
PAGE = 5.0  # seconds for which each page is shown
REPEAT = 1.0  # seconds between updates: a window that hears nothing looks hung
END = 3.0  # seconds that the sinks have to end
MORE = "./deploy.sh logs, or cuelens check on the device, say more"
_IDENTIFIER = re.compile(r" \[[a-z-]+\]$")
RESULTS = {  # of $SERVICE_RESULT, systemd.exec(5)
    "watchdog": "it hung: its loop gave no word for ten seconds",
    "timeout": "it took too long to start or to end",
    "oom-kill": "it took more memory than there is",
    "signal": "it was killed by SIG{status}",
    "core-dump": "it crashed by SIG{status}",
    "exit-code": "it ended with exit code {status}",
}


def _file(environment: Mapping[str, str]) -> Path | None:
    folder = state_folder(environment)
    return folder / FILE if folder else None


def forget_failure() -> None:
    """Take away what an earlier run of the service left."""
    if path := _file(os.environ):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def keep_failure(error: BaseException) -> None:
    """Keep why a run of the service ends; what cannot be written is still in the journal."""
    if path := _file(os.environ):
        known = error if isinstance(error, CuelensError) else CuelensError(f"{type(error).__name__}: {error}")
        with contextlib.suppress(CuelensError):
            replace_file(path, f"{plain(known.line)}\n".encode())


def keep_result(environment: Mapping[str, str] = os.environ) -> None:
    """Keep the service manager's reason for a run's end, in its ExecStopPost, where the run itself left none."""
    path, words = _file(environment), RESULTS.get(environment.get("SERVICE_RESULT", ""))
    if path and words and not path.exists():
        with contextlib.suppress(CuelensError):
            replace_file(path, f"{words.format(status=environment.get('EXIT_STATUS', '?'))}\n".encode())


def read_failure() -> str:
    """Return in a line why the service's last run ended, with the cause's identifier where the run itself ended it."""
    path = _file(os.environ)
    text = ""
    if path:
        with contextlib.suppress(OSError):
            text = path.read_text(encoding="utf-8", errors="replace")
    return " ".join(text.split()) or "it does not start"


def pages(failure: str) -> list[str]:
    """Return what is shown in turns: "" for the cue's glyph, then what failed, what is to be done, who knows more."""
    parts = without_folders(_IDENTIFIER.sub("", failure)).split("; ", 1)
    return ["", *parts, MORE]


class _Stopped(Control):
    """A Control whose notices repeat without an end."""

    shown: tuple[str, ...] = ()

    def notice(self, now: float) -> str:
        return self.shown[int(now / PAGE) % len(self.shown)]


def show_failure(control: Control, failure: str, stop: threading.Event, seconds: float | None = None) -> None:
    """Show on the settings' sinks that it stopped, and why, until `stop` is set or `seconds` have passed."""
    from edge.runtime.metrics import SinkMetrics
    from edge.runtime.sink_worker import SinkWorker
    from edge.sinks.opening import MissingSink, open_sink
    from edge.sinks.table import needs_of
    from edge.types import Cue, Sink, Update

    stopped = _Stopped(control.settings)
    stopped.shown = tuple(pages(failure))
    begun = time.monotonic()
    update = Update(None, (), (), (), Cue("stopped", None, 0.0, begun), {}, 0)
    workers: list[SinkWorker] = []
    for spec in control.settings.sinks:
        sink: Sink
        try:
            if not needs_of(spec, control.settings).safe_mode:
                continue
            sink = open_sink(spec, stopped)
        except SinkFailed as error:
            sink = MissingSink(error)
        except CuelensError as error:
            say(failed(error, "left out", "cuelens"))
            continue
        workers.append(
            SinkWorker(
                spec,
                sink,
                SinkMetrics(),
                live=True,
                reopen=lambda again: open_sink(again, stopped),
                unknown=lambda: update,
            )
        )
    identifier = _IDENTIFIER.search(failure)
    say(Failed(f"cuelens: stopped: {_IDENTIFIER.sub('', failure)}; {MORE}{identifier[0] if identifier else ''}"))
    shown = time.monotonic()  # opening the sinks takes its time
    while not stop.is_set() and (seconds is None or time.monotonic() - shown < seconds):
        for worker in workers:
            worker.put(update)
            for line in worker.news(time.monotonic()):
                say(type(line)(f"cuelens: {line}"))
        stop.wait(REPEAT)
    for worker in workers:
        worker.mailbox.close()
    deadline = time.monotonic() + END
    for worker in workers:
        worker.join(deadline)
