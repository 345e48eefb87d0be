"""Costs are learnt from real calls: by shape, by pixels where the shape is new, unknown before the first."""

import math

import pytest

from rddm.model import Weights
from service.scheduling.costs import MOST_SHAPES, Costs

WEIGHTS = Weights("m", 1, "none")
SHAPE = (WEIGHTS, 100, 200)


def test_before_the_first_call_nothing_is_known() -> None:
    assert math.isnan(Costs().call_seconds(SHAPE))
    assert math.isnan(Costs().seconds_per_megapixel(WEIGHTS))


def test_a_shape_that_was_never_called_costs_by_its_pixels() -> None:
    costs = Costs()
    costs.record(SHAPE, 2, 0.08)
    assert costs.call_seconds(SHAPE) == pytest.approx(0.04)
    assert costs.call_seconds((WEIGHTS, 200, 200)) == pytest.approx(0.08)
    assert math.isnan(costs.call_seconds((WEIGHTS._replace(version=2), 100, 200)))


def test_a_call_of_all_cores_says_nothing_of_one_beside_others() -> None:
    costs = Costs()
    costs.record(SHAPE, 1, 0.02, exclusive=True)
    assert math.isnan(costs.call_seconds(SHAPE))
    costs.record(SHAPE, 1, 0.04)
    assert (costs.call_seconds(SHAPE), costs.call_seconds(SHAPE, exclusive=True)) == (0.04, 0.02)


def test_a_running_mean_follows_slowly() -> None:
    costs = Costs()
    costs.record(SHAPE, 1, 1.0)
    costs.record(SHAPE, 1, 2.0)
    assert costs.call_seconds(SHAPE) == pytest.approx(1.1)


def test_what_an_earlier_process_measured_gives_way_to_the_first_call() -> None:
    costs = Costs()
    costs.set_rate(WEIGHTS, 3.0)
    assert costs.call_seconds(SHAPE) == pytest.approx(0.06)
    assert not costs.is_measured(WEIGHTS)
    costs.record(SHAPE, 1, 0.02)
    assert costs.seconds_per_megapixel(WEIGHTS) == pytest.approx(1.0)
    assert costs.is_measured(WEIGHTS)


def test_few_shapes_are_remembered() -> None:
    costs = Costs()
    for width in range(MOST_SHAPES + 5):
        costs.record((WEIGHTS, 8, 8 + width), 1, 1.0 + width)
    assert len(costs._calls) == MOST_SHAPES
