"""`python -m training.importing.average A:0.4 B:0.6 -o OUT`: the weighted mean of checkpoints (a model soup, Wortsman et al. 2022).

Runs that started from each other lie in one valley of the loss: between their ends is often better than either, above all on
pictures unlike the synthesised ones. Keep the stages of a run that went on under other settings, and try.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


def averaged(checkpoints: Sequence[Checkpoint], shares: Sequence[float]) -> Checkpoint:
    """The mean; spec and facts are the last one's. Raises ValueError where shares do not sum to 1 or networks differ."""
    if not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise ValueError(f"the shares sum to {sum(shares):g}; expected 1")
    *others, last = checkpoints
    for other in others:
        if other.network != last.network or other.spec != last.spec:
            raise ValueError(
                f"checkpoints of {other.spec.name} and {last.spec.name} differ in spec or network; expected one of both"
            )
    weights = {
        name: sum(share * checkpoint.weights[name] for checkpoint, share in zip(checkpoints, shares, strict=True))
        for name in last.weights
    }
    return Checkpoint(last.spec, last.network, weights, dict(last.facts))


def part(text: str) -> tuple[Path, float]:
    """FOLDER:SHARE. Raises ValueError."""
    folder, separator, share = text.rpartition(":")
    if not separator:
        raise ValueError(f"{text!r} names no share; expected FOLDER:SHARE, as runs/a:0.4")
    return Path(folder), float(share)


def main(argv: list[str]) -> int:
    """The weighted mean of checkpoints. 2 for what cannot be averaged."""
    p = argparse.ArgumentParser(prog="python -m training.importing.average", description="The weighted mean of checkpoints.")
    p.add_argument("parts", nargs="+", metavar="FOLDER:SHARE", help="checkpoints of one network, and shares that sum to 1")
    p.add_argument("-o", "--output", type=Path, required=True, help="the folder to write")
    args = p.parse_args(argv)
    try:
        folders, shares = zip(*map(part, args.parts), strict=True)
        mean = averaged([load_checkpoint(folder) for folder in folders], shares)
    except (ValueError, FileNotFoundError) as error:
        print(f"training.importing.average: {error}", file=sys.stderr)
        return 2
    mean.facts["averaged"] = dict(zip(map(str, folders), shares, strict=True))
    save_checkpoint(args.output, mean)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
