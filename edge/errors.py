"""Every failure a user can meet: one root, one class per cause, and one exit code per kind.

Each class is also the builtin that a caller would expect, so `except FileNotFoundError` works too.
"""

from __future__ import annotations

import re
from enum import IntEnum

from edge.system.secrecy import plain

LONGEST = 1000  # characters of a line


def printable(text: object) -> str:
    """Return text as one line that a terminal or a page only shows: controls, line ends and bidi overrides spelt out.

    What a file, a name, a driver or a peer supplied is printed through here alone; no password comes through.
    """
    line = plain(str(text))
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def printable_lines(text: object) -> str:
    """Return text of several lines with each of them `printable`."""
    return "\n".join(map(printable, str(text).split("\n")))


class Kind(IntEnum):
    """What kind of failure ended a program: its exit code. The identifier names the cause.

    2 is also argparse's. A cause on which scripts act without reading a line is a kind of its own.
    """

    FAULT = 1
    USAGE = 2
    SOURCE = 10
    CAMERA = 14
    MODEL = 20
    CONVERSION = 25
    FIT = 26
    DATA = 30
    SINK = 40
    LIBRARY = 60
    STUCK = 61
    CHECK = 63
    NOT_RUNNING = 64
    BOARD = 66
    BENCHMARK = 120


class CuelensError(Exception):
    """A failure with one line for the user, whatever the file, name or answer that it quotes has in it."""

    exit_code: Kind = Kind.FAULT
    in_json = False  # whether what was printed as JSON has it already

    @classmethod
    def identify(cls) -> str:
        """Return the cause's stable name, which scripts may match: `camera-stuck`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    @property
    def line(self) -> str:
        """What a person reads, and the identifier that the documentation lists."""
        return self.line_with("")

    def as_values(self) -> dict[str, str]:
        """Return the failure as JSON-ready values: the cause's identifier, and the sentence."""
        return {"error": self.identify(), "message": str(self)}

    def line_with(self, then: str) -> str:
        """Return the line with what happens `then`, where anything does, before the identifier."""
        return f"{self}; {then} [{self.identify()}]" if then else f"{self} [{self.identify()}]"

    def __str__(self) -> str:
        """Return the line: what a terminal would obey is spelt out, what is long is cut in its middle."""
        # Not the builtin's own words: KeyError's are a repr, OSError's depend on how many arguments there are.
        return shorten(printable(self.args[0] if len(self.args) == 1 else ", ".join(map(str, self.args))))


def shorten(line: str) -> str:
    """Return a line cut in its middle where it is longer than LONGEST."""
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 301]}…{line[-300:]}"


class SourceMissing(CuelensError, FileNotFoundError):
    """The file or folder to read frames from does not exist."""

    exit_code = Kind.SOURCE


class SourceEmpty(CuelensError, EOFError):
    """The file has no bytes, or the folder no pictures."""

    exit_code = Kind.SOURCE


class SourceUnreadable(CuelensError, ValueError):
    """The file is neither a video nor a picture, or cannot be opened."""

    exit_code = Kind.SOURCE


class SourceTruncated(CuelensError, EOFError):
    """The video's file is shorter than its header states."""

    exit_code = Kind.SOURCE


class CameraMissing(CuelensError, OSError):
    """There is no camera, or it does not open."""

    exit_code = Kind.CAMERA


class CameraLost(CuelensError, OSError):
    """A camera that was open gives no more frames."""

    exit_code = Kind.CAMERA


class SourceUnknown(CuelensError, LookupError):
    """There is no source of that name."""

    exit_code = Kind.USAGE


class ModelMissing(CuelensError, FileNotFoundError):
    """The model file or its contract does not exist."""

    exit_code = Kind.MODEL


class ModelUnreadable(CuelensError, ValueError):
    """The file is not a whole TFLite model."""

    exit_code = Kind.MODEL


class ModelShape(CuelensError, ValueError):
    """The model's tensors are not what an expression model has."""

    exit_code = Kind.MODEL


class ContractMismatch(CuelensError, ValueError):
    """The model differs from its contract."""

    exit_code = Kind.MODEL


class ContractUnreadable(CuelensError, ValueError):
    """The contract is not JSON, or lacks a key."""

    exit_code = Kind.MODEL


class GateFailed(CuelensError, ValueError):
    """A conversion lost more than is allowed."""

    exit_code = Kind.CONVERSION


class CheckpointUnusable(CuelensError, ValueError):
    """A fit's checkpoint is damaged, or belongs to another fit."""

    exit_code = Kind.FIT


class FitDiverged(CuelensError, ArithmeticError):
    """The loss of a fit is no longer a number."""

    exit_code = Kind.FIT


class OperatorUnsupported(CuelensError, ValueError):
    """An operator has no int8 kernel, or is newer than the oldest runtime."""

    exit_code = Kind.CONVERSION


class DataMissing(CuelensError, FileNotFoundError):
    """The data set does not exist."""

    exit_code = Kind.DATA


class DataColumnMissing(CuelensError, KeyError):
    """The CSV lacks a column."""

    exit_code = Kind.DATA


class DataRowInvalid(CuelensError, ValueError):
    """A row's values are not what its table holds: 48 x 48 pixels of 0 to 255, votes, a patient, a split."""

    exit_code = Kind.DATA


class DataLabelInvalid(CuelensError, ValueError):
    """A row's label is out of range, missing, or not its folder's."""

    exit_code = Kind.DATA


class DataUnreadable(CuelensError, ValueError):
    """The data set is damaged or in a format that is not read."""

    exit_code = Kind.DATA


class DataSplitEmpty(CuelensError, LookupError):
    """The data set has no row in the split asked for."""

    exit_code = Kind.DATA


class DataLayoutUnknown(CuelensError, ValueError):
    """The folder has neither class folders nor labels.csv."""

    exit_code = Kind.DATA


class DataClassSingle(CuelensError, ValueError):
    """The data set has fewer than two classes."""

    exit_code = Kind.DATA


class DataClassEmpty(CuelensError, LookupError):
    """A class has no readable picture in a split, or too few for every split."""

    exit_code = Kind.DATA


class SinkUnwritable(CuelensError, PermissionError):
    """The sink's path cannot be written."""

    exit_code = Kind.SINK


class DiskFull(CuelensError, OSError):
    """The disk filled up while a sink was writing."""

    exit_code = Kind.SINK


class SinkUnknown(CuelensError, LookupError):
    """There is no sink of that name."""

    exit_code = Kind.USAGE


class SinkFailed(CuelensError, OSError):
    """A sink broke while running."""

    exit_code = Kind.SINK


class CameraStuck(CuelensError, TimeoutError):
    """A call of the camera's driver does not return, and holds the camera as long as this process lives."""

    exit_code = Kind.CAMERA


class ModelFailed(CuelensError, RuntimeError):
    """The finder or the network fails repeatedly, also after it was loaded again."""

    exit_code = Kind.MODEL


class SettingsInvalid(CuelensError, ValueError):
    """A setting is unknown or out of range."""

    exit_code = Kind.USAGE


class RuntimeMissing(CuelensError, ImportError):
    """A library that this command needs is not installed, or it needs Linux."""

    exit_code = Kind.LIBRARY


class LoopStuck(CuelensError, TimeoutError):
    """A thread did not end in time."""

    exit_code = Kind.STUCK


class MemoryShort(CuelensError, MemoryError):
    """The memory does not hold the batch."""

    exit_code = Kind.BOARD


class CheckFailed(CuelensError, RuntimeError):
    """`cuelens check` found something that must be done."""

    exit_code = Kind.CHECK


class NotRunning(CuelensError, ConnectionError):
    """No running Cuelens answers at its socket."""

    exit_code = Kind.NOT_RUNNING


class LightUnlit(CuelensError, OSError):
    """The camera's light is not lit, so nothing is captured."""

    exit_code = Kind.CAMERA


class PinMissing(CuelensError, OSError):
    """There is no GPIO chip or no such line, or the user may not use it."""

    exit_code = Kind.BOARD


class PinBusy(CuelensError, OSError):
    """Another program holds the GPIO line."""

    exit_code = Kind.BOARD


class InputMisread(GateFailed):
    """A converted network sees other pixels than the float one: scaled, shifted, turned, channels swapped."""


class LabelsPermuted(GateFailed):
    """A converted network gives the classes in another order."""


class RangesForeign(GateFailed):
    """A converted network's ranges were measured on other pictures than it is for."""


class NetworkForeign(GateFailed):
    """The int8 file was made of another network."""


class ConfidenceDrifted(GateFailed):
    """A converted network decides alike, but is more or less confident than the float one."""


class NotQuantised(GateFailed):
    """The file has float tensors where int8 was promised."""


class CostGrown(CuelensError, ValueError):
    """A stage costs more than in the reference."""

    exit_code = Kind.BENCHMARK


class BenchFailed(CuelensError, RuntimeError):
    """A measurement did not finish."""

    exit_code = Kind.BENCHMARK


class ResultsStale(CuelensError, ValueError):
    """A page or plot of results differs from what the reports give."""

    exit_code = Kind.BENCHMARK
