"""Outputs to (residual, noise, x_0): the table of spec section 1.4, its clips and its errors."""

from typing import Any

import numpy as np
import pytest

from rddm.objective import HEADS, check_method, methods, predict, times
from rddm.schedule import make_schedule
from rddm.spec import ModelSpec

FACTS = {"name": "a", "task": "b", "licence": "test"}
SHAPE = (1, 3, 4, 4)
T = 499


def fields(count: int) -> list[Any]:
    return list(np.random.default_rng(2).uniform(-3, 3, (count, *SHAPE)).astype(np.float32))


def predicted(objective: str, method: str | None = None, **changes: object) -> tuple[Any, list[Any], Any, Any, float, float]:
    """(prediction, outputs, x_t, x_in, alpha_bar, beta_bar) at T for random outputs beyond every clip."""
    spec = ModelSpec(**FACTS, objective=objective, method=method, **changes)
    schedule = make_schedule(spec.schedule, spec.timesteps)
    x_t, x_in, *outputs = fields(2 + len(HEADS[spec.objective]))
    x_in = x_in / 3
    return predict(spec, schedule, outputs, x_t, x_in, T), outputs, x_t, x_in, *schedule.at(T)


def test_pred_res_clips_the_residual_and_not_the_noise() -> None:
    p, (out,), x_t, x_in, alpha_bar, beta_bar = predicted("pred_res", residual_clip=1.0)
    np.testing.assert_allclose(p.res, out.clip(-1, 1))
    np.testing.assert_allclose(p.eps, (x_t - x_in - (alpha_bar - 1) * p.res) / beta_bar, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(p.x_0, (x_in - p.res).clip(-1, 1), atol=1e-6)
    assert np.abs(p.eps).max() > 1


def test_pred_noise_goes_through_x_0() -> None:
    p, (out,), x_t, x_in, alpha_bar, beta_bar = predicted("pred_noise", sm_n_inversion="authors", residual_clip=1.0)
    x_0 = ((x_t - alpha_bar * x_in - beta_bar * out) / (1 - alpha_bar)).clip(-1, 1)
    np.testing.assert_allclose(p.x_0, x_0, atol=1e-5)
    np.testing.assert_allclose(p.res, (x_in - x_0).clip(-1, 1), atol=1e-5)
    np.testing.assert_array_equal(p.eps, out)


def test_two_outputs_together() -> None:
    p, (res, eps), x_t, _, alpha_bar, beta_bar = predicted("pred_res_noise")
    np.testing.assert_allclose(p.res, res.clip(-2, 2))
    np.testing.assert_array_equal(p.eps, eps)
    np.testing.assert_allclose(p.x_0, (x_t - alpha_bar * p.res - beta_bar * eps).clip(-1, 1), atol=1e-5)


def test_x0_and_noise() -> None:
    p, (x_0, eps), _, x_in, _, _ = predicted("pred_x0_noise")
    np.testing.assert_allclose(p.res, (x_in - x_0).clip(-2, 2), atol=1e-6)
    np.testing.assert_array_equal(p.eps, eps)
    np.testing.assert_array_equal(p.x_0, x_0.clip(-1, 1))


def test_second_output_models_the_sum() -> None:
    p, (res, both), x_t, _, alpha_bar, beta_bar = predicted("pred_res_add_noise", residual_clip=1.0)
    np.testing.assert_allclose(p.eps, both - res)
    np.testing.assert_allclose(p.x_0, (x_t - alpha_bar * res.clip(-1, 1) - beta_bar * (both - res)).clip(-1, 1), atol=1e-5)
    p, (x_0, both), *_ = predicted("pred_x0_add_noise")
    np.testing.assert_allclose(p.eps, both - x_0)
    np.testing.assert_array_equal(p.x_0, x_0.clip(-1, 1))


def test_pred_x0_answers_from_the_clipped_residual() -> None:
    p, (out,), _, x_in, _, _ = predicted("pred_x0", residual_clip=1.0)
    np.testing.assert_allclose(p.res, (x_in - out).clip(-1, 1), atol=1e-6)
    np.testing.assert_allclose(p.x_0, (x_in - p.res).clip(-1, 1), atol=1e-6)


def test_x0_of_two_networks_sampled_by_it_alone() -> None:
    p, (x_0, _), x_t, x_in, alpha_bar, beta_bar = predicted("pred_x0_noise", "SM-Res")
    np.testing.assert_array_equal(p.x_0, x_0.clip(-1, 1))
    np.testing.assert_allclose(p.eps, (x_t - x_in - (alpha_bar - 1) * p.res) / beta_bar, rtol=1e-5, atol=1e-5)


def test_without_an_image_clip_x_0_is_left_alone() -> None:
    p, *_ = predicted("pred_res_noise", image_clip=None, residual_clip=None)
    assert np.abs(p.x_0).max() > 1


def test_natural_method_is_the_first_of_those_allowed() -> None:
    assert methods("pred_res_noise") == ("SM-Res-N", "SM-Res", "SM-N")
    assert check_method("pred_noise", None) == "SM-N"
    with pytest.raises(ValueError, match=r"pred_res cannot be sampled with 'SM-N'; expected one of \['SM-Res'\]"):
        check_method("pred_res", "SM-N")


def test_wrong_number_of_outputs_is_refused() -> None:
    spec = ModelSpec(**FACTS, objective="pred_res_noise")
    x = np.zeros(SHAPE, np.float32)
    with pytest.raises(ValueError, match="has 2 outputs, got 1"):
        predict(spec, make_schedule(spec.schedule, 1000), [x], x, x, T)


def test_what_the_networks_are_given() -> None:
    by_index, by_level = ModelSpec(**FACTS), ModelSpec(**FACTS, time_input="abar_bbar", objective="pred_res_noise")
    schedule = make_schedule(by_index.schedule, 1000)
    alpha_bar, beta_bar = schedule.at(T)
    assert times(by_index, schedule, T) == (T, T)
    assert times(by_level, schedule, T) == (alpha_bar * 1000, beta_bar * 1000)
    noise_alone = by_level.model_copy(update={"objective": "pred_noise"})
    assert times(noise_alone, schedule, T) == (beta_bar * 1000, beta_bar * 1000)


def test_damped_inversion_is_exact_where_the_equation_is_well_posed_and_empty_where_it_is_not() -> None:
    spec = ModelSpec(**FACTS, objective="pred_noise", image_clip=None, residual_clip=None)
    schedule = make_schedule(spec.schedule, 1000)
    x_0, x_in, eps = (field / 3 for field in fields(3))
    for t, share in ((0, 1.0), (499, 1.0), (799, 0.95), (999, 0.0)):
        x_t = schedule.diffuse(x_0, x_in, eps, t)
        res = predict(spec, schedule, [eps], x_t, x_in, t).res
        assert float((res * (x_in - x_0)).sum() / ((x_in - x_0) ** 2).sum()) == pytest.approx(share, abs=0.01)
