"""On the emulated board, in the place of `cuelens run`: its sink shows the cue that a file names, until it is stopped.

The file has two words: the make of the glasses, and the visible expression, or `nobody`. Another file has what the sink
was given.
"""

import os
import signal
import threading
from pathlib import Path

from edge.runtime.control import Control
from edge.settings import Settings
from edge.sinks.opening import open_sink
from edge.system.systemd import notify
from edge.types import Cue, Update

WORN, OFFERED = Path("/run/worn"), Path(os.environ["RUNTIME_DIRECTORY"], "offered")

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
control = Control(Settings())
sink = open_sink(f"glasses:{WORN.read_text().split()[0]}", control)
noted = ""
notify("READY=1")
while not stop.wait(0.1):
    seen = WORN.read_text().split()[1]
    cue = Cue("no_face", None, 0.0, 0.0) if seen == "nobody" else Cue("expression", seen, 0.9, 0.0)
    sink.show(Update(None, (), (), (), cue, {}, 0))
    OFFERED.write_text(seen)
    problems = str((control.problems, control.links))
    if problems != noted:
        print(problems, flush=True)  # in the journal, which a test that fails shows
        noted = problems
sink.close()
