"""The exported graph's inputs and outputs by name and shape, and what is refused of them."""

import numpy as np
import pytest

from rddm.graph import check_feeds, check_finite, check_outputs, input_dims, input_shapes, output_names, to_feeds
from rddm.spec import ModelSpec

SPEC = ModelSpec(name="m", task="m", licence="Apache-2.0", condition=("image", "context"), size_multiple=8)
BARE = SPEC.model_copy(update={"condition": ()})


def feeds_of(spec: ModelSpec = SPEC, height: int = 16, **changes: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in input_shapes(spec, 2, height, 24).items()} | changes


def test_inputs_are_named_and_shaped_by_the_spec() -> None:
    assert input_dims(SPEC) == {"x_t": (3, -1, -1), "condition": (6, -1, -1), "time": (2,)}
    assert input_shapes(SPEC, 4, 16, 24) == {"x_t": (4, 3, 16, 24), "condition": (4, 6, 16, 24), "time": (4, 2)}
    assert set(input_dims(BARE)) == {"x_t", "time"}


def test_outputs_are_as_many_as_the_objective_has_heads() -> None:
    assert output_names(SPEC) == ["out_0"]
    assert output_names(SPEC.model_copy(update={"objective": "pred_res_noise"})) == ["out_0", "out_1"]


def test_feeds_leave_out_a_condition_that_is_not_there() -> None:
    assert set(to_feeds(1, None, 2)) == {"x_t", "time"}
    assert to_feeds(1, 3, 2) == {"x_t": 1, "time": 2, "condition": 3}


def test_feeds_that_fit_are_taken() -> None:
    check_feeds(SPEC, feeds_of())
    check_feeds(BARE, feeds_of(BARE))


@pytest.mark.parametrize(
    ("spec", "feeds", "complaint"),
    [
        (BARE, feeds_of(SPEC), r"'m' takes \['time', 'x_t'\], got \['condition', 'time', 'x_t'\]"),
        (SPEC, feeds_of(time=np.zeros((2, 3))), r"time of model 'm' has shape \(2, 3\); expected \(2, 2\)"),
        (SPEC, feeds_of(condition=np.zeros((1, 6, 16, 24))), r"condition of model 'm' has shape \(1, 6, 16, 24\)"),
        (SPEC, feeds_of(height=12), "multiples of 8, got 12 x 24"),
    ],
)
def test_feeds_that_do_not_fit_are_named(spec: ModelSpec, feeds: dict[str, np.ndarray], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_feeds(spec, feeds)


def test_outputs_have_the_shape_of_x_t_and_are_finite() -> None:
    x_t = np.zeros((1, 3, 8, 8), np.float32)
    check_outputs(SPEC, [x_t], x_t)
    check_finite(SPEC, [x_t])
    with pytest.raises(ValueError, match="gave 2 outputs; expected 1"):
        check_outputs(SPEC, [x_t, x_t], x_t)
    with pytest.raises(ValueError, match=r"out_0 of model 'm' has shape \(1, 3, 8, 4\)"):
        check_outputs(SPEC, [x_t[..., :4]], x_t)
    with pytest.raises(ValueError, match="out_0 of model 'm' holds values that are not finite"):
        check_finite(SPEC, [x_t + np.nan])
