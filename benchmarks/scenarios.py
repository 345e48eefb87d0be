"""What is asked of the contenders, in turns, so that a busy machine is equally busy for all; and what the answers come to."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scipy.special import stdtrit

from benchmarks.contenders import Bare, Burst, Contender, Field, RequestLoad, Served
from benchmarks.loop import CORES

BATCHES = (1, 2, 4, 8)
BROKEN = 5.0  # times the lone median: the p95 over which a service counts as overrun
SHARES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.1)
LOAD_SECONDS = 5.0  # of each share
MOST_BROKEN = 2  # shares at which a server breaks before it is asked no more
Report = dict[str, Any]
Bursts = dict[str, list[Burst]]  # by contender, in the order of the rounds


@dataclass(frozen=True)
class Bench:
    """What all scenarios share. tick is called after each burst with what was run. own_seeds: see RequestLoad.

    start: how often the contenders were started before; the first of its first round is the one that would have been next.
    """

    small: Path
    large: Path
    steps: int
    most_steps: int
    rounds: int
    tick: Callable[[str], None]
    own_seeds: bool = False
    start: int = 0

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


def in_turns(bench: Bench, contenders: Sequence[Contender], load: RequestLoad) -> Bursts:
    """Every contender in every round; the first changes from round to round, on from start to start.

    Each burst begins with requests that are not measured.
    """
    load = replace(load, warm_up=max(2, load.callers))
    bursts: Bursts = {contender.name: [] for contender in contenders}
    for turn in range(bench.rounds):
        shift = (bench.start * bench.rounds + turn) % len(contenders)
        for contender in [*contenders[shift:], *contenders[:shift]]:
            bursts[contender.name].append(contender.run(load))
            bench.tick(f"round {turn + 1}: {contender.name}")
    return bursts


def joined(starts: Sequence[Bursts]) -> Bursts:
    """Those of all starts."""
    return {name: [burst for bursts in starts for burst in bursts[name]] for name in starts[0]}


@dataclass(frozen=True)
class Ratios:
    """Each contender's measure over the bare loop's.

    A round's ratio is of bursts one soon after the other, so that a machine that slows down slows both; a start's is the median
    of its rounds. by_start: those; a process keeps its luck (where its memory lies) until it ends, so starts are what scatters.
    mean: the geometric mean of the starts. interval: where it lies with 95 % certainty (Student's t); None of a single start.
    """

    by_start: dict[str, list[float]]
    mean: dict[str, float]
    interval: dict[str, tuple[float, float] | None]

    @classmethod
    def of(cls, starts: Sequence[Bursts], measure: Callable[[Burst], float]) -> "Ratios":
        """One of all starts."""
        by_start = {name: [_median_ratio(bursts[name], bursts[Bare.name], measure) for bursts in starts] for name in starts[0]}
        mean = {name: statistics.geometric_mean(ratios) for name, ratios in by_start.items()}
        return cls(by_start, mean, {name: interval_of(ratios) for name, ratios in by_start.items()})

    def reported(self, name: str) -> Report:
        """As a report has it."""
        return {name: self.mean, f"{name}_interval": self.interval, f"{name}_by_start": self.by_start}


def _median_ratio(bursts: list[Burst], bare: list[Burst], measure: Callable[[Burst], float]) -> float:
    return statistics.median(measure(one) / measure(other) for one, other in zip(bursts, bare, strict=True))


def interval_of(ratios: Sequence[float]) -> tuple[float, float] | None:
    """Where the geometric mean of what these were drawn from lies, with 95 % certainty."""
    if len(ratios) < 2:
        return None
    logs = [math.log(ratio) for ratio in ratios]
    spread = statistics.stdev(logs) / math.sqrt(len(logs)) * float(stdtrit(len(logs) - 1, 0.975))
    return math.exp(statistics.mean(logs) - spread), math.exp(statistics.mean(logs) + spread)


def one_caller(field: Field, bench: Bench) -> Bursts:
    """256x256, default steps, one caller.

    Short bursts, many rounds: what a machine's neighbours do to it changes from second to second.
    """
    return in_turns(replace(bench, rounds=2 * bench.rounds), field.all, bench.load(16))


def one_caller_report(starts: Sequence[Bursts]) -> Report:
    """Seconds and CPU seconds relative to the bare loop."""
    return (
        summaries(joined(starts))
        | Ratios.of(starts, lambda burst: statistics.median(burst.latencies)).reported("wall_over_bare")
        | Ratios.of(starts, lambda burst: min(burst.latencies)).reported("fastest_over_bare")
        | Ratios.of(starts, lambda burst: burst.cpu).reported("cpu_over_bare")
    )


def summaries(bursts: Bursts) -> Report:
    """Of each contender."""
    return {"contenders": {name: summary(outcome) for name, outcome in bursts.items()}}


@dataclass(frozen=True)
class Crowd:
    """batches: pictures a second of the bare loop, by its batch size. bursts: with the best one."""

    batches: dict[int, float]
    bursts: Bursts

    @property
    def best(self) -> int:
        """The batch size with which it is fastest."""
        return max(self.batches, key=lambda batch: self.batches[batch])


def many_callers(field: Field, bench: Bench) -> Crowd:
    """256x256, default steps, 16 callers, and the bare loop at its best batch size.

    Six requests a caller, so that the first and the last, beside which cores are idle, do not count for much.
    """
    load = bench.load(96, 16)
    crowd = Crowd({}, {})
    for batch in BATCHES:
        field.bare.batch = batch
        crowd.batches[batch] = statistics.median(field.bare.run(replace(load, count=32)).per_second(CORES) for _ in range(3))
        bench.tick(f"bare loop in batches of {batch}")
    field.bare.batch = crowd.best
    crowd.bursts.update(in_turns(bench, field.all, load))
    field.bare.batch = 1
    return crowd


def many_callers_report(starts: Sequence[Crowd]) -> Report:
    """Pictures a second relative to the bare loop's."""
    bursts = [crowd.bursts for crowd in starts]
    return (
        summaries(joined(bursts))
        | {"bare_batches": {batch: statistics.median(crowd.batches[batch] for crowd in starts) for batch in BATCHES}}
        | {"bare_batch_by_start": [crowd.best for crowd in starts]}
        | Ratios.of(bursts, lambda burst: burst.per_second(CORES)).reported("throughput_over_bare")
        | Ratios.of(bursts, lambda burst: burst.cpu).reported("cpu_over_bare")
    )


def mixed_steps(field: Field, bench: Bench) -> Bursts:
    """16 callers that ask for different numbers of steps, so that two requests rarely go through the same steps together."""
    steps = tuple(sorted({min(asked, bench.most_steps) for asked in (2, 5, 10)}))
    return in_turns(bench, field.all, bench.load(48, 16, steps=steps))


def mixed_steps_report(starts: Sequence[Bursts]) -> Report:
    """Pictures a second relative to the bare loop's."""
    return summaries(joined(starts)) | Ratios.of(starts, lambda burst: burst.per_second(CORES)).reported("throughput_over_bare")


@dataclass(frozen=True)
class Beside:
    """One caller's small pictures alone, and beside large ones, which took so many seconds."""

    alone: list[Burst]
    beside: list[Burst]
    large_seconds: list[float]


def mixed_sizes(field: Field, bench: Bench) -> Beside:
    """One caller's 256x256 pictures alone and while the gateway restores a 3840x2160 one for another caller."""
    load, large = bench.load(16), RequestLoad(1, (bench.steps,), 1, file=bench.large)
    beside_of = replace_lines(field.gateway, field)
    outcome = Beside([], [], [])
    with ThreadPoolExecutor(1) as background:
        for turn in range(bench.rounds):
            outcome.alone.append(field.gateway.run(load))
            running = background.submit(beside_of.run, large)
            while not running.done():
                burst = field.gateway.run(replace(load, count=1))
                if not running.done():
                    outcome.beside.append(burst)
            outcome.large_seconds.append(running.result().seconds)
            bench.tick(f"round {turn + 1}")
    return outcome


def mixed_sizes_report(starts: Sequence[Beside]) -> Report:
    """How much longer the small pictures take."""
    alone = [burst for outcome in starts for burst in outcome.alone]
    beside = [burst for outcome in starts for burst in outcome.beside]
    kinds = [summary(alone), summary(beside)]
    by_start = [summary(outcome.beside)["p95_ms"] / summary(outcome.alone)["p95_ms"] for outcome in starts]
    return {
        "alone": kinds[0],
        "beside_4k": kinds[1],
        "large_seconds": [seconds for outcome in starts for seconds in outcome.large_seconds],
        "p95_over_alone": statistics.geometric_mean(by_start),
        "p95_over_alone_interval": interval_of(by_start),
        "p95_over_alone_by_start": by_start,
        "median_over_alone": kinds[1]["median_ms"] / kinds[0]["median_ms"],
    }


def replace_lines(served: Served, field: Field) -> Served:
    """The same server asked by the second group of callers, with pictures of its own."""
    return Served(served.name, served.style, served.url, served.rest, field.beside, first=2**23)


@dataclass(frozen=True)
class Offered:
    """The bare loop's pictures a second, and each server's runs at shares of them."""

    bare: float
    runs: dict[str, list[Report]]


def offered_load(field: Field, bench: Bench) -> Offered:
    """Requests that arrive evenly, more and more a second, until the p95 breaks."""
    bare = statistics.median(field.bare.run(bench.load(32, 16)).per_second(CORES) for _ in range(3))
    servers = [field.gateway, *field.peers]
    lone = {served.name: statistics.median(served.run(bench.load(12)).latencies) for served in servers}
    runs: dict[str, list[Report]] = {served.name: [] for served in servers}
    for turn, share in enumerate(SHARES, bench.start):
        for served in [*servers[turn % len(servers) :], *servers[: turn % len(servers)]]:
            if sum(run["broken"] for run in runs[served.name]) < MOST_BROKEN:
                runs[served.name].append(loaded(served, bench, share, share * bare, lone[served.name]))
                bench.tick(f"{served.name} at {share:.0%}")
    return Offered(bare, runs)


def offered_load_report(starts: Sequence[Offered]) -> Report:
    """The share of the bare loop's throughput that each server holds: the median of the starts."""
    held = {
        name: [max((run["share"] for run in outcome.runs[name] if not run["broken"]), default=0.0) for outcome in starts]
        for name in starts[0].runs
    }
    return {
        "bare_per_second": statistics.median(outcome.bare for outcome in starts),
        "broken_at": BROKEN,
        "runs": {name: [run for outcome in starts for run in outcome.runs[name]] for name in held},
        "share_held": {name: statistics.median(shares) for name, shares in held.items()},
        "share_held_by_start": held,
    }


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


@dataclass(frozen=True)
class Scenario:
    """measure: what one start of all contenders yields. report: what the starts come to."""

    measure: Callable[[Field, Bench], Any]
    report: Callable[[Sequence[Any]], Report]


SCENARIOS: dict[str, Scenario] = {
    "one-caller": Scenario(one_caller, one_caller_report),
    "many-callers": Scenario(many_callers, many_callers_report),
    "mixed-steps": Scenario(mixed_steps, mixed_steps_report),
    "mixed-sizes": Scenario(mixed_sizes, mixed_sizes_report),
    "offered-load": Scenario(offered_load, offered_load_report),
}
