"""What sinks, light and button need: libraries, displays, buses, players, folders, a network, pins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edge.diagnostics.checks.machine import CheckLine, Machine
from edge.errors import SettingsInvalid, SinkUnknown
from edge.hardware import board
from edge.needs import ADDED, Bus, Needs, Package, from_system
from edge.settings import Settings
from edge.sinks.glasses.known import NAME, load_glasses
from edge.sinks.places import STREAMS
from edge.sinks.table import needs_of
from edge.system.systemd import STATE_FOLDER

Finding = tuple[str, ...]  # what was found, what is to be done about it, if anything, and an error's identifier

PERSIST = tuple(
    f"pinctrl_{name}/parameters/persist_gpio_outputs" for name in ("bcm2835", "rp1")
)  # Raspberry Pi's kernels
DROP_IN = (
    "sudo systemctl edit cuelens, and add below [Service]: RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6"
)


def check_sinks(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Look at what each sink of the settings needs."""
    for spec in settings.sinks:
        name = spec.partition(":")[0]
        try:
            says, todo, *cause = look_for(needs_of(spec, settings), machine, name)
        except SinkUnknown as error:
            says, todo, cause = str(error), "set sinks in the settings", [error.identify()]
        yield CheckLine(f"sink {name}", "do" if todo else "ok", says, todo, *cause)


def look_for(needs: Needs, machine: Machine, name: str) -> Finding:
    """Look for all that the backend `name` needs: return the first that is missing, else what was found."""
    there: list[str] = []
    for found in _look_for_each(needs, machine, name):
        if found[1]:
            return found
        there.append(found[0])
    return "; ".join(there) or "has what it needs", ""


def _look_for_each(needs: Needs, machine: Machine, name: str) -> Iterator[Finding]:
    """Look for one need after the other; of those that are there, yield what says more than that."""
    if absent := [module for module in needs.modules if not machine.has_module(module)]:
        yield f"{' and '.join(absent)} not installed", ADDED
    if needs.screen:
        yield look_for_screen(machine)
    if needs.bus:
        yield look_on_bus(machine, needs.bus, name)
    if needs.pairs:
        yield look_for_pair(machine, needs)
    if package := absent_package(machine, needs):
        yield package.absent, from_system(package.name)
    if needs.sound:
        yield look_for_sound(machine, needs)
    if needs.file and needs.file not in STREAMS:
        yield look_for_folder(machine, needs.file)
    if needs.network and not has_network(machine):
        yield "the service has no network, which it needs", DROP_IN
    for path, todo in needs.reads.items():
        if not machine.path(path).is_file():
            yield f"{path} is no file", todo
    if needs.pins:
        yield f"drives the line {', '.join(map(str, needs.pins))} of the GPIO chip, which `pins` looks for", ""
    if needs.listens and not machine.running:  # which has the port itself, as its status shows
        yield from look_for_place(machine, needs.listens, name)


def absent_package(machine: Machine, needs: Needs) -> Package | None:
    """Return the first package of which no program is there."""
    return next(
        (item for item in needs.packages if not any(machine.path(path).exists() for path in item.programs)), None
    )


def look_for_screen(machine: Machine) -> Finding:
    """Look for a connector with a display, as the kernel reports."""
    states = {name: state for name, state in board.connectors(machine.root).items() if board.has_picture(name)}
    if not states:
        return (
            "the kernel has no display connector",
            "set dtoverlay=vc4-kms-v3d in /boot/firmware/config.txt, then restart",
        )
    facts = ", ".join(f"{name.partition('-')[2]} {state}" for name, state in states.items())
    return facts, "" if "connected" in states.values() else "plug the display in, before the power if it is not seen"


def look_on_bus(machine: Machine, bus: Bus, name: str) -> Finding:
    """Ask the address on the bus for a byte."""
    node, config = (f"spidev{bus.port}.0", "do_spi") if bus.address is None else (f"i2c-{bus.port}", "do_i2c")
    path = machine.path(f"/dev/{node}")
    if not path.exists():
        others = [path.name for path in machine.paths("/dev", f"{node.rstrip('.0123456789')}*")]
        there = (
            f"; there {'is' if len(others) == 1 else 'are'} {', '.join(others)}, for [{name}] port" if others else ""
        )
        return f"no /dev/{node}: the bus is off{there}", f"sudo raspi-config nonint {config} 0, then restart"
    if bus.address is None:
        return f"/dev/{node} is there; a display on SPI does not answer", ""
    where = f"0x{bus.address:02x} on /dev/{node}"
    error = _i2c_error(machine, str(path), bus.address)
    if error is None:
        return f"{where} answers", ""
    says = f"{where} does not answer ({error})"
    if "Permission" in error:
        return says, "sudo usermod -aG i2c $USER, then log in again"
    for address in bus.others:
        if address != bus.address and _i2c_error(machine, str(path), address) is None:
            return says, f"something answers at 0x{address:02x}: set address = 0x{address:02x} in [{name}]"
    return says, f"check its four wires, and what answers: i2cdetect -y {bus.port}"


def _i2c_error(machine: Machine, bus: str, address: int) -> str | None:
    """Return why nothing answers at an address of a bus, None where something does."""
    error = machine.trial("i2c", bus, str(address)).get("error")
    return None if error is None else str(error)


def look_for_sound(machine: Machine, needs: Needs) -> Finding:
    """Look for a sound card, beside a player that is there."""
    found = [path for path in needs.packages[0].programs if machine.path(path).exists()]
    cards = board.sound_cards(machine.root) or "--- no soundcards ---"
    if "no soundcards" in cards:
        return "no sound card", "plug one in, or set dtparam=audio=on in /boot/firmware/config.txt"
    return f"{Path(found[0]).name} and {sum(' [' in line for line in cards.splitlines())} sound card(s)", ""


def look_for_pair(machine: Machine, needs: Needs) -> Finding:
    """Look for a Bluetooth adapter, that nothing blocks it, that bluetoothd is there, and that glasses are paired."""
    make, name = needs.pairs or ("", "")
    adapters = board.bluetooth_adapters(machine.root)
    if not adapters:
        return (
            "no Bluetooth adapter",
            "take dtoverlay=disable-bt out of /boot/firmware/config.txt, or plug an adapter in",
        )
    if board.is_bluetooth_blocked(machine.root):
        return "Bluetooth is blocked", "sudo rfkill unblock bluetooth"
    if package := absent_package(machine, needs):
        return package.absent, from_system(package.name)
    if machine.unit.get("DynamicUser") == "yes" and not _has_service_user(machine):
        return (
            "the D-Bus refuses the service, whose user is not in /etc/passwd",
            "sudo /opt/cuelens/current/install.sh apply",
        )
    try:
        paired = [known.name for known in load_glasses(machine.path(f"{STATE_FOLDER}/{NAME}")) if known.make == make]
    except SettingsInvalid as error:
        return str(error), f"sudo cuelens pair {make}", error.identify()
    if not name and not paired:
        return f"no {make} is paired", f"turn it on, then sudo cuelens pair {make}"
    return f"{adapters[0]}, and {name or paired[0]}", ""


def _has_service_user(machine: Machine) -> bool:
    """Return whether the service's user lasts: the D-Bus refuses one that systemd makes for the run alone.

    systemd keeps dbus-daemon from looking such a user up, lest both wait for each other (SYSTEMD_NSS_DYNAMIC_BYPASS).
    """
    return any(line.startswith("cuelens:") for line in (machine.text("/etc/passwd") or "").splitlines())


def look_for_place(machine: Machine, place: tuple[str, str], name: str) -> Iterator[Finding]:
    """Look whether the port of the host is free; one that is no number, or 0, is for the sink itself to say."""
    host, port = place
    if not (port.isascii() and port.isdecimal() and int(port)):
        return
    if error := machine.trial("listen", host, port).get("error"):
        todo = f"end what listens there (sudo ss -ltnp), or give another place, as {name}:8081"
        yield f"cannot listen on {host}:{port}: {error}", todo


def look_for_folder(machine: Machine, file: str) -> Finding:
    """Look whether a file's folder is there, and one that the service may write."""
    folder = Path(file).parent
    if not machine.path(str(folder)).is_dir():
        return f"{folder} is no folder", f"sudo mkdir -p {folder}, or name another"
    if machine.installed and not folder.is_relative_to(STATE_FOLDER):
        todo = f"name a path below {STATE_FOLDER}: all else is read-only for the service"
        return f"{folder} is out of the service's reach", todo
    return f"{folder} is there", ""


def check_pins(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Look for the GPIO chip of light, button and sinks, and whether a light stays on when a run is killed."""
    pins = settings.pins
    if pins.chip.startswith("mock:") or (max(pins.light, pins.pause) < 0 and not _have_pins(settings)):
        return
    chips = [machine.path(pins.chip)] if pins.chip else machine.paths("/dev", "gpiochip*")
    there = [path for path in chips if path.exists()]
    if not machine.has_module("gpiod"):
        yield CheckLine("pins", "do", "gpiod not installed", ADDED)
    elif not there:
        yield CheckLine("pins", "do", f"no {pins.chip or '/dev/gpiochip*'}", "name the chip: gpiodetect lists them")
    elif not machine.installed and not any(machine.may_use(path) for path in there):
        todo = "sudo usermod -aG gpio $USER, then log in again"
        yield CheckLine("pins", "do", f"/dev/{there[0].name}: no right to use it", todo)
    elif pins.light >= 0 and any(board.module_parameter(name, machine.root) == "Y" for name in PERSIST):
        todo = "add dtparam=strict_gpiod to /boot/firmware/config.txt, then restart"
        yield CheckLine("pins", "note", f"a light stays on when a run is killed, until the service puts it out: {todo}")
    else:
        yield CheckLine("pins", "ok", f"/dev/{there[0].name} is there")


def _have_pins(settings: Settings) -> bool:
    """Return whether a sink drives a line of the GPIO header."""
    for spec in settings.sinks:
        with contextlib.suppress(SinkUnknown):  # check_sinks names it
            if needs_of(spec, settings).pins:
                return True
    return False


def has_network(machine: Machine) -> bool:
    """Return whether the service, if there is one, may open a network's sockets."""
    families = machine.unit.get("RestrictAddressFamilies", "")
    return not machine.installed or not families or "AF_INET" in families
