"""When calls began, against an engine that is simulated moment by moment."""

import random

import pytest

from service.scheduling.occupancy import KEPT, Occupancy


@pytest.mark.parametrize("instances", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_calls_begin_when_an_instance_is_free_for_them(instances: int, seed: int) -> None:
    draw = random.Random(seed)
    occupancy, free, now = Occupancy(), [0.0] * instances, 0.0
    running: list[tuple[float, int, float, float]] = []  # end, number, came, began
    for _ in range(3 * KEPT):
        now += draw.expovariate(1.0)
        for end, number, came, began in sorted(running):
            if end <= now:
                assert occupancy.began(number, came, instances) == began
                occupancy.leave(end)
        running = [call for call in running if call[0] > now]
        began = max(now, min(free))
        free[free.index(min(free))] = end = began + draw.expovariate(0.9 / instances)
        running.append((end, occupancy.enter(), now, began))


def test_a_long_call_beside_short_ones_is_told_in_full() -> None:
    occupancy = Occupancy()
    long, first, second = (occupancy.enter() for _ in range(3))
    assert occupancy.began(first, 0.0, 2) == 0.0
    occupancy.leave(1.0)
    assert occupancy.began(second, 0.0, 2) == 1.0
    occupancy.leave(2.0)
    assert occupancy.began(long, 0.0, 2) == 0.0
