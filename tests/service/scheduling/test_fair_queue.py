"""Shares of a fair queue: equal among callers whatever they send, by weight among requests, and no credit for idleness."""

from collections import Counter

from service.scheduling.fair_queue import FairQueue


def drained(queue: FairQueue, count: int) -> list:
    return [queue.take(lambda _: True) for _ in range(count)]


def test_callers_share_equally_whatever_they_queue() -> None:
    queue: FairQueue[str] = FairQueue()
    for request in range(10):
        for _ in range(10):
            queue.push("flood", f"r{request}", "flood", 1.0)
    for _ in range(10):
        queue.push("other", "r", "other", 1.0)
    assert Counter(drained(queue, 20)) == {"flood": 10, "other": 10}


def test_a_callers_requests_share_by_cost() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(100):
        queue.push("c", "large", "large", 1.0)
        queue.push("c", "small", "small", 0.25)
    assert Counter(drained(queue, 50))["small"] == 40


def test_idleness_earns_no_credit() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(40):
        queue.push("busy", "r", "busy", 1.0)
    drained(queue, 20)
    for _ in range(20):
        queue.push("late", "r", "late", 1.0)
    assert 4 <= Counter(drained(queue, 10))["late"] <= 6


def test_items_of_a_request_keep_their_order_and_one_put_back_is_next() -> None:
    queue: FairQueue[int] = FairQueue()
    for i in range(4):
        queue.push("c", "r", i, 1.0)
    first = queue.take(lambda _: True)
    queue.push("c", "r", first, 0.0, first=True)
    assert drained(queue, 4) == [0, 1, 2, 3]


def test_only_acceptable_heads_are_taken() -> None:
    queue: FairQueue[int] = FairQueue()
    for i in range(4):
        queue.push("c", f"r{i}", i, 1.0)
    assert queue.take(lambda item: item == 2) == 2
    assert queue.take(lambda item: item == 2) is None
    assert len(queue) == 3


def test_what_is_taken_is_the_fairest_of_those_that_are_acceptable() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("a", "r", "first", 1.0)
    queue.push("b", "r", "second", 1.0)
    assert queue.take(lambda _: False) is None
    assert (queue.take(), queue.take()) == ("first", "second")
    assert len(queue) == 0


def test_discarded_and_forgotten_items_leave_nothing() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.push("c", "r", 1, 1.0)
    queue.discard("c", "r", 1)
    queue.discard("c", "r", 1)
    queue.discard("nobody", "r", 1)
    queue.forget("c", "r")
    assert len(queue) == 0
    assert queue.take() is None
    assert queue.callers == 0
