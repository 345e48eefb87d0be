"""Learns batch sizes while the engine has nothing else to do, and keeps what was learnt."""

import asyncio
import logging
import math

from service.engines.arrays import Arrays
from service.engines.contract import Engine, Model, Weights
from service.errors import ServiceError
from service.scheduling.batch_sizes import BatchSizes
from service.scheduling.costs import Costs
from service.scheduling.learned import Learned, LearnedFile
from service.scheduling.proof import Probe, Trials, prove

log = logging.getLogger("rddm.scheduling")
IDLE_SECONDS = 1.0  # without a request, after which a proof starts


class Learner:
    """Proves one model after the other in idle moments; `wake` cancels the proof's call, so that no request waits for it."""

    def __init__(self, engine: Engine, arrays: Arrays, costs: Costs, file: LearnedFile) -> None:
        self._engine, self._arrays, self._costs, self._file = engine, arrays, costs, file
        self._models: dict[Weights, Model] = {}
        self._unproven: dict[Weights, Model] = {}
        self._trials: dict[Weights, Trials] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def introduce(self, model: Model) -> None:
        """Makes a model known: with what an earlier process learnt of it, or to be proven in idle moments."""
        weights = model.weights
        if weights in self._models:
            return
        self._models[weights] = model
        height, width = Probe(self._engine, model, self._arrays).shape
        learned = self._file.get(model.digest)
        if learned is not None and learned.seconds_per_megapixel is not None:
            self._costs.set_rate(weights, learned.seconds_per_megapixel)
        if learned is not None and learned.is_settled:
            self._costs.set_sizes(weights, BatchSizes(height * width, learned.largest, learned.fills, is_settled=True))
        else:
            self._costs.set_sizes(weights, BatchSizes(height * width))
            self._unproven[weights] = model

    def rest(self) -> None:
        """No request is left: a proof may start in a while."""
        self.wake()
        if self._next() is not None:
            self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._start)

    def wake(self) -> None:
        """A request has come."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._timer = self._task = None

    async def prove_all(self) -> None:
        """Proves every model that was introduced, before the first request; one that does not answer stays with single rows."""
        for model in list(self._unproven.values()):
            await self._prove(model)

    async def close(self) -> None:
        """Ends the proof, and keeps what was learnt."""
        task = self._task
        self.wake()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)
        for model in self._models.values():
            self._keep(model, self._costs.sizes(model.weights))

    def _next(self) -> Model | None:
        """A model that is in use and unproven."""
        used = (model for weights, model in self._unproven.items() if self._costs.is_measured(weights))
        return next(used, None)

    def _start(self) -> None:
        if (model := self._next()) is not None:
            self._task = asyncio.create_task(self._prove(model))
            self._task.add_done_callback(self._continue)

    def _continue(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("batch sizes could not be proven", exc_info=error)
            self._unproven.clear()
        if task is self._task:
            self.rest()

    async def _prove(self, model: Model) -> None:
        try:
            sizes = await prove(Probe(self._engine, model, self._arrays), self._trials.setdefault(model.weights, {}))
        except ServiceError as error:
            log.warning("batches of model %s could not be tried: %s", model.spec.name, error.detail)
            sizes = self._costs.sizes(model.weights)
        self._unproven.pop(model.weights, None)
        self._trials.pop(model.weights, None)
        self._keep(model, sizes)
        # Filling up changes bytes: where answers were given already, it counts from the next start on.
        if not (sizes.fills and self._costs.is_measured(model.weights)):
            self._costs.set_sizes(model.weights, sizes)

    def _keep(self, model: Model, sizes: BatchSizes) -> None:
        rate = self._costs.seconds_per_megapixel(model.weights)
        known = self._file.get(model.digest)
        if known is not None and known.is_settled and not sizes.is_settled:
            sizes = BatchSizes(largest=known.largest, fills=known.fills, is_settled=True)
        if sizes.is_settled or math.isfinite(rate):
            seconds = rate if math.isfinite(rate) else None
            learned = Learned(largest=sizes.largest, fills=sizes.fills, is_settled=sizes.is_settled, seconds_per_megapixel=seconds)
            if learned != known:
                self._file.put(model.digest, learned)
