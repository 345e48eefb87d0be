"""One generator in diffusers' own pipeline loop and in ours: the same ONNX session, steps and size, in turns.

The pictures differ (DDIM's schedule is not the model's); what is compared is what the loop around the network costs.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler
from torch import Tensor, nn

from benchmarks.loop import Loop
from rddm.graph import to_feeds
from service.engines.contract import Model
from service.engines.embedded.engine import EmbeddedEngine
from service.sampling.pipeline import Pipeline
from service.sampling.work import Work
from service.scheduling.scheduler import Scheduler

Report = dict[str, Any]
STEPS = 10
PICTURES = 4  # a burst


class Unet(nn.Module):
    """A session as diffusers' pipelines call a UNet: (x_t, t) -> an object whose `sample` is the predicted noise."""

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self._loop = loop
        self.config = SimpleNamespace(sample_size=loop.spec.image_size, in_channels=3)

    def forward(self, x_t: Tensor, t: Tensor) -> Any:
        """The last output of the network."""
        times = np.full((len(x_t), 2), float(t), np.float32)
        return SimpleNamespace(sample=torch.from_numpy(self._loop.call(to_feeds(x_t.numpy(), None, times))[-1]))


def diffusers_pipeline(loop: Loop) -> Callable[[int], None]:
    """One picture from a seed."""
    pipeline = DDIMPipeline(Unet(loop), DDIMScheduler(num_train_timesteps=loop.spec.timesteps))
    pipeline.set_progress_bar_config(disable=True)
    return lambda seed: pipeline(1, torch.Generator().manual_seed(seed), num_inference_steps=STEPS, output_type="np") and None


def compare_generation(folder: Path, name: str | None, rounds: int, tick: Callable[[str], None]) -> Report:
    """Bare loop, our pipeline with its scheduler, and diffusers' pipeline. Raises SystemExit where no model generates."""
    return asyncio.run(_compare(folder, name, rounds, tick))


async def _compare(folder: Path, name: str | None, rounds: int, tick: Callable[[str], None]) -> Report:
    engine = EmbeddedEngine(folder)
    await engine.start()
    generators = {n: model for n, model in engine.models().items() if model.spec.generates and not model.spec.condition}
    if not generators or name not in {None, *generators}:
        raise SystemExit(f"no generator {name or ''} in the repository; there are {sorted(generators)}")
    model = generators[name or min(generators)]
    loop = Loop(folder, model.spec.name)
    scheduler = Scheduler(engine, engine.instances)
    scheduler.introduce(model)
    pipeline = Pipeline(scheduler, scheduler)
    torch.set_num_threads(1)
    theirs = diffusers_pipeline(loop)
    x_in = np.zeros((1, 3, *(model.spec.image_size or (0, 0))), np.float32)
    seconds: dict[str, list[float]] = {"bare loop": [], "gateway": [], "diffusers": []}
    for turn in range(rounds + 1):
        for kind, spent in seconds.items():
            started = time.process_time()
            for seed in range(PICTURES):
                if kind == "gateway":
                    await pipeline.run(_work(model, seed))
                elif kind == "diffusers":
                    theirs(seed)
                else:
                    loop.sample(x_in, STEPS, [seed])
            spent.append((time.process_time() - started) / PICTURES)
            tick(f"round {turn}: {kind}")
    pipeline.close()
    await scheduler.close()
    await engine.close()
    ratios = {
        kind: statistics.median(mine / bare for mine, bare in zip(spent[1:], seconds["bare loop"][1:], strict=True))
        for kind, spent in seconds.items()
    }
    return {"model": model.spec.name, "steps": STEPS, "cpu_seconds": seconds, "cpu_over_bare": ratios}


def _work(model: Model, seed: int) -> Work:
    return Work(model, STEPS, seed, "generation", "generation")
