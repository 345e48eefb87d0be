"""Tables: closed forms of the paper, names, and the forward process."""

import numpy as np
import pytest

from rddm.schedule import CURVES, make_schedule, with_curves
from rddm.spec import Curve, NamedSchedule, TableSchedule

T = 1000
t = np.arange(T)


def of(alpha: str, beta2: str, **settings: float) -> NamedSchedule:
    return NamedSchedule(alpha=Curve(name=alpha), beta2=Curve(name=beta2), **settings)


@pytest.mark.parametrize("sum_scale", [1.0, 0.01])
def test_default_schedule_has_the_closed_form_of_experiment_2(sum_scale: float) -> None:
    schedule = make_schedule(NamedSchedule(sum_scale=sum_scale), T)
    np.testing.assert_allclose(schedule.alpha_bar, (t + 1) * (2 * T - t) / (T * (T + 1)), atol=1e-12)
    np.testing.assert_allclose(schedule.beta_bar**2, sum_scale * (t + 1) * (t + 2) / (T * (T + 1)), atol=1e-12)
    assert schedule.start_noise == sum_scale**0.5


def test_linspace_schedule_has_the_closed_form_of_experiment_6() -> None:
    schedule = make_schedule(of("decreased_linspace", "increased_linspace"), T)
    np.testing.assert_allclose(schedule.alpha_bar, (t + 1) * (2 * T - 2 - t) / (T * (T - 1)), atol=1e-6)
    np.testing.assert_allclose(schedule.beta_bar**2, t * (t + 1) / (T * (T - 1)), atol=1e-6)
    assert schedule.beta_bar[0] == 0
    assert 1 - schedule.alpha_bar[T - 2] == 0


@pytest.mark.parametrize(
    ("index", "ramp", "linspace", "converted"),
    [
        (999, (1.0, 1.0), (1.0, 1.0), (0.9936472, 0.9999799)),
        (499, (0.7497503, 0.5002497), (0.7502503, 0.4997497), (0.7196659, 0.9599025)),
        (199, (0.3598402, 0.2003992), (0.3601602, 0.1995992), (0.1881881, 0.5839190)),
        (0, (0.0019980, 0.0014135), (0.0020000, 0.0), (0.0000500, 0.0100008)),
    ],
)
def test_values_on_the_usual_grids(
    index: int, ramp: tuple[float, ...], linspace: tuple[float, ...], converted: tuple[float, ...]
) -> None:
    schedules = (NamedSchedule(), of("decreased_linspace", "increased_linspace"), of("ddim_linear", "ddim_linear"))
    for spec, expected in zip(schedules, (ramp, linspace, converted), strict=True):
        assert make_schedule(spec, T).at(index) == pytest.approx(expected, abs=2e-7)


@pytest.mark.parametrize("alpha", CURVES)
@pytest.mark.parametrize("beta2", CURVES)
def test_any_alpha_goes_with_any_beta(alpha: str, beta2: str) -> None:
    schedule = make_schedule(of(alpha, beta2), T)
    for table in (schedule.alpha_bar, schedule.beta_bar):
        assert table.shape == (T,)
        assert table.dtype == np.float64
        assert (np.diff(table) >= 0).all()
        assert table[0] >= 0
    assert schedule.alpha_bar[-1] == pytest.approx(1, abs=0.07)
    assert schedule.beta_bar[-1] == pytest.approx(0.75**0.5 if beta2 == "resfusion" else 1, abs=0.07)


@pytest.mark.parametrize("exponent", [0.5, 2.0, 3.0])
def test_exponent_shapes_the_ramp(exponent: float) -> None:
    curve = Curve(name="increased", exponent=exponent)
    increments = make_schedule(NamedSchedule(alpha=curve), T).alphas
    np.testing.assert_allclose(increments / increments[-1], ((t + 1) / T) ** exponent, atol=1e-9)


@pytest.mark.parametrize("part", ["alpha", "beta2"])
def test_unknown_name_raises_with_the_list(part: str) -> None:
    with pytest.raises(ValueError, match=r"unknown schedule 'linaer'; expected one of .*'average'.*'normal'"):
        make_schedule(NamedSchedule(**{part: Curve(name="linaer")}), T)


def test_before_the_first_index_there_is_neither_residual_nor_noise() -> None:
    schedule = make_schedule(NamedSchedule(), T)
    assert schedule.at(-1) == (0.0, 0.0)
    with pytest.raises(ValueError, match=r"t = 1000 is outside -1\.\.999"):
        schedule.at(T)


def test_table_is_taken_as_it_is() -> None:
    schedule = make_schedule(TableSchedule(alpha_bar=(0.25, 1.0), beta_bar=(0.5, 0.75), sum_scale=0.25), 2)
    assert [schedule.at(i) for i in (0, 1)] == [(0.25, 0.5), (1.0, 0.75)]
    assert schedule.start_noise == 0.5


def test_curves_are_exchanged_one_at_a_time() -> None:
    schedule = make_schedule(NamedSchedule(sum_scale=0.01), T)
    changed = with_curves(schedule, Curve(name="average"), None)
    np.testing.assert_allclose(changed.alphas, 1 / T)
    np.testing.assert_array_equal(changed.beta_bar, schedule.beta_bar)
    noisier = with_curves(schedule, None, Curve(name="average"))
    np.testing.assert_allclose(noisier.betas2, 0.01 / T)


def test_diffusion_ends_at_the_given_picture_and_noise() -> None:
    schedule = make_schedule(NamedSchedule(sum_scale=0.25), T)
    x_0, x_in, eps = np.random.default_rng(0).standard_normal((3, 1, 3, 4, 4), dtype=np.float32)
    np.testing.assert_allclose(schedule.diffuse(x_0, x_in, eps, T - 1), x_in + 0.5 * eps, atol=1e-6)
