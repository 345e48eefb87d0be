"""The small network that the shipped models use: plain convolutions on four pixels at once, and an exposure for low light."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from rddm.spec import CHANNELS, ConditionPart, ModelSpec
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


def off_pixels(kernel: Tensor) -> Tensor:
    """The inverse of `over_pixels`: (outputs c 6 6) -> (outputs 4 c 3 3)."""
    outputs, inputs = kernel.shape[:2]
    return kernel.view(outputs, inputs, 3, 2, 3, 2).permute(0, 1, 3, 5, 2, 4).reshape(outputs, 4 * inputs, 3, 3)


class Door(nn.Conv2d):
    """The first layer: space to depth and a 3x3 convolution over it, of all that the network sees, which is given in pieces."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(4 * inputs, outputs, 3, padding=1)

    def forward(self, seen: list[Tensor]) -> Tensor:  # type: ignore[override]
        """Each b c h w -> b outputs h/2 w/2."""
        return functional.conv2d(torch.cat(seen, 1), over_pixels(self.weight), self.bias, stride=2, padding=2)

    def plain(self) -> nn.Module:
        """See `export.graph.plain`."""
        return PlainDoor(over_pixels(self.weight.detach()), self.bias)


class PlainDoor(nn.Module):
    """A `Door` with its kernel laid out, as a sum of convolutions of at most PICTURES pictures of three channels.

    ONNX Runtime's blocked layout takes an input of less than a block (8 channels on AVX2, 16 on AVX-512) as it is, and none of 9.
    """

    PICTURES = 2

    def __init__(self, kernel: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.pieces = nn.ParameterList(piece.clone() for piece in kernel.split(3 * self.PICTURES, 1))
        self.bias = bias

    def forward(self, seen: list[Tensor]) -> Tensor:
        """Each b 3 h w -> b outputs h/2 w/2."""
        given = [seen[k : k + self.PICTURES] for k in range(0, len(seen), self.PICTURES)]
        joined = [few[0] if len(few) == 1 else torch.cat(few, 1) for few in given]
        first, *rest = zip(joined, self.pieces, strict=True)
        total = functional.conv2d(*first, self.bias, stride=2, padding=2)
        for part, piece in rest:
            total = total + functional.conv2d(part, piece, stride=2, padding=2)
        return total


class Shuffle(nn.Module):
    """Depth to space: four channels become two by two pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """b 4c h w -> b c 2h 2w."""
        return functional.pixel_shuffle(x, 2)

    def plain(self) -> nn.Module:
        """See `export.graph.plain`."""
        return PlainShuffle()


class PlainShuffle(nn.Module):
    """Depth to space by two transpositions: rows, in whole lines, then columns. ONNX Runtime's own takes twice as long."""

    def forward(self, x: Tensor) -> Tensor:
        """b 4c h w -> b c 2h 2w."""
        batch, channels, height, width = x.shape
        x = x.reshape(batch, channels // 4, 2, 2, height, width).permute(0, 1, 4, 2, 3, 5)
        x = x.reshape(batch, channels // 4, 2 * height, 2, width).transpose(3, 4)
        return x.reshape(batch, channels // 4, 2 * height, 2 * width)


def active(x: Tensor) -> Tensor:
    """Leaky, because plain rectifiers on the residual stream can all die in the first hundred steps (seen in low light)."""
    return functional.leaky_relu(x, 0.1)


class Active(nn.Module):
    """`active` for values of `width` channels that convolutions give and take."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return active(x)

    def plain(self) -> nn.Module:
        """See `export.graph.plain`."""
        return nn.Sequential(Unchanged(self.width), Active(self.width))


class Unchanged(nn.Module):
    """A convolution that changes nothing, for exported graphs: what it gives lies in ONNX Runtime's blocked layout.

    That runtime activates values there only as a part of a convolution; elsewhere they are first laid out anew, and after it again,
    which takes twice as long as this convolution. Groups are of one block on AVX-512, and of two on AVX2.
    """

    GROUP = 16  # channels; other widths are given back as they are, since their groups would leave the layout

    def __init__(self, width: int) -> None:
        super().__init__()
        self.groups = width // self.GROUP if width % self.GROUP == 0 else 0
        self.register_buffer("kernel", torch.eye(self.GROUP).repeat(self.groups, 1)[:, :, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """b width h w, as it is."""
        return functional.conv2d(x, self.kernel, groups=self.groups) if self.groups else x


def split_parts(condition: tuple[ConditionPart, ...], given: Tensor) -> dict[ConditionPart, Tensor]:
    """The parts of a condition (b c h w) by name."""
    return dict(zip(condition, given.split([CHANNELS[part] for part in condition], 1), strict=True))


def heads(outputs: Tensor) -> Outputs:
    """Outputs b 3n h w one by one; a single one as it is, which an exported graph would else copy."""
    return (outputs,) if outputs.shape[1] == 3 else outputs.split(3, 1)


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


class Up(nn.Conv2d):
    """Twice the height and width: a 1x1 convolution to four times the channels, then depth to space."""

    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__(wide, 4 * narrow, 1)

    def forward(self, x: Tensor) -> Tensor:
        """b wide h w -> b narrow 2h 2w."""
        return functional.pixel_shuffle(super().forward(x), 2)

    def plain(self) -> nn.Module:
        """See `export.graph.plain`."""
        return PlainUp(self)


def plain_order(channels: int) -> Tensor:
    """Where each channel of a `PlainUp` lies in its `Up`: by pixel of the two by two first, then by channel."""
    return torch.arange(channels).view(channels // 4, 4).T.flatten()


class PlainUp(nn.Module):
    """An `Up` whose depth to space moves all channels of a pixel at once, and gives them back to a convolution.

    ONNX Runtime reads and writes its blocked layout with channels last as fast as with channels first.
    """

    def __init__(self, up: Up) -> None:
        super().__init__()
        self.narrow = up.out_channels // 4
        self.conv, order = conv(up.in_channels, up.out_channels, 1), plain_order(up.out_channels)
        self.conv.load_state_dict({name: values[order] for name, values in up.state_dict().items()})
        self.unchanged = Unchanged(self.narrow)

    def forward(self, x: Tensor) -> Tensor:
        """b wide h w -> b narrow 2h 2w."""
        batch, _, height, width = x.shape
        x = self.conv(x).permute(0, 2, 3, 1).reshape(batch, height, width, 2, 2 * self.narrow).transpose(2, 3)
        shuffled: Tensor = self.unchanged(x.reshape(batch, 2 * height, 2 * width, self.narrow).permute(0, 3, 1, 2))
        return shuffled


class Block(nn.Module):
    """x + conv(act(scale * conv(act(x)) + shift)), scale and shift from the embedding; starts as the identity."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.active = Active(width)
        self.first, self.second = conv(width, width), conv(width, width)
        self.modulation = nn.Linear(embedding, 2 * width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """b width h w -> b width h w."""
        scale, shift = self.modulation(embedding)[:, :, None, None].split(x.shape[1], 1)
        hidden = self.first(self.active(x)) * (1 + scale) + shift
        out: Tensor = x + self.second(active(hidden))
        return out


class Small(nn.Module):
    """Four pixels become channels first (space to depth), then a U-Net of plain 3x3 convolutions without normalisation.

    What a pixel of the output depends on is a fixed neighbourhood and the context's means, so tiles agree with the whole. The
    last layer starts at zero: the first answer is a residual of 0, the given picture itself (exposed, for low light).
    """

    branchless = True  # the same operations for every size and value: an export may trace it

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.config, widths, embedding = config, config.widths, config.time_width
        first_stage = config.exposure or config.levels
        inputs = 3 + 3 * sum(part not in {"context", "brightness", "code"} for part in config.condition) + 3 * first_stage
        self.time = TimeEmbedding(embedding)
        self.exposure = Exposure(embedding, config.brightness) if config.exposure else None
        self.levels = Levels(embedding) if config.levels else None
        self.door, self.shuffle = Door(inputs, widths[0]), Shuffle()
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(conv(narrow, wide, 3, stride=2) for narrow, wide in pairs)
        self.up = nn.ModuleList(Up(wide, narrow) for narrow, wide in pairs)
        self.encode = nn.ModuleList(
            nn.ModuleList(Block(width, embedding) for _ in range(depth)) for width, depth in zip(widths, config.depths, strict=True)
        )
        self.decode = nn.ModuleList(
            nn.ModuleList(Block(width, embedding) for _ in range(depth)) for width, depth in zip(widths, config.depths, strict=True)
        )
        self.before_down = nn.ModuleList(Active(narrow) for narrow, _ in pairs)
        self.before_exit = Active(widths[0])
        self.exit = conv(widths[0], 4 * 3 * config.outputs)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)

    def forward(self, x_t: Tensor, condition: Tensor | None, time: Tensor) -> Outputs:
        """x_t (b 3 h w), condition (b c h w) or None, time (b 2) -> outputs, each b 3 h w; h, w multiples of size_multiple."""
        parts = {} if condition is None else split_parts(self.config.condition, condition)
        embedding, start, seen = self.time(time), parts.get("exposed"), [x_t]
        if self.config.fill:
            return self.fill(x_t, parts["image"].float(), parts["mask"].float(), embedding)
        if "image" in parts:
            seen.append(parts["image"])
        if "mask" in parts:
            seen.append(parts["mask"])
        if self.exposure is not None or self.levels is not None:
            with torch.autocast(x_t.device.type, enabled=False):
                start, seen_of_all = self.first_stage({name: part.float() for name, part in parts.items()})
            embedding = embedding + seen_of_all
        if "code" in parts:
            embedding = embedding + parts["code"].flatten(1)[:, : embedding.shape[1]]
        if start is not None:
            seen.append(start)
        correction = self.convolutions(seen, embedding)
        outputs = heads(correction.float())
        return outputs if start is None else (parts["image"] - start + outputs[0], *outputs[1:])

    def first_stage(self, parts: dict[ConditionPart, Tensor]) -> tuple[Tensor, Tensor]:
        """(the image under the estimated curve, b 3 h w in [-1, 1]; what the estimate tells the blocks, b width)."""
        if self.exposure is not None:
            mean = parts["brightness"][:, :, 0, 0] if self.config.brightness else None
            bright, embedding = self.exposure(parts["image"], parts["context"], mean)
            return bright * 2 - 1, embedding
        corrected: tuple[Tensor, Tensor] = self.levels(parts["image"], parts["context"])  # type: ignore[misc]
        return corrected

    def fill(self, x_t: Tensor, image: Tensor, mask: Tensor, embedding: Tensor) -> Outputs:
        """The residual under the mask alone: what lies there now less what should, 0 elsewhere."""
        hidden = (mask.amax(1, keepdim=True) > 0).float()
        start = filled(image, mask)
        correction = self.convolutions([torch.where(hidden > 0, start, x_t), start, mask], embedding)
        first, *rest = heads(correction.float())
        return (hidden * (image - start + first), *rest)

    def served(self, spec: ModelSpec) -> "tuple[Small, ModelSpec]":
        """The network and its spec as they are served: what depends on the picture alone is no part of the graph any more.

        The exposure goes into the spec, and instead of the context the condition lists what comes of it (rddm.exposure).
        """
        if self.exposure is None:
            return self, spec
        kept = (part for part in self.config.condition if part not in {"context", "brightness"})
        condition: tuple[ConditionPart, ...] = (*kept, "exposed", "code")
        network = Small(self.config.model_copy(update={"condition": condition, "exposure": False, "brightness": False}))
        network.load_state_dict({name: v for name, v in self.state_dict().items() if not name.startswith("exposure.")})
        brightness = self.exposure.exported_brightness()
        facts = {
            "condition": condition,
            "exposure": self.exposure.exported().to_text(),
            "brightness": None if brightness is None else brightness.to_text(),
        }
        return network.to(self.door.weight.device).train(self.training), ModelSpec.model_validate({**spec.model_dump(), **facts})

    def convolutions(self, seen: list[Tensor], embedding: Tensor) -> Tensor:
        """Each b c h w -> b (3 outputs) h w."""
        x, kept = self.door(seen), []
        for level, blocks in enumerate(self.encode):
            x = self.down[level - 1](self.before_down[level - 1](x)) if level else x
            for block in blocks:
                x = block(x, embedding)
            kept.append(x)
        for level in reversed(range(len(kept))):
            x = kept[level] if level == len(kept) - 1 else kept[level] + self.up[level](x)
            for block in self.decode[level]:
                x = block(x, embedding)
        shuffled: Tensor = self.shuffle(self.exit(self.before_exit(x)))
        return shuffled
