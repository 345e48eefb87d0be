"""`rddm export`."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table


def parser() -> argparse.ArgumentParser:
    """What the verb is told."""
    verb = argparse.ArgumentParser(prog="rddm export", description=main.__doc__)
    verb.add_argument("checkpoint", type=Path, help="folder of a checkpoint, as `rddm train` and `rddm import` write it")
    verb.add_argument(
        "-o", "--output", type=Path, default=Path("model_repository"), help="the model repository (default: %(default)s)"
    )
    verb.add_argument("--version", type=int, help="number of the version (default: one more than the newest there)")
    verb.add_argument("--replace", action="store_true", help="overwrite that version if it is there")
    verb.add_argument(
        "--weights",
        choices=["auto", "fp16", "fp32"],
        default="auto",
        help="how the file stores them; arithmetic is float32 (default: fp16 where no answer moves by a quarter of an 8-bit level)",
    )
    return verb


def main(argv: list[str]) -> int:
    """Turn a checkpoint into a model that the gateway and Triton serve."""
    given = parser().parse_args(argv)
    if given.version is not None and given.version < 1:
        print(f"rddm export: --version {given.version} must be at least 1", file=sys.stderr)
        return 2
    from export.release import release  # noqa: PLC0415  torch takes seconds to import; --help should not
    from training.checkpoint import build, load_checkpoint  # noqa: PLC0415

    console = Console()
    try:
        checkpoint = load_checkpoint(given.checkpoint)
        with console.status(f"exporting {checkpoint.spec.name} and comparing it with torch; up to a minute"):
            written = release(
                build(checkpoint),
                checkpoint.spec,
                checkpoint.facts,
                given.output,
                given.version,
                replace=given.replace,
                weights=given.weights,
            )
    except (OSError, ValueError) as error:
        print(f"rddm export: {error}", file=sys.stderr)
        return 1
    table = Table("batch x height x width", "deviation from torch", title=f"{written.path}, version {written.model.version}")
    for comparison in written.comparisons:
        table.add_row(" x ".join(map(str, comparison.shape)), f"{comparison.deviation:.1e}")
    console.print(table)
    console.print(
        f"{written.size / 1e6:.2f} MB, weights stored as {written.weights} (fp16 moves the answers by {written.rounding:.1e})"
    )
    return 0
