"""A run's log as a picture: loss and validation figures over steps."""

import json
from pathlib import Path

from matplotlib.figure import Figure


def plot(log: Path, picture: Path, title: str) -> None:
    """Draw log.jsonl (one object a line: step, minutes, loss, figures) as a PNG."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [line["step"] for line in lines]
    figures = sorted({key for line in lines for key in line} - {"step", "minutes", "loss"})
    sheet = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = sheet.subplots(1, 2)
    losses = [line["loss"] for line in lines]
    left.plot(steps, losses, color="tab:grey")
    left.set(title=f"{title}: training loss", xlabel="step", yscale="log" if min(losses, default=0) > 0 else "linear")
    for name in figures:
        known = [(line["step"], line[name]) for line in lines if name in line]
        right.plot(*zip(*known, strict=True), label=name)
    right.set(title=f"validation ({lines[-1]['minutes']:.0f} minutes)", xlabel="step")
    if figures:
        right.legend(fontsize=7)
    sheet.savefig(picture, dpi=90)
