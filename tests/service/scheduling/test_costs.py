"""What calls cost: when one that is alone is given the whole engine."""

import pytest

from rddm.model import Weights
from service.scheduling.costs import LATEST, PASSED_OVER, Costs, Shape

SHAPE: Shape = (Weights("m", 1, "none"), 256, 256)


def costs_of(*lone: float, beside: float = 0.030) -> Costs:
    """After one call beside others and these with the whole engine, in seconds."""
    costs = Costs(plans=False, probe_every=32)
    costs.record(SHAPE, 1, beside)
    for seconds in lone:
        costs.record(SHAPE, 1, seconds, alone=True)
    return costs


@pytest.mark.parametrize(
    "lone", [(), (0.020,), (0.031,), (0.050, 0.020, 0.050)], ids=["untried", "faster", "as fast", "once faster"]
)
def test_a_lone_call_has_the_whole_engine_unless_that_is_slower(lone: tuple[float, ...]) -> None:
    assert costs_of(*lone).takes_all(SHAPE)


def test_a_whole_engine_that_is_slower_is_tried_again_now_and_then() -> None:
    costs = costs_of(*[0.050] * LATEST)
    assert [costs.takes_all(SHAPE) for _ in range(PASSED_OVER + 1)] == [False] * PASSED_OVER + [True]
    costs.record(SHAPE, 1, 0.050, alone=True)
    assert not costs.takes_all(SHAPE)
    costs.record(SHAPE, 1, 0.020, alone=True)
    assert costs.takes_all(SHAPE)


def test_where_nothing_is_known_of_calls_beside_others_a_lone_one_has_the_whole_engine() -> None:
    costs = Costs(plans=False, probe_every=32)
    costs.record(SHAPE, 1, 0.050, alone=True)
    assert costs.takes_all(SHAPE)
