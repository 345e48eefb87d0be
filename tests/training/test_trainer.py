"""Steps, weights, the learning rate, and a run that goes on where it stopped."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.runs import NETWORK, RECIPE, batches, dice, weights
from training.objective import LOSSES
from training.recipe import Optimiser
from training.trainer import Budget, Trainer, rate_share, train


def test_a_restoration_is_learned() -> None:
    trainer, own = Trainer(RECIPE, torch.device("cpu")), dice()
    losses = [trainer.step(batches(trainer, own)) for _ in range(120)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_the_same_seed_gives_the_same_weights() -> None:
    collected = []
    for _ in range(2):
        trainer = Trainer(RECIPE.model_copy(update={"rollout": 0.5}), torch.device("cpu"))
        stream = batches(trainer, dice(3))
        for _ in range(5):
            trainer.step(stream)
        collected.append(weights(trainer))
    assert torch.equal(*collected)


def test_a_deeper_network_begins_with_the_answers_of_a_shallower_one(tmp_path: Path) -> None:
    shallow, own = Trainer(RECIPE, torch.device("cpu")), dice(2)
    for _ in range(3):
        shallow.step(batches(shallow, own))
    shallow.save(tmp_path, {}, own)
    deep = Trainer(RECIPE.model_copy(update={"network": NETWORK.model_copy(update={"depths": (2, 3)})}), torch.device("cpu"))
    deep.start_from(tmp_path)
    x, time = torch.rand(1, 3, 16, 16), torch.zeros(1, 2)
    assert torch.equal(deep.network(x, x, time)[0], shallow.ema.average(x, x, time)[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"widths": (16, 32)}, "it has in another shape: "),
        ({"outputs": 2}, "it has in another shape: exit.weight"),
        ({"exposure": True, "condition": ("image", "context")}, "it lacks: "),
        ({"depths": (0, 1)}, "it has too much: "),
    ],
)
def test_a_checkpoint_of_another_network_is_refused_and_its_own_named(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    Trainer(RECIPE, torch.device("cpu")).save(tmp_path, {}, dice())
    other = Trainer(RECIPE.model_copy(update={"network": NETWORK.model_copy(update=change)}), torch.device("cpu"))
    before = weights(other)
    with pytest.raises(ValueError, match=f"network.json.*{words}"):
        other.start_from(tmp_path)
    assert torch.equal(weights(other), before)


def test_a_frozen_part_stays_and_the_rest_learns() -> None:
    trainer, own = Trainer(RECIPE, torch.device("cpu")), dice(2)
    trainer.freeze(["encode."])
    before = {name: weight.clone() for name, weight in trainer.network.state_dict().items()}
    for _ in range(3):
        trainer.step(batches(trainer, own))
    changed = {name for name, weight in trainer.network.state_dict().items() if not torch.equal(weight, before[name])}
    assert "exit.weight" in changed
    assert not any(name.startswith("encode.") for name in changed)
    with pytest.raises(ValueError, match="no parameter begins with 'encoder'"):
        trainer.freeze(["encoder"])


@pytest.mark.parametrize("name", ["adam", "radam"])
def test_a_resumed_run_is_the_uninterrupted_run(tmp_path: Path, name: str) -> None:
    recipe = RECIPE.model_copy(update={"optimiser": Optimiser(name=name, rate=1e-3, warmup=4)})
    whole, own = Trainer(recipe, torch.device("cpu")), dice(1)
    for step in range(8):
        whole.step(batches(whole, own))
        if step == 3:
            whole.save(tmp_path, {}, own)
    resumed, later = Trainer(recipe, torch.device("cpu")), dice(99)
    resumed.resume(tmp_path, later)
    for _ in range(4):
        resumed.step(batches(resumed, later))
    assert resumed.steps == 8
    assert torch.equal(weights(whole), weights(resumed))
    for mine, theirs in zip(whole.ema.average.parameters(), resumed.ema.average.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_resuming_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        Trainer(RECIPE, torch.device("cpu")).resume(tmp_path, dice())


def test_a_run_ends_with_its_budget() -> None:
    trainer, seen = Trainer(RECIPE, torch.device("cpu")), []
    train(trainer, batches(trainer, dice()), Budget(6, None), seen.append)
    assert trainer.steps == len(seen) == 6
    assert Budget(100, 1.0).spent(10, 30) == 0.5


def test_the_rate_warms_up_and_falls() -> None:
    config = Optimiser(warmup=10, decay="cosine")
    shares = [rate_share(config, step, step / 100) for step in (0, 4, 50, 100)]
    assert shares == pytest.approx([0.1, 0.5 * 0.996, 0.5, 0.005], rel=0.01)


def test_grain_is_learned_beside_a_wrong_tone() -> None:
    grain = torch.tensor([1.0, -1.0]).repeat(1, 3, 16, 8) * 0.01
    slopes = {}
    for loss in ("l1", "l1_pyramid"):
        actual = (grain + 0.2).requires_grad_()
        LOSSES[loss](actual, torch.zeros_like(actual)).backward()
        slopes[loss] = float((actual.grad * grain.sign()).mean())
    assert slopes["l1"] == pytest.approx(0, abs=1e-9)
    assert slopes["l1_pyramid"] > 1e-4
