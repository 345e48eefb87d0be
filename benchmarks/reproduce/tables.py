"""The results, as Markdown tables and as Figure 4."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from benchmarks.reproduce.figure4 import Difference, Point
from benchmarks.reproduce.table1 import Result

COLUMNS = (("psnr", 2), ("ssim", 3), ("psnr_mean_matched", 2), ("frechet", 2))
BASE, RIVALS = "SM-Res", ("SM-Res", "SM-N", "SM-Res-N")
REPORTED_BEST = (("rain", "SM-Res-N"), ("generation", "SM-N"))  # by the report's Table 1


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [" | ".join(row) for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(f"| {line} |" for line in lines)


def by_seed(results: Sequence[Result], task: str, way: str, figure: str) -> list[float]:
    """The figure's mean over pictures, one for each seed."""
    of_way = [r for r in results if (r.task, r.way) == (task, way) and figure in r.figures]
    return [float(np.mean([r.figures[figure] for r in of_way if r.seed == seed])) for seed in sorted({r.seed for r in of_way})]


def half_width(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean of independent values (Student's t); 0 for a single one."""
    if len(values) < 2:
        return 0.0
    return float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / len(values) ** 0.5)


def interval(values: Sequence[float], places: int) -> str:
    """The mean over seeds, and half the width of its interval where there are several; nothing for none."""
    if not values:
        return ""
    around = f" ± {half_width(values):.{places}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{places}f}{around}"


def table1_text(results: Sequence[Result]) -> str:
    """Every way on every task: means over pictures and seeds, and the 95 % interval over seeds."""
    known = list(dict.fromkeys((r.task, r.way, r.steps) for r in results))
    rows = [
        [task, way, str(steps or ""), *(interval(by_seed(results, task, way, figure), places) for figure, places in COLUMNS)]
        for task, way, steps in known
    ]
    return markdown(["task", "method", "steps", "PSNR dB", "SSIM", "PSNR dB, mean matched", "Frechet, autoencoder-32"], rows)


def gains(results: Sequence[Result], task: str, way: str, figure: str) -> list[float]:
    """What the way gains over SM-Res, one number for each picture and seed."""
    base = {(r.seed, r.picture): r.figures[figure] for r in results if (r.task, r.way) == (task, BASE)}
    return [r.figures[figure] - base[r.seed, r.picture] for r in results if (r.task, r.way) == (task, way)]


def seed_gains(results: Sequence[Result], task: str, way: str, figure: str) -> list[float]:
    """The way's mean less SM-Res's, one number for each seed."""
    return [a - b for a, b in zip(by_seed(results, task, way, figure), by_seed(results, task, BASE, figure), strict=True)]


def gains_text(results: Sequence[Result]) -> str:
    """Each way less SM-Res: in restoration of PSNR (higher is better), in generation of the Frechet distance (lower is)."""
    rows = []
    for task in dict.fromkeys(r.task for r in results):
        figure, title, sign = ("psnr", "PSNR, dB", 1) if task != "generation" else ("frechet", "Frechet distance", -1)
        ways = dict.fromkeys(r.way for r in results if r.task == task)
        for way in [way for way in ways if way != BASE and not way.startswith(("input", "training"))]:
            differences = gains(results, task, way, figure)
            over = interval(seed_gains(results, task, way, figure), 2)
            better = f"{sum(sign * gain > 0 for gain in differences)} of {len(differences)}"
            rows.append([task, way, title, over, f"{min(differences):+.2f}..{max(differences):+.2f}", better])
    return markdown(["task", "method", "figure", "less SM-Res", "range", "better"], rows) if rows else ""


def question(results: Sequence[Result], task: str, way: str) -> str:
    """What the report says of the way, and its lead over each other one with the interval over seeds; empty where not measured.

    Yes where it leads both by more than the intervals, no where one leads it so, else open.
    """
    figure, sign = ("frechet", -1) if task == "generation" else ("psnr", 1)
    own, leads = by_seed(results, task, way, figure), {}
    for rival in [rival for rival in RIVALS if rival != way]:
        theirs = by_seed(results, task, rival, figure)
        leads[rival] = [sign * (a - b) for a, b in zip(own, theirs, strict=True)]
    if len(own) < 2:
        return ""
    decided = [np.mean(lead) / max(half_width(lead), 1e-9) for lead in leads.values()]
    verdict = "yes" if min(decided) > 1 else "no" if min(decided) < -1 else "open"
    unit = "dB" if figure == "psnr" else "of Frechet distance"
    over = ", ".join(f"{interval(lead, 2)} {unit} over {rival}" for rival, lead in leads.items())
    return (
        f"* **Is {way} best in {task}, as the report has it? {verdict.capitalize()} at this size:** {over}, over {len(own)} seeds."
    )


def questions_text(results: Sequence[Result]) -> str:
    """What the report holds to be best, and whether it is at this size."""
    return "\n".join(filter(None, (question(results, task, way) for task, way in REPORTED_BEST)))


def points_text(points: Sequence[Point]) -> str:
    """Frechet distances over steps."""
    rows = [[str(p.steps), f"{p.ddim:.3f}", f"{p.recomposed:.3f}", f"{p.subtracting:.3f}"] for p in points]
    return markdown(["steps", "DDIM", "RDDM, recomposed", "RDDM, subtracting"], rows)


def differences_text(table: Sequence[Difference]) -> str:
    """Steps down, cases across."""
    cases = sorted({(d.clip, d.eta, d.update) for d in table})
    names = [f"{'clip' if clip else 'no clip'}, eta {eta:g}, {update}" for clip, eta, update in cases]
    rows = []
    for steps in sorted({d.steps for d in table}):
        of = {(d.clip, d.eta, d.update): d.largest for d in table if d.steps == steps}
        rows.append([str(steps), *(f"{of[case]:.1e}" for case in cases)])
    return markdown(["steps", *names], rows)


def plot(points: Sequence[Point], path: Path) -> None:
    """Figure 4: Frechet distance over steps."""
    from matplotlib.figure import Figure  # noqa: PLC0415  takes a second to import

    sheet = Figure(figsize=(5.5, 3.4), layout="constrained")
    axes = sheet.subplots()
    steps = [p.steps for p in points]
    axes.plot(steps, [p.ddim for p in points], "o-", label="DDIM")
    axes.plot(steps, [p.recomposed for p in points], "x--", label="RDDM, recomposed")
    axes.plot(steps, [p.subtracting for p in points], "s:", label="RDDM, subtracting")
    axes.set(xlabel="steps", ylabel="Frechet distance (autoencoder-32)", xscale="log", title="DDIM and the RDDM it converts to")
    axes.legend()
    sheet.savefig(path, dpi=100)
