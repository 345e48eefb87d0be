"""`python -m benchmarks.auto choose|report|speed`: what `task=auto` plans for pictures whose fault is known.

`choose` picks the thresholds on the choose sets of docs/models/splits.toml and writes them into the classifier: those that plan
most pictures rightly while at most 5 % of the clean photographs are touched. `report` measures on the report sets, for the card,
and notes each use. `speed`: milliseconds a picture of a megapixel on one core, decoded.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.faults import set_thresholds
from rddm.faults import FAULTS
from service.analysis.analysis import analyse
from service.analysis.classifier import FILE, Classifier
from service.analysis.plan import ORDER, planned
from service.pictures.decode import decode as read
from service.pictures.picture import Bounds, Picture
from training.evaluation.splits import Part, load_splits, note_use

SPLITS, RESULT = Path("docs/models/splits.toml"), Path("benchmarks/results/auto.json")
BOUNDS = Bounds(1 << 30, 1 << 16)
MOST_TOUCHED = 0.05
SETS = ("lowlight", "uhd-ll", "rain", "raindrop", "denoise", "jpeg", "dehaze", "kept")
GRID = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995)


@dataclass(frozen=True)
class Judged:
    """A picture: its set and name, the task it needs (None: none), the probabilities of its faults."""

    kind: str
    name: str
    task: str | None
    probabilities: Mapping[str, float]

    def plan(self, thresholds: Mapping[str, float]) -> tuple[str, ...]:
        """What is planned for it."""
        return planned(self.probabilities, thresholds)

    def is_right(self, thresholds: Mapping[str, float]) -> bool:
        """Whether exactly what it needs is planned; beside its task `clean` is right too, as the sets' files are compressed."""
        plan = self.plan(thresholds)
        return plan == () if self.task is None else self.task in plan and set(plan) <= {self.task, "clean"}


def judged(part: Part, data: Path, classifier: Classifier) -> Iterator[Judged]:
    """The inputs of all sets."""
    splits = load_splits(SPLITS)
    for kind in SETS:
        for group in splits[kind].groups(part, data):
            analysis = analyse(read(group[1].read_bytes(), BOUNDS), classifier, ORDER)
            yield Judged(kind, group[1].stem, splits[kind].task or None, analysis.probabilities)


def chosen(pictures: Sequence[Judged]) -> dict[str, float]:
    """Thresholds by coordinate descent: most right, at most MOST_TOUCHED of the clean touched; the middle of those as good."""
    thresholds = dict.fromkeys(FAULTS, 0.99)

    def worth(candidate: Mapping[str, float]) -> tuple[bool, float]:
        clean = [one for one in pictures if one.task is None]
        touched = sum(one.plan(candidate) != () for one in clean) / len(clean)
        faulty = [one for one in pictures if one.task is not None]
        kinds = {one.kind for one in faulty}
        right = np.mean([np.mean([one.is_right(candidate) for one in faulty if one.kind == kind]) for kind in kinds])
        return touched <= MOST_TOUCHED, round(float(right) - touched / 2, 6)

    for _ in range(3):
        for fault in FAULTS:
            worths = {value: worth({**thresholds, fault: value}) for value in GRID}
            as_good = [value for value, own in worths.items() if own == max(worths.values())]
            middle = (as_good[0] + as_good[-1]) / 2  # by value: the grid is dense near 1
            thresholds[fault] = min(as_good, key=lambda value: abs(value - middle))
    return thresholds


def summary(pictures: Sequence[Judged], thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Shares by set, and what went wrong."""
    kinds: dict[str, list[Judged]] = {}
    for one in pictures:
        kinds.setdefault(one.kind, []).append(one)
    faulty = [one for one in pictures if one.task is not None]
    wrong = {f"{one.kind}/{one.name}": list(one.plan(thresholds)) for one in pictures if not one.is_right(thresholds)}
    return {
        "right": {kind: f"{sum(one.is_right(thresholds) for one in ones)} of {len(ones)}" for kind, ones in kinds.items()},
        "right_share": round(sum(one.is_right(thresholds) for one in faulty) / len(faulty), 3),
        "exactly_share": round(sum(one.plan(thresholds) == (one.task,) for one in faulty) / len(faulty), 3),
        "touched_share": round(sum(one.plan(thresholds) != () for one in kinds["kept"]) / len(kinds["kept"]), 3),
        "wrong": wrong,
    }


def speed(classifier: Classifier, rounds: int = 15) -> dict[str, float]:
    """Milliseconds of CPU time for an analysis of 1152x896 pixels, median; of which the network."""
    pixels = np.random.default_rng(0).integers(0, 256, (896, 1152, 3), np.uint8)
    picture, times = Picture(pixels), []
    for _ in range(rounds):
        begin = time.process_time()
        analyse(picture, classifier, ORDER)
        times.append((time.process_time() - begin) * 1000)
    return {"median_ms": round(float(np.median(times)), 2), "best_ms": round(min(times), 2)}


def main(argv: Sequence[str] | None = None) -> int:
    """The verb."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.auto", description="Measures task=auto.")
    parser.add_argument("what", choices=["choose", "report", "speed"])
    parser.add_argument("--data", type=Path, metavar="DIR", help="what the folders of the splits are relative to")
    parser.add_argument("--reason", help="of a use of the report sets")
    parser.add_argument("--show", action="store_true", help="choose: say what each picture is given")
    given = parser.parse_args(argv)
    classifier = Classifier()
    results = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    if given.what == "speed":
        results["speed"] = speed(classifier)
    else:
        if given.data is None or (given.what == "report" and not given.reason):
            parser.error("choose and report need --data, report a --reason too")
        pictures = list(judged(given.what, given.data, classifier))
        if given.show:
            for one in pictures:
                print(one.kind, one.name, {fault: round(value, 3) for fault, value in one.probabilities.items() if value > 0.05})
        thresholds = dict(classifier.thresholds) if given.what == "report" else chosen(pictures)
        results[given.what] = summary(pictures, thresholds)
        if given.what == "choose":
            results["thresholds"] = thresholds
            model = onnx.load(FILE)
            set_thresholds(model, thresholds)
            FILE.write_bytes(model.SerializeToString())
        else:
            for kind in SETS:
                if (count := sum(one.kind == kind for one in pictures)) == 0:
                    continue
                note_use(SPLITS, "faults (task=auto)", f"{kind}.report", count, given.reason, {})
    print(json.dumps(results, indent=2))
    RESULT.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
