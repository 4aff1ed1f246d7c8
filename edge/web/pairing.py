"""Glasses are searched for and paired from the page: in a thread of its own, one at a time, beside the page's loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Literal

from edge.backends import import_for
from edge.errors import CuelensError, SettingsInvalid
from edge.runtime.control import Control
from edge.sinks.glasses.known import Glasses, glasses_file, remember_glasses
from edge.sinks.glasses.makes import MAKES

SEARCH = 10.0  # seconds: glasses that rest advertise every few
AGAIN = 5.0  # seconds in which glasses that were found must be seen again, to be paired with
SHOWN = 8  # glasses at most, the nearest

PairingState = Literal["idle", "searching", "found", "pairing", "paired", "failed"]


@dataclass(frozen=True, slots=True)
class PairingProgress:
    """How far it is; `found` the nearest first, `name` of the glasses that are being paired, or were."""

    state: PairingState = "idle"
    found: tuple[Glasses, ...] = ()
    name: str = ""
    error: str = ""


class Busy(Exception):
    """A search, or a pairing, is under way."""


class Pairing:
    """Searches and pairs when a browser asks for it, and remembers the glasses as `cuelens pair` does."""

    def __init__(self, control: Control) -> None:
        """`control` has the look that is saved on glasses."""
        self._control = control
        self._lock = threading.Lock()
        self._progress = PairingProgress()
        self._seen: dict[str, Glasses] = {}  # by address, in the last search
        # Without Bluetooth's library, or a place to remember glasses in, the page offers nothing.
        self._possible = find_spec("bleak") is not None and glasses_file() is not None

    def message(self) -> dict[str, Any] | None:
        """Return how far it is as JSON-ready values, None where nothing can be paired here."""
        if not self._possible:
            return None
        progress = self._progress
        found = [{"name": one.name or one.address, "address": one.address, "make": one.make} for one in progress.found]
        return {"state": progress.state, "found": found, "name": progress.name, "error": progress.error}

    def search(self) -> None:
        """Begin to search; returns at once. Raises Busy, or RuntimeMissing without Bluetooth's library."""
        self._begin(PairingProgress("searching"), self._search)

    def pair(self, address: str) -> None:
        """Begin to pair with glasses that were found; returns at once. Raises Busy, SettingsInvalid, RuntimeMissing."""
        glasses = self._seen.get(address)
        if glasses is None:
            raise SettingsInvalid(f"{address!r} was not found; search first")
        self._begin(PairingProgress("pairing", name=glasses.name), lambda visit: self._pair(visit, glasses))

    def _begin(self, progress: PairingProgress, work: Callable[[Any], PairingProgress]) -> None:
        visit = import_for("glasses", "edge.sinks.glasses.visit", "bleak")
        with self._lock:
            if self._progress.state in ("searching", "pairing"):
                raise Busy(f"already {self._progress.state}; wait until it ends")
            self._progress = progress
        threading.Thread(target=self._work, args=(progress, work, visit), name="pairing", daemon=True).start()

    def _work(self, begun: PairingProgress, work: Callable[[Any], PairingProgress], visit: Any) -> None:
        try:
            end = work(visit)
        except CuelensError as error:
            end = replace(begun, state="failed", error=str(error))
        except Exception as error:  # whatever it was, the page must not stay busy
            end = replace(
                begun, state="failed", error=f"{type(error).__name__}: {error}; a fault of ours, see cuelens report"
            )
        self._progress = end

    def _search(self, visit: Any) -> PairingProgress:
        found = tuple(one.glasses for one in visit.search(tuple(MAKES.values()), SEARCH)[:SHOWN])
        self._seen = {glasses.address: glasses for glasses in found}
        return PairingProgress("found", found)

    def _pair(self, visit: Any, glasses: Glasses) -> PairingProgress:
        paired = visit.pair((MAKES[glasses.make],), glasses.address, AGAIN, self._control.settings.look).glasses
        path = glasses_file()
        assert path is not None, "only a device with a place for them offers to pair"
        remember_glasses(path, paired)
        return PairingProgress("paired", name=paired.name or paired.address)
