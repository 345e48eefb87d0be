"""Sessions for the tiles of a large picture, in which the time and the picture's code are constants.

All tiles of a step have the same. What depends on them alone, ONNX Runtime then computes when it opens the session; scale and shift
of channels, and the activation after them, it takes into the convolution before: no more passes over maps that are larger than the
caches. Opening costs about what a call of a megapixel spares, so only tiles, which are several, have such sessions.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from rddm.exposure import exposure_of
from rddm.graph import CONDITION, TIME, X_T
from rddm.model import golden_input
from rddm.spec import CHANNELS, ConditionPart, ModelSpec
from service.engines.contract import Feeds, Model, Outputs
from service.engines.embedded.graph_file import GraphFile
from service.engines.embedded.sessions import OnnxRuntime, make_session, run_options
from service.engines.local import Network

KEPT = 2  # sessions: of two pictures that take turns, or of two steps of a clip's frames
CODE: ConditionPart = "code"
VARYING: frozenset[ConditionPart] = frozenset({"context", "brightness"})  # what a network may compute scales of, in each call

Constants = dict[str, NDArray[np.float32]]


class FoldingRuntime(OnnxRuntime):
    """ONNX Runtime on the CPU, where tiles have sessions of their own."""

    def __init__(self) -> None:
        self._sessions = LatestSessions()

    def open_tiled(self, data: bytes, model: Model, threads: int) -> Network | None:
        """See Runtime. None for a graph that scales no channels, or scales them by more than time and code."""
        spec, graph = model.spec, GraphFile(data)
        parts = graph.parts_of(CONDITION)
        knows_code = CODE not in spec.condition or len(parts) == len(spec.condition)
        if not graph.scales_channels or not knows_code or VARYING & set(spec.condition):
            return None
        return FoldedNetwork(graph, model, threads, self._sessions)


class LatestSessions:
    """The sessions that tiles took last, of all models of an engine: KEPT of them, since each holds 10 to 25 MiB."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[object, InferenceSession] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object, make: Callable[[], InferenceSession]) -> InferenceSession:
        """The session of this key; the oldest is let go before one is made. Other threads wait meanwhile."""
        with self._lock:
            if key not in self._sessions:
                if len(self._sessions) == KEPT:
                    self._sessions.popitem(last=False)
                self._sessions[key] = make()
            self._sessions.move_to_end(key)
            return self._sessions[key]


class FoldedNetwork:
    """A model for tiles. Rows are called one by one: each has a time of its own, and no row's bytes depend on another."""

    def __init__(self, graph: GraphFile, model: Model, threads: int, sessions: LatestSessions) -> None:
        self._graph, self._model, self._threads, self._sessions = graph, model, threads, sessions

    def run(self, feeds: Feeds, ended: Future[None]) -> Outputs:
        """See `service.engines.local.Network`. A cancelled call stops at its next node."""
        rows = [self._run_row({name: part[row : row + 1] for name, part in feeds.items()}, ended) for row in range(len(feeds[X_T]))]
        return rows[0] if len(rows) == 1 else tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))

    def _run_row(self, feeds: Feeds, ended: Future[None]) -> Outputs:
        constants = self._constants(feeds)
        key = self._model.weights, *(value.tobytes() for value in constants.values())
        session = self._sessions.get(key, partial(self._open, constants))
        return tuple(session.run(None, without_time(feeds), run_options(ended)))

    def _constants(self, feeds: Feeds) -> Constants:
        spec = self._model.spec
        if CODE not in spec.condition:
            return {TIME: feeds[TIME]}
        name = self._graph.parts_of(CONDITION)[spec.condition.index(CODE)]
        return {TIME: feeds[TIME], name: code_of(spec, feeds)}

    def _open(self, constants: Constants) -> InferenceSession:
        session = make_session(self._graph.with_constants(constants), self._threads)
        tiny = golden_input(self._model.spec, self._model.spec.size_multiple)
        session.run(None, without_time(tiny))  # else the second tile asks for the memory of all its layers once more
        return session


def without_time(feeds: Feeds) -> dict[str, NDArray[np.float32]]:
    """What a session takes whose time is a constant."""
    return {name: value for name, value in feeds.items() if name != TIME}


def code_of(spec: ModelSpec, feeds: Feeds) -> NDArray[np.float32]:
    """The first values of the code's plane, which are the code, as a plane of one row (1 1 1 width)."""
    channel = sum(CHANNELS[part] for part in spec.condition[: spec.condition.index(CODE)])
    plane: NDArray[np.float32] = feeds[CONDITION][:, channel].reshape(1, 1, 1, -1)
    return plane[..., : exposure_of(spec.exposure or "").width]
