"""Ratios are of the same round, so that a machine that slows down slows both; their scatter is told beside them."""

import pytest

from benchmarks.contenders import Burst
from benchmarks.scenarios import compared, scatter


def rounds(*seconds: float) -> list[Burst]:
    return [Burst(1, one, one, 0.0, [one]) for one in seconds]


def test_ratios_are_of_one_round_and_tell_their_scatter() -> None:
    bursts = {"bare loop": rounds(1, 2, 4, 8), "gateway": rounds(1.1, 2.2, 4.8, 12)}
    assert compared(bursts, lambda burst: burst.seconds) == pytest.approx({"bare loop": 1.0, "gateway": 1.15})
    assert scatter(bursts, lambda burst: burst.seconds)["gateway"] == pytest.approx((1.1, 1.2))
