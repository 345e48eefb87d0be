"""The name of an imported model, from where its file lies."""

import re
from pathlib import Path

# Folders that say nothing of what is in them: the authors' trainer saves as results/sample/model-80.pt.
UNTELLING = {
    "results",
    "result",
    "sample",
    "samples",
    "checkpoint",
    "checkpoints",
    "ckpt",
    "weights",
    "models",
    "runs",
    "tmp",
    "home",
}


def to_name(path: Path) -> str:
    """A model name from a file's and its folder's: rain/results/sample/model-80.pt becomes `rain-model-80`."""
    path = path.resolve()
    telling = [parent.name for parent in path.parents if parent.name and parent.name.lower() not in UNTELLING]
    words = [*telling[:1], path.stem if path.suffix.lower() in {".pt", ".pth", ".ckpt", ".onnx", ".pt2"} else path.name]
    return re.sub(r"[^a-z0-9_-]+", "-", "-".join(words).lower()).strip("-_")[:64].strip("-_") or "imported"
