"""Which batch sizes one model is called with: only what was proven to pay and to keep every row's bytes."""

from dataclasses import dataclass, replace

from rddm.graph import BATCH_SIZES


@dataclass(frozen=True)
class BatchSizes:
    """rows: of the largest batch. pixels: of all its rows together, so that batches of larger rows have fewer of them.

    fills: every batch is filled up to that size, since a row's bytes depend on it.
    """

    rows: int
    pixels: float
    fills: bool = False

    def __post_init__(self) -> None:
        if self.rows not in BATCH_SIZES:
            raise ValueError(f"rows = {self.rows}; expected one of {list(BATCH_SIZES)}")

    def best(self, pixels: int) -> int:
        """Rows of the largest batch of rows of so many pixels."""
        return max((size for size in BATCH_SIZES if size <= self.rows and size * pixels <= self.pixels), default=1)

    def filled(self, rows: int, pixels: int) -> int:
        """How many rows a batch of `rows` is filled up to."""
        return max(rows, self.best(pixels)) if self.fills else rows

    def without(self, rows: int, pixels: int) -> "BatchSizes":
        """A batch of so many rows did not fit into memory: from now on at most half of it."""
        return replace(self, pixels=min(self.pixels, rows * pixels / 2))


SINGLE_ROWS = BatchSizes(1, 1)
