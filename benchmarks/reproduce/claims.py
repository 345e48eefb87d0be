"""What the report and the papers claim of the relatives, each as one comparison that the rows decide or leave open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.reproduce.tables import half_width

At = tuple[str, int]  # a method at a number of network calls


@dataclass(frozen=True)
class Row:
    """One method on one damage and seed: means over the held-out pictures, and seconds for all of them."""

    damage: str
    method: str
    calls: int
    seed: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Claim:
    """What a paper says, and the comparison that stands for it: the figure of `first` less that of `second`, seed by seed."""

    text: str
    first: At
    second: At
    expected: Literal["higher", "lower", "equal", "not lower"]
    figure: str = "psnr"


CLAIMS = (
    Claim("RDDM, section 5: few steps suffice in restoration.", ("rddm", 5), ("rddm", 50), "not lower"),
    Claim("The report: InDI resembles SM-Res.", ("indi", 5), ("rddm", 5), "equal"),
    Claim("The report: I2SB resembles SM-Res.", ("i2sb", 5), ("rddm", 5), "equal"),
    Claim("InDI: one step has the best PSNR.", ("indi", 1), ("indi", 10), "higher"),
    Claim("InDI: more steps are nearer in perception.", ("indi", 10), ("indi", 1), "lower", "code"),
    Claim("I2SB: starting at the picture beats starting at noise, with few calls.", ("i2sb", 5), ("sr3", 5), "higher"),
    Claim("I2SB: its ODE does without the posterior's noise.", ("i2sb-ode", 10), ("i2sb", 10), "not lower"),
    Claim("ResShift: 15 steps or fewer do what conditional diffusion needs many for.", ("resshift", 10), ("sr3", 50), "higher"),
    Claim("Cold Diffusion: algorithm 2 is better than algorithm 1.", ("cold", 10), ("cold-naive", 10), "higher"),
    Claim("DiffUIR: three calls suffice.", ("diffuir", 2), ("diffuir", 50), "not lower"),
    Claim("Resfusion: five steps compete with RDDM.", ("resfusion", 5), ("rddm", 5), "not lower"),
    Claim("DRDD: removing the residual under fixed noise is better than both at once.", ("drdd", 10), ("rddm", 10), "higher"),
    Claim("SR3: conditional diffusion needs many calls.", ("sr3", 50), ("sr3", 5), "higher"),
    Claim("WeatherDiffusion: DDIM steps need fewer calls than DDPM's.", ("weatherdiffusion", 10), ("sr3", 10), "higher"),
    Claim("SDEdit, which sees no pairs, restores.", ("sdedit", 50), ("input", 0), "higher"),
)
UNITS = {"psnr": "dB PSNR", "code": "code distance"}


def values_of(rows: Sequence[Row], damage: str, method: str, calls: int, figure: str) -> list[float]:
    """One value a seed."""
    return [row.figures[figure] for row in rows if (row.damage, row.method, row.calls) == (damage, method, calls)]


def differences(claim: Claim, rows: Sequence[Row], damage: str) -> list[float]:
    """First less second, one value a seed; empty where either was not measured."""
    first, second = (values_of(rows, damage, *at, claim.figure) for at in (claim.first, claim.second))
    return [a - b for a, b in zip(first, second, strict=True)] if len(first) == len(second) else []


def verdict(claim: Claim, values: Sequence[float]) -> str:
    """`holds`, `does not hold`, or `open` where the interval of several seeds reaches over 0, or there is one seed alone.

    Of two that are to be equal nothing shows that they are: an interval over 0 is `no difference seen`, also where the first must
    only not be lower.
    """
    mean, half = float(np.mean(values)), half_width(values)
    if len(values) < 2:
        return "open"
    if abs(mean) <= half:
        return "no difference seen" if claim.expected in ("equal", "not lower") else "open"
    return "holds" if claim.expected in (("higher", "not lower") if mean > 0 else ("lower",)) else "does not hold"


def sentence(claim: Claim, rows: Sequence[Row], damages: Sequence[str]) -> str:
    """The claim, what was compared, and the difference on each damage; empty where nothing of it was measured."""
    parts = [
        f"{damage} {np.mean(values):+.2f} ± {half_width(values):.2f} ({verdict(claim, values)})"
        for damage in damages
        if (values := differences(claim, rows, damage))
    ]
    compared = f"{_words(claim.first)} less {_words(claim.second)}, {UNITS[claim.figure]}"
    return f"* **{claim.text}** {compared}: {'; '.join(parts)}." if parts else ""


def _words(at: At) -> str:
    method, calls = at
    return f"{method} at {calls} call{'s' * (calls > 1)}" if calls else f"the {method}"
