"""`python -m benchmarks.reproduce`: trains what is missing, measures, and writes tables and plots.

    python -m benchmarks.reproduce --data PACK --files lowlight='lol*' --out runs/reproduce

PACK holds lowlight and rain, each with train and val, each with target and input; without --data only generation runs. Pictures are
written to the output folder and stay there: only numbers and plots of numbers are committed.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.reproduce import figure4, table1
from benchmarks.reproduce.arms import SIZES


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.reproduce", description=__doc__.splitlines()[0])
    p.add_argument("--data", type=Path, help="folder with lowlight and rain")
    p.add_argument("--files", action="append", default=[], metavar="TASK=GLOB", help="which files of a task (default: all)")
    p.add_argument("--ddim", type=Path, help="a diffusers DDIM on disk for Figure 4 (default: train a small one on glyphs)")
    p.add_argument("--reference", help="with --ddim: pictures of its kind, as a folder, list file or glob pattern")
    p.add_argument("--size", choices=sorted(SIZES), default="small", help="default: %(default)s")
    p.add_argument("--out", type=Path, default=Path("runs/reproduce"), help="default: %(default)s")
    p.add_argument("--only", choices=["table1", "figure4"], help="one of the two")
    p.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    return p


def table_text(rows: list[table1.Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| task | method | steps | PSNR dB | SSIM | PSNR dB, mean matched | Frechet, autoencoder-32 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [f"{row.figures[key]:.{places}f}" if key in row.figures else "" for key, places in _COLUMNS]
        lines.append(f"| {row.task} | {row.method} | {row.steps or ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


_COLUMNS = (("psnr", 2), ("ssim", 3), ("psnr_mean_matched", 2), ("frechet", 3))


def differences_text(table: list[figure4.Difference]) -> str:
    """Steps down, cases across."""
    cases = sorted({(d.clip, d.eta, d.update) for d in table})
    names = [f"{'clip' if clip else 'no clip'}, eta {eta:g}, {update}" for clip, eta, update in cases]
    lines = [f"| steps | {' | '.join(names)} |", "|---" * (len(cases) + 1) + "|"]
    for steps in sorted({d.steps for d in table}):
        of = {(d.clip, d.eta, d.update): d.largest for d in table if d.steps == steps}
        lines.append(f"| {steps} | {' | '.join(f'{of[case]:.1e}' for case in cases)} |")
    return "\n".join(lines)


def points_text(points: list[figure4.Point]) -> str:
    """Frechet distances over steps as Markdown."""
    lines = ["| steps | DDIM | RDDM, recomposed | RDDM, subtracting |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {p.steps} | {p.ddim:.3f} | {p.recomposed:.3f} | {p.subtracting:.3f} |" for p in points)])


def plot(points: list[figure4.Point], path: Path) -> None:
    """Figure 4: Frechet distance over steps."""
    sheet = Figure(figsize=(5.5, 3.4), layout="constrained")
    axes = sheet.subplots()
    steps = [p.steps for p in points]
    axes.plot(steps, [p.ddim for p in points], "o-", label="DDIM")
    axes.plot(steps, [p.recomposed for p in points], "x--", label="RDDM, recomposed")
    axes.plot(steps, [p.subtracting for p in points], "s:", label="RDDM, subtracting")
    axes.set(xlabel="steps", ylabel="Frechet distance (autoencoder-32)", xscale="log", title="DDIM and the RDDM it converts to")
    axes.legend()
    sheet.savefig(path, dpi=100)


def main(argv: list[str]) -> int:
    """Run what was asked for; table1 and figure4, as .json and .md, in the output folder."""
    args, console, started = parser().parse_args(argv), Console(), time.monotonic()
    torch.set_num_threads(args.threads)
    if (args.ddim is None) != (args.reference is None):
        console.print("--ddim and --reference go together")
        return 2
    size, files = SIZES[args.size], dict(entry.split("=", 1) for entry in args.files)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.only != "table1":
        points, table = figure4.run(size, args.out, console, args.ddim, args.reference)
        plot(points, args.out / "figure4.png")
        found = {"points": [asdict(p) for p in points], "differences": [asdict(d) for d in table]}
        write(args.out, "figure4", found, f"{points_text(points)}\n\n{differences_text(table)}\n", console)
    if args.only != "figure4":
        rows = table1.run(args.data, files, size, args.out, console)
        write(args.out, "table1", {"rows": [asdict(row) for row in rows]}, table_text(rows) + "\n", console)
    console.print(f"{(time.monotonic() - started) / 60:.1f} minutes")
    return 0


def write(out: Path, name: str, found: dict[str, object], text: str, console: Console) -> None:
    """NAME.json and NAME.md, and the table on the terminal."""
    (out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / f"{name}.md").write_text(text)
    console.print(text, markup=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
