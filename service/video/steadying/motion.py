"""A blend of each prediction with those around it, moved along the optical flow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from rddm.image import Pixels

Floats = NDArray[np.float32]
Size = tuple[int, int]  # width, height

# Levels are of 0..1. Chosen on the garden of examples/clips and on a clip of photographs, each with rain, drops and darkness.
FLOW_SIDE, VOTE_SIDE = 384, 224  # the flow is estimated on pictures of at most this width; for votes smaller ones do
MOST_FRAMES = 30.0  # that are averaged
MOVE_COST, DETAIL_COST = 0.08 / 255, 0.25  # what a move along the flow costs: levels, and a part of the detail that is there
CALM, MOST_NOISE = 1.65 / 255, 6 / 255  # levels of noise that nobody sees, and beyond which frames differ by more than noise
AREA, VOTE_AREA, WIDE_AREA = 5, 3, 15  # pixels to a side of half the size, over which agreement, votes and noise are judged
NEAR, FAR, VOTE = (2 / 255, 10 / 255, 5.0), (6 / 255, 30 / 255, 6.0), (20 / 255, 50 / 255, 3.5)  # see `tolerated`
VOTE_CHANGE = 3 / 255  # what a vote changes at half the size, at which it counts by 1 - 1 / e
OF_CHANGE = 4.0  # of a network's mean squared change: with 1.5 CALM^2 the most of what frames differ by that it made
MADE_UP, USUAL_CHANGE = 13 / 255, 1.5  # of a network's change beyond so many usual ones, at which 1 - 1 / e of a pixel is made up
SHARED, OWN = 0.3, 0.9  # of the earlier frame's detail that this one shows too: below it is noise, from there on it is detail
SMOOTHED = 7  # pixels to a side, over which noise is
CHANGED = 12 / 255  # of a network's change of a pixel, at which trust falls to 1 / e
UNLIKE, FADING = 50 / 255, 0.995  # of what is trusted more: how far it may differ, except on the pane, and a frame's loss
PANE, PANE_FACTOR, PANE_FRAMES = 8 / 255, 3.0, 24  # of a network's mean change there, of the usual one, over so many frames
STANDING, STANDING_AREA, GROWN = 5 / 255, 4, 5  # by how much less it differs if it stands still; over how many pixels, and beyond
AROUND, MARGIN = 8, 15  # pixels of the flow to a side: of whose means it is filled in there, and how far beyond


@dataclass(frozen=True, eq=False)
class Calm:
    """What the next frame is calmed by.

    pixels: the calmed frame, h w 3. The rest has half its size: half, the prediction; trust, 1 where the pixels are as the camera
    saw them, 0 where the network made them up; count, of how many frames they are the mean. Means at each place of the pane over
    `frames` of the shot, in levels: changes, by how much the network changes it; standing, by how much less it differs from the
    frame before in its place than along the motion.
    """

    pixels: Pixels
    half: Pixels
    trust: Floats
    changes: Floats
    standing: Floats
    count: Floats
    frames: int

    def state(self) -> dict[str, NDArray[Any]]:
        """As arrays."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """What `state` gave."""
        return cls(**{**state, "frames": int(state["frames"])})  # type: ignore[arg-type]


class Half:
    """A picture at half its size (h w 3), and what more than one comparison needs of it.

    Whole numbers, as far as they go: they cost a fraction of what floats do.
    """

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self._sums: dict[int, NDArray[Any]] = {}

    def sums(self, area: int) -> NDArray[Any]:
        """Over area x area pixels around each, h w 3."""
        if area not in self._sums:
            depth = cv2.CV_16U if self.pixels.dtype == np.uint8 else cv2.CV_32F
            self._sums[area] = np.asarray(cv2.boxFilter(self.pixels, depth, (area, area), normalize=False))
        return self._sums[area]

    @cached_property
    def detail(self) -> Floats:
        """What differs from one pixel to the next: of luma, 0..1, h w."""
        luma = cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(np.iinfo(self.pixels.dtype).max)
        return luma - _mean(luma, 3)


class View:
    """A frame (h w 3), and what is made of it once, though it is a frame's successor first and a frame itself then."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self._small: dict[Size, NDArray[np.uint8]] = {}

    @cached_property
    def half(self) -> Half:
        """At half its size."""
        return Half(half_of(self.pixels))

    def luma(self, size: Size) -> NDArray[np.uint8]:
        """At that size."""
        if size not in self._small:
            whole = self._luma if self._luma.shape[1] < 2 * size[0] else self._half_luma
            near = whole.shape[1] <= 2 * size[0]  # linear interpolation passes over nothing then, in a fifth of the time
            self._small[size] = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_LINEAR if near else cv2.INTER_AREA))
        return self._small[size]

    @cached_property
    def _luma(self) -> NDArray[np.uint8]:
        return _luma_of(self.pixels)

    @cached_property
    def _half_luma(self) -> NDArray[np.uint8]:
        return _luma_of(self.half.pixels)


@dataclass(frozen=True, eq=False)
class Moved:
    """Another frame where it is now. pixels: h w 3; half: the same at half the size; places: x and y there in it (h w 2)."""

    pixels: Pixels
    half: Half
    places: Floats

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Where it tells something, at half the size (h w): not beyond its border."""
        return _inside(self.places)


class MotionBlend:
    """Calms predictions by those around them, moved along the optical flow, where they agree.

    A running mean: the frame before, which is the mean of those before it, has a share of n / (n + 1), where n is the number of
    frames that agreed there so far. But no more frames are averaged than it is worth: moving costs detail, where the frames differ
    by little there is nothing to gain, and grain that the network left as it came is the clip's own. A vote comes first: where the
    frame before and the prediction after agree, and the prediction does not, it is outvoted, so that a streak of rain that the
    network left in one frame goes. What moved otherwise than the flow tells disagrees and is left as it is, but where the network
    had to change the frame by far, and did not change what was there before: what it made up gives way. What clings to the pane,
    such as a drop that the network leaves or fills wrongly, gives way to the frame before however much both differ, along the
    motion of what is around it.
    """

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._flow.setFinestScale(1)
        self._flow.setGradientDescentIterations(8)
        self._flow.setVariationalRefinementIterations(2)
        self._grids: dict[Size, Floats] = {}
        self._following: View | None = None
        self._third: Pixels | None = None
        self._opening = False
        self.previous: Calm | None = None

    def begin(self, frames: Sequence[tuple[Pixels, Pixels]]) -> None:
        """Another shot. frames: its first ones, as they came and as predicted; `blend` gets them too.

        They are gone through backwards, so that the first is calmed by those after it as the later ones are by those before.
        """
        self.previous = None
        self._opening, self._third = True, frames[2][1] if len(frames) > 2 else None
        followed = list(pairwise(reversed(frames)))
        for (came, prediction), (_, following) in followed:
            self._calmed(came, prediction, following)

    def blend(self, came: Pixels, prediction: Pixels, following: Pixels | None = None) -> Pixels:
        """The calmed frame. Pixels h w 3.

        came: the frame before its restoration; following: the next prediction of the shot.
        """
        if self._opening:  # what is before it now is the frame that follows, which would vote twice
            self._opening, following = False, self._third
        calm, noisy = self._calmed(came, prediction, following)
        return calm if noisy is None else smoothed(calm, noisy)

    def _calmed(self, came: Pixels, prediction: Pixels, following: Pixels | None) -> tuple[Pixels, Floats | None]:
        """The calmed frame, and the part of its detail that is noise."""
        last, now, top = self.previous, self._view(prediction), float(np.iinfo(came.dtype).max)
        change = change_of(half_of(came), now.half.pixels)
        if last is None or last.pixels.shape != prediction.shape:
            self.previous = Calm(prediction, now.half.pixels, trust_of(change, top), change, 0 * change, 1 + 0 * change, 1)
            return prediction, None
        earlier = View(last.pixels)
        back, frames = self.motion(now, earlier), min(last.frames + 1, PANE_FRAMES)
        changes = last.changes + (change - last.changes) / np.float32(frames)
        changed, standing = changed_places(changes, top), last.standing
        if changed.any():
            along = self._half_moved(earlier.half, filled_in(back, changed))
            standing = standing + (standing_of(now.half.pixels, last.half, along) - standing) / np.float32(frames - 1)
        pane = changed & grown(standing > STANDING * top)
        before = self._moved(last.pixels, filled_in(back, pane))
        pair = compared(now.half, before.half, change, top)
        vote, middle = 0 * change, now.half.pixels
        if following is not None:
            self._following = View(following)
            ahead = self._places(filled_in(self.motion(now, self._following, VOTE_SIDE), pane), now.half.pixels)
            vote, middle = outvoted(pair, Half(_remapped(self._following.half.pixels, ahead, cv2.INTER_LINEAR)), _inside(ahead))
        count, believed = (_remapped(field, before.places, cv2.INTER_LINEAR) for field in (last.count, last.trust))
        trust = np.where(pane, np.float32(0), trust_of(change, top))
        averaged = share_of(pair, count)
        share = np.maximum(averaged, better(pair, believed - trust, pane)) * before.inside
        calm = blended(prediction, before, pair, share, vote, middle)
        trust = trust + share * np.maximum(np.float32(FADING) * believed - trust, 0)
        noisy = averaged * (1 - pair.kept)
        count = np.minimum(1 + np.maximum(pair.alike, vote) * before.inside * pair.worth(count), np.float32(MOST_FRAMES))
        self.previous = Calm(calm, now.half.pixels, trust, changes, standing, count, frames)
        return calm, noisy

    def motion(self, now: View, other: View, side: int = FLOW_SIDE) -> Floats:
        """For every pixel of `now`, where it is in `other`: an offset (x, y) in pixels, h w 2, at a width of at most `side`."""
        height, width = now.pixels.shape[:2]
        scale = min(1.0, side / width)
        size = (max(16, round(width * scale)), max(16, round(height * scale)))
        empty = np.zeros((size[1], size[0], 2), np.float32)  # starts from no motion, and takes the result
        return np.asarray(self._flow.calc(now.luma(size), other.luma(size), empty), np.float32)

    def _view(self, pixels: Pixels) -> View:
        following = self._following
        return following if following is not None and following.pixels is pixels else View(pixels)

    def _moved(self, other: Pixels, flow: Floats) -> Moved:
        """`other` moved along a flow that says where each pixel is in it."""
        pixels = _remapped(other, self._places(flow, other), cv2.INTER_CUBIC)
        half = Half(half_of(pixels))
        return Moved(pixels, half, self._places(flow, half.pixels))

    def _half_moved(self, half: Half, flow: Floats) -> Pixels:
        return _remapped(half.pixels, self._places(flow, half.pixels), cv2.INTER_LINEAR)

    def _places(self, flow: Floats, picture: Pixels) -> Floats:
        """Where a flow of any size leads each pixel of a picture: x and y, h w 2."""
        size = picture.shape[1], picture.shape[0]
        if size not in self._grids:
            self._grids[size] = np.dstack(np.meshgrid(*(np.arange(length, dtype=np.float32) for length in size)))
        factors = np.array([size[0] / flow.shape[1], size[1] / flow.shape[0], 0, 0])  # a scalar of OpenCV's
        places = cv2.resize(cv2.multiply(flow, factors), size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.add(places, self._grids[size], dst=places), np.float32)


def _luma_of(pixels: Pixels) -> NDArray[np.uint8]:
    luma = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    return np.asarray(luma if luma.dtype == np.uint8 else luma // 256, np.uint8)


def filled_in(flow: Floats, pane: NDArray[np.bool_]) -> Floats:
    """The flow (h w 2), where it is that of the pane and not of the scene behind, by the mean of what is around.

    pane: of any size.
    """
    if not pane.any():
        return flow
    height, width = flow.shape[:2]
    seen = 1 - np.asarray(cv2.resize(pane.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA))
    sure: Floats = np.asarray(cv2.erode(seen, np.ones((MARGIN, MARGIN), np.uint8)), np.float32)
    size = (-(-width // AROUND), -(-height // AROUND))
    weight = _around(sure, size)
    parts = [_filled(np.asarray(part, np.float32), sure, weight) for part in cv2.split(flow)]
    return np.asarray(cv2.merge(parts), np.float32)


def _filled(part: Floats, sure: Floats, weight: Floats) -> Floats:
    """One part of a flow (h w), as far as it is not sure, by the mean around, where `weight` says how much is sure."""
    size = weight.shape[1::-1]
    mean = _around(part * sure, size) / weight
    return np.asarray(part + (1 - sure) * (_full(mean, part) - part), np.float32)


def _around(field: Floats, size: Size) -> Floats:
    """Means of what is around, at that size, with a little of the mean of all where nothing near is known."""
    known = np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_AREA), np.float32)
    of_all = known.mean() * np.float32(0.01) + np.float32(1e-6)
    return np.asarray(cv2.GaussianBlur(known, (0, 0), 1.5, borderType=cv2.BORDER_REPLICATE) + of_all, np.float32)


def _inside(places: Floats) -> NDArray[np.bool_]:
    """Which places lie within the picture, h w."""
    height, width = places.shape[:2]
    return np.asarray(cv2.inRange(places, (0.0, 0.0), (width - 1.0, height - 1.0)) != 0, np.bool_)


def _remapped(field: NDArray[Any], places: Floats, interpolation: int) -> NDArray[Any]:
    # OpenCV's types know no absent second map, and an empty array is no such thing: linear interpolation gives noise then (5.0.0).
    moved = cv2.remap(field, places, None, interpolation, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(moved, field.dtype)


def change_of(came: Pixels, prediction: Pixels) -> Floats:
    """How much the network changed the frame around each pixel, in its levels (h w)."""
    change = cv2.blur(apart(came, prediction), (3, 3))
    return np.asarray(cv2.dilate(change, np.ones((3, 3), np.uint8)), np.float32)


def changed_places(changes: Floats, top: float) -> NDArray[np.bool_]:
    """Where the network changes frame after frame, and the rest of them less. top: the largest level.

    Rain is everywhere, and so is darkness: what all places share is of no place.
    """
    return changes > max(top * PANE, PANE_FACTOR * float(np.median(changes[::4, ::4])))


def standing_of(half: Pixels, last: Pixels, along: Pixels) -> Floats:
    """By how much less each place (h w) differs from the prediction before in its place than from the calmed frame along a flow."""
    return np.asarray(cv2.blur(apart(half, along) - apart(half, last), (STANDING_AREA, STANDING_AREA)), np.float32)


def grown(places: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The places, and those next to them."""
    return np.asarray(cv2.dilate(places.astype(np.uint8), np.ones((GROWN, GROWN), np.uint8)), np.bool_)


def trust_of(change: Floats, top: float) -> Floats:
    """How little the network changed each pixel, 0..1."""
    return np.asarray(np.exp(-np.square(change / np.float32(top * CHANGED))), np.float32)


@dataclass(frozen=True, eq=False)
class Pair:
    """A prediction and the frame before where it is now, at half the size.

    different: the largest difference of the channels' means, in levels; noise: by how much they usually differ (0..1); made_up:
    the part of each pixel that the network made up; alike: how well both agree, 0..1; most: the number of frames that are worth
    averaging; kept: the part of the frame before's detail that is none of its noise. All h w.
    """

    now: Half
    before: Half
    top: float
    different: Floats
    noise: float
    made_up: Floats
    alike: Floats
    most: Floats
    kept: Floats

    def worth(self, count: Floats) -> Floats:
        """The number of frames before, as far as they are worth averaging."""
        return np.minimum(count, self.most)


def compared(now: Half, before: Half, change: Floats, top: float) -> Pair:
    """The two, and what their difference tells. change: how much the network changed the frame, in its levels (h w)."""
    made_up_part = made_up(change, top)
    size = apart(before.pixels, now.pixels) / np.float32(top)
    noise = min(float(np.median(size[::4, ::4])), MOST_NOISE)
    different = means_apart(before, now, AREA)
    near, far = (tolerated(limits, noise, made_up_part) for limits in (NEAR, FAR))
    exponent = _fourth_power(different / (near * np.float32(top))) + _fourth_power(_mean(size, AREA) / far)
    detail = _mean(apart(before.pixels, cv2.blur(before.pixels, (3, 3))) / np.float32(top), WIDE_AREA)
    own = np.float32(1.5 * CALM**2) + np.float32(OF_CHANGE / top**2) * _mean(np.square(change), WIDE_AREA)
    most = worth_averaging(np.minimum(_mean(np.square(size), WIDE_AREA), own), detail)
    return Pair(now, before, top, different, noise, made_up_part, np.exp(-exponent), most, kept_of(before.detail, now.detail))


def made_up(change: Floats, top: float) -> Floats:
    """The part of each pixel (h w, 0..1) that the network made up: rain and darkness are changed everywhere, drops are not."""
    usual = np.float32(USUAL_CHANGE * float(np.median(change[::4, ::4])))
    return np.asarray(1 - np.exp(-np.square(np.maximum(change - usual, 0) / np.float32(top * MADE_UP))), np.float32)


def tolerated(limits: tuple[float, float, float], noise: float, made_up_part: Floats) -> Floats:
    """By how much two frames may differ and still show the same (0..1, h w).

    limits: where the network made up nothing; more where it made up all; and how many times the noise that is seen, in any case.
    """
    least, most, factor = limits
    allowed = np.float32(least) + np.float32(most - least) * made_up_part
    return np.asarray(np.maximum(allowed, np.float32(factor * max(0.0, noise - CALM / 2))), np.float32)


def worth_averaging(squares: Floats, detail: Floats) -> Floats:
    """How many frames are worth averaging (h w). squares: of what two frames differ by, their means; detail: mean of what is fine.

    A Kalman filter whose state loses `cost` with each move, and whose measurement has the noise r, weighs n earlier frames once it
    is settled, with n (n + 1) = r^2 / cost^2.
    """
    cost = np.square(np.float32(MOVE_COST) + np.float32(DETAIL_COST) * detail)
    ratio = np.maximum(squares - cost - np.float32(CALM**2), 0) / cost
    return np.asarray((np.sqrt(1 + 4 * ratio) - 1) / 2, np.float32)


def kept_of(detail: Floats, own: Floats) -> Floats:
    """The part of an earlier frame's detail that is none of its noise, 0..1 (h w): as much as this frame shows, too.

    detail, own: of the earlier and of this frame, h w. Noise of one frame is none of the other's.
    """
    both, all_ = (_mean(product, WIDE_AREA) for product in (detail * own, np.square(detail)))
    part = both / (all_ + np.float32(1e-8))
    return np.asarray(np.clip((part - np.float32(SHARED)) / np.float32(OWN - SHARED), 0, 1), np.float32)


def share_of(pair: Pair, count: Floats) -> Floats:
    """The share of the frame before, which is the mean of `count` frames, h w."""
    frames = pair.worth(count)
    return np.asarray(pair.alike * frames / (frames + 1), np.float32)


def better(pair: Pair, more: Floats, pane: NDArray[np.bool_]) -> Floats:
    """The share of the frame before where it is trusted more than the prediction (`more`), if they agree at all or on the pane."""
    return np.maximum(more, 0) * np.where(pane, np.float32(1), agreement(pair.different, np.float32(UNLIKE * pair.top)))


def outvoted(pair: Pair, after: Half, inside: NDArray[np.bool_]) -> tuple[Floats, Pixels]:
    """How much the frames before and after outvote the prediction (0..1, h w), and the median of the three, at half the size.

    By how well those two agree, and by how much the median changes. after: moved to where it is now, and inside: where it tells
    something.
    """
    before, now = pair.before.pixels, pair.now.pixels
    middle = Half(np.maximum(np.minimum(before, now), np.minimum(np.maximum(before, now), after.pixels)))
    tolerance = tolerated(VOTE, pair.noise, pair.made_up) * np.float32(pair.top)
    agreed = agreement(means_apart(pair.before, after, VOTE_AREA), tolerance)
    unchanged = agreement(means_apart(middle, pair.now, VOTE_AREA), np.float32(VOTE_CHANGE * pair.top))
    return agreed * (1 - unchanged) * inside, middle.pixels


def blended(prediction: Pixels, before: Moved, pair: Pair, share: Floats, vote: Floats, middle: Pixels) -> Pixels:
    """The prediction, outvoted, and a share of the frame before.

    What is coarse becomes the median of the vote; what is finer, which the median of moved frames would blur, is taken from the
    frame before.
    """
    fine = np.maximum(share, vote * before.inside)
    coarse = mixed(mixed(pair.now.pixels, middle, vote), pair.before.pixels, share)
    depth = cv2.CV_16S if prediction.dtype == np.uint8 else cv2.CV_32F
    change = cv2.subtract(coarse, mixed(pair.now.pixels, pair.before.pixels, fine), dtype=depth)
    return _added(mixed(prediction, before.pixels, _full(fine, prediction)), _full(change, prediction))


def smoothed(calm: Pixels, noisy: Floats) -> Pixels:
    """The calmed frame without what is left of its noise. noisy: the part of its detail that is noise, h w at half the size.

    The next frame is calmed by the one that is not smoothed, else it would be smoothed again and again.
    """
    return mixed(calm, np.asarray(cv2.blur(calm, (SMOOTHED, SMOOTHED))), _full(noisy, calm))


def mixed(a: Pixels, b: Pixels, share: Floats) -> Pixels:
    """Two pictures, h w 3, with a share of b (h w, 0..1)."""
    if a.dtype == np.uint8:
        return np.asarray(cv2.blendLinear(a, b, 1 - share, share), np.uint8)
    return np.rint(cv2.blendLinear(a.astype(np.float32), b.astype(np.float32), 1 - share, share)).astype(a.dtype)


def agreement(difference: Floats, tolerance: Floats | np.float32) -> Floats:
    """How well two pictures agree whose means differ so, 0..1 (h w); 1 / e at the tolerance."""
    return np.asarray(np.exp(-np.square(difference / tolerance)), np.float32)


def means_apart(a: Half, b: Half, area: int) -> Floats:
    """The largest difference of the channels' means over area x area pixels, in levels (h w)."""
    return apart(a.sums(area), b.sums(area)) / np.float32(area**2)


def apart(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """The largest absolute difference of the channels of two pictures (h w 3), h w."""
    red, green, blue = cv2.split(cv2.absdiff(a, b))
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.float32)


def _mean(field: Floats, area: int) -> Floats:
    return np.asarray(cv2.blur(field, (area, area)), np.float32)


def _fourth_power(field: Floats) -> Floats:
    return np.square(np.square(field))


def half_of(pixels: Pixels) -> Pixels:
    """A picture at half its size."""
    height, width = pixels.shape[:2]
    return np.asarray(cv2.resize(pixels, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA), pixels.dtype)


def _full(field: NDArray[Any], like: Pixels) -> NDArray[Any]:
    return np.asarray(cv2.resize(field, like.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def _added(pixels: Pixels, change: NDArray[Any]) -> Pixels:
    """pixels + change, rounded and clipped."""
    depth = cv2.CV_8U if pixels.dtype == np.uint8 else cv2.CV_16U
    return np.asarray(cv2.add(pixels, change, dtype=depth), pixels.dtype)
