"""How a call's arrays reach a server and come back: in the message, or through memory that both processes map."""

import asyncio
import logging
import math
from collections.abc import Coroutine, Sequence
from typing import Any, Literal, Protocol

from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from rddm.graph import X_T
from service.engines.contract import Array, Feeds
from service.engines.triton.errors import LostRegion, translated
from service.engines.triton.shared_memory import FOLDER, PREFIX, Region, RegionPool, layout
from service.errors import BadAnswer, EngineUnavailable, OutOfMemory, ServiceError

log = logging.getLogger(__name__)

Kind = Literal["bytes", "system", "cuda"]
Placed = Sequence[tuple[str, tuple[int, ...], int]]  # name, shape, offset in bytes
DATATYPE = "FP32"
# A call that nobody waits for any more may still write to its region for as long as Triton's queue policy lets it wait.
QUARANTINE_SECONDS = 60.0


class Call(Protocol):
    """One inference with everything but its tensors decided."""

    async def __call__(self, inputs: list[InferInput], outputs: list[InferRequestedOutput]) -> Any: ...


class Transport(Protocol):
    """feeds in, one array per name of `outputs` out, each shaped like x_t."""

    kind: Kind

    async def exchange(self, call: Call, feeds: Feeds, outputs: Sequence[str], model: str) -> tuple[Array, ...]: ...

    async def close(self) -> None: ...


class Bytes:
    """Tensors in the message itself: works everywhere, and costs a copy at each end."""

    kind: Kind = "bytes"

    async def exchange(self, call: Call, feeds: Feeds, outputs: Sequence[str], model: str) -> tuple[Array, ...]:
        """NumPy in and out."""
        with translated(model):
            inputs = []
            for name, array in feeds.items():
                one = InferInput(name, list(array.shape), DATATYPE)
                one.set_data_from_numpy(array)
                inputs.append(one)
            result = await call(inputs, [InferRequestedOutput(name) for name in outputs])
            arrays = [result.as_numpy(name) for name in outputs]
        if any(array is None for array in arrays):
            raise BadAnswer(f"model {model!r} left out an output; expected {list(outputs)}")
        return tuple(arrays)

    async def close(self) -> None:
        """Nothing is held."""


class Shared:
    """Tensors in regions of shared memory, registered once and used again; beyond the pool's limit, in the message."""

    def __init__(self, client: Any, pool: RegionPool, kind: Kind) -> None:
        self.kind: Kind = kind
        self._client = client
        self._pool = pool
        self._known: dict[str, Region] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def tidy(self) -> None:
        """Make the server forget, after a while, what gateways registered that were killed: it would hold that memory for ever."""
        self._later(self._forget_abandoned())

    async def exchange(self, call: Call, feeds: Feeds, outputs: Sequence[str], model: str) -> tuple[Array, ...]:
        """Arrays come back as the kind that was given. A server that was started anew gets the region registered again."""
        shapes = [tuple(array.shape) for array in feeds.values()] + [tuple(feeds[X_T].shape)] * len(outputs)
        offsets, size = layout(shapes)
        placed = list(zip([*feeds, *outputs], shapes, offsets, strict=True))
        region = self._pool.take(size)
        if region is None and self.kind == "cuda":
            raise OutOfMemory(f"there is no shared memory on the GPU for model {model!r}")
        if region is None:
            return await Bytes().exchange(call, feeds, outputs, model)
        certain = False
        try:
            for name, _, offset in placed[: len(feeds)]:
                region.write(offset, feeds[name])
            region.settle()
            result = await self._ask(call, region, placed[: len(feeds)], placed[len(feeds) :], model)
            certain = True
            return self._read(result, region, placed[len(feeds) :], model)
        except ServiceError as error:
            # only an error that the server itself answered tells that it is done with the region
            certain = certain or error.status in {404, 422, 429}
            raise
        finally:
            self._put_away(region, certain)

    async def close(self) -> None:
        """Make the server forget the regions, as far as it answers, and free them."""
        for task in self._retiring:
            task.cancel()
        try:
            async with asyncio.timeout(1):
                for region in self._known.values():
                    await region.unregister(self._client)
        except (TimeoutError, InferenceServerException) as error:
            log.info("a Triton server did not hear that shared memory is gone: %s", error)
        self._pool.close()

    async def _ask(self, call: Call, region: Region, feeds: Placed, answers: Placed, model: str) -> Any:
        inputs, outputs = [], []
        for name, shape, offset in feeds:
            inputs.append(InferInput(name, list(shape), DATATYPE))
            inputs[-1].set_shared_memory(region.name, 4 * math.prod(shape), offset)
        for name, shape, offset in answers:
            outputs.append(InferRequestedOutput(name))
            outputs[-1].set_shared_memory(region.name, 4 * math.prod(shape), offset)
        try:
            return await self._tell_and_call(call, region, inputs, outputs, model)
        except LostRegion:
            log.info("model %s: the server was started anew; shared memory is registered again", model)
            self._known.clear()
        try:
            return await self._tell_and_call(call, region, inputs, outputs, model)
        except LostRegion as error:
            raise EngineUnavailable(f"the server of model {model!r} loses its shared memory") from error

    async def _tell_and_call(
        self, call: Call, region: Region, inputs: list[InferInput], outputs: list[InferRequestedOutput], model: str
    ) -> Any:
        with translated(model):
            if region.name not in self._known:
                await region.register(self._client)
                self._known[region.name] = region
            return await call(inputs, outputs)

    def _read(self, result: Any, region: Region, answers: Placed, model: str) -> tuple[Array, ...]:
        """The outputs, if the server says that it wrote what was expected."""
        arrays = []
        for name, shape, offset in answers:
            tensor = result.get_output(name)
            if tensor is None or tuple(tensor.shape) != shape:
                raise BadAnswer(f"{name} of model {model!r} has shape {tuple(tensor.shape) if tensor else None}; expected {shape}")
            arrays.append(region.read(offset, shape))
        return tuple(arrays)

    def _put_away(self, region: Region, certain: bool) -> None:
        if certain:
            self._pool.give_back(region)
            return
        self._pool.retire(region)
        if self._known.pop(region.name, None) is not None:
            self._later(self._forget(region))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _forget_abandoned(self) -> None:
        """Another gateway's retired region has no file either, but is forgotten by that gateway within this time."""
        try:
            before = await self._abandoned()
            await asyncio.sleep(QUARANTINE_SECONDS)
            for name in before & await self._abandoned():
                await self._client.unregister_system_shared_memory(name)
        except InferenceServerException as error:
            log.info("abandoned regions could not be unregistered: %s", error.status())

    async def _abandoned(self) -> set[str]:
        known = (await self._client.get_system_shared_memory_status()).regions
        return {name for name in known if name.startswith(PREFIX) and not (FOLDER / name).exists()}

    async def _forget(self, region: Region) -> None:
        await asyncio.sleep(QUARANTINE_SECONDS)
        try:
            await region.unregister(self._client)
        except InferenceServerException as error:  # then the server that knew it is gone, and its hold with it
            log.info("a retired region could not be unregistered: %s", error.status())
