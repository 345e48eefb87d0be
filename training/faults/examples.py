"""Pictures with known faults, made by the synthesisers that train the restorers, in the order in which faults happen.

A scene lies behind drops, rain or haze, or in the dark; the sensor adds noise; the file is compressed. A fault that is there and
hardly seen is neither asked for nor forbidden: its weight in the loss is 0.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rddm.faults import FAULTS, facts_of, numbers_of, views_of
from training.colour import to_linear
from training.synthesis import clean, lowlight
from training.synthesis.draws import Dice, quantise, smoothed, varied, windows
from training.synthesis.haze import hazed
from training.synthesis.jpeg import compress
from training.synthesis.rain import rained
from training.synthesis.raindrop import metered, veiled, wet

SCENE_SHARES = {"none": 0.37, "drops": 0.19, "rain": 0.18, "haze": 0.13, "dark": 0.13}
FILE_SHARES = {"none": 0.5, "noise": 0.22, "jpeg": 0.22, "both": 0.06}
MEANS = (0.15, 0.78)
# Root mean square of what a fault changes, in levels of 255: below the first it is not there, from the second on it counts.
SEEN = {"noise": (1.6, 3.0), "drops": (1.0, 7.0), "rain": (1.0, 7.0), "haze": (2.0, 16.0)}
POOR, FINE = (5.0, 58.0), (78.0, 99.0)  # qualities of JPEG
STOPS, BRIGHT = 2.0, 0.27  # a picture is dark from so many stops on, if its mean is below
FAINT = 1.2 / 255
INDEX = {fault: index for index, fault in enumerate(FAULTS)}


@dataclass(frozen=True, eq=False)
class Examples:
    """A batch: thumbnails (b, 3, h, w), windows (b, 6, 3, h, w), uint8; numbers (b, n); labels, weights (b, faults) in 0..1."""

    thumbnails: Tensor
    windows: Tensor
    numbers: Tensor
    labels: Tensor
    weights: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, in order."""
        return self.thumbnails, self.windows, self.numbers, self.labels, self.weights


@dataclass(frozen=True, eq=False)
class FaultyPictures:
    """Draws examples from uint8 pools: scenes (n, 3, s, s), streaks (n, 1, s, s), drops (n, 4, s, s); s a multiple of 16."""

    pool: Tensor
    streaks: Tensor
    drops: Tensor

    def draw(self, batch: int, dice: Dice) -> Examples:
        """`batch` examples; the same generator state gives the same."""
        pictures, labels, weights = self.pictures(batch, dice)
        return to_examples(to_bytes(pictures), labels, weights)

    def pictures(self, batch: int, dice: Dice) -> tuple[Tensor, Tensor, Tensor]:
        """The pictures, b 3 s s in 0..1, with labels and weights (b, faults)."""
        scenes = self._scenes(batch, dice)
        labels, weights = torch.zeros(batch, len(FAULTS)), torch.ones(batch, len(FAULTS))
        kinds = chosen(SCENE_SHARES, batch, dice)
        for kind in ("drops", "rain", "haze", "dark"):
            rows = [row for row, own in enumerate(kinds) if own == kind]
            if rows:
                scenes[rows], labels[rows, INDEX[kind]], weights[rows] = getattr(self, f"_{kind}")(scenes[rows], dice)
        lit = [row for row, own in enumerate(kinds) if own != "dark"]  # the dark ones have noise and compression of their own
        filed = as_files(scenes[lit], labels[lit], weights[lit], dice)
        scenes[lit], labels[lit], weights[lit] = filed
        return quantise(scenes), labels, weights

    def _scenes(self, batch: int, dice: Dice) -> Tensor:
        side, half = self.pool.shape[2], batch // 2
        scenes = torch.cat([windows(self.pool, batch - half, side, dice), varied(self.pool, half, side, MEANS, dice)])
        softness = dice.uniform(-0.5, 1.2, batch, 1, 1, 1).clamp(min=-0.5, max=1) * dice.chance(0.5, batch)
        soft = (scenes + softness * (smoothed(scenes, 3) - scenes)).clamp(0, 1)
        return soft[torch.randperm(batch, generator=dice.generator)]

    def _drops(self, scenes: Tensor, dice: Dice) -> tuple[Tensor, Tensor, Tensor]:
        maps = windows(self.drops, len(scenes), scenes.shape[2], dice)
        wetted = metered(veiled(wet(scenes, maps, dice), maps[:, :1], dice), scenes, dice)
        return wetted, *judged(scenes, wetted, "drops")

    def _rain(self, scenes: Tensor, dice: Dice) -> tuple[Tensor, Tensor, Tensor]:
        rainy = rained(scenes, windows(self.streaks, len(scenes), scenes.shape[2], dice), dice)
        return rainy, *judged(scenes, rainy, "rain")

    def _haze(self, scenes: Tensor, dice: Dice) -> tuple[Tensor, Tensor, Tensor]:
        hazy = hazed(scenes, dice)
        label, weight = judged(scenes, hazy, "haze")
        weight[:, INDEX["noise"]] = 0  # it comes with a little of it
        return hazy, label, weight

    def _dark(self, scenes: Tensor, dice: Dice) -> tuple[Tensor, Tensor, Tensor]:
        batch = len(scenes)
        never = torch.zeros(batch, 1, 1, 1)
        exposed = lowlight.exposed(scenes, never, dice.chance(0.5, batch), dice)
        stops = dice.uniform(0.5, lowlight.DEEPEST, batch, 1, 1, 1)
        dark = lowlight.darkened(to_linear(exposed), stops, dice)
        weight = torch.ones(batch, len(FAULTS))
        weight[:, [INDEX["noise"], INDEX["jpeg"]]] = 0  # the low-light network removes both
        counts = (stops.flatten() >= STOPS) & (dark.mean((1, 2, 3)) < BRIGHT)
        weight[:, INDEX["dark"]] = counts.float()
        return dark, counts.float(), weight


def chosen(shares: dict[str, float], batch: int, dice: Dice) -> list[str]:
    """One name a picture, drawn with its share."""
    names, ends = list(shares), np.cumsum(list(shares.values()))
    return [names[min(int(np.searchsorted(ends, value)), len(names) - 1)] for value in dice.uniform(0, 1, batch).tolist()]


def judged(before: Tensor, after: Tensor, fault: str) -> tuple[Tensor, Tensor]:
    """The fault's labels (b,) and the weights of all (b, faults), by how much it changed each picture."""
    least, enough = SEEN[fault]
    change = 255 * (after - before).square().mean((1, 2, 3)).sqrt()
    weights = torch.ones(len(before), len(FAULTS))
    weights[:, INDEX[fault]] = ((change >= enough) | (change < least)).float()
    return (change >= enough).float(), weights


def as_files(scenes: Tensor, labels: Tensor, weights: Tensor, dice: Dice) -> tuple[Tensor, Tensor, Tensor]:
    """With noise, compression, both, or nothing that is seen; labels and weights of the two are filled in."""
    kinds = chosen(FILE_SHARES, len(scenes), dice)
    noisy = [row for row, kind in enumerate(kinds) if kind in {"noise", "both"}]
    for worsen, rows in ((clean.photographed, noisy[::2]), (clean.grainy, noisy[1::2])):
        if rows:
            before = scenes[rows]
            scenes[rows] = worsen(before, dice)
            label, weight = judged(before, scenes[rows], "noise")
            labels[rows, INDEX["noise"]], weights[rows, INDEX["noise"]] = label, weight[:, INDEX["noise"]]
    faint = FAINT * dice.uniform(-1, 1, len(scenes), 1, 1, 1).clamp(min=0)
    faint[noisy] = 0
    scenes = quantise(scenes + faint * dice.normal(*scenes.shape))
    poor = torch.tensor([kind in {"jpeg", "both"} for kind in kinds])
    quality = torch.where(poor, dice.uniform(*POOR, len(scenes)), dice.uniform(*FINE, len(scenes)))
    written = poor | (dice.uniform(0, 1, len(scenes)) < 0.7)
    if written.any():
        subsampled = float(dice.uniform(0, 1, 1)) < 0.75
        scenes[written] = compress(scenes[written], quality[written], subsampled)
    labels[:, INDEX["jpeg"]] = poor.float()
    weights[poor, INDEX["noise"]] = 0  # poor compression takes noise with it
    return scenes, labels, weights


def to_bytes(pictures: Tensor) -> np.ndarray:
    """b 3 h w in 0..1 as bytes b h w 3."""
    return (pictures.permute(0, 2, 3, 1) * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def to_examples(pictures: np.ndarray, labels: Tensor, weights: Tensor) -> Examples:
    """What the network is given of pictures b h w 3."""
    views = [views_of(np.ascontiguousarray(picture)) for picture in pictures]
    numbers = np.stack([numbers_of(facts_of(view)) for view in views])
    thumbnails = torch.from_numpy(np.stack([view.thumbnail for view in views])).permute(0, 3, 1, 2)
    close = torch.from_numpy(np.stack([view.windows for view in views])).permute(0, 1, 4, 2, 3)
    return Examples(thumbnails.contiguous(), close.contiguous(), torch.from_numpy(numbers), labels, weights)
