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
SIGNALS = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU, signal.SIGIO, signal.SIGPWR),
    *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)
# A shell script ignores these for what it starts in the background; the others are ignored on purpose: nohup's SIGHUP.
NEVER_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
PATIENCE = 4.5  # seconds from a signal to a forced end: sinks have 3 to finish, and systemd kills after 5
_OVER = b"\0"  # no signal's number


@contextlib.contextmanager
def ended_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` on any of SIGNALS; a process that still lives PATIENCE seconds after one is ended by force."""
    # A handler in Python waits until the main thread is back from what it is in; this descriptor is written to at once.
    heard, said = os.pipe()
    os.set_blocking(said, False)

    def obey() -> None:
        number = os.read(heard, 1)
        os.close(heard)
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
    signal.set_wakeup_fd(said)
    threading.Thread(target=obey, name="signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        with contextlib.suppress(BrokenPipeError):  # a signal came
            os.write(said, _OVER)
        os.close(said)
