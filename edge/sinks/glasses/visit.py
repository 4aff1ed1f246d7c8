"""One short connection to glasses, outside a run: to pair with them, or to make them dark after a run was killed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from edge.errors import SettingsInvalid, SinkFailed
from edge.settings import LookSettings
from edge.sinks.glasses.known import Glasses, Wanted
from edge.sinks.glasses.link import CONNECT, SET_UP
from edge.sinks.glasses.radio import GOODBYE, Radio, explain
from edge.sinks.glasses.stage import Order
from edge.sinks.glasses.wearable import Make


@dataclass(frozen=True, slots=True)
class Visit:
    """Glasses that were connected to; `battery` is in per cent, None where they have no such service."""

    glasses: Glasses
    battery: int | None


@dataclass(frozen=True, slots=True)
class FoundGlasses:
    """Glasses that advertise; `rssi` is in dBm, the larger the nearer."""

    glasses: Glasses
    rssi: int


def search(makes: tuple[Make, ...], seconds: float, radio: Radio | None = None) -> list[FoundGlasses]:
    """Return the glasses of these makes that advertise within `seconds`, the nearest first; raises SinkFailed."""
    return asyncio.run(_search(makes, seconds, radio or Radio()))


async def _search(makes: tuple[Make, ...], seconds: float, radio: Radio) -> list[FoundGlasses]:
    try:
        await radio.open()
        return [
            FoundGlasses(Glasses(make.name, sighting.device.address.upper(), sighting.name), sighting.rssi)
            for make, sighting in await radio.look_around(makes, seconds)
        ]
    except SinkFailed:
        raise
    except Exception as error:
        raise SinkFailed(explain(error, "glasses")) from error
    finally:
        await radio.close()


def pair(makes: tuple[Make, ...], name: str, seconds: float, look: LookSettings, radio: Radio | None = None) -> Visit:
    """Look around for `seconds`, bond with the only pair of glasses found, or that of `name`, and make it ready.

    Raises SettingsInvalid where there are several, SinkFailed where there is none or it does not come up.
    """
    return asyncio.run(_pair(makes, name, seconds, look, radio or Radio()))


async def _pair(makes: tuple[Make, ...], name: str, seconds: float, look: LookSettings, radio: Radio) -> Visit:
    titles = " or ".join(make.title for make in makes)
    try:
        await radio.open()
        seen = await radio.look_around(makes, seconds)
        found = [one for one in seen if name in ("", one[1].name, one[1].device.address.upper())]
        if not found:
            near = ", ".join(sighting.name for _, sighting in seen)
            raise SinkFailed(
                f"no {name or titles} in reach{f'; there is {near}' if near else ''}; turn them on, off a phone, "
                "into pairing mode where they have one"
            )
        if len(found) > 1:
            near = ", ".join(f"{sighting.name} ({sighting.rssi} dBm)" for _, sighting in found)
            raise SettingsInvalid(f"several are in reach: {near}; name yours with --name, the strongest is the nearest")
        make, sighting = found[0]
        async with radio.connect(sighting.device, make, CONNECT) as connection, asyncio.timeout(SET_UP):
            wearable = make.wearable(connection, look)
            await wearable.set_up()
            await wearable.send(Order("blank"))
            return Visit(Glasses(make.name, sighting.device.address.upper(), sighting.name), connection.battery)
    except (SettingsInvalid, SinkFailed):
        raise
    except Exception as error:
        raise SinkFailed(explain(error, name or titles)) from error
    finally:
        await radio.close()


def blank(make: Make, wanted: Wanted, seconds: float, radio: Radio | None = None) -> None:
    """Make glasses dark and leave them, all within `seconds`; raises SinkFailed where that cannot be done."""
    asyncio.run(_blank(make, wanted, seconds, radio or Radio()))


async def _blank(make: Make, wanted: Wanted, seconds: float, radio: Radio) -> None:
    try:
        async with asyncio.timeout(seconds - GOODBYE):
            await radio.open()
            device = await radio.find(make, wanted, seconds)
            async with radio.connect(device, make, seconds) as connection:
                await make.wearable(connection, LookSettings()).send(Order("blank"))
    except TimeoutError as error:
        name = wanted.name or make.title
        raise SinkFailed(f"{name}: not made dark in {seconds:.1f} s; turn it off, or come nearer") from error
    except Exception as error:
        raise SinkFailed(explain(error, wanted.name or make.title)) from error
    finally:
        await radio.close()
