"""The second opinion on a face: a tiny int8 network that says whether one is there, how it is turned, and where.

The finder asks it about every proposal, and follows a known face with it from frame to frame: a look costs a
hundredth of a cascade's pass. Its contract lies beside it, as with the expression network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.errors import ContractUnreadable, ModelShape
from edge.types import Gray
from edge.vision.tflite import Network, NetworkContract, contract_table, models_folder, read_common
from edge.vision.views import Pyramid, Spot

CONTRACT_FORMAT = 2  # 2: the view's light is evened out; of 1, a release before, it is not
OUTPUTS = {"face": 1, "pose": 4}  # names and lengths: log odds; turn, right, down, log size


@dataclass(frozen=True, slots=True)
class Evening:
    """How a view's light is evened out before the network sees it: the same face, dim, bright or lit from one side.

    Every pixel is counted from the mean of those around it and in their standard deviation: the local contrast
    normalisation of Jarrett et al. (ICCV 2009), over a box instead of a Gaussian.
    """

    reach: int = 15  # pixels, odd: side of the box; an eye fits in it, a face does not
    floor: float = 1.5  # levels, of the standard deviation: what is flatter is a sensor's noise
    share: float = 0.6  # of the whole view's deviation, beside the box's own: a wall stays flatter than a face
    gain: float = 50.0  # levels that a standard deviation becomes
    middle: float = 1.0  # of the view's side: the square whose deviation counts as the whole's

    def __post_init__(self) -> None:
        """Raise ValueError for what no view can be evened out by."""
        if (
            self.reach < 3
            or self.reach % 2 == 0
            or self.floor <= 0
            or not 0 <= self.share <= 1
            or self.gain <= 0
            or not 0.1 <= self.middle <= 1
        ):
            raise ValueError(
                f"{self}; valid are an odd reach from 3 up, floor and gain above 0, share from 0 to 1, "
                "middle from 0.1 to 1"
            )

    def apply(self, view: Gray) -> Gray:
        """Even out a view, uint8 (side, side); returns the same, its mean about 128."""
        box = (self.reach, self.reach)
        smooth = view.astype(np.float32)
        smooth -= cv2.blur(smooth, box, borderType=cv2.BORDER_REFLECT_101)
        power = smooth * smooth
        edge = int(len(view) * (1 - self.middle) / 2)
        least = self.floor**2 + self.share**2 * float(power[edge : len(view) - edge, edge : len(view) - edge].mean())
        spread = np.sqrt(cv2.blur(power, box, borderType=cv2.BORDER_REFLECT_101) + np.float32(least))
        levels = np.clip(smooth * np.float32(self.gain) / spread + np.float32(128.5), 0, 255)
        return np.asarray(levels, np.uint8)


@dataclass(frozen=True, slots=True)
class VerifierContract(NetworkContract):
    """What a verifier promises. `units` are what 1.0 of each pose output is: degrees, sides, sides, log of the size."""

    share: float  # of the view's side that the face's fills
    units: tuple[float, float, float, float]
    evening: Evening | None  # none: the view as it is


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen: the spot moved to where the face is, and the log odds that one is there (natural logarithm)."""

    spot: Spot
    score: float


def read_contract(path: Path) -> VerifierContract:
    """Read a verifier's contract; raises ModelMissing or ContractUnreadable."""
    with contract_table(path, (1, CONTRACT_FORMAT), "cuelens-verifier") as table:
        turn_deg, right, down, log_size = (float(unit) for unit in table["units"])
        contract = VerifierContract(
            **read_common(table, OUTPUTS),
            share=float(table["share"]),
            units=(turn_deg, right, down, log_size),
            evening=Evening(**table["evening"]) if table["format"] > 1 else None,
        )
    if not 0 < contract.share <= 1:
        raise ContractUnreadable(f"{path}: share {contract.share}; valid is above 0, up to 1")
    return contract


class FaceVerifier:
    """The network behind one call: a spot of a frame in, a better spot and its log odds out."""

    def __init__(self, path: Path | None = None) -> None:
        """Load `path` (the shipped verifier where None) and hold it to the contract beside it.

        Raises ModelMissing, ModelUnreadable, ModelShape, ContractMismatch, ContractUnreadable, RuntimeMissing.
        """
        path = models_folder() / "face.tflite" if path is None else path
        shapes = {name: (1, length) for name, length in OUTPUTS.items()}
        self._network = Network(path, read_contract, shapes, "cuelens-verifier")
        self.contract = self._network.contract
        given = self.contract.input
        if len(given.shape) != 4 or given.shape != (1, given.shape[1], given.shape[1], 1) or given.dtype != "int8":
            raise ModelShape(f"{path}: input {given.dtype} {given.shape}; a verifier takes int8 (1, side, side, 1)")
        self._side = given.shape[1]

    def look(self, pyramid: Pyramid, spot: Spot) -> Look:
        """Look at a spot: within a third of its side, and 45 degrees of its turn, it need not be right."""
        view = pyramid.view(spot, self._side, self.contract.share)
        if self.contract.evening is not None:
            view = self.contract.evening.apply(view)
        self._network.put(view)
        turn, right, down, size = (self._network.real("pose") * self.contract.units).tolist()
        moved = spot.moved(right, down, float(np.exp(size)), turn)
        return Look(moved, float(self._network.real("face")[0]))
