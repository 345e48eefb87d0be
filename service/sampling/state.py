"""The state of one picture while it is sampled: x_in, x_t and the blended outputs, worked on in bands of rows.

The update is elementwise, so each band holds a sampling conversation of its own, and all are asked the same question at
the same time: a large picture needs no whole-size temporaries. Only tiles reach across bands: a band takes its next step once all
tiles that reach into it are blended, and its outputs are let go.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import _lru_cache_wrapper, lru_cache
from typing import Any

import numpy as np

from rddm.condition import WHOLE, concatenated, context, pad, padded_noise, parts_of
from rddm.image import Pixels, to_pixels
from rddm.objective import HEADS, predict
from rddm.sampler import Question, Sampling, philox_noise, sample
from rddm.schedule import schedule_of
from rddm.tiling import Tile, Window, blend, plan
from service.engines.arrays import Arrays
from service.sampling.work import Image, Work

Array = Any

PREVIEW_SIDE = 512
DEFAULT_SEED = 0
KEPT_NOISE_PIXELS = 640 * 640  # what the models that ship take in one call; a larger field is drawn each time


@lru_cache(maxsize=8)
def default_noise(k: int, height: int, width: int) -> Image:
    """The k-th field of DEFAULT_SEED, that of requests without a seed: kept, and read-only."""
    return philox_noise(DEFAULT_SEED, 3, height, width)(k)


def noise_of(seed: int, height: int, width: int) -> Callable[[int], Image]:
    """What gives the k-th field (1, 3, h, w) of a seed, kept or drawn."""
    if seed == DEFAULT_SEED and height * width <= KEPT_NOISE_PIXELS:
        return lambda k: default_noise(k, height, width)
    return philox_noise(seed, 3, height, width)


def thumbnail(picture: Image) -> Image:
    """A picture (1, 3, h, w) averaged down to sides of at most 512; a smaller one is copied."""
    height, width = picture.shape[2:]
    scale = min(1.0, PREVIEW_SIDE / max(height, width))
    small = context(picture, max(1, round(height * scale)), max(1, round(width * scale)))
    return small.copy() if small is picture else small


def _of_rows(noise: Callable[[int], Array], rows: slice) -> Callable[[int], Array]:
    return lambda k: noise(k)[..., rows, :]


@dataclass(eq=False)
class Band:
    """Some rows of the picture, and their conversation: `question` is what it asks now, None once x_0 is known.

    outputs: of its rows, as far as tiles are blended.
    """

    rows: slice
    sampling: Sampling
    question: Question | None = None
    outputs: tuple[Array, ...] = ()


@dataclass(eq=False)
class SamplingState:
    """The sampling of one picture.

    keeps_x_0: else `pixels`, x_0 h w 3 in the work's depth on the host, are written band by band: a whole x_0 of floats, four times
    as large, is then made only to be shown. shows_x_0: whether previews are wanted.

    Call prepare once; then, until question is None: cut the picture and take the answer; or cut every tile, and blend the answers
    in the plan's order. A tile may be cut while those before it are blended.
    """

    work: Work
    arrays: Arrays
    keeps_x_0: bool = True
    shows_x_0: bool = False

    def __post_init__(self) -> None:
        self.spec, self.size = self.work.model.spec, self.work.size
        self.plan = plan(self.spec, *self.size)
        self.bands: list[Band] = []
        self.trace: list[Image] = []
        self.pixels: Pixels = np.empty((0, 0, 3), np.uint8)
        self._x_0: Array | None = None
        self._residual: Array | None = None
        self._whole_condition: Array | None = None

    @property
    def whole(self) -> bool:
        """Whether the picture is one call at its own padded size."""
        return len(self.plan.tiles) == 1 and self.plan.tiles[0].height == self.plan.height

    @property
    def question(self) -> Question | None:
        """What every band asks now, of its own rows."""
        return self.bands[0].question

    def prepare(self) -> None:
        """Pads, draws the noise, builds what the condition needs, and begins every band's conversation."""
        x_in = np.zeros((1, 3, *self.size), np.float32) if self.work.x_in is None else self.work.x_in
        size, tile = (self.plan.height, self.plan.width), self.plan.tiles[0]
        noise = self._noise()
        with ThreadPoolExecutor(1, "noise") if not self.whole else nullcontext() as beside:
            if beside is not None:  # a large picture's noise and condition take a core for a second each, and no call runs yet
                beside.submit(noise, 0)
            parts = parts_of(self.spec, x_in, self.work.mask, size, (tile.height, tile.width), self.work.context)
        self._parts = {part: self.arrays.place(array) for part, array in parts.items()}
        self._x_in = self._parts["image"] if "image" in self._parts else self.arrays.place(pad(x_in, *size))
        schedule = schedule_of(self.spec)
        for top in range(0, self.plan.height, self._band_rows()):
            rows = slice(top, min(top + self._band_rows(), self.plan.height))
            sampling = sample(self.spec, schedule, self._x_in[..., rows, :], _of_rows(noise, rows), self.work.steps)
            self.bands.append(Band(rows, sampling))
        for band in self.bands:
            band.question = next(band.sampling)
        noise.cache_clear()
        self.keep_x_t()

    def _band_rows(self) -> int:
        return max(1, self.arrays.band_pixels // self.plan.width)

    def _noise(self) -> "_lru_cache_wrapper[Array]":
        """The picture's k-th noise field, where the arrays are; only the latest is kept."""
        fields = padded_noise(noise_of(self.work.seed, *self.size), self.plan.height, self.plan.width)
        return lru_cache(maxsize=1)(lambda k: self.arrays.place(fields(k)))

    def cut(self, tile: Tile) -> tuple[Array, Array | None]:
        """x_t (1 3 h w) and condition (1 c h w) of a tile, as the network takes them."""
        if self.whole and len(self.bands) == 1 and self.question is not None:
            return self.question.x_t, self._condition(tile)
        bottom = tile.top + tile.height
        across = slice(tile.left, tile.left + tile.width)
        rows = [
            band.question.x_t[..., max(tile.top - band.rows.start, 0) : bottom - band.rows.start, across]
            for band in self.bands
            if band.question is not None and band.rows.start < bottom and tile.top < band.rows.stop
        ]
        return self.arrays.concatenate(rows, 2), self._condition(tile)

    def _condition(self, tile: Tile) -> Array | None:
        if self._whole_condition is not None:
            return self._whole_condition
        parts = {part: array if part in WHOLE else tile.cut(array) for part, array in self._parts.items()}
        condition = concatenated(self.spec, parts, self.arrays.concatenate)
        if self.whole:
            self._whole_condition = condition
        return condition

    def take(self, outputs: tuple[Array, ...]) -> None:
        """The answer for the whole picture: every band's next x_t, or its x_0."""
        for band in self.bands:
            band.outputs = tuple(output[..., band.rows, :] for output in outputs)
            self.advance(band)
        self.keep_x_t()

    def blend(self, index: int, outputs: tuple[Array, ...]) -> None:
        """Adds a tile's answer, and takes the next step of the bands for which it was the last one.

        The order of tiles decides the last bit: always the plan's.
        """
        tile, window = self.plan.tiles[index], self.plan.windows[index]
        placed = Window(self.arrays.place(window.down), self.arrays.place(window.across))
        for band in self.bands:
            if band.rows.start < tile.top + tile.height and tile.top < band.rows.stop:
                self._add(band, tile, outputs, placed)
        if self._ends_row(index):
            below = self.plan.tiles[index + 1].top if index + 1 < len(self.plan.tiles) else self.plan.height
            for band in self.bands:
                if band.outputs and band.rows.stop <= below:
                    self.advance(band)
        if index + 1 == len(self.plan.tiles):
            self.keep_x_t()

    def _ends_row(self, index: int) -> bool:
        """Whether no tile at this height follows."""
        tiles = self.plan.tiles
        return index + 1 == len(tiles) or tiles[index + 1].top != tiles[index].top

    def _add(self, band: Band, tile: Tile, outputs: tuple[Array, ...], window: Window) -> None:
        """What a tile answers for the band's rows."""
        if not band.outputs:
            shape = (1, 3, band.rows.stop - band.rows.start, self.plan.width)
            band.outputs = tuple(self.arrays.zeros(shape) for _ in HEADS[self.spec.objective])
        top, bottom = max(tile.top, band.rows.start), min(tile.top + tile.height, band.rows.stop)
        part = Tile(top - band.rows.start, tile.left, bottom - top, tile.width)
        rows = slice(top - tile.top, bottom - tile.top)
        for total, output in zip(band.outputs, outputs, strict=True):
            blend(total, part, output[..., rows, :], Window(window.down[rows], window.across))

    def advance(self, band: Band) -> None:
        """One band's outputs become its prediction, and that its next x_t, or x_0."""
        if (question := band.question) is None:
            raise RuntimeError("this band has its x_0 already")
        outputs, band.outputs = band.outputs, ()
        x_in = self._x_in[..., band.rows, :]
        prediction = predict(self.spec, schedule_of(self.spec), outputs, question.x_t, x_in, question.t, self.work.method)
        if "residual" in self.work.keep and question.step == question.steps:
            self._residual = self._written(self._residual, band, prediction.res)
        x_0 = prediction.x_0
        try:
            band.question = band.sampling.send(prediction)
        except StopIteration as end:
            band.question, x_0 = None, end.value
        if band.question is None and not self.keeps_x_0:
            self._write_pixels(band, x_0)
        if self.shows_x_0 or (band.question is None and (self.keeps_x_0 or self._keeps_trace)):
            self._x_0 = self._written(self._x_0, band, x_0)

    def _write_pixels(self, band: Band, x_0: Array) -> None:
        """The band's x_0 as pixels, without what was grown."""
        height, width = self.size
        if not self.pixels.size:
            self.pixels = np.empty((height, width, 3), np.uint8 if self.work.depth == 8 else np.uint16)
        rows = self.pixels[band.rows]
        if len(rows):
            rows[:] = to_pixels(self.arrays.host(x_0[..., : len(rows), :width]), self.work.depth)

    def _written(self, whole: Array | None, band: Band, values: Array) -> Array:
        """The band's rows of a whole-size array, which is made when first needed; the values themselves where one band is all."""
        if len(self.bands) == 1:
            return values
        if whole is None:
            whole = self.arrays.zeros((1, 3, self.plan.height, self.plan.width))
        whole[..., band.rows, :] = values
        return whole

    @property
    def _keeps_trace(self) -> bool:
        return "trace" in self.work.keep

    def keep_x_t(self) -> None:
        """Adds the whole x_t as it is now, small, to the trace, if that was asked for."""
        if self._keeps_trace:
            questions = [band.question for band in self.bands if band.question is not None]
            x_t = self.arrays.concatenate([question.x_t for question in questions], 2) if questions else self._x_0
            self.trace.append(thumbnail(self._cropped(x_t)))

    def preview(self) -> Image:
        """The whole x_0 as predicted in the last step, small."""
        return thumbnail(self.x_0())

    def x_0(self) -> Image:
        """x_0 at the picture's own size, on the host."""
        return self._cropped(self._x_0)

    def residual(self) -> Image | None:
        """The last step's residual at the picture's own size, on the host, if it was to be kept."""
        return None if self._residual is None else self._cropped(self._residual)

    def _cropped(self, whole: Array) -> Image:
        height, width = self.size
        return np.ascontiguousarray(self.arrays.host(whole[..., :height, :width]))
