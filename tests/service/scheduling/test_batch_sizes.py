"""Batch sizes: single rows before any is proven, fewer rows where they are larger, half after out-of-memory."""

import pytest

from service.scheduling.batch_sizes import SINGLE_ROWS, BatchSizes


def test_before_anything_is_proven_rows_are_called_by_themselves() -> None:
    assert SINGLE_ROWS.best(64 * 64) == 1
    assert SINGLE_ROWS.filled(1, 64 * 64) == 1


def test_a_batch_holds_no_more_pixels_than_the_proven_one() -> None:
    sizes = BatchSizes(8, 800)
    assert [sizes.best(pixels) for pixels in (50, 100, 101, 200, 400, 1000)] == [8, 8, 4, 4, 2, 1]


def test_out_of_memory_halves_the_batch_at_every_size() -> None:
    sizes = BatchSizes(8, 800).without(8, 100)
    assert (sizes.best(100), sizes.best(50)) == (4, 8)
    sizes = sizes.without(4, 100)
    assert (sizes.best(100), sizes.best(50)) == (2, 4)


def test_where_bytes_depend_on_the_size_every_batch_is_filled_up_to_one() -> None:
    sizes = BatchSizes(4, 400, fills=True)
    assert [sizes.filled(rows, 100) for rows in (1, 3, 4)] == [4, 4, 4]
    assert sizes.filled(1, 200) == 2


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rows = 3; expected one of \[1, 2, 4, 8, 16\]"):
        BatchSizes(3, 300)
