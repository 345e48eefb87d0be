"""What callers may set: the members of a query or a JSON body, each with its range. Unknown ones are errors."""

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import WithJsonSchema
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from service.pictures.formats import FORMATS, PictureFormat, Policy, answer_format
from service.restoration.adjusting import MEANS, STOPS

LARGEST_SEED = 2**63 - 1
WHOLE = re.compile(r"-?[0-9]{1,30}")
NUMBER = re.compile(r"[ +-]?([0-9]{1,6}(\.[0-9]{0,9})?|\.[0-9]{1,9})")
FORMAT_NAMES = list(FORMATS)
AUTO = "auto"  # the task that is planned from the picture
MOST_TASKS, LONGEST_NAME = 5, 64
Returned = Literal["image", "residual", "steps"]


def whole(value: object) -> object:
    """A whole number and nothing that can be read as one: not 2.0, not true, not 1e3."""
    if isinstance(value, str) and WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("expected a whole number")


def _yes_or_no(value: object) -> object:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError("expected true or false")


def _format_name(value: object) -> object:
    if value in FORMAT_NAMES:
        return value
    raise ValueError(f"expected one of {FORMAT_NAMES}")


def number(value: object) -> object:
    """A number, also with the sign + or the space that a query makes of it; no NaN, infinity or true."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError("expected a number")


def _plain(bound: float) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


class Within:
    """Annotates a number between two bounds, both of which an error names; a word in its place goes by as it is.

    Checked before pydantic looks at the type: a union's own errors name its branches, not the value.
    """

    def __init__(self, least: float, most: float, read: Callable[[object], Any] = whole, word: str | None = None) -> None:
        self.least, self.most, self.read, self.word = least, most, read, word

    def check(self, value: object) -> object:
        """The number, or the word. Raises ValueError, saying what is expected, for anything else."""
        if self.word is not None and value == self.word:
            return value
        try:
            read_value = self.read(value)
        except ValueError:
            read_value = math.nan
        if not self.least <= read_value <= self.most:
            kind = f"{self.word}, or a" if self.word else "a"
            kind += " whole number" if self.read is whole else " number"
            raise ValueError(f"expected {kind} from {_plain(self.least)} to {_plain(self.most)}")
        return read_value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        number = {"type": "integer" if self.read is whole else "number", "minimum": self.least, "maximum": self.most}
        return number if self.word is None else {"anyOf": [{"type": "string", "enum": [self.word]}, number]}


def _tasks(value: object) -> object:
    """Names between commas."""
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else []
    if len(names) > MOST_TASKS or not all(0 < len(name) <= LONGEST_NAME for name in names):
        raise ValueError(f"expected 1 to {MOST_TASKS} names of at most {LONGEST_NAME} letters between commas")
    return ",".join(names) if names else value


Steps = Annotated[int, Within(1, 1000)]
Seed = Annotated[int, Within(0, LARGEST_SEED)]
Count = Annotated[int, Within(1, 1024)]
Milliseconds = Annotated[int, Within(1, 600_000)]
Quality = Annotated[int, Within(1, 100)]
FileQualityOrBest = Annotated[Literal["best"] | int, Within(1, 100, word="best")]
Compression = Annotated[int, Within(0, 100)]
PartialImages = Annotated[int, Within(0, 3)]
Format = Annotated[str, BeforeValidator(_format_name), WithJsonSchema({"type": "string", "enum": FORMAT_NAMES})]
Flag = Annotated[bool, BeforeValidator(_yes_or_no), WithJsonSchema({"type": "boolean"})]
Strength = Annotated[float, Within(0, 1, number)]
Brightness = Annotated[Literal["auto"] | float, Within(*STOPS, number, "auto")]
BrightnessMean = Annotated[float, Within(*MEANS, number)]
Tasks = Annotated[
    str, BeforeValidator(_tasks), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MOST_TASKS * (LONGEST_NAME + 1)})
]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Webhook = Annotated[str, Field(max_length=2000)]
Address = Annotated[str, Field(min_length=1, max_length=4000)]


class CommonParameters(BaseModel):
    """What every request may set."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, defer_build=True)

    steps: Steps | None = Field(default=None, description="network calls; the model's default if absent, within its range")
    format: Format | None = Field(default=None, description="beats Accept, which beats the input's own format")
    lossless: Flag | None = Field(
        default=None, description="whether WebP and JPEG XL are written without loss; like the input if absent"
    )
    max_latency_ms: Milliseconds | None = Field(default=None, description="fewer steps are taken if that many would take longer")
    webhook: Webhook | None = Field(default=None, description="https address to call when the job has ended; for jobs only")


class RestoreParameters(CommonParameters):
    """What is done to a picture."""

    task: Tasks | None = Field(
        default=None,
        description="a model's name, task or alias, or several between commas, done in order, or auto; the default model if absent",
    )
    seed: Seed = Field(default=0, description="the same request with the same seed gives the same bytes")
    returned: Returned = Field(
        default="image", alias="return", description="the restored picture, what was taken away from it, or a strip of the steps"
    )
    metadata: Policy = Field(default="keep", description="keep: all but places (GPS)")
    strength: Strength = Field(default=1, description="the result's share, the rest is the picture as it was sent; in linear light")
    brightness: Brightness = Field(
        default="auto", description="of models that brighten: stops more or less light than their own exposure"
    )
    brightness_mean: BrightnessMean | None = Field(
        default=None, description="in place of brightness: the mean that the result's values shall have, of 1"
    )
    quality: FileQualityOrBest | None = Field(
        default=None,
        description="of JPEG, WebP, AVIF and JPEG XL, high if absent; best: with ensemble, and high",
    )
    ensemble: Flag = Field(
        default=False, description="whether mirror images are restored too and averaged with the picture, at four times the work"
    )

    @property
    def flips(self) -> bool:
        """Whether the mean over mirror images is asked for."""
        return self.ensemble or self.quality == "best"

    @property
    def file_quality(self) -> int | None:
        """What the file is written with."""
        return None if self.quality == "best" else self.quality

    @property
    def tasks(self) -> tuple[str | None, ...]:
        """The tasks asked for, in order; None for the default model."""
        return (None,) if self.task is None else tuple(self.task.split(","))

    @property
    def is_auto(self) -> bool:
        """Whether the tasks are planned from the picture."""
        return self.task == AUTO

    @property
    def stops(self) -> float:
        """How much more light than the network's own is asked for."""
        return 0.0 if self.brightness == "auto" else self.brightness

    @property
    def sets_brightness(self) -> bool:
        """Whether another than the network's own is asked for."""
        return self.brightness != "auto" or self.brightness_mean is not None

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        self.check_together()
        return self

    def check_together(self) -> None:
        """Raises ValueError for members that do not go together."""
        if AUTO in self.tasks and (len(self.tasks) > 1 or self.steps is not None or self.returned != "image"):
            raise ValueError("task = auto stands alone, takes each model's own steps, and goes with return = image")
        if self.brightness != "auto" and self.brightness_mean is not None:
            raise ValueError("expected brightness or brightness_mean, not both")
        turned = [name for name, is_set in (("strength", self.strength != 1), ("brightness", self.sets_brightness)) if is_set]
        if self.returned != "image" and (turned or len(self.tasks) > 1):
            named = turned[0] if turned else "several tasks"
            raise ValueError(f"{named} goes with return = image; the {self.returned} are one network's own")


def usual_format(parameters: RestoreParameters, given: PictureFormat) -> PictureFormat:
    """The format of an answer for which none is named: the picture's own, or PNG for what is derived from it."""
    return answer_format(given.name) if parameters.returned == "image" else FORMATS["png"]


class GenerateParameters(CommonParameters):
    """Pictures out of noise."""

    quality: Quality | None = Field(default=None, description="of JPEG, WebP, AVIF and JPEG XL; high if absent")
    model: Name | None = Field(default=None, description="the first model that generates, if absent")
    seed: Seed | None = Field(
        default=None,
        description="random if absent, and in the answer; picture k of n is what seed + k gives alone",
    )
    n: Count = Field(default=1, description="how many pictures")
    grid: Flag = Field(default=False, description="one picture with all n in it")

    @property
    def metadata(self) -> Policy:
        """A picture that no file came for has none."""
        return "none"

    @property
    def file_quality(self) -> int | None:
        """What the file is written with."""
        return self.quality


def null_is_unset(schema: dict[str, Any]) -> None:
    """Every member that need not be there may be null, which says the same."""
    for name, property_schema in schema["properties"].items():
        if name not in schema.get("required", ()) and {"type": "null"} not in property_schema.get("anyOf", ()):
            outside = {key: property_schema.pop(key) for key in ("default", "description", "title") if key in property_schema}
            schema["properties"][name] = {"anyOf": [property_schema, {"type": "null"}], **outside}


def check_picture(image: str | None, image_url: str | None) -> None:
    """Raises ValueError unless a picture comes in one of both ways."""
    if (image is None) == (image_url is None):
        raise ValueError("expected either image or image_url")


JSON_BODY = ConfigDict(frozen=True, extra="forbid", populate_by_name=False, json_schema_extra=null_is_unset)


class GenerateBody(GenerateParameters):
    """GenerateParameters as JSON."""

    model_config = JSON_BODY

    def parameters(self) -> GenerateParameters:
        """What it says."""
        return GenerateParameters(**self.model_dump(exclude_unset=True))


class RestoreOrder(RestoreParameters):
    """With what a JSON body may say beside: where the result goes, instead of into the answer."""

    output_url: Address | None = Field(default=None, description="https address, to which the result is PUT, or a store's key")


class RestoreBody(RestoreOrder):
    """RestoreOrder as JSON: pictures are base64, data: URLs, or read from an https address or a store's key."""

    model_config = JSON_BODY

    image: Annotated[str, Field(min_length=1)] | None = None
    image_url: Address | None = None
    mask: str | None = None
    mask_url: Address | None = None

    @model_validator(mode="after")
    def _one_picture(self) -> Self:
        check_picture(self.image, self.image_url)
        if self.mask is not None and self.mask_url is not None:
            raise ValueError("expected mask or mask_url, not both")
        return self

    def order(self) -> RestoreOrder:
        """What it says beside the pictures."""
        return RestoreOrder(**self.model_dump(exclude_unset=True, exclude={"image", "image_url", "mask", "mask_url"}))


class AnalyseParameters(BaseModel):
    """What is said beside a picture that is examined: nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AnalyseBody(BaseModel):
    """The picture as JSON: base64, a data: URL, or read from an https address or a store's key."""

    model_config = JSON_BODY

    image: Annotated[str, Field(min_length=1)] | None = None
    image_url: Address | None = None

    @model_validator(mode="after")
    def _one_picture(self) -> Self:
        check_picture(self.image, self.image_url)
        return self
