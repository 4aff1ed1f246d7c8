"""Signals that end a run: received also while the loop is stuck in native code, and obeyed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

from edge.errors import LoopStuck
from edge.system.messages import failed, say

# All that end a process and may be caught. SIGABRT stays the watchdog's, whose process hangs; SIGPIPE and SIGXFSZ are
# errors of the write, as Python has it.
_NAMES = "INT TERM QUIT HUP USR1 USR2 ALRM VTALRM PROF XCPU IO PWR BREAK"  # the last is Windows' alone
SIGNALS = (
    *(getattr(signal, f"SIG{name}") for name in _NAMES.split() if hasattr(signal, f"SIG{name}")),
    *range(getattr(signal, "SIGRTMIN", 1), getattr(signal, "SIGRTMAX", 0) + 1),
)
# A shell script ignores these for what it starts in the background; the others are ignored on purpose: nohup's SIGHUP.
NEVER_IGNORED = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGQUIT", signal.SIGTERM))
PATIENCE = 4.5  # seconds from a signal to a forced end: sinks have 3 to finish, and systemd kills after 5
_OVER = b"\0"  # no signal's number


@contextlib.contextmanager
def ended_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` on any of SIGNALS; a process that still lives PATIENCE seconds after one is ended by force."""
    # A handler in Python waits until the main thread is back from what it is in; this descriptor is written to at once.
    reader, writer = os.pipe()
    if hasattr(os, "set_blocking"):  # not on Windows before Python 3.12, which asks for no such thing
        os.set_blocking(writer, False)

    def obey() -> None:
        number = os.read(reader, 1)
        os.close(reader)
        if number == _OVER:
            return
        stop.set()
        time.sleep(PATIENCE)
        # What else this could do needs what may hang: systemd's ExecStopPost puts the light out.
        say(failed(LoopStuck(f"did not end within {PATIENCE:g} s of a signal; ended by force"), program="cuelens"))
        os._exit(LoopStuck.exit_code)

    for number in SIGNALS:
        if number in NEVER_IGNORED or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: stop.set())
    signal.set_wakeup_fd(writer)
    threading.Thread(target=obey, name="signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        with contextlib.suppress(BrokenPipeError):  # a signal came
            os.write(writer, _OVER)
        os.close(writer)
