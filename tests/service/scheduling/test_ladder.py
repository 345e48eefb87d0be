"""Batch sizes are used when they pay, on the evidence of several comparisons, and memory's limit is kept."""

import math
import random

import pytest

from service.scheduling.ladder import TRIALS, Ladder


def climbed(seconds_of, times: int = TRIALS) -> Ladder:
    """A ladder after so many comparisons of each size with the one below."""
    ladder = Ladder()
    for size in (2, 4, 8, 16):
        for _ in range(times):
            ladder.record(size // 2, seconds_of(size // 2))
            ladder.record(size, seconds_of(size))
    return ladder


@pytest.mark.parametrize(
    ("seconds_of", "sizes"),
    [
        (lambda rows: 0.01 * rows, (1,)),
        (lambda rows: 0.01 + 0.001 * rows, (1, 2, 4, 8, 16)),
        (lambda rows: 0.01 * rows / 1.04 ** math.log2(rows), (1,)),
        (lambda rows: 0.01 * rows / 1.06 ** math.log2(rows), (1, 2, 4, 8, 16)),
        (lambda rows: 0.01 + 0.01 * max(0, rows - 4), (1, 2, 4)),
    ],
)
def test_a_size_is_used_if_it_yields_a_twentieth_more_than_the_one_below(seconds_of, sizes: tuple[int, ...]) -> None:
    assert climbed(seconds_of).sizes == sizes


def test_few_lucky_calls_are_not_enough() -> None:
    ladder = Ladder()
    for _ in range(TRIALS - 1):
        ladder.record(1, 0.01)
        ladder.record(2, 0.01)
    assert ladder.best == 1


def test_one_slow_call_is_not_evidence_against_many() -> None:
    ladder = Ladder()
    for _ in range(TRIALS):
        ladder.record(1, 0.01)
    ladder.record(1, 0.015)
    for _ in range(2 * TRIALS):
        ladder.record(2, 0.02)
    assert ladder.best == 1
    assert len(ladder.trials[2]) == 1


def test_one_call_that_seems_to_have_taken_no_time_decides_nothing() -> None:
    ladder = Ladder()
    for k in range(2 * TRIALS):
        ladder.record(1, 0.01)
        ladder.record(2, 1e-9 if k == 3 else 0.02)
    assert ladder.best == 1


def test_a_machine_that_slows_down_does_not_look_like_batches_that_pay() -> None:
    ladder = climbed(lambda rows: 0.01 * rows)
    for _ in range(100):
        ladder.record(1, 0.05)
    assert ladder.sizes == (1,)


@pytest.mark.parametrize(("gain", "sizes"), [(1.0, (1,)), (1.1, (1, 2))])
def test_what_runs_beside_on_the_machine_decides_nothing(gain: float, sizes: tuple[int, ...]) -> None:
    """Every other call takes up to twice as long as it would alone."""
    draw, found = random.Random(0), []
    for _ in range(100):
        ladder = Ladder()
        for _ in range(2 * TRIALS - 1):
            ladder.record(1, 0.01 * draw.choice((1, draw.uniform(1, 2))))
            ladder.record(2, 0.02 / gain * draw.choice((1, draw.uniform(1, 2))))
        found.append(ladder.sizes)
    assert found.count(sizes) >= 97


def test_now_and_then_the_sizes_beside_the_best_are_tried_again() -> None:
    ladder, tried = climbed(lambda rows: 0.01 + 0.01 * max(0, rows - 4)), []
    for _ in range(2000):
        tried.append(ladder.room(16, probe_every=32))
        ladder.record(tried[-1], 0.01 + 0.01 * max(0, tried[-1] - 4))
    assert set(tried) == {2, 4, 8}
    assert tried.count(4) > 1800


def test_a_size_that_pays_no_more_is_left() -> None:
    ladder = climbed(lambda rows: 0.01)
    for _ in range(2000):
        rows = ladder.room(16, probe_every=32)
        ladder.record(rows, 0.01 * rows)
    assert ladder.best == 1


def test_memory_bounds_the_ladder() -> None:
    ladder = climbed(lambda rows: 0.01)
    ladder.shrink(8)
    assert ladder.best == 4


@pytest.mark.parametrize(("facts", "padded"), [({}, 3), ({"plans": True}, 4), ({"only": 8}, 8)])
def test_batches_are_filled_up_only_where_they_must_be(facts: dict, padded: int) -> None:
    ladder = climbed(lambda rows: 0.01)
    for name, value in facts.items():
        setattr(ladder, name, value)
    assert ladder.padded(3) == padded


def test_seconds_are_told_in_proportion_to_the_nearest_measured_size() -> None:
    ladder = Ladder()
    assert math.isnan(ladder.seconds_of(1))
    ladder.record(2, 0.2)
    assert ladder.seconds_of(3) == pytest.approx(0.3)
