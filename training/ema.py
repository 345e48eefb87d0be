"""Exponential moving average of weights, by ema-pytorch's rule (0.0.10), which the authors use."""

import copy

import torch
from torch import nn

from training.recipe import EmaConfig


class Ema:
    """A copy of the network that follows it. `average` is what is sampled from, validated and shipped."""

    def __init__(self, network: nn.Module, config: EmaConfig) -> None:
        self.config, self.calls, self.started = config, 0, False
        self.average = copy.deepcopy(network).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Call once after every optimiser step."""
        k, self.calls = self.calls, self.calls + 1
        if k % self.config.update_every:
            return
        if k <= self.config.update_after_step or not self.started:
            self.average.load_state_dict(network.state_dict())
            self.started = k > self.config.update_after_step
        if k > self.config.update_after_step:
            self._follow(network, self.decay(k))

    def decay(self, k: int) -> float:
        """Share of the old average kept at call k."""
        age = max(k - self.config.update_after_step, 0)
        return min(max(1 - (1 + age / self.config.inv_gamma) ** -self.config.power, 0.0), self.config.beta)

    def _follow(self, network: nn.Module, decay: float) -> None:
        online = network.state_dict()
        for name, old in self.average.state_dict().items():
            if old.is_floating_point():
                old.lerp_(online[name], 1 - decay)
            else:
                old.copy_(online[name])
