"""The first guess of inpainting: what is hidden, interpolated from around it."""

import torch
from torch import Tensor
from torch.nn import functional


def filled(image: Tensor, mask: Tensor) -> Tensor:
    """The image with what the mask hides (> 0) interpolated from around it: means of what is known, coarse to fine.

    image, mask: b 3 h w, h and w multiples of 16. What lies under the mask does not matter.
    """
    known = (mask.amax(1, keepdim=True) <= 0).float()
    pyramid = [(torch.where(known > 0, image, 0.0), known)]
    for _ in range(4):
        pyramid.append(tuple(functional.avg_pool2d(part, 2) for part in pyramid[-1]))  # type: ignore[arg-type]
    sums, weights = (functional.avg_pool2d(part, 5, 1, 2, count_include_pad=False) for part in pyramid[-1])
    result = sums / weights.clamp(min=1e-4)
    for values, weights in reversed(pyramid):
        if values.shape[2] != result.shape[2]:
            result = functional.interpolate(result, scale_factor=2.0, mode="bilinear")
        result = values + (1 - weights) * result
    return result
