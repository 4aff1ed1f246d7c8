"""The display sink on SDL's dummy driver: what is on the screen is the cue's picture, and only that."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge.drawing.glyphs import Canvas, draw_cue
from edge.errors import RuntimeMissing, SettingsInvalid, SinkFailed
from edge.hardware.board import CONNECTORS
from edge.runtime.control import Control
from edge.settings import LookSettings, Settings
from edge.sinks import display
from edge.sinks.display import WINDOW, DisplaySettings, DisplaySink, turn
from edge.types import Cue, Update

pygame = pytest.importorskip("pygame", reason="pygame-ce is not installed; ./deploy.sh sinks adds it")

DARK = Cue("no_face", None, 0.0, 0.0)
SMILE = Cue("expression", "smile", 0.8, 1.0, None, "near", "left")
FROWN = Cue("expression", "sad", 0.8, 2.0, None, "near", "left")


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have SDL draw into memory, with no desktop in sight; put the environment back, which the sink adds to."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_INPUT_LINUX_KEEP_KBD", "SDL_NO_SIGNAL_HANDLERS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.display.quit()


def control(**values: object) -> Control:
    return Control(Settings(own={"display": DisplaySettings(**values)}, look=LookSettings(arrow=True)))  # type: ignore[arg-type]


def update(cue: Cue) -> Update:
    return Update(None, (), (), (), cue, {}, 0)


def screen() -> Canvas:
    """Read the pixels back: RGB uint8 (height, width, 3)."""
    surface = pygame.display.get_surface()
    width, height = surface.get_size()
    return np.frombuffer(pygame.image.tobytes(surface, "RGB"), np.uint8).reshape(height, width, 3)


def drawn(cue: Cue, width: int, height: int) -> Canvas:
    return draw_cue(cue, width, height, LookSettings(arrow=True), "rgb")


def test_the_screen_shows_the_cue_and_is_black_when_there_is_nothing_to_say() -> None:
    sink = DisplaySink("320x200", control())
    for cue in (SMILE, FROWN, DARK, SMILE):
        sink.show(update(cue))
        np.testing.assert_array_equal(screen(), drawn(cue, 320, 200))
    sink.close()
    sink.close()


def test_nothing_is_opened_before_the_first_cue_and_everything_in_its_thread() -> None:
    sink = DisplaySink("", control())
    assert not pygame.display.get_init()
    thread = threading.Thread(target=lambda: (sink.show(update(SMILE)), seen.append(screen().copy()), sink.close()))
    seen: list[Canvas] = []
    thread.start()
    thread.join()
    np.testing.assert_array_equal(seen[0], drawn(SMILE, *WINDOW))
    assert not pygame.display.get_init()
    assert not pygame.mixer.get_init()


def test_it_draws_only_when_the_picture_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = DisplaySink("320x200", control())
    sink.show(update(SMILE))
    flips: list[None] = []
    monkeypatch.setattr(pygame.display, "flip", lambda: flips.append(None))
    for confidence in range(20):
        sink.show(update(Cue("expression", "smile", confidence / 20, 1.0, None, "far", "left")))
    assert flips == []
    sink.show(update(FROWN))
    assert len(flips) == 1
    sink.close()


def test_a_window_that_was_covered_or_resized_is_drawn_again() -> None:
    sink = DisplaySink("320x200", control())
    sink.show(update(SMILE))
    pygame.display.get_surface().fill((9, 9, 9))
    pygame.event.post(pygame.event.Event(pygame.WINDOWEXPOSED))
    sink.show(update(SMILE))
    np.testing.assert_array_equal(screen(), drawn(SMILE, 320, 200))
    pygame.display.set_mode((200, 300), pygame.RESIZABLE)
    pygame.event.post(pygame.event.Event(pygame.WINDOWSIZECHANGED))
    sink.show(update(SMILE))
    np.testing.assert_array_equal(screen(), drawn(SMILE, 200, 300))
    sink.close()


def test_closing_the_window_ends_the_sink_for_good() -> None:
    sink = DisplaySink("320x200", control())
    sink.show(update(SMILE))
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    with pytest.raises(SinkFailed, match="window was closed"):
        sink.show(update(SMILE))
    assert not sink.capabilities.reopens
    sink.close()


@pytest.mark.parametrize("rotate_deg", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_the_picture_is_mirrored_and_turned_clockwise_as_set(rotate_deg: int, mirror: bool) -> None:
    sink = DisplaySink("320x200", control(rotate_deg=rotate_deg, mirror=mirror))
    sink.show(update(SMILE))
    upright = drawn(SMILE, 320, 200) if rotate_deg % 180 == 0 else drawn(SMILE, 200, 320)
    seen = np.rot90(screen(), rotate_deg // 90)  # turned back, counter-clockwise
    np.testing.assert_array_equal(seen[:, ::-1] if mirror else seen, upright)
    sink.close()


def test_a_picture_turned_by_90_degrees_has_its_top_on_the_right() -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0] = 255
    turned = turn(picture, DisplaySettings(rotate_deg=90))
    assert turned.shape == (3, 2, 3)
    assert turned[:, 1].all()
    assert not turned[:, 0].any()


def test_brightness_dims_all_of_it() -> None:
    sink = DisplaySink("320x200", control(brightness=0.25))
    sink.show(update(SMILE))
    np.testing.assert_array_equal(screen(), np.rint(0.25 * drawn(SMILE, 320, 200)).astype(np.uint8))
    sink.close()


def test_size_comes_from_the_argument_then_the_settings() -> None:
    for argument, settings, size in (
        ("", {"width": 300, "height": 200}, (300, 200)),
        ("160x90", {"width": 300}, (160, 90)),
    ):
        sink = DisplaySink(argument, control(**settings))
        sink.show(update(DARK))
        assert pygame.display.get_surface().get_size() == size
        sink.close()


def test_full_is_the_whole_screen() -> None:
    sink = DisplaySink("full", control())
    sink.show(update(SMILE))
    assert pygame.display.get_surface().get_size() == pygame.display.get_desktop_sizes()[0]
    assert pygame.display.get_surface().get_flags() & pygame.FULLSCREEN
    assert not pygame.mouse.get_visible()
    sink.close()


@pytest.mark.parametrize("argument", ["640", "640x", "x400", "640x400x3", "-1x5", "99999x400", "window", "640x0"])
def test_a_size_that_is_none_is_refused(argument: str) -> None:
    with pytest.raises(SettingsInvalid, match="display"):
        DisplaySink(argument, control())


def test_half_a_size_in_the_settings_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="300x0; give both sides"):
        DisplaySink("", control(width=300))


def test_signals_stay_with_the_loop() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    kept = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # what SDL would take
    try:
        sink = DisplaySink("320x200", control())
        sink.show(update(SMILE))
        handlers = Path("/proc/self/status").read_text(encoding="ascii").partition("SigCgt:")[2].split()[0]
        assert not int(handlers, 16) >> (signal.SIGTERM - 1) & 1
        sink.close()
    finally:
        signal.signal(signal.SIGTERM, kept)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_without_a_desktop_it_asks_for_kms_and_says_what_that_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.setenv("SDL_KMSDRM_DEVICE_INDEX", "99")  # a card that no machine has
    sink = DisplaySink("", control())
    assert sink.capabilities.reopens
    with pytest.raises(SinkFailed, match="without a desktop it needs a connected display"):
        sink.show(update(SMILE))
    sink.close()


def test_a_desktop_or_a_driver_that_is_set_is_not_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert not DisplaySink("", control()).capabilities.reopens
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    monkeypatch.setenv("DISPLAY", ":987")  # where no desktop is
    sink = DisplaySink("", control())
    with pytest.raises(SinkFailed, match="check DISPLAY"):
        sink.show(update(SMILE))
    sink.close()


def test_a_display_that_is_unplugged_fails_and_can_be_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("card1-HDMI-A-1", "card1-HDMI-A-2"):
        (tmp_path / CONNECTORS / name).mkdir(parents=True)
        (tmp_path / CONNECTORS / name / "status").write_text("disconnected\n")
    plug = tmp_path / CONNECTORS / "card1-HDMI-A-2" / "status"
    plug.write_text("connected\n")
    monkeypatch.setattr(display, "SYSTEM", tmp_path)
    clock = SimpleNamespace(now=0.0)
    for _ in range(2):
        sink = DisplaySink("320x200", control(), lambda: clock.now)
        sink._kms = True  # the dummy driver in its place
        sink.show(update(SMILE))
        plug.write_text("disconnected\n")
        clock.now += 0.9 * display.LOOK_EVERY
        sink.show(update(FROWN))
        clock.now += 0.2 * display.LOOK_EVERY
        with pytest.raises(SinkFailed, match="disconnected; plug one in"):
            sink.show(update(SMILE))
        sink.close()
        plug.write_text("connected\n")


def test_a_machine_that_knows_of_no_connector_counts_as_plugged_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "SYSTEM", tmp_path)
    assert display._is_connected()


def test_without_the_library_it_says_what_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("edge.backends.import_module", absent)
    with pytest.raises(
        RuntimeMissing,
        match=r"pygame-ce is not installed; install cuelens\[display\], or in a checkout \./deploy\.sh sinks",
    ):
        DisplaySink("", control())


@pytest.mark.parametrize(
    ("states", "connected"),
    [
        ({"HDMI-A-1": "disconnected", "HDMI-A-2": "disconnected", "Writeback-1": "unknown"}, False),
        ({"HDMI-A-1": "disconnected", "HDMI-A-2": "connected", "Writeback-1": "unknown"}, True),
        ({"HDMI-A-1": "disconnected", "Writeback-1": "connected"}, False),
        ({"HDMI-A-1": "disconnected", "Composite-1": "unknown", "Writeback-1": "unknown"}, False),
        ({"Composite-1": "unknown", "Writeback-1": "unknown"}, True),
        ({"DSI-1": "connected", "Writeback-1": "unknown"}, True),
        ({"Writeback-1": "unknown"}, True),
    ],
)
def test_a_connector_of_no_display_is_none(
    states: dict[str, str], connected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raspberry Pi's kernels have a Writeback connector, whose state says nothing."""
    for name, state in states.items():
        (tmp_path / CONNECTORS / f"card1-{name}").mkdir(parents=True)
        (tmp_path / CONNECTORS / f"card1-{name}" / "status").write_text(f"{state}\n")
    monkeypatch.setattr(display, "SYSTEM", tmp_path)
    assert display._is_connected() == connected
