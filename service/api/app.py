"""The gateway as an ASGI application."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.cors import CORSMiddleware

from service.api import openapi, problems
from service.api.middleware import BodyLimits, RefusalMiddleware, RequestMiddleware
from service.api.prefix import prefix_of
from service.api.routes import admin, catalogue, clips, jobs, openai, pictures
from service.gateway import Gateway, open_gateway
from service.jobs.runner import open_job_queue, webhooks_of
from service.references import references_of
from service.restoration.parameters import AnalyseBody, GenerateBody, RestoreBody
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import is_quiet

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}
PAGE = Path(__file__).parents[1] / "page"
CLIP_BODY_SECONDS = 3600.0
DESCRIPTION = "Restores and generates pictures with residual denoising diffusion models, in two to ten network calls."
EXPOSED = [
    "X-Request-Id",
    "X-Model",
    "X-Model-Digest",
    "X-Steps",
    "X-Changed",
    "X-Seed",
    "X-Steady",
    "X-Frames",
    "X-Dropped",
    "Server-Timing",
    "Content-Location",
    "ETag",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
]
Opener = Callable[[Settings, Metrics], AbstractAsyncContextManager[Gateway]]


def body_limits(settings: Settings) -> BodyLimits:
    """What the middleware bounds bodies by."""
    return BodyLimits(settings.max_body_bytes, settings.body_timeout_seconds, settings.idle_timeout_seconds)


def clip_limits(settings: Settings) -> BodyLimits:
    """The limits of a clip's body, which is larger and so comes for longer."""
    return BodyLimits(settings.max_clip_bytes, CLIP_BODY_SECONDS, settings.idle_timeout_seconds)


def _open(settings: Settings, metrics: Metrics) -> AbstractAsyncContextManager[Gateway]:
    return open_gateway(settings, metrics=metrics)


def create_app(settings: Settings, opener: Opener = _open) -> FastAPI:
    """The application; its parts are opened when the server starts and is `app.state.gateway` from then on."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        webhooks, references = webhooks_of(settings), references_of(settings)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(references.close)
            try:
                gateway = await stack.enter_async_context(opener(settings, metrics))
                jobs = await stack.enter_async_context(open_job_queue(gateway, webhooks, references))
            except Exception as failed:
                app.state.failure = failed
                raise
            app.state.gateway, app.state.jobs, app.state.webhooks, app.state.references = gateway, jobs, webhooks, references
            yield

    app = FastAPI(
        title="RDDM Serve",
        description=DESCRIPTION,
        version=version("rddm-serve"),
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages fetch scripts from another host
        redoc_url=None,
        telemetry={"logs": False, "metrics": False, "operation_spans": False, "auto_configure": True, "exclude": is_quiet},
    )
    for part in (pictures, clips, jobs, catalogue, openai, admin):
        app.include_router(part.router)
    problems.install(app)
    openapi.install(app, (RestoreBody, AnalyseBody, GenerateBody, openai.OpenAIParameters), settings.has_keys)
    if PAGE.is_dir():
        _show_page(app)
    app.add_middleware(RefusalMiddleware)  # the last added is the outermost
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.cors_origins, allow_methods=["*"], allow_headers=["*"], expose_headers=EXPOSED
        )
    app.add_middleware(
        RequestMiddleware,
        on_request=metrics.observe_request,
        limits=body_limits(settings),
        limits_of={"/restore/video": clip_limits(settings)},
        root_path=settings.root_path,
    )
    return app


def _show_page(app: FastAPI) -> None:
    app.mount("/static", Page(directory=PAGE), name="static")

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        prefix = prefix_of(request.scope)
        if not prefix:
            return FileResponse(PAGE / "index.html", headers=PAGE_HEADERS)
        based = (PAGE / "index.html").read_text("utf-8").replace("<head>", f'<head>\n  <base href="{prefix}/">', 1)
        return HTMLResponse(based, headers=PAGE_HEADERS)  # the address may lack its slash, as in /rddm

    @app.get("/docs", include_in_schema=False)
    async def docs() -> RedirectResponse:
        return RedirectResponse("static/reference.html")


class Page(StaticFiles):
    """The page's files, which fetch nothing from another host and are shown in no other page's frame."""

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        """As Starlette's, with our headers."""
        response = super().file_response(*arguments, **named)
        response.headers.update(PAGE_HEADERS)
        return response
