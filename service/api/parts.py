"""What answers over HTTP need, opened and closed with the server."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from service.gateway import Gateway, open_gateway
from service.jobs.queue import JobQueue
from service.jobs.runner import open_job_queue, webhooks_of
from service.jobs.webhooks import Webhooks
from service.references import References, references_of
from service.settings import Settings
from service.telemetry.metrics import Metrics

Opener = Callable[[Settings, Metrics], AbstractAsyncContextManager[Gateway]]


@dataclass(frozen=True)
class Parts:
    """The members of an application's `state` that routes read."""

    gateway: Gateway
    jobs: JobQueue
    webhooks: Webhooks
    references: References


def usual_gateway(settings: Settings, metrics: Metrics) -> AbstractAsyncContextManager[Gateway]:
    """The gateway that the settings describe."""
    return open_gateway(settings, metrics=metrics)


def lifespan_of(settings: Settings, metrics: Metrics, opener: Opener) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Of an application of Starlette's, whose `state` has the parts once they are open, or as `failure` why they are not."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                parts = await stack.enter_async_context(_open(settings, metrics, opener))
            except Exception as failed:
                app.state.failure = failed
                raise
            for name, part in vars(parts).items():
                setattr(app.state, name, part)
            yield

    return lifespan


@asynccontextmanager
async def _open(settings: Settings, metrics: Metrics, opener: Opener) -> AsyncIterator[Parts]:
    webhooks, references = webhooks_of(settings), references_of(settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(references.close)
        gateway = await stack.enter_async_context(opener(settings, metrics))
        jobs = await stack.enter_async_context(open_job_queue(gateway, webhooks, references))
        yield Parts(gateway, jobs, webhooks, references)
