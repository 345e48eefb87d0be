"""One trunk for several methods: what they share, that each learns, and that an interrupted run ends as a whole one."""

from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmarks.reproduce.guess import Moments
from benchmarks.reproduce.relatives import Pool
from benchmarks.reproduce.trunk import School, Schooling, networks_of, schooled
from rddm.relatives import relative_spec
from training.synthesis.draws import Pairs

SPECS = {name: relative_spec(name, name=name, task="rain", licence="c") for name in ("rddm", "indi", "drdd")}
SIZE = Schooling(steps=4, batch=2, widths=(8, 8), seed=1)


@pytest.fixture
def pool() -> Pool:
    generator = torch.Generator().manual_seed(2)
    target = torch.rand(8, 3, 16, 16, generator=generator) * 2 - 1
    return Pool(Pairs(target, (target + 0.5).clamp(-1, 1)))


def test_methods_share_the_trunk_and_nothing_else() -> None:
    networks = networks_of(SPECS, (8, 8))
    ours, theirs = ({id(weight) for weight in networks[name].parameters()} for name in ("rddm", "indi"))
    trunk = {id(weight) for part in ("down", "up", "encode", "decode") for weight in getattr(networks["rddm"], part).parameters()}
    assert ours & theirs == trunk
    assert [networks[name].exit.out_channels for name in SPECS] == [12, 12, 24]
    assert networks["indi"].door.in_channels < networks["rddm"].door.in_channels


def test_every_step_trains_the_method_whose_turn_it_is(pool: Pool) -> None:
    school = School(SPECS, Moments.of(pool.pairs), SIZE)
    before = {name: network.exit.bias.detach().clone() for name, network in school.networks.items()}
    school.step(pool)
    moved = [name for name, network in school.networks.items() if (network.exit.bias != before[name]).any()]
    assert moved == ["rddm"]
    for _ in range(len(SPECS) - 1):
        school.step(pool)
    assert all((network.exit.bias != before[name]).any() for name, network in school.networks.items())


def test_an_interrupted_run_ends_as_the_uninterrupted_one(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet, moments = Console(quiet=True), Moments.of(pool.pairs)
    monkeypatch.setattr("benchmarks.reproduce.trunk.SAVE_EVERY", 5)
    whole = schooled(SPECS, pool, moments, SIZE, tmp_path / "whole", quiet)
    step = School.step

    def stopped(self: School, source: Pool) -> float:
        if self.done == 7:
            raise KeyboardInterrupt
        return step(self, source)

    monkeypatch.setattr(School, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        schooled(SPECS, pool, moments, SIZE, tmp_path / "cut", quiet)
    monkeypatch.setattr(School, "step", step)
    again = schooled(SPECS, pool, moments, SIZE, tmp_path / "cut", quiet)
    for name in SPECS:
        for ours, theirs in zip(whole[name].parameters(), again[name].parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_a_folder_of_another_run_is_refused(pool: Pool, tmp_path: Path) -> None:
    moments = Moments.of(pool.pairs)
    schooled(SPECS, pool, moments, SIZE, tmp_path, Console(quiet=True))
    with pytest.raises(ValueError, match="holds a run of other methods or another size"):
        schooled(dict(list(SPECS.items())[:2]), pool, moments, SIZE, tmp_path, Console(quiet=True))
