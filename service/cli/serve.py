"""rddm serve: the gateway over HTTP."""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from service import timings
from service.api.front import Front
from service.api.server import Server, bind, leave_out_tracebacks
from service.cli.verb import Refused, run_verb, settings_of
from service.engines.registry import ENGINES, check_installed
from service.engines.repository import describe
from service.errors import ServiceError
from service.gateway import keyring_of
from service.restoration.models import ModelNames
from service.settings import Settings
from service.telemetry import logs

FORESEEN = (ServiceError, OSError)  # why a gateway does not start


def serve(argv: Sequence[str]) -> int:
    """Start the gateway: restore and generate over HTTP, with a web page."""
    return run_verb(_serve, argv)


def _serve(argv: Sequence[str]) -> int:
    given = vars(_serve_arguments().parse_args(argv))
    parts = timings.record() if given.pop("timings") else None
    with timings.part("settings"):
        settings = settings_of(**given)
    if settings.needs_keys:
        raise Refused(
            f"{settings.host} can be reached from other machines and there are no keys: give --keys-file FILE "
            "(lines `name sha256-of-the-key [megapixel-steps per minute] [admin]`), or --open to let everybody in"
        )
    try:
        keyring_of(settings)
    except (OSError, ValueError) as wrong:
        raise Refused(f"keys: {wrong}") from wrong
    for module in _needed(settings):
        check_installed(module)
    _check_default(settings)
    logs.configure(settings.log_level)
    sockets = bind(settings.host, settings.port)
    settings = settings.model_copy(update={"port": sockets[0].getsockname()[1]})
    with timings.part("application"):
        app = Front(settings)
        leave_out_tracebacks(app, FORESEEN)
        server = Server(app, settings, lambda: print(timings.table(parts, "listening"), flush=True) if parts else None)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets)
    except SystemExit:
        reason = getattr(app.state, "failure", f"{settings.host}:{settings.port} cannot be listened on")
        print(f"rddm: the gateway did not start: {reason}", file=sys.stderr)
    finally:
        for one in sockets:
            one.close()
    return 0 if server.started else 1


def _check_default(settings: Settings) -> None:
    """Raises NotFound for a default model that was set and does not lie in the folder.

    One that lies there may be repaired and loaded later, and what a server has is not known yet: both are logged only.
    """
    if ENGINES[settings.engine].local and "default_model" in settings.model_fields_set:
        models, broken = describe(settings.model_repository)
        if models and not broken:
            ModelNames(settings, lambda: models).check_default()


def _needed(settings: Settings) -> Iterator[str]:
    """The modules that extras install and that these settings ask for."""
    yield ENGINES[settings.engine].module
    if settings.device != "cpu":
        yield "torch"
    if settings.database_url is not None:
        yield from ("psycopg", "psycopg_pool")


def _serve_arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rddm serve",
        description="Starts the gateway. Every setting is also an environment variable: RDDM_HOST, RDDM_MAX_PIXELS and so on.",
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on; 0 for a free one, which is printed (8000)")
    summaries = ", or ".join(kind.summary for kind in ENGINES.values())
    parser.add_argument("--engine", choices=list(ENGINES), help=f"{summaries} ({next(iter(ENGINES))})")
    parser.add_argument("--precision", choices=["f32", "bf16"], help="of the arithmetic of --engine openvino (f32)")
    parser.add_argument("--triton-urls", metavar="HOST:PORT,...", help="gRPC addresses of Triton (127.0.0.1:8001)")
    parser.add_argument("--model-repository", type=Path, metavar="FOLDER", help="models in Triton's layout (those that ship)")
    parser.add_argument("--default-model", metavar="NAME", help="answers where no task is named (lowlight, or what restores)")
    parser.add_argument("--device", help="cpu, or cuda with the extra `gpu`: where pictures are kept while they are sampled (cpu)")
    parser.add_argument("--threads", type=int, help="threads of one network call (1)")
    parser.add_argument("--instances", type=int, help="network calls side by side (one per core)")
    parser.add_argument(
        "--keys-file", type=Path, metavar="FILE", help="API keys: `name sha256 [megapixel-steps per minute] [admin]`"
    )
    parser.add_argument("--open", action="store_true", default=None, help="serve on a public address without keys")
    parser.add_argument("--timings", action="store_true", help="say what the parts of the start took")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"])
    return parser
