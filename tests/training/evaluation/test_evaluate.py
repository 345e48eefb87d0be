"""`rddm evaluate`: one code for checkpoints, models of the repository and validation."""

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from rddm.image import equalized
from rddm.spec import ModelSpec
from training.checkpoint import Checkpoint, save_checkpoint
from training.data.pairs import resized
from training.evaluation.evaluate import EQUAL, Example, load_model, main, shrunk
from training.evaluation.metrics import imresize, psnr
from training.evaluation.perceptual import ALEXNET, CONVOLUTIONS, LPIPS_HEADS, Lpips
from training.networks import SmallConfig, make_network

SPEC = ModelSpec(name="tiny", task="restore", licence="test", size_multiple=16, max_steps=100)


def save_tiny(folder: Path, spec: ModelSpec = SPEC) -> Path:
    """An untrained small network: its residual is 0, so that it returns what it is given."""
    torch.manual_seed(0)
    network = SmallConfig(condition=spec.condition, widths=(8, 8, 8, 8), depths=(1, 1, 1, 1))
    save_checkpoint(folder, Checkpoint(spec, network, make_network(network).state_dict(), {}))
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, str]:
    """Two pairs of 40 x 24 pixels, the given ones 10 levels darker; a mask over the left half."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        target = rng.integers(20, 235, (24, 40, 3)).astype(np.uint8)
        mask = np.zeros_like(target)
        mask[:, :20] = 255
        for part, picture in (("target", target), ("given", target - 10), ("mask", mask)):
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / part / f"{name}.png")
    return {part: str(tmp_path / part) for part in ("target", "given", "mask")}


def evaluated(tmp_path: Path, model: Path, *arguments: str) -> dict[str, object]:
    assert main([str(model), "-o", str(tmp_path / "report"), *arguments]) == 0
    return dict(json.loads((tmp_path / "report" / "mean.json").read_text()))


def test_report_has_a_row_a_picture_a_mean_and_a_sheet(tmp_path: Path, pictures: dict[str, str]) -> None:
    model = save_tiny(tmp_path / "model")
    summary = evaluated(tmp_path, model, "--target", pictures["target"], "--given", pictures["given"])
    mean = summary["mean"]
    assert mean["psnr_rgb"] == pytest.approx(20 * np.log10(255 / 10), abs=0.01)
    assert mean["psnr_mean_matched"] > mean["psnr_rgb"] + 5
    assert summary["given_psnr_rgb"] == pytest.approx(mean["psnr_rgb"], abs=0.01)
    with (tmp_path / "report" / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["a", "b"]
    assert set(rows[0]) == {"name", "psnr_rgb", "ssim_rgb", "psnr_y", "ssim_y", "psnr_mean_matched", "mae_lab"}
    assert np.mean([float(row["psnr_y"]) for row in rows]) == pytest.approx(mean["psnr_y"], abs=1e-4)
    with Image.open(tmp_path / "report" / "sheet.png") as sheet:
        assert sheet.size == (3 * 256, 2 * 256)


def test_a_folder_of_pairs_is_found_by_its_names(tmp_path: Path, pictures: dict[str, str]) -> None:
    model = save_tiny(tmp_path / "model")
    (tmp_path / "given").rename(tmp_path / "input")
    mean = evaluated(tmp_path, model, "--data", str(tmp_path))["mean"]
    given = str(tmp_path / "input")
    assert mean == evaluated(tmp_path, model, "--target", pictures["target"], "--given", given, "--mask", pictures["mask"])["mean"]
    assert "mae_lab_inside" in mean


def test_mask_splits_the_lab_error(tmp_path: Path, pictures: dict[str, str]) -> None:
    model = save_tiny(tmp_path / "model")
    mean = evaluated(tmp_path, model, *(f"--{part}={path}" for part, path in pictures.items()))["mean"]
    assert (mean["mae_lab_inside"] + mean["mae_lab_outside"]) / 2 == pytest.approx(mean["mae_lab"])


def test_authors_protocol_squashes_to_256_and_shrinks_the_target_as_matlab_does(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (300, 320, 3), dtype=np.uint8)
    for part in ("target", "given"):
        (tmp_path / part).mkdir()
        Image.fromarray(picture).save(tmp_path / part / "a.png")
    folders = ["--target", str(tmp_path / "target"), "--given", str(tmp_path / "given")]
    mean = evaluated(tmp_path, save_tiny(tmp_path / "model"), *folders, "--size", "256", "--steps", "1")["mean"]
    padded = np.pad(picture, ((0, 4), (0, 0), (0, 0)))
    given = np.asarray(Image.fromarray(padded).resize((256, 256), Image.Resampling.BICUBIC))
    assert mean["psnr_rgb"] == pytest.approx(psnr(given, imresize(picture, 256, 256)), abs=0.01)


def test_authors_protocol_equalises_before_it_squashes_and_not_again() -> None:
    dark = np.random.default_rng(2).integers(0, 30, (260, 300, 3)).astype(np.uint8)
    actual = shrunk(Example("a", dark, dark), ("equalize_histogram",))
    padded = np.pad(dark, ((0, 4), (0, 4), (0, 0)))
    np.testing.assert_array_equal(actual.given, resized(equalized(padded), 256, 256))
    np.testing.assert_array_equal(actual.target, imresize(dark, 256, 256))


def test_model_that_equalises_is_given_the_equalised_picture_once(tmp_path: Path) -> None:
    """The untrained network returns what it is given: that is what the protocol prepared, not an equalised copy of it."""
    dark = np.random.default_rng(3).integers(0, 30, (256, 256, 3)).astype(np.uint8)
    for part, picture in (("target", equalized(dark)), ("given", dark)):
        (tmp_path / part).mkdir()
        Image.fromarray(picture).save(tmp_path / part / "a.png")
    model = save_tiny(tmp_path / "model", SPEC.model_copy(update={"preprocessing": ("equalize_histogram",)}))
    files = ["--target", str(tmp_path / "target"), "--given", str(tmp_path / "given")]
    assert evaluated(tmp_path, model, *files, "--size", "256", "--steps", "1")["mean"]["psnr_rgb"] == EQUAL


def test_lab_error_inside_masks_is_given_over_pictures_and_over_pixels(tmp_path: Path) -> None:
    """A large shadow that is wrong and a small one that is right: the mean over pixels is nearer the large one."""
    for part in ("target", "given", "mask"):
        (tmp_path / part).mkdir()
    for name, off, columns in (("a", 30, 24), ("b", 0, 8)):
        target = np.full((32, 32, 3), 120, np.uint8)
        mask = np.zeros_like(target)
        mask[:, :columns] = 255
        for part, picture in (("target", target), ("given", target - np.uint8(off)), ("mask", mask)):
            Image.fromarray(picture).save(tmp_path / part / f"{name}.png")
    files = [f"--{part}={tmp_path / part}" for part in ("target", "given", "mask")]
    summary = evaluated(tmp_path, save_tiny(tmp_path / "model"), *files)
    assert summary["pooled"]["mae_lab_inside"] == pytest.approx(summary["mean"]["mae_lab_inside"] * 2 * 24 / 32, rel=1e-4)


def test_sampling_can_be_exchanged(tmp_path: Path, pictures: dict[str, str]) -> None:
    model = save_tiny(tmp_path / "model")
    files = ["--target", pictures["target"], "--given", pictures["given"]]
    options = [
        "--steps",
        "3",
        "--method",
        "SM-Res",
        "--eta",
        "0.5",
        "--order",
        "residual_first",
        "--alpha",
        "average",
        "--beta2",
        "increased:2",
    ]
    assert evaluated(tmp_path, model, *files, *options)["steps"] == 3


def graph_that_returns_x_t(path: Path, spec: ModelSpec, *, with_spec: bool = True) -> None:
    """out_0 = x_t - x_t: residual 0, as an exported model."""
    free = ["b", 3, "h", "w"]
    inputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, free) for name in ("x_t", "condition")]
    inputs.append(onnx.helper.make_tensor_value_info("time", onnx.TensorProto.FLOAT, ["b", 2]))
    output = onnx.helper.make_tensor_value_info("out_0", onnx.TensorProto.FLOAT, free)
    graph = onnx.helper.make_graph([onnx.helper.make_node("Sub", ["x_t", "x_t"], ["out_0"])], "g", inputs, [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    if with_spec:
        onnx.helper.set_model_props(model, {"rddm.spec": spec.model_dump_json()})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def test_model_of_the_repository_is_measured_alike(tmp_path: Path, pictures: dict[str, str]) -> None:
    graph_that_returns_x_t(tmp_path / "repository" / "tiny" / "1" / "model.onnx", SPEC)
    graph_that_returns_x_t(tmp_path / "repository" / "tiny" / "10" / "model.onnx", SPEC.model_copy(update={"name": "newest"}))
    files = ["--target", pictures["target"], "--given", pictures["given"]]
    of_repository = evaluated(tmp_path, tmp_path / "repository" / "tiny", *files)
    of_checkpoint = evaluated(tmp_path, save_tiny(tmp_path / "model"), *files)
    assert of_repository["model"] == "newest"
    assert of_repository["mean"] == pytest.approx(of_checkpoint["mean"])


def test_generator_draws_pictures_by_seed(tmp_path: Path) -> None:
    spec = ModelSpec(
        name="gen", task="generate", licence="test", start="noise", condition=(), image_size=(16, 16), size_multiple=16
    )
    assert evaluated(tmp_path, save_tiny(tmp_path / "model", spec), "--count", "8", "--steps", "2")["pictures"] == 8
    with Image.open(tmp_path / "report" / "sheet.png") as sheet:
        assert sheet.size == (6 * 256, 256)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--given", "given"], "name --data, or --target and --given"),
        (
            ["--target", "target", "--given", "given", "-o", "model/spec.json/report"],
            "model/spec.json is a file; --output takes a folder",
        ),
        (["--data", "target"], "--data target holds no folder target/"),
        (["--target", "nowhere", "--given", "given"], "nowhere is no folder"),
        (["--target", "target", "--given", "given", "--steps", "5000"], "steps = 5000 is outside 1..1000"),
        (["--target", "target", "--given", "given", "--alpha", "linaer"], "unknown schedule 'linaer'"),
        (["--target", "target", "--given", "given", "--method", "SM-N"], "cannot be sampled with 'SM-N'"),
        (["--target", "target", "--given", "given", "--lpips", "--weights", "none"], f"{ALEXNET} is missing"),
        (["--target", "target", "--given", "given", "--fid", "--weights", "none"], "inception-2015-12-05.pt is missing"),
    ],
)
@pytest.mark.usefixtures("pictures")
def test_what_cannot_be_measured_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(save_tiny(tmp_path / "model")), "-o", str(tmp_path / "report"), *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_folder_that_holds_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither spec\.json .* nor model\.onnx"):
        load_model(tmp_path)
    graph_that_returns_x_t(tmp_path / "model.onnx", SPEC, with_spec=False)
    with pytest.raises(ValueError, match="not exported by this project"):
        load_model(tmp_path)


def test_lpips_is_a_distance(tmp_path: Path) -> None:
    """With random weights in the published files' format."""
    torch.manual_seed(0)
    backbone = {}
    for index, channels_in, channels_out, kernel, *_ in CONVOLUTIONS:
        backbone[f"features.{index}.weight"] = torch.randn(channels_out, channels_in, kernel, kernel) * 0.05
        backbone[f"features.{index}.bias"] = torch.zeros(channels_out)
    torch.save(backbone, tmp_path / ALEXNET)
    heads = {f"lin{i}.model.1.weight": torch.rand(1, row[2], 1, 1) for i, row in enumerate(CONVOLUTIONS)}
    torch.save(heads, tmp_path / LPIPS_HEADS)
    lpips, (a, b) = Lpips(tmp_path), np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert lpips.measure(a, a) == 0
    assert lpips.measure(a, b) > 0
    assert lpips.measure(a, b) == pytest.approx(lpips.measure(b, a))


def test_nothing_is_written_where_no_folder_was_named(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(save_tiny(tmp_path / "model")), "--data", str(tmp_path)])
    assert "-o" in capsys.readouterr().err
