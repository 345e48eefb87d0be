"""Which batch sizes one model is called with: only what was proven to pay and to keep every row's bytes."""

import math
from dataclasses import dataclass

from rddm.graph import BATCH_SIZES


@dataclass(eq=False)
class BatchSizes:
    """usual_pixels: of the rows that the sizes were proven with; batches of larger rows have fewer of them.

    largest: rows of the largest proven batch. fills: every batch is filled up, since a row's bytes depend on its batch's size.
    is_settled: nothing is left to prove. memory_pixels: of all rows of a batch together, as far as memory allows.
    """

    usual_pixels: int = 1
    largest: int = 1
    fills: bool = False
    is_settled: bool = False
    memory_pixels: float = math.inf

    def best(self, pixels: int) -> int:
        """Rows of the largest batch of rows of so many pixels."""
        bound = min(self.largest * self.usual_pixels, self.memory_pixels)
        return max((size for size in BATCH_SIZES if size <= self.largest and size * pixels <= bound), default=1)

    def filled(self, rows: int, pixels: int) -> int:
        """How many rows a batch of `rows` is filled up to."""
        return max(rows, self.best(pixels)) if self.fills else rows

    def shrink(self, rows: int, pixels: int) -> None:
        """A batch of so many rows did not fit into memory: from now on at most half of it."""
        self.memory_pixels = min(self.memory_pixels, rows * pixels / 2)
