"""Conversions: what is the same by another name is converted, and nothing else."""

import pytest

from rddm.equivalence import TOLERANCE, convert, difference, random_network, sampled
from rddm.relatives import relative_spec
from rddm.spec import Curve, ModelSpec, NamedSchedule

FACTS = {"name": "mine", "task": "b", "licence": "test", "image_size": (64, 64), "image_clip": None}


@pytest.mark.parametrize(
    ("source", "target", "update"),
    [
        ("ddim", "rddm", "noise"),
        ("ddpm", "ddim", "recomposed"),
        ("cold", "rddm", "noise"),
        ("indi", "rddm", "noise"),
        ("indi-brownian", "resshift", "interpolated"),
        ("resshift", "rddm", "noise"),
        ("i2sb-ode", "indi", "interpolated"),
    ],
)
def test_equal_methods_are_converted(source: str, target: str, update: str) -> None:
    spec = relative_spec(source, **FACTS)
    conversion = convert(spec, target)
    assert conversion.difference <= TOLERANCE
    assert conversion.spec.update == update
    assert conversion.spec.schedule == spec.schedule


def test_a_conversion_there_and_back_is_the_same_sampler() -> None:
    spec = relative_spec("ddim", **FACTS)
    assert difference(spec, convert(convert(spec, "rddm").spec, "ddim").spec) <= TOLERANCE


def test_under_clipping_resshift_is_the_ancestral_sampler_and_not_the_subtracting_one() -> None:
    spec = relative_spec("resshift", **{**FACTS, "image_clip": 1.0})
    assert convert(spec, "rddm").spec.update == "ancestral"


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (
            "cold",
            "cold-naive",
            r"is no 'cold-naive' by another name: over 100 random networks its pictures differ by up to \d",
        ),
        ("rddm", "cold", "its schedule is not one of those without noise"),
        ("rddm", "indi", "its schedule is not one of those with beta_bar proportional to alpha_bar"),
        ("sr3", "resshift", "it starts from 'noise'"),
        ("diffuir", "rddm", "in order 'residual_only', that from 'image' in 'simultaneous'"),
        ("i2sb", "rddm", "by another name"),
    ],
)
def test_others_are_refused_with_the_reason(source: str, target: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert(relative_spec(source, **FACTS), target)


def test_clipping_is_named_where_it_alone_makes_the_difference() -> None:
    spec = relative_spec("ddim", **{**FACTS, "image_clip": 1.0})
    with pytest.raises(ValueError, match="without clipping they would be the same"):
        convert(spec, "rddm")


def test_a_generator_of_ramps_is_no_ddim() -> None:
    spec = ModelSpec(**FACTS, start="noise", condition=(), schedule=NamedSchedule(alpha=Curve(name="average")))
    with pytest.raises(ValueError, match="keep the variance"):
        convert(spec, "ddim")


def test_random_networks_differ_and_repeat() -> None:
    spec = relative_spec("rddm", **FACTS)
    one, again, other = (sampled(spec, random_network(seed), 2, 0) for seed in (0, 0, 1))
    assert (one == again).all()
    assert not (one == other).all()
