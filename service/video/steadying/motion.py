"""A blend of each prediction with those around it, moved along the optical flow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from rddm.image import Pixels

Floats = NDArray[np.float32]
Places = tuple[Floats, Floats]

# Chosen on clips of a street and a photograph with synthetic rain, drops and darkness; the reports' garden was looked at, too.
FLOW_SIDE = 480  # the flow is estimated on pictures of at most this width
SHARE = 0.83  # of the moved previous frame where it agrees perfectly
DETAIL = 0.54  # the part of that which single pixels' differences have
AGREEMENT, VOTE_AREA = 5, 3  # pixels to a side of half the size, over which agreement is judged
TOLERANCE, FAR, VOTE_TOLERANCE = 10 / 255, 30 / 255, 50 / 255
VOTE_CHANGE = 3 / 255  # what a vote changes at half the size, at which it counts by 1 - 1 / e
CHANGED = 12 / 255  # of a network's change of a pixel, at which trust falls to 1 / e
UNLIKE, FADING = 50 / 255, 0.995  # of what is trusted more: how far it may differ, except on the pane, and a frame's loss
PANE, PANE_FACTOR, PANE_FRAMES = 8 / 255, 3.0, 24  # of a network's mean change there, of the usual one, over so many frames
STANDING, STANDING_AREA, GROWN = 3 / 255, 4, 5  # by how much less it differs if it stands still; over how many pixels, and beyond
AROUND, MARGIN = 8, 15  # pixels of the flow to a side: of whose means it is filled in there, and how far beyond


@dataclass(frozen=True, eq=False)
class Calm:
    """What the next frame is calmed by.

    pixels: the calmed frame, h w 3. The rest has half its size: half, the prediction; trust, 1 where the pixels are as the camera
    saw them, 0 where the network made them up. Means at each place of the pane over `frames` of the shot, in levels: changes, by
    how much the network changes it; standing, by how much less it differs from the frame before in its place than along the motion.
    """

    pixels: Pixels
    half: Pixels
    trust: Floats
    changes: Floats
    standing: Floats
    frames: int

    def state(self) -> dict[str, NDArray[Any]]:
        """As arrays."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """What `state` gave."""
        return cls(**{**state, "frames": int(state["frames"])})  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Moved:
    """Another frame where it is now. pixels: h w 3; half: the same at half the size; places: x and y there in it (h w each)."""

    pixels: Pixels
    half: Pixels
    places: Places

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Where it tells something, at half the size (h w): not beyond its border."""
        height, width = self.half.shape[:2]
        x, y = self.places
        return np.asarray((x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1), np.bool_)


class MotionBlend:
    """Calms predictions by those around them, moved along the optical flow, where they agree.

    First a vote: where the calmed frame before and the prediction after agree, each pixel becomes the median of the three, so that
    a streak of rain that the network left in one frame, or a stem that it took for one, is outvoted. Then a blend with the frame
    before. What moved otherwise than the flow tells disagrees and is left as it is, but where the network had to change the frame
    by far, and did not change what was there before: what it made up gives way. What clings to the pane, such as a drop that the
    network leaves or fills wrongly, gives way to the frame before however much both differ, along the motion of what is around it.
    """

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._flow.setFinestScale(1)  # as of the medium preset, which takes a third more time for what the frames do not show
        self.previous: Calm | None = None

    def forget(self) -> None:
        """Another shot begins."""
        self.previous = None

    def blend(self, came: Pixels, prediction: Pixels, following: Pixels | None = None) -> Pixels:
        """The calmed frame, which is the previous one for the next. Pixels h w 3.

        came: the frame before its restoration; following: the next prediction of the shot.
        """
        last, half, top = self.previous, half_of(prediction), float(np.iinfo(came.dtype).max)
        change = change_of(half_of(came), half)
        if last is None or last.pixels.shape != prediction.shape:
            calm = prediction if following is None else self._first(prediction, following)
            self.previous = Calm(calm, half, trust_of(change, top), change, np.zeros_like(change), 1)
            return calm
        back, frames = self.motion(prediction, last.pixels), min(last.frames + 1, PANE_FRAMES)
        changes = last.changes + (change - last.changes) / np.float32(frames)
        changed, standing = changed_places(changes, top), last.standing
        if changed.any():
            standing = standing + (standing_of(half, last, filled_in(back, changed)) - standing) / np.float32(frames - 1)
        pane = changed & grown(standing > STANDING * top)
        before = moved(last.pixels, filled_in(back, pane))
        calm, trust = prediction, np.where(pane, np.float32(0), trust_of(change, top))
        if following is not None:
            calm = outvoted(calm, before, moved(following, filled_in(self.motion(prediction, following), pane)))
        earlier = _remapped(last.trust, before.places, cv2.INTER_LINEAR)
        calm, weight = blended(calm, before, trust, earlier, pane)
        trust = trust + weight * np.maximum(np.float32(FADING) * earlier - trust, 0)
        self.previous = Calm(calm, half, trust, changes, standing, frames)
        return calm

    def _first(self, prediction: Pixels, following: Pixels) -> Pixels:
        """A shot's first frame, calmed by the one that follows."""
        after = moved(following, self.motion(prediction, following))
        nothing = np.zeros(after.half.shape[:2], np.float32)
        return blended(prediction, after, nothing, nothing, nothing > 0)[0]

    def motion(self, now: Pixels, other: Pixels) -> Floats:
        """For every pixel of `now`, where it is in `other`: an offset (x, y) in pixels, h w 2, at a size of at most FLOW_SIDE."""
        height, width = now.shape[:2]
        scale = min(1.0, FLOW_SIDE / width)
        size = (max(16, round(width * scale)), max(16, round(height * scale)))
        empty = np.zeros((size[1], size[0], 2), np.float32)  # starts from no motion, and takes the result
        return np.asarray(self._flow.calc(_grey(now, size), _grey(other, size), empty), np.float32)


def _grey(pixels: Pixels, size: tuple[int, int]) -> NDArray[np.uint8]:
    small = np.asarray(cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA))
    return np.asarray(small if small.dtype == np.uint8 else small // 256, np.uint8)


def filled_in(flow: Floats, pane: NDArray[np.bool_]) -> Floats:
    """The flow (h w 2), where it is that of the pane and not of the scene behind, by the mean of what is around.

    pane: of any size.
    """
    if not pane.any():
        return flow
    height, width = flow.shape[:2]
    sure = 1 - np.asarray(cv2.resize(pane.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA))
    sure = np.asarray(cv2.erode(sure, np.ones((MARGIN, MARGIN), np.uint8)))
    small = (-(-width // AROUND), -(-height // AROUND))
    known = np.asarray(cv2.resize(np.dstack([flow * sure[..., None], sure]), small, interpolation=cv2.INTER_AREA))
    of_all = known.mean((0, 1)) * np.float32(0.01) + np.float32(1e-6)  # where nothing near is known
    known = np.asarray(cv2.GaussianBlur(known, (0, 0), 1.5, borderType=cv2.BORDER_REPLICATE)) + of_all
    around = cv2.resize(known[..., :2] / known[..., 2:], (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(flow + (1 - sure[..., None]) * (around - flow), np.float32)


def moved(other: Pixels, flow: Floats) -> Moved:
    """`other` moved along a flow that says where each pixel is in it."""
    pixels = _remapped(other, _places(flow, *other.shape[:2]), cv2.INTER_CUBIC)
    half = half_of(pixels)
    return Moved(pixels, half, _places(flow, *half.shape[:2]))


def _places(flow: Floats, height: int, width: int) -> Places:
    """Where a flow of any size leads each pixel of a picture: x and y, h w each."""
    rows, columns = flow.shape[:2]
    x, y = (np.array(cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR), np.float32) for part in cv2.split(flow))
    x *= np.float32(width / columns)
    y *= np.float32(height / rows)
    x += np.arange(width, dtype=np.float32)
    y += np.arange(height, dtype=np.float32)[:, None]
    return x, y


def _remapped(field: NDArray[Any], places: Places, interpolation: int) -> NDArray[Any]:
    return np.asarray(cv2.remap(field, *places, interpolation, borderMode=cv2.BORDER_REPLICATE), field.dtype)


def change_of(came: Pixels, prediction: Pixels) -> Floats:
    """How much the network changed the frame around each pixel, in its levels (h w)."""
    change = cv2.blur(_largest(_difference(came, prediction)), (3, 3))
    return np.asarray(cv2.dilate(change, np.ones((3, 3), np.uint8)), np.float32)


def changed_places(changes: Floats, top: float) -> NDArray[np.bool_]:
    """Where the network changes frame after frame, and the rest of them less. top: the largest level.

    Rain is everywhere, and so is darkness: what all places share is of no place.
    """
    return changes > max(top * PANE, PANE_FACTOR * float(np.median(changes[::4, ::4])))


def standing_of(half: Pixels, last: Calm, back: Floats) -> Floats:
    """By how much less each place (h w) differs from the prediction before in its place than from the calmed frame along a flow."""
    along = _remapped(half_of(last.pixels), _places(back, *half.shape[:2]), cv2.INTER_LINEAR)
    less = _largest(_difference(half, along)) - _largest(_difference(half, last.half))
    return np.asarray(cv2.blur(less, (STANDING_AREA, STANDING_AREA)), np.float32)


def grown(places: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The places, and those next to them."""
    return np.asarray(cv2.dilate(places.astype(np.uint8), np.ones((GROWN, GROWN), np.uint8)), np.bool_)


def trust_of(change: Floats, top: float) -> Floats:
    """How little the network changed each pixel, 0..1."""
    return np.asarray(np.exp(-np.square(change / np.float32(top * CHANGED))), np.float32)


def outvoted(prediction: Pixels, before: Moved, after: Moved) -> Pixels:
    """The median of the three, by how well the frames before and after agree, and by how much it changes of what is coarse.

    Both were interpolated along the flow, so of fine detail alone they would outvote the sharp one.
    """
    middle = np.maximum(np.minimum(before.pixels, prediction), np.minimum(np.maximum(before.pixels, prediction), after.pixels))
    weight = agreement(before.half, after.half, VOTE_AREA, VOTE_TOLERANCE, np.inf) * (before.inside & after.inside)
    kept = agreement(half_of(middle), half_of(prediction), VOTE_AREA, VOTE_CHANGE, np.inf)
    weight *= np.float32(1) - kept
    return _added(prediction, _difference(middle, prediction) * _full(weight, prediction)[..., None])


def blended(prediction: Pixels, before: Moved, trust: Floats, earlier: Floats, pane: NDArray[np.bool_]) -> tuple[Pixels, Floats]:
    """The prediction and a share of the frame before it; that share, at half the size, where trust, earlier and pane are too.

    The share is by how well both agree, or by how much more the frame before is to be trusted (`earlier`), if they agree at all. Of
    what differs from one pixel to the next less is taken, as interpolation along the flow costs sharpness there; but not on the
    pane.
    """
    half = half_of(prediction)
    alike = np.float32(SHARE) * agreement(before.half, half, AGREEMENT, TOLERANCE, FAR)
    gate = np.where(pane, np.float32(1), agreement(before.half, half, AGREEMENT, UNLIKE, np.inf))
    better = np.maximum(earlier - trust, 0) * gate
    weight = np.maximum(alike, better) * before.inside
    fine = weight * np.where(pane, np.maximum(np.float32(DETAIL), better), np.float32(DETAIL))
    coarse = _difference(before.half, half) * (weight - fine)[..., None]
    change = _difference(before.pixels, prediction) * _full(fine, prediction)[..., None]
    return _added(prediction, change + _full(coarse, prediction)), weight


def agreement(a: Pixels, b: Pixels, area: int, tolerance: float, far: float) -> Floats:
    """How well two pictures agree around each pixel, 0..1 (h w), over area x area pixels.

    They disagree where their local means differ (something else is there; 1 / e at tolerance), and where they differ by far (the
    flow is wrong; 1 / e at far). Noise and thin streaks differ by less, and about a mean of zero.
    """
    difference = _difference(a, b) / np.float32(np.iinfo(a.dtype).max)
    exponent = np.square(_largest(np.asarray(cv2.blur(difference, (area, area)))) / np.float32(tolerance))
    if np.isfinite(far):
        exponent += np.square(np.asarray(cv2.blur(_largest(difference), (area, area))) / np.float32(far))
    return np.asarray(np.exp(-exponent), np.float32)


def half_of(pixels: Pixels) -> Pixels:
    """A picture at half its size."""
    height, width = pixels.shape[:2]
    return np.asarray(cv2.resize(pixels, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA), pixels.dtype)


def _full(field: Floats, like: Pixels) -> Floats:
    return np.asarray(cv2.resize(field, like.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _difference(a: Pixels, b: Pixels) -> Floats:
    return np.asarray(cv2.subtract(a, b, dtype=cv2.CV_32F), np.float32)


def _largest(difference: Floats) -> Floats:
    """The largest absolute value of the channels, h w."""
    red, green, blue = cv2.split(np.abs(difference))
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.float32)


def _added(pixels: Pixels, change: Floats) -> Pixels:
    """pixels + change, rounded and clipped."""
    depth = cv2.CV_8U if pixels.dtype == np.uint8 else cv2.CV_16U
    return np.asarray(cv2.add(pixels, change, dtype=depth), pixels.dtype)
