"""AOSA: what it finds is what is trained; and what else a training run leaves behind."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rddm.spec import Curve, ModelSpec, NamedSchedule
from training.checkpoint import load_checkpoint
from training.networks import SmallConfig, UNetConfig
from training.recipe import EmaConfig, FolderData, Optimiser, Recipe
from training.selection import BAND, Mixture, select, with_objective
from training.synthesis.draws import Dice, Pairs
from training.train import main
from training.trainer import MicroBatch, Trainer, drawn_batches

SPEC = ModelSpec(name="tiny", task="tiny", licence="test", size_multiple=8, default_steps=2)
CPU = torch.device("cpu")


class Constant:
    """Pairs in which one of the two is nothing to learn: black given pictures, and targets of one colour."""

    def draw(self, batch: int, dice: Dice) -> Pairs:
        target = dice.uniform(-1, 1, batch, 3, 1, 1).expand(-1, -1, 8, 8).contiguous()
        return Pairs(target, target + 0.1)


def recipe(**changes: object) -> Recipe:
    settings = {
        "spec": SPEC,
        "network": SmallConfig(widths=(8, 8), depths=(1, 1), time_width=8),
        "data": FolderData(kind="folder", target="a", given="b"),
        "steps": 10,
        "batch": 4,
        "optimiser": Optimiser(rate=8e-5),
        "ema": EmaConfig(update_every=1, update_after_step=0),
    }
    return Recipe.model_validate(settings | changes)


def dice(seed: int = 0) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


def test_loss_of_the_mixture_is_the_papers() -> None:
    """Against the formula written out for one picture, alpha at 0.5."""
    torch.manual_seed(0)
    mixture, own = Mixture(recipe(), CPU), dice(3)
    pairs = Constant().draw(1, own)
    t, eps = torch.tensor([400]), own.normal(1, 3, 8, 8)
    level = mixture.objective.level(t)
    a, b, res = float(level.alpha_bar), float(level.beta_bar), pairs.given - pairs.target
    x_t = pairs.target + a * res + b * eps
    with torch.no_grad():
        mixture.network.exit.weight.normal_(0, 0.3)
        out = mixture.network(x_t, pairs.given, level.time)[0]
        r = pairs.given - ((x_t - a * pairs.given - b * out) / (1 - a)).clamp(-1, 1)
        e = (x_t - pairs.given - (a - 1) * out) / b
        expected = 0.5 * ((out + r) / 2 - res).abs().mean() + 0.5 * ((e + out) / 2 - eps).abs().mean()
        assert float(mixture(MicroBatch(pairs, t, eps))) == pytest.approx(float(expected), rel=1e-5)


def test_mixture_is_finite_where_the_schedule_has_no_noise() -> None:
    linspace = NamedSchedule(alpha=Curve(name="decreased_linspace"), beta2=Curve(name="increased_linspace"))
    mixture, own = Mixture(recipe(spec=SPEC.model_copy(update={"schedule": linspace})), CPU), dice(3)
    for t in (0, 998, 999):
        loss = mixture(MicroBatch(Constant().draw(1, own), torch.tensor([t]), own.normal(1, 3, 8, 8)))
        loss.backward()
        assert bool(torch.isfinite(loss))
        assert bool(torch.isfinite(mixture.alpha.grad).all())


def test_alpha_leaves_the_band_and_decides() -> None:
    selection = select(recipe(), drawn_batches(recipe(), Trainer(recipe(), CPU).objective, Constant(), dice()), CPU)
    assert selection.steps >= 100
    assert abs(selection.alpha - 0.5) >= BAND
    assert selection.objective == ("pred_res" if selection.alpha > 0.5 else "pred_noise")


def test_two_outputs_leave_nothing_to_select() -> None:
    two = recipe(
        spec=SPEC.model_copy(update={"objective": "pred_res_noise"}),
        network=SmallConfig(widths=(8, 8), depths=(1, 1), time_width=8, outputs=2),
    )
    with pytest.raises(ValueError, match="selection trains one output, the recipe's network has 2"):
        select(two, iter(()), CPU)


def test_the_answer_is_what_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, level in (("target", 100), ("given", 50)):
        for name in "abcdefghijkl":
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(tmp_path / part / f"{name}.png")
    (tmp_path / "recipe.toml").write_text(
        f"""
steps = 4
batch = 2
optimiser = {{ rate = 0.02 }}
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
target = "{tmp_path}/target"
given = "{tmp_path}/given"
side = 16
"""
    )
    run = tmp_path / "run"
    assert (
        main([str(tmp_path / "recipe.toml"), "-o", str(run), "--select", "--sample-every", "2", "--tensorboard", "--device", "cpu"])
        == 0
    )
    checkpoint = load_checkpoint(run)
    assert checkpoint.spec.objective == checkpoint.facts["selection"]["objective"]
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["0000002.png", "0000004.png"]
    with Image.open(run / "samples" / "0000004.png") as grid:
        assert grid.size == (8 * 16, 3 * 16)
    assert list((run / "tensorboard").glob("events.*"))


def test_another_objective_keeps_the_rest() -> None:
    changed = with_objective(recipe(), "pred_noise")
    assert changed.spec == SPEC.model_copy(update={"objective": "pred_noise"})


def test_a_group_per_network_trains_what_an_optimiser_per_network_and_loss_would() -> None:
    """The authors' "L_res, L_eps": backward of each term, clip jointly, step each optimiser."""
    spec = SPEC.model_copy(update={"objective": "pred_res_noise"})
    network = UNetConfig(dim=8, dim_mults=(1, 2), outputs=2, share_encoder=0)
    optimiser = Optimiser(name="radam", rate=2e-4, betas=(0.9, 0.999), per_network=True)
    ours = Trainer(recipe(spec=spec, network=network, optimiser=optimiser, loss="l2", accumulate=1, channels_last=False), CPU)
    theirs = Trainer(ours.recipe, CPU)
    separate = [torch.optim.RAdam(part.parameters(), lr=2e-4) for part in (theirs.network.unet0, theirs.network.unet1)]
    stream, again = (drawn_batches(ours.recipe, ours.objective, Constant(), dice(1)) for _ in range(2))
    for _ in range(7):
        ours.step(stream)
        batch = next(again)
        level, res = theirs.objective.level(batch.t), batch.pairs.given - batch.pairs.target
        x_t = batch.pairs.target + level.alpha_bar * res + level.beta_bar * batch.eps
        outputs = theirs.network(x_t, batch.pairs.given, level.time)
        for out, wanted in zip(outputs, (res, batch.eps), strict=True):
            torch.nn.functional.mse_loss(out, wanted).backward()
        torch.nn.utils.clip_grad_norm_(theirs.network.parameters(), 1.0)
        for one in separate:
            one.step()
            one.zero_grad()
    for a, b in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_a_preset_asks_for_its_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["istd", "-o", str(tmp_path), "--target", "x"]) == 2
    assert "preset istd needs --given, --mask" in capsys.readouterr().out
    assert main(["lol", "-o", str(tmp_path), "--target", "nowhere", "--given", "nowhere"]) == 2
    assert "nowhere is no folder" in capsys.readouterr().out
