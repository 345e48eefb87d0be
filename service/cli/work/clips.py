"""The part of rddm restore that is for clips."""

import argparse
import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from service.cli.arguments import CLIP_OPTIONS
from service.cli.verb import Refused, local_settings, parameters_of
from service.cli.work.backends import COMMAND_LINE
from service.cli.work.files import is_folder
from service.cli.work.output import display
from service.keys import RequestContext
from service.restoration.models import steps_of
from service.restoration.opening import open_service
from service.settings import Settings
from service.video.facts import NO_LIMIT, SUFFIX_OF, SUFFIXES, ClipBounds
from service.video.parameters import ClipParameters
from service.video.service import ClipService

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.engines.contract import Model
    from service.video.restoration import ClipProgress

PICTURE_OPTIONS = {
    "mask": "--mask",
    "format": "--format",
    "returned": "--return",
    "metadata": "--metadata",
    "lossless": "--lossless",
}
OPTIONS = ("steps", "seed", "strength", "brightness", "brightness_mean", "steady", "codec", "quality")


def refuse_clip_options(given: argparse.Namespace) -> None:
    """Raises Refused where one was given for pictures."""
    for name in CLIP_OPTIONS:
        if getattr(given, name) is not None:
            raise Refused(f"--{name} is for clips, and {given.source} is none")


def restore_clip(given: argparse.Namespace, usual_task: str | None) -> int:
    """Here, or on a running gateway. usual_task: where none is named."""
    for name, option in PICTURE_OPTIONS.items():
        if getattr(given, name) is not None:
            raise Refused(f"{option} is for pictures, and {given.source} is a clip")
    if not given.source.is_file():
        raise Refused(f"{given.source} is neither a file nor a folder")
    parameters = parameters_of(
        ClipParameters,
        task=given.task or usual_task,
        **{name: getattr(given, name) for name in OPTIONS},
        container=_container(given.output, given.container),
    )
    target = _target(given.source, given.output, parameters)
    if target.resolve() == given.source.resolve():
        raise Refused(f"{target} is the clip to restore, and its result would replace it; expected another OUT")
    if given.server is not None:
        status = asyncio.run(_restore_there(given.source, target, parameters, given.server, given.key))
    else:
        settings = local_settings(given.server, given.model_repository)()
        status = asyncio.run(_restore_here(given.source, target, parameters, settings))
    if status == 0:
        modified = given.source.stat().st_mtime_ns
        os.utime(target, ns=(modified, modified))
    return status


def _container(output: str | None, container: str | None) -> str | None:
    if output is None or is_folder(output):
        return container
    suffix = Path(output).suffix.lower()
    if suffix not in SUFFIXES:
        raise Refused(f"{output} ends in {suffix!r}; expected {', '.join(SUFFIXES)}")
    if container is not None and container != SUFFIXES[suffix]:
        raise Refused(f"--container {container} and {output} differ; expected one of them, or the same")
    return SUFFIXES[suffix]


def _target(source: Path, output: str | None, parameters: ClipParameters) -> Path:
    suffix = SUFFIX_OF[parameters.options().container]
    if output is None:
        return source.with_name(f"{source.stem}-restored{suffix}")
    return Path(output) / f"{source.stem}{suffix}" if is_folder(output) else Path(output)


def work_folder(target: Path) -> Path:
    """Where segments lie until the clip is whole: beside it, so that one rename finishes it."""
    return target.with_name(f".{target.name}.rddm-work")


async def _restore_here(source: Path, target: Path, parameters: ClipParameters, settings: Settings) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    bounds = ClipBounds(settings.max_pixels, settings.max_side, NO_LIMIT, NO_LIMIT)
    context = RequestContext(f"command-{time.monotonic_ns()}", COMMAND_LINE, started)
    async with open_service(settings, wanted=parameters.of_frames, starts_codecs=False) as service:
        with display("restoring") as shown:

            def on_frame(done: "ClipProgress") -> None:
                shown.show(done.frame, done.frames or None)

            result = await ClipService(service).restore(source, target, work_folder(target), parameters, context, on_frame, bounds)
            spent = time.monotonic() - started
            resumed = f", {result.resumed} of them from an earlier run" if result.resumed else ""
            shown.tell(
                f"{target}  {_models(result.models, parameters)}, seed {parameters.seed}, steady {result.steady}  "
                f"{result.frames} frames{resumed}  {spent:.2f} s"
            )
            for frame, models in result.plans if parameters.is_auto else ():
                shown.tell(f"{source}: from frame {frame} on {_models(models, parameters)}")
            for note in result.notes:
                shown.tell(f"{source}: {note}")
    return 0


def _models(models: "Sequence[Model]", parameters: ClipParameters) -> str:
    return " and ".join(f"{model.spec.name}, {steps_of(model.spec, parameters.steps)} steps" for model in models) or "as it was"


async def _restore_there(source: Path, target: Path, parameters: ClipParameters, server: str, key: str | None) -> int:
    from service.client import clips as client_clips  # noqa: PLC0415 (imports httpx2, which work in this process does not need)

    target.parent.mkdir(parents=True, exist_ok=True)
    with display("restoring") as shown:

        def on_frame(frame: int, frames: int) -> None:
            shown.show(frame, frames or None)

        job = await client_clips.restore_clip(source, target, server, key, on_frame, **parameters.model_dump(exclude_none=True))
        shown.tell(f"{target}  {job['model']}, seed {job['seed']}, steady {job['clip']['steady']}  {job['step']} frames")
    return 0
