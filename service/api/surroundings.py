"""The middleware around every answer, as the settings want it."""

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from service.api.middleware import BodyLimits, RefusalMiddleware, RequestMiddleware
from service.settings import Settings
from service.telemetry.metrics import Metrics

CLIP_BODY_SECONDS = 3600.0
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


def middleware_of(settings: Settings, metrics: Metrics) -> list[Middleware]:
    """The outermost first."""
    requests = Middleware(
        RequestMiddleware,
        on_request=metrics.observe_request,
        limits=body_limits(settings),
        limits_of={"/restore/video": clip_limits(settings)},
        root_path=settings.root_path,
    )
    cors = Middleware(
        CORSMiddleware, allow_origins=settings.cors_origins, allow_methods=["*"], allow_headers=["*"], expose_headers=EXPOSED
    )
    return [requests, *([cors] if settings.cors_origins else []), Middleware(RefusalMiddleware)]


def body_limits(settings: Settings) -> BodyLimits:
    """What the middleware bounds bodies by."""
    return BodyLimits(settings.max_body_bytes, settings.body_timeout_seconds, settings.idle_timeout_seconds)


def clip_limits(settings: Settings) -> BodyLimits:
    """The limits of a clip's body, which is larger and so comes for longer."""
    return BodyLimits(settings.max_clip_bytes, CLIP_BODY_SECONDS, settings.idle_timeout_seconds)
