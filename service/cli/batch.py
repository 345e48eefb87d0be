"""rddm batch: every picture and clip of a folder, a bucket or a manifest, once, with a record of each."""

import argparse
import asyncio
import contextlib
import json
import math
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from service.bulk import BatchJob, Store, StoreError, Summary, open_store, run_batch
from service.bulk.deferred import defer_restorer
from service.bulk.entries import is_manifest, read_manifest
from service.bulk.folder import Folder
from service.bulk.picture import recipe_of
from service.bulk.runner import Listener
from service.bulk.stores import STATE, Entry, listed_ahead
from service.cli.arguments import CLIP_OPTIONS, add_adjusting, add_clip_options, add_metadata, add_task, add_writing, path
from service.cli.verb import Refused, parameters_of, run_verb, settings_of
from service.cli.work.files import write_whole
from service.pictures.formats import FORMATS
from service.restoration.parameters import RestoreParameters
from service.video.parameters import ClipParameters

OPTIONS = ("task", "steps", "seed", "format", "metadata", "quality", "lossless", "strength", "brightness", "brightness_mean")
SHARD = re.compile(r"(\d{1,9})/(\d{1,9})")
SHOWN_PROBLEMS = 20
TERMINATED = 143
BAR_AFTER_SECONDS, LINE_AFTER_SECONDS = 0.5, 60.0


def batch(argv: Sequence[str]) -> int:
    """Restore every picture of a folder, a bucket or a manifest, once."""
    return run_verb(_batch, argv)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rddm batch",
        description="Restores every picture and clip of SOURCE into TARGET, once. A second run does what the first left; every "
        f"object has a record below TARGET/{STATE}. Exit status: 0 all restored, 1 some failed, 2 a value is not allowed.",
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="a folder, s3://, gs:// or az:// with a prefix, or a manifest (.jsonl, .parquet)"
    )
    parser.add_argument("target", metavar="TARGET", help="a folder or a prefix for results and records")
    parser.add_argument("--root", metavar="STORE", help="what a manifest's keys are relative to (the manifest's own folder)")
    add_parameters(parser)
    add_clip_options(parser)
    parser.add_argument("--shard", type=_shard, default=(0, 1), metavar="I/N", help="part I of N, counted from 0: for N machines")
    parser.add_argument("--retry-failed", action="store_true", help="try pictures again that failed in an earlier run")
    parser.add_argument("--accept-failures", action="store_true", help="exit status 0 though pictures failed: the records tell")
    parser.add_argument("--dry-run", action="store_true", help="count what would be done, and do nothing")
    ray = parser.add_argument_group("on a Ray cluster (extra `ray`)")
    ray.add_argument("--ray", nargs="?", const="local", metavar="ADDRESS", help="auto, or ray://host:10001 (this machine)")
    ray.add_argument("--actors", type=int, metavar="N", help="restoration services in it (one a CPU, less one)")
    ray.add_argument("--actor-gpus", type=float, metavar="N", help="GPUs of each (0)")
    parser.add_argument("--summary", type=path, metavar="FILE", help="write the last line's figures as JSON")
    return parser


def add_parameters(parser: argparse.ArgumentParser) -> None:
    """What is asked of every picture."""
    add_task(parser)
    parser.add_argument("--format", choices=list(FORMATS), help="of the results (each like its picture)")
    add_adjusting(parser)
    add_writing(parser)
    add_metadata(parser)


def parameters_in(given: argparse.Namespace) -> RestoreParameters:
    """What `add_parameters` read. Raises Refused for values that are not allowed."""
    return parameters_of(RestoreParameters, **{name: getattr(given, name) for name in OPTIONS})


def _shard(text: str) -> tuple[int, int]:
    match = SHARD.fullmatch(text)
    if match is None or int(match[1]) >= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no shard; expected I/N with I from 0 to N-1, such as 0/4")
    return int(match[1]), int(match[2])


def _batch(argv: Sequence[str]) -> int:
    given = _arguments().parse_args(argv)
    clips = parameters_of(ClipParameters, **{name: getattr(given, name) for name in CLIP_OPTIONS})
    job = BatchJob(parameters_in(given), given.shard, given.retry_failed, given.dry_run, clips=clips)
    _check(given)
    try:
        source, manifest = _source(given.source, given.root)
        target = open_store(given.target, may_create=True)
        entries = source.entries() if manifest is None else read_manifest(*manifest)
        if given.ray is None or job.dry_run:
            summary = asyncio.run(_run(job, source, target, entries))
        else:
            summary = _run_on_ray(job, source, target, entries, given)
    except StoreError as error:
        raise Refused(str(error)) from error
    except asyncio.CancelledError:
        print("rddm: ended by SIGTERM; the next run goes on where the records end", file=sys.stderr)
        return TERMINATED
    status = _report(job, summary, given.target)
    if given.summary is not None:
        write_whole(given.summary, json.dumps(_figures(summary)).encode() + b"\n")
    return 0 if given.accept_failures else status


def _check(given: argparse.Namespace) -> None:
    """Raises Refused for what would be passed over, or fail when all is done."""
    if given.ray is None and given.actors is not None:
        raise Refused(f"--actors {given.actors} goes with --ray")
    if given.actors is not None and given.actors < 1:
        raise Refused(f"--actors {given.actors}; expected at least 1")
    if given.ray is None and given.actor_gpus is not None:
        raise Refused(f"--actor-gpus {given.actor_gpus:g} goes with --ray")
    if given.actor_gpus is not None and not 0 <= given.actor_gpus < math.inf:
        raise Refused(f"--actor-gpus {given.actor_gpus}; expected 0 or more")
    if given.summary is not None and (given.summary.is_dir() or not os.access(given.summary.absolute().parent, os.W_OK)):
        raise Refused(
            f"--summary {given.summary} cannot be written; expected a file in a folder that is there and may be written to"
        )


def _source(location: str, root: str | None) -> tuple[Store, tuple[Store, str] | None]:
    """The store of the pictures; of a manifest, also where it lies itself."""
    if not is_manifest(location):
        if root is not None:
            raise Refused(f"--root {root} goes with a manifest; {location} is none")
        return open_store(location), None
    folder, _, name = location.rpartition("/")
    at = open_store(folder or ".")
    return (at if root is None else open_store(root)), (at, name)


async def _run(job: BatchJob, source: Store, target: Store, entries: AsyncIterator[Entry]) -> Summary:
    end_on_sigterm()
    async with listed_ahead(outside(entries, source, target)) as listed, defer_restorer(settings_of(), job.parameters) as restorer:
        with _progress() as show:
            return await run_batch(job, source, target, restorer, listed, show)


def _run_on_ray(job: BatchJob, source: Store, target: Store, entries: AsyncIterator[Entry], given: argparse.Namespace) -> Summary:
    try:
        from service.bulk.cluster import list_pending, restore_rows  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise Refused(f"--ray needs the package {missing.name}; install it with pip install 'rddm-serve[ray]'") from missing
    summary = Summary()

    async def list_rows() -> tuple[str, Any, bool]:
        async with defer_restorer(settings_of(), job.parameters) as restorer:
            recipe = recipe_of(restorer, job.parameters, job.clips)
            return recipe, *await list_pending(job, target, recipe, outside(entries, source, target), summary)

    recipe, rows, resumed = asyncio.run(list_rows())
    summary.done_listing = True
    if not len(rows):
        return summary
    with _progress() as show:
        return restore_rows(
            job,
            _place(source),
            _place(target),
            recipe,
            rows,
            summary,
            show,
            resumed=resumed,
            address=None if given.ray == "local" else given.ray,
            actors=given.actors,
            gpus_per_actor=given.actor_gpus or 0,
        )


def _place(store: Store) -> str:
    """The store as every machine of a cluster names it; a folder is one that all of them mount."""
    return str(store.root) if isinstance(store, Folder) else store.name


@contextlib.contextmanager
def _progress() -> Iterator[Listener]:
    """A bar on a terminal once a run has taken a moment: one that finds everything done is over before. Else a line a minute."""
    if not sys.stderr.isatty():
        yield _lines(time.monotonic())
        return
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        bar: Listener | None = None

        def show(summary: Summary) -> None:
            nonlocal bar
            if bar is None and time.monotonic() - started > BAR_AFTER_SECONDS:
                bar = stack.enter_context(_bar(started))
            if bar is not None:
                bar(summary)

        yield show


def _lines(started: float) -> Listener:
    """For logs: how far the run is, every LINE_AFTER_SECONDS."""
    due = started + LINE_AFTER_SECONDS

    def show(summary: Summary) -> None:
        nonlocal due
        if (now := time.monotonic()) < due:
            return
        due = now + LINE_AFTER_SECONDS
        listed = f"{summary.listed:,}" if summary.done_listing else f"{summary.listed:,} listed so far"
        speed = summary.megapixels / (now - started)
        print(f"rddm: {summary.ended:,} of {listed}, {speed:.2f} megapixels/s, {summary.failed:,} failed", file=sys.stderr)

    return show


@contextlib.contextmanager
def _bar(started: float) -> Iterator[Listener]:
    """Pictures, megapixels a second, time left."""
    from rich.console import Console  # noqa: PLC0415 (short runs show no bar)
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.fields[listed]} files{task.fields[frames]}, {task.fields[speed]:.2f} megapixels/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("restoring", total=None, listed="?", frames="", speed=0.0)

        def show(summary: Summary) -> None:
            total = summary.listed if summary.done_listing else None
            speed = summary.megapixels / max(1e-3, time.monotonic() - started)
            frames = f", {summary.frames:,} frames of clips" if summary.frames else ""
            listed = f"{summary.listed:,}" if total else "?"
            progress.update(task, completed=summary.ended, total=total, listed=listed, frames=frames, speed=speed)

        yield show


def end_on_sigterm() -> None:
    """A pod that is taken away finishes its records; what was in work is done by the next run."""
    running = asyncio.current_task()
    with contextlib.suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: running and running.cancel())


async def outside(entries: AsyncIterator[Entry], source: Store, target: Store) -> AsyncIterator[Entry]:
    """The entries, less those that lie in a target within the source: results are no pictures to restore."""
    inside = _inside(source, target)
    async for entry in entries:
        if inside is None or inside not in PurePosixPath(entry.key).parents:
            yield entry


def _inside(source: Store, target: Store) -> PurePosixPath | None:
    if isinstance(source, Folder) and isinstance(target, Folder):
        if source.root == target.root:
            raise _same(target)
        return PurePosixPath(target.root.relative_to(source.root)) if source.root in target.root.parents else None
    prefix = source.name.rstrip("/") + "/"
    if target.name.rstrip("/") + "/" == prefix:
        raise _same(target)
    return PurePosixPath(target.name.removeprefix(prefix)) if target.name.startswith(prefix) else None


def _same(target: Store) -> StoreError:
    words = f"{target.name} is the source itself; expected another target, or results would replace pictures"
    return StoreError(words, fatal=True)


def _figures(summary: Summary) -> dict[str, float | int]:
    names = ("listed", "restored", "kept", "refused", "failed", "failed_before", "megapixels", "seconds")
    return {name: round(getattr(summary, name), 3) for name in names}


def _report(job: BatchJob, summary: Summary, target: str) -> int:
    for record in summary.problems[:SHOWN_PROBLEMS]:
        print(f"rddm: {record.key}: {record.problem}", file=sys.stderr)
    hidden = summary.failed + summary.refused - SHOWN_PROBLEMS
    if len(summary.problems) > SHOWN_PROBLEMS:
        print(f"rddm: {hidden} more; see the records", file=sys.stderr)
    if job.dry_run:
        left = summary.listed - summary.kept - summary.refused - summary.failed_before
        print(f"{left} of {summary.listed} objects would be read; {summary.kept} are restored already")
        return 0
    parts = [f"{summary.restored} restored"]
    parts += [f"{count} {words}" for count, words in _counts(summary) if count]
    speed = summary.megapixels / max(1e-3, summary.seconds)
    print(f"{', '.join(parts)}; {summary.seconds:.1f} s, {speed:.2f} megapixels/s; records: {target.rstrip('/')}/{STATE}")
    return 0 if summary.complete else 1


def _counts(summary: Summary) -> list[tuple[int, str]]:
    return [
        (summary.kept, "restored before"),
        (summary.refused, "no pictures"),
        (summary.failed, "failed"),
        (summary.failed_before, "failed before (--retry-failed tries them again)"),
    ]
