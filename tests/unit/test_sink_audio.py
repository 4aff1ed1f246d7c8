"""The audio sink: its tones measured, its repeats over any cues, and players that work, fail, hang or are missing."""

from __future__ import annotations

import math
import os
import shutil
import wave
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cue.policy import SMALL_VOCABULARY
from edge.errors import CuelensError, DiskFull, RuntimeMissing, SettingsInvalid, SinkFailed, SinkUnwritable
from edge.runtime.control import Control
from edge.settings import LookSettings, Settings
from edge.sinks import audio
from edge.sinks.audio import PROBE, RATE, TONES, WAKE, AudioSettings, AudioSink, Onsets, audible, tone
from edge.sinks.opening import open_sink
from edge.types import Cue, Frame, Update

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SMILE, UPSET, NEUTRAL = (Cue("expression", name, 0.8, 0.0) for name in ("smile", "upset", "neutral"))
NOBODY = Cue("no_face", None, 0.0, 0.0)
FACE, FAINT = Cue("unsure", None, 0.0, 0.0, "new"), Cue("unsure", None, 0.3, 0.0, "faint")
PAUSED = Cue("paused", None, 0.0, 0.0)
GRAY = np.zeros((2, 2), np.uint8)
DISTINCT = [name for name in TONES if name != "happy"]


def update(cue: Cue, t: float = 0.0) -> Update:
    return Update(Frame(GRAY, t, round(30 * t), t), (), (), LABELS, cue, {}, 0)


def control(look: LookSettings | None = None, **settings: float) -> Control:
    return Control(Settings(sinks=("audio",), own={"audio": AudioSettings(**settings)}, look=look or LookSettings()))


# The tones


def bursts(sound: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """The notes of a sound: between them the level is under a tenth for some milliseconds."""
    window = round(0.0025 * RATE)
    level = np.array([np.abs(sound[at : at + window]).max() for at in range(0, sound.size, window)])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], level > 0.1, [0]])))
    return [sound[window * a : window * b] for a, b in zip(edges[::2], edges[1::2], strict=True)]


def pitch_hz(sound: npt.NDArray[np.float64]) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size), 1 << 15))
    return float(spectrum.argmax()) * RATE / (1 << 15)


def contour(sound: npt.NDArray[np.float64]) -> str:
    """How the pitch goes, measured: `=` stays, `+` and `-` jump from a note to the next, `/` and `\\` glide in one."""
    said = ""
    before = 0.0
    for note in bursts(sound):
        third = note.size // 3
        first, last = pitch_hz(note[:third]), pitch_hz(note[-third:])
        if before:
            said += "=" if abs(12 * math.log2(first / before)) < 1 else "+" if first > before else "-"
        if abs(12 * math.log2(last / first)) > 3:
            said += "/" if last > first else "\\"
        before = last
    return said


@pytest.mark.parametrize("name", TONES)
def test_a_tone_is_short_and_begins_and_ends_softly_at_zero(name: str) -> None:
    sound = tone(name)
    assert 0.05 < sound.size / RATE < 0.25
    assert (sound[0], sound[-1]) == (0.0, pytest.approx(0.0, abs=1e-9))
    assert np.abs(sound).max() <= 1.0
    assert np.abs(sound[: round(0.003 * RATE)]).max() < 0.2
    assert np.abs(sound[-round(0.003 * RATE) :]).max() < 0.2
    # A jump would be a click: no sample is further from the last than a full sine of the highest pitch goes.
    assert np.abs(np.diff(sound)).max() < 2 * math.pi * 1200 / RATE


@pytest.mark.parametrize("name", TONES)
def test_a_tone_is_where_small_speakers_and_old_ears_are_good(name: str) -> None:
    for note in bursts(tone(name)):
        power = np.abs(np.fft.rfft(note, 1 << 15)) ** 2
        hz = np.arange(power.size) * RATE / (1 << 15)
        assert power[(hz > 300) & (hz < 1200)].sum() > 0.95 * power.sum()
        assert 300 < pitch_hz(note) < 1200


def test_no_two_tones_have_the_same_contour() -> None:
    contours = {name: contour(tone(name)) for name in DISTINCT}
    assert contours == {
        "face": "",
        "smile": "+",
        "surprise": "+-",
        "upset": "-",
        "angry": "--",
        "disgust": "-+",
        "fear": "-+-",
        "sad": "\\",
        "no_camera": "==",
        "paused": "=",
        "stopped": "-=",
    }
    assert len(set(contours.values())) == len(DISTINCT)


def test_two_tones_differ_also_where_pitch_is_not_heard_as_absolute() -> None:
    """Moved to the same mean pitch, two tones with as many notes still are two semitones apart somewhere."""
    for one, other in combinations(DISTINCT, 2):
        tracks = [[12 * math.log2(pitch_hz(note)) for note in bursts(tone(name))] for name in (one, other)]
        if len(tracks[0]) != len(tracks[1]) or "sad" in (one, other):  # a glide is no note
            continue
        a, b = (np.array(track) - np.mean(track) for track in tracks)
        assert np.abs(a - b).max() > 2, (one, other)


def test_every_expression_but_neutral_has_a_tone() -> None:
    assert (set(SMALL_VOCABULARY) | set(LABELS)) - {"neutral"} <= TONES.keys()
    assert np.array_equal(tone("happy"), tone("smile"))
    assert tone("of another model").size == 0


# What is heard, and when


@pytest.mark.parametrize(
    ("cue", "name"),
    [
        (SMILE, "smile"),
        (NEUTRAL, None),
        (NOBODY, None),
        (FAINT, None),
        (FACE, "face"),
        (PAUSED, "paused"),
        (Cue("no_camera", None, 0.0, 0.0), "no_camera"),
    ],
)
def test_only_what_is_worth_the_ear_is_heard(cue: Cue, name: str | None) -> None:
    assert audible(cue, LookSettings()) == name
    assert audible(cue, LookSettings(neutral=True, words=False)) == name


def test_a_face_that_displays_do_not_show_is_not_heard_either() -> None:
    assert audible(FACE, LookSettings(presence=False)) is None


def heard(steps: Sequence[tuple[str | None, float]], repeat: float) -> list[tuple[str, float]]:
    """What is heard of cues that each come up so many seconds after the last."""
    onsets = Onsets()
    t, said = 0.0, []
    for name, seconds in steps:
        t += seconds
        if onsets.due(name, t, repeat):
            assert name is not None
            onsets.hear(name, t)
            said.append((name, t))
    return said


STEPS = st.lists(
    st.tuples(st.sampled_from([None, "smile", "upset", "face"]), st.floats(0.0, 4.0, allow_nan=False)), max_size=60
)


@given(STEPS, st.sampled_from([0.0, 1.0, 10.0]))
def test_no_cue_is_heard_again_within_the_repeat_time_whatever_came_between(
    steps: list[tuple[str | None, float]], repeat: float
) -> None:
    said = heard(steps, repeat)
    for name in ("smile", "upset", "face"):
        times = [t for other, t in said if other == name]
        assert all(later - earlier >= repeat for earlier, later in pairwise(times))


@given(STEPS)
def test_with_no_repeat_time_each_cue_is_heard_as_often_as_it_comes_up(steps: list[tuple[str | None, float]]) -> None:
    names = [name for name, _ in steps]
    came_up = [name for before, name in zip([None, *names], names, strict=False) if name not in (None, before)]
    assert [name for name, _ in heard(steps, 0.0)] == came_up


def test_a_cue_that_lasts_is_heard_once() -> None:
    assert heard([("smile", 1.0)] * 100, 10.0) == [("smile", 1.0)]


def test_a_cue_that_comes_back_too_soon_is_heard_later_only_if_the_last_heard_is_wrong() -> None:
    back = [("smile", 0.0), (None, 1.0), *[("smile", 1.0)] * 30]
    assert heard(back, 10.0) == [("smile", 0.0)]
    other = [("smile", 0.0), ("upset", 1.0), *[("smile", 1.0)] * 30]
    assert heard(other, 10.0) == [("smile", 0.0), ("upset", 1.0), ("smile", 10.0)]
    gone = [("smile", 0.0), ("upset", 1.0), ("smile", 1.0), *[(None, 1.0)] * 30]
    assert heard(gone, 10.0) == [("smile", 0.0), ("upset", 1.0)]


# Into a file


def recorded(path: Path) -> npt.NDArray[np.int16]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert samples.size == file.getnframes()
    return samples


def record(path: Path, cues: Sequence[tuple[Cue, float]], kept: Control | None = None) -> npt.NDArray[np.int16]:
    sink = open_sink(f"audio:file:{path}", kept or control())
    for cue, t in cues:
        sink.show(update(cue, t))
    sink.close()
    sink.close()
    sink.show(update(UPSET, 1e6))
    return recorded(path)


def test_a_file_has_each_tone_when_it_would_be_heard_and_ends_with_the_last_update(tmp_path: Path) -> None:
    cues = [(NOBODY, 5.0), (FACE, 5.5), (SMILE, 6.0), (SMILE, 7.0), (UPSET, 8.0), (NOBODY, 9.0)]
    samples = record(tmp_path / "heard.wav", cues)
    expected = np.zeros(4 * RATE)
    for name, t in (("face", 0.5), ("smile", 1.0), ("upset", 3.0)):
        expected[round(t * RATE) :][: tone(name).size] = tone(name)
    np.testing.assert_allclose(samples, expected * 32767 * 0.9 * 0.3, atol=0.51)


def test_the_same_cues_are_the_same_bytes_whatever_the_confidence(tmp_path: Path) -> None:
    times = np.arange(0, 20, 1 / 30)
    one, other = (
        [
            (Cue("expression", "smile" if t % 7 < 3 else "upset", float(c), 0.0), float(t))
            for t, c in zip(times, cs, strict=True)
        ]
        for cs in (np.linspace(0.5, 1, times.size), np.full(times.size, 0.7))
    )
    record(tmp_path / "one.wav", one)
    record(tmp_path / "other.wav", other)
    assert (tmp_path / "one.wav").read_bytes() == (tmp_path / "other.wav").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.wav", "other.wav"]


@pytest.mark.parametrize("name", TONES)
def test_nothing_clips_at_full_volume(tmp_path: Path, name: str) -> None:
    states = {"face": FACE, "no_camera": Cue("no_camera", None, 0.0, 0.0), "paused": PAUSED}
    cue = states.get(name, Cue("expression", name, 1.0, 0.0))
    samples = record(tmp_path / "heard.wav", [(cue, 0.0)], control(volume=1.0))
    assert 0.8 < np.abs(samples.astype(int)).max() / 32768 < 0.95


def test_a_newer_cue_cuts_off_the_older_one(tmp_path: Path) -> None:
    samples = record(tmp_path / "heard.wav", [(SMILE, 0.0), (UPSET, 0.1)])
    cut = round(0.1 * RATE)
    assert samples.size == cut + tone("upset").size
    np.testing.assert_allclose(samples[cut:], tone("upset") * 32767 * 0.9 * 0.3, atol=0.51)
    np.testing.assert_allclose(samples[:cut], tone("smile")[:cut] * 32767 * 0.9 * 0.3, atol=0.51)


def test_settings_are_obeyed_while_it_runs(tmp_path: Path) -> None:
    kept = control()
    sink = open_sink(f"audio:file:{tmp_path}/heard.wav", kept)
    for t, settings in enumerate([{"tones": False}, {"tones": True}, {"volume": 0.0}, {"volume": 1.0}]):
        kept.change("audio", settings)
        for cue in (NOBODY, (SMILE, UPSET)[t // 2]):
            sink.show(update(cue, float(t)))
    sink.close()
    samples = recorded(tmp_path / "heard.wav").astype(int)
    loudest = [np.abs(samples[t * RATE : (t + 1) * RATE]).max(initial=0) / 32767 for t in range(4)]
    assert loudest == pytest.approx([0.0, 0.27, 0.0, 0.9], abs=0.01)


def test_a_clock_of_another_kind_makes_no_hours_of_silence(tmp_path: Path) -> None:
    samples = record(tmp_path / "heard.wav", [(NOBODY, 1.0), (SMILE, 90_000.0), (NOBODY, 2.0), (NOBODY, 3.0)])
    assert samples.size == RATE


def test_a_file_that_cannot_be_written_is_reported_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    for path in (tmp_path / "none/heard.wav", tmp_path / "folder.wav"):
        with pytest.raises(SinkUnwritable):
            open_sink(f"audio:file:{path}", control())
    with pytest.raises(SettingsInvalid, match=r"'heard\.mp3' is no sound file's name; it must end in \.wav"):
        open_sink("audio:file:heard.mp3", control())


def test_a_file_that_fills_the_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "with_name", lambda *_: Path("/dev/full"))
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok: None)
    sink = open_sink(f"audio:file:{tmp_path}/heard.wav", control())
    with pytest.raises(DiskFull, match=r"heard\.wav: No space left"):
        for seq in range(100):
            sink.show(update(NOBODY, seq / 30))
    sink.close()
    assert list(tmp_path.iterdir()) == []


# Through a player


class Programs:
    """A PATH of the test's own, with programs that note their arguments."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.notes = folder / "bin", folder / "notes"
        self.bin.mkdir()
        self.notes.mkdir()

    def add(self, name: str, script: str = "", *, after: int = 0) -> None:
        """Note arguments and input of each call; from the call `after` on, counted from 0, run `script`."""
        path = self.bin / name
        path.write_text(
            f"#!/bin/sh\nn=$(/bin/ls {self.notes} | /usr/bin/grep -c '^{name}.*arguments')\n"
            f'echo "$*" >{self.notes}/{name}.$n.arguments\n/bin/cat >{self.notes}/{name}.$n.input\n'
            f"[ $n -lt {after} ] || {{ :; {script}\n}}\n",
            encoding="utf-8",
        )
        path.chmod(0o755)

    def arguments(self, name: str) -> list[str]:
        return [path.read_text().strip() for path in sorted(self.notes.glob(f"{name}.*.arguments"))]

    def inputs(self, name: str) -> list[npt.NDArray[np.int16]]:
        return [np.frombuffer(path.read_bytes(), "<i2") for path in sorted(self.notes.glob(f"{name}.*.input"))]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    made = Programs(tmp_path)
    monkeypatch.setenv("PATH", str(made.bin))
    return made


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def children() -> set[int]:
    """Processes that this one started and has not put away, dead ones too."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == os.getpid():
            found.add(int(stat.parent.name))
    return found


def wait_for_the_end_of(process: int) -> None:
    """Wait for a child's end and leave it to its parent to see."""
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)


def playing(before: set[int]) -> int:
    (process,) = children() - before
    return process


def test_a_device_is_tried_with_silence_and_then_gets_each_tone_by_itself(programs: Programs) -> None:
    programs.add("aplay")
    before = children()
    sink = AudioSink("plughw:1,0", control(), Clock())
    for cue in (SMILE, UPSET):
        sink.show(update(cue))
        wait_for_the_end_of(playing(before))
    sink.close()
    sink.close()
    sink.show(update(SMILE))
    assert children() == before
    assert programs.arguments("aplay") == [f"-q -t raw -f S16_LE -r {RATE} -c 1 -D plughw:1,0"] * 3
    silence, *tones = programs.inputs("aplay")
    assert (silence.size, silence.any()) == (round(PROBE * RATE), False)
    for samples, name in zip(tones, ("smile", "upset"), strict=True):
        np.testing.assert_allclose(samples, tone(name) * 32767 * 0.9 * 0.3, atol=0.51)


def test_without_aplay_another_player_is_taken(programs: Programs) -> None:
    programs.add("paplay")
    for device in ("", "headset"):
        AudioSink(device, control()).close()
    common = f"--raw --format=s16le --rate={RATE} --channels=1"
    assert programs.arguments("paplay") == [common, f"{common} -d headset"]


@pytest.mark.usefixtures("programs")
def test_without_any_player_the_package_is_named() -> None:
    with pytest.raises(RuntimeMissing, match=r"sink has neither aplay nor paplay; sudo apt install alsa-utils"):
        open_sink("audio", control())


def test_a_device_repeats_by_its_own_clock_and_not_by_the_recording_s(programs: Programs) -> None:
    programs.add("aplay")
    clock, before = Clock(), children()
    sink = AudioSink("", control(repeat=10.0), clock)
    for t in range(0, 1000, 20):  # a recording that is played fast: 10 s in all
        for cue in (SMILE, UPSET):
            clock.now += 0.1
            sink.show(update(cue, float(t)))
            for process in children() - before:
                wait_for_the_end_of(process)
    sink.close()
    _, *tones = programs.inputs("aplay")
    assert [samples.size for samples in tones] == [tone("smile").size, tone("upset").size]


def test_a_device_that_is_not_there_is_reported_at_the_start_in_one_line(programs: Programs) -> None:
    programs.add("aplay", "printf 'no such card\\nmore\\n' >&2; exit 1")
    before = children()
    with pytest.raises(SinkFailed) as raised:
        AudioSink("hw:9", control())
    assert str(raised.value).startswith("audio sink: aplay on device 'hw:9' failed: no such card; ")
    assert children() == before


def test_a_player_that_fails_is_reported_by_the_next_update(programs: Programs) -> None:
    programs.add("aplay", "exit 3", after=1)
    before = children()
    sink = AudioSink("", control())
    sink.show(update(SMILE))
    wait_for_the_end_of(playing(before))
    with pytest.raises(SinkFailed, match="exit code 3"):
        sink.show(update(SMILE))
    sink.close()
    assert children() == before


def test_a_player_that_does_not_run_is_reported(programs: Programs) -> None:
    (programs.bin / "aplay").write_text("#!/no/such/interpreter\n")
    (programs.bin / "aplay").chmod(0o755)
    with pytest.raises(SinkFailed, match="does not start: No such file"):
        AudioSink("", control())


# Deaf to SIGTERM, as one that hangs in a driver is.
HANGS = "trap '' TERM; exec /bin/sleep 300"


def test_a_player_that_hangs_is_killed_and_said(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.add("aplay", HANGS, after=1)
    clock, before = Clock(), children()
    sink = AudioSink("", control(), clock)
    sink.show(update(SMILE))
    clock.now += WAKE
    sink.show(update(SMILE))
    assert children() != before
    clock.now += 1.0
    monkeypatch.setattr(audio, "GRACE", 0.01)
    with pytest.raises(SinkFailed, match="hung, 10 s after the sound's end"):
        sink.show(update(SMILE))
    assert children() == before
    sink.close()


def test_a_device_that_hangs_from_the_start_is_reported(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.add("aplay", HANGS)
    before = children()
    monkeypatch.setattr(audio, "PATIENCE", 0.3)
    monkeypatch.setattr(audio, "GRACE", 0.01)
    clock = Clock()
    sink = AudioSink("", control(), clock)
    clock.now += 1.0
    sink.show(update(NOBODY))
    clock.now += WAKE
    with pytest.raises(SinkFailed, match="hung"):
        sink.show(update(NOBODY))
    assert children() == before
    sink.close()


def test_a_speaker_that_takes_three_seconds_to_wake_is_no_hang(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs.add("aplay", "exec /bin/sleep 0.6")
    monkeypatch.setattr(audio, "PATIENCE", 0.1)  # it is opened before it is awake
    clock, before = Clock(), children()
    sink = AudioSink("", control(), clock)
    for _ in range(2):
        sink.show(update(SMILE))
        clock.now += 3.0
        sink.show(update(SMILE))
        wait_for_the_end_of(playing(before))
        clock.now += WAKE
        sink.show(update(NOBODY))
    assert children() == before
    sink.close()


def test_newer_sounds_do_not_hide_that_none_is_ever_played(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.add("aplay", HANGS, after=1)
    monkeypatch.setattr(audio, "GRACE", 0.01)
    clock = Clock()
    sink = AudioSink("", control(repeat=0.0), clock)
    seconds = 0
    with pytest.raises(SinkFailed, match="hung"):
        for seconds in range(30):
            sink.show(update((SMILE, UPSET)[seconds % 2]))
            clock.now += 1.0
    assert WAKE <= seconds <= WAKE + 2
    sink.close()


@pytest.mark.parametrize("script", ["exec /bin/sleep 300", HANGS])
def test_closing_leaves_no_child(programs: Programs, script: str) -> None:
    programs.add("aplay", script, after=1)
    before = children()
    sink = AudioSink("", control())
    sink.show(update(SMILE))
    assert children() - before
    sink.close()
    assert children() == before


def test_ctrl_c_on_the_terminal_is_not_the_players(programs: Programs) -> None:
    programs.add("aplay", "exec /bin/sleep 300", after=1)
    before = children()
    sink = AudioSink("", control())
    sink.show(update(SMILE))
    assert os.getsid(playing(before)) != os.getsid(0)
    sink.close()


# Speech


def spoken(path: Path, seconds: float = 0.5, rate: int = RATE) -> npt.NDArray[np.int16]:
    """Write what a voice might say; its header states too much, as espeak-ng's does in a pipe."""
    samples = (20_000 * np.sin(np.arange(round(seconds * rate)))).astype("<i2")
    content = audio._wav_header(0x7FFFF000) + samples.tobytes()
    path.write_bytes(content[:24] + rate.to_bytes(4, "little") + content[28:])
    return samples


def test_a_word_follows_the_tone_in_the_wearers_language_and_is_spoken_once(programs: Programs, tmp_path: Path) -> None:
    samples = spoken(tmp_path / "voice.wav")
    programs.add("espeak-ng", f"/bin/cat {tmp_path}/voice.wav")
    kept = control(LookSettings(language="de"), speech=True, repeat=0.0)
    cues = [(SMILE, 0.0), (NOBODY, 1.0), (SMILE, 2.0), (NOBODY, 3.0)]
    whole = record(tmp_path / "heard.wav", cues, kept)
    sound = np.concatenate([tone("smile"), np.zeros(round(0.08 * RATE)), samples / 32768])
    for t in (0, 2):
        np.testing.assert_allclose(whole[t * RATE :][: sound.size], sound * 32767 * 0.9 * 0.3, atol=0.51)
    assert programs.arguments("espeak-ng") == ["--stdout -v de -- Lächeln"]


def test_words_alone_and_a_language_that_changes(programs: Programs, tmp_path: Path) -> None:
    samples = spoken(tmp_path / "voice.wav")
    programs.add("espeak-ng", f"/bin/cat {tmp_path}/voice.wav")
    kept = control(speech=True, tones=False, volume=1.0)
    sink = open_sink(f"audio:file:{tmp_path}/heard.wav", kept)
    sink.show(update(SMILE, 0.0))
    kept.change("look", {"language": "fr"})
    sink.show(update(UPSET, 1.0))
    sink.close()
    whole = recorded(tmp_path / "heard.wav")
    np.testing.assert_allclose(whole[: samples.size], samples * 0.9 * 32767 / 32768, atol=0.51)
    assert programs.arguments("espeak-ng") == ["--stdout -v en -- smile", "--stdout -v fr -- contrarié"]


def test_a_word_is_cut_off_by_the_next_cue(programs: Programs, tmp_path: Path) -> None:
    spoken(tmp_path / "voice.wav", seconds=60.0)
    programs.add("espeak-ng", f"/bin/cat {tmp_path}/voice.wav")
    programs.add("aplay", "exec /bin/sleep 300", after=1)
    before = children()
    sink = AudioSink("", control(speech=True))
    sink.show(update(SMILE))
    first = playing(before)
    sink.show(update(UPSET))
    assert playing(before) != first
    sink.close()
    assert children() == before


def test_without_espeak_the_package_is_named_when_words_are_wanted(programs: Programs, tmp_path: Path) -> None:
    programs.add("aplay")
    with pytest.raises(RuntimeMissing, match=r"sudo apt install espeak-ng, or turn off audio\.speech"):
        AudioSink("", control(speech=True))
    kept = control()
    sink = open_sink(f"audio:file:{tmp_path}/heard.wav", kept)
    kept.change("audio", {"speech": True})
    with pytest.raises(RuntimeMissing, match="sudo apt install espeak-ng"):
        sink.show(update(SMILE))
    sink.close()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'no voice' >&2; exit 1", "espeak-ng -v en failed: no voice"),
        ("exit 4", "failed: exit code 4"),
        ("/bin/cat {voice}", r"gives \(channels, bytes, rate\) \(1, 2, 16000\)"),
        ("exec /bin/sleep 300", "did not say 'smile' within"),
    ],
)
def test_a_voice_that_fails_is_reported_in_one_line(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    spoken(tmp_path / "voice.wav", rate=16_000)
    programs.add("espeak-ng", script.format(voice=tmp_path / "voice.wav"))
    sink = open_sink(f"audio:file:{tmp_path}/heard.wav", control(speech=True))
    before = children()
    if "sleep" in script:
        monkeypatch.setattr(audio, "PATIENCE", 0.3)
    with pytest.raises(CuelensError, match=words) as raised:
        sink.show(update(SMILE))
    assert "\n" not in str(raised.value)
    assert children() == before
    sink.close()


# The real programs


@pytest.mark.skipif(shutil.which("aplay") is None, reason="needs aplay: apt install alsa-utils")
def test_the_real_player_plays_to_alsas_null_device_and_refuses_an_unknown_one() -> None:
    before = children()
    sink = AudioSink("null", control())
    sink.show(update(SMILE))
    wait_for_the_end_of(playing(before))
    sink.show(update(SMILE))
    sink.close()
    assert children() == before
    with pytest.raises(SinkFailed, match=r"'no such device' failed: .*; see `aplay -L`"):
        AudioSink("no such device", control())


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng: apt install espeak-ng")
@pytest.mark.parametrize("language", ["en", "de", "es", "fr"])
def test_the_real_voice_speaks_every_language(tmp_path: Path, language: str) -> None:
    kept = control(LookSettings(language=language), speech=True, tones=False, volume=1.0)
    samples = record(tmp_path / "heard.wav", [(SMILE, 0.0)], kept)
    assert 0.3 < samples.size / RATE < 2.0
    assert 0.1 < np.abs(samples.astype(int)).max() / 32768 < 0.95
