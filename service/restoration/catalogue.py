"""A model in words that callers read."""

from typing import Any

from service.engines.contract import Model
from service.pictures.formats import PictureFormat
from service.restoration.adjusting import takes_brightness
from service.restoration.models import aliases_of
from service.settings import Settings


def facts_of(settings: Settings, model: Model) -> dict[str, Any]:
    """A model as GET /models tells it: task, steps, size rules, licence, digest."""
    spec = model.spec
    return {
        "name": spec.name,
        "task": spec.task,
        "aliases": aliases_of(spec.task),
        "kind": "generate" if spec.generates else "restore",
        "version": model.version,
        "digest": model.digest,
        "licence": spec.licence,
        "steps": {"default": spec.default_steps, "min": spec.min_steps, "max": spec.max_steps},
        "size": {
            "max_pixels": settings.max_pixels,
            "max_side": settings.max_side,
            "multiple": spec.size_multiple,
            "image_size": spec.image_size,
        },
        "condition": spec.condition,
        "objective": spec.objective,
        "takes_mask": spec.takes_mask,
        "needs_mask": spec.needs_mask,
        "takes_brightness": takes_brightness(spec),
    }


def format_facts(record: PictureFormat) -> dict[str, Any]:
    """A picture format: name in requests, title in sentences, types, suffixes, whether it is written too."""
    return {
        "name": record.name,
        "title": record.title,
        "media_types": record.media_types,
        "suffixes": record.suffixes,
        "written": record.answered_as is None,
    }
