"""What is sent and what comes back: typed options and results, read from headers, envelopes and events."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

import httpx2

Kind = Literal["restore", "generate"]


class RestoreOptions(TypedDict, total=False):
    """The query of /restore, as the server documents it."""

    task: str
    steps: int
    seed: int
    format: Literal["png", "jpeg", "webp", "avif", "tiff", "jxl"]
    returns: Literal["image", "residual", "steps"]
    metadata: Literal["keep", "all", "none"]
    strength: float
    brightness: float | Literal["auto"]
    brightness_mean: float
    ensemble: bool
    quality: int | Literal["best"]
    lossless: bool
    max_latency_ms: int
    webhook: str


class GenerateOptions(TypedDict, total=False):
    """The query of /generate."""

    model: str
    steps: int
    seed: int
    n: int
    grid: bool
    format: Literal["png", "jpeg", "webp", "avif", "tiff", "jxl"]
    quality: int
    lossless: bool
    max_latency_ms: int
    webhook: str


@dataclass(frozen=True)
class Step:
    """One step is done. preview: JPEG bytes of the whole predicted picture, at most 512 px; elapsed_ms since the work began."""

    step: int
    steps: int
    preview: bytes
    width: int
    height: int
    elapsed_ms: float


@dataclass(frozen=True)
class Answer:
    """What every result tells of itself; timings in milliseconds. location: where the same bytes can be fetched again.

    Of several tasks, model and digest list them between commas, and steps is their sum.
    """

    media_type: str
    model: str
    digest: str
    steps: int
    seed: int
    timings: Mapping[str, float]
    location: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Restored(Answer):
    """A restored picture: the bytes of the file.

    Of the task auto: changed tells whether anything was done; where nothing was, model and digest are empty. analysis: where steps
    were followed; `analyse` gives it, too.
    """

    image: bytes = field(repr=False)
    changed: bool = True
    analysis: "Analysed | None" = None


@dataclass(frozen=True, kw_only=True)
class Analysed:
    """What is wrong with a picture. facts: by name; probabilities: of faults, 0..1; plan: the tasks of `auto`, in order."""

    facts: Mapping[str, Any]
    probabilities: Mapping[str, float]
    plan: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Generated(Answer):
    """Generated pictures: `images[k]` is what `seeds[k]` gives alone. With grid=True one sheet, and the first seed."""

    images: tuple[bytes, ...] = field(repr=False)
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class StepRange:
    """How many steps a model takes."""

    default: int
    min: int
    max: int


@dataclass(frozen=True)
class ModelInfo:
    """One model of GET /models. size: its limits in pixels, and image_size (height, width) of a generator."""

    name: str
    task: str
    kind: Kind
    version: int
    digest: str
    licence: str
    steps: StepRange
    size: Mapping[str, Any]
    takes_mask: bool
    takes_brightness: bool = False
    needs_mask: bool = False  # else a mask that it takes may be left out
    aliases: tuple[str, ...] = ()  # further names of its task


@dataclass(frozen=True)
class Loading:
    """What came of loading or unloading a model. loaded: whether it takes requests now."""

    name: str
    version: int
    digest: str
    loaded: bool


@dataclass(frozen=True)
class Job:
    """Work that the server does in its own time. problem: why it failed."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    kind: Kind
    step: int
    steps: int | None
    created_at: str
    expires_at: str
    model: str
    problem: Mapping[str, Any] | None = None

    @property
    def finished(self) -> bool:
        return self.status in {"succeeded", "failed", "cancelled"}


def to_step(event: Mapping[str, Any]) -> Step:
    preview = base64.b64decode(event["preview"].partition(",")[2])
    return Step(event["step"], event["steps"], preview, event["width"], event["height"], event["elapsed_ms"])


def to_loading(body: Mapping[str, Any]) -> Loading:
    return Loading(**{name: body[name] for name in ("name", "version", "digest", "loaded")})


def to_model(body: Mapping[str, Any]) -> ModelInfo:
    names = ("name", "task", "kind", "version", "digest", "licence", "size", "takes_mask")
    facts = {name: body[name] for name in names}
    later: dict[str, Any] = {name: bool(body.get(name)) for name in ("takes_brightness", "needs_mask")}
    later |= {"aliases": tuple(body.get("aliases", ()))}
    return ModelInfo(**facts, steps=StepRange(**body["steps"]), **later)


def to_job(body: Mapping[str, Any]) -> Job:
    names = ("id", "status", "kind", "step", "steps", "created_at", "expires_at", "model")
    return Job(**{name: body[name] for name in names}, problem=body.get("problem"))


def _facts(envelope: Mapping[str, Any]) -> dict[str, Any]:
    names = ("media_type", "model", "digest", "steps", "seed", "timings")
    return {name: envelope[name] for name in names} | {"location": envelope.get("location")}


def to_restored(envelope: Mapping[str, Any]) -> Restored:
    """From the JSON envelope of /restore."""
    analysis = to_analysed(envelope["analysis"]) if "analysis" in envelope else None
    image = base64.b64decode(envelope["image"])
    return Restored(**_facts(envelope), image=image, changed=envelope.get("changed", True), analysis=analysis)


def to_analysed(body: Mapping[str, Any]) -> Analysed:
    """From the answer of /analyse, or what an envelope has of it."""
    return Analysed(facts=body["facts"], probabilities=body["probabilities"], plan=tuple(body["plan"]))


def to_generated(envelope: Mapping[str, Any]) -> Generated:
    """From the JSON of /generate: several pictures, or one picture or sheet."""
    several = envelope.get("images") or [{"image": envelope["image"], "seed": envelope["seed"]}]
    images = tuple(base64.b64decode(one["image"]) for one in several)
    return Generated(**_facts(envelope), images=images, seeds=tuple(one["seed"] for one in several))


def to_timings(header: str) -> dict[str, float]:
    """`decode;dur=1.2, sample;dur=30` -> milliseconds by name."""
    entries = (entry.strip().partition(";dur=") for entry in header.split(",") if ";dur=" in entry)
    return {name: float(duration) for name, _, duration in entries}


def _headed(response: httpx2.Response) -> dict[str, Any]:
    heads = response.headers
    return {
        "media_type": heads["content-type"],
        **({"model": "", "digest": "", "steps": 0} if heads.get("x-changed") == "false" else _made(heads)),
        "seed": int(heads["x-seed"]),
        "timings": to_timings(heads.get("server-timing", "")),
        "location": heads.get("content-location"),
        "request_id": heads.get("x-request-id"),
    }


def _made(heads: Mapping[str, str]) -> dict[str, Any]:
    steps = sum(int(steps) for steps in heads["x-steps"].split(","))
    return {"model": heads["x-model"], "digest": heads["x-model-digest"], "steps": steps}


def read_restored(response: httpx2.Response) -> Restored:
    """From picture bytes and headers."""
    changed = response.headers.get("x-changed") != "false"
    return Restored(**_headed(response), image=response.content, changed=changed)


def read_generated(response: httpx2.Response) -> Generated:
    """From picture bytes and headers, or from JSON."""
    if "json" in response.headers["content-type"]:
        return to_generated(response.json())
    heads = _headed(response)
    return Generated(**heads, images=(response.content,), seeds=(heads["seed"],))
