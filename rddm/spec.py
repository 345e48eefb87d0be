"""ModelSpec: the facts that weights, exported graph, model repository and gateway share."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FORMAT_VERSION = 1

Objective = Literal[
    "pred_res",
    "pred_noise",
    "pred_res_noise",
    "pred_x0_noise",
    "pred_x0",
    "pred_res_add_noise",
    "pred_x0_add_noise",
]
Method = Literal["SM-Res", "SM-N", "SM-Res-N"]
ConditionPart = Literal["image", "mask", "context"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]

CHANNELS: dict[ConditionPart, int] = {"image": 3, "mask": 3, "context": 3}


class Frozen(BaseModel):
    """A fact: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Curve(Frozen):
    """One named schedule and its exponent: P(x, a) of the paper is `increased` with exponent a.

    The names are those of `rddm.schedule.CURVES`; an unknown one raises when the table is made.
    """

    name: str
    exponent: float = Field(default=1.0, gt=0, le=100)


class NamedSchedule(Frozen):
    """alpha and beta^2 by name (section 3.4 of the paper), and sum_scale = beta_bar_T^2."""

    kind: Literal["named"] = "named"
    alpha: Curve = Curve(name="decreased")
    beta2: Curve = Curve(name="increased")
    sum_scale: float = Field(default=1.0, ge=0, le=1)


class TableSchedule(Frozen):
    """alpha_bar and beta_bar (both of length T, in [0, 1]) as an imported checkpoint carries them."""

    kind: Literal["table"] = "table"
    alpha_bar: tuple[float, ...]
    beta_bar: tuple[float, ...]
    sum_scale: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _one_value_per_time(self) -> Self:
        if len(self.alpha_bar) != len(self.beta_bar):
            raise ValueError(
                f"alpha_bar has {len(self.alpha_bar)} values and beta_bar {len(self.beta_bar)}; expected as many of each"
            )
        for name, table in (("alpha_bar", self.alpha_bar), ("beta_bar", self.beta_bar)):
            if not all(0 <= value <= 1 for value in table):
                raise ValueError(f"{name} holds a value outside 0..1")
        return self


AnySchedule = Annotated[NamedSchedule | TableSchedule, Field(discriminator="kind")]


class ModelSpec(Frozen):
    """What a model is, whatever file or server holds it. Images are float32, b c h w, in [-1, 1].

    start: `image` begins at x_in + sqrt(sum_scale) eps (restoration), `noise` at pure eps (generation).
    condition: what is concatenated for the network beside x_t, in this order; may be empty. A mask lies in [0, 1].
    preprocessing: what is done to the given pixels before all else (rddm.image.PREPROCESSING).
    residual_clip: predicted residuals are clipped to +-this: 1 for the authors' checkpoints, 2 (all that two images can
        differ by) for new models.
    image_clip: likewise for the predicted x_0; None leaves it unclipped (diffusers' clip_sample=False).
    order: `simultaneous` removes residual and noise together; the two-pass orders remove one along the whole grid, then, from the
        x_0 that this found, the other (twice the network calls; for networks told abar_bbar).
    update, variance, grid: see rddm.sampler.
    sm_n_inversion: how SM-N finds x_0 where 1 - alpha_bar_t is 0 (see rddm.objective): `damped`, or `authors`.
    size_multiple: height and width that the network takes are multiples of it.
    tile, overlap: pixels; above whole_max pixels (height x width) a picture is worked on in overlapping tiles.
    image_size: (height, width) of a generated picture; None for restoration.
    """

    format_version: Literal[1] = 1
    name: Name
    task: Name
    licence: str = Field(min_length=1, max_length=200)
    start: Literal["image", "noise"] = "image"
    condition: tuple[ConditionPart, ...] = ("image",)
    objective: Objective = "pred_res"
    method: Method | None = None
    time_input: Literal["t", "abar_bbar"] = "t"
    timesteps: int = Field(default=1000, ge=1, le=10_000)
    schedule: AnySchedule = NamedSchedule()
    residual_clip: float | None = Field(default=2.0, gt=0)
    image_clip: float | None = Field(default=1.0, gt=0)
    sm_n_inversion: Literal["damped", "authors"] = "damped"
    order: Literal["simultaneous", "residual_first", "noise_first"] = "simultaneous"
    update: Literal["noise", "recomposed", "ancestral"] = "noise"
    variance: Literal["rddm", "ddim"] = "rddm"
    grid: Literal["even", "authors", "leading"] = "even"
    eta: float = Field(default=0.0, ge=0, le=1)
    default_steps: int = Field(default=5, ge=1)
    min_steps: int = Field(default=1, ge=1)
    max_steps: int = Field(default=10, ge=1)
    size_multiple: int = Field(default=8, ge=1, le=256)
    tile: int = Field(default=256, ge=8)
    overlap: int = Field(default=32, ge=0)
    whole_max: int = Field(default=512 * 512, ge=1)
    image_size: tuple[int, int] | None = None
    preprocessing: tuple[Literal["equalize_histogram"], ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.min_steps <= self.default_steps <= self.max_steps <= self.timesteps:
            raise ValueError(
                f"steps must satisfy min <= default <= max <= T, got {self.min_steps}, {self.default_steps}, "
                f"{self.max_steps}, {self.timesteps}"
            )
        if self.order != "simultaneous" and self.update != "noise":
            raise ValueError(f"order {self.order} removes parts in turn, which update {self.update!r} cannot; expected 'noise'")
        if len(set(self.condition)) != len(self.condition):
            raise ValueError(f"condition {self.condition} lists something twice")
        if self.tile % self.size_multiple or self.overlap % self.size_multiple or self.overlap * 2 > self.tile:
            raise ValueError(
                f"tile {self.tile} and overlap {self.overlap} must be multiples of {self.size_multiple}, "
                "and the overlap at most half a tile"
            )
        if self.start == "noise" and (self.image_size is None or "image" in self.condition):
            raise ValueError("a model that starts from noise needs image_size and no condition image")
        if self.image_size is not None and any(side % self.size_multiple or side < 1 for side in self.image_size):
            raise ValueError(f"image_size {self.image_size} must be positive multiples of {self.size_multiple}")
        if isinstance(self.schedule, TableSchedule) and len(self.schedule.alpha_bar) != self.timesteps:
            raise ValueError(f"the schedule has {len(self.schedule.alpha_bar)} values, T is {self.timesteps}")
        return self

    def __hash__(self) -> int:
        """By the name: tables and plans are looked up by spec at every step, and all of a spec is much to hash."""
        return hash(self.name)

    @property
    def condition_channels(self) -> int:
        """Channels of the graph's input `condition`; 0 when the model has none."""
        return sum(CHANNELS[part] for part in self.condition)
