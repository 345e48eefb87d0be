"""A UNet2DModel of the diffusers package behind the exported graph's signature."""

import json
from typing import TYPE_CHECKING

from torch import Tensor, nn

from training.networks.config import DiffusersConfig

if TYPE_CHECKING:
    pass


class DiffusersUnet(nn.Module):
    """diffusers' UNet2DModel behind the exported graph's signature: forward(x_t, None, time) -> (noise,)."""

    def __init__(self, config: DiffusersConfig) -> None:
        super().__init__()
        from diffusers import UNet2DModel  # noqa: PLC0415 (an optional package)

        self.unet: UNet2DModel = UNet2DModel.from_config(json.loads(config.unet))

    def forward(self, x_t: Tensor, condition: Tensor | None, time: Tensor) -> tuple[Tensor, ...]:
        if condition is not None:
            raise ValueError("a DDIM takes no condition")
        return (self.unet(x_t, time[:, 0]).sample,)
