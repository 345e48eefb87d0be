"""Sampling with torch networks: pictures keep their size, and batch mates change nothing."""

import numpy as np
import pytest
import torch

from rddm.spec import ModelSpec
from training.networks import SmallConfig, make_network
from training.sampling import as_graph, condition_of, restore_picture, sample_with
from training.synthesis.draws import Dice

SPEC = ModelSpec(name="tiny", task="tiny", licence="CC0-1.0", size_multiple=8, default_steps=2)
NETWORK = SmallConfig(widths=(8, 8), depths=(1, 1), time_width=8)


def drawn_network() -> torch.nn.Module:
    """One that answers differently everywhere."""
    network, generator = make_network(NETWORK), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return network.eval()


def test_sampling_does_not_depend_on_the_rest_of_the_batch() -> None:
    network, given = drawn_network(), Dice(torch.Generator().manual_seed(5)).uniform(-1, 1, 2, 3, 16, 16)
    together = sample_with(network, SPEC, given, seeds=[3, 4])
    assert torch.allclose(together[1:], sample_with(network, SPEC, given[1:], seeds=[4]), atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (16, 24)])
def test_a_restored_picture_keeps_its_size(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    restored = restore_picture(as_graph(make_network(NETWORK).eval()), SPEC, picture)
    assert restored.shape == picture.shape
    assert np.array_equal(restored, picture)  # an untrained network finds nothing to remove


def test_a_missing_condition_is_named() -> None:
    with pytest.raises(ValueError, match="needs 'mask'"):
        condition_of(SPEC.model_copy(update={"condition": ("image", "mask")}), torch.zeros(1, 3, 8, 8), None)
