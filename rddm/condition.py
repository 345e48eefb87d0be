"""What a network is given of a picture beside x_t: padded, shrunk, cut and concatenated; and the sampling of a whole picture.

One rule holds for training, evaluation, export, benchmarks and the service. A picture is grown at the bottom and right by
symmetric reflection, to multiples of the size that the network takes. Its noise is drawn at its own size and grown alike. The
context is the picture before it was grown, averaged to the size that the network sees.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rddm.exposure import Exposed, brightness_of, exposure_of
from rddm.graph import GraphCall, to_feeds
from rddm.objective import Prediction, predict
from rddm.sampler import Noise, Question, philox_noise, run, sample
from rddm.schedule import schedule_of
from rddm.spec import ConditionPart, Method, ModelSpec

Array = Any
Image = NDArray[np.float32]

WHOLE: frozenset[ConditionPart] = frozenset(
    {"context", "brightness", "code"}
)  # parts that every tile of a picture is given as they are


def padded(length: int, multiple: int) -> int:
    """The smallest multiple that holds length."""
    return -(-length // multiple) * multiple


def pad(field: Image, height: int, width: int) -> Image:
    """b c h w grown to height x width at the bottom and right by reflection; a field that has this size is returned as it is."""
    if field.shape[2:] == (height, width):
        return field
    down, across = height - field.shape[2], width - field.shape[3]
    return np.pad(field, ((0, 0), (0, 0), (0, down), (0, across)), mode="symmetric")


def padded_noise(fields: Noise, height: int, width: int) -> Noise:
    """The k-th noise field of a picture's own size, grown like the picture."""
    return lambda k: pad(fields(k), height, width)


def picture_noise(seed: int, height: int, width: int) -> Noise:
    """The noise of a picture of height x width pixels: field k is (1 3 h w)."""
    return philox_noise(seed, 3, height, width)


def windows(length: int, size: int) -> Iterator[tuple[int, Image]]:
    """Averaging by area along one axis: of each output pixel the first input pixel in it, and the weights from there on."""
    edges = np.arange(size + 1) * (length / size)
    first = np.floor(edges[:-1]).astype(int)[:, None]
    pixels = first + np.arange(math.ceil(length / size) + 1)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.where(pixels < length, covered.clip(0) * (size / length), 0).astype(np.float32)
    for place, row in zip(first[:, 0], weights, strict=True):
        inside = np.flatnonzero(row)
        yield int(place + inside[0]), row[inside[0] : inside[-1] + 1]


def context(x_in: Image, height: int, width: int) -> Image:
    """The whole picture b 3 h w averaged by area to b 3 height width: what a tile sees of the picture around it.

    A picture that already has this size is returned as it is.
    """
    if x_in.shape[-2:] == (height, width):
        return x_in
    return np.ascontiguousarray(_averaged(_averaged(x_in, height).swapaxes(-1, -2), width).swapaxes(-1, -2))


def _averaged(field: Image, size: int) -> Image:
    """Averages by area along the last axis but one. By NumPy's own loops: a BLAS rounds as its number of threads wants."""
    length = field.shape[-2]
    if length == size:
        return field
    averages = np.empty((*field.shape[:-2], size, field.shape[-1]), np.float32)
    for i, (start, weight) in enumerate(windows(length, size)):
        np.einsum("k,...kw->...w", weight, field[..., start : start + len(weight), :], out=averages[..., i, :])
    return averages


def parts_of(
    spec: ModelSpec,
    x_in: Image,
    mask: Image | None,
    size: tuple[int, int],
    seen: tuple[int, int],
    around: Image | None = None,
) -> dict[ConditionPart, Array]:
    """The parts that the spec lists, in its order. ValueError for a mask that is needed and missing; an optional one is then 0.

    x_in, mask: b 3 h w at the picture's own size. size: what both are grown to. seen: height and width of what the network sees,
    which the context has. around: the context where x_in is a part of a larger picture; else it is made of x_in. Each is an array,
    `exposed` one that is computed where it is looked at (rddm.exposure.Exposed).
    """
    if spec.needs_mask and mask is None:
        raise ValueError(f"{spec.name} needs 'mask' as a condition, and none was given")
    image = pad(x_in, *size)
    makers: dict[ConditionPart, Callable[[], Array]] = {
        "image": lambda: image,
        "mask": lambda: pad(np.zeros_like(x_in) if mask is None else mask, *size),
        "context": lambda: context(x_in, *seen) if around is None else around,
        "brightness": lambda: np.zeros((len(x_in), 1, *seen), np.float32),
    }
    if spec.exposure is not None:
        brightness = None if spec.brightness is None else brightness_of(spec.brightness)
        curve = exposure_of(spec.exposure).of(makers["context"](), brightness)
        makers |= {"exposed": lambda: Exposed(curve, image), "code": lambda: curve.plane(*seen)}
    return {part: makers[part]() for part in spec.condition}


def concatenated(
    spec: ModelSpec,
    parts: Mapping[ConditionPart, Array | None],
    concatenate: Callable[[Sequence[Array], int], Array] = np.concatenate,
) -> Array | None:
    """The parts that the spec lists, in its order, as b c h w; None where it lists nothing. Raises ValueError for a missing part.

    concatenate: of the arrays' own kind, as torch.cat.
    """
    for name in spec.condition:
        if parts.get(name) is None:
            raise ValueError(f"{spec.name} needs {name!r} as a condition, and none was given")
    return concatenate([parts[name] for name in spec.condition], 1) if spec.condition else None


def restore_whole(
    network: GraphCall,
    spec: ModelSpec,
    x_in: Image,
    steps: int | None = None,
    seeds: Sequence[int] = (0,),
    method: Method | None = None,
    mask: Image | None = None,
    around: Image | None = None,
    noise_of: Callable[[int, int, int], Noise] = picture_noise,
) -> Image:
    """x_0 (b 3 h w) of pictures of any one size, each in a single network call a step.

    x_in: b 3 h w in [-1, 1], zeros for generation; one seed a row. mask: like x_in, in [0, 1]. around: the context where x_in is a
    part of a larger picture; else it is made of x_in. noise_of: (seed, height, width) -> the noise of one picture. Raises
    ValueError for another number of seeds than pictures, a missing mask, and what `sample` and `predict` refuse.
    """
    if len(seeds) != len(x_in):
        raise ValueError(f"{len(x_in)} pictures need as many seeds, got {len(seeds)}")
    height, width = x_in.shape[2:]
    size = padded(height, spec.size_multiple), padded(width, spec.size_multiple)
    schedule, grown = schedule_of(spec), pad(x_in, *size)
    parts = parts_of(spec, x_in, mask, size, size, around)
    condition = concatenated(spec, parts)
    fields = [padded_noise(noise_of(seed, height, width), *size) for seed in seeds]

    def noise(k: int) -> Image:
        return fields[0](k) if len(fields) == 1 else np.concatenate([field(k) for field in fields])

    def answer(question: Question) -> Prediction:
        time = np.asarray([question.time] * len(x_in), np.float32)
        outputs = network(to_feeds(question.x_t, condition, time))
        return predict(spec, schedule, outputs, question.x_t, grown, question.t, method)

    x_0: Image = run(sample(spec, schedule, grown, noise, steps), answer)
    return x_0[..., :height, :width]
