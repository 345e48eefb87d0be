"""A spec refuses what does not go together, and is the same after JSON."""

from typing import Any

import pytest
from pydantic import ValidationError

from rddm.spec import MOST_NOISE, Curve, ModelSpec, NamedSchedule, TableSchedule

FACTS: dict[str, Any] = {"name": "m", "task": "denoise", "licence": "Apache-2.0"}
GENERATOR: dict[str, Any] = {"start": "noise", "condition": (), "image_size": (32, 32)}


def spec(**changes: Any) -> ModelSpec:
    return ModelSpec.model_validate({**FACTS, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        GENERATOR,
        {
            "timesteps": 3,
            "max_steps": 3,
            "default_steps": 3,
            "schedule": {"kind": "table", "alpha_bar": (0, 0.5, 1), "beta_bar": (0, 2, 4)},
        },
        {"schedule": {"kind": "named", "alpha": {"name": "average", "exponent": 2}, "delta": {"name": "increased"}}},
        {"residual_clip": None, "image_clip": float("inf")},
    ],
)
def test_a_spec_is_the_same_after_json(changes: dict[str, Any]) -> None:
    made = spec(**changes)
    assert ModelSpec.model_validate_json(made.model_dump_json()) == made
    assert hash(made) == hash(spec(**changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 3}, "Extra inputs are not permitted"),
        ({"name": "Bad Name"}, "should match pattern"),
        ({"default_steps": 11}, "min <= default <= max <= T, got 1, 11, 10, 1000"),
        ({"begin": 0.005}, "got 1, 5, 10, 5"),
        (
            {"order": "residual_first", "update": "ancestral"},
            "order residual_first removes parts in turn, which update 'ancestral' cannot",
        ),
        ({"condition": ("image", "image")}, "lists something twice"),
        ({"sizes": [[64, 100]]}, "must be positive multiples of 8"),
        ({"tile": 100, "overlap": 8, "whole_max": 1}, "must be positive multiples of 8"),
        ({"tile": 32, "overlap": 24, "whole_max": 1}, "at most by half"),
        ({"start": "noise", "condition": ()}, "needs image_size"),
        ({"start": "noise"}, "needs a schedule with delta"),
        ({**GENERATOR, "image_size": (30, 32)}, r"image_size (30, 32) must be positive multiples of 8"),
        ({**GENERATOR, "scale": 2}, "scale 2 enlarges a given picture"),
        ({"objective": "pred_drift"}, "needs beta2 'bridge'"),
        ({"condition": ("image", "exposed", "code")}, "need an exposure"),
        ({"schedule": {"kind": "table", "alpha_bar": (0, 1), "beta_bar": (0, 1)}}, "the schedule has 2 values, T is 1000"),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        spec(**changes)
    assert words in str(wrong.value)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (((0.0, 1.0), (0.0,), None), "alpha_bar has 2 values and beta_bar 1"),
        (((0.0, 1.5), (0.0, 1.0), None), "alpha_bar holds a value outside 0..1"),
        (((0.0, 1.0), (0.0, MOST_NOISE**0.5 + 1), None), "beta_bar holds a value outside 0..4"),
        (((0.0, 1.0), (0.0, 1.0), (0.0, -1.0)), "delta_bar holds a value outside 0..1"),
        (((0.0, float("nan")), (0.0, 1.0), None), "alpha_bar holds a value outside 0..1"),
    ],
)
def test_tables_have_one_value_a_time_and_stay_in_their_range(tables: tuple, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TableSchedule(alpha_bar=tables[0], beta_bar=tables[1], delta_bar=tables[2])


def test_what_a_spec_says_of_itself() -> None:
    assert (spec().generates, spec(**GENERATOR).generates) == (False, True)
    assert spec(condition=("image", "mask", "context")).condition_channels == 9
    assert (spec().sees_context, spec(condition=("image", "context")).sees_context) == (False, True)
    assert (spec().first_index, spec(begin=0.25).first_index) == (999, 249)
    assert spec(start="noise", schedule=NamedSchedule(delta=Curve(name="increased"))).takes_image_away


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        spec().name = "other"
