"""Rows of the fault table for sinks: every kind, the real one, sleeps, raises, and is unplugged, beside the others."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from edge.errors import RuntimeMissing, SinkFailed
from edge.runtime.control import Control
from edge.settings import Settings
from edge.sinks.mqtt_broker import MqttSettings
from edge.sinks.opening import open_sink
from edge.sinks.table import SINKS
from edge.types import Gray, Sink, Update
from tests.faults.stage import TRUE, Result, Stage, longest_gap, wait_until
from tests.support.sinks import spec_of

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
SLEEP = 6.0  # seconds: longer than any sink's deadline
FAULTS = ("raises", "is unplugged", "sleeps")


class Troubled:
    """A real sink that fails once it has worked for a while."""

    def __init__(self, sink: Sink, fault: Callable[[], None]) -> None:
        self.capabilities = sink.capabilities
        self._sink = sink
        self._fault = fault
        self._left = 10  # updates

    def show(self, update: Update) -> None:
        self._sink.show(update)
        self._left -= 1
        if not self._left:
            self._fault()

    def close(self) -> None:
        self._sink.close()


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[int | None]:
    """Run a broker for the time; yields its port, None where there is none on this system."""
    if MOSQUITTO is None:
        yield None
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    (folder / "mosquitto.conf").write_text(f"user root\nlistener {port} 127.0.0.1\nallow_anonymous true\n")
    with subprocess.Popen([MOSQUITTO, "-c", folder / "mosquitto.conf"], stderr=subprocess.DEVNULL) as process:
        yield port
        process.kill()


def play_sinks(folder: Path, film: list[Gray]) -> dict[tuple[str, str], Result]:
    """Play every kind with every fault, the kinds of one fault in one run; returns the results by kind and fault."""
    results = {}
    with broker(folder) as port:
        for fault in FAULTS:
            results |= {(kind, fault): result for kind, result in play_fault(fault, folder, film, port).items()}
    return results


def play_fault(fault: str, folder: Path, film: list[Gray], port: int | None) -> dict[str, Result]:
    control = Control(replace(Settings(), own={"mqtt": MqttSettings(port=port or 1883)}))
    failed: dict[str, float] = {}  # when each did

    def fail(kind: str) -> Callable[[], None]:
        def do() -> None:
            failed[kind] = time.monotonic()
            if fault == "sleeps":
                time.sleep(SLEEP)
            else:
                raise SinkFailed("unplugged") if fault == "is unplugged" else RuntimeError("odd")

        return do

    specs = {kind: spec_of(kind, folder) for kind in SINKS if kind != "mqtt" or port}
    absent = {} if port else {"mqtt": Result("", wrong=["needs mosquitto"])}
    sinks: list[tuple[str, Sink]] = []
    for kind, spec in specs.items():
        try:
            sinks.append((spec, Troubled(open_sink(spec, control), fail(kind))))
        except RuntimeMissing as error:
            absent[kind] = Result("", wrong=[str(error)])
    refused = set[str]()  # opened again once in vain

    def reopen(spec: str) -> Sink:
        if fault == "is unplugged" and spec not in refused:
            refused.add(spec)
            raise SinkFailed("still unplugged")
        return open_sink(spec, control)

    stage = Stage(folder, film, sinks, control, reopen)
    stage.start()
    stage.wait_shown(TRUE, 0.0)
    named = {spec.partition(":")[0]: (spec, sink.capabilities.reopens) for spec, sink in sinks}
    wait_until(lambda: failed.keys() == named.keys())
    others = Result("")
    gap = longest_gap(stage, others, min(failed.values()), max(failed.values()) - min(failed.values()) + 2)
    assert stage.control.metrics is not None
    health, results = stage.control.metrics.sinks, {}
    for kind, (spec, reopens) in named.items():
        result = Result(f"the sink {kind} {fault}", others.shown, gap, wrong=list(others.wrong))
        results[kind] = result
        if gap > 3:
            result.wrong.append(f"the others waited {gap:.1f} s")
        if fault != "sleeps" and not reopens:
            wait_until(lambda spec=spec: health[spec].state == "failed")
            result.ended = "left out"
        else:
            shown = health[spec].shown
            wait_until(lambda spec=spec, shown=shown: health[spec].state == "working" and health[spec].shown > shown)
            result.to_recover = time.monotonic() - failed[kind]
        about = f"sink {kind}" if fault != "is unplugged" else "unplugged"
        says = "an update takes it over" if fault == "sleeps" else "odd" if fault == "raises" else "unplugged"
        result.logged = next((line for line in stage.said if about in line and says in line), "")
        if not result.logged:
            result.wrong.append(f"nothing said: {stage.said}")
    if stage.end() > 6:
        others.wrong.append("did not end in time")
    for result in results.values():
        result.wrong += [line for line in others.wrong if line not in result.wrong]
    return results | absent
