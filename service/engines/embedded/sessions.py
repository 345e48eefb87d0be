"""ONNX Runtime on the CPU, as a runtime of `service.engines.local`. Its exceptions are translated here and nowhere else."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from functools import cache
from typing import Any

import onnxruntime

from service.engines.contract import Feeds, Model, Outputs
from service.engines.local import Network, Runtime
from service.errors import EngineUnavailable, InvalidValue, OutOfMemory

log = logging.getLogger(__name__)

STATE: Any = onnxruntime.capi.onnxruntime_pybind11_state
RUNTIME_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(STATE).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
REFUSED: tuple[type[Exception], ...] = (STATE.InvalidArgument, ValueError)
UNUSABLE: tuple[type[Exception], ...] = (MemoryError, OSError, *RUNTIME_ERRORS)
# What ONNX Runtime's allocators say when there is no room; it has no exception of its own for that.
NO_ROOM = ("bad allocation", "bad_alloc", "failed to allocate memory", "out of memory", "cuda failure 2")
SHARING = threading.Lock()  # models are opened side by side
ARENA_STEP = 32 << 20  # bytes


class OnnxRuntime(Runtime):
    """NumPy in, NumPy out, on the CPU."""

    scales = True
    label = "CPU"  # what computes: what was learnt of another one does not count

    def open(self, data: bytes, model: Model, threads: int, *, exclusive: bool = False) -> Network:  # noqa: ARG002
        """A session on the CPU."""
        return OnnxNetwork(make_session(data, threads))

    @contextlib.contextmanager
    def translated(self, name: str) -> Iterator[None]:
        """ONNX Runtime's exceptions as the service's own; what they say in detail goes to the log only."""
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


class OnnxNetwork:
    """A session of ONNX Runtime."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    def run(self, feeds: Feeds, ended: Future[None]) -> Outputs:
        """See `service.engines.local.Network`. A cancelled call stops at its next node."""
        return tuple(self._session.run(None, dict(feeds), run_options(ended)))


def run_options(ended: Future[None]) -> onnxruntime.RunOptions:
    """Of one call, which stops once `ended` is done."""
    options = onnxruntime.RunOptions()
    ended.add_done_callback(lambda _: setattr(options, "terminate", True))
    return options


def make_session(data: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session on the CPU; all of them take memory from one arena, where each would keep the most it ever used."""
    with SHARING:
        share_memory()
    options = session_options(threads)
    options.add_session_config_entry("session.use_env_allocators", "1")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@cache
def share_memory() -> None:
    """Makes the arena that the CPU sessions of this process share.

    It grows by ONNX Runtime's doubled pieces up to ARENA_STEP, then by what is asked for: doubled without end, two large calls at
    once left up to 100 MiB unused; never doubled, calls of many sizes leave pieces that fit none (three times the memory).
    """
    place = onnxruntime.OrtMemoryInfo("Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT)
    growth = onnxruntime.OrtArenaCfg({"max_power_of_two_extend_bytes": ARENA_STEP})
    onnxruntime.create_and_register_allocator(place, growth)


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Of a session whose calls use so many threads, which sleep while they wait for one another.

    Awake they would take the gateway's cores; and where two cores share one's arithmetic, as hyper-threads do, each other's.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
