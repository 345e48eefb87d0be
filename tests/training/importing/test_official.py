"""`rddm import`: the authors' five variants, known from tiny files in their format."""

from collections import OrderedDict
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from rddm.schedule import make_schedule
from rddm.spec import NamedSchedule
from training.checkpoint import build, load_checkpoint
from training.importing.command import describe, main
from training.importing.official import SCHEDULES, Choices, buffers, convert
from training.networks import UNetConfig, make_network
from training.sampling import sample_with

SMALL = {"dim": 8, "dim_mults": (1, 2)}


def official(
    path: Path, network: UNetConfig, kind: str, *, one_optimiser: bool, sum_scale: float = 1.0, alpha_res: float | None = None
) -> Path:
    """A file as the official trainer saves it: its own weights in `model`, averaged ones in `ema`."""
    torch.manual_seed(0)
    schedule = SCHEDULES[kind].model_copy(update={"sum_scale": sum_scale})
    state: OrderedDict[str, Tensor] = OrderedDict()
    if alpha_res is not None:
        state["alpha_res"] = torch.tensor([alpha_res])
    state |= {name: torch.from_numpy(values.copy()) for name, values in buffers(schedule, 1000).items()}
    for key, value in make_network(network).state_dict().items():
        state[f"model.{key.removeprefix('shared.')}"] = value
    averaged = OrderedDict((f"ema_model.{key}", value + 0.01 * key.startswith("model.")) for key, value in state.items())
    online = {f"online_model.{key}": value for key, value in state.items()}
    ema = OrderedDict([("initted", torch.ones(1)), ("step", torch.tensor([7])), *online.items(), *averaged.items()])
    optimiser = {"state": {}, "param_groups": []}
    optimisers = {"opt": optimiser} if one_optimiser else {"opt0": optimiser, "opt1": optimiser}
    torch.save({"step": 700, "model": state, **optimisers, "ema": ema, "scaler": None}, path)
    return path


def unet(condition: tuple[str, ...], share_encoder: int) -> UNetConfig:
    return UNetConfig.model_validate(
        {**SMALL, "condition": condition, "share_encoder": share_encoder, "outputs": 1 if share_encoder == -1 else 2}
    )


# what the file is made of, and what must be understood
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "E2 two networks": (
        {"network": unet(("image",), 0), "kind": "ramp", "one_optimiser": True},
        {"variant": "E2", "objective": "pred_res_noise", "time_input": "t", "order": "simultaneous", "start": "image"},
    ),
    "E2 one network": (
        {"network": unet(("image",), -1), "kind": "ramp", "one_optimiser": True},
        {"variant": "E2", "objective": "pred_res", "time_input": "t", "order": "simultaneous", "start": "image"},
    ),
    "E2 shared encoder": (
        {"network": unet(("image",), 1), "kind": "ramp", "one_optimiser": True},
        {"variant": "E2", "objective": "pred_res_noise", "time_input": "t", "order": "simultaneous", "start": "image"},
    ),
    "E2 shadow removal": (
        {"network": unet(("image", "mask"), 0), "kind": "ramp", "one_optimiser": True, "sum_scale": 0.01},
        {"variant": "E2", "objective": "pred_res_noise", "time_input": "t", "order": "simultaneous", "start": "image"},
    ),
    "E0 path-independent generation": (
        {"network": unet((), 0), "kind": "converted", "one_optimiser": False},
        {"variant": "E0", "objective": "pred_res_noise", "time_input": "abar_bbar", "order": "residual_first", "start": "noise"},
    ),
    "E6 generation": (
        {"network": unet((), 0), "kind": "linspace", "one_optimiser": False},
        {"variant": "E6", "objective": "pred_res_noise", "time_input": "t", "order": "simultaneous", "start": "noise"},
    ),
    "E6 one network": (
        {"network": unet((), -1), "kind": "linspace", "one_optimiser": False},
        {"variant": "E6", "objective": "pred_noise", "time_input": "t", "order": "simultaneous", "start": "noise"},
    ),
    "E3 decided for the residual": (
        {"network": unet(("image",), -1), "kind": "converted", "one_optimiser": False, "alpha_res": 0.52},
        {"variant": "E3", "objective": "pred_res", "time_input": "t", "order": "simultaneous", "start": "image"},
    ),
    "E3 decided for the noise": (
        {"network": unet(("image",), -1), "kind": "converted", "one_optimiser": False, "alpha_res": 0.48},
        {"variant": "E3", "objective": "pred_noise", "time_input": "t", "order": "simultaneous", "start": "image"},
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_is_read_off_the_file(tmp_path: Path, name: str) -> None:
    made, expected = VARIANTS[name]
    path = official(tmp_path / "model-80.pt", **made)
    assert main([str(path), "-o", str(tmp_path / "out")]) == 0
    checkpoint = load_checkpoint(tmp_path / "out")
    spec = checkpoint.spec
    actual = {key: getattr(spec, key) for key in expected if key != "variant"} | {
        "variant": checkpoint.facts["imported"]["variant"]
    }
    assert actual == expected
    assert (spec.residual_clip, spec.sm_n_inversion, spec.grid, spec.eta) == (1.0, "authors", "authors", 0.0)
    assert spec.schedule.sum_scale == made.get("sum_scale", 1.0)
    assert checkpoint.network == made["network"]
    given = torch.zeros(1, 3, 16, 16)
    mask = torch.zeros_like(given) if "mask" in spec.condition else None
    assert sample_with(build(checkpoint), spec, given, steps=2, mask=mask).shape == given.shape


@pytest.mark.parametrize(("variant", "kind"), [("E4", "linspace"), ("E5", "converted")])
def test_translation_and_inpainting_start_from_the_image_when_asked(tmp_path: Path, variant: str, kind: str) -> None:
    """Their files are those of generation: only the caller knows."""
    path = official(tmp_path / "model-100.pt", unet((), 0), kind, one_optimiser=False)
    spec = convert(path, Choices(variant=variant)).spec
    assert (spec.start, spec.condition, spec.time_input, spec.order) == ("image", (), "abar_bbar", "simultaneous")


def test_averaged_weights_and_the_files_own_tables_are_taken(tmp_path: Path) -> None:
    path = official(tmp_path / "model-80.pt", unet(("image",), 0), "ramp", one_optimiser=True, sum_scale=0.01)
    saved = torch.load(path, weights_only=True)
    checkpoint = convert(path, Choices())
    for key, value in checkpoint.weights.items():
        assert torch.equal(value, saved["ema"][f"ema_model.model.{key}"])
    schedule = make_schedule(checkpoint.spec.schedule, 1000)
    np.testing.assert_array_equal(schedule.alpha_bar.astype(np.float32), saved["model"]["alphas_cumsum"].numpy())
    np.testing.assert_array_equal(schedule.beta_bar.astype(np.float32), saved["model"]["betas_cumsum"].numpy())
    named = make_schedule(NamedSchedule(sum_scale=0.01), 1000)
    np.testing.assert_allclose(schedule.beta_bar, named.beta_bar, atol=1e-7)
    assert checkpoint.facts["steps"] == 700
    assert "E2" in "\n".join(describe(checkpoint.spec, checkpoint.facts, 1))


def test_objective_and_name_can_be_given(tmp_path: Path) -> None:
    path = official(tmp_path / "model-80.pt", unet(("image",), -1), "ramp", one_optimiser=True)
    arguments = [str(path), "-o", str(tmp_path / "out"), "--name", "lol", "--objective", "pred_x0", "--steps", "2", "--equalize"]
    assert main(arguments) == 0
    spec = load_checkpoint(tmp_path / "out").spec
    assert (spec.name, spec.objective, spec.default_steps, spec.preprocessing) == ("lol", "pred_x0", 2, ("equalize_histogram",))


def test_later_averaging_with_scalar_counters_loads(tmp_path: Path) -> None:
    path = official(tmp_path / "model-80.pt", unet(("image",), -1), "ramp", one_optimiser=True)
    saved = torch.load(path, weights_only=True)
    saved["ema"] |= {"initted": torch.tensor(True), "step": torch.tensor(7)}
    torch.save(saved, path)
    assert convert(path, Choices()).spec.objective == "pred_res"


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.pt does not exist" in complaint(["nowhere.pt"], capsys)


def test_truncated_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = official(tmp_path / "model-80.pt", unet(("image",), -1), "ramp", one_optimiser=True)
    path.write_bytes(path.read_bytes()[:5000])
    assert "no readable torch checkpoint" in complaint([str(path)], capsys)


def test_file_with_code_inside_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"ema": Path("x")}, tmp_path / "evil.pt")
    message = complaint([str(tmp_path / "evil.pt")], capsys)
    assert "more than tensors inside" in message
    assert "weights_only" not in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_an_output_that_is_a_file_or_below_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], inside: str) -> None:
    path = official(tmp_path / "model-80.pt", unet(("image",), -1), "ramp", one_optimiser=True)
    assert f"{path} is a file; --output takes a folder" in complaint([str(path), "-o", str(path / inside)], capsys)


def test_an_output_that_cannot_be_written_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = official(tmp_path / "model-80.pt", unet(("image",), -1), "ramp", one_optimiser=True)
    full = mock.Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr("training.importing.command.tempfile.mkdtemp", full)
    said = complaint([str(path), "-o", str(tmp_path / "new")], capsys)
    assert f"rddm import: {tmp_path / 'new'} cannot be written: " in said
    assert "No space left on device" in said


def test_other_checkpoint_is_refused_with_what_was_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    assert "expected the keys step, model, opt or opt0, ema, scaler; got ['state_dict']" in complaint(
        [str(tmp_path / "other.pt")], capsys
    )


@pytest.mark.parametrize(
    "gone",
    ["ema_model.betas_cumsum", "ema_model.model.unet0.downs.0.2.fn.fn.to_qkv.weight", "ema_model.model.unet0.init_conv.weight"],
)
def test_partial_file_names_the_missing_key(tmp_path: Path, capsys: pytest.CaptureFixture[str], gone: str) -> None:
    path = official(tmp_path / "model-80.pt", unet(("image",), -1), "ramp", one_optimiser=True)
    saved = torch.load(path, weights_only=True)
    del saved["ema"][gone]
    torch.save(saved, path)
    assert gone.removeprefix("ema_model.").removeprefix("model.") in complaint([str(path), "-o", str(tmp_path / "out")], capsys)
    assert not (tmp_path / "out").exists()


def test_objective_with_other_outputs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = official(tmp_path / "model-80.pt", unet(("image",), -1), "ramp", one_optimiser=True)
    assert "has 2 outputs, the file's network 1" in complaint([str(path), "--objective", "pred_res_noise"], capsys)


def test_another_schedule_is_imported_once_its_variant_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = official(tmp_path / "model-3.pt", unet(("image",), 0), "linspace", one_optimiser=False, sum_scale=0.25)
    saved = torch.load(path, weights_only=True)
    saved["ema"]["ema_model.alphas_cumsum"] = torch.linspace(0.001, 1, 1000)
    torch.save(saved, path)
    assert "say which --variant made it" in complaint([str(path)], capsys)
    spec = convert(path, Choices(variant="E6")).spec
    assert spec.schedule.sum_scale == pytest.approx(0.25, abs=1e-5)
    assert spec.schedule.alpha_bar[499] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("ema", [None, [1], {"ema_model.alphas": 3}, {1: torch.ones(1)}])
def test_average_that_is_no_named_tensors_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], ema: object) -> None:
    torch.save({"step": 1, "ema": ema}, tmp_path / "model-1.pt")
    assert "`ema` should hold named tensors" in complaint([str(tmp_path / "model-1.pt")], capsys)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_file_is_refused_wherever_it_is_damaged(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "model-1.pt"
    torch.save({"step": 1, "ema": {"a": torch.ones(2)}}, path, _use_new_zipfile_serialization=zipped)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model-1\.pt"):
            convert(path, Choices())
