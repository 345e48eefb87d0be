"""The export's benchmark: CPU seconds of a child, and two graphs asked in turn."""

from pathlib import Path

import onnx
import pytest

from benchmarks import exporting
from benchmarks.exporting import called, python
from export.graph import plain, to_onnx
from rddm.spec import ModelSpec
from training.networks import UNetConfig, make_network

SPEC = ModelSpec(name="unet", task="restore", licence="none")


def test_a_child_process_is_charged_for_what_it_computes() -> None:
    idle, busy = (python(Path.cwd(), f"sum(range({count}))") for count in (1, 30_000_000))
    assert busy > idle + 0.1


def test_equal_graphs_are_no_difference_apart_and_others_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "SIDE", 32)  # every pixel attends to every other
    graph = to_onnx(plain(make_network(UNetConfig(condition=("image",), outputs=1, dim=8, dim_mults=(1,), share_encoder=-1))), SPEC)
    places = {name: tmp_path / f"{name}.onnx" for name in ("one", "same", "other")}
    for place in places.values():
        onnx.save(graph, place)
    [bias] = [tensor for tensor in graph.graph.initializer if tensor.name.endswith("final_conv.bias")]
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 1, bias.name))
    onnx.save(graph, places["other"])
    one, same, other = called(places)
    assert (one.difference, same.difference) == (0, 0)
    assert 0.999 < other.difference < 1.001
    assert one.milliseconds > 0
