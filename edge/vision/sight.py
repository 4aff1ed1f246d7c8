"""What a device sees with: the face finder, the schedule of readings and the expression network, for the pipeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ParamSpec, Protocol, TypeVar

import numpy as np

from edge.errors import ModelFailed
from edge.settings import FaceSettings
from edge.types import Face, Gray
from edge.vision.faces import FaceFinder, crop_face
from edge.vision.finders.net import NetFinder
from edge.vision.model import ExpressionModel
from edge.vision.overturned import OverturnWatch
from edge.vision.pipeline import Effort, FindFailed, Found
from edge.vision.schedule import ReadSchedule
from edge.vision.verifier import FaceVerifier

Given = ParamSpec("Given")
Result = TypeVar("Result")


class GuardedCall(Protocol):
    """Makes a call into a native library; None where it failed and is skipped."""

    def __call__(self, call: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result | None:
        """Return what the call returns; raises what ends the run."""


def unguarded(call: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result | None:
    """Make the call; raises whatever it raises."""
    return call(*args, **kwargs)


def read_crop(model: ExpressionModel, crop: Gray) -> tuple[float, ...]:
    """Return the probabilities of a face that was cut out, to as many digits as the log has.

    Raises ModelFailed where one is not finite.
    """
    values = tuple(round(value, 8) for value in model.read(crop))
    if not all(map(math.isfinite, values)):
        raise ModelFailed(f"the network's probabilities are {values}; valid are finite numbers; convert it again")
    return values


class DeviceSight:
    """Finds faces and reads those whose turn it is; pure on arrays and capture-clock instants."""

    def __init__(
        self,
        settings: FaceSettings,
        model: ExpressionModel | None,
        verifier: Callable[[], FaceVerifier] = FaceVerifier,
        proposer: Callable[[], NetFinder] = NetFinder,
        *,
        sideways: bool = False,
        overturned_every: int = 1,
        guard_find: GuardedCall = unguarded,
        guard_read: GuardedCall = unguarded,
    ) -> None:
        """Load the finder's networks; raises what they raise. Without a model, nobody is read.

        `sideways` as FaceFinder has it. Until somebody was seen upright, each `overturned_every`th frame is searched
        for people who are not.
        """
        self._settings, self._model = settings, model
        self._open_verifier, self._open_proposer, self._sideways = verifier, proposer, sideways
        self._schedule = ReadSchedule(settings)
        self._mirrored: dict[int, bool] = {}  # of each present face: whether it was read mirrored last
        self._guard_find, self._guard_read = guard_find, guard_read
        self._finder, watch = self._open_finder()
        self._overturned: OverturnWatch | None = watch
        self._overturned_every = overturned_every

    def rebuild_finder(self) -> None:
        """Load all that finds again; the faces are numbered from one again too."""
        self._finder, watch = self._open_finder()
        self._schedule = ReadSchedule(self._settings)
        self._mirrored.clear()
        if self._overturned is not None:
            self._overturned = watch

    def _open_finder(self) -> tuple[FaceFinder, OverturnWatch]:
        verifier = self._open_verifier()
        finder = FaceFinder(self._settings, verifier, self._open_proposer(), sideways=self._sideways)
        return finder, OverturnWatch(self._settings, verifier, finder.upright)

    def warm_up(self) -> None:
        """Read a blank face, so that the first real one need not wait for the network to warm up.

        A reading that fails is tried again until the guard raises.
        """
        if self._model is not None:
            nobody = np.zeros((self._model.contract.side,) * 2, np.uint8)
            while self._guard_read(self._model.read, nobody) is None:
                pass

    def find(self, gray: Gray, t: float, effort: Effort) -> Found:
        """Find the faces of a luma frame, uint8 (height, width), of `t` seconds; raises FindFailed."""
        faces = self._guard_find(self._finder.find, gray, t, effort.scan)
        if faces is None:
            raise FindFailed
        return Found(tuple(faces), self._finder.work, self._find_overturned(gray, faces))

    def _find_overturned(self, gray: Gray, faces: Sequence[Face]) -> float | None:
        """Return by how many degrees heads are turned, the first time that it is sure."""
        if faces:
            self._overturned = None  # the picture is upright
        if self._overturned is None:
            return None
        turned_deg = self._guard_find(self._overturned.look, gray, self._overturned_every)
        if turned_deg is not None:
            self._overturned = None
        return turned_deg

    def schedule(self, faces: Sequence[Face], partner: int | None, t: float, effort: Effort) -> tuple[list[Face], int]:
        """Return who of the faces is read in the frame of `t`, and how many more were due."""
        if self._model is None:
            return [], 0
        present = {face.id for face in faces}
        self._mirrored = {number: was for number, was in self._mirrored.items() if number in present}
        readable = [face for face in faces if face.readable]
        return self._schedule.choose(readable, partner, t, effort.read_interval), self._schedule.left

    def read(self, gray: Gray, face: Face) -> tuple[float, ...] | None:
        """Return a face's probabilities in the contract's labels' order; None where the guard skipped a failure.

        Each second reading of a face is of its mirror image: the network errs otherwise there, and the cue's filter
        takes the mean, which is right more often than either and costs no reading more.
        """
        assert self._model is not None
        mirrored = self._mirrored[face.id] = not self._mirrored.get(face.id, True)
        return self._guard_read(self._read, self._model, gray, face, mirrored)

    @staticmethod
    def _read(model: ExpressionModel, gray: Gray, face: Face, mirrored: bool) -> tuple[float, ...]:
        crop = crop_face(gray, face, model.contract.side)
        return read_crop(model, np.ascontiguousarray(crop[:, ::-1]) if mirrored else crop)
