"""Many requests against a real gateway process: a mixed load with bad input, callers that hang up, and servers that are killed.

python -m benchmarks.endurance [--requests 10000] [--triton [--servers 1] [--kill-every 2000]] [-o benchmarks/results]

Every request must be answered as it should be (`benchmarks.mixture` judges): none lost, none hung; the same request always with the
same bytes; 5xx only with a problem body, and only while no engine lives. Memory of the gateway and its picture processes is read
after every ROUND requests, when nothing is in work: over the second half it may not grow by 1 % of its mean. In the end nothing is
left in work, and SIGTERM ends it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
from rich.progress import Progress

from benchmarks.builds import address_of
from benchmarks.machine import machine
from benchmarks.mixture import Mixture, Outcome
from docker.triton.server import Server, running
from service.settings import shipped_repository

CALLERS = 16
HUNG_SECONDS, READY_SECONDS, SETTLE_SECONDS = 90.0, 300.0, 10.0
NOTICE_SECONDS = 10.0  # in which a gateway notices that a server is there again, and proves it
LONGEST_WAIT = 2.0  # of a caller with a Retry-After
BEAT_SECONDS, PAUSE_SECONDS = 0.5, 5.0
ROUND, REST_SECONDS = 250, 1.0
MOST_GROWTH = 1.0
GAUGES = ("rddm_pending_megapixel_steps", "rddm_waiting_tiles", "rddm_running_batches", "rddm_working_requests")
MIB = 1 << 20


@dataclass
class Tally:
    """What came of the requests.

    memory: (requests so far, MiB of the gateway, of its picture processes) at rest; seconds: (requests so far, of this one);
    down: from when to when no engine lived, pauses: this whole run stood still, on the clock of time.perf_counter; faults: what was
    wrong, in words.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    digests: dict[tuple[Any, ...], str] = field(default_factory=dict)
    compared: int = 0
    kills: list[int] = field(default_factory=list)
    down: list[tuple[float, float]] = field(default_factory=list)
    pauses: list[tuple[float, float]] = field(default_factory=list)
    seconds: list[tuple[int, float]] = field(default_factory=list)
    memory: list[tuple[int, float, float]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Requests that have ended."""
        return sum(self.statuses.values())

    def note(self, outcome: Outcome, since: float, ended: float) -> None:
        """What came of a request that was sent and answered at these times."""
        self.statuses[f"{outcome.kind} {outcome.status or outcome.fault or 'left'}"] += 1
        self.seconds.append((self.done, ended - since))
        if fault := self.fault_of(outcome, since, ended):
            self.faults[fault] += 1
        if outcome.picture is not None:
            asked, digest = outcome.picture
            self.compared += asked in self.digests
            self.digests.setdefault(asked, digest)

    def fault_of(self, outcome: Outcome, since: float, ended: float) -> str | None:
        """What is wrong with it."""
        if outcome.fault is not None:
            return outcome.fault
        if outcome.status >= 500 and not any(since < end + NOTICE_SECONDS and ended > start for start, end in self.down):
            return f"{outcome.status} while an engine lived"
        if outcome.picture is not None and self.digests.get(outcome.picture[0], outcome.picture[1]) != outcome.picture[1]:
            return "other bytes for the same request"
        return None

    def growth(self) -> float:
        """How much memory grew over the second half, by a line through it, in per cent of its mean there."""
        at, gateway, others = np.array(self.memory[len(self.memory) // 2 :]).T
        used = gateway + others
        return float(np.polyfit(at, used, 1)[0] * (at[-1] - at[0]) / used.mean() * 100)

    def broken(self) -> list[str]:
        """The promises that were not kept."""
        faults = [f"{what}: {times}" for what, times in sorted(self.faults.items()) if times]
        return [*faults, f"memory grew by {self.growth():.2f} %"] if self.growth() >= MOST_GROWTH else faults

    def report(self) -> dict[str, Any]:
        """The figures, and the curves for the plot."""
        seconds = np.array([took for _, took in self.seconds])
        refused = sum(count for status, count in self.statuses.items() if status[-3:-2] == "5")
        return {
            "requests": self.done,
            "statuses": dict(sorted(self.statuses.items())),
            "broken_promises": self.broken(),
            "5xx_while_no_engine_lived": refused,
            "pauses_of_the_whole_run": len(self.pauses),
            "servers_killed": len(self.kills),
            "seconds_without_an_engine": round(sum(end - start for start, end in self.down), 1),
            "answers_compared_with_an_earlier_one": self.compared,
            "p50_seconds": round(float(np.percentile(seconds, 50)), 4),
            "p95_seconds": round(float(np.percentile(seconds, 95)), 4),
            "slowest_seconds": round(float(seconds.max()), 2),
            "memory_growth_percent": round(self.growth(), 3),
            "memory_mib": [[at, round(gateway, 1), round(others, 1)] for at, gateway, others in self.memory],
            "kills": self.kills,
        }


def resident(process: int) -> tuple[float, float]:
    """MiB of a process, and of all beneath it; what they share is counted once (proportional set size)."""
    parent = psutil.Process(process)
    others = 0
    for child in parent.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            others += child.memory_full_info().pss
    return parent.memory_full_info().pss / MIB, others / MIB


@contextlib.contextmanager
def gateway(repository: Path, servers: Sequence[Server]) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`rddm serve` and its address once it listens; caches are small, so that memory that grows is a leak and no cache."""
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            "RDDM_MODEL_REPOSITORY": str(repository),
            "RDDM_JOBS_FILE": f"{folder}/jobs.sqlite",
            "RDDM_RESULTS_BYTES": str(4 * MIB),
            "RDDM_ANSWERS_BYTES": str(4 * MIB),
            "RDDM_LOG_LEVEL": "error",
        }
        if servers:
            variables |= {"RDDM_ENGINE": "triton", "RDDM_TRITON_URLS": ",".join(server.url for server in servers)}
        command = [sys.executable, "-m", "rddm", "serve", "--port", "0"]
        process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True)
        try:
            yield process, address_of(process)
        finally:
            process.kill()
            process.wait()


async def ready(client: httpx2.AsyncClient, process: "subprocess.Popen[str]") -> None:
    """Wait until the gateway answers. Raises RuntimeError if it ends instead."""
    async for _ in _ticks(READY_SECONDS):
        if process.poll() is not None:
            raise RuntimeError("the gateway did not start")
        with contextlib.suppress(httpx2.TransportError):
            if (await client.get("/readyz")).status_code == 200:
                return
    raise RuntimeError(f"the gateway is not ready after {READY_SECONDS:g} s")


async def _ticks(seconds: float) -> AsyncIterator[float]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield time.monotonic()
        await asyncio.sleep(0.2)


class Fleet:
    """The servers, of which one after the other is killed and started again; never two at once."""

    def __init__(self, servers: Sequence[Server], tally: Tally) -> None:
        self._servers, self._tally, self._one = servers, tally, asyncio.Lock()

    async def strike(self, number: int) -> None:
        """Kill the next one, and bring it back. Only where it is the only one, no engine lives meanwhile."""
        async with self._one:
            victim, alone = self._servers[len(self._tally.kills) % len(self._servers)], len(self._servers) == 1
            self._tally.kills.append(number)
            since = time.perf_counter()
            if alone:
                self._tally.down.append((since, float("inf")))
            await asyncio.to_thread(victim.kill)
            await asyncio.to_thread(victim.start)
            if alone:
                self._tally.down[-1] = since, time.perf_counter()
            await asyncio.sleep(NOTICE_SECONDS)


async def answer_to(mixture: Mixture, number: int) -> Outcome:
    """What came of a request, also where nothing came."""
    try:
        return await asyncio.wait_for(mixture.send(number), HUNG_SECONDS)
    except TimeoutError:
        return Outcome("any", 0, "hung")
    except httpx2.TransportError:
        return Outcome("any", 0, "lost")


async def ask(mixture: Mixture, number: int, tally: Tally) -> float:
    """One request, and its place in the tally; the seconds after which the caller may come again.

    What went wrong while this run itself stood still, callers and gateway alike, tells nothing and is asked again.
    """
    while True:
        since = time.perf_counter()
        outcome = await answer_to(mixture, number)
        ended = time.perf_counter()
        if not tally.fault_of(outcome, since, ended):
            break
        await asyncio.sleep(2 * BEAT_SECONDS)
        if not any(since < end and ended > start for start, end in tally.pauses):
            break
    tally.note(outcome, since, ended)
    return min(outcome.wait, LONGEST_WAIT)


async def watch_pauses(tally: Tally) -> None:
    """Notes when the process was stopped: a computer that sleeps, a virtual machine that is moved, SIGSTOP."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(BEAT_SECONDS)
        if (now := time.perf_counter()) - before > PAUSE_SECONDS:
            tally.pauses.append((before, now))


async def settle(client: httpx2.AsyncClient, process: "subprocess.Popen[str]", tally: Tally) -> None:
    """In the end nothing may be in work, the gateway must be ready, and end at SIGTERM."""
    left: dict[str, str] = {}
    async for _ in _ticks(SETTLE_SECONDS):
        text = (await client.get("/metrics")).text
        values = dict(line.split() for line in text.splitlines() if line.startswith(GAUGES))
        left = {name: value for name, value in values.items() if float(value)}
        if len(values) == len(GAUGES) and not left and (await client.get("/readyz")).status_code == 200:
            break
    else:
        tally.faults[f"not settled: {left}"] += 1
    process.send_signal(signal.SIGTERM)
    try:
        tally.faults["SIGTERM did not end it with 0"] += await asyncio.to_thread(process.wait, 60) != 0
    except subprocess.TimeoutExpired:
        tally.faults["SIGTERM did not end it"] += 1


async def endure(repository: Path, requests: int, servers: Sequence[Server], kill_every: int, progress: Progress) -> Tally:
    """All requests, CALLERS at once; with Triton servers one is killed and started again every kill_every of them."""
    tally = Tally()
    bar, fleet = progress.add_task("requests", total=requests), Fleet(servers, tally)
    limits = httpx2.Limits(max_connections=4 * CALLERS, max_keepalive_connections=CALLERS)
    with gateway(repository, servers) as (process, url):
        async with httpx2.AsyncClient(base_url=url, timeout=2 * HUNG_SECONDS, limits=limits) as client:
            await ready(client, process)
            mixture = Mixture(client)

            async def caller(numbers: Iterator[int]) -> None:
                for number in numbers:
                    await asyncio.sleep(await ask(mixture, number, tally))
                    progress.advance(bar)
                    if servers and number % kill_every == kill_every // 2:
                        strikes.create_task(fleet.strike(number))

            watch = asyncio.create_task(watch_pauses(tally))
            async with asyncio.TaskGroup() as strikes:
                for first in range(0, requests, ROUND):
                    numbers = iter(range(first, min(first + ROUND, requests)))
                    await asyncio.gather(*(caller(numbers) for _ in range(CALLERS)))
                    await asyncio.sleep(REST_SECONDS)
                    tally.memory.append((tally.done, *resident(process.pid)))
            watch.cancel()
            await settle(client, process, tally)
    return tally


def draw(report: dict[str, Any], file: Path) -> None:
    """Memory over the requests, and where servers were killed."""
    from matplotlib.figure import Figure  # noqa: PLC0415  takes a second to import

    at, own, others = np.array(report["memory_mib"]).T
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.stackplot(at, own, others, labels=["gateway", "its picture processes"], colors=["#2a6fdb", "#c9b28f"])
    for index, kill in enumerate(report["kills"]):
        axes.axvline(kill, color="#b3261e", linewidth=1, label=None if index else "a Triton server is killed")
    axes.axvline(at[len(at) // 2], color="black", linewidth=0.8, linestyle=":", label="growth is measured from here")
    axes.set(xlabel="requests", ylabel="MiB (proportional set size)", xlim=(0, at[-1]), ylim=(0, 1.35 * (own + others).max()))
    axes.legend(loc="upper right", ncols=2)
    figure.savefig(file, dpi=110)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance", description=__doc__.splitlines()[0])
    parser.add_argument("repository", type=Path, nargs="?", default=shipped_repository(), help="with `lowlight` and `emoji`")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--triton", action="store_true", help="serve by real tritonservers, killed now and then")
    parser.add_argument("--servers", type=int, default=1, help="so many of them (1): with more, no request may fail")
    parser.add_argument("--kill-every", type=int, default=2000, metavar="N", help="requests between two kills (2000)")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="write the report and its plot there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the figures, and fail where a promise was broken."""
    given = arguments().parse_args(argv)
    if given.output is not None:
        given.output.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is known before an hour of requests
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that whatever was started is ended
    since = time.perf_counter()
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress())
        repository = given.repository.resolve()
        servers = [stack.enter_context(running(repository)) for _ in range(given.servers if given.triton else 0)]
        tally = asyncio.run(endure(repository, given.requests, servers, given.kill_every, progress))
    setting = {"engine": f"{len(servers)} x triton" if servers else "embedded", "callers": CALLERS}
    report = setting | tally.report() | {"minutes": round((time.perf_counter() - since) / 60, 1)} | {"machine": machine()}
    print(json.dumps({name: value for name, value in report.items() if name != "memory_mib"}, indent=2))
    if given.output is not None:
        name = {0: "endurance", 1: "endurance-triton"}.get(len(servers), f"endurance-triton-{len(servers)}")
        (given.output / f"{name}.json").write_text(json.dumps(report) + "\n", encoding="utf-8")
        draw(report, given.output / f"{name}.png")
    return int(bool(report["broken_promises"]))


if __name__ == "__main__":
    sys.exit(main())
