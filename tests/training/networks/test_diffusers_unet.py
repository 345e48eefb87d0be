"""diffusers' network behind the exported graph's signature."""

import json
import warnings
from importlib.util import find_spec

import pytest
import torch

from training.networks.config import DiffusersConfig
from training.networks.diffusers_unet import DiffusersUnet

warnings.filterwarnings("ignore", module="diffusers")
pytestmark = pytest.mark.skipif(find_spec("diffusers") is None, reason="diffusers is not installed")

UNET = {
    "sample_size": 16,
    "block_out_channels": [8],
    "down_block_types": ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"],
    "norm_num_groups": 4,
    "layers_per_block": 1,
}


@pytest.fixture(scope="module")
def network() -> DiffusersUnet:
    return DiffusersUnet(DiffusersConfig(size_multiple=1, unet=json.dumps(UNET))).eval()


def test_it_answers_with_the_noise_alone(network: DiffusersUnet) -> None:
    with torch.no_grad():
        [noise] = network(torch.zeros(2, 3, 16, 16), None, torch.zeros(2, 2))
    assert noise.shape == (2, 3, 16, 16)


def test_it_is_given_the_first_time_and_answers_as_diffusers_does(network: DiffusersUnet) -> None:
    x_t = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        [noise] = network(x_t, None, torch.tensor([[500.0, 1.0], [3.0, 2.0]]))
        assert torch.equal(noise, network.unet(x_t, torch.tensor([500.0, 3.0])).sample)


def test_a_condition_is_refused(network: DiffusersUnet) -> None:
    with pytest.raises(ValueError, match="a DDIM takes no condition"):
        network(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16), torch.zeros(1, 2))
