"""A small network that names the faults of a picture, from its views (rddm.faults)."""

import torch
from torch import Tensor, nn

from rddm.faults import FAULTS, NUMBERS

SMALL, LARGE = (16, 24, 40, 48), (16, 24, 40, 56, 72)
HIDDEN = 48


def convolution(inside: int, outside: int, stride: int) -> nn.Sequential:
    """3x3, normalised over the batch (folded into the weights when exported), leaky."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.LeakyReLU(0.1, inplace=True)
    )


def tower(widths: tuple[int, ...], first_stride: int) -> nn.Sequential:
    """From three colours through the widths, each at half the size of the one before it."""
    pairs = zip((3, *widths), widths, strict=False)
    return nn.Sequential(*(convolution(a, b, 2 if index else first_stride) for index, (a, b) in enumerate(pairs)))


class FaultNetwork(nn.Module):
    """Views and numbers -> one logit a fault.

    thumbnail: (b, 3, h, w) in [-1, 1]. windows: (b, n, 3, h, w). numbers: (b, NUMBERS). The answer: (b, len(FAULTS)). Of each view
    the mean and the largest value of every feature are kept, of the windows together the same again: where a fault lies is no part
    of the answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.whole = tower(LARGE, first_stride=2)
        self.close = tower(SMALL, first_stride=1)
        inside = 2 * LARGE[-1] + 4 * SMALL[-1] + NUMBERS
        self.judge = nn.Sequential(nn.Linear(inside, HIDDEN), nn.LeakyReLU(0.1), nn.Linear(HIDDEN, len(FAULTS)))

    def forward(self, thumbnail: Tensor, windows: Tensor, numbers: Tensor) -> Tensor:
        logits: Tensor = self.judge(self.features(thumbnail, windows, numbers))
        return logits

    def features(self, thumbnail: Tensor, windows: Tensor, numbers: Tensor) -> Tensor:
        """What the last layers judge by: (b, features)."""
        whole = pooled(self.whole(thumbnail))
        close = pooled(self.close(windows.flatten(0, 1))).view(len(thumbnail), windows.shape[1], -1)
        return torch.cat([whole, close.mean(1), close.amax(1), numbers], 1)


def pooled(features: Tensor) -> Tensor:
    """b c h w -> b 2c: means and largest values."""
    return torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
