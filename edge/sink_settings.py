"""What can be set of each sink: values, ranges and their documentation; edge.settings has a table for each."""

from __future__ import annotations

from dataclasses import dataclass, field

SECRET = {"secret": True}  # of a setting whose value no error quotes: it logs in, or names a person or a home


@dataclass(frozen=True, slots=True)
class DisplaySettings:
    """The `display` sink: HDMI glasses, or a window on a desktop."""

    width: int = field(default=0, metadata={"range": (0, 7680)})
    """Pixels; 0 is the whole screen, or a window of 640x400 on a desktop."""

    height: int = field(default=0, metadata={"range": (0, 4320)})
    """Pixels; 0 is the whole screen, or a window of 640x400 on a desktop."""

    mirror: bool = False
    """Exchanges left and right: for displays that are seen in a half mirror."""

    rotate_deg: int = field(default=0, metadata={"choices": (0, 90, 180, 270)})
    """Turns the picture clockwise."""

    brightness: float = field(default=1.0, metadata={"range": (0.05, 1.0)})
    """Brightness of the sign: at night a see-through display dazzles at full brightness."""


@dataclass(frozen=True, slots=True)
class OledSettings:
    """The `oled` sink: a small display on I2C or SPI."""

    chip: str = field(default="ssd1306", metadata={"choices": ("ssd1306", "sh1106", "ssd1351")})
    """The controller of the display; the ssd1351 needs `bus = "spi"`, `port = 0` and `height = 128`."""

    bus: str = field(default="i2c", metadata={"choices": ("i2c", "spi")})
    """The bus that the display is wired to."""

    port: int = field(default=1, metadata={"range": (0, 63)})
    """Number of the I2C or SPI bus: 1 is the Raspberry Pi's I2C, 0 its SPI."""

    address: int = field(default=0x3C, metadata={"range": (0x08, 0x77), "meant": {0x78: 0x3C, 0x7A: 0x3D}})
    """Address on I2C: 60 (0x3c) or 61 (0x3d), which boards print as 0x78 and 0x7a."""

    column: int = field(default=-1, metadata={"range": (-1, 15)})
    """First of the chip's columns that the display shows; -1 is the driver's own choice, 2 that of an SH1106."""

    width: int = field(default=128, metadata={"range": (32, 512)})
    """Pixels of the display."""

    height: int = field(default=64, metadata={"range": (32, 512)})
    """Pixels of the display."""

    rotate_deg: int = field(default=0, metadata={"choices": (0, 90, 180, 270)})
    """Turns the picture clockwise."""

    brightness: float = field(default=0.5, metadata={"range": (0.0, 1.0)})
    """Contrast of the display."""


@dataclass(frozen=True, slots=True)
class AudioSettings:
    """The `audio` sink: tones and words."""

    tones: bool = True
    """Plays a short tone for each new cue."""

    speech: bool = False
    """Speaks the cue's word, with espeak-ng, in the wearer's language."""

    volume: float = field(default=0.3, metadata={"range": (0.0, 1.0)})
    """Volume of tones and words."""

    repeat: float = field(default=10.0, metadata={"range": (0.0, 3600.0)})
    """Seconds before the same cue is played again."""


@dataclass(frozen=True, slots=True)
class HapticSettings:
    """The `haptic` sink: a motor that vibrates."""

    driver: str = field(default="drv2605l", metadata={"choices": ("drv2605l", "pin")})
    """What drives the motor: TI's DRV2605L on I2C, or a line of the GPIO header with a transistor."""

    port: int = field(default=1, metadata={"range": (0, 63)})
    """Number of the I2C bus of the DRV2605L."""

    pin: int = field(default=-1, metadata={"range": (-1, 1023)})
    """The line's (BCM) number, with driver = "pin"."""

    strength: float = field(default=0.6, metadata={"range": (0.1, 1.0)})
    """Strength of the vibration; on a GPIO line, the length of each pulse."""

    cues: tuple[str, ...] = ("smile", "surprise", "upset")
    """The cues that are felt."""

    tick: bool = True
    """A tick when a face turns up that is not read yet."""

    repeat: float = field(default=10.0, metadata={"range": (0.0, 3600.0)})
    """Seconds before the same cue is felt again."""


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The `web` sink: a page for a phone or a carer."""

    host: str = field(default="127.0.0.1", metadata=SECRET)
    """Address to listen at; any other than loopback needs a `token`."""

    port: int = field(default=8317, metadata={"range": (0, 65535)})
    """Port to listen at; with 0 the system chooses one, which is printed at the start."""

    token: str = field(default="", metadata=SECRET)
    """What a browser beyond loopback must know: at least 16 characters."""

    names: tuple[str, ...] = field(default=(), metadata=SECRET)
    """Further names under which the page may be requested, such as `glasses.local`; others are refused.

    Also addresses at which a proxy offers it, such as `https://home.example/glasses`.
    """

    picture: bool = False
    """Allows the page to show the camera's picture, with boxes, while somebody has turned it on there."""


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """The `mqtt` sink: cues to a broker."""

    host: str = field(default="127.0.0.1", metadata=SECRET)
    """Name or address of the broker."""

    port: int = field(default=1883, metadata={"range": (1, 65535)})
    """Port of the broker."""

    topic: str = field(default="cuelens", metadata=SECRET)
    """Topic below which cues and status are published; each device needs its own."""

    user: str = field(default="", metadata=SECRET)
    """User at the broker; empty for none."""

    password: str = field(default="", metadata=SECRET)
    """Password of the user; beyond loopback only with `tls` or `clear_password`."""

    tls: bool = False
    """Encrypts the connection to the broker."""

    ca: str = ""
    """PEM file with the authority that signed the broker's certificate, if the system does not know it."""

    clear_password: bool = False
    """Allows user and password to be sent unencrypted: in a network of your own, to a broker without TLS."""

    discovery: str = ""
    """Topic where Home Assistant looks for devices, usually `homeassistant`; empty publishes no device."""
