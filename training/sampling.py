"""Sampling with a torch network: whole pictures and training's crops, by the one driver of rddm.condition."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rddm.condition import concatenated, restore_whole
from rddm.graph import CONDITION, TIME, X_T, Feeds, GraphCall
from rddm.image import prepared, to_image, to_mask, to_pixels
from rddm.spec import Method, ModelSpec

Network = Callable[[Tensor, Tensor | None, Tensor], Sequence[Tensor]]


def condition_of(
    spec: ModelSpec, given: Tensor, context: Tensor | None, mask: Tensor | None = None, brightness: Tensor | None = None
) -> Tensor | None:
    """The parts that the spec lists, concatenated: b c h w, or None where it lists nothing. A missing part raises ValueError.

    mask: where it is optional and missing, 0. brightness: b 1, of the whole target.
    """
    if mask is None and spec.mask_optional:
        mask = torch.zeros_like(given)
    plane = None if brightness is None else brightness[:, :, None, None].expand(-1, -1, *given.shape[2:])
    return concatenated(spec, {"image": given, "context": context, "mask": mask, "brightness": plane}, torch.cat)


def as_graph(network: Network) -> GraphCall:
    """A torch network, called as the exported graph is: NumPy feeds in, NumPy outputs. It stays on its device."""
    device = next(network.parameters()).device if isinstance(network, nn.Module) else torch.device("cpu")

    @torch.inference_mode()
    def call(feeds: Feeds) -> list[NDArray[np.float32]]:
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in feeds.items()}
        outputs = network(tensors[X_T], tensors.get(CONDITION), tensors[TIME])
        return [output.float().cpu().numpy() for output in outputs]

    return call


def sample_with(
    network: Network,
    spec: ModelSpec,
    given: Tensor,
    context: Tensor | None = None,
    steps: int | None = None,
    seeds: Sequence[int] | None = None,
    method: Method | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """x_0 for x_in = given (b 3 h w in [-1, 1]; zeros for generation), one seed per picture; clipped to [-1, 1].

    context: of the pictures that given was cut from, else given itself. mask: like given, in [0, 1], for models that take one.
    """
    x_in, around, masked = (None if part is None else part.cpu().numpy() for part in (given, context, mask))
    chosen = range(len(given)) if seeds is None else seeds
    x_0 = restore_whole(as_graph(network), spec, x_in, steps, chosen, method, masked, around)
    return torch.from_numpy(x_0).to(given.device).clamp(-1, 1)


def restore_picture(
    network: GraphCall,
    spec: ModelSpec,
    picture: NDArray[np.uint8],
    steps: int | None = None,
    seed: int = 0,
    method: Method | None = None,
    mask: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """A picture (h, w, 3) uint8 restored whole, of any size, as the service restores one that is a single call a step.

    mask: of the picture's size, for models that take one; the histogram is equalised first where the spec says so.
    """
    x_in = to_image(prepared(picture, spec.preprocessing))
    x_0 = restore_whole(network, spec, x_in, steps, [seed], method, None if mask is None else to_mask(mask))
    return to_pixels(x_0).astype(np.uint8)
