"""The small network that the shipped models use: plain convolutions on four pixels at once, and an exposure for low light."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.config import SmallConfig
from training.networks.exposure import Exposure
from training.networks.filling import filled
from training.networks.levels import Levels

Outputs = tuple[Tensor, ...]


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps height and width (times 1 / stride)."""
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2)


def over_pixels(weight: Tensor) -> Tensor:
    """A 3x3 kernel over space to depth (outputs 4 c 3 3) as the 6x6 kernel of stride 2 over the pixels themselves (outputs c 6 6).

    The same sums without the copy that space to depth makes: 6 % of a call of the small network on a CPU.
    """
    outputs, inputs = weight.shape[0], weight.shape[1] // 4
    return weight.view(outputs, inputs, 2, 2, 3, 3).permute(0, 1, 4, 2, 5, 3).reshape(outputs, inputs, 6, 6)


def active(x: Tensor) -> Tensor:
    """Leaky, because plain rectifiers on the residual stream can all die in the first hundred steps (seen in low light)."""
    return functional.leaky_relu(x, 0.1)


class TimeEmbedding(nn.Module):
    """time (b 2) in 0..T -> (b width): sines and cosines of both at octaves, then two linear layers."""

    def __init__(self, width: int, octaves: int = 6) -> None:
        super().__init__()
        self.register_buffer("octaves", torch.pi * 2.0 ** torch.arange(octaves), persistent=False)
        self.layers = nn.Sequential(nn.Linear(4 * octaves + 2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, time: Tensor) -> Tensor:
        """(b 2) -> (b width)."""
        unit = time / 1000
        phase = (unit[:, :, None] * self.octaves).flatten(1)
        embedded: Tensor = self.layers(torch.cat([unit, phase.sin(), phase.cos()], 1))
        return embedded


class Block(nn.Module):
    """x + conv(act(scale * conv(act(x)) + shift)), scale and shift from the embedding; starts as the identity."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.first, self.second = conv(width, width), conv(width, width)
        self.modulation = nn.Linear(embedding, 2 * width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """b width h w -> b width h w."""
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, 1)
        hidden = self.first(active(x)) * (1 + scale) + shift
        out: Tensor = x + self.second(active(hidden))
        return out


class Small(nn.Module):
    """Four pixels become channels first (space to depth), then a U-Net of plain 3x3 convolutions without normalisation.

    What a pixel of the output depends on is a fixed neighbourhood and the context's means, so tiles agree with the whole. The
    last layer starts at zero: the first answer is a residual of 0, the given picture itself (exposed, for low light).
    """

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.config, widths, embedding = config, config.widths, config.time_width
        inputs = 3 + 3 * sum(part != "context" for part in config.condition) + 3 * (config.exposure or config.levels)
        self.time = TimeEmbedding(embedding)
        self.exposure = Exposure(embedding) if config.exposure else None
        self.levels = Levels(embedding) if config.levels else None
        self.door = conv(4 * inputs, widths[0])
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(conv(narrow, wide, 3, stride=2) for narrow, wide in pairs)
        self.up = nn.ModuleList(conv(wide, 4 * narrow, 1) for narrow, wide in pairs)
        self.encode = nn.ModuleList(
            nn.ModuleList(Block(width, embedding) for _ in range(depth)) for width, depth in zip(widths, config.depths, strict=True)
        )
        self.decode = nn.ModuleList(
            nn.ModuleList(Block(width, embedding) for _ in range(depth)) for width, depth in zip(widths, config.depths, strict=True)
        )
        self.exit = conv(widths[0], 4 * 3 * config.outputs)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)

    def forward(self, x_t: Tensor, condition: Tensor | None, time: Tensor) -> Outputs:
        """x_t (b 3 h w), condition (b c h w) or None, time (b 2) -> outputs, each b 3 h w; h, w multiples of size_multiple."""
        parts = {} if condition is None else dict(zip(self.config.condition, condition.split(3, 1), strict=True))
        embedding, start, seen = self.time(time), None, [x_t]
        if self.config.fill:
            return self.fill(x_t, parts["image"].float(), parts["mask"].float(), embedding)
        if "image" in parts:
            seen.append(parts["image"])
        if "mask" in parts:
            seen.append(parts["mask"])
        if self.exposure is not None or self.levels is not None:
            with torch.autocast(x_t.device.type, enabled=False):
                start, told = self.first_stage(parts["image"].float(), parts["context"].float())
            embedding = embedding + told
            seen.append(start)
        correction = self.convolutions(torch.cat(seen, 1), embedding)
        outputs = correction.float().split(3, 1)
        return outputs if start is None else (parts["image"] - start + outputs[0], *outputs[1:])

    def first_stage(self, image: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """(the image under the estimated curve, b 3 h w in [-1, 1]; what the estimate tells the blocks, b width)."""
        if self.exposure is not None:
            bright, embedding = self.exposure(image, context)
            return bright * 2 - 1, embedding
        corrected: tuple[Tensor, Tensor] = self.levels(image, context)  # type: ignore[misc]
        return corrected

    def fill(self, x_t: Tensor, image: Tensor, mask: Tensor, embedding: Tensor) -> Outputs:
        """The residual under the mask alone: what lies there now less what should, 0 elsewhere."""
        hidden = (mask.amax(1, keepdim=True) > 0).float()
        start = filled(image, mask)
        correction = self.convolutions(torch.cat([torch.where(hidden > 0, start, x_t), start, mask], 1), embedding)
        first, *rest = correction.float().split(3, 1)
        return (hidden * (image - start + first), *rest)

    def convolutions(self, x: Tensor, embedding: Tensor) -> Tensor:
        """b inputs h w -> b (3 outputs) h w."""
        x = functional.conv2d(x, over_pixels(self.door.weight), self.door.bias, stride=2, padding=2)
        kept = []
        for level, blocks in enumerate(self.encode):
            x = self.down[level - 1](active(x)) if level else x
            for block in blocks:
                x = block(x, embedding)
            kept.append(x)
        for level in reversed(range(len(kept))):
            x = kept[level] if level == len(kept) - 1 else kept[level] + functional.pixel_shuffle(self.up[level](x), 2)
            for block in self.decode[level]:
                x = block(x, embedding)
        return functional.pixel_shuffle(self.exit(active(x)), 2)
