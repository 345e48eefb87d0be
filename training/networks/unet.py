"""The authors' U-Net, rebuilt from its published structure; parameter names are those of their checkpoints.

Three arrangements: one network, two networks (residual and noise), or one encoder with two decoders. Fully convolutional; height
and width must be multiples of `Unet.size_multiple`. Linear attention looks over the whole input, so tiles are not exact with it.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from rddm.spec import CHANNELS
from training.networks.config import UNetConfig

HEADS, HEAD_CHANNELS = 4, 32
GROUPS = 8


def _epsilon(x: Tensor) -> float:
    """The authors' stabiliser: 1e-5 in float32, 1e-3 in every other precision."""
    return 1e-5 if x.dtype == torch.float32 else 1e-3


class SinusoidalTime(nn.Module):
    """time (b,) of any float -> (b, dim): all sines, then all cosines, of frequencies 1 .. 1/10000."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.half = dim // 2

    def forward(self, time: Tensor) -> Tensor:
        step = math.log(10000) / (self.half - 1)
        frequencies = torch.exp(torch.arange(self.half, device=time.device) * -step)
        phase = time[:, None] * frequencies[None, :]
        return torch.cat((phase.sin(), phase.cos()), dim=-1)


class WeightStandardizedConv(nn.Conv2d):
    """A convolution whose weights are normalised to mean 0 and variance 1 per output channel."""

    def standardized(self, epsilon: float) -> Tensor:
        """The weights that are convolved with."""
        mean = self.weight.mean(dim=(1, 2, 3), keepdim=True)
        variance = self.weight.var(dim=(1, 2, 3), correction=0, keepdim=True)
        return (self.weight - mean) * (variance + epsilon).rsqrt()

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.standardized(_epsilon(x)), self.bias, self.stride, self.padding)

    @torch.no_grad()
    def plain(self) -> nn.Conv2d:
        """An ordinary convolution that computes the same in float32: what is exported."""
        convolution = nn.Conv2d(self.in_channels, self.out_channels, 3, padding=1)
        convolution.weight.copy_(self.standardized(_epsilon(self.weight.float())))
        if self.bias is not None and convolution.bias is not None:
            convolution.bias.copy_(self.bias)
        return convolution


class ChannelNorm(nn.Module):
    """Normalises each pixel over its channels; gain g, no bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        variance = x.var(dim=1, correction=0, keepdim=True)
        mean = x.mean(dim=1, keepdim=True)
        return (x - mean) * (variance + _epsilon(x)).rsqrt() * self.g


class Block(nn.Module):
    """Convolution, group norm, optional scale and shift, SiLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.proj = WeightStandardizedConv(channels_in, channels_out, 3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, channels_out)

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        x = self.norm(self.proj(x))
        if scale is not None and shift is not None:
            x = x * (scale + 1) + shift
        return functional.silu(x)


class ResnetBlock(nn.Module):
    """Two blocks, the first modulated by time, and a shortcut (1x1 convolution where channels differ)."""

    def __init__(self, channels_in: int, channels_out: int, time_channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_channels, channels_out * 2))
        self.block1 = Block(channels_in, channels_out)
        self.block2 = Block(channels_out, channels_out)
        self.res_conv = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.mlp(time)[:, :, None, None].split(self.block1.proj.out_channels, dim=1)
        hidden = self.block2(self.block1(x, scale, shift))
        return hidden + self.res_conv(x)


def _split_heads(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """b (3 heads c) h w -> three of b heads c (h w)."""
    q, k, v = qkv.flatten(2).split(HEADS * HEAD_CHANNELS, dim=1)
    shape = (HEADS, HEAD_CHANNELS)
    return q.unflatten(1, shape), k.unflatten(1, shape), v.unflatten(1, shape)


class LinearAttention(nn.Module):
    """Attention linear in the number of pixels: softmax over channels for q, over pixels for k; values divided by their number."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = HEADS * HEAD_CHANNELS
        self.to_qkv = nn.Conv2d(channels, hidden * 3, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(hidden, channels, 1), ChannelNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        q, k, v = _split_heads(self.to_qkv(x))
        q = q.softmax(dim=-2) * HEAD_CHANNELS**-0.5
        k = k.softmax(dim=-1)
        context = torch.einsum("bhdn,bhen->bhde", k, v / (height * width))
        out = torch.einsum("bhde,bhdn->bhen", context, q)
        return self.to_out(out.flatten(1, 2).unflatten(2, (height, width)))


class Attention(nn.Module):
    """Full softmax attention over all pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = HEADS * HEAD_CHANNELS
        self.to_qkv = nn.Conv2d(channels, hidden * 3, 1, bias=False)
        self.to_out = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        q, k, v = _split_heads(self.to_qkv(x))
        weights = torch.einsum("bhdi,bhdj->bhij", q * HEAD_CHANNELS**-0.5, k).softmax(dim=-1)
        out = torch.einsum("bhij,bhdj->bhid", weights, v)
        return self.to_out(out.transpose(-1, -2).flatten(1, 2).unflatten(2, (height, width)))


class PreNorm(nn.Module):
    """fn after a channel norm."""

    def __init__(self, channels: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(self.norm(x))


class Residual(nn.Module):
    """x + fn(x)."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(x)


def _linear_attention(channels: int) -> Residual:
    return Residual(PreNorm(channels, LinearAttention(channels)))


def _time_mlp(dim: int) -> nn.Sequential:
    return nn.Sequential(SinusoidalTime(dim), nn.Linear(dim, dim * 4), nn.GELU(), nn.Linear(dim * 4, dim * 4))


def _level(channels: int, time: int, blocks_in: int, resample: nn.Module) -> nn.ModuleList:
    """Two ResNet blocks from blocks_in to `channels`, linear attention, and the change of resolution."""
    return nn.ModuleList(
        [
            ResnetBlock(blocks_in, channels, time),
            ResnetBlock(blocks_in, channels, time),
            _linear_attention(channels),
            resample,
        ]
    )


def _downs(dims: Sequence[int], time: int) -> nn.ModuleList:
    levels = list(pairwise(dims))
    return nn.ModuleList(
        _level(a, time, a, nn.Conv2d(a, b, 3, padding=1) if i == len(levels) - 1 else nn.Conv2d(a, b, 4, 2, 1))
        for i, (a, b) in enumerate(levels)
    )


def _ups(dims: Sequence[int], time: int, *, skips: bool) -> nn.ModuleList:
    levels = list(pairwise(dims))[::-1]
    return nn.ModuleList(
        _level(b, time, a + b if skips else b, _upsample(a, b, last=i == len(levels) - 1)) for i, (a, b) in enumerate(levels)
    )


def _upsample(channels_out: int, channels_in: int, *, last: bool) -> nn.Module:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1)
    return convolution if last else nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), convolution)


class _Encoder(nn.Module):
    """What Unet and SharedUnet have in common: the way down and the middle."""

    def __init__(self, dim: int, dim_mults: Sequence[int], channels_in: int) -> None:
        super().__init__()
        if dim % GROUPS:
            raise ValueError(f"dim {dim} must be a multiple of {GROUPS}")
        self.dims = [dim, *(dim * mult for mult in dim_mults)]
        self.size_multiple: int = 2 ** (len(dim_mults) - 1)
        self.init_conv = nn.Conv2d(channels_in, dim, 7, padding=3)
        self.time_mlp = _time_mlp(dim)
        self.downs = _downs(self.dims, dim * 4)

    def _add_middle(self) -> None:
        """Registered after the decoders: the order of the authors' parameters."""
        middle, time = self.dims[-1], self.dims[0] * 4
        self.mid_block1 = ResnetBlock(middle, middle, time)
        self.mid_attn = Residual(PreNorm(middle, Attention(middle)))
        self.mid_block2 = ResnetBlock(middle, middle, time)

    def encode(self, x: Tensor, time: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """(the middle's output, the first features, the embedded time, the skips)."""
        x = self.init_conv(x)
        first = x.clone()  # its own node: gradients then add up in the authors' order, which reproduces their runs bit for bit
        embedded = self.time_mlp(time)
        skips: list[Tensor] = []
        for block1, block2, attention, down in self.downs:
            x = block1(x, embedded)
            skips.append(x)
            x = attention(block2(x, embedded))
            skips.append(x)
            x = down(x)
        x = self.mid_block2(self.mid_attn(self.mid_block1(x, embedded)), embedded)
        return x, first, embedded, skips


def _decode(ups: nn.ModuleList, x: Tensor, time: Tensor, skips: Sequence[Tensor]) -> Tensor:
    """The way up; without skips each block sees x alone."""
    remaining = list(skips)
    for block1, block2, attention, up in ups:
        for block in (block1, block2):
            x = block(torch.cat((x, remaining.pop()), dim=1) if skips else x, time)
        x = up(attention(x))
    return x


class Unet(_Encoder):
    """forward(x: b channels_in h w, time: b) -> b channels_out h w. h and w are multiples of size_multiple.

    Raises ValueError for a dim that is not a multiple of 8 (group norm).
    """

    def __init__(self, dim: int = 64, dim_mults: Sequence[int] = (1, 2, 4, 8), channels_in: int = 6, channels_out: int = 3) -> None:
        super().__init__(dim, dim_mults, channels_in)
        self.ups = _ups(self.dims, dim * 4, skips=True)
        self._add_middle()
        self.final_res_block = ResnetBlock(dim * 2, dim, dim * 4)
        self.final_conv = nn.Conv2d(dim, channels_out, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        x, first, embedded, skips = self.encode(x, time)
        x = _decode(self.ups, x, embedded, skips)
        return self.final_conv(self.final_res_block(torch.cat((x, first), dim=1), embedded))


class SharedUnet(_Encoder):
    """One encoder, two decoders: forward(x, time) -> (residual, noise). The residual decoder has no skips."""

    def __init__(self, dim: int = 64, dim_mults: Sequence[int] = (1, 2, 4, 8), channels_in: int = 6) -> None:
        super().__init__(dim, dim_mults, channels_in)
        self.ups = _ups(self.dims, dim * 4, skips=True)
        self.ups_no_skip = _ups(self.dims, dim * 4, skips=False)
        self._add_middle()
        self.final_res_block_1 = ResnetBlock(dim, dim, dim * 4)
        self.final_conv_1 = nn.Conv2d(dim, 3, 1)
        self.final_res_block_2 = ResnetBlock(dim * 2, dim, dim * 4)
        self.final_conv_2 = nn.Conv2d(dim, 3, 1)

    def forward(self, x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        x, first, embedded, skips = self.encode(x, time)
        residual = self.final_res_block_1(_decode(self.ups_no_skip, x, embedded, ()), embedded)
        noise = torch.cat((_decode(self.ups, x, embedded, skips), first), dim=1)
        return self.final_conv_1(residual), self.final_conv_2(self.final_res_block_2(noise, embedded))


class UnetRes(nn.Module):
    """The authors' U-Nets behind the exported graph's signature: forward(x_t, condition, time) -> one output, or two.

    x_t: b 3 h w; condition: b c h w, or None where the config lists nothing; time: b 2, the inputs of the residual (or only) and
    the noise network. share_encoder as the authors number it: -1 one network, with six channels where two outputs are asked
    (SM-Res-N-1Net); 0 two networks; 1 one encoder and two decoders. Raises ValueError where that cannot give config.outputs.
    """

    branchless = True  # the same operations for every size and value: an export may trace it

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config, channels = config, 3 + sum(CHANNELS[part] for part in config.condition)
        if config.share_encoder != -1 and config.outputs != 2:
            raise ValueError(f"share_encoder {config.share_encoder} gives 2 outputs; the objective needs {config.outputs}")
        if config.share_encoder == 1:
            self.shared = SharedUnet(config.dim, config.dim_mults, channels)
            return
        own = 3 * config.outputs if config.share_encoder == -1 else 3
        self.unet0 = Unet(config.dim, config.dim_mults, channels, own)
        if config.share_encoder == 0:
            self.unet1 = Unet(config.dim, config.dim_mults, channels, own)

    def forward(self, x_t: Tensor, condition: Tensor | None, time: Tensor) -> tuple[Tensor, ...]:
        x = x_t if condition is None else torch.cat((x_t, condition), dim=1)
        if self.config.share_encoder == 1:
            return self.shared(x, time[:, 0])
        if self.config.share_encoder == 0:
            return self.unet0(x, time[:, 0]), self.unet1(x, time[:, 1])
        return tuple(self.unet0(x, time[:, 0]).split(3, dim=1))


def make_unet(config: UNetConfig) -> UnetRes:
    """The network of the config, freshly initialised from torch's global generator."""
    return UnetRes(config)
