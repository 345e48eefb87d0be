"""Where a shot ends."""

from collections import deque
from dataclasses import dataclass, field
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from rddm.image import Pixels

Floats = NDArray[np.float32]

THUMBNAIL = (32, 18)  # width, height
CUT_CHANGE, CUT_FACTOR = 0.22, 3.0  # of the mean brightness, and of the usual change
USUAL_FRAMES, FIRST_USUAL = 12, 0.15
PAN = (3, 5)  # rows and columns of the thumbnail by which the camera may turn from frame to frame
BLACK = 0.02  # brightness below which a change of the thumbnail tells nothing


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
