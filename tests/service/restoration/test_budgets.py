"""A request gets the steps that fit into its time, and no more work, quota or memory than it may have."""

import time
from dataclasses import dataclass, replace

import pytest

from service.errors import DeadlineExceeded, QueueFull, TooLarge
from service.keys import RequestContext
from service.pictures.formats import FORMATS
from service.restoration.budgets import Budgets, EncodingCosts
from service.restoration.parameters import RestoreParameters
from service.sampling.work import Work
from service.scheduling.admission import Demand
from service.settings import Settings
from tests.service.fakes import model_of, picture

MODEL = model_of(min_steps=2, max_steps=10)
PNG = FORMATS["png"]


@dataclass
class FixedRate:
    """An estimator to which every call takes so many seconds; NaN while it knows nothing."""

    seconds: float

    def estimate(self, work: Demand, pictures: int = 1) -> float:
        return self.seconds * pictures * work.megapixel_steps / (64 * 64 / 1e6)


def steps_within(milliseconds: int, seconds_a_call: float, pictures: int = 1, **settings: float) -> int:
    budgets = Budgets(Settings(**settings), FixedRate(seconds_a_call))
    work = Work(MODEL, 10, 0, "r", "c", picture(64, 64))
    context = RequestContext("r", "c", time.monotonic())
    return budgets.fit(work, RestoreParameters(max_latency_ms=milliseconds), context, PNG, pictures).steps


def test_steps_are_chosen_to_meet_the_latency() -> None:
    assert steps_within(60_000, 2.0) == 10
    assert steps_within(11_000, 2.0) == 5
    with pytest.raises(DeadlineExceeded, match=r"the fewest steps of model fake, 2, would take about 4\.00 s now"):
        steps_within(3_000, 2.0)


def test_several_pictures_of_one_request_get_fewer_steps_than_one() -> None:
    assert steps_within(50_000, 2.0, pictures=1) == 10
    assert steps_within(50_000, 2.0, pictures=8) == 3


def test_before_the_first_measured_call_all_steps_stay() -> None:
    assert steps_within(1, float("nan")) == 10


def test_work_over_the_limit_is_refused_with_its_cost() -> None:
    with pytest.raises(TooLarge, match=r"64 x 64 pixels in 10 steps cost 0\.0 megapixel-steps; at most 0\.01 are allowed"):
        steps_within(60_000, 0.001, max_megapixel_steps=0.01)


def test_the_time_of_the_file_is_taken_from_the_steps() -> None:
    budgets = Budgets(Settings(), FixedRate(1.0))
    work = replace(Work(MODEL, 10, 0, "r", "c", picture(64, 64)))
    context = RequestContext("r", "c", time.monotonic())
    budgets.encoding.record(PNG, 10**6, 1000.0)  # 4.1 s for this picture
    assert budgets.fit(work, RestoreParameters(max_latency_ms=8_500), context, PNG).steps == 4


def test_old_and_small_measurements_of_encoding_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = EncodingCosts()
    costs.record(PNG, 64 * 64, 1.0)
    assert costs.seconds(PNG, 10**6) == 0
    costs.record(PNG, 10**6, 1.0)
    assert costs.seconds(PNG, 2 * 10**6) == pytest.approx(2.0)
    assert costs.seconds(FORMATS["webp"], 10**6) == 0
    monkeypatch.setattr("service.restoration.budgets.MAX_AGE_SECONDS", 0.0)
    assert costs.seconds(PNG, 10**6) == 0


def test_decoded_pictures_over_the_bound_are_refused_while_others_are_held() -> None:
    budgets = Budgets(Settings(max_held_megapixels=1.0), FixedRate(1.0))
    with (
        budgets.hold(3 * 10**6),
        pytest.raises(QueueFull, match="of 3 megapixels are in work; 1 are allowed"),
        budgets.hold(1),
    ):
        pass
    with budgets.hold(10**6):
        pass


async def test_work_that_fails_costs_no_quota() -> None:
    class SpentQuota:
        spent = 0.0

        async def spend(self, cost: float) -> None:
            self.spent += cost

        async def give_back(self, cost: float) -> None:
            self.spent -= cost

    budgets, context = Budgets(Settings(), FixedRate(1.0)), RequestContext("r", "c", 0.0, quota=SpentQuota())
    async with budgets.charge(context, 2.0):
        pass
    with pytest.raises(ValueError, match="broken"):
        async with budgets.charge(context, 3.0):
            raise ValueError("broken")
    assert context.quota.spent == 2.0
