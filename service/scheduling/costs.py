"""What calls cost, by model and shape: one ladder each, begun by calibration and kept up to date by every batch."""

import math
from collections import OrderedDict
from typing import TypeVar

from rddm.graph import BATCH_SIZES as SIZES
from service.engines.contract import Weights
from service.scheduling.ladder import Ladder, mean

Shape = tuple[Weights, int, int]  # and height, width
Known = TypeVar("Known")
SHAPES = 1024  # remembered at once; pictures up to whole_max each have their own


def pixels(shape: Shape) -> int:
    """Of one row."""
    return shape[1] * shape[2]


class Costs:
    """Ladders by shape. plans: the engine runs only the ladder's sizes; probe_every: calls before a larger batch is tried."""

    def __init__(self, *, plans: bool, probe_every: int) -> None:
        self._plans, self._probe_every = plans, probe_every
        self._calibrated: dict[Weights, tuple[Shape, Ladder]] = {}
        self._ladders: OrderedDict[Shape, Ladder] = OrderedDict()
        self._lone: OrderedDict[Shape, float] = OrderedDict()

    def add(self, shape: Shape, ladder: Ladder) -> None:
        """What calibration found for a model at its usual shape; all that was known of these weights is forgotten."""
        self._ladders = OrderedDict((other, known) for other, known in self._ladders.items() if other[0] != shape[0])
        self._lone = OrderedDict((other, known) for other, known in self._lone.items() if other[0] != shape[0])
        self._calibrated[shape[0]] = shape, ladder
        self._ladders[shape] = ladder

    def knows(self, weights: Weights) -> bool:
        """Whether these were calibrated."""
        return weights in self._calibrated

    def ladder(self, shape: Shape) -> Ladder:
        """The shape's ladder. One never seen begins with single rows, and stays there until its model is calibrated."""
        if shape not in self._ladders:
            self._ladders[shape] = self._begun(shape)
        _bound(self._ladders, shape)
        return self._ladders[shape]

    def _begun(self, shape: Shape) -> Ladder:
        """Where bytes depend on the batch size, each shape keeps one: the calibrated one, or as many rows as its pixels allow."""
        if shape[0] not in self._calibrated:
            return Ladder(plans=self._plans, ceiling=1)
        usual, ladder = self._calibrated[shape[0]]
        if ladder.only is None:
            return Ladder(plans=self._plans, exact=ladder.exact)
        fitting = [size for size in SIZES if size <= ladder.only and size * pixels(shape) <= ladder.only * pixels(usual)]
        return Ladder(only=max(fitting, default=1), exact=ladder.exact)

    def room(self, shape: Shape, waiting: int) -> int:
        """Rows of the next batch at most: the best size, or now and then a larger one, to learn what it costs."""
        return self.ladder(shape).room(waiting, self._probe_every)

    def record(self, shape: Shape, rows: int, seconds: float, *, alone: bool = False) -> None:
        """A call of so many rows (filled up) took so long. alone: it had the whole engine, which tells nothing of the others."""
        if alone:
            self._lone[shape] = mean(self._lone.get(shape), seconds)
            _bound(self._lone, shape)
        else:
            self.ladder(shape).record(rows, seconds)

    def seconds_per_megapixel(self, weights: Weights) -> float:
        """Of one call at the usual shape and the best batch size; NaN before the model was calibrated or used."""
        if weights in self._calibrated:
            usual, ladder = self._calibrated[weights]
            return ladder.seconds_of(ladder.best) / (ladder.best * pixels(usual) / 1e6)
        known = [(shape, ladder) for shape, ladder in self._ladders.items() if shape[0] == weights and ladder.seconds]
        return min((ladder.seconds_of(1) / (pixels(shape) / 1e6) for shape, ladder in known), default=math.nan)

    def call_seconds(self, shape: Shape, *, alone: bool = False) -> float:
        """Seconds of a call of one row of this shape, measured, or by its pixels; NaN if nothing is known.

        alone: of one that has the whole engine, if such a call was measured.
        """
        if alone and shape in self._lone:
            return self._lone[shape]
        single = self.ladder(shape).seconds_of(1)
        return self.seconds_per_megapixel(shape[0]) * pixels(shape) / 1e6 if math.isnan(single) else single


def _bound(known: OrderedDict[Shape, Known], used: Shape) -> None:
    """Forgets the shape that was used longest ago where there are too many."""
    known.move_to_end(used)
    if len(known) > SHAPES:
        known.popitem(last=False)
