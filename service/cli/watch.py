"""rddm watch: what comes into a folder is restored into another, for as long as it runs."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from service.bulk import BatchJob, Store, StoreError, Summary, open_store, run_batch
from service.bulk.deferred import defer_restorer
from service.bulk.entries import settled
from service.bulk.folder import Folder
from service.bulk.runner import Listener
from service.bulk.stores import STATE, Entry
from service.cli.batch import TERMINATED, add_parameters, end_on_sigterm, outside, parameters_in
from service.cli.verb import Refused, run_verb, settings_of

SHORTEST, LONGEST = 0.1, 3600.0


def watch(argv: Sequence[str]) -> int:
    """Restore what comes into a folder, until it is ended."""
    return run_verb(_watch, argv)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rddm watch",
        description="Restores the pictures of IN into OUT, and each that comes or changes, once it is whole. Records lie below "
        f"OUT/{STATE}, as those of `rddm batch`: a second start does what the first left. Ends by Ctrl-C or SIGTERM.",
    )
    parser.add_argument("source", metavar="IN", help="a folder")
    parser.add_argument("target", metavar="OUT", help="a folder, or s3://, gs:// or az:// with a prefix")
    add_parameters(parser)
    parser.add_argument("--retry-failed", action="store_true", help="try pictures again that failed in an earlier run")
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=2.0,
        metavar="SECONDS",
        help="between two looks; a file that both see alike is whole (2)",
    )
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not SHORTEST <= seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no interval; expected {SHORTEST:g} to {LONGEST:g} seconds")
    return seconds


def _watch(argv: Sequence[str]) -> int:
    given = _arguments().parse_args(argv)
    job = BatchJob(parameters_in(given), retry_failed=given.retry_failed)
    if not given.source or not Path(given.source).is_dir():
        raise Refused(f"{given.source or 'an empty name'} is no folder; expected a folder to watch")
    try:
        source, target = Folder(given.source), open_store(given.target, may_create=True)
        entries = outside(settled(source, given.interval), source, target)
        asyncio.run(_run(job, source, target, entries))
    except StoreError as error:
        raise Refused(str(error)) from error
    except asyncio.CancelledError:
        print("rddm: ended by SIGTERM; the next start goes on where the records end", file=sys.stderr)
    return TERMINATED


async def _run(job: BatchJob, source: Store, target: Store, entries: AsyncIterator[Entry]) -> None:
    end_on_sigterm()
    async with defer_restorer(settings_of(), job.parameters) as restorer:
        await restorer.start()  # what is wrong with it is said now, not when a picture comes
        print(f"watching {source.name}; results and records go to {target.name}", flush=True)
        await run_batch(job, source, target, restorer, entries, _lines())


def _lines() -> Listener:
    """A line for every picture that was restored or failed."""
    shown = 0

    def show(summary: Summary) -> None:
        nonlocal shown
        for record in summary.problems[shown:]:
            print(f"{record.key}: {record.problem}", file=sys.stderr)
        shown = len(summary.problems)
        counts = f"{summary.restored} restored, {summary.failed} failed"
        before = summary.kept + summary.failed_before
        print(f"{counts}, {summary.refused} no pictures, {before} of earlier runs", file=sys.stderr, flush=True)

    return show
