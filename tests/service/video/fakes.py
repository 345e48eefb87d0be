"""Samplers that need no network."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rddm.image import to_pixels
from service.sampling.work import Listener, Result, Work
from service.video.facts import ClipOptions
from service.video.restoration import ClipRestorer, ClipResult, ClipWork, Steadying
from tests.service.fakes import model_of
from tests.service.video.clips import BOUNDS, LIMITS


@dataclass(eq=False)
class IdentitySampler:
    """Gives back what it is given, later frames sooner than earlier ones. fails_at: raises after so many frames."""

    seconds: float = 0.0
    fails_at: int | None = None
    works: list[Work] = field(default_factory=list)
    most: int = 0
    running: int = 0

    async def run(self, work: Work, on_step: Listener | None = None) -> Result:
        assert work.x_in is not None
        self.works.append(work)
        if self.fails_at is not None and len(self.works) > self.fails_at:
            raise RuntimeError("the sampler broke")
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(self.seconds * (2 - len(self.works) % 2))
        self.running -= 1
        return Result(to_pixels(work.x_in, work.depth), work.x_in)


def work_on(
    source: Path, target: Path, steady: Steadying = "off", condition: tuple[str, ...] = ("image",), **options: Any
) -> ClipWork:
    """A clip's work with a fake model."""
    return ClipWork(
        source,
        target,
        target.with_name(f".{target.name}.work"),
        model_of(condition=condition),
        steps=1,
        seed=0,
        options=ClipOptions(**options),
        steady=steady,
        request="request",
        caller="caller",
    )


def restorer_of(sampler: IdentitySampler | None = None, at_once: int = 2) -> ClipRestorer:
    """A restorer with real worker processes."""
    return ClipRestorer(sampler or IdentitySampler(), BOUNDS, LIMITS, at_once)


async def through(source: Path, target: Path, **facts: Any) -> ClipResult:
    """The clip with nothing changed but its coding."""
    return await restorer_of().restore(work_on(source, target, **facts))


def psnr(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], top: float) -> float:
    """In dB."""
    return float(10 * np.log10(top**2 / max(1e-12, np.mean((a.astype(float) - b) ** 2))))
