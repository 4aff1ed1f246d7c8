"""The agent that bluetoothd asks while it pairs: without one, glasses that have no keys to press are never answered."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from dbus_fast import BusType, DBusError, Message, MessageType
from dbus_fast.aio import MessageBus

BLUEZ, MANAGER_PATH = "org.bluez", "/org/bluez"
MANAGER, AGENT = "org.bluez.AgentManager1", "org.bluez.Agent1"  # doc/agent-api of BlueZ
PATH = "/org/cuelens/agent"
ANSWERED = ("Release", "Cancel", "RequestConfirmation", "RequestAuthorization")  # all that Just Works asks


class Agent:
    """Answers bluetoothd for one pair of glasses, which have neither display nor keys, and refuses all others."""

    def __init__(self, address: str) -> None:
        self._device = "dev_" + address.upper().replace(":", "_")

    def answer(self, message: Message) -> Message | None:
        """Return the answer to a call of the agent's interface, None for any other message."""
        if message.message_type is not MessageType.METHOD_CALL or message.interface != AGENT or message.path != PATH:
            return None
        member = message.member or ""
        ours = not message.body or str(message.body[0]).endswith(f"/{self._device}")
        if member in ANSWERED and ours:
            return Message.new_method_return(message)
        return Message.new_error(message, "org.bluez.Error.Rejected", f"{member} is not for glasses")


@contextlib.asynccontextmanager
async def pairing_agent(address: str, bus_address: str | None = None) -> AsyncIterator[Agent]:
    """Answer bluetoothd's questions of pairing with the glasses at `address` for the time.

    Raises DBusError where bluetoothd refuses it, OSError without D-Bus.
    """
    agent = Agent(address)
    bus = await MessageBus(bus_address=bus_address, bus_type=BusType.SYSTEM).connect()
    try:
        bus.add_message_handler(agent.answer)
        await _call(bus, "RegisterAgent", "os", [PATH, "NoInputNoOutput"])
        await _call(bus, "RequestDefaultAgent", "o", [PATH])  # bleak pairs over a connection of its own
        yield agent
    finally:
        with contextlib.suppress(DBusError, OSError, EOFError):
            await _call(bus, "UnregisterAgent", "o", [PATH])
        bus.disconnect()


async def _call(bus: MessageBus, member: str, signature: str, body: list[str]) -> None:
    reply = await bus.call(
        Message(destination=BLUEZ, path=MANAGER_PATH, interface=MANAGER, member=member, signature=signature, body=body)
    )
    if reply is not None and reply.message_type is MessageType.ERROR:
        raise DBusError(reply.error_name or "", str(reply.body[0]) if reply.body else "", reply)
