"""The engine that asks Triton servers: one or several, by address or by a DNS name that stands for several.

The gateway holds the sampler's state, so a step that a server could not answer is asked of another one, once. A server that fails
gets no traffic until a golden inference on it has been right again; that is tried all the time in the background.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

from tritonclient.utils import InferenceServerException

from service.engines.contract import FILLED_ROWS, Array, Model, Outputs, ServingEngine, Ticket, to_feeds
from service.engines.triton.server import RemoteServer
from service.engines.triton.shared_memory import Region, RegionPool, SystemRegion, has_shared_memory, sweep
from service.engines.triton.transport import Bytes, Shared, Transport
from service.engines.versions import ModelVersions
from service.errors import (
    BadAnswer,
    DeadlineExceeded,
    EngineUnavailable,
    InvalidValue,
    OutOfMemory,
    QueueFull,
    ServiceError,
    UnknownModel,
)

log = logging.getLogger(__name__)

TransportChoice = Literal["auto", "bytes", "system"]
# A call that these end is nobody's fault on the server's side.
BLAMELESS = (DeadlineExceeded, InvalidValue, OutOfMemory)
DRAIN_SECONDS = 600.0
LEAVING_SECONDS = 120.0  # that a server whose address is gone may take for the calls it has


class TritonEngine(ServingEngine):
    """An engine and a repository (service.engines.contract) on Triton servers.

    urls: `host:port` of gRPC; a host name is looked up again in every round and stands for all its addresses.
    transport: `auto` takes shared memory where gateway and server share /dev/shm, else bytes. probe_seconds: between two rounds of
    examining servers. longest_step: seconds that a step may take while its cost is not known.
    make_region: memory for tensors (service.engines.triton.cuda_memory) instead; then there is no other transport to fall back to.
    """

    def __init__(
        self,
        urls: Sequence[str],
        transport: TransportChoice = "auto",
        probe_seconds: float = 1.0,
        longest_step: float = 60.0,
        make_region: Callable[[int], Region] | None = None,
    ) -> None:
        self.urls = tuple(urls)
        for url in self.urls:
            split_url(url)
        self._events: Counter[str] = Counter()
        self._choice = transport
        self._make_region = make_region
        self._probe_seconds = probe_seconds
        self._longest_step = longest_step
        self._servers: dict[str, RemoteServer] = {}
        self._turn = 0
        self._versions: ModelVersions[None] = ModelVersions(self._forget)
        self._unwanted: set[str] = set()
        self._loading = asyncio.Lock()
        self._wake = asyncio.Event()
        self._left = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def instances(self) -> int:
        """Calls that are worth having under way: one that runs and one that is being copied, per server."""
        return 2 * max(1, len(self._servers))

    @property
    def filled_rows(self) -> int:
        """See ServingEngine."""
        return FILLED_ROWS

    @property
    def identity(self) -> str:
        """See ServingEngine."""
        return f"triton at {', '.join(sorted(self.urls))}"

    @property
    def events(self) -> Mapping[str, int]:
        """Steps that were `retried` on another server, and that were `lost`."""
        return self._events

    @property
    def broken(self) -> Mapping[str, str]:
        """Why models get no traffic from one server or the other, by model; `*` stands for servers that do not answer."""
        reasons: dict[str, str] = {}
        for server in self._servers.values():
            reasons |= {weights.name: reason for weights, reason in server.faults.items()}
            if server.down:
                reasons["*"] = server.down
        return reasons

    async def start(self) -> None:
        """Reach the servers. One that is down now joins when it comes up."""
        if freed := sweep():
            log.info("freed %d shared memory regions that a gateway left behind", freed)
        await self._round()
        self._keep(self._watch())

    async def close(self) -> None:
        """Free shared memory and connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(server.close() for server in self._servers.values()))
        self._servers.clear()

    def models(self) -> Mapping[str, Model]:
        """The version that takes new traffic, by name."""
        return self._versions.models()

    def lease(self, name: str) -> AbstractContextManager[Model]:
        """Hold the version that takes new traffic for as long as a request runs. Raises UnknownModel."""
        return self._versions.lease(name)

    async def check(self, name: str) -> None:
        """A golden inference on every server. Raises EngineUnavailable with the reasons where none is right, or UnknownModel."""
        model = self._versions.current(name)
        await asyncio.gather(*(server.examine() for server in self._servers.values()))
        answers = await asyncio.gather(*(self._proof(server, model) for server in self._servers.values()))
        if None not in answers:
            raise EngineUnavailable(f"model {name!r} has no healthy server: {'; '.join(sorted({str(a) for a in answers}))}")

    async def load(self, name: str) -> Model:
        """Load the newest version on the servers' disks; the old one serves until the new one's golden answer was right.

        Raises UnknownModel, or EngineUnavailable with the reason where no server could load and prove it.
        """
        async with self._loading:
            await self._drained(name)  # Triton keeps two versions: the one that is in use, and the new one
            self._unwanted.discard(name)
            failures = [failure for failure in await asyncio.gather(*map(self._load_on(name), self._servers.values())) if failure]
            self._adopt()
            if failures and len(failures) == len(self._servers):
                raise failures[0]
            return self._versions.current(name)

    async def unload(self, name: str) -> None:
        """No new traffic; the servers forget the model when the last request has left it. Raises UnknownModel."""
        self._versions.current(name)
        self._unwanted.add(name)
        self._versions.deactivate(name)

    async def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> Outputs:
        """See `service.engines.contract.Engine`. A server's failure is asked of another one, once."""
        model, _ = self._versions.find(ticket.weights)
        feeds = to_feeds(x_t, condition, time)
        tried: list[RemoteServer] = []
        failure: ServiceError = EngineUnavailable(f"model {model.spec.name!r} has no healthy server", retry_after=1)
        for attempt in range(2):
            server = self._choose(ticket, tried)
            if server is None:
                break
            self._events["retried"] += attempt
            try:
                return await server.predict(model, feeds, ticket)
            except BLAMELESS:
                raise
            except QueueFull as error:
                failure = error
            except (EngineUnavailable, BadAnswer, UnknownModel) as error:
                server.blame(ticket, error)
                self._wake.set()
                failure = error
            tried.append(server)
        self._events["lost"] += 1
        if isinstance(failure, UnknownModel):  # known here, so it is the server that has lost it
            raise EngineUnavailable(failure.detail, retry_after=1) from failure
        raise failure

    def _choose(self, ticket: Ticket, tried: Sequence[RemoteServer]) -> RemoteServer | None:
        """The next server in turn that has proven these very weights and was not tried."""
        fit = [server for server in self._servers.values() if ticket.weights in server.proven and server not in tried]
        self._turn += 1
        return fit[self._turn % len(fit)] if fit else None

    async def _proof(self, server: RemoteServer, model: Model) -> str | None:
        """Why the server does not serve the model rightly; None where it does."""
        if server.down:
            return server.down
        if model.weights not in server.proven:
            return server.faults.get(model.weights, f"version {model.version} is not loaded")
        try:
            await server.prove(model)
        except ServiceError as error:
            return error.detail
        return None

    def _load_on(self, name: str) -> Any:
        async def load(server: RemoteServer) -> ServiceError | None:
            try:
                await server.load(name)
            except UnknownModel as error:
                return UnknownModel(f"there is no model {name!r} in the servers' repository") if not server.down else error
            except ServiceError as error:
                return EngineUnavailable(f"a server could not load model {name!r}: {type(error).title.lower()}")
            finally:
                await server.examine()
            versions = [weights for weights in (*server.proven, *server.faults) if weights.name == name]
            newest = max(versions, key=lambda weights: weights.version, default=None)
            return EngineUnavailable(server.faults[newest]) if newest in server.faults else None

        return load

    def _adopt(self) -> None:
        """New traffic goes to the newest version that some server has proven; a model that somebody unloaded gets none."""
        newest: dict[str, Model] = {}
        for server in self._servers.values():
            for model in server.proven.values():
                name = model.spec.name
                if name not in self._unwanted and (name not in newest or newest[name].version < model.version):
                    newest[name] = model
        current = self._versions.models()
        for name, model in newest.items():
            known = current.get(name)
            if known is None or (known.version <= model.version and known.weights != model.weights):
                self._versions.activate(model, None)
        up = [server for server in self._servers.values() if not server.down]
        for name in current:
            if up and all(name in server.gone for server in up):
                self._versions.deactivate(name)

    async def _watch(self) -> None:
        """Examine the servers, round after round; at once when a call has failed, but not without pause."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._probe_seconds):
                    await self._wake.wait()
                    await asyncio.sleep(self._probe_seconds / 5)
            self._wake.clear()
            try:
                await self._round()
            except Exception:
                log.exception("a round of examining Triton servers failed; the next one follows")

    async def _round(self) -> None:
        """Look the names up, examine every server, and adopt what they serve."""
        addresses = await resolve(self.urls)
        if addresses is not None:
            for address in addresses - self._servers.keys():
                self._servers[address] = RemoteServer(address, self._make_transport, self._longest_step)
            for address in self._servers.keys() - addresses:
                self._keep(_let_go(self._servers.pop(address)))
        await asyncio.gather(*(server.examine() for server in self._servers.values()))
        self._adopt()

    async def _make_transport(self, client: Any) -> Transport:
        """Shared memory where the server can open what this process made; else bytes, if that is allowed."""
        by_bytes = self._choice == "bytes" or (self._choice == "auto" and not has_shared_memory())
        if by_bytes and self._make_region is None:
            return Bytes()
        region = (self._make_region or SystemRegion)(4096)
        try:
            await region.register(client)
            await region.unregister(client)
        except InferenceServerException as error:
            if self._choice == "system" or self._make_region is not None:
                raise EngineUnavailable("the server cannot open this gateway's shared memory") from error
            return Bytes()
        finally:
            region.free()
        shared = Shared(client, RegionPool(self._make_region or SystemRegion), "cuda" if self._make_region else "system")
        shared.tidy()
        return shared

    async def _drained(self, name: str) -> None:
        """Wait until requests hold no version of the model but the current one. Raises EngineUnavailable after DRAIN_SECONDS."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._versions.older(name):
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError as error:
            raise EngineUnavailable(f"requests still hold version {self._versions.older(name)} of model {name!r}") from error

    def _forget(self, model: Model, _: None) -> None:
        """The last request has left the version; if the model is unloaded, the servers may let go of it."""
        self._left.set()
        if model.spec.name in self._unwanted:
            self._keep(self._unload_everywhere(model.spec.name))

    async def _unload_everywhere(self, name: str) -> None:
        for server in self._servers.values():
            with contextlib.suppress(ServiceError):  # a server that is down has forgotten it anyway
                await server.unload(name)

    def _keep(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _let_go(server: RemoteServer) -> None:
    """Close the connection to a server that gets no new calls, once those that are under way have been answered."""
    try:
        async with asyncio.timeout(LEAVING_SECONDS):
            await server.empty.wait()
    except TimeoutError:
        log.warning("Triton at %s has left, and calls to it have not been answered", server.address)
    finally:
        await server.close()


def split_url(url: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`. Raises ValueError naming the url."""
    host, _, port = url.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or "/" in host:
        raise ValueError(f"{url!r} is no address of a Triton server; expected host:port, the port being that of gRPC")
    return host.strip("[]"), int(port)


async def resolve(urls: Sequence[str]) -> set[str] | None:
    """All addresses behind the urls; None while a name cannot be looked up, since that says nothing of the servers behind it."""
    loop = asyncio.get_running_loop()
    addresses = set()
    for host, port in map(split_url, urls):
        try:
            entries = await loop.getaddrinfo(host, port, type=1)
        except OSError as error:
            log.warning("%s cannot be looked up: %s", host, error)
            return None
        addresses |= {f"[{entry[4][0]}]:{port}" if ":" in str(entry[4][0]) else f"{entry[4][0]}:{port}" for entry in entries}
    return addresses
