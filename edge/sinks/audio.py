"""`audio[:DEVICE]`, `audio:file:PATH.wav`: a short tone for each new cue, and its word by espeak-ng if wanted."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import struct
import subprocess
import time
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from edge.errors import CuelensError, RuntimeMissing, SettingsInvalid, SinkFailed, SinkUnwritable
from edge.files import sink_error, staged_name
from edge.locale.words import is_dark, word
from edge.needs import Needs, Package, from_system
from edge.runtime.control import Control
from edge.settings import LookSettings, Settings
from edge.sinks.onsets import Onsets
from edge.types import Capabilities, Clock, Cue, Update

Sound = npt.NDArray[np.float64]  # mono, -1 to 1, RATE samples a second
Note = tuple[float, float, float]  # Hz at its start, Hz at its end, seconds

RATE = 22050  # samples a second: what espeak-ng gives
ATTACK, RELEASE = 0.012, 0.025  # seconds in which a note comes and goes: shorter ones click
PEAK = 0.9  # of full scale, at volume 1
PAUSE = 0.08  # seconds between the tone and the word
PROBE = 0.05  # seconds of silence with which a device is tried
PATIENCE = 2.0  # seconds that speaking a word may take, and for which a device is waited for when it is opened
WAKE = 10.0  # seconds over its length that a sound may take: a Bluetooth speaker that slept takes three to wake
GRACE = 0.3  # seconds that a player gets to end in order
GAP = 2.0  # seconds without updates that a file has as silence; a longer gap is cut, as in a video


@dataclass(frozen=True, slots=True)
class AudioSettings:
    """The `audio` sink: tones and words."""

    tones: bool = True
    """Plays a short tone for each new cue."""

    speech: bool = False
    """Speaks the cue's word, with espeak-ng, in the wearer's language."""

    volume: float = field(default=0.3, metadata={"range": (0.0, 1.0)})
    """Volume of tones and words."""

    repeat: float = field(default=10.0, metadata={"range": (0.0, 3600.0), "unit": "s"})
    """Seconds before the same cue is played again."""


def _steps(seconds: float, *frequencies: float) -> tuple[Note, ...]:
    return tuple((frequency, frequency, seconds) for frequency in frequencies)


# They differ in their contour, so that no absolute pitch must be known: steady, up, down, up and down, and so on. All
# are under 0.25 s, and at 300 to 1200 Hz: small speakers give nothing lower, ageing ears lose what is higher. Pitches
# are of the tempered scale, at 440 Hz.
TONES: dict[str, tuple[Note, ...]] = {
    "face": _steps(0.1, 587.3),
    "smile": _steps(0.11, 523.3, 784.0),
    "happy": _steps(0.11, 523.3, 784.0),  # the same, in the full vocabulary
    "surprise": _steps(0.075, 523.3, 1046.5, 523.3),
    "upset": _steps(0.11, 587.3, 392.0),
    "angry": _steps(0.075, 784.0, 587.3, 440.0),
    "disgust": _steps(0.075, 587.3, 392.0, 587.3),
    "fear": _steps(0.06, 880.0, 698.5, 880.0, 698.5),
    "sad": ((659.3, 349.2, 0.22),),
    "no_camera": _steps(0.075, 349.2, 349.2, 349.2),
    "paused": _steps(0.1, 440.0, 440.0),
    "stopped": _steps(0.075, 523.3, 349.2, 349.2),
}

# The first that is there: a service has no desktop's sound server, and Raspberry Pi OS has aplay with and without one.
PLAYERS: dict[str, tuple[str, ...]] = {
    "aplay": ("-q", "-t", "raw", "-f", "S16_LE", "-r", str(RATE), "-c", "1", "-D"),
    "paplay": ("--raw", "--format=s16le", f"--rate={RATE}", "--channels=1", "-d"),
}


PLAYER = Package(
    "alsa-utils", tuple(f"/usr/bin/{name}" for name in PLAYERS), f"neither {' nor '.join(PLAYERS)} is there"
)
SPEECH = Package("espeak-ng", ("/usr/bin/espeak-ng",), "no espeak-ng for its words")


def tone(name: str) -> Sound:
    """Return a cue's tone at full scale, empty where it has none; it begins and ends at 0."""
    notes = []
    for start_hz, end_hz, seconds in TONES.get(name, ()):
        n = round(seconds * RATE)
        frequency = start_hz * (end_hz / start_hz) ** (np.arange(n) / n)
        rise, fall = (0.5 - 0.5 * np.cos(np.pi * np.arange(round(x * RATE)) / (x * RATE)) for x in (ATTACK, RELEASE))
        envelope = np.concatenate([rise, np.ones(n - rise.size - fall.size), fall[::-1]])
        notes.append(envelope * np.sin(2 * np.pi * (np.cumsum(frequency) - frequency[0]) / RATE))
    return np.concatenate(notes) if notes else np.zeros(0)


def audible(cue: Cue, look: LookSettings) -> str | None:
    """Return the name of what a cue says by sound, None where it says nothing.

    `neutral`, and `unsure` for any reason but a new face, come and go too often to be worth the wearer's ear.
    """
    if is_dark(cue, look) or cue.expression == "neutral":
        return None
    if cue.state == "unsure":
        return "face" if cue.reason == "new" else None
    return cue.expression or cue.state


class Output(Protocol):
    """Where sound goes; one at a time, a newer one cuts off the older."""

    def advance(self, update: Update) -> float:
        """Go on to the update, and return the time in seconds; raises where the output broke."""

    def play(self, samples: bytes) -> None:
        """Begin a sound: 16-bit little-endian mono PCM."""

    def close(self) -> None:
        """End it; may be called twice."""


class AudioSink:
    """Say each new cue by a tone, by its word, or by both."""

    settings_type = AudioSettings
    settings_live = True  # are read for each cue

    @staticmethod
    def needs(argument: str, settings: Settings) -> Needs:
        """State a player, a voice for words, and the sound device; of these a file needs the voice alone."""
        speech = (SPEECH,) if settings.of(AudioSettings).speech else ()
        if argument.startswith("file:"):
            return Needs(packages=speech, file=argument[5:], safe_mode=True)
        return Needs(
            packages=(PLAYER, *speech),
            groups={"audio": "sound"},
            devices=("char-alsa rw",),
            sound=True,
            place=argument or "default",
            safe_mode=True,
        )

    def __init__(self, argument: str, control: Control, clock: Clock = time.monotonic) -> None:
        """Open the sound device `argument`, the default one where empty; `file:PATH.wav` writes a file instead.

        A device's repeats are timed by `clock`, a file's by the updates. Raises RuntimeMissing without a player or,
        where words are wanted, without espeak-ng; SinkFailed where the device does not play; SettingsInvalid,
        SinkUnwritable or DiskFull where the file cannot be had.
        """
        self._control = control
        self._onsets = Onsets()
        self._words: dict[tuple[str, str], Sound] = {}  # by language and word; there are few
        if control.settings.of(AudioSettings).speech and shutil.which("espeak-ng") is None:
            raise _missing_speech()
        kind, _, path = argument.partition(":")
        in_file = kind == "file"
        # A word that is new is spoken to us first, and a hung player is waited for.
        self.capabilities = Capabilities(deadline=2 * PATIENCE, every_frame=in_file, reopens=not in_file)
        self._output: Output | None = _Recording(Path(path)) if in_file else _Player(argument or "default", clock)

    def show(self, update: Update) -> None:
        """Say the cue if it is time to; raises SinkFailed, RuntimeMissing, SinkUnwritable or DiskFull."""
        if self._output is None:
            return
        t = self._output.advance(update)
        settings = self._control.settings
        name = audible(update.cue, settings.look)
        audio = settings.of(AudioSettings)
        if not self._onsets.due(name, t, audio.repeat) or name is None:
            return
        sound = self._sound(name, update.cue, audio, settings.look)
        if sound.size and audio.volume > 0:
            scale = 32767 * PEAK * audio.volume
            self._output.play(np.round(scale * sound).astype("<i2").tobytes())
            self._onsets.hear(name, t)

    def _sound(self, name: str, cue: Cue, audio: AudioSettings, look: LookSettings) -> Sound:
        parts = [tone(name)] if audio.tones else []
        if audio.speech:
            key = (look.language, word(cue, look))
            if key not in self._words:
                self._words[key] = _speak(*key)
            parts += [np.zeros(round(PAUSE * RATE) if parts else 0), self._words[key]]
        return np.concatenate(parts) if parts else np.zeros(0)

    def close(self) -> None:
        """Cut off what is heard, or finish the file; raises SinkUnwritable or DiskFull."""
        if self._output is not None:
            output, self._output = self._output, None
            output.close()


def _missing_speech() -> RuntimeMissing:
    return RuntimeMissing(
        f"the audio sink's espeak-ng is not installed; {from_system(SPEECH.name)}, or turn off audio.speech"
    )


def _speak(language: str, text: str) -> Sound:
    """Return a word as espeak-ng says it; raises RuntimeMissing or SinkFailed."""
    command = ["espeak-ng", "--stdout", "-v", language, "--", text]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=PATIENCE)
    except FileNotFoundError as error:
        raise _missing_speech() from error
    except subprocess.TimeoutExpired as error:
        raise SinkFailed(
            f"audio sink: espeak-ng did not say {text!r} within {PATIENCE:.0f} s; turn off audio.speech"
        ) from error
    try:
        with wave.open(io.BytesIO(done.stdout)) as spoken:
            form = (spoken.getnchannels(), spoken.getsampwidth(), spoken.getframerate())
            samples = spoken.readframes(spoken.getnframes())
    except (wave.Error, EOFError) as error:
        printed = done.stderr.decode(errors="replace").strip().partition("\n")[0] or f"exit code {done.returncode}"
        raise SinkFailed(f"audio sink: espeak-ng -v {language} failed: {printed}; turn off audio.speech") from error
    if form != (1, 2, RATE):
        raise SinkFailed(
            f"audio sink: espeak-ng -v {language} gives (channels, bytes, rate) {form}, not {(1, 2, RATE)}; "
            "turn off audio.speech"
        )
    return np.frombuffer(samples, "<i2") / 32768


class _Player:
    """One player process for each sound; it reads from memory, so that nobody waits for anybody."""

    def __init__(self, device: str, clock: Clock) -> None:
        name = next((name for name in PLAYERS if shutil.which(name)), None)
        if name is None:
            players = " nor ".join(PLAYERS)
            raise RuntimeMissing(f"the audio sink has neither {players}; {from_system(PLAYER.name)}")
        default = name == "paplay" and device == "default"  # to PulseAudio that is no name
        self._command = [name, *(PLAYERS[name][:-1] if default else (*PLAYERS[name], device))]
        self._says = f"audio sink: {name} on device {device!r}"
        self._clock = clock
        self._errors = os.fdopen(os.memfd_create("cuelens-errors"), "w+b")
        self._child: subprocess.Popen[bytes] | None = None
        self._late: float | None = None  # when the first sound should have ended, since which none has
        try:
            self._try()
        except BaseException:
            self.close()
            raise

    def _try(self) -> None:
        """Play silence; raises SinkFailed where that fails at once. One that is not done yet may be waking."""
        self._child = self._start(bytes(2 * round(PROBE * RATE)))
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(PROBE + PATIENCE)
            self._check()

    def advance(self, update: Update) -> float:
        now = self._clock()
        if self._child is None:
            return now
        if self._child.poll() is not None:
            self._check()
        elif now > self._end:
            self._late = self._end if self._late is None else self._late
            if now > self._late + WAKE:
                self._stop()
                raise self._hung()
        return now

    def _check(self) -> None:
        """Put away a player that has ended; raises SinkFailed where it could not play."""
        assert self._child is not None
        code, self._child, self._late = self._child.returncode, None, None
        if code:
            self._errors.seek(0)
            words = self._errors.read(1000).decode(errors="replace").strip().partition("\n")[0]
            raise SinkFailed(f"{self._says} failed: {words or f'exit code {code}'}; see `aplay -L` for valid devices")

    def _hung(self) -> SinkFailed:
        return SinkFailed(f"{self._says} hung, {WAKE:.0f} s after the sound's end; is the device connected?")

    def play(self, samples: bytes) -> None:
        self._stop()
        self._child = self._start(samples)

    def _start(self, samples: bytes) -> subprocess.Popen[bytes]:
        self._end = self._clock() + len(samples) / 2 / RATE
        self._errors.seek(0)
        self._errors.truncate()
        with os.fdopen(os.memfd_create("cuelens-sound"), "w+b") as sound:
            sound.write(samples)
            sound.seek(0)
            try:
                # In a session of its own: Ctrl-C on our terminal is for us, not a failure of the player.
                return subprocess.Popen(
                    self._command, stdin=sound, stdout=subprocess.DEVNULL, stderr=self._errors, start_new_session=True
                )
            except OSError as error:
                raise SinkFailed(f"{self._says} does not start: {error.strerror}; reinstall alsa-utils") from error

    def _stop(self) -> None:
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None

    def close(self) -> None:
        self._stop()
        self._errors.close()


class _Recording:
    """What would be heard, as a WAV file that is whole or not there."""

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() != ".wav":
            raise SettingsInvalid(f"audio sink: {str(path)!r} is no sound file's name; it must end in .wav")
        if path.is_dir():
            raise SinkUnwritable(f"{path}: is a folder; give the path of a file")
        self._path = path
        self._staged = staged_name(path, ".wav")
        self._sounding = b""  # what is left of the sound that plays
        self._t: float | None = None  # of the last update, on the capture clock
        self._seconds = 0.0  # that the file lasts; its samples are that rounded
        self._written = 0  # bytes of samples
        try:
            self._file: BinaryIO | None = self._staged.open("wb")
        except OSError as error:
            raise sink_error(path, error) from error
        self._write(_wav_header(0))

    def advance(self, update: Update) -> float:
        t = update.t
        step = 0.0 if self._t is None else t - self._t
        if 0 <= step <= GAP:
            self._seconds += step
        self._t = t
        count = 2 * round(self._seconds * RATE) - self._written
        samples, self._sounding = self._sounding[:count], self._sounding[count:]
        self._write(samples + bytes(count - len(samples)))
        self._written += count
        return self._seconds

    def play(self, samples: bytes) -> None:
        self._sounding = samples

    def _write(self, content: bytes) -> None:
        if self._file is None:
            return
        try:
            self._file.write(content)
        except OSError as error:
            raise self._discard(error) from error

    def _discard(self, error: OSError) -> CuelensError:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what is buffered is refused again
                self._file.close()
        self._file = None
        with contextlib.suppress(OSError):  # the first is what is wrong
            self._staged.unlink(missing_ok=True)
        return sink_error(self._path, error)

    def close(self) -> None:
        self._write(self._sounding)
        if self._file is None:
            return
        try:
            self._file.seek(0)
            self._file.write(_wav_header(self._written + len(self._sounding)))
            self._file.close()
            self._staged.replace(self._path)
        except OSError as error:
            raise self._discard(error) from error
        self._file = None


def _wav_header(size: int) -> bytes:
    """Return the header of a WAV file of `size` bytes of samples."""
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)  # PCM, mono, bytes a second, bytes and bits each
    return b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size)
