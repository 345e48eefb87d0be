"""rddm restore: a picture, a clip, or every picture of a folder."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.cli import clips
from service.cli.arguments import add_server
from service.cli.backends import Backend, OutputFile, open_backend
from service.cli.files import SUFFIX_OF, SUFFIXES, format_of, is_folder, write_whole
from service.cli.output import summary_of, tell
from service.cli.verb import Refused, local_settings, parameters_of, run_verb
from service.client import ClientError
from service.errors import ServiceError
from service.pictures.formats import FORMATS
from service.restoration.parameters import RestoreParameters
from service.settings import Settings
from service.video.facts import is_clip

AT_ONCE = 2


def restore(argv: Sequence[str]) -> int:
    """Restore a picture, a clip, or every picture of a folder."""
    return run_verb(_restore, argv)


def _restore_arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rddm restore", description="Restores a picture, a clip, or every picture of a folder.")
    parser.add_argument(
        "source", type=Path, metavar="IN", help=f"a picture ({', '.join(SUFFIXES)}), a clip, or a folder of pictures"
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="file or folder (beside IN, with `-restored` in its name)")
    parser.add_argument("--task", help="a model's name or task, see `rddm models` (the default model)")
    parser.add_argument("--steps", type=int, help="network calls (the model's own number)")
    parser.add_argument("--seed", type=int, help="0 if absent")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="for models that take one: white is restored")
    parser.add_argument("--format", choices=list(FORMATS), help="of the result (by OUT's name, else like IN)")
    parser.add_argument(
        "--return", dest="returned", choices=["image", "residual", "steps"], help="the picture, what was removed, or the steps"
    )
    parser.add_argument("--metadata", choices=["keep", "all", "none"], help="keep leaves out places (keep)")
    clips.add_clip_options(parser)
    add_server(parser)
    return parser


@dataclass(frozen=True)
class RestoreItem:
    """One picture to restore. parameters: what is said of all of them."""

    source: Path
    target: Path
    parameters: RestoreParameters
    mask: bytes | None


def _restore(argv: Sequence[str]) -> int:
    given = _restore_arguments().parse_args(argv)
    if is_clip(given.source) and not given.source.is_dir():
        return clips.restore_clip(given)
    clips.refuse_clip_options(given)
    mask = given.mask.read_bytes() if given.mask is not None else None
    parameters = parameters_of(
        RestoreParameters,
        **{name: getattr(given, name) for name in ("task", "steps", "seed", "returned", "metadata")},
        format=given.format if given.source.is_dir() else format_of(given.output, given.format),
    )
    items = [RestoreItem(source, target, parameters, mask) for source, target in _pairs(given.source, given.output, parameters)]
    settings = local_settings(given.server, given.model_repository)
    return asyncio.run(_restore_all(items, given.server, given.key, settings))


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
    return Path(output) / f"{source.stem}{suffix}" if is_folder(output) else Path(output)


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


async def _restore_all(items: Sequence[RestoreItem], server: str | None, key: str | None, settings: Callable[..., Settings]) -> int:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    failures: list[str] = []
    async with open_backend(server, key, settings) as backend:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            bar = progress.add_task("restoring", total=len(items))
            free = asyncio.Semaphore(AT_ONCE)

            async def run(item: RestoreItem) -> None:
                async with free:
                    begun = time.perf_counter()
                    try:
                        result = await _restore_one(backend, item)
                        tell(progress.console, f"{item.target}  {summary_of(result)}  {time.perf_counter() - begun:.2f} s")
                    except (ServiceError, ClientError, OSError) as error:
                        failures.append(f"{item.source}: {error}")
                    progress.advance(bar)

            await asyncio.gather(*(run(item) for item in items))
    for failure in failures:
        print(f"rddm: {failure}", file=sys.stderr)
    return 1 if failures else 0


async def _restore_one(backend: Backend, item: RestoreItem) -> OutputFile:
    result = await backend.restore(await asyncio.to_thread(item.source.read_bytes), item.mask, item.parameters)
    await asyncio.to_thread(write_whole, item.target, result.body)
    return result
