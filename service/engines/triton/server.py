"""One Triton server: what it serves rightly, how a call is sent to it, and how a model on it is brought back."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from tritonclient.grpc.aio import InferenceServerClient

from rddm.graph import X_T, output_names
from rddm.repository import Configuration
from service.engines.checks import check_feeds, check_finite, check_golden, check_outputs
from service.engines.configuration import to_models
from service.engines.contract import Array, Feeds, Model, Ticket, Weights, to_feeds
from service.engines.triton.errors import ModelCrashed, ServerUnreachable, translated
from service.engines.triton.step_timeout import StepTimeout
from service.engines.triton.trace_headers import trace_headers
from service.engines.triton.transport import Transport
from service.errors import DeadlineExceeded, EngineUnavailable, ServiceError

log = logging.getLogger(__name__)

MESSAGE_BYTES = 2**31 - 1
# A server that is started anew is noticed within half a second; gRPC's own default lets a channel rest for up to two minutes.
CHANNEL = [
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
]
ASK_SECONDS = 2.0  # for questions that cost a server nothing
PROOF_SECONDS = 10.0  # for a golden inference
LOAD_SECONDS = 300.0
REVIVAL_SECONDS = 10.0  # between two attempts


class Slow(EngineUnavailable):
    """A step took far longer than such steps take: the server has stopped, or is overwhelmed."""


class RemoteServer:
    """proven: versions whose golden answer was right; only they get traffic. faults: why others get none. down: why none does."""

    def __init__(self, address: str, make_transport: Callable[[Any], Any], longest_step: float) -> None:
        self.address = address
        self.proven: dict[Weights, Model] = {}
        self.faults: dict[Weights, str] = {}
        self.gone: frozenset[str] = frozenset()
        self.down: str | None = "not asked yet"
        self.in_flight = 0
        self._client = InferenceServerClient(address, channel_args=CHANNEL)
        self._make_transport = make_transport
        self._transport: Transport | None = None
        self._timeouts: defaultdict[str, StepTimeout] = defaultdict(lambda: StepTimeout(longest_step))
        self._ready: Mapping[str, frozenset[int]] = {}
        self._revived: defaultdict[str, float] = defaultdict(lambda: -REVIVAL_SECONDS)
        self._examining = asyncio.Lock()
        self.empty = asyncio.Event()  # no call is under way
        self.empty.set()

    async def close(self) -> None:
        """Free the shared memory and the connection."""
        if self._transport is not None:
            await self._transport.close()
        await self._client.close()

    async def predict(self, model: Model, feeds: Feeds, ticket: Ticket) -> tuple[Array, ...]:
        """One call. Raises ServerUnreachable, Slow and the others of error_translation; BadAnswer for what cannot be believed."""
        if self._transport is None:
            raise EngineUnavailable(f"the server of model {model.spec.name!r} was not reached yet")
        check_feeds(feeds, model)
        timeout, x_t = self._timeouts[model.spec.name], feeds[X_T]
        allowed = timeout.allowed(x_t, self.in_flight)
        left = float("inf") if ticket.deadline is None else ticket.deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the deadline passed before the network was called")
        outputs = output_names(model.spec)
        sent_at = time.monotonic()
        self.in_flight += 1
        self.empty.clear()
        try:
            arrays = await self._transport.exchange(self._call(ticket, min(allowed, left)), feeds, outputs, model.spec.name)
        except DeadlineExceeded as error:
            if allowed < left:
                raise Slow(f"a step of model {model.spec.name!r} took more than {allowed:.1f} s", retry_after=1) from error
            raise
        except asyncio.CancelledError as error:  # gRPC says so too when the connection was closed under a call
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ServerUnreachable(f"the connection for model {model.spec.name!r} was closed", retry_after=1) from error
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.empty.set()
        check_outputs(arrays, x_t, model)
        if self._transport.kind != "cuda":
            check_finite(arrays, model)
        timeout.measured(x_t, time.monotonic() - sent_at)
        return arrays

    def _call(self, ticket: Ticket, seconds: float) -> Callable[..., Any]:
        """The inference but for its tensors; the server gets the time limit too, so that it drops what nobody waits for."""

        def call(inputs: list[Any], outputs: list[Any]) -> Any:
            return self._client.infer(
                ticket.weights.name,
                inputs,
                str(ticket.weights.version),
                outputs,
                request_id=ticket.request,
                timeout=int(seconds * 1e6),
                client_timeout=seconds,
                headers=trace_headers(),
            )

        return call

    async def examine(self) -> None:
        """Find out whether the server answers and what it serves; prove versions that are new or had a fault."""
        async with self._examining:
            try:
                ready = await self._index()
                if self._transport is None:
                    self._transport = await self._make_transport(self._client)
                if self.down or self.faults or ready != self._ready:
                    self._ready = ready
                    await self._prove(ready)
            except ServiceError as error:
                self._lost(error.detail)
                return
            if self.down:
                served = sorted((weights.name, weights.version) for weights in self.proven)
                log.info("Triton at %s answers, over %s; it serves %s", self.address, self._transport.kind, served)
            self.down = None

    def blame(self, ticket: Ticket, error: ServiceError) -> None:
        """A call failed through the server's fault: no traffic until it is examined again."""
        if isinstance(error, Slow | ServerUnreachable):
            self._lost(error.detail)
        else:
            self.proven.pop(ticket.weights, None)
            self.faults[ticket.weights] = error.detail

    async def prove(self, model: Model) -> None:
        """One golden inference. Raises the engine's errors; a wrong answer takes the version out of traffic."""
        try:
            await check_golden(_VersionEngine(self, model), model, time.monotonic() + PROOF_SECONDS)
        except ServiceError as error:
            self.proven.pop(model.weights, None)
            self.faults[model.weights] = error.detail
            raise
        self.proven[model.weights] = model
        self.faults.pop(model.weights, None)

    async def load(self, name: str) -> None:
        """Load the newest versions on the server's disk."""
        try:
            with translated(name):
                await self._client.load_model(name, client_timeout=LOAD_SECONDS)
        finally:
            self._ready = {}  # versions of the same numbers may have other weights now: the next examination looks

    async def unload(self, name: str) -> None:
        """Make the server forget the model."""
        with translated(name):
            await self._client.unload_model(name, client_timeout=ASK_SECONDS)

    async def _index(self) -> Mapping[str, frozenset[int]]:
        """The versions that are ready, by name; `gone` are models that somebody unloaded on purpose."""
        with translated("*"):
            index = await self._client.get_model_repository_index(client_timeout=ASK_SECONDS)
        ready: defaultdict[str, set[int]] = defaultdict(set)
        for entry in index.models:
            if entry.state == "READY":
                ready[entry.name].add(int(entry.version))
        self.gone = frozenset(entry.name for entry in index.models if entry.reason == "unloaded") - ready.keys()
        return {name: frozenset(versions) for name, versions in ready.items()}

    async def _prove(self, ready: Mapping[str, frozenset[int]]) -> None:
        """Ask every version that is ready for its golden answer, but those that gave it and have not changed."""
        described = {name: await self._described(name) for name in ready}
        models = [described[name][version] for name, versions in ready.items() for version in versions & described[name].keys()]
        served = {model.weights: model for model in models}
        for kept in (self.proven, self.faults):
            for weights in kept.keys() - served.keys():
                kept.pop(weights)
        for weights, model in served.items():
            if self.down or weights not in self.proven:
                await self._prove_or_revive(model)

    async def _prove_or_revive(self, model: Model) -> None:
        """A model whose process has crashed stays ready for ever, and only unloading and loading brings it back."""
        name = model.spec.name
        try:
            await self.prove(model)
        except ModelCrashed:
            if any(weights.name == name for weights in self.proven) or time.monotonic() < self._revived[name] + REVIVAL_SECONDS:
                return
            log.warning("Triton at %s: model %s has crashed; it is unloaded and loaded", self.address, name)
            self._revived[name] = time.monotonic()
            await self.unload(name)
            await self.load(name)
            await self.prove(model)
        except ServiceError as error:
            log.warning("Triton at %s: %s", self.address, error.detail)

    async def _described(self, name: str) -> dict[int, Model]:
        """The versions that the server's configuration describes; none for a model that is not ours."""
        with translated(name):
            answer = await self._client.get_model_config(name, client_timeout=ASK_SECONDS)
        try:
            return to_models(Configuration.of(answer.config))
        except ValueError as error:
            log.warning("Triton at %s: %s", self.address, error)
            return {}

    def _lost(self, reason: str) -> None:
        if self.down is None:
            log.warning("Triton at %s gets no traffic: %s", self.address, reason)
        self.down = reason
        self.proven.clear()


class _VersionEngine:
    """The server as an engine for one version, whether it gets traffic or not."""

    def __init__(self, server: RemoteServer, model: Model) -> None:
        self._server = server
        self._model = model

    async def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> tuple[Array, ...]:
        """See `service.engines.contract.Engine`."""
        return await self._server.predict(self._model, to_feeds(x_t, condition, time), ticket)
