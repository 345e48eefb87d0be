"""Recipes: everything that decides what a training run makes, as one TOML file (training/recipes)."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from rddm.spec import Frozen, ModelSpec
from training.networks import check_fits
from training.networks.config import NetworkConfig
from training.synthesis.registry import DEGRADATIONS


class SynthesisData(Frozen):
    """Pairs made here: `pictures` clean pictures of `side` pixels, degraded afresh at every draw (training.synthesis.registry).

    scenes: the kind of pool (training.synthesis.pool); left out, the kind's own. photographs: a folder with an ATTRIBUTION.tsv,
    whose photographs stand in the pool for those of scikit-image. whole: the size of the picture that a crop is cut from, and its
    context shrunk from, where the kind has one. maps: how many streak or drop maps are rendered. holdout pictures at the pool's end
    are for validation alone.
    """

    kind: Literal[tuple(DEGRADATIONS)]  # type: ignore[valid-type]
    scenes: Literal["scenes", "mixed", "photographic"] | None = None
    photographs: Path | None = None
    pictures: int = Field(default=2400, ge=2)
    side: int = Field(default=320, ge=64)
    crop: int = Field(default=128, ge=16)
    whole: int = Field(default=160, ge=16, multiple_of=16)
    maps: int = Field(default=600, ge=1)
    holdout: int = Field(default=64, ge=1)


class EmojiData(Frozen):
    """Glyphs of an emoji font at `size` pixels (training.synthesis.emoji), all or its faces; every tenth is held out."""

    kind: Literal["emoji"]
    glyphs: Literal["all", "faces"] = "all"
    size: int = Field(default=64, ge=16)


class FolderData(Frozen):
    """Pictures on disk (training.data.pairs): folders, list files or glob patterns, matched by name.

    target alone trains a generator; given is what is restored; mask lies in [0, 1] and the network is given it. pairing `random`
    draws given and target independently (translation). hole: given is the target with a grey centre (inpainting). side: pixels of
    what the network sees, a `crop` of it or the whole `resize`d. window: (top, left, height, width) cut out first. flip: the chance
    of mirroring. equalize: flatten the given picture's histogram, as a spec with that preprocessing has it. filter: that resizes;
    the authors' own loader is bicubic, those that they took over for CelebA and inpainting bilinear. val_*: held-out files, or else
    every tenth group.
    """

    kind: Literal["folder"]
    target: str
    given: str | None = None
    mask: str | None = None
    val_target: str | None = None
    val_given: str | None = None
    val_mask: str | None = None
    pairing: Literal["name", "random"] = "name"
    side: int = Field(default=256, ge=8, multiple_of=8)
    fit: Literal["crop", "resize"] = "crop"
    window: tuple[int, int, int, int] | None = None
    hole: bool = False
    flip: float = Field(default=0.5, ge=0, le=1)
    equalize: bool = False
    filter: Literal["bicubic", "bilinear"] = "bicubic"

    def model_post_init(self, _context: object) -> None:
        """Refuse combinations that name no pair."""
        if self.pairing == "random" and (self.given is None or self.mask is not None):
            raise ValueError("random pairing needs given, and takes no mask")
        if self.mask is not None and self.given is None:
            raise ValueError("a mask needs given")
        if self.hole and self.given is not None:
            raise ValueError("with hole the given picture is made from the target; leave given out")


Data = Annotated[SynthesisData | EmojiData | FolderData, Field(discriminator="kind")]


class Optimiser(Frozen):
    """adam or radam with the authors' betas; the rate warms up over `warmup` steps, then stays or falls along a cosine.

    per_network: a group of its own for each of two networks, as the authors' "L_res, L_eps" has an optimiser each. Both optimisers
    treat every parameter alone and the terms share none, so that their sum, backward once, trains exactly the same.
    """

    name: Literal["adam", "radam"] = "adam"
    per_network: bool = False
    rate: float = Field(default=8e-5, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    warmup: int = Field(default=0, ge=0)
    decay: Literal["constant", "cosine"] = "constant"


class EmaConfig(Frozen):
    """Average of the weights (ema-pytorch's rule, spec section 2): decay min(1 - (1 + k)^-power, beta), k counted after a delay."""

    beta: float = Field(default=0.995, gt=0, lt=1)
    update_every: int = Field(default=10, ge=1)
    update_after_step: int = Field(default=100, ge=0)
    inv_gamma: float = Field(default=1.0, gt=0)
    power: float = Field(default=2 / 3, gt=0)


class Recipe(Frozen):
    """One training run. Defaults are the authors'; recipes of the models that ship say what they change.

    batch pictures per micro-batch, accumulate micro-batches per step. time_sampling: `uniform` over 0..T-1, or `grid`,
    over the indices that sampling with min_steps..max_steps asks about. rollout: the chance that x_t is built from
    the network's own first answer instead of the truth, as in sampling.
    """

    spec: ModelSpec
    network: NetworkConfig
    data: Data
    steps: int = Field(ge=1)
    batch: int = Field(default=1, ge=1)
    accumulate: int = Field(default=2, ge=1)
    loss: Literal["l1", "l2", "l1_split", "l1_pyramid", "psnr", "psnr_fine"] = "l1"
    clip: float = Field(default=1.0, gt=0)
    optimiser: Optimiser = Optimiser()
    ema: EmaConfig = EmaConfig()
    time_sampling: Literal["uniform", "grid"] = "uniform"
    rollout: float = Field(default=0.0, ge=0, le=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = True
    compile: bool = False
    seed: int = Field(default=10, ge=0, lt=2**63)
    validate_every: int = Field(default=1000, ge=1)
    save_every: int = Field(default=1000, ge=1)

    def model_post_init(self, _context: object) -> None:
        """Refuse a network that cannot serve the spec, and pictures prepared otherwise than the spec says."""
        check_fits(self.network, self.spec)
        equalizes = "equalize_histogram" in self.spec.preprocessing
        if isinstance(self.data, FolderData) and self.data.equalize != equalizes:
            raise ValueError(f"data.equalize is {self.data.equalize}, but the spec's preprocessing is {self.spec.preprocessing}")


def load_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file.

    Raises ValueError naming the file if it is no TOML, and each key with its value for what does not fit.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from error
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise ValueError("\n  ".join([f"{path} is no recipe:", *complaints(error)])) from error


def complaints(error: ValidationError) -> list[str]:
    """What pydantic complains of, a line for each key: its value, where it has one of its own, and what is allowed."""
    lines = []
    for one in error.errors():
        value = "" if isinstance(one["input"], dict) else f" = {one['input']!r}"
        lines.append(f"{'.'.join(map(str, one['loc']))}{value}: {one['msg']}")
    return lines


def built_in_recipes() -> dict[str, Path]:
    """Recipes that come with the package, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "recipes").glob("*.toml"))}
