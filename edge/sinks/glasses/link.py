"""The link to one pair of glasses: a thread with its own event loop that finds, connects, shows, and tries again."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

from bleak.exc import BleakError

from edge.runtime.links import LinkReport
from edge.settings import LookSettings
from edge.sinks.glasses.known import Wanted
from edge.sinks.glasses.radio import Connection, LinkLost, Radio, explain, needs_somebody
from edge.sinks.glasses.stage import Order, Stage, Waits
from edge.sinks.glasses.wearable import Make, Wearable
from edge.types import Clock

SCAN = 10.0  # seconds of looking for the glasses in one try
CONNECT = 15.0  # seconds for a connection, its services and its bond
SET_UP = 90.0  # seconds: what is saved on glasses, once, may be 100 kB
ANSWER = 3.0  # seconds for one order: glasses that answer nothing are lost before five have passed
LEAVE = 1.5  # seconds to blank and to disconnect at the end; the loop gives sinks three
LOW_BATTERY, CHARGED = 15, 25  # per cent: low is reported once below the first, and again only after the second
Say = Callable[[str, str], None]  # a kind of problem, and the problem, empty where it is over


def out_of_reach(name: str) -> str:
    """Return in a line that a link was lost, and what is to be done."""
    return f"{name} is out of reach, or off; come nearer, or turn it on"


class Link:
    """Keeps glasses connected for as long as it is open, and has them show what the stage wants."""

    def __init__(
        self,
        make: Make,
        wanted: Wanted,
        stage: Stage,
        report: LinkReport,
        look: Callable[[], LookSettings],
        say: Say,
        radio: Radio,
        clock: Clock = time.monotonic,
    ) -> None:
        """Start the thread; a link that does not come up is no error here: `report` has what is wrong."""
        self._make, self._wanted, self._stage, self._report = make, wanted, stage, report
        self._look, self._say, self._radio, self._clock = look, say, radio, clock
        self._low = False  # the battery, and it was reported
        self._loop = asyncio.new_event_loop()
        self._wake, self._leave = asyncio.Event(), asyncio.Event()
        self._serving = False
        self._up_at: float | None = None  # when the link came up, of the newest try
        self.failure: Exception | None = None  # a fault of ours, which ended the thread
        self._thread = threading.Thread(target=self._run, name=f"glasses {make.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the thread look at the stage now; any thread may."""
        self._call(self._wake.set)

    def close(self, patience: float = LEAVE) -> bool:
        """Blank the glasses and leave them; returns whether that ended within `patience` seconds."""
        self._call(self._leave.set)
        self.wake()
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _call(self, what: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(what)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._keep())
        except Exception as error:
            self.failure = error
        finally:
            self._report.state = "ended"
            self._loop.close()

    async def _keep(self) -> None:
        """Try again and again, until it is closed."""
        waits = Waits()
        leave = asyncio.create_task(self._leave.wait())
        await self._radio.open()
        try:
            while not leave.done():
                self._up_at = None
                session = asyncio.create_task(self._session())
                await asyncio.wait({session, leave}, return_when=asyncio.FIRST_COMPLETED)
                if not self._serving:  # else it ends by itself, and blanks first
                    session.cancel()
                try:
                    await session
                except asyncio.CancelledError:
                    break
                except Exception as error:
                    self._went_down(error)
                held = 0.0 if self._up_at is None else self._clock() - self._up_at
                await asyncio.wait({leave}, timeout=waits.after(held))
        finally:
            await self._radio.close()

    async def _session(self) -> None:
        """Look, connect and serve once; raises what ends it, but for the end of the link itself."""
        device = await self._radio.find(self._make, self._wanted, SCAN)
        self._stage.forget()
        async with self._radio.connect(device, self._make, CONNECT) as connection:
            connection.on_dropped = self._wake.set
            wearable = self._make.wearable(connection, self._look())
            try:
                async with asyncio.timeout(SET_UP):
                    await wearable.set_up()
                self._came_up(connection)
                self._serving = True
                await self._serve(wearable, connection)
            except (BleakError, TimeoutError) as error:
                if connection.dropped and not needs_somebody(error):  # while we wrote, or waited for an answer
                    raise LinkLost(out_of_reach(connection.name)) from error
                raise
            finally:
                self._serving = False
                self._report.bytes += connection.written

    async def _serve(self, wearable: Wearable, connection: Connection) -> None:
        """Carry out what the stage wants, until the link is closed; raises LinkLost, or what the glasses raise."""
        while not self._leave.is_set():
            if connection.dropped:
                raise LinkLost(out_of_reach(connection.name))
            connection.check_flood()
            self._wake.clear()
            self._hear_battery(connection)
            order = self._stage.take(self._clock())
            if order is not None:
                await self._carry_out(order, wearable)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._stage.wait(self._clock())):
                    await self._wake.wait()
        async with asyncio.timeout(LEAVE):
            await wearable.send(Order("blank"))

    async def _carry_out(self, order: Order, wearable: Wearable) -> None:
        begun = self._clock()
        async with asyncio.timeout(ANSWER):
            await wearable.send(order)
        self._report.orders += 1
        if order.kind == "draw":
            self._report.latency_ms.append(1000 * (self._clock() - begun))

    def _came_up(self, connection: Connection) -> None:
        self._up_at = self._clock()
        self._report.name, self._report.state, self._report.error = connection.name, "connected", ""
        self._say("link", "")

    def _went_down(self, error: Exception) -> None:
        """Say what ended a try, or kept it from coming up."""
        report = self._report
        report.error = explain(error, report.name or self._wanted.name or self._make.title)
        report.losses += self._up_at is not None
        if needs_somebody(error):
            report.state = "refused"
        elif report.losses:
            report.state = "lost"
        if report.state != "looking":
            self._say("link", f"glasses: {report.error}")

    def _hear_battery(self, connection: Connection) -> None:
        """Say once that the battery is low."""
        level = self._report.battery = connection.battery
        if level is None or (self._low and level < CHARGED) or (not self._low and level >= LOW_BATTERY):
            return
        self._low = level < LOW_BATTERY
        self._say("battery", f"glasses: {connection.name} has {level} % of its battery; charge it" if self._low else "")
