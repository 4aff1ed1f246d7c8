"""What sinks, light and button need: libraries, displays, buses, players, folders, a network, pins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge.diagnostics.checks.machine import Line, Machine
from edge.errors import SettingsInvalid
from edge.hardware import board
from edge.settings import Settings
from edge.sinks.display import has_picture
from edge.sinks.glasses.known import NAME, load_glasses

MODULES = {
    "display": ("pygame",),
    "oled": ("luma.oled", "PIL"),
    "web": ("starlette", "uvicorn", "websockets"),
    "mqtt": ("paho.mqtt",),
    "glasses": ("bleak",),
    "haptic": ("smbus2",),
}
OLED_ADDRESSES = (0x3C, 0x3D)  # as a solder bridge on the board chooses
PLAYERS = ("aplay", "paplay")
NETWORKED = ("web", "mqtt")
PERSIST = tuple(
    f"pinctrl_{name}/parameters/persist_gpio_outputs" for name in ("bcm2835", "rp1")
)  # Raspberry Pi's kernels
STATE = "/var/lib/cuelens"  # where the service may write
DRV2605L = 0x5A  # its only address
BLUETOOTHD = "/usr/libexec/bluetooth/bluetoothd"
DROP_IN = (
    "sudo systemctl edit cuelens, and add below [Service]: RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6"
)


def check_sinks(machine: Machine, settings: Settings) -> Iterator[Line]:
    """Look at what each sink of the settings needs."""
    for spec in settings.sinks:
        name, _, argument = spec.partition(":")
        absent = [module for module in _modules_of(spec, settings) if not machine.has_module(module)]
        if absent:
            todo = "./deploy.sh sinks adds it; a release that is pushed has it"
            yield Line(f"sink {name}", "do", f"{' and '.join(absent)} not installed", todo)
        elif name == "display":
            yield check_display(machine)
        elif name == "oled" and argument != "dummy":
            yield check_oled(machine, settings)
        elif name == "audio":
            yield check_audio(machine, settings)
        elif name == "glasses":
            yield check_glasses(machine, argument)
        elif name == "haptic" and settings.haptic.driver == "drv2605l" and argument != "dummy":
            yield check_motor(machine, settings.haptic.port)
        elif name in ("log", "video", "png") and argument:
            yield check_folder(machine, name, argument)
        elif name in NETWORKED and not has_network(machine):
            yield Line(f"sink {name}", "do", "the service has no network, which it needs", DROP_IN)
        elif name == "mqtt" and settings.mqtt.ca and not machine.path(settings.mqtt.ca).is_file():
            todo = "put the PEM file of the broker's authority there, readable by all"
            yield Line(f"sink {name}", "do", f"{settings.mqtt.ca} is no file", todo)
        else:
            yield Line(f"sink {name}", "ok", "has what it needs")


def _modules_of(spec: str, settings: Settings) -> tuple[str, ...]:
    """Return the modules that a sink needs beyond Cuelens' own: a motor on a pin needs the pins' library alone."""
    name, _, argument = spec.partition(":")
    if name == "haptic" and argument == "dummy":
        return ()
    if name == "haptic" and settings.haptic.driver == "pin":
        return () if settings.pins.chip.startswith("mock:") else ("gpiod",)
    return MODULES.get(name, ())


def check_display(machine: Machine) -> Line:
    """Look for a connector with a display, as the kernel reports."""
    states = {name: state for name, state in board.connectors(machine.root).items() if has_picture(name)}
    if not states:
        todo = "set dtoverlay=vc4-kms-v3d in /boot/firmware/config.txt, then restart"
        return Line("sink display", "do", "the kernel has no display connector", todo)
    facts = ", ".join(f"{name.partition('-')[2]} {state}" for name, state in states.items())
    if "connected" in states.values():
        return Line("sink display", "ok", facts)
    return Line("sink display", "do", facts, "plug the display in, before the power if it is not seen")


def check_oled(machine: Machine, settings: Settings) -> Line:
    """Ask the display's address on the bus for a byte."""
    oled = settings.oled
    name, config = (f"i2c-{oled.port}", "do_i2c") if oled.bus == "i2c" else (f"spidev{oled.port}.0", "do_spi")
    if not machine.path(f"/dev/{name}").exists():
        others = [path.name for path in machine.paths("/dev", f"{name.rstrip('.0123456789')}*")]
        there = f"; there {'is' if len(others) == 1 else 'are'} {', '.join(others)}, for [oled] port" if others else ""
        todo = f"sudo raspi-config nonint {config} 0, then restart"
        return Line("sink oled", "do", f"no /dev/{name}: the bus is off{there}", todo)
    if oled.bus != "i2c":
        return Line("sink oled", "ok", f"/dev/{name} is there; a display on SPI does not answer")
    bus, where = str(machine.path(f"/dev/{name}")), f"0x{oled.address:02x} on /dev/{name}"
    error = _i2c_error(machine, bus, oled.address)
    if error is None:
        return Line("sink oled", "ok", f"{where} answers")
    todo = _i2c_todo(oled.port, error)
    if "Permission" not in error:
        for address in OLED_ADDRESSES:
            if address != oled.address and _i2c_error(machine, bus, address) is None:
                todo = f"something answers at 0x{address:02x}: set address = 0x{address:02x} in [oled]"
    return Line("sink oled", "do", f"{where} does not answer ({error})", todo)


def _i2c_error(machine: Machine, bus: str, address: int) -> str | None:
    """Return why nothing answers at an address of a bus, None where something does."""
    error = machine.trial("i2c", bus, str(address)).get("error")
    return None if error is None else str(error)


def _i2c_todo(port: int, error: str) -> str:
    if "Permission" in error:
        return "sudo usermod -aG i2c $USER, then log in again"
    return f"check its four wires, and what answers: i2cdetect -y {port}"


def check_audio(machine: Machine, settings: Settings) -> Line:
    """Look for a player, a card, and a voice if words are wanted."""
    found = [name for name in PLAYERS if machine.path(f"/usr/bin/{name}").exists()]
    if not found:
        return Line("sink audio", "do", "neither aplay nor paplay is there", "sudo apt install alsa-utils")
    if settings.audio.speech and not machine.path("/usr/bin/espeak-ng").exists():
        return Line("sink audio", "do", "no espeak-ng for its words", "sudo apt install espeak-ng")
    cards = board.sound_cards(machine.root) or "--- no soundcards ---"
    if "no soundcards" in cards:
        todo = "plug one in, or set dtparam=audio=on in /boot/firmware/config.txt"
        return Line("sink audio", "do", "no sound card", todo)
    return Line("sink audio", "ok", f"{found[0]} and {sum(' [' in line for line in cards.splitlines())} sound card(s)")


def check_motor(machine: Machine, port: int) -> Line:
    """Ask the address of a DRV2605L on the bus for a byte."""
    where = f"0x{DRV2605L:02x} on /dev/i2c-{port}"
    if not machine.path(f"/dev/i2c-{port}").exists():
        todo = "sudo raspi-config nonint do_i2c 0, then restart"
        return Line("sink haptic", "do", f"no /dev/i2c-{port}: the bus is off", todo)
    error = _i2c_error(machine, str(machine.path(f"/dev/i2c-{port}")), DRV2605L)
    if error is not None:
        return Line("sink haptic", "do", f"{where} does not answer ({error})", _i2c_todo(port, error))
    return Line("sink haptic", "ok", f"{where} answers")


def check_glasses(machine: Machine, argument: str) -> Line:
    """Look for a Bluetooth adapter, that nothing blocks it, that bluetoothd is there, and that glasses are paired."""
    make, _, name = argument.partition(":")
    adapters = board.bluetooth_adapters(machine.root)
    if not adapters:
        todo = "take dtoverlay=disable-bt out of /boot/firmware/config.txt, or plug an adapter in"
        return Line("sink glasses", "do", "no Bluetooth adapter", todo)
    if board.is_bluetooth_blocked(machine.root):
        return Line("sink glasses", "do", "Bluetooth is blocked", "sudo rfkill unblock bluetooth")
    if not machine.path(BLUETOOTHD).exists():
        return Line("sink glasses", "do", f"no {BLUETOOTHD}", "sudo apt install bluez")
    try:
        paired = [known.name for known in load_glasses(machine.path(f"{STATE}/{NAME}")) if known.make == make]
    except SettingsInvalid as error:
        return Line("sink glasses", "do", str(error), f"sudo cuelens pair {make}", error.identify())
    if not name and not paired:
        return Line("sink glasses", "do", f"no {make} is paired", f"turn it on, then sudo cuelens pair {make}")
    return Line("sink glasses", "ok", f"{adapters[0]}, and {name or paired[0]}")


def check_folder(machine: Machine, name: str, argument: str) -> Line:
    """Look whether a sink's folder is there, and one that the service may write."""
    folder = Path(argument).parent
    if not machine.path(str(folder)).is_dir():
        return Line(f"sink {name}", "do", f"{folder} is no folder", f"sudo mkdir -p {folder}, or name another")
    if machine.installed and not folder.is_relative_to(STATE):
        todo = f"name a path below {STATE}: all else is read-only for the service"
        return Line(f"sink {name}", "do", f"{folder} is out of the service's reach", todo)
    return Line(f"sink {name}", "ok", f"{folder} is there")


def check_pins(machine: Machine, settings: Settings) -> Iterator[Line]:
    """Look for the GPIO chip of the light and the button, and whether a light stays on when a run is killed."""
    pins = settings.pins
    if max(pins.light, pins.pause) < 0 or pins.chip.startswith("mock:"):
        return
    chips = [machine.path(pins.chip)] if pins.chip else machine.paths("/dev", "gpiochip*")
    there = [path for path in chips if path.exists()]
    if not machine.has_module("gpiod"):
        todo = "./deploy.sh sinks adds it; a release that is pushed has it"
        yield Line("pins", "do", "gpiod not installed", todo)
    elif not there:
        yield Line("pins", "do", f"no {pins.chip or '/dev/gpiochip*'}", "name the chip: gpiodetect lists them")
    elif not machine.installed and not any(machine.may_use(path) for path in there):
        todo = "sudo usermod -aG gpio $USER, then log in again"
        yield Line("pins", "do", f"/dev/{there[0].name}: no right to use it", todo)
    elif pins.light >= 0 and any(board.module_parameter(name, machine.root) == "Y" for name in PERSIST):
        todo = "add dtparam=strict_gpiod to /boot/firmware/config.txt, then restart"
        yield Line("pins", "note", f"a light stays on when a run is killed, until the service puts it out: {todo}")
    else:
        yield Line("pins", "ok", f"/dev/{there[0].name} is there")


def has_network(machine: Machine) -> bool:
    """Return whether the service, if there is one, may open a network's sockets."""
    families = machine.unit.get("RestrictAddressFamilies", "")
    return not machine.installed or not families or "AF_INET" in families
