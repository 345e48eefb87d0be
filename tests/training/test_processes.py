"""Two processes train one model: the gradients they step with are the mean of both."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.checkpoint import load_checkpoint
from training.data.datasets import make_sources
from training.recipe import load_recipe
from training.synthesis.draws import Dice, Pairs
from training.trainer import MicroBatch, Trainer, drawn_batches

RECIPE = """
steps = 2
batch = 2
accumulate = 1
clip = 1000.0
optimiser = {{ rate = 0.001 }}
ema = {{ update_every = 1, update_after_step = 100 }}
[spec]
name = "tiny"
task = "tiny"
licence = "test"
size_multiple = 8
[network]
kind = "small"
widths = [8, 8]
depths = [1, 1]
[data]
kind = "folder"
target = "{folder}/target"
given = "{folder}/given"
side = 16
"""


def joined(a: MicroBatch, b: MicroBatch) -> MicroBatch:
    pairs = Pairs(*(torch.cat([getattr(a.pairs, part), getattr(b.pairs, part)]) for part in ("target", "given")))
    return MicroBatch(pairs, torch.cat([a.t, b.t]), torch.cat([a.eps, b.eps]))


@pytest.mark.slow
def test_two_processes_step_as_one_with_both_batches(tmp_path: Path, root: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ("target", "given"):
        (tmp_path / part).mkdir()
        for name in "abcdefghijkl":
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / part / f"{name}.png")
    recipe_file = tmp_path / "recipe.toml"
    recipe_file.write_text(RECIPE.format(folder=tmp_path))
    # --standalone: the launcher's own store binds port 0, and the processes get the port that it has.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = ["-m", "training.train", str(recipe_file), "-o", str(tmp_path / "run"), "--device", "cpu"]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    subprocess.run([*launch, *run], cwd=root, env=variables, check=True, timeout=280)

    recipe = load_recipe(recipe_file)
    source, _ = make_sources(recipe.data, None, torch.device("cpu"))
    alone = Trainer(recipe, torch.device("cpu"))
    streams = [
        drawn_batches(recipe, alone.objective, source, Dice(torch.Generator().manual_seed(recipe.seed + rank))) for rank in range(2)
    ]
    for _ in range(recipe.steps):
        alone.step(iter([joined(*(next(stream) for stream in streams))]))
    for key, value in load_checkpoint(tmp_path / "run").weights.items():
        torch.testing.assert_close(value, alone.ema.average.state_dict()[key], rtol=0, atol=1e-5)
