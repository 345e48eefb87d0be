"""The fit of how bright a dark scene was: the estimate that a low-light network gets where no brightness is given.

The statistics of dark pictures whose targets are as bright as their makers wanted are gathered once; then the two layers are
fitted to the targets' means by least squares. The convolutions have no part in it.
"""

import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional

from training.networks.exposure import Exposure
from training.synthesis.draws import Dice, PairSource

PICTURES, BATCH = 3072, 64
STEPS, ROWS, RATE, DECAY = 2000, 256, 2e-3, 0.3


def fit_brightness(exposure: Exposure, source: PairSource, dice: Dice, pictures: int = PICTURES) -> float:
    """Fit `exposure.guess` on so many pictures of the source; the root mean square error of the means, 0..1, on the last eighth.

    Raises ValueError for an exposure without an estimate, or a source that does not say how bright its targets are.
    """
    if exposure.guess is None:
        raise ValueError("this exposure has no estimate of the brightness; make it with brightness=True")
    statistics, means = gathered(exposure, source, dice, pictures)
    held_out = max(len(means) // 8, 1)
    centre, spread = statistics[:-held_out].mean(0), statistics[:-held_out].std(0) + 1e-3
    layers = fitted((statistics[:-held_out] - centre) / spread, means[:-held_out], exposure, dice)
    with torch.no_grad():
        first, last = exposure.guess[0], exposure.guess[2]
        first.weight.copy_(layers[0].weight / spread)
        first.bias.copy_(layers[0].bias - first.weight @ centre)
        last.weight.copy_(layers[2].weight)
        last.bias.copy_(layers[2].bias)
        error = exposure.bounded(exposure.guess(statistics[-held_out:])) - means[-held_out:]
    return float(error.square().mean().sqrt())


@torch.no_grad()
def gathered(exposure: Exposure, source: PairSource, dice: Dice, pictures: int) -> tuple[Tensor, Tensor]:
    """(statistics at TARGET, n STATISTICS; means, n 1) of the typical ones of so many drawn pictures."""
    statistics, means = [], []
    for _ in track(range(-(-pictures // BATCH)), "fitting the brightness"):
        pairs = source.draw(BATCH, dice)
        if pairs.context is None or pairs.brightness is None or pairs.typical is None:
            raise ValueError("the source does not say how bright its targets are, and which of them are typical")
        light, root = exposure.seen(pairs.context)
        typical = pairs.typical[:, 0] > 0
        statistics.append(exposure.brought_to(light, root, exposure.TARGET)[1][typical])
        means.append(pairs.brightness[typical])
    return torch.cat(statistics), torch.cat(means)


def fitted(inputs: Tensor, means: Tensor, exposure: Exposure, dice: Dice) -> nn.Sequential:
    """Two layers from standardised statistics to the means."""
    layers = nn.Sequential(nn.Linear(inputs.shape[1], exposure.GUESSING), nn.SiLU(), nn.Linear(exposure.GUESSING, 1)).to(
        inputs.device
    )
    optimiser = torch.optim.AdamW(layers.parameters(), RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        rows = dice.integers(0, len(means), ROWS)
        loss = functional.mse_loss(exposure.bounded(layers(inputs[rows])), means[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return layers
