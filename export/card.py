"""The model card, README.md beside the model: what it is, what it may be used for, what it was trained on and how good it is."""

from collections.abc import Iterator, Mapping
from typing import Any

from rddm.model import Model
from rddm.spec import ModelSpec, TableSchedule

STARTS = {"image": "the given picture plus noise", "noise": "pure noise", "diffused": "the given picture, noised part of the way"}


def to_card(model: Model, facts: Mapping[str, Any], size: int, parameters: int) -> str:
    """Markdown. facts: the checkpoint's free-form facts (recipe, data, figures, hours); size: bytes of the model file.

    Under `pictures` facts hold captions and the names of files beside the card.
    """
    spec = model.spec
    rows = {
        "Task": spec.task,
        "Licence of the weights": spec.licence,
        "Version": model.version,
        "Parameters": f"{parameters:,}",
        "File": f"{size / 1e6:.2f} MB, SHA-256 `{model.digest}`",
        "Starts from": STARTS[spec.start],
        "Condition": ", ".join(spec.condition) or "nothing but x_t and the time",
        "Objective": spec.objective,
        "Schedule": _schedule(spec),
        "Order, update, grid": f"{spec.order}, {spec.update}, {spec.grid}",
        "Noise added back (eta)": f"{spec.eta:g}",
        "Pixels beforehand": ", ".join(spec.preprocessing).replace("_", " ") or "as they are",
        "Steps": f"{spec.default_steps} by default, {spec.min_steps} to {spec.max_steps}",
        "Size": f"sides are padded to multiples of {spec.size_multiple}"
        if spec.image_size is None
        else f"{spec.image_size[1]}x{spec.image_size[0]}",
    }
    table = [f"| {name} | {value} |" for name, value in rows.items()]
    plain = {name: value for name, value in facts.items() if name != "pictures"}
    shown = [line for caption, file in facts.get("pictures", {}).items() for line in (f"![{caption}]({file})", "", caption, "")]
    return "\n".join([f"# {spec.name}", "", "| | |", "|---|---|", *table, "", *_section(plain, 2), *shown]).rstrip() + "\n"


def _schedule(spec: ModelSpec) -> str:
    """The tables' names, and the noise of the start."""
    schedule, noise = spec.schedule, f"start noise sqrt({spec.schedule.sum_scale:g})"
    if isinstance(schedule, TableSchedule):
        return f"the imported file's tables, T {spec.timesteps}, {noise}"
    names = [curve.name for curve in (schedule.alpha, schedule.beta2, schedule.delta) if curve is not None]
    return f"{', '.join(names)}, T {spec.timesteps}, {noise}"


def _section(facts: Mapping[str, Any], level: int) -> Iterator[str]:
    """Single values as a list, then every mapping under a heading of its own."""
    single = {name: value for name, value in facts.items() if not isinstance(value, Mapping)}
    yield from (f"- {_title(name)}: {_text(value)}" for name, value in single.items())
    if single:
        yield ""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from (f"{'#' * level} {_title(name)}", "", *_section(value, level + 1))


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]  # the rest as it is: PSNR, LOL


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(_text(item) for item in value) if isinstance(value, list | tuple) else str(value)
