"""What is asked of the contenders, in turns, so that a busy machine is equally busy for all; and what the answers come to."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.contenders import Bare, Burst, Contender, Field, RequestLoad, Served
from benchmarks.loop import CORES

BATCHES = (1, 2, 4, 8)
BROKEN = 5.0  # times the lone median: the p95 over which a service counts as overrun
SHARES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.1)
LOAD_SECONDS = 5.0  # of each share
MOST_BROKEN = 2  # shares at which a server breaks before it is asked no more
Report = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What all scenarios share. tick is called after each burst with what was run. own_seeds: see RequestLoad."""

    small: Path
    large: Path
    steps: int
    most_steps: int
    rounds: int
    tick: Callable[[str], None]
    own_seeds: bool = False

    def load(self, count: int, callers: int = 1, *, steps: tuple[int, ...] | None = None, rate: float | None = None) -> RequestLoad:
        """So many small pictures, in the default number of steps unless others are named."""
        return RequestLoad(count, steps or (self.steps,), callers, rate, self.small, self.own_seeds)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share of them does not exceed; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def summary(bursts: Iterable[Burst]) -> Report:
    """Of all rounds of one contender."""
    bursts = list(bursts)
    latencies = [seconds for burst in bursts for seconds in burst.latencies]
    return {
        "pictures": len(latencies),
        "refused": sum(burst.refused for burst in bursts),
        "median_ms": 1000 * statistics.median(latencies) if latencies else None,
        "p95_ms": 1000 * percentile(latencies, 0.95) if latencies else None,
        "per_second": statistics.median(burst.per_second(CORES) for burst in bursts),
        "cpu_ms": 1000 * statistics.median(burst.cpu / burst.count for burst in bursts),
        "seconds": [burst.seconds for burst in bursts],
    }


def in_turns(bench: Bench, contenders: Sequence[Contender], load: RequestLoad) -> dict[str, list[Burst]]:
    """Every contender in every round; who begins changes from round to round. Each burst begins with requests not measured."""
    load = replace(load, warm_up=max(2, load.callers))
    bursts: dict[str, list[Burst]] = {contender.name: [] for contender in contenders}
    for turn in range(bench.rounds):
        shift = turn % len(contenders)
        for contender in [*contenders[shift:], *contenders[:shift]]:
            bursts[contender.name].append(contender.run(load))
            bench.tick(f"round {turn + 1}: {contender.name}")
    return bursts


def compared(bursts: dict[str, list[Burst]], measure: Callable[[Burst], float]) -> dict[str, float]:
    """Each contender's measure over the bare loop's of the same round: the median of the rounds."""
    return {name: statistics.median(ratios) for name, ratios in by_round(bursts, measure).items()}


def scatter(bursts: dict[str, list[Burst]], measure: Callable[[Burst], float]) -> dict[str, tuple[float, float]]:
    """What the rounds say of those medians: the quarter of them below, and the quarter above."""
    return {name: (percentile(ratios, 0.25), percentile(ratios, 0.75)) for name, ratios in by_round(bursts, measure).items()}


def by_round(bursts: dict[str, list[Burst]], measure: Callable[[Burst], float]) -> dict[str, list[float]]:
    """Each contender's measure over the bare loop's, round by round."""
    return {
        name: [measure(one) / measure(other) for one, other in zip(found, bursts["bare loop"], strict=True)]
        for name, found in bursts.items()
    }


def one_caller(field: Field, bench: Bench) -> Report:
    """256x256, default steps, one caller: seconds and CPU seconds relative to the bare loop.

    Short bursts, many rounds: what a machine's neighbours do to it changes from second to second.
    """
    bursts = in_turns(replace(bench, rounds=2 * bench.rounds), field.all, bench.load(16))
    return {
        "contenders": {name: summary(found) for name, found in bursts.items()},
        "wall_over_bare": compared(bursts, lambda burst: statistics.median(burst.latencies)),
        "wall_scatter": scatter(bursts, lambda burst: statistics.median(burst.latencies)),
        "fastest_over_bare": compared(bursts, lambda burst: min(burst.latencies)),
        "cpu_over_bare": compared(bursts, lambda burst: burst.cpu),
    }


def many_callers(field: Field, bench: Bench) -> Report:
    """256x256, default steps, 16 callers: pictures a second relative to the bare loop at its best batch size.

    Six requests a caller, so that the first and the last, beside which cores are idle, do not count for much.
    """
    load = bench.load(96, 16)
    batches = {}
    for batch in BATCHES:
        field.bare.batch = batch
        batches[batch] = statistics.median(field.bare.run(replace(load, count=32)).per_second(CORES) for _ in range(3))
        bench.tick(f"bare loop in batches of {batch}")
    field.bare.batch = max(batches, key=lambda batch: batches[batch])
    bursts = in_turns(bench, field.all, load)
    report = {
        "contenders": {name: summary(found) for name, found in bursts.items()},
        "bare_batches": batches,
        "throughput_over_bare": compared(bursts, lambda burst: burst.per_second(CORES)),
        "throughput_scatter": scatter(bursts, lambda burst: burst.per_second(CORES)),
        "cpu_over_bare": compared(bursts, lambda burst: burst.cpu),
    }
    field.bare.batch = 1
    return report


def mixed_steps(field: Field, bench: Bench) -> Report:
    """16 callers who ask for different numbers of steps: nobody's batch is the other's."""
    steps = tuple(sorted({min(asked, bench.most_steps) for asked in (2, 5, 10)}))
    bursts = in_turns(bench, field.all, bench.load(48, 16, steps=steps))
    return {
        "steps": steps,
        "contenders": {name: summary(found) for name, found in bursts.items()},
        "throughput_over_bare": compared(bursts, lambda burst: burst.per_second(CORES)),
    }


def mixed_sizes(field: Field, bench: Bench) -> Report:
    """One caller's 256x256 pictures alone and while the gateway restores a 3840x2160 one for another caller."""
    load, large = bench.load(16), RequestLoad(1, (bench.steps,), 1, file=bench.large)
    beside_of = replace_lines(field.gateway, field)
    alone, beside, seconds = [], [], []
    with ThreadPoolExecutor(1) as background:
        for turn in range(bench.rounds):
            alone.append(field.gateway.run(load))
            running = background.submit(beside_of.run, large)
            while not running.done():
                burst = field.gateway.run(replace(load, count=1))
                if not running.done():
                    beside.append(burst)
            seconds.append(running.result().seconds)
            bench.tick(f"round {turn + 1}")
    lone = summary(alone)
    busy = summary(beside)
    return {
        "alone": lone,
        "beside_4k": busy,
        "large_seconds": seconds,
        "p95_over_alone": busy["p95_ms"] / lone["p95_ms"],
        "median_over_alone": busy["median_ms"] / lone["median_ms"],
    }


def replace_lines(served: Served, field: Field) -> Served:
    """The same server asked by the second group of callers, with pictures of its own."""
    return Served(served.name, served.style, served.url, served.rest, field.beside, first=2**23)


def offered_load(field: Field, bench: Bench) -> Report:
    """Requests that arrive evenly, more and more a second, until the p95 breaks: the share of the bare loop's throughput served."""
    bare = statistics.median(field.bare.run(bench.load(32, 16)).per_second(CORES) for _ in range(3))
    servers = [field.gateway, *field.peers]
    lone = {served.name: statistics.median(served.run(bench.load(12)).latencies) for served in servers}
    runs: dict[str, list[Report]] = {served.name: [] for served in servers}
    for turn, share in enumerate(SHARES):
        for served in [*servers[turn % len(servers) :], *servers[: turn % len(servers)]]:
            if sum(run["broken"] for run in runs[served.name]) < MOST_BROKEN:
                runs[served.name].append(loaded(served, bench, share, share * bare, lone[served.name]))
                bench.tick(f"{served.name} at {share:.0%}")
    held = {name: max((run["share"] for run in found if not run["broken"]), default=0.0) for name, found in runs.items()}
    return {"bare_per_second": bare, "broken_at": BROKEN, "runs": runs, "share_held": held}


def loaded(served: Served, bench: Bench, share: float, rate: float, lone: float) -> Report:
    """One server at so many pictures a second; lone: its median seconds for one caller."""
    burst = served.run(bench.load(max(20, round(rate * LOAD_SECONDS)), rate=rate))
    p95 = percentile(burst.latencies, 0.95)
    return {
        "share": share,
        "rate": rate,
        "median_ms": 1000 * percentile(burst.latencies, 0.5),
        "p95_ms": 1000 * p95,
        "p95_over_lone": p95 / lone,
        "refused": burst.refused,
        "broken": burst.refused > 0 or not p95 <= BROKEN * lone,
    }


SCENARIOS: dict[str, Callable[[Field, Bench], Report]] = {
    "one-caller": one_caller,
    "many-callers": many_callers,
    "mixed-steps": mixed_steps,
    "mixed-sizes": mixed_sizes,
    "offered-load": offered_load,
}
__all__ = ["CORES", "SCENARIOS", "Bare", "Bench", "Report", "summary"]
