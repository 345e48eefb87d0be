"""What `rddm serve` serves: the API, and before it is there whether the gateway lives and is ready.

FastAPI and the routes take a seventh of a start's CPU time to import, and no readiness depends on them. They are imported once
somebody has been told that the gateway is ready, at once where somebody asks for anything else, and else a moment later.
"""

import asyncio
import gc
import os
from contextlib import suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.parts import Opener, lifespan_of, usual_gateway
from service.api.problems import of_service
from service.api.surroundings import middleware_of
from service.errors import ServiceError
from service.gateway import Gateway
from service.health import ALIVE
from service.settings import Settings
from service.telemetry.metrics import Metrics

QUIET_SECONDS = 1.0  # without a request: then what the first one would wait for is made ready
EXPORTED = "OTEL_"  # how variables begin that have FastAPI export traces, from its own start on


class Front:
    """An ASGI application. state: has the open parts (service.api.parts), as that of any application of Starlette's."""

    def __init__(self, settings: Settings, opener: Opener = usual_gateway) -> None:
        self._settings, self._opener, self._metrics = settings, opener, Metrics()
        self._asked = asyncio.Event()
        self._importing: asyncio.Task[ASGIApp] | None = None
        self._api: ASGIApp | None = None
        self._probes = Starlette(
            routes=[Route(path, answer) for path, answer in PROBES.items()],
            middleware=middleware_of(settings, self._metrics),
            exception_handlers={ServiceError: of_service},
            lifespan=lifespan_of(settings, self._metrics, opener),
        )
        self.state = self._probes.state
        if any(name.startswith(EXPORTED) for name in os.environ):
            self._api = self._make()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if self._api is None and scope["type"] == "lifespan":
            await self._probes(scope, receive, send)
        elif self._api is None and _is_probe(scope):
            await self._probes(scope, receive, send)
            self._asked.set()
        else:
            self._asked.set()
            api = self._api or await self.api()
            await api(scope, receive, send)

    async def api(self) -> ASGIApp:
        """The whole application, once it is imported: in a thread, so that whoever asks for readiness is answered meanwhile."""
        if self._importing is None:
            self._importing = asyncio.create_task(asyncio.to_thread(self._make))
        self._api = await asyncio.shield(self._importing)
        return self._api

    async def warm(self) -> None:
        """Makes ready what the first picture would wait for, once somebody was answered or nobody asks."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._asked.wait(), QUIET_SECONDS)
        await asyncio.gather(self.api(), self.state.gateway.warm())
        gc.freeze()  # as after the start

    def _make(self) -> ASGIApp:
        from service.api.framework import import_fastapi  # noqa: PLC0415

        import_fastapi()
        from service.api.app import create_app  # noqa: PLC0415

        app = create_app(self._settings, self._opener, self._metrics)
        app.state = self.state
        return app


def _is_probe(scope: Scope) -> bool:
    return scope["path"] in PROBES and scope["method"] in {"GET", "HEAD"} and scope["query_string"] in PLAIN


async def _alive(_: Request) -> Response:
    return JSONResponse(ALIVE)


async def _ready(request: Request) -> Response:
    gateway: Gateway = request.app.state.gateway
    return JSONResponse(await gateway.ready(any_model=request.query_params.get("require") == "any"))


PROBES = {"/healthz": _alive, "/v2/health/live": _alive, "/readyz": _ready, "/v2/health/ready": _ready}
PLAIN = {b"", b"require=all", b"require=any"}  # other queries are for the API, which judges them
