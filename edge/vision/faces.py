"""Faces in a luma frame: followed where they were by looks that cost little, new ones proposed by a spread-out scan.

frame -> a look at each known face -> which look is whose -> the most urgent slices of a full scan -> a second opinion
on what they propose -> the faces that stood up to it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge.settings import FaceSettings
from edge.types import Face, Gray, Work
from edge.vision.finders.haar import HaarFinder
from edge.vision.finders.net import TILE_COST, NetFinder
from edge.vision.quality import FACE_M, FACE_M_ERROR, judge_quality
from edge.vision.recheck import FRESH_LOOKS, agree, find_inside, stands
from edge.vision.search import LOOK_COST, MOST_ROLL_DEG, Search
from edge.vision.tracks import BELIEVED, Track, appearance_of, assign, distance, distances
from edge.vision.verifier import FaceVerifier, Look
from edge.vision.views import Pyramid, Spot, on_body, shared, wrap_deg

COVERED = 0.5  # of the smaller spot, from which two are one face: no face is inside another
RESTLESS = 0.08  # sides, or share of the size, by which a spot moved so far that a second look pays
RESTLESS_DEG = 8.0
MOST_LOOKS = 3
MOST_TURN_DEG = 45.0  # by which a new face may be turned from what was proposed
SMALLER = 0.7  # of the least side searched: how much smaller a face may turn out to be
NUDGES = ((0.05, 0.05, 1.06), (-0.05, 0.05, 0.95), (0.0, -0.07, 1.0))  # right and down in sides, zoom
MOST_EVIDENCE = 4.0  # of one look: no frame alone confirms a face that another could deny
KEEP = -1.0  # log odds from which a look at a known face has found it: that one was there a frame ago counts too
CHECK_EVERY, CHECK_AGAIN = 1.0, 0.2  # seconds from one fresh look at a known face to the next, and after a doubt
LEASH = 0.3  # logarithm of the size by which a face may grow or shrink between fresh looks
SEEK_EVERY, SEEK_WIDE = 0.1, 2.0  # seconds between searches where a face was lost; its sides that are searched
SEEK_LOOKS = 8  # proposals of a search that the verifier looks at, most
SEEK_SIDES = (0.8, 1.2)  # of its side, about which faces are proposed
SEEK_SLACK = 1.4  # times as far apart looks may be there as at a new face: one that turns back is seen from beside
DOUBT = 2.5  # log odds that a fresh look costs which finds nothing
STILL = 0.4  # likeness, from which the picture where a face should be shows what it did before
LINGER = 0.5  # seconds for which a face that no look finds is one while the picture there is STILL; it is not read
READABLE = 1.0  # log odds of a look from which a face is read
NEAR = 1.0  # faces: a look farther from a track than this (edge.vision.tracks.distances) is another's
ALIKE = 0.25  # most that a returning face may differ in appearance
THUMB = 12  # pixels: appearance is a picture of this side
QUALITY_SIDE = 40  # pixels: blur and light are measured on a face of this width


def crop_face(gray: Gray, face: Face, side: int) -> Gray:
    """Cut a face out upright: uint8 (side, side), the finder's box filling it.

    FER2013 was cut with the same cascade: a box is 0.98 of its picture wide (median of 1,222 PublicTest rows).
    """
    x, y, width, height = face.box
    spot = Spot(x + (width - 1) / 2, y + (height - 1) / 2, width, face.roll_deg)
    return Pyramid(gray).view(spot, side)


def median_of(values: Sequence[float]) -> float:
    """Return the middle of some values, which are at least one; `statistics` costs a start more than this."""
    ranked, half = sorted(values), len(values) // 2
    return ranked[half] if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) / 2


def settle(verifier: FaceVerifier, pyramid: Pyramid, spot: Spot) -> tuple[Look, int]:
    """Look until the spot stays where it is, at most MOST_LOOKS times; returns the last look and their number."""
    times = 0
    while True:
        look = verifier.look(pyramid, spot)
        times += 1
        moved = np.hypot(look.spot.cx - spot.cx, look.spot.cy - spot.cy) / spot.side
        grown = abs(np.log(look.spot.side / spot.side))
        turned = abs(wrap_deg(look.spot.roll_deg - spot.roll_deg))
        if times == MOST_LOOKS or (max(moved, grown) < RESTLESS and turned < RESTLESS_DEG):
            return look, times
        spot = look.spot


def nudge(verifier: FaceVerifier, pyramid: Pyramid, spot: Spot) -> float:
    """Look at a spot from several places a little off and return the sum of the log odds.

    A face stays one when it is moved; clutter that happened to look like one seldom does.
    """
    return sum(min(verifier.look(pyramid, spot.moved(*by)).score, MOST_EVIDENCE) for by in NUDGES)


def describe_face(
    pyramid: Pyramid,
    spot: Spot,
    number: int,
    score: float,
    fov_deg: float,
    *,
    sideways: bool = False,
    readable: bool = True,
) -> Face:
    """Return what is known of a face at a spot: its quality, and its distance by the camera's `fov_deg`.

    That is the field of view across the picture, or, of a camera that stands `sideways`, from its top to its bottom.
    """
    focal = (pyramid.height if sideways else pyramid.width) / 2 / np.tan(np.deg2rad(fov_deg / 2))
    distance_m = FACE_M * focal / spot.side
    return Face(
        number,
        spot.box,
        round(spot.roll_deg, 1),
        judge_quality(pyramid.view(spot, QUALITY_SIDE), spot.side, spot.roll_deg),
        score=round(score, 2),
        distance_m=round(float(distance_m), 2),
        distance_error_m=round(float(FACE_M_ERROR * distance_m), 2),
        bearing_deg=round(float(np.rad2deg(np.arctan2(spot.cx - pyramid.width / 2, focal))), 1),
        readable=readable,
    )


class FaceFinder:
    """Find and track faces frame by frame; pure on arrays and capture-clock instants."""

    def __init__(
        self,
        settings: FaceSettings,
        verifier: FaceVerifier | None = None,
        proposer: NetFinder | None = None,
        *,
        sideways: bool = False,
    ) -> None:
        """Load what proposes and what verifies (the shipped ones where None), once for all; raises what they raise.

        `proposer` finds a face again that was lost, or in a box that swelled, and beside the cascade new ones.
        `sideways`: the pictures were turned by a quarter, so that the camera's width is their height.
        """
        self._sideways = sideways
        self.work = Work()
        self._settings = settings
        self._verifier = verifier or FaceVerifier()
        self._proposer = proposer or NetFinder()
        self.upright = HaarFinder()
        self._search = Search(settings, self.upright, self._proposer)
        self._tracks: list[Track] = []
        self._ids = itertools.count(1)
        self._level_deg = 0.0  # the angle that upright faces have: the wearer's own tilt, turned round
        self._shape, self._t = (0, 0), -np.inf
        self._looks = 0

    def find(self, gray: Gray, t: float, share: float = 1.0) -> list[Face]:
        """Find the faces of a luma frame, uint8 (height, width), taken at `t` on the capture clock.

        `share` of the settings' budget is what the search for new ones gets.

        Returns those confirmed that are seen in this very frame, and unread those that lately were, nearest first.
        """
        if gray.shape != self._shape or t < self._t:
            self._begin(gray, t)
        self._t = t
        pyramid = Pyramid(gray)
        self._looks = 0
        self._follow(pyramid, t)
        self._seek(pyramid, t, share)
        windows = self._scan(pyramid, t, share)
        self.work = Work(self._looks, windows, round(self._search.waited(t), 3))
        faces = [
            describe_face(
                pyramid,
                track.spot,
                track.id,
                track.evidence,
                self._settings.fov_deg,
                sideways=self._sideways,
                readable=track.readable and track.present,
            )
            for track in self._tracks
            if track.confirmed and (track.present or self._lingers(pyramid, track, t))
        ]
        return sorted(faces, key=lambda face: face.distance_m)

    def _lingers(self, pyramid: Pyramid, track: Track, t: float) -> bool:
        """Whether a face that no look found is still there: the picture where it should be looks as it did before."""
        if t - track.seen > LINGER or track.appearance is None:
            return False
        if any(other.present and shared(other.spot, track.spot) >= COVERED for other in self._tracks):
            return False
        return float(track.appearance @ self._appearance(pyramid, track.spot)) >= STILL

    def _begin(self, gray: Gray, t: float) -> None:
        """Forget everything: this is the first frame, one of another size, or the clock went back."""
        self._shape = gray.shape
        self._tracks, self._level_deg = [], 0.0
        self._search.begin(gray.shape[1], gray.shape[0], t)

    def _look(self, pyramid: Pyramid, spot: Spot) -> Look:
        look, times = settle(self._verifier, pyramid, spot)
        self._looks += times
        return look

    def _follow(self, pyramid: Pyramid, t: float) -> None:
        """Look for each known face where it should be now, and settle which look is whose."""
        settings = self._settings
        followed = [track for track in self._tracks if t - track.seen <= settings.coast and not track.denied]
        found: list[Look] = []
        for look in (self._look(pyramid, track.predict(t)) for track in followed):
            if look.score < KEEP or look.spot.side < settings.least_side * SMALLER:
                continue
            twin = next((other for other in found if shared(other.spot, look.spot) > COVERED), None)
            if twin is None:
                found.append(look)
            elif twin.score < look.score:
                found[found.index(twin)] = look
        appearances = [self._appearance(pyramid, look.spot) for look in found]
        pairs = assign(distances(followed, [look.spot for look in found], appearances), NEAR)
        turns_deg = []
        for row, column in pairs:
            track, look = followed[row], found[column]
            before = track.spot
            track.correct(look.spot, t, look.score)
            turns_deg.append(wrap_deg(track.spot.roll_deg - before.roll_deg))
            track.weigh(min(look.score, MOST_EVIDENCE), t, settings.confirm)
            settled = abs(np.log(look.spot.side / before.side)) <= LEASH
            track.readable = bool(settled and look.score >= READABLE and not track.doubts and not self._pulled(track))
            track.remember(appearances[column])
        turn_deg = median_of(turns_deg) if turns_deg else 0.0
        matched = {id(followed[row]) for row, _ in pairs}
        for track in self._tracks:
            if id(track) not in matched:
                track.miss()
                # The wearer's head turned every face at once, those that are hidden too.
                track.spot = track.spot.moved(0.0, 0.0, 1.0, turn_deg)
        self._recheck(pyramid, t)
        self._tracks = [track for track in self._tracks if t - track.seen <= self._patience(track)]
        heads = [track.spot for track in self._tracks if track.present and track.confirmed]
        self._tracks = [track for track in self._tracks if not any(on_body(head, track.spot) for head in heads)]
        upright = [track.spot.roll_deg for track in self._tracks if track.present and track.confirmed]
        if upright:
            self._level_deg = median_of(upright)

    def _recheck(self, pyramid: Pyramid, t: float) -> None:
        """Look again at the known face that is due most, and end those that are none."""
        present = [track for track in self._tracks if track.present]
        due = [track for track in present if self._due(track, t) >= 0]
        if due:
            self._check(pyramid, max(due, key=lambda track: self._due(track, t)), t)
        for track in present:
            if track.evidence < 0:
                track.deny()

    def _seek(self, pyramid: Pyramid, t: float, share: float) -> None:
        """Search around the place where a confirmed face was lost a moment ago, one face a frame.

        This is not paid for by the search for new faces: that may be in debt when a head turns back.
        """
        settings = self._settings
        newest = max((track.sought for track in self._tracks), default=-np.inf)
        if (t - newest) * share < SEEK_EVERY:
            return
        lost = [track for track in self._tracks if not track.present and t - track.seen <= settings.coast]
        if not lost:
            return
        track = min(lost, key=lambda track: track.sought)
        track.sought = t
        sides = tuple(zoom * track.spot.side for zoom in SEEK_SIDES)
        wide = SEEK_WIDE * (1 + (t - track.seen) / BELIEVED)
        proposals = self._proposer.around(pyramid, track.spot.moved(0.0, 0.0, wide), sides)
        for proposal in itertools.islice(proposals, SEEK_LOOKS):
            if all(not other.present or shared(other.spot, proposal) < COVERED for other in self._tracks):
                self._meet(pyramid, proposal, t, settings.confirm, SEEK_SLACK)
            if track.present:
                break

    def _due(self, track: Track, t: float) -> float:
        """Return for how many seconds a fresh look at a track has been due; below zero where it is not."""
        soon = track.doubts or not track.readable or self._pulled(track)
        return t - track.tried - (CHECK_AGAIN if soon else CHECK_EVERY)

    def _pulled(self, track: Track) -> bool:
        """Whether a track has grown or shrunk as far as it may without a fresh look."""
        return bool(abs(np.log(track.spot.side / track.anchor)) > LEASH)

    def _check(self, pyramid: Pyramid, track: Track, t: float) -> None:
        """Look again at a known face: believe it, move it onto the face inside its box, or doubt it.

        One that was doubted is believed again only as surely as a new one.
        """
        settings = self._settings
        standing = stands(self._verifier, pyramid, track.spot, settings.admit)
        self._looks += FRESH_LOOKS
        if standing and track.doubts:
            standing = self._is_sure(pyramid, track.spot)
        found = None
        if not standing:
            found, looks = find_inside(self._proposer, self._verifier, pyramid, track.spot, settings.admit)
            self._looks += looks
            self._search.credit -= TILE_COST
        others = [other for other in self._tracks if other is not track and other.present]
        if (found is None and standing) or (found is not None and agree(found.spot, track.spot)):
            track.believe(t)
        elif found is not None and self._may_move(pyramid, found.spot, others):
            track.move(found.spot, t)
        else:
            track.doubt(t, DOUBT)

    def _may_move(self, pyramid: Pyramid, spot: Spot, others: Sequence[Track]) -> bool:
        """Whether a spot is nobody else's, and as surely a face as one must be to be taken as new."""
        return not any(shared(other.spot, spot) >= COVERED for other in others) and self._is_sure(pyramid, spot)

    def _is_sure(self, pyramid: Pyramid, spot: Spot) -> bool:
        """Whether a spot is as surely a face as one must be to be taken as new."""
        self._looks += len(NUDGES)
        return nudge(self._verifier, pyramid, spot) >= self._settings.confirm

    def _patience(self, track: Track) -> float:
        return self._settings.remember if track.confirmed else 0.0

    def _scan(self, pyramid: Pyramid, t: float, share: float) -> int:
        """Search the most urgent slices that the budget allows; returns the windows tried."""
        known = any(track.present and track.confirmed for track in self._tracks)
        self._search.earn(share, known=known)
        windows = 0
        while (number := self._search.next_slice(t, self._level_deg)) is not None:
            windows += self._search.pieces[number].cost
            for proposal, least in self._search.scan(pyramid, number, self._level_deg):
                if all(not track.present or shared(track.spot, proposal) < COVERED for track in self._tracks):
                    self._search.credit -= LOOK_COST
                    self._meet(pyramid, proposal, t, least)
        return windows

    def _meet(self, pyramid: Pyramid, proposal: Spot, t: float, least: float = -np.inf, slack: float = 1.0) -> None:
        """Take a proposal as a new face, or as one that was here before, if the verifier agrees."""
        settings = self._settings
        look = self._look(pyramid, proposal)
        evidence = self._second_opinion(pyramid, proposal, look, least, slack)
        if evidence is None:
            return
        seen = self._appearance(pyramid, look.spot)
        track = self._gone_track(look.spot, seen, t, sure=evidence >= settings.confirm)
        if track is not None:
            track.spot, track.velocity = look.spot, np.zeros(3)
            track.correct(look.spot, t)
            track.welcome(evidence, t, settings.confirm)
            return
        track = Track(next(self._ids), look.spot, t, evidence)
        track.confirmed = track.evidence >= settings.confirm
        track.remember(seen)
        self._tracks.append(track)

    def _second_opinion(self, pyramid: Pyramid, proposal: Spot, look: Look, least: float, slack: float) -> float | None:
        """Return the evidence for a proposal that was looked at, at least `least`; None where it is not taken.

        Looks may be `slack` times as far apart as usual.
        """
        settings, spot = self._settings, look.spot
        if look.score < settings.admit or spot.side < settings.least_side * SMALLER:
            return None
        if abs(wrap_deg(spot.roll_deg - proposal.roll_deg)) > MOST_TURN_DEG or abs(spot.roll_deg) > MOST_ROLL_DEG:
            return None
        self._looks += 1
        if self._verifier.look(pyramid, spot.moved(0.0, 0.0, 1.0, 180.0)).score > look.score:
            return None  # its chin is up: what it shows would be read wrong
        known = [track for track in self._tracks if track.present]
        if any(shared(track.spot, spot) > COVERED or on_body(track.spot, spot) for track in known):
            return None
        evidence = nudge(self._verifier, pyramid, spot)
        self._looks += len(NUDGES)
        if evidence < least:
            return None
        self._looks += FRESH_LOOKS
        return evidence if stands(self._verifier, pyramid, spot, settings.admit, slack) else None

    def _gone_track(self, spot: Spot, seen: npt.NDArray[np.float64], t: float, *, sure: bool) -> Track | None:
        """Return the track of a face that is gone and looks like this one, or was here; a denied one only if `sure`."""
        gone = [
            track
            for track in self._tracks
            if not track.present and track.appearance is not None and (sure or not track.denied)
        ]
        unlike = np.array([[1.0 - float(track.appearance @ seen)] for track in gone if track.appearance is not None])
        # One that was hidden a moment ago may also be known by its place: half a face is not alike the whole.
        # The longer it was hidden, the farther it may have gone from where it was expected.
        hidden = np.array([t - track.seen for track in gone]).reshape(-1, 1)
        near = NEAR * (1 + hidden / BELIEVED)
        # Where a track that slid is now says less than where it last was a face.
        away = np.array([min(distance(track, at, spot, seen) for at in (track.spot, track.home)) for track in gone])
        placed = np.where(hidden <= self._settings.coast, ALIKE * away.reshape(-1, 1) / near, np.inf)
        pairs = assign(np.minimum(unlike.reshape(-1, 1), placed), ALIKE)
        return gone[pairs[0][0]] if pairs else None

    def _appearance(self, pyramid: Pyramid, spot: Spot) -> npt.NDArray[np.float64]:
        return appearance_of(pyramid.view(spot, THUMB))
