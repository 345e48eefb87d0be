"""Exposure of dark pictures: a tone curve for the whole picture, estimated from its context. As served: `rddm.exposure`."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

import rddm.exposure
from training.colour import ROOT, from_root, to_linear
from training.networks.statistics import describe


class Exposure(nn.Module):
    """A tone curve for the whole picture from its context: v -> srgb(gain_c * linear(v)) ^ gamma_c, per channel c.

    The gain begins as the one that brings the context's mean to the wanted one (never below 1); a small network of the context's
    statistics learns the rest: colour cast, contrast, where the mean should really go. Only means over the context are used,
    which is the same for every tile of a picture, so tiles agree. The wanted mean is TARGET, or given, or estimated (`guess`).
    """

    TARGET, STEP, STOPS = 0.43, 0.5, 18
    LEVELS = (0.04, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.93)

    DARKEST, BRIGHTEST, GUESSING = 0.02, 0.75, 32

    def __init__(self, width: int, brightness: bool = False) -> None:
        super().__init__()
        self.register_buffer("gains", 2.0 ** (self.STEP * torch.arange(self.STOPS + 1)), persistent=False)
        self.register_buffer("levels", torch.tensor(self.LEVELS), persistent=False)
        statistics = 2 + 2 * 3 * (len(self.LEVELS) + 2)
        self.trunk = nn.Sequential(nn.Linear(statistics, 64), nn.SiLU(), nn.Linear(64, width), nn.SiLU())
        self.curve = nn.Linear(width, 6)
        nn.init.zeros_(self.curve.weight)
        nn.init.zeros_(self.curve.bias)
        layers = (nn.Linear(statistics, self.GUESSING), nn.SiLU(), nn.Linear(self.GUESSING, 1))
        self.guess = nn.Sequential(*layers) if brightness else None

    def forward(self, image: Tensor, context: Tensor, mean: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(image, context: b 3 h w in [-1, 1]) -> (the brightened image, b 3 h w in 0..1; an embedding, b width).

        mean: the wanted mean of each picture, (b 1), 0 where it shall be estimated; None for TARGET.
        """
        light, root = self.seen(context)
        wanted: Tensor | float = self.TARGET
        if mean is not None:
            wanted = torch.where(mean > 0, mean, self.estimate(light, root))
        stops, statistics = self.brought_to(light, root, wanted)
        embedding = self.trunk(statistics)
        shift, gamma = self.curve(embedding)[:, :, None, None].chunk(2, 1)
        bright = linear((image + 1) / 2) * torch.exp2(stops[:, :, None, None] + shift)
        return encoded(bright, to_root(bright)).clamp(min=1e-4) ** torch.exp(gamma), embedding

    def brought_to(self, light: Tensor, root: Tensor, wanted: Tensor | float) -> tuple[Tensor, Tensor]:
        """(stops to the wanted mean, b 1; the statistics there and as given, b n)."""
        stops = self.stops(light, root, wanted)
        gain = torch.exp2(stops)[:, :, None, None]
        exposed = encoded(light * gain, root * gain**ROOT)
        given = self.describe(encoded(light, root))
        return stops, torch.cat([stops / 8, exposed.mean((1, 2, 3))[:, None], self.describe(exposed), given], 1)

    def estimate(self, light: Tensor, root: Tensor) -> Tensor:
        """The mean that the scene probably had, (b 1), DARKEST..BRIGHTEST. No gradient goes on to the picture.

        Raises ValueError for an exposure without an estimate.
        """
        if self.guess is None:
            raise ValueError("this exposure has no estimate of the brightness; make it with brightness=True")
        with torch.no_grad():
            statistics = self.brought_to(light, root, self.TARGET)[1]
        return self.bounded(self.guess(statistics))

    @classmethod
    def bounded(cls, values: Tensor) -> Tensor:
        """Any value as a mean that the estimate can give."""
        mean: Tensor = cls.DARKEST + (cls.BRIGHTEST - cls.DARKEST) * torch.sigmoid(values)
        return mean

    @staticmethod
    def seen(context: Tensor) -> tuple[Tensor, Tensor]:
        """The context, b 3 h w in [-1, 1], as pooled linear light, and its root."""
        light = functional.avg_pool2d(linear((context + 1) / 2), 4)
        return light, to_root(light)

    def exported(self) -> rddm.exposure.Exposure:
        """The exposure in NumPy, as the service computes it once a picture."""
        return rddm.exposure.Exposure(*map(arrays_of, self.layers()))

    def exported_brightness(self) -> rddm.exposure.Brightness | None:
        """The estimate of the wanted mean as arrays for the spec, where there is one."""
        if self.guess is None:
            return None
        return rddm.exposure.Brightness(*(arrays_of(layer) for layer in self.guess if isinstance(layer, nn.Linear)))

    def layers(self) -> list[nn.Linear]:
        """The layers with weights, in order."""
        return [layer for layer in (*self.trunk, self.curve) if isinstance(layer, nn.Linear)]

    def stops(self, light: Tensor, root: Tensor, wanted: Tensor | float = TARGET) -> Tensor:
        """log2 of the gain that brings the mean of encoded(light) to the wanted one, (b, 1), by interpolation on a grid of gains.

        What would clip counts twice, so that a night scene's lights hold the gain down.
        """
        means = torch.stack([self.brightness(light * gain, root * gain**ROOT) for gain in self.gains.unbind()], 1)
        reached = (wanted - means[:, :-1]) / (means[:, 1:] - means[:, :-1]).clamp(min=1e-5)
        return self.STEP * reached.clamp(0, 1).sum(1, keepdim=True)

    @staticmethod
    def brightness(light: Tensor, root: Tensor) -> Tensor:
        """Mean of the encoded picture plus mean of what is lost above white, (b,)."""
        return (encoded(light, root) + (light - 1).clamp(0, 1)).mean((1, 2, 3))

    def describe(self, picture: Tensor) -> Tensor:
        """The statistics of a picture, (b, 3 (levels + 2))."""
        return describe(picture, self.levels)


def arrays_of(layer: nn.Linear) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A layer's weight and bias."""
    return layer.weight.detach().cpu().float().numpy(), layer.bias.detach().cpu().float().numpy()


def linear(srgb: Tensor) -> Tensor:
    """sRGB 0..1 -> linear light."""
    light: Tensor = to_linear(srgb.clamp(0, 1))
    return light


def to_root(light: Tensor) -> Tensor:
    """light ** ROOT, kept off zero, where its slope has no end. Powers cost; that of light times a gain is root times gain ** ROOT.

    Not by logarithm: that is faster, but ONNX Runtime's depends in the last bit on how many threads there are.
    """
    return light.clamp(min=1e-6) ** ROOT


def encoded(light: Tensor, root: Tensor) -> Tensor:
    """Linear light and its root -> sRGB 0..1, clipped."""
    srgb: Tensor = from_root(light, root).clamp(0, 1)
    return srgb
