"""Images a second and milliseconds a step at batch 1 to 64, for the networks that ship and the authors' U-Net, beside the floor.

    python -m benchmarks.gpu [--device cuda] [--side 256] [--batches 1,2,4,8,16,32,64] [--json FILE]

It needs torch and this repository, nothing else: the networks are built from the recipes, checked (a graph's replay against the
plain call, bf16 against fp32) and timed. The floor is what the convolutions and products cost at the rate that this device was
measured to multiply matrices with in the same precision. Timings do not depend on the weights, which are drawn.
"""

import argparse
import contextlib
import json
import statistics
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from training.networks import SmallConfig, UNetConfig, make_network

RECIPES = Path(__file__).resolve().parent.parent / "training" / "recipes"
AUTHORS = "authors' U-Net"
AUTHORS_STEPS = 5
Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
REPLAY_TOLERANCE, LOW_TOLERANCE = 1e-5, 0.3  # max|a - b| / (1 + max|b|)
LEAST_SECONDS = 0.3

Call = Callable[[], tuple[Tensor, ...]]


class CheckFailed(RuntimeError):
    """What was about to be timed answers wrongly."""


@dataclass(frozen=True)
class Case:
    """A network and how many steps its pictures take."""

    name: str
    network: SmallConfig | UNetConfig
    steps: int


@dataclass(frozen=True)
class Timing:
    """One line of the report. floor: milliseconds that the products alone would take at the measured rate."""

    network: str
    precision: Precision
    batch: int
    milliseconds: float
    images_per_second: float
    floor: float
    deviation: float


def cases(recipes: Path = RECIPES) -> list[Case]:
    """Every recipe's network, and the authors' U-Net of 36 M parameters."""
    cases = []
    for path in sorted(recipes.glob("*.toml")):
        run = tomllib.loads(path.read_text(encoding="utf-8"))
        cases.append(Case(path.stem, SmallConfig.model_validate(run["network"]), run["spec"]["default_steps"]))
    return [*cases, Case(AUTHORS, UNetConfig(), AUTHORS_STEPS)]


def inputs_of(case: Case, batch: int, side: int, device: torch.device) -> tuple[Tensor, Tensor | None, Tensor]:
    """x_t, condition and time, drawn."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, 3 + 3 * len(case.network.condition), side, side, generator=generator) * 2 - 1
    x = x.to(device, memory_format=torch.channels_last)
    condition = x[:, 3:] if case.network.condition else None
    return x[:, :3], condition, torch.full((batch, 2), 500.0, device=device)


@contextlib.contextmanager
def computing_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """fp32 is float32 throughout, without TF32; bf16 is torch's autocast."""
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
        yield


def replayed(call: Call) -> Call:
    """The call as a CUDA graph: what launching hundreds of kernels costs does not hide what they cost."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = call()

    def replay() -> tuple[Tensor, ...]:
        graph.replay()
        return outputs

    return replay


def wait(device: torch.device) -> None:
    """Until the device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(call: Callable[[], object], device: torch.device, least: float = LEAST_SECONDS) -> float:
    """Seconds of one call: the median of five rounds of at least `least` / 5 seconds."""
    call()
    wait(device)
    start = time.perf_counter()
    call()
    wait(device)
    count = max(1, int(least / 5 / max(time.perf_counter() - start, 1e-6)))
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(count):
            call()
        wait(device)
        rounds.append((time.perf_counter() - start) / count)
    return statistics.median(rounds)


def matrix_rate(precision: Precision, device: torch.device, least: float = LEAST_SECONDS) -> float:
    """FLOP per second of a large product, a multiply-add being two."""
    side = 8192 if device.type == "cuda" else 512
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    return 2 * side**3 / seconds_of(lambda: a @ b, device, least)


def flops_of(network: nn.Module, given: tuple[Tensor, Tensor | None, Tensor]) -> int:
    """Of one call, a multiply-add being two."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(*given)
    return int(counter.get_total_flops())


def deviation(outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """max|a - b| / (1 + max|b|) over the outputs; not a number where one is not finite."""
    pairs = zip(outputs, expected, strict=True)
    return max(float(((a.float() - b.float()).abs().max() / (1 + b.float().abs().max())).cpu()) for a, b in pairs)


def drawn(case: Case, device: torch.device) -> nn.Module:
    """The network with weights of which none is zero, as a trained one has them."""
    torch.manual_seed(0)
    network = make_network(case.network).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if not weight.any():
                weight.normal_(std=0.02)
    return network.to(device, memory_format=torch.channels_last)


def time_case(
    case: Case, batches: Sequence[int], side: int, device: torch.device, rates: dict[Precision, float], least: float
) -> Iterator[Timing]:
    """Every batch in every precision. Raises CheckFailed; a batch that does not fit on the device ends the network's column."""
    network = drawn(case, device)
    for batch in batches:
        given = inputs_of(case, batch, side, device)
        try:
            with computing_in("fp32", device):
                expected = [output.clone() for output in network(*given)]
            flops = flops_of(network, given)
            for precision in PRECISIONS:
                with computing_in(precision, device):
                    call, away = checked(network, given, expected, precision, device)
                    seconds = seconds_of(call, device, least)
                rate = batch / seconds / case.steps
                yield Timing(case.name, precision, batch, seconds * 1000, rate, flops / rates[precision] * 1000, away)
        except torch.OutOfMemoryError:
            print(f"{case.name}: a batch of {batch} does not fit", file=sys.stderr)
            return


def checked(
    network: nn.Module,
    given: tuple[Tensor, Tensor | None, Tensor],
    expected: Sequence[Tensor],
    precision: Precision,
    device: torch.device,
) -> tuple[Call, float]:
    """The call that is timed, and how far its answer is from float32's. Raises CheckFailed."""
    plain: Call = lambda: network(*given)  # noqa: E731  a name for what is captured
    call = replayed(plain) if device.type == "cuda" else plain
    outputs = [output.clone() for output in call()]
    again = deviation(outputs, plain())
    if not again <= REPLAY_TOLERANCE:
        raise CheckFailed(f"in {precision} a replayed graph is {again:.2g} away from the plain call; at most {REPLAY_TOLERANCE}")
    away = deviation(outputs, expected)
    allowed = LOW_TOLERANCE if precision == "bf16" else REPLAY_TOLERANCE
    if not away <= allowed:
        raise CheckFailed(f"{precision} is {away:.2g} away from float32; at most {allowed}")
    return call, away


def show(timings: Sequence[Timing], rates: dict[Precision, float], name: str, side: int) -> None:
    """A table for people."""
    products = ", ".join(f"{precision} {rate / 1e12:.1f} TFLOP/s" for precision, rate in rates.items())
    table = Table(title=f"{name}, {side} x {side}; products: {products}")
    for column in ("network", "precision", "batch", "ms per step", "images/s", "floor ms", "of the floor", "deviation"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for one in timings:
        table.add_row(
            *(one.network, one.precision, str(one.batch), f"{one.milliseconds:.3f}", f"{one.images_per_second:.1f}"),
            *(f"{one.floor:.3f}", f"{one.floor / one.milliseconds:.0%}", f"{one.deviation:.1e}"),
        )
    Console().print(table)


def arguments() -> argparse.ArgumentParser:
    """What can be said."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batches", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--networks", type=lambda text: text.split(","), help="names, of all by default")
    parser.add_argument("--seconds", type=float, default=LEAST_SECONDS, help="at least so long for each timing (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Check and time; returns 1 where a check fails, 2 for an unknown network."""
    given = arguments().parse_args(argv)
    device = torch.device(given.device)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    known = {case.name: case for case in cases()}
    if unknown := [name for name in given.networks or [] if name not in known]:
        print(f"unknown network {unknown[0]!r}; expected some of {list(known)}", file=sys.stderr)
        return 2
    wanted = [case for name, case in known.items() if given.networks is None or name in given.networks]
    rates = {precision: matrix_rate(precision, device, given.seconds) for precision in PRECISIONS}
    timings: list[Timing] = []
    try:
        for case in track(wanted, "timing", transient=True, console=Console(stderr=True)):
            timings += time_case(case, given.batches, given.side, device, rates, given.seconds)
    except CheckFailed as error:
        print(f"{case.name}: {error}", file=sys.stderr)
        return 1
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    show(timings, rates, name, given.side)
    if given.json:
        facts = {"device": name, "torch": torch.__version__, "side": given.side, "flop_per_second": rates}
        given.json.write_text(json.dumps({**facts, "timings": [asdict(one) for one in timings]}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
