"""rddm restore: a picture, a clip, or every picture of a folder."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service import timings
from service.cli.arguments import add_adjusting, add_clip_options, add_metadata, add_server, add_task, add_writing, path, place
from service.cli.verb import Refused, is_refusal, local_settings, parameters_of, run_verb
from service.cli.work import clips
from service.cli.work.backends import Backend, OutputFile, open_backend
from service.cli.work.files import format_in, format_of, is_folder, sort_folder, write_whole
from service.cli.work.output import display, summary_of
from service.client.errors import ClientError
from service.errors import ServiceError
from service.pictures.formats import BY_SUFFIX, FORMATS, TITLES
from service.restoration.parameters import AUTO, RestoreParameters, usual_format
from service.settings import Settings
from service.video.facts import is_clip

AT_ONCE = 2
MOST_NAMED = 5
OPTIONS = ("task", "steps", "seed", "returned", "metadata", "quality", "lossless", "strength", "brightness", "brightness_mean")


def restore(argv: Sequence[str]) -> int:
    """Restore a picture, a clip, or every picture of a folder."""
    return run_verb(_restore, argv)


def _restore_arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rddm restore",
        description="Restores a picture, a clip, or every picture of a folder, as its content tells and not its name. Results "
        "have the modification times of what they were made of. Exit status: 0 all restored, 1 some failed or were left out, "
        "2 a value is not allowed.",
    )
    parser.add_argument("source", type=path, metavar="IN", help=f"a picture ({', '.join(TITLES)}), a clip, or a folder of pictures")
    parser.add_argument(
        "-o", "--output", type=place, metavar="OUT", help="file or folder (beside IN, with `-restored` in its name)"
    )
    add_task(
        parser, "auto: what is wrong with each picture; with --steps, --mask, --return or --model-repository the default model"
    )
    parser.add_argument("--mask", type=path, metavar="FILE", help="for models that take one: white is restored")
    parser.add_argument("--format", choices=list(FORMATS), help="of the result (by OUT's name, else like IN)")
    parser.add_argument(
        "--return", dest="returned", choices=["image", "residual", "steps"], help="the picture, what was removed, or the steps"
    )
    add_adjusting(parser)
    add_writing(parser, "; of clips CRF, 0 is best (18 for h264, 20 for h265, 25 for av1)")
    add_metadata(parser)
    add_clip_options(parser)
    parser.add_argument("--timings", action="store_true", help="say what the parts of the work took")
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
    parts = timings.record() if given.timings else None
    if is_clip(given.source) and not given.source.is_dir():
        return clips.restore_clip(given, usual_task(given))
    clips.refuse_clip_options(given)
    mask = _mask(given.mask)
    parameters = parameters_of(
        RestoreParameters,
        **{name: getattr(given, name) for name in OPTIONS} | {"task": usual_task(given) if given.task is None else given.task},
        format=given.format if given.source.is_dir() else format_of(given.output, given.format),
    )
    pairs, left_out = _pairs(given.source, given.output, parameters)
    items = [RestoreItem(source, target, parameters, mask) for source, target in pairs]
    settings = local_settings(given.server, given.model_repository)
    status = asyncio.run(_restore_all(items, given.server, given.key, settings))
    for words in left_out:
        print(f"rddm: left out: {words}", file=sys.stderr)
    if parts is not None:
        print(timings.table(parts, "all"), file=sys.stderr)
    return status or (1 if left_out else 0)


def _mask(file: Path | None) -> bytes | None:
    try:
        return None if file is None else file.read_bytes()
    except OSError as error:
        raise Refused(f"--mask {file} cannot be read: {(error.strerror or str(error)).lower()}") from error


def usual_task(given: argparse.Namespace) -> str | None:
    """Auto, unless something is said that is for one model: then the default model, None."""
    of_one_model = given.mask, given.steps, given.model_repository, given.returned if given.returned != "image" else None
    return AUTO if all(said is None for said in of_one_model) else None


def _pairs(source: Path, output: str | None, parameters: RestoreParameters) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Every picture and where its result goes, and what is left out, in words.

    Raises Refused where there is no picture, or a file would be lost.
    """
    if source.is_file():
        return _checked([(source, _target(source, output, parameters))]), []
    if not source.is_dir():
        raise Refused(f"{source} is neither a file nor a folder")
    whole = source.resolve() if source.name in {"", ".."} else source  # those have no name of their own
    folder = Path(output) if output is not None else whole.with_name(f"{whole.name}-restored")
    inside = folder.resolve() if folder.resolve() != source.resolve() else None  # what an earlier call left is no picture of it
    pictures, left_out = sort_folder(source, inside)
    if not pictures:
        raise Refused("; ".join([f"there is no picture in {source}", *left_out[:MOST_NAMED]]))
    pairs = [(path, folder / path.relative_to(source).with_name(_name(path, parameters))) for path in pictures]
    return _checked(pairs), left_out


def _target(source: Path, output: str | None, parameters: RestoreParameters) -> Path:
    if output is not None and not is_folder(output):
        return Path(output)
    name = _name(source, parameters)
    return Path(output) / name if output is not None else source.with_name(f"{source.stem}-restored{name[len(source.stem) :]}")


def _checked(pairs: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """The given pairs. Raises Refused where two results have one name, or one the name of a picture or a place below a file."""
    sources = {source.resolve() for source, _ in pairs}
    taken: dict[Path, Path] = {}
    for source, target in pairs:
        if target.resolve() in sources:
            raise Refused(f"{target} is a picture to restore, and the result of {source} would replace it; expected another OUT")
        if not _can_hold(target.parent):
            raise Refused(f"{target} cannot be written: one of its folders is a file; expected another OUT")
        if target in taken:
            raise Refused(f"{taken[target]} and {source} would both become {target}; expected them in two calls, with two OUTs")
        taken[target] = source
    return pairs


def _can_hold(folder: Path) -> bool:
    """Whether it is a folder, or one can be made there: no file is in its way."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), None)
    return there is None or there.is_dir()


def _name(source: Path, parameters: RestoreParameters) -> str:
    """The name of its result: its own, with another suffix where its own belongs to another format than is written."""
    record = FORMATS[parameters.format] if parameters.format else usual_format(parameters, format_in(source))
    suffix = source.suffix.lower()
    if suffix in record.suffixes or (not suffix and parameters.format is None):
        return source.name
    return f"{source.stem if suffix in BY_SUFFIX else source.name}{record.suffix}"


async def _restore_all(items: Sequence[RestoreItem], server: str | None, key: str | None, settings: Callable[..., Settings]) -> int:
    failures: list[str] = []
    refused = ended = 0
    async with open_backend(server, key, settings, items[0].parameters, one_request=len(items) == 1) as backend:
        with display("restoring", len(items)) as shown:
            free = asyncio.Semaphore(AT_ONCE)

            async def run(item: RestoreItem) -> None:
                nonlocal refused, ended
                async with free:
                    started = time.perf_counter()
                    try:
                        with timings.part(f"{item.source.name}: restored", awaits=True):
                            result = await _restore_one(backend, item)
                        shown.tell(f"{item.target}  {summary_of(result)}  {time.perf_counter() - started:.2f} s")
                    except (ServiceError, ClientError, OSError) as error:
                        failures.append(f"{item.source}: {error}")
                        refused += is_refusal(error)
                    ended += 1
                    shown.show(ended, len(items))

            await asyncio.gather(*(run(item) for item in items))
    for failure in failures:
        print(f"rddm: {failure}", file=sys.stderr)
    return 2 if refused == len(items) else 1 if failures else 0


async def _restore_one(backend: Backend, item: RestoreItem) -> OutputFile:
    result = await backend.restore(await asyncio.to_thread(item.source.read_bytes), item.mask, item.parameters)
    await asyncio.to_thread(write_whole, item.target, result.body, item.source.stat().st_mtime_ns)
    return result
