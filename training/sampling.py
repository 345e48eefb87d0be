"""Sampling with a torch network: rddm.sampler's conversation held synchronously, on whole pictures."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rddm.image import Pixels, prepared, to_pixels
from rddm.objective import predict
from rddm.sampler import Question, philox_noise, run, sample
from rddm.schedule import make_schedule
from rddm.spec import Method, ModelSpec

Network = Callable[[Tensor, Tensor | None, Tensor], Sequence[Tensor]]


def condition_of(spec: ModelSpec, given: Tensor, context: Tensor | None, mask: Tensor | None = None) -> Tensor | None:
    """The parts that the spec lists, concatenated: b c h w, or None where it lists nothing. A missing part raises ValueError."""
    parts = {"image": given, "context": context, "mask": mask}
    for name in spec.condition:
        if parts[name] is None:
            raise ValueError(f"{spec.name} needs {name!r} as a condition, and none was given")
    chosen = [part for name in spec.condition if (part := parts[name]) is not None]
    return torch.cat(chosen, 1) if chosen else None


@torch.inference_mode()
def sample_with(
    network: Network,
    spec: ModelSpec,
    given: Tensor,
    context: Tensor | None = None,
    steps: int | None = None,
    seeds: list[int] | None = None,
    method: Method | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """x_0 for x_in = given (b 3 h w in [-1, 1]; zeros for generation), one seed per picture; clipped to [-1, 1].

    mask: like given, in [0, 1], for models that are told one.
    """
    schedule, batch = make_schedule(spec.schedule, spec.timesteps), len(given)
    fields = [philox_noise(seed, 3, *given.shape[2:]) for seed in seeds or range(batch)]
    condition = condition_of(spec, given, context, mask)

    def noise(k: int) -> Tensor:
        return torch.from_numpy(np.concatenate([field(k) for field in fields])).to(given.device)

    def answer(question: Question) -> object:
        time = torch.tensor([question.time] * batch, dtype=torch.float32, device=given.device)
        outputs = network(question.x_t, condition, time)
        return predict(spec, schedule, outputs, question.x_t, given, question.t, method)

    found: Tensor = run(sample(spec, schedule, given, noise, steps), answer)  # type: ignore[arg-type]
    return found.clamp(-1, 1)


def restore_picture(
    network: Network,
    spec: ModelSpec,
    picture: NDArray[np.uint8],
    steps: int | None = None,
    seed: int = 0,
    method: Method | None = None,
    mask: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """A picture (h, w, 3) uint8 restored whole, of any size: mirrored at the border up to the size multiple, then cut back.

    mask: of the picture's size, for models that are told one; the histogram is equalised first where the spec says so.
    """
    device = next(network.parameters()).device if isinstance(network, nn.Module) else torch.device("cpu")
    x_in = pad_to(_unit(prepared(picture, spec.preprocessing), device) * 2 - 1, spec.size_multiple)
    shown = None if mask is None else pad_to(_unit(mask, device), spec.size_multiple)
    found = sample_with(network, spec, x_in, x_in, steps, [seed], method, shown)
    return to_pixels(found[:, :, : picture.shape[0], : picture.shape[1]].cpu().numpy()).astype(np.uint8)


def _unit(picture: Pixels, device: torch.device) -> Tensor:
    """h w 3 -> 1 3 h w in [0, 1]."""
    return torch.from_numpy(picture.copy()).to(device).permute(2, 0, 1)[None].float() / 255


def pad_to(x: Tensor, multiple: int) -> Tensor:
    """x b c h w, enlarged at the bottom and right to multiples: mirrored where it is large enough to be, else repeated."""
    down, right = -x.shape[2] % multiple, -x.shape[3] % multiple
    mode = "reflect" if down < x.shape[2] and right < x.shape[3] else "replicate"
    return functional.pad(x, (0, right, 0, down), mode=mode)
