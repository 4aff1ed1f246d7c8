"""cuelens-bench cue: what it counts is what it says, on streams whose answer is known."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import bench, cue, cue_clips, cue_films, cue_noise, cue_people, cue_tune, streams
from benchmarks.cue_page import write_page
from benchmarks.report import read_report
from benchmarks.schema import RESULTS, differences
from benchmarks.streams import LABELS, PARTNER, RATES, Step, clear, film, follow, judge, nobody, play, steady
from edge.cue.policy import SMALL_VOCABULARY, WORD_OF
from edge.diagnostics.replay import replay
from edge.errors import DataColumnMissing, DataLabelInvalid, DataMissing, DataSplitEmpty, SourceEmpty
from edge.settings import SENSITIVITIES, CueSettings
from edge.sources.demo import DemoSource
from edge.vision.model import ExpressionModel
from edge.vision.tflite import models_folder
from tests.support.streams import crossing, spikes

SETTINGS = CueSettings()


def certain_films(count: int, certainty: float = 0.95) -> tuple[streams.Probabilities, list[str]]:
    """Return films of unchanging readings, of each class in turn, and their words."""
    labels = [LABELS[row % len(LABELS)] for row in range(count)]
    frames = round(cue_films.FPS * cue_films.SECONDS)
    return np.array([[clear(label, certainty)] * frames for label in labels]), [WORD_OF[label] for label in labels]


def test_the_film_of_a_face_sways_and_is_the_same_each_time() -> None:
    face = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    first, second = (list(cue_films.film_face(face, np.random.default_rng(1))) for _ in range(2))
    assert len(first) == cue_films.FPS * cue_films.SECONDS
    assert all(picture.shape == (48, 48) and picture.dtype == np.uint8 for picture in first)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert all(not np.array_equal(one, other) for one, other in pairwise(first))


def test_sway_keeps_its_spread_and_is_alike_from_frame_to_frame() -> None:
    rows = cue_films.sway(20_000, np.random.default_rng(0))
    assert rows.std(axis=0) == pytest.approx(np.ones(4), abs=0.1)
    assert np.corrcoef(rows[:-1, 0], rows[1:, 0])[0, 1] == pytest.approx(
        np.exp(-1 / (cue_films.FPS * cue_films.SWAY)), abs=0.03
    )


def test_certain_films_are_all_shown_and_right_and_undecided_ones_are_not_shown() -> None:
    films, words = certain_films(14)
    assert cue_films.play_films(films, words, SETTINGS) == {"coverage": 1.0, "right": 1.0, "raw_right": 1.0}
    even = np.full_like(films, 1 / 7)
    assert cue_films.play_films(even, words, SETTINGS)["coverage"] == 0.0
    other = [{"smile": "upset"}.get(word, "smile") for word in words]
    assert cue_films.play_films(films, other, SETTINGS) == {"coverage": 1.0, "right": 0.0, "raw_right": 0.0}


def test_a_judgement_counts_only_steps_with_a_truth() -> None:
    stream = steady("happy", 4, 10)
    stream = [replace(step, truth="smile" if step.t > 2 else None) for step in stream]
    assert judge(stream, play(stream, SETTINGS)) == (20, 20, 20, 20)
    assert judge([replace(step, truth=None) for step in stream], play(stream, SETTINGS)) == (0, 0, 0, 0)
    assert judge([replace(step, truth="upset") for step in stream[20:]], play(stream, SETTINGS)[20:]) == (20, 20, 0, 0)


def test_clips_are_judged_by_word_and_a_face_that_waits_for_its_turn_keeps_its_reading() -> None:
    stream = [replace(step, truth="smile") for step in follow(nobody(1, 30), steady("happy", 4, 30))]
    stream = [
        replace(step, people=tuple((face, None if number % 2 else values) for face, values in step.people))
        for number, step in enumerate(stream)
    ]
    (row,) = cue_clips.judge_clips({"films/a.mp4": stream}, SETTINGS)
    assert (row["labelled"], row["raw_changes"], row["word_changes"]) == (150, 0, 0)
    assert row["cue_changes"] == 0  # nobody, a face, a smile: no word that was shown changed
    assert row["raw_right"] == 120  # the first second has nobody
    assert 100 < row["covered"] == row["right"] < 120
    assert cue_clips.sum_clips([row, row])["cue_right"] == 1.0
    assert cue_clips.sum_clips([row, row])["raw_right"] == 0.8


def test_a_word_that_comes_back_after_unsure_is_no_change_of_word() -> None:
    stream = follow(steady("happy", 3, 30), film([np.full(7, 1 / 7)] * 120, 30), steady("happy", 3, 30))
    cues = play(stream, SETTINGS)
    assert cue_clips.word_changes(cues) == 0
    assert streams.changes(cues) >= 2


def test_the_words_of_the_clips_are_words_in_order_and_apart() -> None:
    words = cue_clips.read_clip_words()
    assert len(words) > 20
    for spans in words.values():
        assert all(start < end and word in ("", *SMALL_VOCABULARY) for start, end, word in spans)
        assert all(before[1] < after[0] for before, after in pairwise(spans))


def test_every_noise_has_its_length_and_readings_that_sum_to_one() -> None:
    for fps in RATES:
        for name, stream in cue_noise.make_noise(fps).items():
            assert len(stream) == 60 * cue_noise.MINUTES * fps, name
            assert stream[-1].t == pytest.approx(60 * cue_noise.MINUTES)
            assert all(
                values is not None and values.sum() == pytest.approx(1)
                for ((_, values),) in (s.people for s in stream[:50])
            )


def test_raw_labels_change_as_often_as_they_are_made_to() -> None:
    assert streams.raw_changes(streams.flicker("happy", "sad", 2, 10)) == 19
    assert streams.raw_changes(spikes("happy", "sad", 3, 10)) == 5
    assert streams.raw_changes(streams.flicker("angry", "sad", 2, 10)) == 0  # one word


def talkers() -> dict[str, streams.Stream]:
    """Return four people who talk and smile, or are at rest, whose mouths leave it now and then."""

    def talk(label: str, other: str, fps: int = 10) -> streams.Stream:
        values = [clear(other if number % 4 == 3 else label, 0.85) for number in range(8 * fps)]
        return [replace(step, truth=WORD_OF[label]) for step in film(values, fps)]

    pairs = (("happy", "neutral"), ("neutral", "sad"), ("happy", "surprise"), ("surprise", "neutral"))
    return {f"talk/0{number}-1.avi": talk(*pair) for number, pair in enumerate(pairs)}


def test_tuning_never_gets_worse_and_keeps_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cue_tune, "VARIED", {"bridge": (0.2, 2.0), "decay": (0.1, 0.5)})
    monkeypatch.setattr(cue_tune, "make_noise", lambda fps: {"none": nobody(1, fps)})
    monkeypatch.setattr(cue_tune, "least_bridged", lambda settings: 1.0)
    bench = cue_tune.Bench(talkers())
    start = replace(SETTINGS, bridge=0.2, decay=0.1, onset=0.2)
    names = list(bench.clips)
    found = cue_tune.climb(bench, start, names, 2, "")
    assert bench.worth(found, names) >= bench.worth(start, names)
    assert bench.excess(found) == 0


def test_nobody_is_in_two_folds_and_everybody_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["talk/02-1.avi", "talk/02-2.avi", "talk/04-1.avi", "clips/asl_a.mkv", "clips/asl_b.mkv", "clips/x.mp4"]
    parts = cue_tune.folds(names)
    assert sorted(name for part in parts for name in part) == sorted(names)
    people = [{cue_clips.person_of(name) for name in part} for part in parts]
    assert sum(map(len, people)) == len(set.union(*people)) == 4
    monkeypatch.setattr(cue_tune, "VARIED", {"decay": (0.1, 0.5)})
    monkeypatch.setattr(cue_tune, "make_noise", lambda fps: {"none": nobody(1, fps)})
    held = cue_tune.cross_validate(cue_tune.Bench(talkers()), SETTINGS, 1)
    assert 0 < held["talk"]["coverage"] <= 1


def test_the_page_shows_what_each_setting_buys_and_draws_the_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cue_tune, "VARIED", {"doubt": (0.0, 3.0)})
    monkeypatch.setattr(cue_tune, "make_noise", lambda fps: {"none": nobody(1, fps)})
    result = cue_tune.tune(cue_tune.Bench(talkers()), SETTINGS, 1, validate=True)
    assert differences(result, RESULTS["cue tune"]) == []
    write_page(tmp_path / "cue.md", result, "0123456789abcdef")
    page, drawn = (tmp_path / "cue.md").read_text(), (tmp_path / "cue.svg").read_text()
    assert "0123456789ab" in page
    assert page.count("| doubt |") == 1
    assert all(f"| {name} |" in page and f">{name}</text>" in drawn for name in ("calm", "normal", "quick"))
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    assert {each["sensitivity"] for each in result["points"]} == set(SENSITIVITIES)


def test_own_neutrals_help_who_is_misread_at_rest_and_take_no_smile(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = np.array([0.2, 0.02, 0.03, 0.02, 0.25, 0.03, 0.45])  # half of it upset
    readings = np.array([*[rest] * 12, *[clear("happy")] * 4])
    stern = cue_people.Person("a", readings, ("neutral",) * 12 + ("smile",) * 4)
    rows = cue_people.compare([stern], SETTINGS)
    assert differences({"people": rows}, RESULTS["cue people"]) == []
    without, own = rows[:2]
    assert own["neutral"] > without["neutral"] + 0.2
    assert own["smile"] >= without["smile"] > 0.7


def test_people_are_read_or_the_folder_is_refused_with_its_reason(tmp_path: Path) -> None:
    import cv2

    model, labels = ExpressionModel(), tmp_path / "labels.csv"
    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 48), 90, np.uint8))
    rows = ["a.png,neutral,anna"] * 3 + ["a.png,happy,anna"] * 5
    with pytest.raises(DataMissing, match=r"labels\.csv"):
        cue_people.read_people(tmp_path, model)
    labels.write_text("\n".join(["path,label,subject", *rows, "a.png,happy,ben"]))
    (anna,) = cue_people.read_people(tmp_path, model)
    assert (anna.name, anna.readings.shape, anna.words) == ("anna", (8, 7), ("neutral",) * 3 + ("smile",) * 5)
    labels.write_text("\n".join(["path,label,subject", *rows, "a.png,proud,anna"]))
    with pytest.raises(DataLabelInvalid, match=r"labels\.csv: a\.png has the label 'proud'; valid are .*neutral"):
        cue_people.read_people(tmp_path, model)
    labels.write_text("\n".join(["path,label,person", *rows]))
    with pytest.raises(DataColumnMissing, match="no column 'subject'"):
        cue_people.read_people(tmp_path, model)
    for few in (rows[:7], ["a.png,neutral,anna"] * 2 + ["a.png,happy,anna"] * 8, []):
        labels.write_text("\n".join(["path,label,subject", *few]))
        with pytest.raises(DataSplitEmpty, match=f"{min(len(few), 1)} people, none with 8 pictures and 3 of them"):
            cue_people.read_people(tmp_path, model)


def test_a_watched_clip_is_read_as_the_loop_reads_it_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    clip, logs = tmp_path / "films" / "02-1.avi", tmp_path / "logs"
    clip.mkdir(parents=True)
    source = DemoSource("1")
    for number, frame in zip(range(20), source.frames(), strict=False):
        cv2.imwrite(str(clip / f"{number:03}.png"), frame.gray)
    source.close()
    log = tmp_path / "out.jsonl"
    cue_clips.watch(clip, ExpressionModel(), log)
    stream = cue_clips.read_stream(log, [(0.0, 100.0, "surprise")])
    assert len(stream) == 20
    assert {step.truth for step in stream} == {"surprise"}
    read = [values for step in stream for _, values in step.people if values is not None]
    assert 5 <= len(read) <= 20
    assert all(values.shape == (7,) for values in read)
    assert {step.truth for step in cue_clips.read_stream(log, [(0.0, 100.0, "")])} == {None}
    cues = play(stream, SETTINGS)
    assert [cue.shown for cue in cues] == [item.logged for item in replay(log)]

    clip.rename(tmp_path / "frames")
    clip.write_bytes(b"")
    monkeypatch.setattr(cue_clips, "watch", lambda clip, model, into: into.write_bytes(log.read_bytes()))
    assert list(cue_clips.watch_clips([clip.parent], ExpressionModel(), logs)) == ["films/02-1.avi"]
    monkeypatch.setattr(cue_clips, "watch", lambda clip, model, into: pytest.fail("watched again"))
    assert len(cue_clips.watch_clips([clip.parent], ExpressionModel(), logs)["films/02-1.avi"]) == 20


@pytest.mark.parametrize("changed", ["face.tflite", "face.json", "scan.tflite", "scan.json"])
def test_a_clip_is_watched_again_after_a_network_that_finds_faces_changed(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, logs, networks, watched = tmp_path / "films" / "02-1.avi", tmp_path / "logs", tmp_path / "networks", []
    clip.parent.mkdir()
    clip.write_bytes(b"")
    shutil.copytree(models_folder(), networks)
    monkeypatch.setattr(cue_clips, "models_folder", lambda: networks)
    monkeypatch.setattr(cue_clips, "read_stream", lambda log, words: [])
    monkeypatch.setattr(cue_clips, "watch", lambda clip, model, log: watched.append(log.write_bytes(b"")))
    model = ExpressionModel()
    for times in (1, 1, 2):
        if times == 2:
            (networks / changed).write_bytes((networks / changed).read_bytes() + b" ")
        cue_clips.watch_clips([clip.parent], model, logs)
        assert len(watched) == times


def test_a_folder_without_the_clips_is_reported_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="none of the clips"):
        cue_clips.watch_clips([tmp_path], ExpressionModel())


def measure_blocked(model: ExpressionModel) -> dict[str, float]:
    """Measure for a second, or on a busy machine for as long as two frames take."""
    for seconds in (1.0, 10.0):
        with suppress(SourceEmpty):
            return cue.measure_blocked(seconds, model)
    return cue.measure_blocked(60.0, model)


def test_a_blocked_sink_is_measured_beside_one_that_works() -> None:
    result = measure_blocked(ExpressionModel())
    assert result["fps"] > 0
    assert result["ratio"] == pytest.approx(result["fps_blocked"] / result["fps"], abs=1e-3)


def test_the_command_prints_a_table_and_writes_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cue_noise, "MINUTES", 0.1)
    with pytest.raises(SystemExit) as end:
        bench.main(["cue", "streams", "--out", str(tmp_path)])
    assert not end.value.code
    printed = capsys.readouterr().out
    report = read_report(tmp_path / "streams.json")
    assert set(report["result"]["onset_s"]) == {str(fps) for fps in RATES}
    assert all(name in printed for name in report["result"]["noise"])
    assert report["settings"]["filter"] == SETTINGS.filter
    assert report["void"] == [], "what is counted hangs on no load"


def test_two_people_who_cross_are_both_in_every_frame() -> None:
    for step in crossing("happy", "sad", 4, 10):
        assert isinstance(step, Step)
        assert [face.id for face, _ in step.people] == [PARTNER.id, 2]
