"""The named feature space of the small experiments: `autoencoder-32`, the 32-number code of a convolutional autoencoder.

It is trained here on the training pictures, and the Frechet distance is taken between codes. Distances in it compare models of one
experiment; they are no FID, and no other experiment's numbers compare with them.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from training.evaluation.metrics import frechet_distance
from training.synthesis.draws import Dice, PairSource

CODE, STEPS, BATCH = 32, 600, 64


class Autoencoder(nn.Module):
    """b 3 s s in [-1, 1] -> code (b 32) -> the picture again; s a multiple of 8."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.small = side // 8
        self.encode = nn.Sequential(
            nn.Conv2d(3, 24, 3, 2, 1),
            nn.SiLU(),
            nn.Conv2d(24, 48, 3, 2, 1),
            nn.SiLU(),
            nn.Conv2d(48, 64, 3, 2, 1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(64 * self.small**2, CODE),
        )
        self.decode = nn.Sequential(
            nn.Linear(CODE, 64 * self.small**2),
            nn.SiLU(),
            nn.Unflatten(1, (64, self.small, self.small)),
            nn.Conv2d(64, 48 * 4, 3, 1, 1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(48, 24 * 4, 3, 1, 1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(24, 3 * 4, 3, 1, 1),
            nn.PixelShuffle(2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The picture as its code remembers it."""
        out: Tensor = self.decode(self.encode(x))
        return out


def trained_autoencoder(source: PairSource, side: int, path: Path, steps: int | None = None) -> Autoencoder:
    """The autoencoder kept at path; trained on the source's targets first if it is not there."""
    torch.manual_seed(0)
    network = Autoencoder(side)
    if path.is_file():
        network.load_state_dict(load_file(path))
        return network.eval()
    dice = Dice(torch.Generator().manual_seed(1))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in track(range(steps or STEPS), "autoencoder-32"):
        x = source.draw(BATCH, dice).target
        loss = functional.mse_loss(network(x), x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), path)
    return network.eval()


@torch.inference_mode()
def codes(network: Autoencoder, pictures: Tensor) -> NDArray[np.float64]:
    """Codes of pictures b 3 s s, (b, 32)."""
    return np.concatenate([network.encode(part).double().numpy() for part in pictures.split(256)])


def distance(network: Autoencoder, pictures: Tensor, reference: Tensor) -> float:
    """Frechet distance between the codes of two sets of pictures."""
    return frechet_distance(codes(network, pictures), codes(network, reference))
