"""What a source or a sink needs of the device: its class states it; checks, installer, safe mode and docs read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.errors import RuntimeMissing

# The next step where something is not installed: one form for each way by which a device or a checkout gets it.
AGAIN = "install cuelens again (in a checkout: ./deploy.sh demo)"
ADDED = "./deploy.sh sinks adds it; a release that is pushed has it"  # for `check`, which looks at a device


@dataclass(frozen=True, slots=True)
class Bus:
    """Who should answer on a bus of the GPIO header: on I2C an address; SPI has none, and nobody answers there."""

    port: int
    address: int | None = None
    others: tuple[int, ...] = ()  # addresses that a solder bridge on its board chooses instead


@dataclass(frozen=True, slots=True)
class Package:
    """A package of the system, and its programs, any of which is enough; `absent` says that none is there."""

    name: str
    programs: tuple[str, ...]
    absent: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What a backend needs under an argument and settings; one that states nothing needs nothing.

    A backend states it as `needs(argument, settings)`, a static method that opens nothing and raises nothing.
    """

    modules: tuple[str, ...] = ()  # of Python, beyond those of every device
    packages: tuple[Package, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)  # of Raspberry Pi OS, and what for
    devices: tuple[str, ...] = ()  # that the service may open beyond the unit's own, as DeviceAllow= takes them
    network: bool = False
    camera: bool = False  # is one of this device: its light is on while it is open, and a pause closes it
    screen: bool = False
    sound: bool = False
    bus: Bus | None = None
    pairs: tuple[str, str] | None = None  # make and name of what `cuelens pair` remembers
    pins: tuple[int, ...] = ()  # lines of the GPIO header that it drives, low when it is dark
    reads: Mapping[str, str] = field(default_factory=dict)  # files that must be there, and what to do without
    file: str = ""  # that it writes
    plays: str | None = None  # a recording that it reads: a file, or a folder of pictures
    listens: tuple[str, str] | None = None  # host and port; no other may listen there
    place: str = ""  # that no other of its kind may show on, whatever the argument
    safe_mode: bool = False  # shows there why the service stopped
    sees_frames: bool = False  # looks into a frame; every other is shown the cue alone

    @property
    def linux(self) -> bool:
        """Return whether it is reached through what Linux alone has: V4L2, ALSA, the kernel's buses and lines."""
        return self.camera or self.sound or self.bus is not None or bool(self.pins)


def from_system(*packages: str) -> str:
    """Return how packages of the system are installed."""
    return f"sudo apt install {' '.join(packages)}"


def from_extra(extra: str) -> str:
    """Return how the libraries of one of cuelens' extras are installed."""
    return f"install cuelens[{extra}], or in a checkout ./deploy.sh sinks"


def missing_library(sink: str, library: str) -> RuntimeMissing:
    """Return the error for a sink whose library is not installed."""
    return RuntimeMissing(f"the {sink} sink's {library} is not installed; {from_extra(sink)}")
