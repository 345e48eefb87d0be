"""`python -m benchmarks.ensemble --data DIR`: what `quality=best` gains on the choose sets, and what it costs.

Each picture is restored plainly and as the mean over its mirror images, in turns, in this process; PSNR in RGB at full size, and
the ratio of CPU times. The report sets are not looked at.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rddm.image import Pixels, decode
from service.restoration import RestoreParameters, open_restorer
from service.restoration.restorer import Restorer
from training.evaluation.splits import load_splits

SPLITS, RESULT = Path("docs/models/splits.toml"), Path("benchmarks/results/ensemble.json")
SETS = ("rain", "denoise", "jpeg", "dehaze", "lowlight", "raindrop", "inpaint")


def psnr(pixels: Pixels, target: Pixels) -> float:
    """dB of uint8 pixels."""
    error = np.mean((pixels.astype(float) - target.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error))


def compared(restorer: Restorer, task: str, group: Sequence[Path]) -> tuple[list[float], list[float]]:
    """PSNR and CPU seconds, plain and best, of a group (target, input[, mask])."""
    target, given, *masks = (decode(path.read_bytes()) for path in group)
    figures, seconds = [], []
    for ensemble in (False, True):
        parameters, begin = RestoreParameters(task=task, ensemble=ensemble), time.process_time()
        restored = restorer.restore_pixels(given, parameters, masks[0] if masks else None)
        seconds.append(time.process_time() - begin)
        figures.append(psnr(restored, target))
    return figures, seconds


def measured(restorer: Restorer, data: Path, names: Sequence[str], most: int) -> dict[str, Any]:
    """By set: pictures, mean dB plain and best, gain, ratio of CPU times."""
    results = {}
    for name in names:
        pictures = load_splits(SPLITS)[name]
        pairs = [compared(restorer, pictures.task, group) for group in pictures.groups("choose", data)[:most]]
        plain, best = np.mean([figures for figures, _ in pairs], axis=0)
        cost = np.sum([seconds for _, seconds in pairs], axis=0)
        results[name] = {
            "pictures": len(pairs),
            "plain_db": round(float(plain), 2),
            "best_db": round(float(best), 2),
            "gain_db": round(float(best - plain), 2),
            "cpu_ratio": round(float(cost[1] / cost[0]), 2),
        }
        print(name, results[name], flush=True)
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """The verb."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ensemble", description="Measures quality=best.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="what the folders of the splits are relative to")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--most", type=int, default=10, help="pictures of a set (10)")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args(argv)
    with open_restorer() as restorer:
        results = measured(restorer, given.data, given.sets, given.most)
    given.out.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
