"""What callers may set of a clip."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.restoration.parameters import Name, Seed, Steps, Webhook, whole
from service.video.facts import ClipOptions, Codec, Container

Steadying = Literal["off", "exposure", "motion"]
Quality = Annotated[int, BeforeValidator(whole), Field(ge=0, le=63)]


class ClipParameters(BaseModel):
    """What is done to a clip, and how it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    task: Name | None = Field(default=None, description="a model's name or task; the service's default model if absent")
    steps: Steps | None = Field(default=None, description="network calls for each frame; the model's default if absent")
    seed: Seed = Field(default=0, description="of the noise field that all frames share")
    steady: Steadying = Field(
        default="motion", description="off: frame by frame; exposure: neighbours share theirs; motion: and frames blend along it"
    )
    codec: Codec | None = Field(default=None, description="h264 if absent; ffv1 is lossless")
    quality: Quality | None = Field(default=None, description="CRF: 18 for h264, 20 for h265, 25 for av1 if absent; 0 is best")
    container: Container | None = Field(default=None, description="mp4 if absent, mkv for ffv1")
    webhook: Webhook | None = Field(default=None, description="https address that is called when the job has ended")

    def options(self) -> ClipOptions:
        """Raises InvalidValue for what does not go together."""
        codec = self.codec or "h264"
        return ClipOptions(codec, self.quality, self.container or ("mkv" if codec == "ffv1" else "mp4"))
