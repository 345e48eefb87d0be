"""The two networks behind one constructor: the authors' U-Net (training.unet) and the small one that the shipped models use.

forward(x_t (b 3 h w), condition (b c h w) or None, time (b 2)) -> tuple of outputs (b 3 h w): the exported graph's signature.
time[:, 0] is what the residual (or only) head is told, time[:, 1] what the noise head is told (rddm.objective.times).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from rddm.objective import HEADS
from rddm.spec import ConditionPart, Frozen, ModelSpec

Outputs = tuple[Tensor, ...]

ROOT = 1 / 2.4  # of the sRGB curve


class SmallConfig(Frozen):
    """The small network. widths: channels at 1/2, 1/4, 1/8, 1/16 of the picture; depths: blocks per level on the way down.

    exposure: a global tone curve estimated from the context brightens x_in before the convolutions (low light).
    """

    kind: Literal["small"] = "small"
    condition: tuple[ConditionPart, ...] = ("image",)
    outputs: int = Field(default=1, ge=1, le=2)
    widths: tuple[int, ...] = (32, 64, 96, 128)
    depths: tuple[int, ...] = (1, 1, 1, 2)
    time_width: int = 64
    exposure: bool = False

    @property
    def size_multiple(self) -> int:
        """Height and width must be multiples of it."""
        return int(2 ** len(self.widths))


class UNetConfig(Frozen):
    """The authors' U-Net (section 3 of the paper's code): dim and dim_mults set its size."""

    kind: Literal["unet"] = "unet"
    condition: tuple[ConditionPart, ...] = ("image",)
    outputs: int = Field(default=1, ge=1, le=2)
    dim: int = Field(default=64, ge=8)
    dim_mults: tuple[int, ...] = (1, 2, 4, 8)
    share_encoder: Literal[-1, 0, 1] = -1

    @property
    def size_multiple(self) -> int:
        """Height and width must be multiples of it."""
        return int(2 ** (len(self.dim_mults) - 1))


class DiffusersConfig(Frozen):
    """A UNet2DModel of the diffusers package, imported from a DDIM: its own configuration as JSON."""

    kind: Literal["diffusers"] = "diffusers"
    condition: tuple[ConditionPart, ...] = ()
    outputs: Literal[1] = 1
    size_multiple: int = Field(ge=1)
    unet: str


AnyConfig = SmallConfig | UNetConfig | DiffusersConfig
NetworkConfig = Annotated[AnyConfig, Field(discriminator="kind")]


def make_network(config: AnyConfig) -> nn.Module:
    """The network that the config describes, freshly initialised from torch's global generator."""
    return MAKERS[config.kind](config)


def _make_small(config: SmallConfig) -> nn.Module:
    return Small(config)


def _make_unet(config: UNetConfig) -> nn.Module:
    from training.unet import make_unet  # noqa: PLC0415 (the shipped models never need it)

    return make_unet(config)


def _make_diffusers(config: DiffusersConfig) -> nn.Module:
    from training.ddim import DiffusersUnet  # noqa: PLC0415 (imports this module)

    return DiffusersUnet(config)


MAKERS: dict[str, Callable[..., nn.Module]] = {"small": _make_small, "unet": _make_unet, "diffusers": _make_diffusers}


def check_fits(config: AnyConfig, spec: ModelSpec) -> None:
    """Raises ValueError where the network cannot serve the spec: condition, outputs or size multiple disagree."""
    heads = len(HEADS[spec.objective])
    if config.condition != spec.condition:
        raise ValueError(f"the network's condition is {config.condition}, the spec's {spec.condition}")
    if config.outputs != heads:
        raise ValueError(f"objective {spec.objective} needs {heads} outputs, the network has {config.outputs}")
    if spec.size_multiple % config.size_multiple:
        raise ValueError(f"size_multiple {spec.size_multiple} must be a multiple of the network's {config.size_multiple}")


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


class Exposure(nn.Module):
    """A tone curve for the whole picture from its context: v -> srgb(gain_c * linear(v)) ^ gamma_c, per channel c.

    The gain begins as the one that brings the context's mean to TARGET (never below 1); a small network of the context's
    statistics learns the rest: where the mean should really go, colour cast, contrast. Only means over the context are used,
    which is the same for every tile of a picture, so tiles agree.
    """

    TARGET, STEP, STOPS = 0.43, 0.5, 18
    LEVELS = (0.04, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.93)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("gains", 2.0 ** (self.STEP * torch.arange(self.STOPS + 1)), persistent=False)
        self.register_buffer("levels", torch.tensor(self.LEVELS), persistent=False)
        statistics = 2 + 2 * 3 * (len(self.LEVELS) + 2)
        self.trunk = nn.Sequential(nn.Linear(statistics, 64), nn.SiLU(), nn.Linear(64, width), nn.SiLU())
        self.curve = nn.Linear(width, 6)
        nn.init.zeros_(self.curve.weight)
        nn.init.zeros_(self.curve.bias)

    def forward(self, image: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """(image, context: b 3 h w in [-1, 1]) -> (the brightened image, b 3 h w in 0..1; an embedding, b width)."""
        light = functional.avg_pool2d(linear((context + 1) / 2), 4)
        root = to_root(light)
        stops = self.stops(light, root)
        gain = torch.exp2(stops)[:, :, None, None]
        exposed = encoded(light * gain, root * gain**ROOT)
        statistics = torch.cat(
            [stops / 8, exposed.mean((1, 2, 3))[:, None], self.describe(exposed), self.describe(encoded(light, root))], 1
        )
        embedding = self.trunk(statistics)
        shift, gamma = self.curve(embedding)[:, :, None, None].chunk(2, 1)
        bright = linear((image + 1) / 2) * torch.exp2(stops[:, :, None, None] + shift)
        return encoded(bright, to_root(bright)).clamp(min=1e-4) ** torch.exp(gamma), embedding

    def stops(self, light: Tensor, root: Tensor) -> Tensor:
        """log2 of the gain that brings the mean of encoded(light) to TARGET, (b, 1), by interpolation on a grid of gains.

        What would clip counts twice, so that a night scene's lights hold the gain down.
        """
        means = torch.stack([self.brightness(light * gain, root * gain**ROOT) for gain in self.gains.unbind()], 1)
        reached = (self.TARGET - means[:, :-1]) / (means[:, 1:] - means[:, :-1]).clamp(min=1e-5)
        return self.STEP * reached.clamp(0, 1).sum(1, keepdim=True)

    @staticmethod
    def brightness(light: Tensor, root: Tensor) -> Tensor:
        """Mean of the encoded picture plus mean of what is lost above white, (b,)."""
        return (encoded(light, root) + (light - 1).clamp(0, 1)).mean((1, 2, 3))

    def describe(self, picture: Tensor) -> Tensor:
        """Per channel: mean, root mean square and a soft cumulative histogram, (b, 3 (levels + 2))."""
        below = torch.sigmoid((self.levels[:, None, None, None, None] - picture) * 20).mean((3, 4))
        moments = torch.stack([picture.mean((2, 3)), (picture**2).mean((2, 3)).sqrt()])
        return torch.cat([moments, below]).permute(1, 0, 2).flatten(1)


def linear(srgb: Tensor) -> Tensor:
    """sRGB 0..1 -> linear light."""
    srgb = srgb.clamp(0, 1)
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0.04) + 0.055) / 1.055) ** 2.4)


def to_root(light: Tensor) -> Tensor:
    """light ** ROOT, kept off zero, where its slope has no end. Powers cost; that of light times a gain is root times gain ** ROOT.

    Not by logarithm: that is faster, but ONNX Runtime's depends in the last bit on how many threads there are.
    """
    return light.clamp(min=1e-6) ** ROOT


def encoded(light: Tensor, root: Tensor) -> Tensor:
    """Linear light and its root -> sRGB 0..1, clipped."""
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * root - 0.055).clamp(0, 1)


class Small(nn.Module):
    """Four pixels become channels first (space to depth), then a U-Net of plain 3x3 convolutions without normalisation.

    What a pixel of the output depends on is a fixed neighbourhood and the context's means, so tiles agree with the whole. The
    last layer starts at zero: the first answer is a residual of 0, the given picture itself (exposed, for low light).
    """

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.config, widths, embedding = config, config.widths, config.time_width
        inputs = 3 + 3 * sum(part != "context" for part in config.condition) + 3 * config.exposure
        self.time = TimeEmbedding(embedding)
        self.exposure = Exposure(embedding) if config.exposure else None
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
        if "image" in parts:
            seen.append(parts["image"])
        if "mask" in parts:
            seen.append(parts["mask"])
        if self.exposure is not None:
            with torch.autocast(x_t.device.type, enabled=False):
                bright, exposed = self.exposure(parts["image"].float(), parts["context"].float())
            start, embedding = bright * 2 - 1, embedding + exposed
            seen.append(start)
        correction = self.convolutions(torch.cat(seen, 1), embedding)
        outputs = correction.float().split(3, 1)
        return outputs if start is None else (parts["image"] - start + outputs[0], *outputs[1:])

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
