"""What is in radio reach of an emulated board: bumble's controller at the other end of its UART, and glasses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from bumble import core, hci
from bumble.controller import Controller
from bumble.link import LocalLink
from bumble.transport.unix import open_unix_client_transport

from tests.glasses.air import Peripheral

Result = TypeVar("Result")
Kind = TypeVar("Kind", bound=Peripheral)

ADDRESS = "F0:F1:00:00:00:00"  # the board's own
# What bumble's controller announces and does not do as Linux asks: Linux waits for answers that never come.
UNFIT = (
    hci.LeFeatureMask.LL_PRIVACY | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING | hci.LeFeatureMask.LE_PERIODIC_ADVERTISING
)


class Link(LocalLink):
    """bumble's link, which names a sender by the address of its connection: Linux connects from its public one."""

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: hci.Address,
        transport: core.PhysicalTransport,
        data: bytes,
    ) -> None:
        connection = sender_controller.le_connections.get(destination_address)
        receiver = self.find_le_controller(destination_address)
        if connection is not None and receiver is not None:
            source = connection.self_address
            asyncio.get_running_loop().call_soon(lambda: receiver.on_link_acl_data(source, transport, data))


class BoardAir:
    """The air around a board, in a thread with its own event loop."""

    def __init__(self, uart: Path, *peripherals: Peripheral) -> None:
        """Connect to the UART's socket, and have the glasses advertise."""
        self.link: Any = None
        self.controller: Any = None
        self._uart, self._peripherals = uart, peripherals
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="air", daemon=True)
        self._thread.start()
        self.do(self._open())

    async def _open(self) -> None:
        self.link = Link()
        self._transport = await open_unix_client_transport(str(self._uart))
        self.controller = Controller("board", self._transport.source, self._transport.sink, self.link, ADDRESS)
        self.controller.le_features &= ~UNFIT
        for peripheral in self._peripherals:
            await peripheral.join(self)  # type: ignore[arg-type]

    def find(self, kind: type[Kind]) -> Kind:
        """Return the glasses of a kind."""
        return next(one for one in self._peripherals if isinstance(one, kind))

    def do(self, what: Coroutine[Any, Any, Result]) -> Result:
        """Do something in the loop of the air, from another thread."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(120)

    async def _leave(self) -> None:
        for peripheral in self._peripherals:
            await peripheral.leave()
        await self._transport.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def close(self) -> None:
        try:
            self.do(self._leave())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
