"""The engine inside the gateway's own process: ONNX Runtime, reading the model repository itself.

Calls run in a pool of threads. A call that is cancelled, or whose deadline passes, never starts or stops at the next node of its
graph. ONNX Runtime's exceptions are translated here and nowhere else.

Calls side by side have a thread each: nothing yields more pictures a second. A picture that has the engine to itself and is one
call would leave all cores but one idle, so for it each model has a second session, of all threads. On the CPU both answer with
the same bytes; that is looked at on loading, and where it does not hold the second one is not used.
"""

import asyncio
import contextlib
import hashlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import onnxruntime

from rddm.model import golden_input
from service.engines.checks import check_feeds, check_finite, check_golden, check_outputs
from service.engines.configuration import FILE, read_config, to_models
from service.engines.contract import WIDE_PIXELS, Array, Conversation, Feeds, Model, Ticket, take_step, to_feeds
from service.engines.versions import ModelVersions
from service.errors import BadAnswer, DeadlineExceeded, EngineUnavailable, InvalidValue, OutOfMemory, UnknownModel

log = logging.getLogger(__name__)
T = TypeVar("T")

STATE: Any = onnxruntime.capi.onnxruntime_pybind11_state
RUNTIME_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(STATE).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
REFUSED: tuple[type[Exception], ...] = (STATE.InvalidArgument, ValueError)
UNUSABLE: tuple[type[Exception], ...] = (MemoryError, OSError, *RUNTIME_ERRORS)
# What ONNX Runtime's allocators say when there is no room; it has no exception of its own for that.
NO_ROOM = ("bad allocation", "bad_alloc", "failed to allocate memory", "out of memory", "cuda failure 2")


class SessionRunner(Protocol):
    """How a session is made and run: on NumPy arrays (`CpuRunner`), or bound to torch's memory (`service.engines.gpu`).

    by_threads: whether a session of more threads is faster.
    """

    by_threads: bool

    def session(self, data: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession: ...

    def run(
        self, session: onnxruntime.InferenceSession, feeds: Feeds, options: onnxruntime.RunOptions, model: Model, /
    ) -> tuple[Array, ...]: ...


class CpuRunner:
    """NumPy in, NumPy out, on the CPU; answers are checked for NaN and infinity."""

    by_threads = True

    def session(self, data: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        """A session on the CPU; all of them take memory from one arena, where each would keep the most it ever used."""
        share_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run(
        self, session: onnxruntime.InferenceSession, feeds: Feeds, options: onnxruntime.RunOptions, model: Model
    ) -> tuple[Array, ...]:
        """The outputs in order. Raises BadAnswer where one is not finite."""
        outputs = tuple(session.run(None, dict(feeds), options))
        check_finite(outputs, model)
        return outputs


@cache
def share_memory() -> None:
    """Makes the arena that the CPU sessions of this process share."""
    place = onnxruntime.OrtMemoryInfo("Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT)
    onnxruntime.create_and_register_allocator(place, None)


def session_options(threads: int, *, alone: bool = False) -> onnxruntime.SessionOptions:
    """Of a session whose calls use so many threads.

    alone: they have the cores to themselves. Threads then wait for one another awake while a call runs, and only then: to wake a
    core that went to sleep takes as long as many an operator. Beside other calls they would take the gateway's cores.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(alone)))
    options.add_session_config_entry("session.force_spinning_stop", "1")  # as soon as the call has ended
    return options


@dataclass(frozen=True)
class Threads:
    """instances: calls that run side by side. each: threads that one of them uses; measured on two cores, see benchmarks."""

    instances: int
    each: int = 1

    def __post_init__(self) -> None:
        for name in ("instances", "each"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")

    @property
    def all(self) -> int:
        """Threads that run when every instance does."""
        return self.instances * self.each


@dataclass(frozen=True)
class Sessions:
    """One graph, ready for calls side by side, and, where that is of use, for a call that has all threads to itself."""

    beside: onnxruntime.InferenceSession
    alone: onnxruntime.InferenceSession | None = None

    def suited(self, ticket: Ticket) -> onnxruntime.InferenceSession:
        """The one to call with."""
        return self.beside if self.alone is None or not ticket.alone else self.alone


def one_per_core() -> Threads:
    """As many calls side by side as there are cores this process may use, one thread each."""
    return Threads(len(os.sched_getaffinity(0)))


class EmbeddedEngine:
    """An engine and a repository (service.engines.contract) on a folder in Triton's layout.

    broken: models that lie in the folder and could not be loaded, with the reason.
    """

    def __init__(self, folder: Path, threads: Threads | None = None, runner: SessionRunner | None = None) -> None:
        self.folder = folder
        self.threads = threads or one_per_core()
        self.broken: dict[str, str] = {}
        self._runner = runner or CpuRunner()
        self._pool = ThreadPoolExecutor(self.threads.instances, thread_name_prefix="onnxruntime")
        self._versions: ModelVersions[Sessions] = ModelVersions(lambda _model, _session: None)
        self._loading = asyncio.Lock()

    @property
    def instances(self) -> int:
        """Calls that really run side by side."""
        return self.threads.instances

    async def start(self) -> None:
        """Load every model in the folder. Raises EngineUnavailable where not one could be loaded."""
        names = names_in(self.folder)
        for name in names:
            with contextlib.suppress(EngineUnavailable):
                await self.load(name)
        if not self._versions.models():
            raise EngineUnavailable(f"no model could be loaded from {self.folder}; found {names}, broken: {self.broken}")

    async def close(self) -> None:
        """Drop queued calls, let running ones end, and free the models."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
        self._versions.clear()

    def models(self) -> Mapping[str, Model]:
        """The version that takes new traffic, by name."""
        return self._versions.models()

    def lease(self, name: str) -> AbstractContextManager[Model]:
        """Hold the version that takes new traffic for as long as a request runs. Raises UnknownModel."""
        return self._versions.lease(name)

    async def check(self, name: str) -> None:
        """One golden inference. Raises EngineUnavailable with the reason, or UnknownModel."""
        await check_golden(self, self._versions.current(name))

    async def load(self, name: str) -> Model:
        """Load the newest version on disk; it takes traffic only once its golden answer is right, the old one serves till then.

        Raises UnknownModel for a name that is not in the folder, EngineUnavailable with the reason for files that cannot be used.
        """
        async with self._loading:
            try:
                model, sessions = await asyncio.to_thread(self._open, name)
                await check_golden(_Candidate(self, model, sessions), model)
            except (EngineUnavailable, BadAnswer) as error:
                self.broken[name] = error.detail
                log.error("model %s could not be loaded: %s", name, error.detail)
                raise EngineUnavailable(error.detail) from error
            self.broken.pop(name, None)
            self._versions.activate(model, sessions)
            return model

    async def unload(self, name: str) -> None:
        """No new traffic; freed when the last request has left it. Raises UnknownModel."""
        self._versions.deactivate(name)

    async def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> tuple[Array, ...]:
        """See `service.engines.contract.Engine`."""
        model, sessions = self._versions.find(ticket.weights)
        return await self._run(model, sessions, to_feeds(x_t, condition, time), ticket)

    async def converse(self, conversation: Conversation, ticket: Ticket) -> None:
        """See `service.engines.contract.converse`: every step by one thread, which finds the answer in its core's cache."""
        model, sessions = self._versions.find(ticket.weights)

        def talk(options: onnxruntime.RunOptions) -> None:
            while conversation.inputs is not None:
                conversation.follow(self._call(sessions.suited(ticket), to_feeds(*conversation.inputs), options, model))

        if self._runner.by_threads:
            await self._in_thread(talk, ticket)
        else:
            await take_step(self, conversation, ticket)

    async def _run(self, model: Model, sessions: Sessions, feeds: Feeds, ticket: Ticket) -> tuple[Array, ...]:
        return await self._in_thread(lambda options: self._call(sessions.suited(ticket), feeds, options, model), ticket)

    async def _in_thread(self, act: Callable[[onnxruntime.RunOptions], T], ticket: Ticket) -> T:
        options = onnxruntime.RunOptions()
        seconds = None if ticket.deadline is None else ticket.deadline - time.monotonic()
        if seconds is not None and seconds <= 0:
            raise DeadlineExceeded("the deadline passed before the network was called")
        call = self._pool.submit(act, options)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(call)
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed while the network ran") from error
        finally:
            options.terminate = True  # of no consequence to a call that has ended; a cancelled one stops at its next node

    def _call(
        self, session: onnxruntime.InferenceSession, feeds: Feeds, options: onnxruntime.RunOptions, model: Model
    ) -> tuple[Array, ...]:
        """Raises InvalidValue for what the graph does not take, BadAnswer, and ONNX Runtime's errors as the service's own."""
        check_feeds(feeds, model)
        with translated(model.spec.name):
            outputs = self._runner.run(session, feeds, options, model)
        check_outputs(outputs, feeds["x_t"], model)
        return outputs

    def _open(self, name: str) -> tuple[Model, Sessions]:
        model, path = find_newest(self.folder, name)
        with translated(name):
            data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != model.digest:
            raise EngineUnavailable(f"version {model.version} of model {name!r} is corrupt: its file has another digest")
        with translated(name):
            sessions = Sessions(self._session(data, self.threads.each))
            large = model.spec.image_size is None and model.spec.whole_max >= WIDE_PIXELS
            if large and self._runner.by_threads and self.threads.all > self.threads.each:
                sessions = self._widened(model, sessions, self._session(data, self.threads.all, alone=True))
        return model, sessions

    def _session(self, data: bytes, threads: int, *, alone: bool = False) -> onnxruntime.InferenceSession:
        return self._runner.session(data, session_options(threads, alone=alone))

    def _widened(self, model: Model, sessions: Sessions, wide: onnxruntime.InferenceSession) -> Sessions:
        """With a session of all threads, if it answers with the same bytes.

        Looked at for a side of a prime number of multiples: threads share an operator's values out in equal blocks, and where those
        end inside a vector ONNX Runtime's logarithm answers otherwise in the last bit. A rounder size would hide it.
        """
        multiples = next(k for k in count(math.isqrt(WIDE_PIXELS) // model.spec.size_multiple + 1) if is_prime(k))
        feeds = golden_input(model.spec, multiples * model.spec.size_multiple)
        answers = [self._call(session, feeds, onnxruntime.RunOptions(), model) for session in (sessions.beside, wide)]
        if all(np.array_equal(a, b) for a, b in zip(*answers, strict=True)):
            return replace(sessions, alone=wide)
        log.warning("model %s answers otherwise with %d threads: pictures get one", model.spec.name, self.threads.all)
        return sessions


@dataclass(frozen=True)
class _Candidate:
    """A version that takes no traffic yet, as an engine that knows it alone."""

    engine: EmbeddedEngine
    model: Model
    sessions: Sessions

    async def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> tuple[Array, ...]:
        return await self.engine._run(self.model, self.sessions, to_feeds(x_t, condition, time), ticket)


def is_prime(number: int) -> bool:
    """For a number of at least 2."""
    return all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def names_in(folder: Path) -> list[str]:
    """Of the models that lie there; a folder that begins with a dot is what an export that was killed left."""
    return sorted(path.parent.name for path in folder.glob(f"[!.]*/{FILE}"))


def find_newest(folder: Path, name: str) -> tuple[Model, Path]:
    """The newest version that the model's config.pbtxt describes and whose file is there.

    Raises UnknownModel where the folder holds no such model, EngineUnavailable for a configuration that cannot be used.
    """
    there = names_in(folder)
    if name not in there:
        raise UnknownModel(f"there is no model {name!r} in the repository; expected one of {there}")
    try:
        config = read_config(folder / name / FILE)
        models = to_models(config)
    except (OSError, ValueError) as error:
        raise EngineUnavailable(f"the configuration of model {name!r} cannot be used") from error
    if config.backend != "onnxruntime":
        raise EngineUnavailable(f"model {name!r} is for the backend {config.backend!r}; the embedded engine runs 'onnxruntime'")
    files = {version: folder / name / str(version) / config.default_model_filename for version in models}
    found = [version for version, path in files.items() if path.is_file()]
    if not found:
        raise EngineUnavailable(f"no version of model {name!r} has its file; described are {list(models)}")
    return models[max(found)], files[max(found)]


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """ONNX Runtime's and the file system's exceptions as the service's own; what they say in detail goes to the log only."""
    try:
        yield
    except REFUSED as error:
        log.warning("model %s refused its input: %s", name, error)
        raise InvalidValue(f"model {name!r} does not take this input") from error
    except UNUSABLE as error:
        said = str(error).lower()
        if isinstance(error, MemoryError) or any(sign in said for sign in NO_ROOM):
            raise OutOfMemory(f"there is no memory for model {name!r}") from error
        if "terminate flag" not in said:  # a cancelled call has nobody left to tell
            log.warning("model %s: %s", name, error)
        raise EngineUnavailable(f"model {name!r} cannot be run: {type(error).__name__}") from error
