"""`python -m benchmarks.reproduce`: trains what is missing, measures, and writes tables and plots.

    python -m benchmarks.reproduce --data PACK --files lowlight='lol*' --out runs/reproduce

PACK holds the data as benchmarks.reproduce.sources lays it out; without --data only generation runs. An interrupted run goes on
when it is started again. Pictures are written to the output folder and stay there: only numbers and plots of numbers are committed.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console

from benchmarks.reproduce import figure4, relatives, table1, tables
from benchmarks.reproduce.arms import ONE_NETWORK, SIZES, WAYS, Size, Task


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.reproduce",
        description=(__doc__ or "").splitlines()[0],
        epilog=f"The relatives have options of their own:\n\n{relatives.parser().format_help()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--data", type=Path, help="folder with the data sets")
    p.add_argument("--files", action="append", default=[], metavar="TASK=GLOB", help="which files of a task (default: all)")
    p.add_argument("--tasks", nargs="+", choices=get_args(Task), help="of Table 1 (default: all that --data allows)")
    p.add_argument("--ddim", type=Path, help="a diffusers DDIM on disk for Figure 4 (default: train a small one on glyphs)")
    p.add_argument("--reference", help="with --ddim: pictures of its kind, as a folder, list file or glob pattern")
    p.add_argument("--size", choices=sorted(SIZES), default="small", help="default: %(default)s")
    p.add_argument("--steps", type=int, help="train every network for so many steps instead of the size's")
    p.add_argument("--seeds", type=int, default=1, help="how often Table 1 is trained anew (default: %(default)s)")
    p.add_argument("--one-network", action="store_true", help="SM-Res-N-1Net too: one network of six channels")
    p.add_argument("--out", type=Path, default=Path("runs/reproduce"), help="default: %(default)s")
    p.add_argument("--only", choices=["table1", "figure4"], help="one of the two")
    p.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    return p


def main(argv: list[str]) -> int:
    """Run what was asked for; table1 and figure4, as .json and .md, in the output folder."""
    if argv[:1] == ["relatives"]:
        return relatives.main(argv[1:])
    args, console, started = parser().parse_args(argv), Console(), time.monotonic()
    torch.set_num_threads(args.threads)
    if (args.ddim is None) != (args.reference is None):
        console.print("--ddim and --reference go together")
        return 2
    size = SIZES[args.size].shortened(args.steps) if args.steps else SIZES[args.size]
    args.out.mkdir(parents=True, exist_ok=True)
    if args.only != "table1":
        run_figure4(size, args, console)
    if args.only != "figure4":
        run_table1(size, args, console)
    console.print(f"{(time.monotonic() - started) / 60:.1f} minutes")
    return 0


def run_figure4(size: Size, args: argparse.Namespace, console: Console) -> None:
    """The DDIM and its RDDM."""
    points, table = figure4.run(size, args.out, console, args.ddim, args.reference)
    tables.plot(points, args.out / "figure4.png")
    figures = {"points": [asdict(p) for p in points], "differences": [asdict(d) for d in table]}
    write(args.out, "figure4", figures, f"{tables.points_text(points)}\n\n{tables.differences_text(table)}\n", console)


def run_table1(size: Size, args: argparse.Namespace, console: Console) -> None:
    """The ways of sampling."""
    files = dict(entry.split("=", 1) for entry in args.files)
    tasks = args.tasks or (get_args(Task) if args.data else ("generation",))
    bench = table1.Bench(size, (*WAYS, ONE_NETWORK) if args.one_network else WAYS, args.out, console)
    for results in table1.run(args.data, files, tasks, bench, args.seeds):
        parts = (tables.table1_text(results), tables.gains_text(results), tables.questions_text(results))
        text = "\n\n".join(filter(None, parts)) + "\n"
        write(args.out, "table1", {"results": [asdict(result) for result in results]}, text, console)


def write(out: Path, name: str, figures: dict[str, object], text: str, console: Console) -> None:
    """NAME.json and NAME.md, and the table on the terminal."""
    (out / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
    (out / f"{name}.md").write_text(text)
    console.print(text, markup=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
