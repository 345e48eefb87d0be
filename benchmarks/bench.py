"""`rddm bench`: starts what it compares, asks in turns, prints ratios, writes JSON and plots."""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import figures, growth, promises, seams
from benchmarks.builds import Build, build_at, restricted, shared_models, this_build
from benchmarks.cold import cold_command, cold_start
from benchmarks.contenders import KEPT_PICTURES, started
from benchmarks.large_picture import large_picture
from benchmarks.machine import machine
from benchmarks.pictures import darkened, scene, to_png
from benchmarks.scenarios import CORES, SCENARIOS, Bench, Report
from rddm.spec import ModelSpec
from service.engines.repository import find_newest, names_in
from service.settings import shipped_repository

Tick = Callable[[str], None]
COLD = {"cold-start": cold_start, "cold-command": cold_command}
ALONE = (
    "seams",
    "promises",
    "memory",
    "cost",
    "generation",
    "large-picture",
    "cold-start",
    "cold-command",
)  # that start what they need


def main(argv: list[str]) -> int:
    """Compare the gateway with the bare loop and its peers."""
    options = arguments().parse_args(argv)
    wanted = options.scenarios or [*SCENARIOS, *ALONE]
    unknown = [name for name in wanted if name not in {*SCENARIOS, *ALONE}]
    if unknown:
        raise SystemExit(f"unknown scenario {unknown[0]!r}; expected some of {[*SCENARIOS, *ALONE]}")
    try:
        options.builds = builds_of(options)
    except ValueError as wrong:
        raise SystemExit(f"--against: {wrong}") from wrong
    options.output.mkdir(parents=True, exist_ok=True)
    spec = find_newest(options.model_repository or shipped_repository(), options.model).model.spec
    console = Console()
    with working(console) as tick:
        for name, report, last in reports(options, spec, wanted, tick):
            keep(options.output, name, report | {"machine": machine()})
            if last:
                console.print(f"[bold]{name}[/bold]")
                console.print_json(json.dumps(figures.headline(name, report)))
    figures.draw(options.output)
    return 0


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="rddm bench", description="Compares the gateway with the bare loop and with its peers, in turns."
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"some of {', '.join([*SCENARIOS, *ALONE])} (all)")
    parser.add_argument("--model-repository", type=Path, metavar="FOLDER", help="for all builds (each build's own)")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout, which joins every run that has a gateway")
    parser.add_argument("--against-python", type=Path, metavar="FILE", help="its interpreter (FOLDER/.venv/bin/python)")
    parser.add_argument("--model", default="lowlight", help="the restorer to measure with (lowlight)")
    parser.add_argument("--generator", help="the generator to measure with (the first one in the repository)")
    parser.add_argument("--starts", type=at_least_one, default=3, help="how often all contenders are started anew (3)")
    parser.add_argument("--rounds", type=at_least_one, default=5, help="how often each contender is asked in each start (5)")
    parser.add_argument("--own-seeds", action="store_true", help="a seed for each request instead of the default one for all")
    parser.add_argument("--no-peers", action="store_true", help="only the bare loop and the gateway")
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], metavar="FILE", help="more pictures to look for seams in")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results"), metavar="FOLDER")
    return parser


def builds_of(options: argparse.Namespace) -> list[Build]:
    """This build, and the one that it is compared with. Raises ValueError where that one cannot be run."""
    if options.against is None:
        if options.against_python is not None:
            raise ValueError("--against-python is the interpreter of --against FOLDER, which is not given")
        return [this_build()]
    return [this_build(), build_at(options.against, options.against_python)]


def at_least_one(text: str) -> int:
    """For argparse."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def reports(options: argparse.Namespace, spec: ModelSpec, wanted: Sequence[str], tick: Tick) -> Iterator[tuple[str, Report, bool]]:
    """Each scenario's, of all starts so far, so that nothing is lost if a later one fails; and whether that was the last."""
    served = [name for name in wanted if name in SCENARIOS]
    if served:
        results = {name: [] for name in served}
        with tempfile.TemporaryDirectory() as folder:
            bench = replace(prepared(Path(folder), spec, options.rounds, tick), own_seeds=options.own_seeds)
            for start in range(options.starts):
                tick(f"start {start + 1} of {options.starts}")
                for name, measured in one_start(options, replace(bench, start=start), served):
                    results[name].append(measured)
                    yield name, SCENARIOS[name].report(results[name]), start + 1 == options.starts
    for name in wanted:
        if name in ALONE:
            yield name, alone(name, options, tick), True


def one_start(options: argparse.Namespace, bench: Bench, scenarios: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """What each scenario yields with contenders that were started for it, and end with it."""
    with started(options.model_repository, options.model, options.builds, peers=not options.no_peers) as field:
        bench.tick("filling the gateway's caches")
        field.gateway.run(bench.load(KEPT_PICTURES, CORES))
        for name in scenarios:
            yield name, SCENARIOS[name].measure(field, bench)


def prepared(folder: Path, spec: ModelSpec, rounds: int, tick: Tick) -> Bench:
    """The pictures that are sent."""
    small, large = folder / "small.png", folder / "large.png"
    small.write_bytes(to_png(darkened(scene(256, 256, 1, 60), 4.0)))
    large.write_bytes(to_png(np.tile(darkened(scene(540, 640, 2, 100), 4.0), (4, 6, 1))))
    return Bench(small, large, spec.default_steps, spec.max_steps, rounds, tick)


def alone(name: str, options: argparse.Namespace, tick: Tick) -> Report:
    """A scenario without servers."""
    rounds = options.starts * options.rounds
    if name in {*COLD, "large-picture"}:
        return of_builds(name, options, rounds, tick)
    folder, model = options.model_repository or shipped_repository(), options.model
    if name == "seams":
        return {"seams": [asdict(seam) for seam in seams.run(folder, model, files=options.pictures)]}
    if name == "promises":
        mixes = asyncio.run(promises.alone_and_mixed(folder, model))
        return {"mixes": asdict(mixes), "cancellations": asdict(asyncio.run(promises.cancellations(folder, model)))}
    if name == "generation":
        from benchmarks.generation import compare_generation  # noqa: PLC0415 (torch and diffusers take long to import)

        return compare_generation(folder, options.generator, rounds, tick)
    sizes, steps = (growth.WIDTHS, (2,)) if name == "memory" else (growth.SIZES, (1, 2))
    rounds = 1 if name == "memory" else max(1, rounds // 5)
    return {"runs": [asdict(run) for each in steps for run in growth.apart(folder, model, sizes, each, rounds, tick)]}


def of_builds(name: str, options: argparse.Namespace, rounds: int, tick: Tick) -> Report:
    """A scenario that opens models in new processes: those that every build has, and for a picture its own alone."""
    folder, model = options.model_repository, options.model
    with tempfile.TemporaryDirectory() as scratch:
        names = names_in(folder) if folder is not None else shared_models(options.builds)
        if name == "large-picture":
            names = [model]
        builds = options.builds if folder is not None else restricted(options.builds, names, Path(scratch))
        if name == "large-picture":
            steps = find_newest(folder or shipped_repository(), model).model.spec.default_steps
            report = large_picture(builds, folder, model, steps, rounds, tick)
        else:
            report = COLD[name](builds, folder, rounds, tick)
    return report | {"models": names}


def keep(folder: Path, name: str, report: Report) -> None:
    """One JSON file a scenario."""
    (folder / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


@contextmanager
def working(console: Console) -> Iterator[Tick]:
    """A line that tells what is being measured."""
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
        line = progress.add_task("starting")
        yield lambda what: progress.update(line, description=what)
