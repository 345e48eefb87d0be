"""What keeps a restored clip calm: one exposure for neighbouring frames, and a blend with the previous prediction along its motion.

The sampler does its part already: every frame of a clip has the same seed and size, and so the same noise field.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from rddm.image import Pixels

Floats = NDArray[np.float32]

REACH = 8  # frames to each side that share in a frame's exposure
THUMBNAIL = (32, 18)  # width, height
CUT_CHANGE, CUT_FACTOR = 0.22, 4.0  # of the mean brightness, and of the usual change
USUAL_FRAMES = 12
BLACK = 0.02  # brightness below which a change of the thumbnail tells nothing

FLOW_SIDE = 480  # the flow is estimated on pictures of at most this width
SHARE = 0.8  # of the warped previous prediction where it agrees perfectly
AGREEMENT = 9  # pixels to a side, over which agreement is judged
TOLERANCE, FAR = 10 / 255, 30 / 255  # of a difference of means, and of a mean difference, at which the share falls to 1 / e


def thumbnail(pixels: Pixels) -> Floats:
    """Brightness of an h w 3 picture, averaged down to 18 x 32, 0..1."""
    small = cv2.resize(pixels, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
    brightness: Floats = small.mean(2) / np.float32(np.iinfo(pixels.dtype).max)
    return brightness


@dataclass(eq=False)
class CutDetector:
    """Tells where a shot ends: the thumbnail changes by much of its brightness, and far more than it did before."""

    _last: Floats | None = None
    _usual: deque[float] = field(default_factory=lambda: deque(maxlen=USUAL_FRAMES))

    def is_cut(self, small: Floats) -> bool:
        """Whether this frame, which follows those given before, begins another shot."""
        last, self._last = self._last, small
        if last is None:
            return False
        change = float(np.abs(small - last).mean() / max(BLACK, (small.mean() + last.mean()) / 2))
        usual = float(np.median(self._usual)) if self._usual else 0.0
        if change > CUT_CHANGE and change > CUT_FACTOR * usual:
            self._usual.clear()
            return True
        self._usual.append(change)
        return False


def window_context(contexts: Sequence[Floats], middle: int) -> Floats:
    """One context for the frame at `middle`, 1 3 h w: each pixel is taken from one of the neighbouring frames.

    So means and histograms, which are all that a network may use of a context, are those of the whole window, where an average of
    the frames would wash out their histograms. Near frames give more pixels (a triangle); which pixels is fixed by their place.
    """
    weights = np.array([REACH + 1 - abs(k - middle) for k in range(len(contexts))], np.float64).clip(0)
    height, width = contexts[middle].shape[2:]
    owner = np.searchsorted(np.cumsum(weights) / weights.sum(), _spread(height, width), side="right").clip(0, len(contexts) - 1)
    mixed = contexts[middle].copy()
    for k in np.unique(owner):
        taken = owner == k
        mixed[..., taken] = contexts[k][..., taken]
    return mixed


def _spread(height: int, width: int) -> NDArray[np.float64]:
    """Numbers in 0..1, evenly spread over any neighbourhood of pixels (the R2 sequence of M. Roberts, by place)."""
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    return (0.7548776662466927 * columns + 0.5698402909980532 * rows) % 1.0


class MotionBlend:
    """Blends each prediction with the one before it, warped along the optical flow, where the two agree.

    A streak of rain that the network left, or a stem that it took for one, differs from frame to frame and is outvoted; what moved
    otherwise than the flow tells disagrees and is left as it is.
    """

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self.previous: Pixels | None = None

    def forget(self) -> None:
        """Another shot begins."""
        self.previous = None

    def blend(self, prediction: Pixels) -> Pixels:
        """The calmed frame, which is the previous one for the next. Pixels h w 3."""
        if self.previous is not None and self.previous.shape == prediction.shape:
            prediction = blended(prediction, warped(self.previous, self.motion(prediction, self.previous)))
        self.previous = prediction
        return prediction

    def motion(self, now: Pixels, before: Pixels) -> Floats:
        """For every pixel of `now`, where it was in `before`: an offset (x, y) in pixels, h w 2."""
        height, width = now.shape[:2]
        scale = min(1.0, FLOW_SIDE / width)
        size = (max(16, round(width * scale)), max(16, round(height * scale)))
        empty = np.zeros((size[1], size[0], 2), np.float32)  # starts from no motion, and takes the result
        flow = self._flow.calc(_grey(now, size), _grey(before, size), empty)
        grown = np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        return grown * np.array([width / size[0], height / size[1]], np.float32)


def _grey(pixels: Pixels, size: tuple[int, int]) -> NDArray[np.uint8]:
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    if small.dtype == np.uint16:
        small = (small // 256).astype(np.uint8)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))


def warped(before: Pixels, flow: Floats) -> Floats:
    """`before` moved to where it is now, h w 3 in its levels; beyond the border it disagrees with everything."""
    rows, columns = np.indices(flow.shape[:2], np.float32)
    return np.asarray(
        cv2.remap(
            before.astype(np.float32),
            columns + flow[..., 0],
            rows + flow[..., 1],
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(-1e6, -1e6, -1e6),
        ),
        np.float32,
    )


def blended(prediction: Pixels, moved: Floats) -> Pixels:
    """The prediction and the moved previous one, by how well they agree around each pixel.

    They disagree where their local means differ (something else is there), and where they differ by far (the flow is wrong). Noise
    and thin streaks differ by less, and about a mean of zero.
    """
    top = np.float32(np.iinfo(prediction.dtype).max)
    now = prediction.astype(np.float32)
    difference = (moved - now) / top
    outside = difference.min(2) < -1
    difference[outside] = 0
    area = (AGREEMENT, AGREEMENT)
    shifted = np.abs(cv2.blur(difference, area)).max(2) / np.float32(TOLERANCE)
    apart = cv2.blur(np.abs(difference).max(2), area) / np.float32(FAR)
    weight = np.float32(SHARE) * np.exp(-np.square(shifted) - np.square(apart))
    weight[outside] = 0
    calm = now + weight[..., None] * difference * top
    calmed: Pixels = np.rint(calm).clip(0, top).astype(prediction.dtype)
    return calmed
