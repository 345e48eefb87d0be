"""Ratios are of the same round, so that a machine that slows down slows both; what scatters is one start and the next."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import figures
from benchmarks.contenders import Burst, RequestLoad
from benchmarks.scenarios import (
    SCENARIOS,
    Bench,
    Beside,
    Bursts,
    Crowd,
    Offered,
    Ratios,
    in_turns,
    interval_of,
)


def rounds(*seconds: float) -> list[Burst]:
    return [Burst(1, one, one, 0.0, [one]) for one in seconds]


def start(*ratios: float) -> Bursts:
    """Rounds of a machine that grows slower, in which the gateway takes so many times as long as the bare loop."""
    bare = [float(2**k) for k in range(len(ratios))]
    return {"bare loop": rounds(*bare), "gateway": rounds(*(one * ratio for one, ratio in zip(bare, ratios, strict=True)))}


def test_ratios_are_of_one_round_and_their_mean_of_all_starts() -> None:
    ratios = Ratios.of([start(1.1, 1.2, 1.3), start(1.0, 2.7, 0.9)], lambda burst: burst.seconds)
    assert ratios.by_start == {"bare loop": [1.0, 1.0], "gateway": pytest.approx([1.2, 1.0])}
    assert ratios.mean["gateway"] == pytest.approx(math.sqrt(1.2))


def test_the_interval_is_students_of_the_logarithms() -> None:
    """The table has 4.303 for 2 degrees of freedom."""
    ratios = [math.exp(-0.1), 1.0, math.exp(0.1)]
    spread = math.exp(4.3027 * 0.1 / math.sqrt(3))
    assert interval_of(ratios) == pytest.approx((1 / spread, spread), rel=1e-4)
    assert interval_of([1.0]) is None


FOUND = {
    "one-caller": start(1.0, 1.1),
    "many-callers": Crowd({1: 9.0, 2: 8.0, 4: 7.0, 8: 6.0}, start(1.0, 1.1)),
    "mixed-steps": start(1.0, 1.1),
    "mixed-sizes": Beside(rounds(0.1, 0.1), rounds(0.2, 0.15), [20.0]),
    "offered-load": Offered(
        9.0, {"gateway": [{"share": share, "p95_ms": 100.0 * share, "broken": share > 0.8} for share in (0.7, 0.8, 0.9)]}
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_reports_of_several_starts_can_be_kept_printed_and_drawn(name: str, tmp_path: Path) -> None:
    report = SCENARIOS[name].report([FOUND[name]] * 3)
    (tmp_path / f"{name}.json").write_text(json.dumps(report))
    assert figures.headline(name, report)
    figures.draw(tmp_path)
    assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_what_is_held_and_what_waits_is_reported_of_all_starts() -> None:
    loads = [
        Offered(9.0, {"gateway": [{"share": share, "p95_ms": 1.0, "broken": share > most} for share in (0.3, 0.7, 0.8, 0.9)]})
        for most in (0.9, 0.3, 0.7)
    ]
    assert SCENARIOS["offered-load"].report(loads)["share_held"] == {"gateway": 0.7}
    sizes = [Beside(rounds(0.1, 0.1), rounds(0.1, beside), [20.0]) for beside in (0.2, 0.4, 0.1)]
    report = SCENARIOS["mixed-sizes"].report(sizes)
    assert report["p95_over_alone"] == pytest.approx(2.0)
    assert report["p95_over_alone_by_start"] == pytest.approx([2.0, 4.0, 1.0])


def test_the_first_to_run_changes_from_start_to_start() -> None:
    class Asked:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, load: RequestLoad) -> Burst:
            order.append(self.name)
            return Burst(load.count, 1.0, 1.0, 0.0, [1.0])

    order: list[str] = []
    bench = Bench(Path("small"), Path("large"), 2, 10, 2, lambda _: None)
    for start in range(3):
        in_turns(replace(bench, start=start), [Asked(name) for name in "abc"], bench.load(1))
    assert order[::3] == ["a", "b", "c", "a", "b", "c"]
