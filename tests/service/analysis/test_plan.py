"""A plan: at most two tasks, in physical order, none below the thresholds."""

import pytest

from rddm.faults import FAULTS
from service.analysis.plan import ORDER, TASK_OF, planned

HALF = dict.fromkeys(FAULTS, 0.5)


def of(**probabilities: float) -> dict[str, float]:
    return {**dict.fromkeys(FAULTS, 0.0), **probabilities}


@pytest.mark.parametrize(
    ("probabilities", "plan"),
    [
        ({}, ()),
        ({"noise": 0.49, "rain": 0.49, "dark": 0.49}, ()),
        ({"noise": 0.5}, ("clean",)),
        ({"noise": 0.9, "jpeg": 0.9}, ("clean",)),
        ({"rain": 0.9, "jpeg": 0.7}, ("clean", "derain")),
        ({"dark": 0.9, "rain": 0.7}, ("derain", "lowlight")),
        ({"dark": 0.9, "noise": 0.9, "jpeg": 0.9}, ("lowlight",)),
        ({"rain": 0.9, "drops": 0.8, "haze": 0.7}, ("derain",)),
        ({"jpeg": 0.9, "drops": 0.8, "dark": 0.7}, ("raindrop", "lowlight")),
    ],
)
def test_a_plan_holds_what_is_over_its_threshold_in_the_order_of_repair(
    probabilities: dict[str, float], plan: tuple[str, ...]
) -> None:
    assert planned(of(**probabilities), HALF) == plan


def test_tasks_that_no_model_does_are_not_planned() -> None:
    assert planned(of(rain=0.9, jpeg=0.9), HALF, tasks={"clean"}) == ("clean",)


def test_every_fault_has_a_task_in_the_order() -> None:
    assert set(TASK_OF) == set(FAULTS)
    assert set(TASK_OF.values()) == set(ORDER)
