"""ModelSpec: the facts that weights, exported graph, model repository and gateway share."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rddm.exposure import brightness_of, exposure_of

FORMAT_VERSION = 1

Objective = Literal[
    "pred_res",
    "pred_noise",
    "pred_res_noise",
    "pred_x0_noise",
    "pred_x0",
    "pred_res_add_noise",
    "pred_x0_add_noise",
    "pred_resnoise",
    "pred_drift",
]
Method = Literal["SM-Res", "SM-N", "SM-Res-N"]
Order = Literal["simultaneous", "residual_first", "noise_first", "decoupled", "residual_only"]
ConditionPart = Literal["image", "mask", "context", "brightness", "exposed", "code"]
Preprocessing = Literal["equalize_histogram", "repeat_2", "repeat_3", "repeat_4", "repeat_8"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]

MOST_NOISE = 16  # beta_bar_T^2: ResShift's kappa is 2
EARLIER_SIZES = {"tile": 256, "overlap": 32, "whole_max": 512 * 512}
CHANNELS: dict[ConditionPart, int] = {"image": 3, "mask": 3, "context": 3, "brightness": 1, "exposed": 3, "code": 1}


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
    """alpha and beta^2 by name (section 3.4 of the paper), and sum_scale = beta_bar_T^2.

    beta2 `bridge` is I2SB's: beta_bar^2 = sum_scale alpha_bar (1 - alpha_bar), and no noise at the start.
    delta, times delta_scale: DiffUIR's third coefficient, how much of x_in is taken away from x_t; None takes nothing.
    """

    kind: Literal["named"] = "named"
    alpha: Curve = Curve(name="decreased")
    beta2: Curve = Curve(name="increased")
    sum_scale: float = Field(default=1.0, ge=0, le=MOST_NOISE)
    delta: Curve | None = None
    delta_scale: float = Field(default=1.0, ge=0, le=1)


class TableSchedule(Frozen):
    """alpha_bar, beta_bar and, if any, delta_bar (all of length T) as an imported checkpoint carries them."""

    kind: Literal["table"] = "table"
    alpha_bar: tuple[float, ...]
    beta_bar: tuple[float, ...]
    delta_bar: tuple[float, ...] | None = None
    sum_scale: float = Field(default=1.0, ge=0, le=MOST_NOISE)

    @model_validator(mode="after")
    def _one_value_per_time(self) -> Self:
        tables = {"alpha_bar": self.alpha_bar, "beta_bar": self.beta_bar, "delta_bar": self.delta_bar}
        for name, table in tables.items():
            if table is None:
                continue
            if len(table) != len(self.alpha_bar):
                raise ValueError(f"alpha_bar has {len(self.alpha_bar)} values and {name} {len(table)}; expected as many of each")
            highest = MOST_NOISE**0.5 if name == "beta_bar" else 1
            if not all(0 <= value <= highest for value in table):
                raise ValueError(f"{name} holds a value outside 0..{highest:g}")
        return self


AnySchedule = Annotated[NamedSchedule | TableSchedule, Field(discriminator="kind")]


class ModelSpec(Frozen):
    """What a model is, whatever file or server holds it. Images are float32, b c h w, in [-1, 1].

    start: `image` begins at x_in + sqrt(sum_scale) eps (restoration), `noise` at pure eps (generation), `diffused` at
        (1 - alpha_bar) x_in + beta_bar eps: x_in as if it were clean (SDEdit).
    begin: the share of the T indices that sampling uses; below 1 it starts part of the way.
    preprocessing: what is done to the given pixels before all else (rddm.image.PREPROCESSING). `repeat_2` repeats each pixel 2 x 2:
        what a network that enlarges by itself is given, which takes every second pixel again.
    condition: what is concatenated for the network beside x_t, in this order; may be empty. A mask lies in [0, 1]. `context` is the
        whole picture shrunk to what the network sees, `exposed` the picture after its tone curve, `code` what chose that curve;
        `brightness`, in training alone, the mean that the whole answer shall have, 0 where the network shall estimate it.
    mask_optional: a picture may come without its mask, which is then 0 everywhere: nothing is marked.
    exposure: the learned part of the tone curve, as text (rddm.exposure), where the condition lists `exposed` and `code`.
    brightness: the estimate, as text, of how bright the scene was, which chooses the curve; None for one mean for every scene.
    residual_clip: predicted residuals are clipped to +-this: 1 for the authors' checkpoints, 2 (all that two images can
        differ by) for new models.
    image_clip: the same bound of the predicted x_0; None leaves it unclipped (diffusers' clip_sample=False).
    order: `simultaneous` removes residual and noise together; the two-pass orders remove one along the whole grid, then, from the
        x_0 that this gives, the other (twice the network calls; for the time input abar_bbar). `decoupled` removes the residual and
        then, from what is left, the noise (DRDD); `residual_only` leaves the noise to the last step's x_0 (DiffUIR).
    residual_steps: network calls of the residual's pass where there are two; None for as many as the noise's.
    update, variance, grid: see rddm.sampler.
    sm_n_inversion: how SM-N finds x_0 where 1 - alpha_bar_t is 0 (see rddm.objective): `damped`, or `authors`.
    size_multiple: height and width that the network takes are multiples of it.
    reach: pixels around a pixel that the network's answer there depends on; what lies beyond changes it by about a tenth of an
        8-bit level at most (root mean square). Tiles overlap by as much. How large they are, the service chooses (rddm.tiling).
    most_pixels: of one call, height times width, for a network whose memory grows faster than its picture; None where it does not.
    sizes: heights and widths that the file takes, for one built for fixed shapes; empty where it takes any multiple.
    image_size: (height, width) of a generated picture; None for restoration.
    scale: an answer is so many times as high and wide as the picture that was sent; x_in is then its bicubic enlargement
        (rddm.image.enlarged), and all else, reach and sizes too, is counted in pixels of that.

    Specs of before December 2026 have tile, overlap and whole_max instead, and still load: see `_sizes_of_earlier_specs`.
    """

    format_version: Literal[1] = 1
    name: Name
    task: Name
    licence: str = Field(min_length=1, max_length=200)
    start: Literal["image", "noise", "diffused"] = "image"
    begin: float = Field(default=1.0, gt=0, le=1)
    condition: tuple[ConditionPart, ...] = ("image",)
    mask_optional: bool = False
    objective: Objective = "pred_res"
    method: Method | None = None
    time_input: Literal["t", "abar_bbar"] = "t"
    timesteps: int = Field(default=1000, ge=1, le=10_000)
    schedule: AnySchedule = NamedSchedule()
    residual_clip: float | None = Field(default=2.0, gt=0)
    image_clip: float | None = Field(default=1.0, gt=0)
    sm_n_inversion: Literal["damped", "authors"] = "damped"
    order: Order = "simultaneous"
    residual_steps: int | None = Field(default=None, ge=1)
    update: Literal["noise", "recomposed", "ancestral", "interpolated"] = "noise"
    variance: Literal["rddm", "ddim", "ddpm_large"] = "rddm"
    grid: Literal["even", "authors", "leading"] = "even"
    eta: float = Field(default=0.0, ge=0, le=1)
    default_steps: int = Field(default=5, ge=1)
    min_steps: int = Field(default=1, ge=1)
    max_steps: int = Field(default=10, ge=1)
    size_multiple: int = Field(default=8, ge=1, le=256)
    reach: int = Field(default=32, ge=0)
    most_pixels: int | None = Field(default=None, ge=1)
    sizes: tuple[tuple[int, int], ...] = ()
    image_size: tuple[int, int] | None = None
    scale: int = Field(default=1, ge=1, le=4)
    preprocessing: tuple[Preprocessing, ...] = ()
    exposure: str | None = Field(default=None, repr=False)
    brightness: str | None = Field(default=None, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _sizes_of_earlier_specs(cls, facts: Any) -> Any:
        """The overlap becomes the reach. Where pictures were cut that would fit into one tile, the tile's size is the only one;

        else no call is larger than the largest picture that was whole.
        """
        if not isinstance(facts, dict) or not facts.keys() & EARLIER_SIZES.keys():
            return facts
        given = {**EARLIER_SIZES, **facts}
        tile, overlap, whole_max = (given.pop(name) for name in EARLIER_SIZES)
        sizes = {"sizes": [(tile, tile)]} if whole_max < tile**2 else {"most_pixels": whole_max}
        return {"reach": overlap, **sizes, **given}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.min_steps <= self.default_steps <= self.max_steps <= self.first_index + 1:
            raise ValueError(
                f"steps must satisfy min <= default <= max <= T, got {self.min_steps}, {self.default_steps}, "
                f"{self.max_steps}, {self.first_index + 1}"
            )
        if self.order != "simultaneous" and self.update != "noise":
            raise ValueError(f"order {self.order} removes parts in turn, which update {self.update!r} cannot; expected 'noise'")
        if len(set(self.condition)) != len(self.condition):
            raise ValueError(f"condition {self.condition} lists something twice")
        if self.mask_optional and not self.takes_mask:
            raise ValueError(f"mask_optional is True, but condition {self.condition} lists no 'mask'")
        self._consistent_sizes()
        self._consistent_start()
        if self.image_size is not None and any(side % self.size_multiple or side < 1 for side in self.image_size):
            raise ValueError(f"image_size {self.image_size} must be positive multiples of {self.size_multiple}")
        if self.start == "noise" and self.scale != 1:
            raise ValueError(f"scale {self.scale} enlarges a given picture; a model that starts from noise has none")
        self._consistent_exposure()
        if isinstance(self.schedule, TableSchedule) and len(self.schedule.alpha_bar) != self.timesteps:
            raise ValueError(f"the schedule has {len(self.schedule.alpha_bar)} values, T is {self.timesteps}")
        return self

    def _consistent_sizes(self) -> None:
        if any(side < 1 or side % self.size_multiple for size in self.sizes for side in size):
            raise ValueError(f"sizes {self.sizes} must be positive multiples of {self.size_multiple}")
        least = max(2 * self.overlap, self.size_multiple)
        if any(side < least for size in self.sizes for side in size):
            raise ValueError(f"sizes {self.sizes} have a side under {least}: tiles overlap by {self.overlap}, at most by half")
        if self.most_pixels is not None and self.most_pixels < least**2:
            raise ValueError(
                f"most_pixels {self.most_pixels} is under {least} x {least}: tiles overlap by {self.overlap}, at most by half"
            )

    def _consistent_exposure(self) -> None:
        listed = {"exposed", "code"} & set(self.condition)
        if self.exposure is None and listed:
            raise ValueError(f"condition {self.condition} lists {sorted(listed)}, which need an exposure")
        if self.brightness is not None:
            brightness_of(self.brightness)
            if self.exposure is None:
                raise ValueError("a brightness chooses an exposure, and there is none")
        if self.exposure is not None:
            if len(listed) < 2 or "image" not in self.condition:
                raise ValueError(f"condition {self.condition} must list 'image', 'exposed' and 'code', as there is an exposure")
            if (width := exposure_of(self.exposure).width) > self.size_multiple**2:
                raise ValueError(f"a code of {width} values does not fit into {self.size_multiple} x {self.size_multiple} pixels")

    def _consistent_start(self) -> None:
        if self.generates and self.image_size is None:
            raise ValueError("a model that starts from noise needs image_size, or the image as a condition")
        if self.start == "noise" and not self.generates and not self.takes_image_away:
            raise ValueError("a model that starts from noise and sees the image needs a schedule with delta (SR3: that of alpha)")
        bridged = isinstance(self.schedule, NamedSchedule) and self.schedule.beta2.name == "bridge"
        if self.objective == "pred_drift" and not bridged:
            raise ValueError("objective pred_drift is I2SB's; it needs beta2 'bridge'")

    @property
    def takes_mask(self) -> bool:
        """Whether a mask may come with a picture."""
        return "mask" in self.condition

    @property
    def needs_mask(self) -> bool:
        """Whether one must come."""
        return self.takes_mask and not self.mask_optional

    @property
    def overlap(self) -> int:
        """Pixels by which tiles overlap at least: the reach, in multiples that tiles can start at."""
        return -(-self.reach // self.size_multiple) * self.size_multiple

    @property
    def generates(self) -> bool:
        """Whether pictures come from noise alone, and none is given."""
        return self.start == "noise" and "image" not in self.condition

    @property
    def takes_image_away(self) -> bool:
        """Whether the schedule has DiffUIR's third coefficient."""
        table = self.schedule.delta if isinstance(self.schedule, NamedSchedule) else self.schedule.delta_bar
        return table is not None

    @property
    def first_index(self) -> int:
        """The index at which sampling begins: T - 1, or part of the way."""
        return max(round(self.begin * self.timesteps), 1) - 1

    def __hash__(self) -> int:
        """By the name: tables and plans are looked up by spec at every step, and all of a spec is much to hash."""
        return hash(self.name)

    @property
    def sees_context(self) -> bool:
        """Whether an answer depends on the whole picture: its context is given to the network, or chooses the exposure."""
        return "context" in self.condition or self.exposure is not None

    @property
    def condition_channels(self) -> int:
        """Channels of the graph's input `condition`; 0 when the model has none."""
        return sum(CHANNELS[part] for part in self.condition)
