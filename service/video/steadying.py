"""What keeps a restored clip calm: one exposure for neighbouring frames, and a blend with the previous prediction along its motion.

The sampler does its part already: every frame of a clip has the same seed and size, and so the same noise field.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from rddm.exposure import POOL
from rddm.image import Pixels

Floats = NDArray[np.float32]

REACH = 8  # frames to each side that share in a frame's exposure
THUMBNAIL = (32, 18)  # width, height
CUT_CHANGE, CUT_FACTOR = 0.22, 3.0  # of the mean brightness, and of the usual change
USUAL_FRAMES, FIRST_USUAL = 12, 0.15
PAN = (3, 5)  # rows and columns of the thumbnail by which the camera may turn from frame to frame
BLACK = 0.02  # brightness below which a change of the thumbnail tells nothing

# Chosen on clips of a street and a photograph with synthetic rain, drops and darkness; those that the reports measure had no say.
FLOW_SIDE = 480  # the flow is estimated on pictures of at most this width
SHARE = 0.8  # of the moved previous frame where it agrees perfectly
DETAIL = 0.4  # the part of that which single pixels' differences have
AGREEMENT, VOTE_AREA = 5, 3  # pixels to a side of half the size, over which agreement is judged
TOLERANCE, FAR, VOTE_TOLERANCE = 10 / 255, 30 / 255, 20 / 255
CHANGED = 12 / 255  # of a network's change of a pixel, at which trust falls to 1 / e
MOST, UNLIKE, FADING = 0.95, 60 / 255, 0.97  # of what is trusted more: its largest share, how far it may differ, a frame's loss


def thumbnail(pixels: Pixels) -> Floats:
    """Brightness of an h w 3 picture, averaged down to 18 x 32, 0..1."""
    small = cv2.resize(pixels, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
    brightness: Floats = small.mean(2) / np.float32(np.iinfo(pixels.dtype).max)
    return brightness


@dataclass(eq=False)
class CutDetector:
    """Tells where a shot ends: the thumbnail changes by much of its brightness, and far more than it did before.

    Changes are those that no pan of the camera explains. All count as usual, cuts too: a change in every frame is no cut.
    """

    _last: Floats | None = None
    _usual: deque[float] = field(default_factory=lambda: deque([FIRST_USUAL] * 2, USUAL_FRAMES))

    def is_cut(self, small: Floats) -> bool:
        """Whether this frame, which follows those given before, begins another shot."""
        last, self._last = self._last, small
        if last is None:
            return False
        change = least_change(last, small)
        usual = float(np.median(self._usual))
        self._usual.append(change)
        return change > CUT_CHANGE and change > CUT_FACTOR * usual


def least_change(a: Floats, b: Floats) -> float:
    """Mean absolute difference of two thumbnails over their mean; where it is large, at the pan at which it is least."""
    still = _change(a, b)
    if still <= CUT_CHANGE:
        return still
    height, width = a.shape
    pans = product(range(-PAN[0], PAN[0] + 1), range(-PAN[1], PAN[1] + 1))
    return min(
        _change(
            a[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)],
            b[max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)],
        )
        for down, right in pans
    )


def _change(a: Floats, b: Floats) -> float:
    return float(np.abs(a - b).mean() / max(BLACK, (a.mean() + b.mean()) / 2))


def window_context(contexts: Sequence[Floats], middle: int) -> Floats:
    """One context for the frame at `middle`, 1 3 h w: each square is taken from one of the neighbouring frames.

    So means and histograms, which are all that a network may use of a context, are those of the whole window, where an average of
    the frames would wash out their histograms. Near frames give more squares (a triangle); which squares is fixed by their place.
    A square is what an exposure takes the mean of: single pixels of several frames there would be such an average again (dark
    example clip: 26.7 dB, with squares as much as frame by frame).
    """
    weights = np.array([REACH + 1 - abs(k - middle) for k in range(len(contexts))], np.float64).clip(0)
    height, width = contexts[middle].shape[2:]
    places = _spread(-(-height // POOL), -(-width // POOL)).repeat(POOL, 0).repeat(POOL, 1)[:height, :width]
    owner = np.searchsorted(np.cumsum(weights) / weights.sum(), places, side="right").clip(0, len(contexts) - 1)
    mixed = contexts[middle].copy()
    for k in np.unique(owner):
        taken = owner == k
        mixed[..., taken] = contexts[k][..., taken]
    return mixed


def _spread(height: int, width: int) -> NDArray[np.float64]:
    """Numbers in 0..1, evenly spread over any neighbourhood of places (the R2 sequence of M. Roberts, by place)."""
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    return (0.7548776662466927 * columns + 0.5698402909980532 * rows) % 1.0


@dataclass(frozen=True, eq=False)
class Calm:
    """A calmed frame: pixels h w 3; trust h w, 255 where they are as the camera saw them, 0 where the network made them up."""

    pixels: Pixels
    trust: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Moved:
    """Another frame's pixels (h w 3, or h w) where they are now, and where it tells nothing, beyond its border (h w)."""

    pixels: Pixels
    outside: NDArray[np.bool_]


class MotionBlend:
    """Calms predictions by those around them, moved along the optical flow, where they agree.

    First a vote: where the calmed frame before and the prediction after agree, each pixel becomes the median of the three, so that
    a streak of rain that the network left in one frame, or a stem that it took for one, is outvoted. Then a blend with the frame
    before. What moved otherwise than the flow tells disagrees and is left as it is, but where the network had to change the frame
    by far, and did not change what was there before: what it made up, such as the place of a drop on the pane, gives way.
    """

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.previous: Calm | None = None

    def forget(self) -> None:
        """Another shot begins."""
        self.previous = None

    def blend(self, came: Pixels, prediction: Pixels, following: Pixels | None = None) -> Pixels:
        """The calmed frame, which is the previous one for the next. Pixels h w 3.

        came: the frame before its restoration; following: the next prediction of the shot.
        """
        trust, calm = trust_of(came, prediction), prediction
        if self.previous is not None and self.previous.pixels.shape == prediction.shape:
            flow = self.motion(prediction, self.previous.pixels)
            before, earlier = moved(self.previous.pixels, flow), moved(self.previous.trust, flow).pixels
            if following is not None:
                calm = outvoted(calm, before, moved(following, self.motion(prediction, following)))
            weight = weight_of(calm, before, trust, earlier)
            calm = blended(calm, before, weight)
            trust = inherited(trust, earlier, weight)
        self.previous = Calm(calm, trust)
        return calm

    def motion(self, now: Pixels, other: Pixels) -> Floats:
        """For every pixel of `now`, where it is in `other`: an offset (x, y) in pixels, h w 2."""
        height, width = now.shape[:2]
        scale = min(1.0, FLOW_SIDE / width)
        size = (max(16, round(width * scale)), max(16, round(height * scale)))
        empty = np.zeros((size[1], size[0], 2), np.float32)  # starts from no motion, and takes the result
        flow = self._flow.calc(_grey(now, size), _grey(other, size), empty)
        grown = np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        return grown * np.array([width / size[0], height / size[1]], np.float32)


def _grey(pixels: Pixels, size: tuple[int, int]) -> NDArray[np.uint8]:
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    if small.dtype == np.uint16:
        small = (small // 256).astype(np.uint8)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))


def moved(other: Pixels, flow: Floats) -> Moved:
    """`other` moved along a flow that says where each pixel is in it."""
    height, width = flow.shape[:2]
    rows, columns = np.indices((height, width), np.float32)
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    pixels: Pixels = np.asarray(cv2.remap(other, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), other.dtype)
    return Moved(pixels, (x < 0) | (y < 0) | (x > width - 1) | (y > height - 1))


def outvoted(prediction: Pixels, before: Moved, after: Moved) -> Pixels:
    """The median of the three, by how well the frames before and after agree."""
    middle = np.maximum(np.minimum(before.pixels, prediction), np.minimum(np.maximum(before.pixels, prediction), after.pixels))
    weight = agreement(before.pixels, after.pixels, VOTE_AREA, VOTE_TOLERANCE, np.inf)
    weight[before.outside | after.outside] = 0
    return _towards(prediction, _difference(middle, prediction), weight)


def trust_of(came: Pixels, prediction: Pixels) -> NDArray[np.uint8]:
    """How little the network changed the frame around each pixel, 0..255 (h w)."""
    height, width = came.shape[:2]
    change = cv2.dilate(cv2.blur(_largest(_difference(*_halves(came, prediction))), (3, 3)), np.ones((3, 3), np.uint8))
    kept = np.exp(-np.square(np.asarray(change, np.float32) / np.float32(np.iinfo(came.dtype).max * CHANGED)))
    return np.asarray(np.rint(255 * np.asarray(cv2.resize(kept, (width, height), interpolation=cv2.INTER_LINEAR))), np.uint8)


def weight_of(prediction: Pixels, before: Moved, trust: NDArray[np.uint8], earlier: NDArray[np.uint8]) -> Floats:
    """The share of the frame before: by how well both agree, or by how much more it is to be trusted, if they agree at all."""
    alike = np.float32(SHARE) * agreement(before.pixels, prediction, AGREEMENT, TOLERANCE, FAR)
    better = np.asarray(cv2.subtract(earlier, trust), np.float32) / 255  # 0 where it is less
    better *= np.float32(MOST) * agreement(before.pixels, prediction, AGREEMENT, UNLIKE, np.inf)
    weight: Floats = np.maximum(alike, better)
    weight[before.outside] = 0
    return weight


def inherited(trust: NDArray[np.uint8], earlier: NDArray[np.uint8], weight: Floats) -> NDArray[np.uint8]:
    """The trust of a blend; what comes from frames before fades by FADING a frame."""
    gained = np.asarray(cv2.subtract(np.rint(FADING * earlier).astype(np.uint8), trust), np.float32)
    return np.asarray(np.rint(trust + weight * gained), np.uint8)


def blended(prediction: Pixels, before: Moved, weight: Floats) -> Pixels:
    """The prediction and a share of the frame before it.

    Of what differs from one pixel to the next less is taken: that is where interpolation along the flow costs sharpness.
    """
    change = _difference(before.pixels, prediction)
    soft = cv2.blur(change, (3, 3))
    return _towards(prediction, np.asarray(cv2.addWeighted(change, DETAIL, soft, 1 - DETAIL, 0)), weight)


def agreement(a: Pixels, b: Pixels, area: int, tolerance: float, far: float) -> Floats:
    """How well two pictures agree around each pixel, 0..1 (h w); judged at half their size, over area x area pixels of that.

    They disagree where their local means differ (something else is there; 1 / e at tolerance), and where they differ by far (the
    flow is wrong; 1 / e at far). Noise and thin streaks differ by less, and about a mean of zero.
    """
    height, width = a.shape[:2]
    difference = _difference(*_halves(a, b))
    top = np.float32(np.iinfo(a.dtype).max)
    shifted = _largest(np.asarray(cv2.blur(difference, (area, area)))) / (top * np.float32(tolerance))
    exponent = np.square(shifted)
    if np.isfinite(far):
        apart = np.asarray(cv2.blur(_largest(difference), (area, area))) / (top * np.float32(far))
        exponent += np.square(apart)
    return np.asarray(cv2.resize(np.exp(-exponent), (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _halves(a: Pixels, b: Pixels) -> tuple[Pixels, Pixels]:
    """Both at half their size."""
    height, width = a.shape[:2]
    size = (-(-width // 2), -(-height // 2))
    return np.asarray(cv2.resize(a, size, interpolation=cv2.INTER_AREA)), np.asarray(
        cv2.resize(b, size, interpolation=cv2.INTER_AREA)
    )


def _difference(a: Pixels, b: Pixels) -> Floats:
    return np.asarray(cv2.subtract(a, b, dtype=cv2.CV_32F), np.float32)


def _largest(difference: Floats) -> Floats:
    """The largest absolute value of the channels, h w."""
    red, green, blue = cv2.split(np.abs(difference))
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.float32)


def _towards(pixels: Pixels, change: Floats, weight: Floats) -> Pixels:
    """pixels + weight * change, rounded and clipped."""
    change = change * weight[..., None]
    depth = cv2.CV_8U if pixels.dtype == np.uint8 else cv2.CV_16U
    return np.asarray(cv2.add(pixels, change, dtype=depth), pixels.dtype)
