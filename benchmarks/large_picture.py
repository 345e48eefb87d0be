"""A 3840x2160 picture alone, through each build's sampler and engine: wall and CPU seconds, memory, and how much is computed."""

import json
import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.builds import Build

WIDTH, HEIGHT = 3840, 2160
Run = dict[str, Any]  # benchmarks.growth.Growth as JSON


def large_picture(
    builds: Sequence[Build], folder: Path | None, model: str, steps: int, rounds: int, tick: Callable[[str], None]
) -> dict[str, Any]:
    """All builds in every round, each run in a process of its own; the first changes from round to round."""
    runs: dict[str, list[Run]] = {build.name: [] for build in builds}
    for turn in range(rounds):
        shift = turn % len(builds)
        for build in [*builds[shift:], *builds[:shift]]:
            tick(f"round {turn + 1}: {build.name}, {WIDTH}x{HEIGHT}")
            runs[build.name].append(run(build, folder, model, steps))
    return report(runs)


def run(build: Build, folder: Path | None, model: str, steps: int) -> Run:
    """One picture in a process of the build's own. Raises CalledProcessError where that fails."""
    arguments = [str(build.models(folder)), model, str(HEIGHT), str(WIDTH), str(steps)]
    command = [str(build.python), "-m", "benchmarks.growth", *arguments]
    done: Run = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=build.folder).stdout)
    return done


def report(runs: dict[str, list[Run]]) -> dict[str, Any]:
    """Medians by build, and this build's over those of the other one, round by round."""
    medians = {name: {key: statistics.median(one[key] for one in of) for key in MEASURES} for name, of in runs.items()}
    computed = {name: of[0]["network"] / of[0]["steps"] / of[0]["megapixels"] for name, of in runs.items()}
    first, *others = runs
    ratios = {other: {key: ratio(runs[first], runs[other], key) for key in MEASURES} for other in others}
    return {"runs": runs, "medians": medians, "computed_over_needed": computed, "over": ratios}


MEASURES = ("seconds", "cpu_seconds", "peak_mib")


def ratio(ours: Sequence[Run], theirs: Sequence[Run], key: str) -> float:
    """The median of the rounds' ratios: bursts of one round ran one soon after the other."""
    return statistics.median(one[key] / other[key] for one, other in zip(ours, theirs, strict=True))
