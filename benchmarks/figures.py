"""The figures that a report is read for, and its plots."""

import json
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Report = dict[str, Any]
SIZE = (8, 4.5)


def headline(name: str, report: Report) -> Report:
    """The ratios, without what they were made of."""
    if name in {"memory", "cost"}:
        return {f"{run['width']}x{run['height']}, {run['steps']} steps": growth_of(run) for run in report["runs"]}
    left_out = {"contenders", "runs", "cpu_seconds", "seconds", "large_seconds"}
    kept = {key: value for key, value in report.items() if key not in left_out and not str(key).endswith("_by_start")}
    return {key: headline(name, value) if isinstance(value, dict) else value for key, value in kept.items()}


def growth_of(run: Report) -> Report:
    """What one picture cost."""
    return {
        "peak_mib": round(run["peak_mib"]),
        "cpu_s_per_megapixel_step": round(run["cpu_seconds"] / run["network"], 4),
        "seconds": round(run["seconds"], 2),
    }


def draw(folder: Path) -> None:
    """A plot for each report in the folder that has one."""
    from matplotlib.figure import Figure  # noqa: PLC0415  takes a second to import

    for name, plot in PLOTS.items():
        file = folder / f"{name}.json"
        if file.is_file():
            figure = Figure(figsize=SIZE, layout="constrained")
            plot(figure.subplots(), json.loads(file.read_text(encoding="utf-8")))
            figure.savefig(folder / f"{name}.png", dpi=110)


def _ratios(key: str, label: str) -> Callable[["Axes", Report], None]:
    def plot(axes: "Axes", report: Report) -> None:
        names = [name.replace(", ", ",\n") for name in report[key]]
        bars = axes.bar(names, list(report[key].values()), color=["#888", "#2a6fdb", *["#c9b28f"] * len(names)][: len(names)])
        axes.bar_label(bars, fmt="%.3f", label_type="center", color="white", weight="bold")
        for place, between in enumerate(report.get(f"{key}_interval", {}).values()):
            if between is not None:
                axes.vlines(place, *between, color="black", linewidth=2)
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_ylabel(label)

    return plot


def _sizes(axes: "Axes", report: Report) -> None:
    kinds = {"alone": report["alone"], "beside a 4K picture": report["beside_4k"]}
    for offset, measure in ((-0.2, "median_ms"), (0.2, "p95_ms")):
        bars = axes.bar(
            [k + offset for k in range(2)], [kind[measure] for kind in kinds.values()], 0.4, label=measure.replace("_ms", "")
        )
        axes.bar_label(bars, fmt="%.0f")
    axes.set_xticks(range(2), list(kinds))
    axes.set_ylabel("ms for a 256x256 picture")
    axes.legend()


def _load(axes: "Axes", report: Report) -> None:
    for name, runs in report["runs"].items():
        times = Counter(run["share"] for run in runs)
        every = max(times.values())  # starts; at some shares a server is not asked any more, as it broke too often
        shares = sorted(share for share in times if times[share] == every)
        p95 = [statistics.median(run["p95_ms"] for run in runs if run["share"] == share) for share in shares]
        axes.plot(shares, p95, marker="o", label=name)
    axes.axvline(1, color="#888", linestyle="--", label="the bare loop's throughput")
    axes.set_xlabel("pictures offered a second, arriving evenly, over the bare loop's throughput")
    axes.set_ylabel("p95 in ms")
    axes.set_yscale("log")
    axes.legend()


def _memory(axes: "Axes", report: Report) -> None:
    runs = report["runs"]
    axes.plot([run["megapixels"] for run in runs], [run["peak_mib"] for run in runs], marker="o", label="peak")
    axes.plot([run["megapixels"] for run in runs], [run["base_mib"] for run in runs], marker="o", label="before, with the input")
    axes.set_xlabel("megapixels")
    axes.set_ylabel("MiB resident")
    axes.set_ylim(bottom=0)
    axes.legend()


def _cost(axes: "Axes", report: Report) -> None:
    for steps in sorted({run["steps"] for run in report["runs"]}):
        runs = sorted((run for run in report["runs"] if run["steps"] == steps), key=lambda run: run["megapixels"])
        axes.plot(
            [r["megapixels"] for r in runs], [r["cpu_seconds"] / r["network"] for r in runs], marker="o", label=f"{steps} steps"
        )
    axes.set_xscale("log")
    axes.set_xlabel("megapixels")
    axes.set_ylabel("CPU seconds per megapixel-step")
    axes.set_ylim(bottom=0)
    axes.legend()


PLOTS: dict[str, Callable[["Axes", Report], None]] = {
    "one-caller": _ratios("wall_over_bare", "seconds, over the bare loop's"),
    "many-callers": _ratios("throughput_over_bare", "pictures a second, over the bare loop's"),
    "mixed-steps": _ratios("throughput_over_bare", "pictures a second, over the bare loop's"),
    "mixed-sizes": _sizes,
    "offered-load": _load,
    "memory": _memory,
    "cost": _cost,
    "generation": _ratios("cpu_over_bare", "CPU seconds, over the bare loop's"),
}
