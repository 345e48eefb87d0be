"""The networks behind one constructor, and the configurations that they are made from."""

from training.networks.config import AnyConfig, SmallConfig, UNetConfig, check_fits
from training.networks.make import make_network

__all__ = ["AnyConfig", "SmallConfig", "UNetConfig", "check_fits", "make_network"]
