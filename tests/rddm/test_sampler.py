"""The sampler: grids, the oracle property, orders and updates, NumPy against torch."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rddm.objective import HEADS, Prediction, methods, predict, targets
from rddm.sampler import Question, philox_noise, run, sample, sigma_squared, timesteps, trace
from rddm.schedule import Schedule, make_schedule
from rddm.spec import Curve, ModelSpec, NamedSchedule

FACTS = {"name": "a", "task": "b", "licence": "test", "max_steps": 1000}
STEPS = [1, 2, 3, 5, 10, 26, 100, 1000]
SHAPE = (1, 3, 8, 8)


def pictures(start: str = "image") -> tuple[Any, Any]:
    """x_0 and x_in, in [-1, 1]; the residual spans more than [-1, 1]."""
    x_0, x_in = np.random.default_rng(0).uniform(-1, 1, (2, *SHAPE)).astype(np.float32)
    return x_0, x_in if start == "image" else np.zeros_like(x_in)


def oracle(spec: ModelSpec, schedule: Schedule, x_0: Any, x_in: Any) -> Callable[[Question], Prediction]:
    """Outputs of a network that knows x_0 and reads the noise of every x_t off it."""

    def answer(question: Question) -> Prediction:
        alpha_bar, beta_bar = schedule.at(question.t)
        res = x_in - x_0
        eps = (question.x_t - x_0 - alpha_bar * res) / beta_bar if beta_bar else 0 * x_0
        return predict(spec, schedule, targets(spec.objective, x_0, res, eps), question.x_t, x_in, question.t)

    return answer


def error_of_the_oracle(spec: ModelSpec, steps: int) -> float:
    schedule, (x_0, x_in) = make_schedule(spec.schedule, spec.timesteps), pictures(spec.start)
    actual = run(sample(spec, schedule, x_in, philox_noise(1, *SHAPE[1:]), steps), oracle(spec, schedule, x_0, x_in))
    return float(np.abs(actual - x_0).max())


# What Resfusion and I2SB model needs their schedules: tests/rddm/test_relatives.py.
CASES = [(objective, method) for objective in list(HEADS)[:7] for method in methods(objective)]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(("objective", "method"), [case for case in CASES if case[1] != "SM-N"])
def test_perfect_predictions_recover_the_clean_picture(objective: str, method: str, steps: int) -> None:
    assert error_of_the_oracle(ModelSpec(**FACTS, objective=objective, method=method), steps) < 1e-5


@pytest.mark.parametrize("steps", STEPS[1:])
@pytest.mark.parametrize("objective", ["pred_noise", "pred_res_noise", "pred_x0_noise"])
def test_perfect_noise_recovers_it_from_two_steps_on(objective: str, steps: int) -> None:
    """Damping leaves up to 0.16 % of the residual at the last index of two steps: less than half a level of an 8-bit file."""
    assert error_of_the_oracle(ModelSpec(**FACTS, objective=objective, method="SM-N"), steps) < 1 / 255


def test_one_step_of_noise_alone_can_only_return_the_given_picture() -> None:
    """x_T = x_in + beta_bar eps holds nothing of x_0: the damped answer is residual 0, the authors' is +-1 almost everywhere."""
    spec = ModelSpec(**FACTS, objective="pred_noise")
    schedule, (x_0, x_in) = make_schedule(spec.schedule, 1000), pictures()
    sampling = sample(spec, schedule, x_in, philox_noise(1, *SHAPE[1:]), 1)
    np.testing.assert_allclose(run(sampling, oracle(spec, schedule, x_0, x_in)), x_in, atol=1e-6)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("schedule", ["ddim_linear", "ddim_scaled_linear"])
def test_perfect_noise_recovers_a_generated_picture(schedule: str, steps: int) -> None:
    named = NamedSchedule(alpha=Curve(name=schedule), beta2=Curve(name=schedule))
    spec = ModelSpec(**FACTS, objective="pred_noise", start="noise", condition=(), image_size=SHAPE[2:], schedule=named)
    assert error_of_the_oracle(spec, steps) < 1e-3


@pytest.mark.parametrize("order", ["residual_first", "noise_first"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_two_passes_recover_it_and_ask_twice_as_often(order: str, steps: int) -> None:
    spec = ModelSpec(**FACTS, objective="pred_res_noise", order=order)
    assert error_of_the_oracle(spec, steps) < 1e-5
    schedule, (x_0, x_in) = make_schedule(spec.schedule, 1000), pictures()
    asked = list(trace(sample(spec, schedule, x_in, philox_noise(1, *SHAPE[1:]), steps), oracle(spec, schedule, x_0, x_in)))
    assert len(asked) == 2 * steps + 1


def test_first_pass_leaves_the_noise_where_it_is() -> None:
    spec = ModelSpec(**FACTS, objective="pred_res_noise", order="residual_first")
    schedule, (x_0, x_in) = make_schedule(spec.schedule, 1000), pictures()
    eps = philox_noise(1, *SHAPE[1:])
    truth = Prediction(x_in - x_0, eps(0), x_0)
    states = list(trace(sample(spec, schedule, x_in, eps, 5), lambda _: truth))
    for t, x_t in zip(timesteps(spec, 5)[:-1], states[:5], strict=True):
        np.testing.assert_allclose(x_t, x_0 + schedule.at(t)[0] * (x_in - x_0) + eps(0), atol=1e-5)
    np.testing.assert_array_equal(states[5], x_0)
    for t, x_t in zip(timesteps(spec, 5)[:-1], states[5:10], strict=True):
        np.testing.assert_allclose(x_t, x_0 - (1 - schedule.at(t)[1]) * eps(0), atol=1e-5)


@pytest.mark.parametrize("steps", [2, 10, 1000])
def test_ancestral_sampling_recovers_it(steps: int) -> None:
    assert error_of_the_oracle(ModelSpec(**FACTS, objective="pred_res_noise", update="ancestral"), steps) < 1e-5


def test_ancestral_step_is_the_step_with_full_eta() -> None:
    """Unclipped, the posterior's mean and variance are those of equation 12 with eta = 1."""
    x_0, x_in = pictures()
    results = []
    for changes in ({"update": "ancestral"}, {"eta": 1.0}):
        spec = ModelSpec(**FACTS, objective="pred_res_noise", **changes)
        schedule = make_schedule(spec.schedule, 1000)
        results.append(
            list(trace(sample(spec, schedule, x_in, philox_noise(1, *SHAPE[1:]), 10), oracle(spec, schedule, x_0, x_in)))
        )
    for ancestral, full_eta in zip(*results, strict=True):
        np.testing.assert_allclose(ancestral, full_eta, atol=1e-5)


def test_recomposed_update_equals_the_subtracting_one_where_nothing_is_clipped() -> None:
    x_0, x_in = pictures()
    results = []
    for update in ("noise", "recomposed"):
        spec = ModelSpec(**FACTS, objective="pred_res_noise", update=update, eta=0.5)
        schedule = make_schedule(spec.schedule, 1000)
        results.append(
            list(trace(sample(spec, schedule, x_in, philox_noise(1, *SHAPE[1:]), 10), oracle(spec, schedule, x_0, x_in)))
        )
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_ddim_variance_is_rddms_over_the_level_reached() -> None:
    """A' times DDIM's variance is RDDM's; in eta one is quadratic, the other linear."""
    named = NamedSchedule(alpha=Curve(name="ddim_linear"), beta2=Curve(name="ddim_linear"))
    schedule = make_schedule(named, 1000)
    rddm, ddim = (ModelSpec(**FACTS, schedule=named, eta=0.5, variance=kind) for kind in ("rddm", "ddim"))
    level = (1 - schedule.at(399)[0]) ** 2
    assert sigma_squared(ddim, schedule, 499, 399) * level == pytest.approx(0.5 * sigma_squared(rddm, schedule, 499, 399), rel=1e-6)


@pytest.mark.parametrize(
    ("steps", "grid"), [(1, [999, -1]), (2, [999, 499, -1]), (3, [999, 665, 332, -1]), (5, [999, 799, 599, 399, 199, -1])]
)
@pytest.mark.parametrize("kind", ["even", "authors"])
def test_usual_grids(steps: int, grid: list[int], kind: str) -> None:
    assert timesteps(ModelSpec(**FACTS, grid=kind), steps) == grid


def test_authors_grid_lands_one_lower_at_84_step_counts() -> None:
    ours, theirs = ModelSpec(**FACTS), ModelSpec(**FACTS, grid="authors")
    different = [steps for steps in range(1, 1001) if timesteps(ours, steps) != timesteps(theirs, steps)]
    assert len(different) == 84
    assert {26, 52, 60} <= set(different)


def test_leading_grid_is_diffusers() -> None:
    assert timesteps(ModelSpec(**FACTS, grid="leading"), 5) == [800, 600, 400, 200, 0, -1]


@given(steps=st.integers(1, 1000), total=st.integers(1, 1000))
def test_grid_descends_from_the_last_index_to_the_clean_picture(steps: int, total: int) -> None:
    spec = ModelSpec(name="a", task="b", licence="c", timesteps=total, default_steps=1, max_steps=total)
    if steps > total:
        with pytest.raises(ValueError, match="outside 1"):
            timesteps(spec, steps)
        return
    grid = timesteps(spec, steps)
    assert (len(grid), grid[0], grid[-1]) == (steps + 1, total - 1, -1)
    assert all(a > b for a, b in pairwise(grid))


@pytest.mark.parametrize(("objective", "method"), CASES)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_torch_gives_what_numpy_gives(objective: str, method: str, eta: float) -> None:
    torch = pytest.importorskip("torch")
    spec = ModelSpec(**FACTS, objective=objective, method=method, eta=eta)
    schedule, (_, x_in), noise = make_schedule(spec.schedule, 1000), pictures(), philox_noise(3, *SHAPE[1:])
    wrong = np.random.default_rng(5).standard_normal((2, *SHAPE), dtype=np.float32) * np.float32(0.7)
    outputs = wrong[: len(HEADS[objective])]

    def answer(outputs: Any, x_in: Any) -> Callable[[Question], Prediction]:
        return lambda q: predict(spec, schedule, outputs, q.x_t, x_in, q.t)

    of_numpy = run(sample(spec, schedule, x_in, noise, 5), answer(list(outputs), x_in))
    tensors, given_tensor = [torch.from_numpy(out.copy()) for out in outputs], torch.from_numpy(x_in)
    of_torch = run(sample(spec, schedule, given_tensor, lambda k: torch.from_numpy(noise(k)), 5), answer(tensors, given_tensor))
    assert of_numpy.dtype == np.float32
    assert of_torch.dtype == torch.float32
    np.testing.assert_allclose(of_numpy, of_torch.numpy(), atol=2e-6)


@pytest.mark.parametrize("update", ["recomposed", "ancestral"])
def test_two_passes_refuse_an_update_that_removes_both_at_once(update: str) -> None:
    with pytest.raises(ValueError, match=f"order noise_first removes parts in turn, which update '{update}' cannot"):
        ModelSpec(name="a", task="a", licence="a", order="noise_first", update=update)
