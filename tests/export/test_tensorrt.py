"""A second repository of TensorRT plans: its arguments, its choice of precision, and that it is whole or not there."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export import tensorrt
from export.command import main
from export.repository import described
from export.tensorrt import (
    BATCH_SIZES,
    BuildFailed,
    Choice,
    Trtexec,
    agreement,
    build_repository,
    choose,
    fixed,
    place,
    to_milliseconds,
    to_profiles,
)
from rddm.tiling import plan
from tests.models import tiny_spec


@pytest.fixture
def trtexec(tmp_path: Path) -> Trtexec:
    program = tmp_path / "trtexec"
    program.write_text(f"#!{sys.executable}\n{Path(__file__).with_name('trtexec.py').read_text()}")
    program.chmod(0o755)
    return Trtexec(str(program))


def test_every_batch_of_the_ladder_has_a_profile_and_the_first_takes_the_golden_input() -> None:
    spec = tiny_spec(sizes=((64, 64), (128, 96)), reach=8)
    assert to_profiles(spec)[:8] == [
        "--profile=0",
        "--minShapes=x_t:1x3x32x32,condition:1x3x32x32,time:1x2",
        "--optShapes=x_t:1x3x64x64,condition:1x3x64x64,time:1x2",
        "--maxShapes=x_t:1x3x64x64,condition:1x3x64x64,time:1x2",
        "--profile=1",
        "--minShapes=x_t:2x3x64x64,condition:2x3x64x64,time:2x2",
        "--optShapes=x_t:2x3x64x64,condition:2x3x64x64,time:2x2",
        "--maxShapes=x_t:2x3x64x64,condition:2x3x64x64,time:2x2",
    ]
    assert to_profiles(spec)[-7] == "--minShapes=x_t:9x3x64x64,condition:9x3x64x64,time:9x2"
    assert to_profiles(spec)[-4:] == [
        "--profile=5",
        "--minShapes=x_t:1x3x128x96,condition:1x3x128x96,time:1x2",
        "--optShapes=x_t:1x3x128x96,condition:1x3x128x96,time:1x2",
        "--maxShapes=x_t:16x3x128x96,condition:16x3x128x96,time:16x2",
    ]


def test_a_generator_is_planned_for_the_size_that_it_generates() -> None:
    spec = tiny_spec(condition=(), start="noise", image_size=(64, 48))
    assert "--optShapes=x_t:4x3x64x48,time:4x2" in to_profiles(spec)
    assert fixed(spec) == spec


def test_the_ladder_is_chosen_by_what_the_network_reaches_and_bears() -> None:
    spec = tiny_spec(reach=144, size_multiple=16, most_pixels=None)
    assert fixed(spec).sizes == ((288, 288), (768, 768))
    assert plan(fixed(spec), 200, 100).tiles[0].height == 288
    assert plan(fixed(spec), 2160, 3840).tiles[0].height == 768
    assert fixed(spec.model_copy(update={"reach": 32, "most_pixels": 512 * 512})).sizes == ((256, 256),)


def test_the_repository_is_complete_and_keyed_by_gpu_and_version(source: Path, tmp_path: Path, trtexec: Trtexec) -> None:
    folder = build_repository(source, tmp_path / "plans", trtexec, "NVIDIA H200 NVL")
    assert folder == tmp_path / "plans" / "nvidia-h200-nvl-tensorrt-11.2.3"
    text = (folder / "tiny" / "config.pbtxt").read_text("utf-8")
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert (config.name, config.backend, config.default_model_filename) == ("tiny", "tensorrt", "model.plan")
    assert list(config.instance_group[0].profile) == [str(k) for k in range(len(BATCH_SIZES) + 1)]
    assert [warm_up.batch_size for warm_up in config.model_warmup] == list(BATCH_SIZES)
    [planned], [model] = described(folder / "tiny").values(), described(source / "tiny").values()
    assert planned.spec == fixed(model.spec)
    np.testing.assert_array_equal(planned.golden.answer, model.golden.answer)
    assert planned.digest != model.digest
    assert "Precision: fp16" in (folder / "tiny" / "README.md").read_text()
    assert sorted(path.name for path in (tmp_path / "plans").iterdir()) == [folder.name]


def test_what_is_built_is_not_built_again_until_a_model_changes(
    source: Path, tmp_path: Path, trtexec: Trtexec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt, "CANDIDATES", ("fp32",))
    built: list[str] = []
    for _ in range(2):
        folder = build_repository(source, tmp_path / "plans", trtexec, "gpu", built.append)
    assert built.count("tiny") == 1
    marker = folder / "built.json"
    marker.write_text(json.dumps({"tiny": "another digest"}))
    build_repository(source, tmp_path / "plans", trtexec, "gpu", built.append)
    assert built.count("tiny") == 2


def test_a_build_that_fails_leaves_nothing(source: Path, tmp_path: Path) -> None:
    broken = tmp_path / "trtexec"
    broken.write_text("#!/bin/sh\necho '[TensorRT v110203]'; [ \"$1\" = --help ] || { echo no tactic; exit 1; }\n")
    broken.chmod(0o755)
    with pytest.raises(BuildFailed, match=r"ended with 1: (?s:.)*no tactic"):
        build_repository(source, tmp_path / "plans", Trtexec(str(broken)), "gpu")
    assert list((tmp_path / "plans").iterdir()) == []


def choice(precision: str, agreement_db: float, milliseconds: float) -> Choice:
    return Choice(precision, agreement_db, milliseconds, b"", 0.0)  # type: ignore[arg-type]


def test_the_fastest_precision_that_agrees_is_chosen() -> None:
    exact, close, far = choice("fp32", 120, 3), choice("fp16", 60, 2), choice("bf16", 40, 1)
    assert choose([exact, far, close]) is close
    assert choose([exact, far]) is exact
    with pytest.raises(BuildFailed, match=r"no plan agrees .* \{'bf16': 40\}"):
        choose([far])


def test_agreement_is_psnr_over_the_range_of_two() -> None:
    zero = np.zeros((1, 3, 4, 4), np.float32)
    assert agreement(zero + 0.02, zero) == pytest.approx(40)
    assert agreement(zero * np.nan, zero) == -np.inf


def test_the_time_is_the_median_of_the_computation() -> None:
    said = "[I] Latency: median = 9 ms\n[I] GPU Compute Time: min = 1 ms, max = 3 ms, mean = 2 ms, median = 1.25 ms, x"
    assert to_milliseconds(said) == 1.25
    with pytest.raises(BuildFailed, match="how long"):
        to_milliseconds("nothing")


def test_the_verb_tells_where_the_plans_are(source: Path, tmp_path: Path, trtexec: Trtexec, monkeypatch, capsys) -> None:
    monkeypatch.setattr(tensorrt, "PROGRAMS", (trtexec.program,))
    monkeypatch.setattr(tensorrt, "gpu_name", lambda: "gpu")
    monkeypatch.setattr(tensorrt, "CANDIDATES", ("fp32",))
    arguments = ["--tensorrt", str(source), "-o", str(tmp_path / "plans")]
    assert main([*arguments, "--where"]) == 1
    assert "run `rddm export --tensorrt` first" in capsys.readouterr().err
    assert main(arguments) == 0
    assert main([*arguments, "--where"]) == 0
    expected = place(tmp_path / "plans", "gpu", "11.2.3")
    assert capsys.readouterr().out.split() == [str(expected)] * 2


def test_without_trtexec_or_gpu_the_verb_says_so(source: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(tensorrt, "PROGRAMS", ("no-such-program",))
    assert main(["--tensorrt", str(source)]) == 1
    assert "run this inside the Triton container" in capsys.readouterr().err
