"""From a configuration to its network.

forward(x_t (b 3 h w), condition (b c h w) or None, time (b 2)) -> tuple of outputs (b 3 h w): the exported graph's signature.
time[:, 0] is the time input of the residual (or only) head, time[:, 1] that of the noise head (rddm.objective.times).
"""

from collections.abc import Callable

from torch import nn

from training.networks.config import AnyConfig
from training.networks.diffusers_unet import DiffusersUnet
from training.networks.small import Small
from training.networks.unet import make_unet

MAKERS: dict[str, Callable[..., nn.Module]] = {"small": Small, "unet": make_unet, "diffusers": DiffusersUnet}


def make_network(config: AnyConfig) -> nn.Module:
    """The network that the config describes, freshly initialised from torch's global generator."""
    return MAKERS[config.kind](config)
