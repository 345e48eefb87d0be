"""A configuration leads to its network, with the exported graph's signature."""

import pytest
import torch

from training.networks.config import AnyConfig, SmallConfig, UNetConfig
from training.networks.make import make_network
from training.networks.small import Small

SMALL = SmallConfig(widths=(8, 8), depths=(1, 1), time_width=8)
UNET = UNetConfig(dim=8, dim_mults=(1, 2), outputs=2)


@pytest.mark.parametrize(("config", "outputs"), [(SMALL, 1), (SMALL.model_copy(update={"outputs": 2}), 2), (UNET, 2)])
def test_a_network_answers_with_a_picture_an_output(config: AnyConfig, outputs: int) -> None:
    network = make_network(config).eval()
    x_t, condition, time = torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16), torch.full((2, 2), 0.5)
    with torch.no_grad():
        answer = network(x_t, condition, time)
    assert isinstance(answer, tuple)
    assert [tuple(each.shape) for each in answer] == [(2, 3, 16, 16)] * outputs


def test_weights_come_from_torchs_global_generator() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = make_network(SMALL).state_dict()
        torch.manual_seed(3)
        again = make_network(SMALL).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert isinstance(make_network(SMALL), Small)
