"""`net`: proposals at every turn by a small int8 network that slides over ever smaller copies of the frame.

One call reads a whole tile, and returns for every place whether a face is there, how it is turned, and where.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.errors import ModelShape
from edge.vision.finders import Slice
from edge.vision.tflite import Network, NetworkContract, contract_table, models_folder, read_common
from edge.vision.verifier import Evening
from edge.vision.views import Pyramid, Spot, shared

CONTRACT_FORMAT = 1
OUTPUTS = {"face": 1, "pose": 5}  # names and lengths: log odds; cosine and sine of the turn, right, down, log size
WINDOW, STRIDE = 20, 4  # pixels of a copy: what the network sees of it at once, and the way to its next place
TILE = WINDOW + 32 * STRIDE  # pixels of a copy that one call reads: 33 by 33 places
REACH = 13  # pixels, odd: as Evening's, in a window

SIDE_STEP = 1.5  # between sizes searched: the network, and then the verifier, find the size between them
EDGE = 0.25  # of a face's side, by which the search goes beyond the frame: faces are cut by its edge, or fill it
TILE_COST = 20000  # windows of a cascade that take as long as a tile
MOST_PROPOSALS = 40  # of a tile
EXPECTED = 1.5  # log odds by which a face is likelier where one was a moment ago
TWINS = 0.6  # of the smaller spot, from which two are one proposal


@dataclass(frozen=True, slots=True)
class ScannerContract(NetworkContract):
    """What a scanner promises: as the verifier's, and from which log odds a place is worth a proposal."""

    share: float  # of a window's side that a face fills
    units: tuple[float, float, float]  # of right, down and log size
    least: float
    evening: Evening


def read_contract(path: Path) -> ScannerContract:
    """Read a scanner's contract; raises ModelMissing or ContractUnreadable."""
    with contract_table(path, (CONTRACT_FORMAT,), "cuelens-scanner") as table:
        right, down, log_size = (float(unit) for unit in table["units"])
        return ScannerContract(
            **read_common(table, OUTPUTS),
            share=float(table["share"]),
            units=(right, down, log_size),
            least=float(table["least"]),
            evening=Evening(**table["evening"]),
        )


class NetFinder:
    """Slides the network over upright copies of the frame: the network itself estimates how a face is turned."""

    def __init__(self, path: Path | None = None) -> None:
        """Load `path` (the shipped scanner where None) and hold it to the contract beside it.

        Raises ModelMissing, ModelUnreadable, ModelShape, ContractMismatch, ContractUnreadable, RuntimeMissing.
        """
        path = models_folder() / "scan.tflite" if path is None else path
        places = (TILE - WINDOW) // STRIDE + 1
        shapes = {name: (1, places, places, length) for name, length in OUTPUTS.items()}
        self._network = Network(path, read_contract, shapes, "cuelens-scanner")
        self.contract = self._network.contract
        given = self.contract.input
        if given.shape != (1, TILE, TILE, 1) or given.dtype != "int8":
            raise ModelShape(f"{path}: input {given.dtype} {given.shape}; int8 (1, {TILE}, {TILE}, 1)")

    def slices(self, width: int, height: int, sides: tuple[float, float], rolls_deg: tuple[float, ...]) -> list[Slice]:
        """Cut a full scan into tiles; `rolls_deg` count for nothing, every turn is searched at once."""
        pieces = []
        side = sides[0]
        step = TILE - WINDOW + STRIDE
        while side <= sides[1] * SIDE_STEP**0.5:
            zoom = WINDOW * self.contract.share / side
            wide, tall = (round(zoom * (length + 2 * EDGE * side)) for length in (width, height))
            across, along = (max(1, -(-(length - WINDOW + STRIDE) // step)) for length in (wide, tall))
            for row in range(along):
                for column in range(across):
                    # All tiles of a copy, centred on it as a whole.
                    right, down = (
                        (2 * number + 1 - count) * step / 2 for number, count in ((column, across), (row, along))
                    )
                    middle = (width - 1) / 2 + right / zoom, (height - 1) / 2 + down / zoom
                    pieces.append(Slice(side, 0.0, *middle, TILE, TILE, TILE_COST))
            side *= SIDE_STEP
        return pieces

    def around(self, pyramid: Pyramid, spot: Spot, sides: tuple[float, ...]) -> Iterator[Spot]:
        """Propose faces of about these sides whose middles lie in a spot, turned as it is: a tile a side, in turns."""
        least = self.contract.least - EXPECTED
        tiles = (Slice(side, 0.0, spot.cx, spot.cy, TILE, TILE, TILE_COST) for side in sides)
        for ranked in itertools.zip_longest(*[self.scan(pyramid, tile, least) for tile in tiles]):
            for found in ranked:
                if found and max(abs(found.cx - spot.cx), abs(found.cy - spot.cy)) <= spot.side / 2:
                    yield Spot(found.cx, found.cy, found.side, spot.roll_deg)

    def scan(self, pyramid: Pyramid, piece: Slice, least: float | None = None) -> list[Spot]:
        """Return what may be faces in a tile, likeliest first: from `least` log odds, the contract's where None."""
        contract = self.contract
        zoom = WINDOW * contract.share / piece.side
        tile = pyramid.window(piece.cx, piece.cy, 0.0, zoom, TILE, TILE)
        self._network.put(contract.evening.apply(tile))
        scores = self._network.real("face")[..., 0]
        rows, columns = np.nonzero(scores >= (contract.least if least is None else least))
        order = np.argsort(-scores[rows, columns], kind="stable")
        poses = self._network.real("pose")
        spots: list[Spot] = []
        for row, column in zip(rows[order], columns[order], strict=True):
            spot = self._place(pyramid, piece, zoom, (int(row), int(column)), poses[row, column])
            if spot is not None and all(shared(other, spot) < TWINS for other in spots):
                spots.append(spot)
                if len(spots) == MOST_PROPOSALS:
                    break
        return spots

    def _place(
        self, pyramid: Pyramid, piece: Slice, zoom: float, place: tuple[int, int], pose: npt.NDArray[np.float64]
    ) -> Spot | None:
        """Return where a face is by its pose at a place of the map; None where that is outside the frame."""
        cos, sin, right, down, log_size = pose.tolist()
        dx, dy = (STRIDE * place[1] + (WINDOW - TILE) / 2, STRIDE * place[0] + (WINDOW - TILE) / 2)
        unit_right, unit_down, unit_size = self.contract.units
        cx = piece.cx + dx / zoom + right * unit_right * piece.side
        cy = piece.cy + dy / zoom + down * unit_down * piece.side
        if not (0 <= cx < pyramid.width and 0 <= cy < pyramid.height):
            return None
        roll_deg = float(np.rad2deg(np.arctan2(sin, cos)))
        return Spot(cx, cy, piece.side * float(np.exp(log_size * unit_size)), roll_deg)
