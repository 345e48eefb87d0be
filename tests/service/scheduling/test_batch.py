"""Rows of several callers are joined into one call and parted again; no call is larger than what was proven."""

import numpy as np
import pytest

from service.engines.arrays import HOST
from service.engines.contract import Ticket
from service.scheduling.batch import SINGLE_ROWS, Batch, BatchSizes, QueuedRows, RequestState, fill
from tests.service.serving import RESTORER, model

WEIGHTS = model(RESTORER).weights


def queued(value: float, rows: int = 1, request: str = "r", deadline: float | None = None, condition: bool = True) -> QueuedRows:
    x_t = np.full((rows, 3, 8, 16), value, np.float32)
    inputs = (x_t, x_t + 1 if condition else None, np.full((rows, 2), value, np.float32))
    return QueuedRows(inputs, Ticket(WEIGHTS, request, "caller", deadline), RequestState("caller", request))


async def test_rows_know_their_shape_and_size() -> None:
    rows = queued(1, rows=3)
    assert rows.shape == (WEIGHTS, 8, 16)
    assert (rows.rows, rows.megapixels) == (3, pytest.approx(3 * 8 * 16 / 1e6))


async def test_a_batch_gives_each_item_its_own_rows_again() -> None:
    batch = Batch([queued(1, 2), queued(5), queued(7, 3)])
    x_t, condition, time = batch.join(HOST, 8)
    assert (x_t.shape[0], condition.shape[0], time.shape[0]) == (8, 8, 8)
    assert x_t[:, 0, 0, 0].tolist() == [1, 1, 5, 7, 7, 7, 7, 7]
    parts = batch.split((x_t, condition))
    assert [[out[:, 0, 0, 0].tolist() for out in outputs] for outputs in parts] == [
        [[1, 1], [2, 2]],
        [[5], [6]],
        [[7, 7, 7], [8, 8, 8]],
    ]


async def test_one_item_alone_is_not_copied() -> None:
    item = queued(1, 2)
    batch = Batch([item])
    assert all(joined is part for joined, part in zip(batch.join(HOST, 2), item.inputs, strict=True))
    [[output]] = batch.split((item.inputs[0],))
    assert np.shares_memory(output, item.inputs[0])
    assert batch.join(HOST, 4)[0].shape[0] == 4


async def test_a_model_without_a_condition_has_none() -> None:
    assert Batch([queued(1, condition=False), queued(2, condition=False)]).join(HOST, 2)[1] is None
    assert fill(HOST, [None, None], 2) is None


@pytest.mark.parametrize(("deadlines", "latest"), [((5.0, 9.0), 9.0), ((5.0, None), None)])
async def test_the_ticket_of_several_has_the_last_deadline_and_all_requests(deadlines: tuple, latest: float | None) -> None:
    ticket = Batch(
        [
            queued(1, request="a", deadline=deadlines[0]),
            queued(2, request="b", deadline=deadlines[1]),
            queued(3, request="a", deadline=1.0),
        ]
    ).ticket(lambda: None)
    assert (ticket.request, ticket.caller, ticket.deadline, ticket.weights) == ("a+b", "scheduler", latest, WEIGHTS)


async def test_the_ticket_of_one_is_its_own_and_says_when_the_engine_begins() -> None:
    starts: list[str] = []
    ticket = Batch([queued(1, request="a", deadline=5.0)], exclusive=True).ticket(lambda: starts.append("now"))
    assert (ticket.request, ticket.caller, ticket.deadline, ticket.exclusive) == ("a", "caller", 5.0, True)
    assert ticket.on_start is not None
    ticket.on_start()
    assert starts == ["now"]


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
