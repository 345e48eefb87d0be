"""Every way of making pairs, in one place: recipes, `rddm synth` and the failure pictures of the model cards read it.

To add one: a frozen dataclass with `draw` (training.synthesis.draws.PairSource), and a line here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pkgutil import resolve_name
from typing import Any

from torch import Tensor

from training.synthesis.draws import PairSource


@dataclass(frozen=True)
class Degradation:
    """What a kind of data is made of.

    task: what its models are asked for. source: the dataclass that draws, as `module:name`; its first field is the pool of clean
    pictures, others are named maps, crop and whole. pool, maps: kinds of training.synthesis.pool; maps None: it needs none.
    """

    task: str
    source: str
    pool: str
    maps: str | None = None

    def make(self, pool: Tensor, maps: Tensor | None, crop: int, whole: int) -> PairSource:
        """The source over a pool of clean pictures (n, 3, side, side) and of maps (n, c, side, side), both uint8."""
        kind: type[Any] = resolve_name(self.source)
        offered = {"maps": maps, "crop": crop, "whole": whole}
        source: PairSource = kind(pool, **{field.name: offered[field.name] for field in fields(kind) if field.name in offered})
        return source


DEGRADATIONS: Mapping[str, Degradation] = {
    "lowlight": Degradation("lowlight", "training.synthesis.lowlight:LowLight", "scenes"),
    "rain": Degradation("derain", "training.synthesis.rain:Rain", "mixed", "streaks"),
    "raindrop": Degradation("raindrop", "training.synthesis.raindrop:Raindrop", "mixed", "drops"),
    "clean": Degradation("clean", "training.synthesis.clean:Clean", "photographic"),
    "dehaze": Degradation("dehaze", "training.synthesis.haze:Haze", "photographic"),
    "inpaint": Degradation("inpaint", "training.synthesis.strokes:Strokes", "photographic"),
    "upscale": Degradation("upscale", "training.synthesis.enlarged:Enlarged", "photographic"),
    "shadow": Degradation("shadow", "training.synthesis.shadow:Shadow", "photographic"),
    "deblur": Degradation("deblur", "training.synthesis.shake:Shake", "photographic"),
}
