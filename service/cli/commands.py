"""The verbs of the service: serve, restore, generate, models."""

import argparse
import asyncio
import contextlib
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.api.app import create_app
from service.api.server import Server
from service.cli.backends import Backend, OutputFile, open_backend
from service.client import Client, ClientError
from service.client.operations import to_address, to_headers
from service.errors import ServiceError
from service.gateway import keyring_of
from service.pictures.kinds import KINDS
from service.restoration.parameters import GenerateParameters, RestoreParameters
from service.settings import KEY_VARIABLE, Settings, unknown_variables
from service.telemetry import logs

SUFFIXES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif", ".tif": "tiff", ".tiff": "tiff"}
SUFFIX_OF = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "avif": ".avif", "tiff": ".tiff"}
AT_ONCE = 2
LINE = 1000  # a table's line is as long as its words: a terminal breaks it, a pipe takes it whole
O = TypeVar("O", bound=BaseModel)  # noqa: E741


class Refused(Exception):
    """What the caller of a verb must change; said on standard error, with exit status 2."""


def _verb(run: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    try:
        return run(argv)
    except Refused as refused:
        print(f"rddm: {refused}", file=sys.stderr)
        return 2
    except (ServiceError, ClientError, OSError) as error:
        print(f"rddm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _settings(**given: Any) -> Settings:
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as wrong:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))} = {one['input']!r}: {one['msg'].lower()}" for one in wrong.errors())
        raise Refused(f"settings: {told}") from wrong


def _parameters(kind: type[O], **given: Any) -> O:
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as wrong:
        raise Refused("; ".join(f"{one['loc'][0]} = {one['input']!r}: {one['msg'].lower()}" for one in wrong.errors())) from wrong


def serve(argv: Sequence[str]) -> int:
    """Start the gateway: restore and generate over HTTP, with a web page."""
    return _verb(_serve, argv)


def _serve(argv: Sequence[str]) -> int:
    settings = _settings(**vars(_serve_arguments().parse_args(argv)))
    if settings.needs_keys:
        raise Refused(
            f"{settings.host} can be reached from other machines and there are no keys: give --keys-file FILE "
            "(lines `name sha256-of-the-key [megapixel-steps per minute] [admin]`), or --open to let everybody in"
        )
    try:
        keyring_of(settings)
    except (OSError, ValueError) as wrong:
        raise Refused(f"keys: {wrong}") from wrong
    logs.configure(settings.log_level)
    for name in unknown_variables():
        print(f"rddm: the environment variable {name} is no setting of this service", file=sys.stderr)
    app = create_app(settings)
    server = Server(app, settings)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run()
    except SystemExit:
        reason = getattr(app.state, "failure", f"{settings.host}:{settings.port} cannot be listened on")
        print(f"rddm: the gateway did not start: {reason}", file=sys.stderr)
    return 0 if server.started else 1


def _serve_arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rddm serve",
        description="Starts the gateway. Every setting is also an environment variable: RDDM_HOST, RDDM_MAX_PIXELS and so on.",
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (8000)")
    parser.add_argument(
        "--engine", choices=["embedded", "triton"], help="ONNX Runtime in this process, or Triton servers (embedded)"
    )
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
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"])
    return parser


def restore(argv: Sequence[str]) -> int:
    """Restore a picture, or every picture of a folder."""
    return _verb(_restore, argv)


def _restore_arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rddm restore", description="Restores a picture, or every picture of a folder.")
    parser.add_argument("source", type=Path, metavar="IN", help=f"a picture ({', '.join(SUFFIXES)}) or a folder of pictures")
    parser.add_argument("-o", "--output", metavar="OUT", help="file or folder (beside IN, with `-restored` in its name)")
    parser.add_argument("--task", help="a model's name or task, see `rddm models` (the default model)")
    parser.add_argument("--steps", type=int, help="network calls (the model's own number)")
    parser.add_argument("--seed", type=int, help="0 if absent")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="for models that take one: white is restored")
    parser.add_argument("--format", choices=list(KINDS), help="of the result (by OUT's name, else like IN)")
    parser.add_argument(
        "--return", dest="returned", choices=["image", "residual", "steps"], help="the picture, what was removed, or the steps"
    )
    parser.add_argument("--metadata", choices=["keep", "all", "none"], help="keep leaves out places (keep)")
    _add_server(parser)
    return parser


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", type=_server, metavar="URL", help="a running gateway to ask, instead of working here")
    given = os.environ.get(KEY_VARIABLE)
    parser.add_argument("--key", type=_key, default=given, help=f"its API key (the environment's {KEY_VARIABLE})")


def _server(text: str) -> str:
    try:
        return str(to_address(text))
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from wrong


def _key(text: str) -> str:
    try:
        to_headers(text)
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from wrong
    return text


@dataclass(frozen=True)
class RestoreItem:
    """One picture to restore. parameters: what is said of all of them."""

    source: Path
    target: Path
    parameters: RestoreParameters
    mask: bytes | None


def _restore(argv: Sequence[str]) -> int:
    given = _restore_arguments().parse_args(argv)
    mask = given.mask.read_bytes() if given.mask is not None else None
    parameters = _parameters(
        RestoreParameters,
        **{name: getattr(given, name) for name in ("task", "steps", "seed", "returned", "metadata")},
        format=given.format if given.source.is_dir() else _named(given.output, given.format),
    )
    items = [RestoreItem(source, target, parameters, mask) for source, target in _pairs(given.source, given.output, parameters)]
    return asyncio.run(_restore_all(items, given.server, given.key))


def _is_folder(output: str) -> bool:
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def _named(output: str | None, format_: str | None) -> str | None:
    """The format that --format or OUT's name asks for. Raises Refused for a name that asks for another."""
    if format_ is not None or output is None or _is_folder(output):
        return format_
    suffix = Path(output).suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise Refused(f"{output} ends in {suffix!r}; expected {', '.join(SUFFIXES)}, or a --format beside it")
    return SUFFIXES.get(suffix)


def _pairs(source: Path, output: str | None, parameters: RestoreParameters) -> list[tuple[Path, Path]]:
    """Every picture and where its result goes. Raises Refused where there is none, or a file would be lost."""
    if source.is_file():
        return _checked([(source, _target(source, output, parameters))])
    if not source.is_dir():
        raise Refused(f"{source} is neither a file nor a folder")
    whole = source.resolve() if source.name in {"", ".."} else source  # those have no name of their own
    folder = Path(output) if output is not None else whole.with_name(f"{whole.name}-restored")
    inside = folder.resolve() if folder.resolve() != source.resolve() else None  # what an earlier call left is no picture of it
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    found = [path for path in found if inside not in path.resolve().parents]
    if not found:
        raise Refused(f"there is no picture in {source}; expected files ending in {', '.join(SUFFIXES)}")
    return _checked([(path, folder / path.relative_to(source).with_suffix(_suffix(path, parameters))) for path in found])


def _target(source: Path, output: str | None, parameters: RestoreParameters) -> Path:
    suffix = _suffix(source, parameters)
    if output is None:
        return source.with_name(f"{source.stem}-restored{suffix}")
    return Path(output) / f"{source.stem}{suffix}" if _is_folder(output) else Path(output)


def _checked(pairs: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """The same pairs. Raises Refused where two results have one name, or one has the name of a picture that is restored."""
    sources = {source.resolve() for source, _ in pairs}
    taken: dict[Path, Path] = {}
    for source, target in pairs:
        if target.resolve() in sources:
            raise Refused(f"{target} is a picture to restore, and the result of {source} would replace it; expected another OUT")
        if target in taken:
            raise Refused(f"{taken[target]} and {source} would both become {target}; expected them in two calls, with two OUTs")
        taken[target] = source
    return pairs


def _suffix(source: Path, parameters: RestoreParameters) -> str:
    if parameters.format is not None:
        return SUFFIX_OF[parameters.format]
    return ".png" if parameters.returned != "image" else source.suffix


async def _restore_all(items: Sequence[RestoreItem], server: str | None, key: str | None) -> int:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    failures: list[str] = []
    async with open_backend(server, key, _settings) as backend:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            bar = progress.add_task("restoring", total=len(items))
            free = asyncio.Semaphore(AT_ONCE)

            async def run(item: RestoreItem) -> None:
                async with free:
                    begun = time.perf_counter()
                    try:
                        result = await _restore_one(backend, item)
                        _tell(progress.console, f"{item.target}  {_summary(result)}  {time.perf_counter() - begun:.2f} s")
                    except (ServiceError, ClientError, OSError) as error:
                        failures.append(f"{item.source}: {error}")
                    progress.advance(bar)

            await asyncio.gather(*(run(item) for item in items))
    for failure in failures:
        print(f"rddm: {failure}", file=sys.stderr)
    return 1 if failures else 0


async def _restore_one(backend: Backend, item: RestoreItem) -> OutputFile:
    result = await backend.restore(await asyncio.to_thread(item.source.read_bytes), item.mask, item.parameters)
    await asyncio.to_thread(_write, item.target, result.body)
    return result


def _write(target: Path, body: bytes) -> None:
    """The whole file or none: what was there before stays until all of the new one is on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not target.is_file():
        target.write_bytes(body)  # a device, or the error of a folder
        return
    place = target.resolve()
    part = place.with_name(f".rddm-{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(body)
        if place.exists():
            part.chmod(place.stat().st_mode)
        part.replace(place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _tell(console: Console, line: str) -> None:
    """A line as it is: no name is taken for markup or broken at the edge."""
    console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)


def _summary(result: OutputFile) -> str:
    return f"{result.model}, {result.steps} steps, seed {result.seed}"


def generate(argv: Sequence[str]) -> int:
    """Generate pictures out of noise."""
    return _verb(_generate, argv)


def _generate(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="rddm generate", description="Generates pictures; picture k of n is what seed + k gives alone."
    )
    parser.add_argument(
        "-o",
        "--output",
        default="generated.png",
        metavar="OUT",
        help="file, or folder for generated.png; with -n a number is put into its name",
    )
    parser.add_argument("--model", help="see `rddm models` (the first that generates)")
    parser.add_argument("--steps", type=int, help="network calls (the model's own number)")
    parser.add_argument("--seed", type=int, help="chosen and told if absent")
    parser.add_argument("-n", type=int, help="how many (1)")
    parser.add_argument("--grid", action="store_true", help="one picture with all of them")
    parser.add_argument("--format", choices=list(KINDS), help="of the files (by OUT's name, else png)")
    _add_server(parser)
    given = parser.parse_args(argv)
    parameters = _parameters(
        GenerateParameters,
        **{name: getattr(given, name) for name in ("model", "steps", "seed", "n", "grid")},
        format=_named(given.output, given.format),
    )
    name = f"generated{SUFFIX_OF[parameters.format or 'png']}"
    output = Path(given.output, name) if _is_folder(given.output) else Path(given.output)
    return asyncio.run(_generate_all(parameters, output, given.server, given.key))


async def _generate_all(parameters: GenerateParameters, output: Path, server: str | None, key: str | None) -> int:
    console = Console(stderr=True)
    async with open_backend(server, key, _settings) as backend:
        with console.status("generating"):
            pictures = await backend.generate(parameters)
    for number, picture in enumerate(pictures):
        target = output if len(pictures) == 1 else output.with_stem(f"{output.stem}-{number}")
        _write(target, picture.body)
        _tell(console, f"{target}  {_summary(picture)}")
    return 0


def models(argv: Sequence[str]) -> int:
    """List the models: task, steps, sizes, licence, digest; load and unload them on a running gateway."""
    return _verb(_models, argv)


def _models(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="rddm models", description="Lists the models that can be used, or loads and unloads one on a running gateway."
    )
    parser.add_argument("action", nargs="?", choices=["load", "unload", "reload"], help="what to do with NAME; list all if absent")
    parser.add_argument("name", nargs="?", metavar="NAME", help="load and reload take its newest version on disk")
    _add_server(parser)
    given = parser.parse_args(argv)
    if given.action is None:
        return _show_models(given.server, given.key)
    if given.name is None:
        raise Refused(f"{given.action} what? Expected rddm models {given.action} NAME")
    with Client(given.server or f"http://127.0.0.1:{_settings().port}", api_key=given.key) as client:
        done = client.unload(given.name) if given.action == "unload" else client.load(given.name)
    print(f"{done.name}  version {done.version}  {done.digest[:8]}  {'loaded' if done.loaded else 'unloaded'}")
    return 0


def _show_models(server: str | None, key: str | None) -> int:
    table = Table("name", "task", "kind", "version", "steps", "size", "licence", "digest", box=None, pad_edge=False)
    for facts in asyncio.run(_list_models(server, key)):
        steps, size = facts["steps"], facts["size"]["image_size"]
        table.add_row(
            *(facts["name"], facts["task"], facts["kind"], str(facts["version"])),
            f"{steps['default']} ({steps['min']}..{steps['max']})",
            f"{size[1]}x{size[0]}" if size else "any",
            *(facts["licence"], facts["digest"][:8]),
        )
    Console(width=LINE).print(table)
    return 0


async def _list_models(server: str | None, key: str | None) -> list[dict[str, Any]]:
    async with open_backend(server, key, _settings) as backend:
        return await backend.models()
