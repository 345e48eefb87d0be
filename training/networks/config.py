"""What the networks are, as configurations: the authors' U-Net, the small one that the shipped models use, and diffusers' own."""

from typing import Annotated, Literal

from pydantic import Field

from rddm.objective import HEADS
from rddm.spec import ConditionPart, Frozen, ModelSpec


class SmallConfig(Frozen):
    """The small network. widths: channels at 1/2, 1/4, 1/8, 1/16 of the picture; depths: blocks per level on the way down.

    exposure: a global tone curve estimated from the context brightens x_in before the convolutions (low light). brightness: how
    bright its result is, is a part of the condition; where that is 0, it is estimated.
    levels: a gain and a black level a channel, estimated from the context (haze, shadows). fill: what the mask hides is
    not seen, is filled smoothly from around it first, and the answer changes nothing else (inpainting, in one step).
    """

    kind: Literal["small"] = "small"
    condition: tuple[ConditionPart, ...] = ("image",)
    outputs: int = Field(default=1, ge=1, le=2)
    widths: tuple[int, ...] = (32, 64, 96, 128)
    depths: tuple[int, ...] = (1, 1, 1, 2)
    time_width: int = 64
    exposure: bool = False
    brightness: bool = False
    levels: bool = False
    fill: bool = False

    def model_post_init(self, _context: object) -> None:
        """Refuse a first stage whose inputs are not in the condition, and two of them."""
        needs = {"exposure": ("image", "context"), "levels": ("image", "context"), "fill": ("image", "mask")}
        chosen = [name for name in needs if getattr(self, name)]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} are both set; expected one of them at most")
        if self.brightness != ("brightness" in self.condition) or (self.brightness and not self.exposure):
            raise ValueError(f"brightness needs exposure, and 'brightness' in the condition, which is {self.condition}")
        for name in chosen:
            if not set(needs[name]) <= set(self.condition):
                raise ValueError(f"{name} needs {' and '.join(needs[name])} in the condition, which is {self.condition}")

    @property
    def size_multiple(self) -> int:
        """Height and width must be multiples of it."""
        return int(2 ** len(self.widths))


ATTENDED_PIXELS = 512 * 512  # of one call of a network with attention, whose memory grows with the square of the picture


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


def check_fits(config: AnyConfig, spec: ModelSpec) -> None:
    """Raises ValueError where the network cannot serve the spec: condition, outputs or size multiple disagree."""
    heads = len(HEADS[spec.objective])
    if config.condition != spec.condition:
        raise ValueError(f"the network's condition is {config.condition}, the spec's {spec.condition}")
    if config.outputs != heads:
        raise ValueError(f"objective {spec.objective} needs {heads} outputs, the network has {config.outputs}")
    if spec.size_multiple % config.size_multiple:
        raise ValueError(f"size_multiple {spec.size_multiple} must be a multiple of the network's {config.size_multiple}")
