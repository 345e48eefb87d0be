"""What callers may set of a clip."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.restoration.parameters import (
    Brightness,
    BrightnessMean,
    RestoreParameters,
    Seed,
    Steps,
    Strength,
    Tasks,
    Webhook,
    Within,
)
from service.video.facts import ClipOptions, Codec, Container

Steadying = Literal["off", "exposure", "motion"]
Quality = Annotated[int, Within(0, 63)]


class ClipParameters(BaseModel):
    """What is done to a clip, and how it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    task: Tasks | None = Field(
        default=None,
        description="a model's name, task or alias, or several between commas, done in order, or auto, for each shot; the default "
        "model if absent",
    )
    steps: Steps | None = Field(default=None, description="network calls for each frame; the model's default if absent")
    seed: Seed = Field(default=0, description="of the noise field that all frames share")
    steady: Steadying = Field(
        default="motion", description="off: frame by frame; exposure: neighbours share theirs; motion: and frames blend along it"
    )
    strength: Strength = Field(default=1, description="the result's share, the rest is the clip as it was sent; in linear light")
    brightness: Brightness = Field(
        default="auto", description="of models that brighten: stops more or less light than their own exposure"
    )
    brightness_mean: BrightnessMean | None = Field(
        default=None, description="in place of brightness: the mean that the frames' values shall have, of 1, evenly over a shot"
    )
    codec: Codec | None = Field(default=None, description="h264 if absent; ffv1 is lossless")
    quality: Quality | None = Field(default=None, description="CRF: 18 for h264, 20 for h265, 25 for av1 if absent; 0 is best")
    container: Container | None = Field(default=None, description="mp4 if absent, mkv for ffv1")
    webhook: Webhook | None = Field(default=None, description="https address that is called when the job has ended")

    @property
    def is_auto(self) -> bool:
        """Whether the models are planned from the frames."""
        return self.of_frames.is_auto

    @property
    def of_frames(self) -> RestoreParameters:
        """What each frame is asked for with."""
        names = ("task", "steps", "seed", "strength", "brightness", "brightness_mean")
        return RestoreParameters.model_construct(**{name: getattr(self, name) for name in names})

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        self.of_frames.check_together()
        return self

    def options(self) -> ClipOptions:
        """Raises InvalidValue for what does not go together."""
        codec = self.codec or "h264"
        return ClipOptions(codec, self.quality, self.container or ("mkv" if codec == "ffv1" else "mp4"))
