"""What a mask hides is filled from around it."""

import torch

from training.networks import SmallConfig, make_network
from training.networks.filling import filled


def test_what_a_mask_hides_is_filled_from_around_and_the_rest_is_kept() -> None:
    config = SmallConfig(condition=("image", "mask"), widths=(8, 8), depths=(1, 1), time_width=8, fill=True)
    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    mask = torch.zeros(1, 3, 64, 64)
    mask[..., 24:36, 20:32] = 1
    given = torch.where(mask > 0, 0.9, ramp)
    with torch.no_grad():
        [residual] = make_network(config)(given, torch.cat([given, mask], 1), torch.zeros(1, 2))
    assert float((residual * (1 - mask)).abs().max()) == 0
    assert float((given - residual - ramp).abs().max()) < 0.25
    assert torch.equal(filled(given, mask), filled(torch.where(mask > 0, -0.3, ramp), mask))
