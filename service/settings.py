"""What an operator can set: environment variables with the prefix RDDM_, and what `rddm serve` is given on the command line."""

import base64
import json
import os
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from service.cores import usable_cores
from service.engines.registry import ENGINES

MIB = 1024 * 1024
CARRIED_REPOSITORY = Path(__file__).parent / "model_repository"
CHECKOUT_REPOSITORY = Path(__file__).parent.parent / "model_repository"
PREFIX = "RDDM_"
KEY_VARIABLE = "RDDM_API_KEY"  # no setting of the gateway: clients send it
DATABASES = ("postgresql", "postgres")
WORD_LISTS = ("cors_origins", "triton_urls", "webhook_hosts", "reference_hosts", "reference_stores")
Words = tuple[str, ...]


def shipped_repository() -> Path:
    """The model repository beside the packages in a checkout, else the one that the wheel carries."""
    return CHECKOUT_REPOSITORY if CHECKOUT_REPOSITORY.is_dir() else CARRIED_REPOSITORY


def state_folder() -> Path:
    """Where jobs are kept: the XDG state folder."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "rddm"


def cache_folder() -> Path | None:
    """The XDG cache folder; None where there is neither that nor a home."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "rddm"
    try:
        return Path.home() / ".cache" / "rddm"
    except RuntimeError:
        return None


def is_loopback(host: str) -> bool:
    """Whether an address or name can be reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def words(text: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def provider_options(text: str) -> object:
    """What the JSON says. Raises ValueError for text that is none."""
    try:
        return json.loads(text)
    except ValueError as wrong:
        raise ValueError(f"execution_provider_options = {text!r}: expected a JSON object of texts") from wrong


# What is written otherwise than pydantic reads it.
READ: dict[str, Callable[[str], object]] = dict.fromkeys(WORD_LISTS, words) | {"execution_provider_options": provider_options}


def is_webhook_secret(text: str) -> bool:
    """Whether a text is a secret of Standard Webhooks. Their library takes any text, and signs with what it decodes to."""
    try:
        return text.startswith("whsec_") and 24 <= len(base64.b64decode(text.removeprefix("whsec_"), validate=True)) <= 64
    except ValueError:
        return False


class Settings(BaseModel):
    """Immutable; lists are given as words between commas. What is not given is read from the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    open: bool = Field(default=False, description="serve on a public address without keys")
    cors_origins: Words = ()
    root_path: str = Field(
        default="",
        pattern=r"^((/[A-Za-z0-9._~-]+)+)?$",
        description="the path below which a proxy offers the service, such as /rddm; one that sends X-Forwarded-Prefix needs none",
    )

    engine: str = Field(
        default=next(iter(ENGINES)), description="; ".join(f"{kind.name}: {kind.summary}" for kind in ENGINES.values())
    )
    model_repository: Path = Field(default_factory=shipped_repository)
    triton_urls: Words = ("127.0.0.1:8001",)
    device: str = Field(
        default="cpu", pattern=r"^(cpu|cuda(:[0-9]+)?)$", description="where pictures are kept while they are sampled"
    )
    threads: int = Field(
        default=1,
        ge=1,
        le=256,
        description="threads of one network call; a picture that has the engine to itself has those of all instances",
    )
    instances: int | None = Field(default=None, ge=1, le=256, description="network calls side by side; default: one per core")
    precision: Literal["f32", "bf16"] = Field(
        default="f32", description="of the arithmetic of --engine openvino; a model whose golden answer bf16 misses is not served"
    )
    execution_provider: str | None = Field(
        default=None,
        min_length=1,
        description="plug-in of ONNX Runtime that runs the networks of --engine embedded: NAME of an installed package "
        "onnxruntime-ep-NAME, or the path of a library; a model whose golden answer it misses is not served",
    )
    execution_provider_options: dict[str, str] = Field(default={}, description="its options, as a JSON object of texts")
    default_model: str = "lowlight"
    prove_at_start: bool = Field(
        default=False, description="find out which batch sizes pay before the first answer, instead of in idle moments"
    )
    learn: bool = Field(default=True, description="keep what was learnt of models in a small file in the cache folder")

    keys_file: Path | None = None
    keys: SecretStr | None = Field(default=None, description="lines as in the keys file")

    max_body_bytes: int = Field(default=50 * MIB, ge=1024)
    max_pixels: int = Field(default=8192 * 4096, ge=1)
    max_side: int = Field(default=16383, ge=1, le=16383)
    max_megapixel_steps: float = Field(default=200, gt=0)
    max_clip_bytes: int = Field(default=512 * MIB, ge=1024, description="of a clip as it is sent")
    max_clip_seconds: float = Field(default=600, gt=0)
    max_clip_frames: int = Field(default=36_000, ge=1)
    max_clip_result_bytes: int = Field(default=4096 * MIB, ge=1024)
    clips_folder: Path | None = Field(default=None, description="where clips are while they are in work; default: beside the jobs")
    max_pictures: int = Field(default=16, ge=1, le=1024, description="of one /generate")
    queue_megapixel_steps: float = Field(default=400, gt=0)
    max_held_megapixels: float = Field(default=128, gt=0, description="of pictures that are read and not yet answered")
    request_timeout_seconds: float = Field(default=300, gt=0)
    body_timeout_seconds: float = Field(default=60, gt=0)
    idle_timeout_seconds: float = Field(default=10, gt=0)
    drain_seconds: float = Field(default=330, ge=0)

    codec_workers: int = Field(default_factory=lambda: min(4, usable_cores()), ge=1, le=64)
    codec_seconds: float = Field(default=20, gt=0)
    codec_memory_bytes: int = Field(default=2048 * MIB, ge=512 * MIB)

    results_bytes: int = Field(default=256 * MIB, ge=0, description="finished x_0 that are kept, as pixels")
    answers_bytes: int = Field(default=256 * MIB, ge=0, description="finished bodies that /results gives again")

    jobs_file: Path | None = Field(default=None, description="SQLite file; default: one per port in the state folder")
    database_url: SecretStr | None = Field(
        default=None, description="postgresql://... of a database that several gateways share, instead of the file"
    )
    public_url: str = Field(
        default="", pattern=r"^(https?://[^\s?#]+[^\s?#/])?$", description="where callers reach this service; begins links to jobs"
    )
    max_jobs: int = Field(default=100, ge=1)
    max_jobs_per_caller: int = Field(default=20, ge=1)
    max_jobs_bytes: int = Field(default=1024 * MIB, ge=1, description="of pictures that wait in jobs")
    job_seconds: float = Field(default=3600, gt=0, description="how long a finished job is kept")
    webhook_hosts: Words = Field(default=(), description="hosts that webhooks may call, by https: host or host:port")
    webhook_secret: SecretStr | None = Field(default=None, description="whsec_ and base64 of 24 to 64 random bytes")
    webhook_private: bool = Field(default=False, description="whether webhook hosts may have addresses within a network")

    reference_hosts: Words = Field(default=(), description="hosts of https addresses that requests may name: image_url, output_url")
    reference_stores: Words = Field(default=(), description="s3://bucket/prefix and the like, whose keys they may name")
    reference_seconds: float = Field(default=30, gt=0, description="for one picture that is read or written there")

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="before")
    @classmethod
    def _with_environment(cls, given: dict[str, object]) -> dict[str, object]:
        """What is given beats the environment, whose values are texts."""
        variables = {name.lower(): text for name, text in os.environ.items()}
        named = {name: variables[variable] for name in cls.model_fields if (variable := PREFIX.lower() + name) in variables}
        values: dict[str, object] = {**named, **given}
        return values | {name: read(text) for name, read in READ.items() if isinstance(text := values.get(name), str)}

    @field_validator("engine")
    @classmethod
    def _known_engine(cls, name: str) -> str:
        if name not in ENGINES:
            raise ValueError(f"must be one of {list(ENGINES)}")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.execution_provider is not None and (self.engine != "embedded" or self.device != "cpu"):
            raise ValueError(f"execution_provider is for --engine embedded --device cpu; they are {self.engine!r}, {self.device!r}")
        if self.execution_provider_options and self.execution_provider is None:
            raise ValueError("execution_provider_options are set without execution_provider")
        if self.precision != "f32" and self.engine != "openvino":
            raise ValueError(f"precision {self.precision} is for --engine openvino; the engine is {self.engine!r}")
        if self.device != "cpu" and self.engine == "openvino":
            raise ValueError(f"the engine openvino runs on the CPU; device is {self.device!r}")
        if self.webhook_hosts and self.webhook_secret is None:
            raise ValueError("webhook_hosts is set without webhook_secret; webhooks are signed")
        if self.webhook_secret is not None and not is_webhook_secret(self.webhook_secret.get_secret_value()):
            raise ValueError(
                "webhook_secret has another form; expected whsec_ and base64 of 24 to 64 bytes (openssl rand -base64 32)"
            )
        if self.database_url is not None and self.jobs_file is not None:
            raise ValueError("database_url and jobs_file exclude one another: jobs are kept in one place")
        if self.database_url is not None and urlsplit(self.database_url.get_secret_value()).scheme not in DATABASES:
            raise ValueError(f"database_url begins with none of {[f'{name}://' for name in DATABASES]}")
        return self

    @property
    def learned_path(self) -> Path | None:
        """The file in which what was learnt of models on this machine is kept; None where there is no folder for it."""
        folder = cache_folder() if self.learn else None
        return folder / "learned.json" if folder is not None else None

    @property
    def jobs_path(self) -> Path:
        """The file in which jobs survive a restart."""
        return self.jobs_file or state_folder() / f"jobs-{self.port}.sqlite"

    @property
    def clips_path(self) -> Path:
        """The folder in which clips, their segments and results lie, one folder for each job."""
        return self.clips_folder or self.jobs_path.with_name(f"{self.jobs_path.stem}-clips")

    @property
    def has_keys(self) -> bool:
        """Whether a key is needed."""
        return self.keys_file is not None or self.keys is not None

    @property
    def needs_keys(self) -> bool:
        """Whether anybody on a network could use this service without a key, which nobody said is wanted."""
        return not is_loopback(self.host) and not self.open and not self.has_keys


def unknown_variables() -> list[str]:
    """RDDM_ variables of the environment that no setting has."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {KEY_VARIABLE}
    return sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
