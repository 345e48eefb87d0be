"""What may be believed of an engine's answer."""

from typing import Any

import numpy as np
import pytest

from rddm.graph import TIME, X_T
from rddm.model import Golden, Model, golden_input
from service.engines.checks import check_feeds, check_finite, check_golden, check_outputs, raised_as
from service.errors import BadAnswer, EngineUnavailable, InvalidValue
from tests.service.serving import RESTORER, model

MODEL = model(RESTORER)
GIVEN = golden_input(RESTORER)


class Answers:
    """An engine that answers with x_t and a little more."""

    def __init__(self, more: float) -> None:
        self.more = more

    async def predict(self, x_t: Any, *_: Any) -> tuple[Any, ...]:
        return (x_t + np.float32(self.more),)


def golden_model() -> Model:
    return Model(RESTORER, 3, MODEL.digest, Golden(GIVEN[X_T], 1e-3))


def test_feeds_that_fit_the_graph_pass_and_others_are_the_callers_fault() -> None:
    check_feeds(GIVEN, MODEL)
    with pytest.raises(InvalidValue, match=TIME):
        check_feeds({**GIVEN, TIME: GIVEN[TIME][:, :1]}, MODEL)


@pytest.mark.parametrize("outputs", [(), (GIVEN[X_T], GIVEN[X_T]), (GIVEN[X_T][:, :2],)])
def test_answers_of_another_shape_are_the_engines_fault(outputs: tuple[Any, ...]) -> None:
    check_outputs((GIVEN[X_T],), GIVEN[X_T], MODEL)
    with pytest.raises(BadAnswer):
        check_outputs(outputs, GIVEN[X_T], MODEL)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_not_finite_are_refused(value: float) -> None:
    answer = GIVEN[X_T].copy()
    check_finite((answer,), MODEL)
    answer[0, 0, 3, 3] = value
    with pytest.raises(BadAnswer):
        check_finite((answer,), MODEL)


async def test_the_golden_answer_tells_right_from_wrong() -> None:
    await check_golden(Answers(1e-4), golden_model())  # type: ignore[arg-type]
    with pytest.raises(
        EngineUnavailable, match=r"version 3 of model 'lowlight' is 0.25 away from its golden answer; at most 0.001"
    ):
        await check_golden(Answers(0.5), golden_model())  # type: ignore[arg-type]
    with pytest.raises(EngineUnavailable, match="inf away"):
        await check_golden(Answers(float("nan")), golden_model())  # type: ignore[arg-type]


def test_only_a_wrong_value_becomes_the_services_error() -> None:
    with pytest.raises(BadAnswer, match="words"), raised_as(BadAnswer):
        raise ValueError("words")
    with pytest.raises(KeyError), raised_as(BadAnswer):
        raise KeyError("other")
