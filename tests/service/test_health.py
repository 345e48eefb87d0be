"""Readiness asks every model now and then; a gateway that goes down finishes what it has."""

import asyncio
import time

import pytest

from service import health
from service.errors import EngineUnavailable, ShuttingDown
from service.health import Drain, Readiness
from service.telemetry.metrics import Metrics
from tests.service.serving import FakeServingEngine


class Counting(FakeServingEngine):
    """Counts its golden inferences."""

    checks: int = 0

    async def check(self, name: str) -> None:
        self.checks += 1
        if self.gate is not None:
            await self.gate.wait()
        await super().check(name)


def exposed(metrics: Metrics) -> dict[str, str]:
    """rddm_engine_ready by model."""
    lines = metrics.exposition()[0].decode().splitlines()
    return dict(
        line.removeprefix('rddm_engine_ready{model="').split('"} ') for line in lines if line.startswith("rddm_engine_ready{")
    )  # type: ignore[misc]


async def test_every_model_is_asked_once_in_a_while_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Counting()
    readiness = Readiness(engine, Metrics())
    first, second = await asyncio.gather(readiness.states(), readiness.states())
    assert first == second
    assert engine.checks == len(engine.loaded)
    assert first["lowlight"] == {"ready": True, "version": 1}
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.0)
    await readiness.states()
    assert engine.checks == 2 * len(engine.loaded)


async def test_a_model_that_was_loaded_a_moment_ago_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Counting()
    now = time.monotonic()
    loaded = {"lowlight": now, "keeper": now - 2 * health.CHECK_SECONDS}
    monkeypatch.setattr(Counting, "loaded_at", property(lambda _: loaded))
    states = await Readiness(engine, Metrics()).states()
    assert all(state["ready"] for state in states.values())
    assert engine.checks == len(engine.loaded) - 1


async def test_a_model_that_does_not_answer_is_reported_with_its_reason() -> None:
    engine, metrics = FakeServingEngine(fault=EngineUnavailable("down")), Metrics()
    states = await Readiness(engine, metrics).states()
    assert states["keeper"] == {"ready": False, "version": 1, "detail": "model keeper does not answer"}
    assert set(exposed(metrics).values()) == {"0.0"}


async def test_a_model_that_is_gone_does_not_answer_any_more() -> None:
    engine, metrics = FakeServingEngine(), Metrics()
    readiness = Readiness(engine, metrics)
    await readiness.refresh()
    assert exposed(metrics)["keeper"] == "1.0"
    del engine.loaded["keeper"]
    await readiness.refresh()
    assert exposed(metrics)["keeper"] == "0.0"
    assert exposed(metrics)["lowlight"] == "1.0"


async def test_a_scrape_does_not_wait_for_slow_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "SCRAPE_SECONDS", 0.01)
    engine, metrics = Counting(gate=asyncio.Event()), Metrics()
    readiness = Readiness(engine, metrics)
    await readiness.refresh()
    await readiness.refresh()
    assert exposed(metrics) == {}
    assert engine.gate is not None
    engine.gate.set()
    await readiness.states()
    assert engine.checks == len(engine.loaded)


def test_a_closing_gateway_takes_nothing_new_and_counts_what_it_has() -> None:
    drain = Drain()
    with drain.track(), drain.track():
        assert drain.working == 2
    assert drain.working == 0
    drain.closing = True
    with pytest.raises(ShuttingDown) as refused, drain.track():
        pass
    assert refused.value.retry_after == 5
