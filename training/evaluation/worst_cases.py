"""What a restoration model does worst, on pictures that may be shown.

    python -m training.evaluation.worst_cases MODEL -o failures.webp

The pictures are made as training's were (training.synthesis), from scenes that no training run has seen; shown are those whose
PSNR rose least, or fell: given, restored and wanted, side by side.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from training.evaluation.evaluate import Example, Model, load_model, restored
from training.evaluation.metrics import psnr
from training.pictures import in_rows, sheet, to_pictures
from training.synthesis.registry import DEGRADATIONS
from training.synthesis.sheet import Pictures, drawn

UNSEEN = 1_000_000  # seeds from here on are in no pool
KINDS = {degradation.task: kind for kind, degradation in DEGRADATIONS.items()}
QUALITY = 50  # the card and its pictures lie beside weights that are meant to be small


def gain(pair: Example, answer: np.ndarray) -> float:
    """By how many dB the PSNR rose; given and wanted must differ."""
    return psnr(answer, pair.target) - psnr(pair.given, pair.target)


def pairs(task: str, count: int) -> list[Example]:
    """Given and wanted pictures of a task, without those that are fine as they are.

    Raises ValueError, with the list, for a task without a synthesis.
    """
    if task not in KINDS:
        raise ValueError(f"no pictures can be made for task {task!r}; expected one of {sorted(KINDS)}")
    made = drawn(KINDS[task], count, UNSEEN)
    masks = [None] * count if made.mask is None else to_pictures(made.mask * 2 - 1)
    rows = zip(to_pictures(made.given), to_pictures(made.target), masks, strict=True)
    examples = [Example(f"{k:04d}", given, wanted, mask) for k, (given, wanted, mask) in enumerate(rows)]
    return [pair for pair in examples if not np.array_equal(pair.given, pair.target)]


def worst(model: Model, count: int, shown: int, steps: int | None = None) -> tuple[Pictures, list[float]]:
    """Strips of given, restored, wanted for the `shown` worst of `count` pictures, worst first, and the gains of all in dB."""
    rows = [
        (gain(pair, picture), np.concatenate([pair.given, picture, pair.target], axis=1))
        for pair in track(pairs(model.spec.task, count), "restoring")
        if (picture := restored(model, pair, steps, 0)) is not None
    ]
    rows.sort(key=lambda one: one[0])
    return [strip for _, strip in rows[:shown]], [rise for rise, _ in rows]


def main(argv: list[str]) -> int:
    """Draw the sheet; 2 for arguments that do not fit."""
    p = argparse.ArgumentParser(
        prog="python -m training.evaluation.worst_cases", description="What a restoration model does worst."
    )
    p.add_argument("model", type=Path, help="a checkpoint's folder or a model of the repository")
    p.add_argument("-o", "--output", type=Path, required=True, help="the picture to write")
    p.add_argument("--count", type=int, default=48, help="how many pictures are tried (default: %(default)s)")
    p.add_argument("--shown", type=int, default=6, help="how many are shown (default: %(default)s)")
    p.add_argument("--steps", type=int, help="network calls (default: the model's)")
    args = p.parse_args(argv)
    try:
        strips, gains = worst(load_model(args.model), args.count, args.shown, args.steps)
    except (ValueError, FileNotFoundError) as error:
        print(f"failures: {error}", file=sys.stderr)
        return 2
    Image.fromarray(sheet(in_rows(strips, 2))).save(args.output, quality=QUALITY)
    print(f"{len(gains)} pictures: PSNR rose by {np.median(gains):.1f} dB in the median, by {gains[0]:.1f} dB at worst")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
