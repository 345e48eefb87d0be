"""What is compared, each in processes of its own, started here and ended here: the bare loop, our gateway, and the peers."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import httpx2
import psutil

from benchmarks import callers, loop
from benchmarks.builds import Build, address_of
from benchmarks.loop import CORES

READY_SECONDS = 300.0
SETTLE_SECONDS = 0.2  # for what a server catches up with when it runs again
KEPT_BYTES = 8 << 20  # of each of the gateway's caches: soon full, as they are in a service that has run for a while
KEPT_PICTURES = 200  # more than either holds


# Name, style of its callers, module, what answers 200 once it is ready, and further arguments.
PEERS: tuple[tuple[str, callers.Style, str, str, tuple[str, ...]], ...] = (
    ("FastAPI handler", "form", "plain_handler", "/ready", ("1",)),
    ("FastAPI handler, calls on all cores", "form", "plain_handler", "/ready", (str(CORES),)),
    ("LitServe", "json", "lit_server", "/health", ()),
)


@dataclass(frozen=True)
class Burst:
    """One measured run: seconds of wall clock, CPU seconds of the server side and of the callers, latencies, and refusals."""

    count: int
    seconds: float
    cpu: float
    callers_cpu: float
    latencies: list[float]
    refused: int = 0

    def per_second(self, cores: int) -> float:
        """Pictures a second of the machine that the callers left over."""
        return len(self.latencies) / (self.seconds - self.callers_cpu / cores)


@dataclass(frozen=True)
class RequestLoad:
    """What is asked of a contender: count pictures, of a file or generated, by so many callers or at a rate.

    own_seeds: each request has a seed of its own; else all have the default one, and pictures differ. warm_up: requests that come
    first and are not measured: a process that has just been woken finds its memory cold.
    """

    count: int
    steps: tuple[int, ...]
    callers: int = 1
    rate: float | None = None
    file: Path | None = None
    own_seeds: bool = False
    warm_up: int = 0


class Contender(Protocol):
    """Something that makes pictures."""

    name: str

    def run(self, load: RequestLoad) -> Burst: ...


class Lines:
    """A process that answers one JSON line with one JSON line."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )
        self.hear()

    def hear(self) -> dict[str, Any]:
        """The next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with status {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **workload: Any) -> dict[str, Any]:
        """One workload, and its measurement."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(workload) + "\n")
        self.process.stdin.flush()
        return self.hear()

    def close(self) -> None:
        """Ends the process."""
        self.process.terminate()
        self.process.wait()


def environment() -> dict[str, str]:
    """Ours, with one thread for every library that would take all cores."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return os.environ | one


@dataclass(eq=False)
class Bare:
    """The loop without a service, on as many threads as there are callers, up to one a core, and the batch size that is best."""

    lines: Lines
    cores: int
    batch: int = 1
    name: str = "bare loop"

    def run(self, load: RequestLoad) -> Burst:
        """Rates do not apply to it, and it keeps nothing that a repeated request could find."""
        batch = min(self.batch, load.callers)
        threads, file = min(self.cores, load.callers), str(load.file) if load.file else None
        workload = loop.Workload(load.count, list(load.steps), threads, batch, file, load.own_seeds)
        if load.warm_up:
            self.lines.ask(**vars(replace(workload, count=load.warm_up)))
        reply = loop.Measurement(**self.lines.ask(**vars(workload)))
        return Burst(load.count, reply.seconds, reply.cpu, 0.0, [seconds for seconds in reply.latencies for _ in range(batch)])


class Rest:
    """A server's processes, stopped while nobody asks: what an idle one does (some poll) would be measured with the others."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self._asking = 0
        self._lock = threading.Lock()
        self._each(psutil.Process.suspend)

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """Running for the block, and for whichever other block ends last."""
        with self._lock:
            self._asking += 1
            if self._asking == 1:
                self._each(psutil.Process.resume)
                time.sleep(SETTLE_SECONDS)
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1
                if not self._asking:
                    self._each(psutil.Process.suspend)

    def _each(self, act: Callable[[psutil.Process], None]) -> None:
        for member in [self.process, *self.process.children(recursive=True)]:
            act(member)


@dataclass(eq=False)
class Served:
    """A server, and the callers' process."""

    name: str
    style: callers.Style
    url: str
    rest: Rest
    lines: Lines
    first: int = 0

    def run(self, load: RequestLoad) -> Burst:
        """No request repeats an earlier one, so no kept result answers."""
        with self.rest.interrupted():
            if load.warm_up:
                self._ask(load, load.warm_up)
            before = cpu_of(self.rest.process)
            reply = self._ask(load, load.count)
            cpu = cpu_of(self.rest.process) - before
        return Burst(load.count, reply.seconds, cpu, reply.cpu, reply.latencies, len(reply.refused))

    def _ask(self, load: RequestLoad, count: int) -> callers.Measurement:
        workload = callers.Workload(
            self.url,
            self.style if load.file else "generate",
            count,
            list(load.steps),
            load.callers,
            load.rate,
            str(load.file) if load.file else None,
            self.first,
            load.own_seeds,
        )
        self.first += count
        return callers.Measurement(**self.lines.ask(**vars(workload)))


def cpu_of(process: psutil.Process) -> float:
    """CPU seconds that a process and its children have used."""
    family = [process, *process.children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in family)


@contextmanager
def gateway(build: Build, folder: Path | None, model: str) -> Iterator[tuple[psutil.Process, str]]:
    """A gateway's process and address, from its first /readyz of 200 to its end."""
    kept = dict.fromkeys(("RDDM_RESULTS_BYTES", "RDDM_ANSWERS_BYTES"), str(KEPT_BYTES))
    quiet = {"RDDM_JOBS_FILE": ":memory:", "RDDM_LOG_LEVEL": "warning"}
    command = build.command("serve", "--port", "0", "--model-repository", str(build.models(folder)), "--default-model", model)
    process = subprocess.Popen(command, cwd=build.folder, env=environment() | kept | quiet, stdout=subprocess.PIPE, text=True)
    with ended(process):
        url = address_of(process)
        _wait(f"{url}/readyz", process)
        yield psutil.Process(process.pid), url


@contextmanager
def server(command: list[str], ready: str) -> Iterator[tuple[psutil.Process, str]]:
    """A peer's process and address from its first answer on `ready` to its end, children included."""
    process = subprocess.Popen([sys.executable, "-m", *command], env=environment(), stdout=subprocess.PIPE, text=True)
    with ended(process):
        url = address_of(process)
        _wait(f"{url}{ready}", process)
        yield psutil.Process(process.pid), url


@contextmanager
def ended(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """The process and its children end with the block, stopped or not."""
    try:
        yield
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            member.resume()
            member.terminate()
        _, alive = psutil.wait_procs(family, timeout=10)
        for member in alive:
            member.kill()
        process.communicate()


def _wait(url: str, process: "subprocess.Popen[Any]") -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with status {process.returncode}")
        try:
            if httpx2.get(url, timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"{url} did not answer 200 within {READY_SECONDS:g} s")


@dataclass(frozen=True)
class Field:
    """All contenders of one model, and a second group of callers for what runs beside."""

    bare: Bare
    gateway: Served
    peers: list[Served]
    beside: Lines

    @property
    def all(self) -> list[Bare | Served]:
        """In the order in which they are asked."""
        return [self.bare, self.gateway, *self.peers]


@contextmanager
def started(folder: Path | None, model: str, builds: Sequence[Build], *, peers: bool = True) -> Iterator[Field]:
    """Everything is started, and idle until it is asked. folder: of the models of all; None for each build's own.

    builds: this one, whose models the bare loop and the peers have too, and others, whose gateways are asked among the peers.
    """
    with ExitStack() as stack:

        def lines(*command: str) -> Lines:
            opened = Lines(*command)
            stack.callback(opened.close)
            return opened

        def gateway_of(build: Build) -> Served:
            process, url = stack.enter_context(gateway(build, folder, model))
            return Served(build.name, "gateway", url, Rest(process), calling)

        def peer(name: str, style: callers.Style, module: str, ready: str, more: tuple[str, ...]) -> Served:
            process, url = stack.enter_context(server([f"benchmarks.peers.{module}", *arguments, *more], ready))
            return Served(name, style, url, Rest(process), calling)

        calling = lines("benchmarks.callers")
        arguments = [str(builds[0].models(folder)), model]  # as the loop and the peers take them
        first, *others = map(gateway_of, builds)
        others += [peer(*one) for one in PEERS] if peers else []
        yield Field(Bare(lines("benchmarks.loop", *arguments), CORES), first, others, lines("benchmarks.callers"))
