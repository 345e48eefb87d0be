"""Samplers that need no network."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from rddm.faults import FAULTS, PixelFacts, Views
from rddm.image import to_pixels
from service.analysis.classifier import Classifier
from service.engines.contract import Model
from service.sampling.work import Listener, Result, Work
from service.video.parameters import ClipParameters, Steadying
from service.video.restoration import ClipRestorer, ClipResult, ClipWork
from tests.service.fakes import model_of
from tests.service.video.clips import BOUNDS, LIMITS

Test = TypeVar("Test")


def in_kept_processes(test: Test) -> Test:
    """A test of what becomes of clips, whichever processes read and write them: they are those of the test before."""
    marked: Test = pytest.mark.usefixtures("kept_processes")(pytest.mark.asyncio(loop_scope="module")(test))
    return marked


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


@dataclass(eq=False)
class NamedSampler(IdentitySampler):
    """Each model does something of its own: lowlight brightens, by what its context says, others darken by a little."""

    async def run(self, work: Work, on_step: Listener | None = None) -> Result:
        result = await super().run(work, on_step)
        assert work.x_in is not None
        seen = work.x_in if work.context is None else work.context
        x_0 = work.x_in + (np.float32(0.3) - seen.mean() / 4 if work.model.spec.task == "lowlight" else np.float32(-0.02))
        return replace(result, pixels=to_pixels(x_0, work.depth))


class DarknessClassifier(Classifier):
    """Takes what is darker than a quarter as dark, and the rest as rainy, unless nothing is to be done."""

    digest = "fake"  # type: ignore[assignment]
    thresholds = dict.fromkeys(FAULTS, 0.5)  # type: ignore[assignment]

    def probabilities(self, views: Views, facts: PixelFacts) -> dict[str, float]:
        return dict.fromkeys(FAULTS, 0.0) | {
            "dark": 0.9 if facts.mean < 0.25 else 0.0,
            "rain": 0.9 if 0.25 <= facts.mean < 0.6 else 0.0,
        }


def models_of(*tasks: str, **facts: Any) -> tuple[Model, ...]:
    """Models of these tasks, and names; facts: of their specs."""
    return tuple(model_of(name=task, task=task, default_steps=1, **facts) for task in tasks)


def work_on(
    source: Path, target: Path, steady: Steadying = "off", condition: tuple[str, ...] = ("image",), **options: Any
) -> ClipWork:
    """A clip's work with a fake model."""
    models = (model_of(condition=condition, default_steps=1),)
    parameters = ClipParameters(steady=steady, **options)
    return ClipWork(source, target, target.with_name(f".{target.name}.work"), models, parameters, "request", "caller")


def restorer_of(sampler: IdentitySampler | None = None, at_once: int = 2) -> ClipRestorer:
    """A restorer with real worker processes."""
    return ClipRestorer(sampler or IdentitySampler(), BOUNDS, LIMITS, at_once, DarknessClassifier())


async def through(source: Path, target: Path, **facts: Any) -> ClipResult:
    """The clip with nothing changed but its coding."""
    return await restorer_of().restore(work_on(source, target, **facts))


def psnr(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], top: float) -> float:
    """In dB."""
    return float(10 * np.log10(top**2 / max(1e-12, np.mean((a.astype(float) - b) ** 2))))
