"""The loss: no error where the outputs are true, and times as sampling asks for them."""

import pytest
import torch

from rddm.objective import MIXTURES, mixture, targets
from rddm.relatives import relative_spec
from tests.training.runs import NETWORK, RECIPE, SPEC, Dimmed, dice
from training.objective import LOSSES, Objective, asked_indices


@pytest.mark.parametrize(
    "objective", ["pred_res", "pred_noise", "pred_x0", "pred_res_noise", "pred_x0_noise", "pred_res_add_noise"]
)
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_the_true_outputs_have_no_loss(objective: str, loss: str) -> None:
    spec = SPEC.model_copy(update={"objective": objective})
    heads = 2 if objective.endswith("noise") and objective != "pred_noise" else 1
    recipe = RECIPE.model_copy(update={"spec": spec, "loss": loss, "network": NETWORK.model_copy(update={"outputs": heads})})
    pairs, eps = Dimmed().draw(3, dice(2)), dice(4).normal(3, 3, 16, 16)
    truth = {"res": pairs.given - pairs.target, "noise": eps, "x0": pairs.target}
    truth |= {"res_add_noise": truth["res"] + eps}
    names = objective.removeprefix("pred_")
    parts = (
        [names]
        if names in truth
        else {"res_noise": ["res", "noise"], "x0_noise": ["x0", "noise"]}.get(names, ["res", "res_add_noise"])
    )
    parts = ["res", "res_add_noise"] if objective == "pred_res_add_noise" else parts

    class Oracle(torch.nn.Module):
        def forward(self, *_: object) -> tuple[torch.Tensor, ...]:
            return tuple(truth[part] for part in parts)

    assert float(Objective(recipe, torch.device("cpu")).loss(Oracle(), pairs, torch.tensor([0, 500, 999]), eps)) < 1e-6


@pytest.mark.parametrize("relative", ["sr3", "indi", "i2sb", "resshift", "diffuir", "resfusion"])
def test_a_relative_is_trained_on_what_its_sampler_inverts(relative: str) -> None:
    """The network that solves each x_t for x_0 as sampling does, given the truth, has no loss; and x_t is the forward process's."""
    spec = relative_spec(relative, name="a", task="b", licence="c", image_clip=None)
    objective = Objective(RECIPE.model_copy(update={"spec": spec, "loss": "l2"}), torch.device("cpu"))
    pairs, eps, t = Dimmed().draw(3, dice(2)), dice(4).normal(3, 3, 16, 16), torch.tensor([0, 2, spec.first_index])
    seen: list[torch.Tensor] = []

    class Oracle(torch.nn.Module):
        def forward(self, x_t: torch.Tensor, *_: object) -> tuple[torch.Tensor, ...]:
            seen.append(x_t)
            mixes = [mixture(spec.objective, objective.schedule, int(k)) for k in t] if spec.objective in MIXTURES else None
            mix = (
                None
                if mixes is None
                else tuple(torch.tensor(column).view(-1, 1, 1, 1).float() for column in zip(*mixes, strict=True))
            )
            return targets(spec.objective, pairs.target, pairs.given - pairs.target, eps, mix)

    assert float(objective.loss(Oracle(), pairs, t, eps)) < 1e-9
    for row, index in enumerate(t.tolist()):
        x_t = objective.schedule.diffuse(pairs.target[row], pairs.given[row], eps[row], index)
        torch.testing.assert_close(seen[0][row], x_t.float(), atol=1e-5, rtol=0)
    assert int(objective.draw_t(400, dice()).max()) <= spec.first_index


def test_times_on_the_grid_are_those_that_sampling_asks() -> None:
    recipe = RECIPE.model_copy(update={"time_sampling": "grid", "spec": SPEC.model_copy(update={"max_steps": 3})})
    drawn = set(Objective(recipe, torch.device("cpu")).draw_t(400, dice()).tolist())
    assert drawn == {999, 499, 665, 332} == {t for row in asked_indices(recipe.spec) for t in row}
    assert len(set(Objective(RECIPE, torch.device("cpu")).draw_t(400, dice()).tolist())) > 200
