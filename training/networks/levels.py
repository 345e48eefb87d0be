"""Levels of a whole picture: a gain and a black level a channel, estimated from its context (haze, shadows)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.statistics import describe


class Levels(nn.Module):
    """v -> gain_c v + shift_c per channel c, estimated from the context: what haze or a shadow did to the whole picture, undone.

    A small network of the context's statistics, and of those of its darkest channel, where haze shows (He, Sun & Tang 2009). It
    begins as the identity. Only means over the context are used, which is the same for every tile, so tiles agree.
    """

    LEVELS = (0.04, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.93)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(self.LEVELS), persistent=False)
        self.trunk = nn.Sequential(
            nn.Linear(4 * (len(self.LEVELS) + 2), 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, width), nn.SiLU()
        )
        self.curve = nn.Linear(width, 6)
        nn.init.zeros_(self.curve.weight)
        nn.init.zeros_(self.curve.bias)

    def forward(self, image: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """(image, context: b 3 h w in [-1, 1]) -> (the corrected image, b 3 h w in [-1, 1]; an embedding, b width)."""
        seen = functional.avg_pool2d((context + 1) / 2, 4)
        darkest = -functional.max_pool2d(-seen.amin(1, keepdim=True), 3, 1, 1)
        embedding = self.trunk(describe(torch.cat([seen, darkest], 1), self.levels))
        gain, shift = self.curve(embedding)[:, :, None, None].chunk(2, 1)
        return (((image + 1) / 2 * torch.exp(gain) + shift) * 2 - 1).clamp(-1, 1), embedding
