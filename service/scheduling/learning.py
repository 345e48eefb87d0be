"""Learns batch sizes while the engine has nothing else to do, and keeps what was learnt."""

import asyncio
import logging

from service.engines.arrays import Arrays
from service.engines.contract import Engine, Model, Weights
from service.errors import ServiceError
from service.scheduling.batch import SINGLE_ROWS, BatchSizes
from service.scheduling.learned import LearnedFile
from service.scheduling.proof import Probe, prove

log = logging.getLogger("rddm.scheduling")
IDLE_SECONDS = 1.0  # without a request, after which a proof starts


class Learner:
    """Proves one model after the other in idle moments; `wake` cancels the proof's call, so that no request waits for it.

    filled_rows: see `ServingEngine`.
    """

    def __init__(self, engine: Engine, arrays: Arrays, file: LearnedFile, filled_rows: int = 1) -> None:
        self._engine, self._arrays, self._file, self._filled_rows = engine, arrays, file, filled_rows
        self.sizes: dict[Weights, BatchSizes] = {}
        self._used: set[Weights] = set()
        self._unproven: dict[Weights, Probe] = {}
        self._task: asyncio.Task[None] | None = None

    def introduce(self, model: Model) -> None:
        """Makes a model known: with what an earlier process learnt of it, or to be proven in idle moments."""
        if model.weights not in self.sizes:
            learned = self._file.get(model.digest)
            self.sizes[model.weights] = learned or SINGLE_ROWS
            if learned is None:
                self._unproven[model.weights] = Probe(self._engine, model, self._arrays)

    def sizes_of(self, weights: Weights) -> BatchSizes:
        """The model's batch sizes; single rows before any was proven."""
        return self.sizes.get(weights, SINGLE_ROWS)

    def wake(self, weights: Weights) -> None:
        """A request for a model has come."""
        self._used.add(weights)
        self._cancel()

    def rest(self) -> None:
        """No request is left: models in use may be proven in a while."""
        self._cancel()
        if self._used & self._unproven.keys():
            self._task = asyncio.create_task(self._prove_used())

    async def prove_all(self) -> None:
        """Proves every model that was introduced, before the first request; one that does not answer stays with single rows."""
        for weights in list(self._unproven):
            await self._prove(weights)

    async def close(self) -> None:
        """Ends the proof."""
        self._cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _prove_used(self) -> None:
        await asyncio.sleep(IDLE_SECONDS)
        for weights in self._used & self._unproven.keys():
            await self._prove(weights)

    async def _prove(self, weights: Weights) -> None:
        probe = self._unproven[weights]
        try:
            sizes = await prove(probe, self._filled_rows)
        except ServiceError as error:
            log.warning("batches of model %s could not be tried: %s", weights.name, error.detail)
        else:
            self._file.put(probe.model.digest, sizes)
            # Filling up changes bytes: where answers were given already, it counts from the next start on.
            if not (sizes.fills and weights in self._used):
                self.sizes[weights] = sizes
        del self._unproven[weights]
