"""Whether the gateway can serve: golden answers of every model, and the requests that still run while it goes down."""

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from service.engines.contract import Repository
from service.errors import ServiceError, ShuttingDown
from service.telemetry.metrics import Metrics

log = logging.getLogger("rddm.health")
CHECK_SECONDS = 2.0  # readiness is asked for often; an answer this young is given again
ALIVE = {"status": "ok"}  # what a process answers that answers
SCRAPE_SECONDS = 2.0  # that /metrics waits for golden answers; Prometheus itself waits for ten


@dataclass(eq=False)
class Drain:
    """Counts the requests in work, and turns new ones away once the gateway is closing."""

    closing: bool = False
    working: int = 0

    @contextmanager
    def track(self) -> Iterator[None]:
        """Holds the gateway open for the block. Raises ShuttingDown."""
        if self.closing:
            raise ShuttingDown("this gateway finishes what it has and takes nothing new", retry_after=5)
        self.working += 1
        try:
            yield
        finally:
            self.working -= 1


class Readiness:
    """Golden inferences of every model, each at most once in CHECK_SECONDS, whoever asks; the one that it was loaded by counts."""

    def __init__(self, repository: Repository, metrics: Metrics) -> None:
        self._repository = repository
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self._states: dict[str, dict[str, Any]] = {}
        self._at = -CHECK_SECONDS
        self._logged: set[str] = set()
        self._asked: asyncio.Task[dict[str, dict[str, Any]]] | None = None

    async def states(self) -> dict[str, dict[str, Any]]:
        """{"ready", "version", "detail"?} by model."""
        async with self._lock:
            if time.monotonic() - self._at >= CHECK_SECONDS:
                models = self._repository.models()
                results = await asyncio.gather(*(self._state(name, model.version) for name, model in models.items()))
                self._states = dict(zip(models, results, strict=True))
                self._at = time.monotonic()
            return self._states

    async def refresh(self) -> None:
        """Bring the gauges up to date. Answers that take longer than SCRAPE_SECONDS, or fail, leave them as they were."""
        self._zero_missing()
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(self.states())
        done, _ = await asyncio.wait({self._asked}, timeout=SCRAPE_SECONDS)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("readiness could not be determined: %s", type(error).__name__, exc_info=error)

    def _zero_missing(self) -> None:
        """Models that were unloaded, or could not be loaded, do not answer; `*` is no model, see Repository.broken."""
        for name in (self._logged | self._repository.broken.keys()) - self._repository.models().keys() - {"*"}:
            self._metrics.observe_readiness(name, False)

    async def _state(self, name: str, version: int) -> dict[str, Any]:
        state: dict[str, Any] = {"ready": True, "version": version}
        try:
            if time.monotonic() - self._repository.loaded_at.get(name, -math.inf) >= CHECK_SECONDS:
                await self._repository.check(name)
        except ServiceError as error:
            state |= {"ready": False, "detail": error.detail}
        self._logged.add(name)
        self._metrics.observe_readiness(name, state["ready"])
        return state
