"""The GPU benchmark's way through, driven on the CPU with small pictures: it checks before it times, and its figures add up."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import AUTHORS, Case, CheckFailed, cases, checked, deviation, drawn, flops_of, inputs_of, main
from training.networks import SmallConfig

CPU = torch.device("cpu")
TINY = Case("tiny", SmallConfig(widths=(8, 8), depths=(1, 1)), 2)


def test_it_times_every_network_in_every_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(gpu, "cases", lambda: [TINY])
    path = tmp_path / "figures.json"
    assert main(["--device", "cpu", "--side", "16", "--batches", "1,2", "--seconds", "0.01", "--json", str(path)]) == 0
    body = json.loads(path.read_text())
    assert [(one["precision"], one["batch"]) for one in body["timings"]] == [("fp32", 1), ("bf16", 1), ("fp32", 2), ("bf16", 2)]
    for one in body["timings"]:
        assert one["images_per_second"] == pytest.approx(one["batch"] / one["milliseconds"] * 1000 / TINY.steps)
        assert one["floor"] > 0
    assert "TFLOP/s" in capsys.readouterr().out


def test_the_networks_are_those_of_the_recipes_and_the_authors() -> None:
    names = [case.name for case in cases()]
    assert {"lowlight", "derain", AUTHORS} <= set(names)


def test_flops_count_a_multiply_add_as_two() -> None:
    class One(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 3, 1, bias=False)

        def forward(self, x: torch.Tensor, *_: object) -> torch.Tensor:
            return self.layer(x)

    assert flops_of(One(), inputs_of(TINY, 1, 8, CPU)) == 2 * 3 * 3 * 8 * 8


def test_what_answers_wrongly_is_not_timed() -> None:
    given = inputs_of(TINY, 1, 16, CPU)
    network = drawn(TINY, CPU)
    with torch.inference_mode():
        expected = [output + 0.5 for output in network(*given)]
        with pytest.raises(CheckFailed, match=r"fp32 is .* away from float32"):
            checked(network, given, expected, "fp32", CPU)


def test_a_deviation_that_is_not_a_number_is_beyond_every_tolerance() -> None:
    assert not deviation([torch.tensor([float("nan")])], [torch.zeros(1)]) <= 1e9


def test_an_unknown_network_is_named(capsys) -> None:
    assert main(["--device", "cpu", "--networks", "lowlihgt"]) == 2
    assert "'lowlihgt'; expected some of" in capsys.readouterr().err
