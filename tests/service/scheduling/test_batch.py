"""Rows of several callers are joined into one call and parted again."""

import asyncio

import numpy as np
import pytest

from service.engines.arrays import HOST
from service.engines.contract import Ticket
from service.scheduling.batch import Batch, QueuedRows, RequestState, fill, shape_of
from tests.service.serving import RESTORER, model

WEIGHTS = model(RESTORER).weights


def queued(value: float, rows: int = 1, request: str = "r", deadline: float | None = None, condition: bool = True) -> QueuedRows:
    x_t = np.full((rows, 3, 8, 16), value, np.float32)
    ticket = Ticket(WEIGHTS, request, "caller", deadline)
    inputs = (x_t, x_t + 1 if condition else None, np.full((rows, 2), value, np.float32))
    answer: asyncio.Future = asyncio.Future(loop=asyncio.new_event_loop())
    answer.get_loop().close()
    return QueuedRows(inputs, ticket, RequestState(ticket.caller, ticket.request), shape_of(x_t, ticket), answer, 0.0)


def test_rows_know_their_shape_and_size() -> None:
    rows = queued(1, rows=3)
    assert rows.shape == (WEIGHTS, 8, 16)
    assert (rows.rows, rows.megapixels) == (3, pytest.approx(3 * 8 * 16 / 1e6))


def test_a_batch_gives_each_item_its_own_rows_again() -> None:
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


def test_one_item_alone_is_not_copied() -> None:
    item = queued(1, 2)
    batch = Batch([item])
    assert all(joined is part for joined, part in zip(batch.join(HOST, 2), item.inputs, strict=True))
    [[output]] = batch.split((item.inputs[0],))
    assert np.shares_memory(output, item.inputs[0])
    assert batch.join(HOST, 4)[0].shape[0] == 4


def test_a_model_without_a_condition_has_none() -> None:
    assert Batch([queued(1, condition=False), queued(2, condition=False)]).join(HOST, 2)[1] is None
    assert fill(HOST, [None, None], 2) is None


@pytest.mark.parametrize(("deadlines", "latest"), [((5.0, 9.0), 9.0), ((5.0, None), None)])
def test_the_ticket_of_several_has_the_last_deadline_and_all_requests(deadlines: tuple, latest: float | None) -> None:
    ticket = Batch(
        [
            queued(1, request="a", deadline=deadlines[0]),
            queued(2, request="b", deadline=deadlines[1]),
            queued(3, request="a", deadline=1.0),
        ]
    ).ticket(lambda: None)
    assert (ticket.request, ticket.caller, ticket.deadline, ticket.weights) == ("a+b", "scheduler", latest, WEIGHTS)


def test_the_ticket_of_one_is_its_own_and_says_when_the_engine_begins() -> None:
    starts: list[str] = []
    ticket = Batch([queued(1, request="a", deadline=5.0)], exclusive=True).ticket(lambda: starts.append("now"))
    assert (ticket.request, ticket.caller, ticket.deadline, ticket.exclusive) == ("a", "caller", 5.0, True)
    assert ticket.on_start is not None
    ticket.on_start()
    assert starts == ["now"]


def test_an_error_reaches_whoever_still_waits() -> None:
    loop = asyncio.new_event_loop()
    waiting, gone = queued(1), queued(2)
    waiting.answer, gone.answer = loop.create_future(), loop.create_future()
    gone.answer.cancel()
    for item in (waiting, gone):
        item.fail(ValueError("no"))
    assert isinstance(waiting.answer.exception(), ValueError)
    assert gone.answer.cancelled()
    loop.close()
