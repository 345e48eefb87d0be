"""The gateway as an ASGI application."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from service.api import handlers, openapi
from service.api.parts import Opener, lifespan_of, usual_gateway
from service.api.prefix import prefix_of
from service.api.routes import admin, catalogue, clips, jobs, openai, pictures
from service.api.surroundings import middleware_of
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
DESCRIPTION = "Restores and generates pictures with residual denoising diffusion models, in two to ten network calls."


def create_app(settings: Settings, opener: Opener = usual_gateway, metrics: Metrics | None = None) -> FastAPI:
    """The application; its parts are opened when the server starts and are members of `app.state` from then on."""
    metrics = metrics or Metrics()
    app = FastAPI(
        title="RDDM Serve",
        description=DESCRIPTION,
        version=version("rddm-serve"),
        lifespan=lifespan_of(settings, metrics, opener),
        middleware=middleware_of(settings, metrics),
        docs_url=None,  # FastAPI's own pages fetch scripts from another host
        redoc_url=None,
        telemetry={"logs": False, "metrics": False, "operation_spans": False, "auto_configure": True, "exclude": is_quiet},
    )
    for part in (pictures, clips, jobs, catalogue, openai, admin):
        app.include_router(part.router)
    handlers.install(app)
    openapi.install(app, (RestoreBody, AnalyseBody, GenerateBody, openai.OpenAIParameters), settings.has_keys)
    if PAGE.is_dir():
        _show_page(app)
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
