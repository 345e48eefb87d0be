"""`rddm compare`: what changes between two weights of a restoration, and the gate for replacing the ones that ship.

    rddm compare model_repository/derain runs/derain-new --data val -o comparison

DIR holds `input/` and `target/`, matched by name. B passes when its mean PSNR is not under A's by more than --fall, and no
picture's by more than --worst.
"""

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from training.checkpoint import check_folder
from training.evaluation.evaluate import (
    SHEET_ROWS,
    SHEET_SIDE,
    Example,
    Model,
    Picture,
    examples,
    load_model,
    read_example,
    restored,
)
from training.evaluation.metrics import MEASURES
from training.pictures import sheet, thumbnail

GATED = "psnr_rgb"
SHOWN = ("psnr_rgb", "ssim_rgb", "psnr_mean_matched")


@dataclass(frozen=True)
class Change:
    """One picture under both weights: figures of A and of B, and the sheet's row (given, A, B, target)."""

    name: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    strip: tuple[Picture, ...]

    def gain(self, measure: str) -> float:
        """B minus A."""
        return self.after[measure] - self.before[measure]


def compared(a: Model, b: Model, example: Example, args: argparse.Namespace) -> Change:
    """Both restorations of one picture, at full size, from the same seed."""
    answers = [restored(model, example, args.steps, args.seed) for model in (a, b)]
    before, after = ({name: measure(picture, example.target) for name, measure in MEASURES.items()} for picture in answers)
    strip = tuple(thumbnail(picture, SHEET_SIDE) for picture in (example.given, *answers, example.target))
    return Change(example.name, before, after, strip)


def verdict(changes: Sequence[Change], fall: float, worst: float) -> list[str]:
    """Why B may not replace A: one sentence per reason, none if it may."""
    mean = float(np.mean([change.gain(GATED) for change in changes]))
    reasons = [] if mean >= -fall else [f"mean {GATED} falls by {-mean:.3f} dB; allowed is {fall} dB"]
    lost = [change for change in changes if change.gain(GATED) < -worst]
    return reasons + [f"{change.name} falls by {-change.gain(GATED):.3f} dB; allowed is {worst} dB" for change in lost]


def show(changes: Sequence[Change], console: Console) -> None:
    """The table: A, B and B - A per picture, and their means; per_image.csv has every measure."""
    table = Table("picture", *(f"{name}\n{side}" for name in SHOWN for side in ("A", "B", "B - A")))
    for change in changes:
        table.add_row(
            change.name,
            *(f"{x:.3f}" for name in SHOWN for x in (change.before[name], change.after[name], change.gain(name))),
        )
    means = _means(changes)
    table.add_row("mean", *(f"{means[f'{name}_{part}']:.3f}" for name in SHOWN for part in ("a", "b", "gain")), style="bold")
    console.print(table)


def _means(changes: Sequence[Change]) -> dict[str, float]:
    columns = {}
    for name in MEASURES:
        columns[f"{name}_a"] = float(np.mean([change.before[name] for change in changes]))
        columns[f"{name}_b"] = float(np.mean([change.after[name] for change in changes]))
        columns[f"{name}_gain"] = columns[f"{name}_b"] - columns[f"{name}_a"]
    return columns


def write(changes: Sequence[Change], reasons: Sequence[str], folder: Path) -> None:
    """per_image.csv, mean.json and sheet.png: rows of given, A, B, target."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "per_image.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", *(f"{name}_{side}" for name in MEASURES for side in "ab")])
        for change in changes:
            writer.writerow([change.name, *(round(side[name], 5) for name in MEASURES for side in (change.before, change.after))])
    Image.fromarray(sheet([change.strip for change in changes[:SHEET_ROWS]])).save(folder / "sheet.png")
    facts = {"pictures": len(changes), "passes": not reasons, "reasons": list(reasons), "mean": _means(changes)}
    (folder / "mean.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    """The verb's arguments."""
    p = argparse.ArgumentParser(
        prog="rddm compare", description="What changes from weights A to weights B; 1 if B may not replace A."
    )
    p.add_argument("a", type=Path, metavar="A", help="a checkpoint's folder, or a model of the repository")
    p.add_argument("b", type=Path, metavar="B", help="the weights that would replace those of A, likewise")
    p.add_argument("--data", type=Path, required=True, metavar="DIR", help="holds input/ and target/, matched by name")
    p.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    p.add_argument("--steps", type=int, help="network calls (default: each model's own)")
    p.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    p.add_argument("--fall", type=float, default=0.05, help="dB that the mean may fall (default: %(default)s)")
    p.add_argument("--worst", type=float, default=1.0, help="dB that any one picture may fall (default: %(default)s)")
    return p


def main(argv: list[str]) -> int:
    """Compare two weights: table, contact sheet, verdict. 1 if B may not replace A, 2 for what cannot be compared."""
    args = parser().parse_args(argv)
    try:
        check_folder(args.output)
        a, b = load_model(args.a), load_model(args.b)
        if a.spec.task != b.spec.task or a.spec.generates:
            raise ValueError(f"A is for {a.spec.task!r} and B for {b.spec.task!r}; expected two restorations of one task")
        groups = examples(str(args.data / "target"), str(args.data / "input"), None)
        changes = [compared(a, b, read_example(group), args) for group in track(groups, "comparing")]
    except (ValueError, FileNotFoundError) as error:
        print(f"rddm compare: {error}", file=sys.stderr)
        return 2
    reasons = verdict(changes, args.fall, args.worst)
    show(changes, Console())
    write(changes, reasons, args.output)
    print("\n".join(reasons) or "B may replace A")
    return 1 if reasons else 0
