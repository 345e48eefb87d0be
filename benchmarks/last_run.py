"""The table of the last run in benchmarks/README.md, made of the reports in benchmarks/results.

python -m benchmarks.last_run           # prints the table
python -m benchmarks.last_run --write   # writes it into benchmarks/README.md
"""

import argparse
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

FOLDER = Path(__file__).resolve().parent
README, RESULTS = FOLDER / "README.md", FOLDER / "results"
BEGIN, END = "<!-- the last run: python -m benchmarks.last_run --write -->\n", "<!-- end of the last run -->"
HEAD = "| what | result | load | day |\n|---|---|---|---|\n"
UNKNOWN = "-"
EARLIER_NAMES = {"gateway at old": "e52b7ca", "bare": "the sessions bare"}

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A line of the table. report: a file's name in results/, without its suffix. result: its figures in words."""

    what: str
    report: str
    result: Callable[[Report], str]


def figures(values: Mapping[str, float]) -> str:
    """Every contender beside the bare loop, with its ratio."""
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items() if name != "bare loop")


def ratios(key: str) -> Callable[[Report], str]:
    """The ratios under a key, and where the gateway's mean lies with 95 % certainty if several starts tell."""

    def result(report: Report) -> str:
        between = (report.get(f"{key}_interval") or {}).get("gateway")
        return figures(report[key]) + (f" (gateway {between[0]:.2f} to {between[1]:.2f})" if between else "")

    return result


def growth(key: Callable[[Report], float], unit: str, form: str = ".0f") -> Callable[[Report], str]:
    """One figure of every run, by the width of its picture and its steps."""

    def result(report: Report) -> str:
        runs = report["runs"]
        return "; ".join(f"{run['width']}x{run['height']} x {run['steps']}: {key(run):{form}}" for run in runs) + f" {unit}"

    return result


def engines(report: Report) -> str:
    """Of every model, the other engines' time over ONNX Runtime's."""
    return "; ".join(
        f"{model}: " + ", ".join(f"{engine} {one['ratio']:.2f}" for engine, one in engines.items() if engine != "onnxruntime")
        for model, engines in report["models"].items()
    )


def sizes(report: Report) -> str:
    """Of every model, this build's time a megapixel over the earlier build's at each size."""
    return "; ".join(
        f"{model}: "
        + ", ".join(
            f"{one['now']['milliseconds_a_megapixel'] / one['before']['milliseconds_a_megapixel']:.2f} at {size} MP"
            for size, one in by_size.items()
        )
        for model, by_size in report["models"].items()
    )


def cold(report: Report) -> str:
    """What this build takes, and how many times as much the others take in the same rounds."""
    first, *others = ((name, one) for name, one in report.items() if isinstance(one, Mapping) and "cpu_over_first" in one)
    shares = ", ".join(f"{EARLIER_NAMES.get(name, name)} {one['cpu_over_first']:.2f} times that CPU" for name, one in others)
    return f"{first[1]['cpu_seconds']:.2f} CPU s, {first[1]['wall_seconds']:.2f} s; {shares}"


def cold_starts(report: Report) -> str:
    """The same with what an earlier process learnt, and without."""
    return "; ".join(f"{state}: {cold(report[state])}" for state in ("cache present", "cache absent"))


def large_pictures(report: Report) -> str:
    """Seconds of 3840x2160 and the process's most memory, over the earlier build's; computed over needed pixels."""
    medians, over = report["medians"]["gateway"], next(iter(report["over"].values()))
    return (
        f"{medians['seconds']:.1f} s: {over['seconds']:.2f}, CPU {over['cpu_seconds']:.2f}; "
        f"{medians['peak_mib']:.0f} MiB: {over['peak_mib']:.2f}; computed {report['computed_over_needed']['gateway']:.2f}"
    )


def one_call(report: Report) -> str:
    """Its time over the earlier build's, and how far the answers are apart."""
    ratio, side = report["now_over_before"], report["side"]
    return (
        f"{report['model']}, {side}x{side}: {ratio['wall']:.2f}, CPU {ratio['cpu']:.2f}; "
        f"answers at most {report['largest_difference']:.0e} apart"
    )


def shares(report: Report) -> str:
    """The share of the machine's rate of matrix products that a call's arithmetic reaches, smallest and largest by size."""
    reached = {
        model: [one["now"]["share_of_matrix_rate"] for one in by_size.values()] for model, by_size in report["models"].items()
    }
    return "; ".join(f"{model} {min(of):.2f} to {max(of):.2f}" for model, of in reached.items())


def seams(report: Report) -> str:
    """Tiled against whole, by picture."""
    return "; ".join(f"{one['picture']}: {one['border']:.4f}, {one['psnr']:.1f} dB" for one in report["seams"])


def at_borders(key: str) -> Callable[[Report], str]:
    """A figure of tiled minus whole, with the earlier tiles and with today's."""

    def result(report: Report) -> str:
        return "; ".join(
            f"{model}, {before['picture'].partition('_')[0]}: {before[key]:.3f} -> {now[key]:.3f}"
            for model, builds in report["models"].items()
            for before, now in zip(builds["before"], builds["now"], strict=True)
        )

    return result


def promises(report: Report) -> str:
    """How many answers differ, and what cancelled requests leave."""
    mixes, cancelled = report["mixes"], report["cancellations"]
    left = sum(cancelled[name] for name in ("pending", "waiting", "running", "tasks"))
    return (
        f"{mixes['mixes']} mixes, {mixes['pictures']} pictures: {mixes['different']} differ; "
        f"{cancelled['cancelled']} cancelled: {left:g} left in work"
    )


def endurance(report: Report) -> str:
    """Requests, broken promises and memory."""
    return (
        f"{report['requests']} requests, {report['servers_killed']} kills; broken promises: "
        f"{'; '.join(report['broken_promises']) or 'none'}; memory {report['memory_growth_percent']:+.1f} %"
    )


def listed(report: Report) -> str:
    """The most memory of a run that finds everything done, by the number of keys."""
    return "; ".join(f"{count} keys: {report[count]:.0f} MB" for count in ("1000", "100000"))


def equal_bytes(report: Report) -> str:
    """The answers that differ from the earlier build's."""
    other = {name: one["files"] for name, one in report.items() if isinstance(one, Mapping) and "files" in one}
    differ = [f"{name} by up to {one['levels']} of 255" for name, one in other.items() if not one["equal"]]
    return f"{len(other) - len(differ)} of {len(other)} equal; {', '.join(differ)}"


def exported(report: Report) -> str:
    """The CPU seconds of both checkouts."""
    return " -> ".join(f"{run['cpu_seconds']:.1f}" for run in report["runs"])


def batch(report: Report) -> str:
    """Pictures a second of `rddm batch` over the loop's, by their medians."""
    return f"{median(report['seconds']['bare']) / median(report['seconds']['batch']):.2f}"


def killed(report: Report) -> str:
    """What several kills lost or did twice."""
    lost = report["pictures"] - report["final_records"]
    return (
        f"{report['pictures']} pictures, {report['kills']} kills: {lost} lost, {report['recorded_more_than_once']} recorded twice"
    )


ROWS = (
    Row("one caller, seconds over the bare loop's", "one-caller", ratios("wall_over_bare")),
    Row("one caller, CPU seconds over the bare loop's", "one-caller", ratios("cpu_over_bare")),
    Row("16 callers, pictures a second over the bare loop's", "many-callers", ratios("throughput_over_bare")),
    Row("16 callers, CPU seconds over the bare loop's", "many-callers", ratios("cpu_over_bare")),
    Row("16 callers, 2 and 5 steps in turn, the same", "mixed-steps", ratios("throughput_over_bare")),
    Row("share of the bare loop's throughput until the p95 breaks", "offered-load", lambda report: figures(report["share_held"])),
    Row("p95 of small pictures beside a 4K one, over alone", "mixed-sizes", lambda report: f"{report['p95_over_alone']:.2f}"),
    Row("equal bytes in company, cancelled requests", "promises", promises),
    Row("generation, CPU seconds over the bare loop's", "generation", lambda report: figures(report["cpu_over_bare"])),
    Row("most memory of a process, by size and steps", "memory", growth(lambda run: run["peak_mib"], "MiB")),
    Row("CPU a megapixel-step, by size and steps", "cost", growth(lambda run: run["cpu_seconds"] / run["network"], "s", ".2f")),
    Row("`lowlight` in tiles over whole: gradient at borders, PSNR", "seams", seams),
    Row("step at tile borders in levels, tiles of e52b7ca -> now", "seams-tiles", at_borders("step")),
    Row("the largest step of any row or column in levels, the same", "seams-tiles", at_borders("worst")),
    Row("the step at tile borders over that 32 pixels around, the same", "seams-tiles", at_borders("beside")),
    Row("`rddm serve` until /readyz, four models", "cold-start", cold_starts),
    Row("the same and an imported U-Net of dim 64", "cold-start-unet64", cold_starts),
    Row("`rddm restore` of 600x400, lowlight", "cold-command", cold),
    Row("3840x2160 by lowlight, over e52b7ca's", "large-picture-lowlight", large_pictures),
    Row("3840x2160 by derain, over e52b7ca's", "large-picture-derain", large_pictures),
    Row("one call, over e52b7ca's", "one-call", one_call),
    Row("share of the matrix rate of one call, by size", "sizes", shares),
    Row("CPU a megapixel by size, over e52b7ca's", "sizes", sizes),
    Row("answers equal to e52b7ca's", "bytes", equal_bytes),
    Row("one call, over ONNX Runtime's time", "engines", engines),
    Row("a network of one pass, served over bare, CPU", "one-pass", lambda report: f"{report['ratio']:.2f}"),
    Row("`rddm export` of the authors' U-Net, CPU seconds, e52b7ca -> now", "exporting", exported),
    Row("a killed batch of pictures, folder", "batch-kills", killed),
    Row("a killed batch of pictures, S3", "batch-kills-s3", killed),
    Row("`rddm batch` over a bare loop, pictures a second", "batch-speed", batch),
    Row("a batch that finds everything done", "batch-listing", listed),
    Row("two Ray nodes over one, a network that sleeps", "batch-cluster", lambda report: f"{2 * report['efficiency_whole']:.2f}"),
    Row("every format into every format", "round-trips", lambda report: f"{report['combinations']}, {report['failed']} failed"),
    Row("damaged files", "fuzz-files", lambda report: f"{report['files']} files, {len(report['failures'])} failures"),
    Row("endurance, embedded engine", "endurance", endurance),
    Row("endurance, Triton", "endurance-triton", endurance),
    Row("endurance, two Tritons", "endurance-triton-2", endurance),
)


def day(report: Report) -> str:
    """When it was measured."""
    facts = report.get("machine", {})
    return str(facts.get("at") or facts.get("day") or report.get("measured_at") or report.get("when") or UNKNOWN)[:10]


def load(report: Report) -> str:
    """The load of the minute in which the measurement ended; of several, the smallest and the largest."""
    known = report.get("machine", {}).get("load", report.get("load", report.get("load_average")))
    if isinstance(known, Mapping):
        return f"{min(known.values()):.0f} to {max(known.values()):.0f}"
    first = known[0] if isinstance(known, list) else known
    return UNKNOWN if first is None else f"{first:.0f}"


def line(row: Row) -> str:
    """The row in Markdown."""
    report = json.loads((RESULTS / f"{row.report}.json").read_text("utf-8"))
    name = f"[{row.what}](results/{row.report}.json)"
    return f"| {name} | {row.result(report)} | {load(report)} | {day(report)} |\n"


def table() -> str:
    """The rows whose reports are there and hold what they show."""
    lines = []
    for row in ROWS:
        with contextlib.suppress(FileNotFoundError, KeyError):  # a figure that older reports lack
            lines.append(line(row))
    return HEAD + "".join(lines)


def written(text: str) -> str:
    """The text with the table between its marks. Raises ValueError where a mark is missing."""
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{README} has no lines {BEGIN.strip()!r} and {END!r}")
    return f"{before}{BEGIN}{table()}{END}{after}"


def main() -> None:
    """Prints the table, or writes it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.last_run", description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="into benchmarks/README.md")
    if parser.parse_args().write:
        README.write_text(written(README.read_text("utf-8")), "utf-8")
    else:
        print(table(), end="")


if __name__ == "__main__":
    main()
