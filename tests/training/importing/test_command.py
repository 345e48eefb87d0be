"""`rddm import` as a new user meets it: names, refusals before work, and one line a fact."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rddm.objective import predict
from rddm.sampler import run, sample
from rddm.schedule import make_schedule
from tests.training.importing.test_official import official, unet
from training.checkpoint import build, load_checkpoint
from training.importing.command import main
from training.importing.names import to_name
from training.importing.official import SCHEDULES, Choices, buffers, convert
from training.networks import UNetConfig, make_network

RESTORER = {"network": unet(("image",), -1), "kind": "ramp", "one_optimiser": True}
GENERATOR = {"network": unet((), -1), "kind": "linspace", "one_optimiser": False}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("rain/model-1.pt", "rain-model-1"),
        ("/data/LOL v2/results/sample/model-80.pt", "lol-v2-model-80"),
        ("/ckpt/model.pt", "model"),
        ("net.v2/NAFNet.onnx", "net-v2-nafnet"),
    ],
)
def test_the_name_tells_where_a_file_lay(path: str, name: str) -> None:
    assert to_name(Path(path)) == name


def test_two_files_of_one_name_become_two_models(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("rain", "snow"):
        (tmp_path / folder).mkdir()
        assert main([str(official(tmp_path / folder / "model-1.pt", **RESTORER))]) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["rain-model-1", "snow-model-1"]


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        (RESTORER, ["--steps", "0"], "--steps 0: input should be greater than or equal to 1"),
        (RESTORER, ["--steps", "2000"], "steps must satisfy min <= default <= max <= T"),
        (RESTORER, ["--variant", "E6"], "--variant E6 contradicts the file, whose keys and schedule are those of E2"),
        (GENERATOR, ["--variant", "E0"], "--variant E0 contradicts the file, whose keys and schedule are those of E4 or E6"),
        (RESTORER, ["--eta", "0.5"], "--eta cannot be used with this file, whose model restores"),
        (RESTORER, ["--image-size", "64"], "--image-size cannot be used with this file, whose model restores"),
        (GENERATOR, ["--sum-scale", "0.1"], "--sum-scale cannot be used with this file, whose model generates from noise alone"),
        (GENERATOR, ["--eta", "2"], "--eta 2.0: input should be less than or equal to 1"),
        (GENERATOR, ["--image-size", "30"], "image_size (30, 30) must be positive multiples of 8"),
        (RESTORER, ["--sum-scale", "-1"], "--sum-scale -1.0: input should be greater than or equal to 0"),
        (RESTORER, ["--name", "My Model"], "--name 'My Model': expected at most 64 lower-case letters, digits, '-' and '_'"),
        (RESTORER, ["--range", "0..1"], "--range cannot be used with model-1.pt, a checkpoint of the authors"),
        (RESTORER, ["--constant", "a=1"], "--constant cannot be used with model-1.pt"),
    ],
)
def test_contradictions_are_named_in_one_line(
    made: dict[str, Any], options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = official(tmp_path / "model-1.pt", **made)
    assert main([str(path), *options, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message.lower() in error.lower()
    assert len(error.splitlines()) == 1
    assert "pydantic" not in error
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_kept_unless_asked_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = official(tmp_path / "model-1.pt", **RESTORER), tmp_path / "out"
    assert main([str(path), "-o", str(out), "--steps", "3"]) == 0
    assert main([str(path), "-o", str(out)]) == 2
    assert "is there already; name another --output, or say --replace" in capsys.readouterr().err
    assert load_checkpoint(out).spec.default_steps == 3
    assert main([str(path), "-o", str(out), "--replace"]) == 0
    assert load_checkpoint(out).spec.default_steps == 5
    assert main([str(path), "-o", str(path)]) == 2
    assert f"{path} is a file; --output takes a folder" in capsys.readouterr().err
    assert not list(tmp_path.glob(".importing-*"))


def test_the_summary_is_a_line_for_each_fact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = official(tmp_path / "model-1.pt", **RESTORER, sum_scale=0.01)
    assert main([str(path), "-o", str(tmp_path / "out"), "--task", "shadow", "--equalize"]) == 0
    lines = capsys.readouterr().out.splitlines()
    facts = {line[2:20].strip(): line[21:] for line in lines[1:-1]}
    assert facts["task"] == "shadow"
    assert facts["source"] == "model-1.pt, E2, restoration"
    assert facts["indices"] == "1000, the file's tables"
    assert facts["start"] == "image, noise 0.01 (sum_scale)"
    assert facts["eta"] == "0"
    assert facts["steps"] == "5 by default, 1 to 100"
    assert facts["order"] == "simultaneous, grid authors, update noise"
    assert facts["image size"] == "any, in multiples of 8"
    assert facts["histogram"] == "equalised first"
    assert lines[-1] == f"Next: rddm export {tmp_path / 'out'}"


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_keys_of_wrapped_models_are_those_of_the_model(tmp_path: Path, prefix: str) -> None:
    path = official(tmp_path / "model-1.pt", **RESTORER)
    plain = convert(path, Choices())
    saved = torch.load(path, weights_only=True)
    saved["ema"] = {
        key.replace("ema_model.", f"ema_model.{prefix}").replace("model.unet0.", f"model.{prefix}unet0."): value
        for key, value in saved["ema"].items()
    }
    torch.save(saved, path)
    wrapped = convert(path, Choices())
    assert set(wrapped.weights) == set(plain.weights)
    assert all(torch.equal(wrapped.weights[key], plain.weights[key]) for key in plain.weights)


def diffuir(path: Path, dim: int, mults: tuple[int, ...]) -> Path:
    """A file as DiffUIR's trainer saves it: RDDM's, with the two buffers of delta, one optimiser named opt0."""
    torch.manual_seed(1)
    network = make_network(UNetConfig(condition=("image",), outputs=1, dim=dim, dim_mults=mults))
    state: dict[str, Tensor] = {
        name: torch.from_numpy(values.copy()) for name, values in buffers(SCHEDULES["converted"], 1000).items()
    }
    delta = torch.linspace(1e-6, 1.8e-3, 1000)
    state |= {"delta": delta, "delta_cumsum": delta.cumsum(0).clip(0, 1)}
    state |= {f"model.{key}": value for key, value in network.state_dict().items()}
    ema = {"initted": torch.tensor(True), "step": torch.tensor(9), **{f"ema_model.{key}": value for key, value in state.items()}}
    torch.save({"step": 300_000, "model": state, "opt0": {}, "ema": ema, "scaler": None}, path)
    return path


# The widths under which the authors' U-Net has the numbers of weights that DiffUIR gives for its sizes.
SIZES = {"T": (32, (1, 1, 1, 1), 0.89), "S": (32, (1, 2, 2, 4), 3.27)}


@pytest.mark.parametrize("size", SIZES)
def test_diffuirs_checkpoint_samples_as_its_code_does(size: str, tmp_path: Path) -> None:
    dim, mults, millions = SIZES[size]
    path = diffuir(tmp_path / "model-300.pt", dim, mults)
    checkpoint = convert(path, Choices())
    assert sum(weight.numel() for weight in checkpoint.weights.values()) / 1e6 == pytest.approx(millions, abs=0.005)
    spec, network = checkpoint.spec, build(checkpoint)
    assert checkpoint.facts["imported"]["variant"] == "DiffUIR"
    assert (spec.order, spec.time_input, spec.default_steps, spec.schedule.sum_scale) == ("residual_only", "abar_bbar", 3, 0.01)
    table = torch.load(path, weights_only=True)["model"]
    draw = torch.Generator().manual_seed(2)
    x_in, noise = torch.rand((1, 3, 32, 32), generator=draw) * 2 - 1, torch.randn((1, 3, 32, 32), generator=draw)
    x = (1 - table["delta_cumsum"][-1]) * x_in + 0.1 * noise
    schedule = make_schedule(spec.schedule, 1000)
    with torch.no_grad():

        def asked(question: Any) -> Any:
            outputs = network(question.x_t, x_in, torch.tensor([question.time]))
            return predict(spec, schedule, outputs, question.x_t, x_in, question.t)

        actual = run(sample(spec, schedule, x_in, lambda _: noise), asked)
        for t, after in ((999, 665), (665, 332), (332, -1)):
            time = torch.tensor([[table["alphas_cumsum"][t] * 1000, table["betas_cumsum"][t] * 1000]])
            res = network(x, x_in, time)[0].clamp(-1, 1)
            if after < 0:
                x = (x_in - res).clamp(-1, 1)
                continue
            alpha = table["alphas_cumsum"][t] - table["alphas_cumsum"][after]
            x = x - alpha * res + (table["delta_cumsum"][t] - table["delta_cumsum"][after]) * x_in
    np.testing.assert_allclose(actual.numpy(), x.numpy(), atol=2e-5)


def test_diffuirs_options_are_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = diffuir(tmp_path / "model-300.pt", 16, (1, 2))
    assert main([str(path), "--variant", "E0", "-o", str(tmp_path / "out")]) == 2
    assert "those of DiffUIR" in capsys.readouterr().err
    assert main([str(path), "--variant", "DiffUIR", "--sum-scale", "0.04", "-o", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "1000, the file's tables with delta" in shown
    assert load_checkpoint(tmp_path / "out").spec.schedule.sum_scale == 0.04
