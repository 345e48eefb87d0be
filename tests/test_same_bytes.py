"""One picture, one seed, one graph: training, evaluation, export, benchmarks and the service give the same bytes, at any size."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.loop import Loop
from rddm.condition import restore_whole
from rddm.graph import SPEC_KEY, output_names
from rddm.image import to_image, to_mask, to_pixels
from rddm.spec import ModelSpec
from service.engines.embedded.engine import EmbeddedEngine, Threads
from tests.graphs import put
from tests.service.conftest import file_of, pixels_of, running, settings_for
from tests.service.test_pictures import opened
from training.evaluation.evaluate import Example, load_model, restored
from training.sampling import as_graph, restore_picture

MULTIPLE = 16
SIZES = [(48 + r, 64 + 7 * r % MULTIPLE) for r in range(MULTIPLE)] + [(71, 47), (1, 1), (3, 90)]
STEPS, SEED = 3, 5
SPEC = ModelSpec(
    name="one",
    task="denoise",
    licence="Apache-2.0",
    condition=("image", "context"),
    objective="pred_res_noise",
    eta=1.0,
    size_multiple=MULTIPLE,
    reach=16,
)
MASKED = SPEC.model_copy(update={"name": "masked", "task": "fill", "condition": ("image", "context", "mask")})


class Convolution(nn.Module):
    """One 3x3 convolution of x_t and condition to two outputs, plus the condition's mean, so that the context's size counts."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        drawn = np.random.default_rng(1).normal(0, 0.1, (6, 3 + spec.condition_channels, 3, 3)).astype(np.float32)
        self.weight = nn.Parameter(torch.from_numpy(drawn))

    def forward(self, x_t: Tensor, condition: Tensor, time: Tensor) -> tuple[Tensor, ...]:
        out = functional.conv2d(torch.cat([x_t, condition], 1), self.weight, padding=1)
        brightness = condition.mean((1, 2, 3), keepdim=True) * time[:, :1, None, None] / 1000
        return (out + brightness).split(3, 1)


def graph_of(spec: ModelSpec) -> onnx.ModelProto:
    """The same network as an ONNX graph, without torch's exporter, which takes seconds."""
    nodes = [
        helper.make_node("Concat", ["x_t", "condition"], ["seen"], axis=1),
        helper.make_node("Conv", ["seen", "weight"], ["out"], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["condition", "axes"], ["mean"]),
        helper.make_node("Gather", ["time", "first"], ["first_time"], axis=1),
        helper.make_node("Reshape", ["first_time", "column"], ["times"]),
        helper.make_node("Mul", ["mean", "times"], ["scaled"]),
        helper.make_node("Div", ["scaled", "thousand"], ["brightness"]),
        helper.make_node("Add", ["out", "brightness"], ["both"]),
        helper.make_node("Split", ["both"], output_names(spec), axis=1, num_outputs=2),
    ]
    constants = {
        "weight": Convolution(spec).weight.detach().numpy(),
        "axes": np.array([1, 2, 3]),
        "first": np.array([0]),
        "column": np.array([-1, 1, 1, 1]),
        "thousand": np.float32(1000),
    }
    image = ["b", 3, "h", "w"]
    inputs = {"x_t": image, "condition": ["b", spec.condition_channels, "h", "w"], "time": ["b", 2]}
    graph = helper.make_graph(
        nodes,
        spec.name,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, image) for name in output_names(spec)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {SPEC_KEY: spec.model_dump_json()})
    return model


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    for spec in (SPEC, MASKED):
        put(folder, spec, graph_of(spec))
    return folder


async def served(repository: Path, scratch: Path, task: str, sizes: list[tuple[int, int]], masked: bool) -> list[np.ndarray]:
    """What the gateway answers, by way of PNG files."""
    engine = EmbeddedEngine(repository, Threads(1))
    answers = []
    async with running(settings_for(scratch), engine) as gateway:
        for size in sizes:
            files = {"image": file_of(pixels_of(*size))} | ({"mask": file_of(mask_of(*size))} if masked else {})
            query = {"task": task, "steps": STEPS, "seed": SEED, "format": "png"}
            response = await gateway.client.post("/restore", params=query, files=files)
            assert response.status_code == 200, response.text
            answers.append(np.asarray(opened(response.content)))
    return answers


def mask_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 2, (height, width, 1), np.uint8).repeat(3, 2) * np.uint8(255)


async def test_pictures_of_every_remainder_have_the_same_bytes_everywhere(repository: Path, tmp_path: Path) -> None:
    loop, model = Loop(repository, SPEC.name), load_model(repository / SPEC.name)
    session = onnxruntime.InferenceSession(repository / SPEC.name / "1" / "model.onnx")
    by_service = await served(repository, tmp_path, SPEC.task, SIZES, masked=False)
    for size, expected in zip(SIZES, by_service, strict=True):
        picture = pixels_of(*size)
        ways: dict[str, Callable[[], np.ndarray]] = {
            "training": lambda picture=picture: restore_picture(model.network, SPEC, picture, STEPS, SEED),
            "evaluation": lambda picture=picture: restored(model, Example("", picture, picture), STEPS, SEED),
            "export": lambda picture=picture: to_pixels(
                restore_whole(lambda feeds: session.run(None, dict(feeds)), SPEC, to_image(picture), STEPS, [SEED])
            ),
            "benchmarks": lambda picture=picture: np.asarray(opened(loop.restore([file_of(picture)], STEPS, [SEED])[0])),
        }
        for name, way in ways.items():
            assert np.array_equal(way(), expected), f"{name} differs at {size}"


async def test_a_masked_picture_has_the_same_bytes_in_evaluation_and_service(repository: Path, tmp_path: Path) -> None:
    sizes = [(71, 47), (64, 48), (33, 50)]
    model = load_model(repository / MASKED.name)
    answers = await served(repository, tmp_path, MASKED.task, sizes, masked=True)
    for size, expected in zip(sizes, answers, strict=True):
        picture, mask = pixels_of(*size), mask_of(*size)
        assert np.array_equal(restored(model, Example("", picture, picture, mask), STEPS, SEED), expected)
        x_0 = restore_whole(model.network, MASKED, to_image(picture), STEPS, [SEED], mask=to_mask(mask))
        assert np.array_equal(to_pixels(x_0), expected)


@pytest.mark.parametrize("size", [(71, 47), (64, 64)])
def test_the_network_in_torch_answers_as_its_graph(repository: Path, size: tuple[int, int]) -> None:
    graph, picture = load_model(repository / SPEC.name), pixels_of(*size)
    in_torch = restore_picture(as_graph(Convolution(SPEC)), SPEC, picture, STEPS, SEED).astype(int)
    assert np.abs(in_torch - restore_picture(graph.network, SPEC, picture, STEPS, SEED)).max() <= 1


def test_the_seed_and_the_mask_decide_the_answer(repository: Path) -> None:
    """Else the tests above would compare pictures that nothing was done to."""
    picture, mask = pixels_of(71, 47), mask_of(71, 47)
    model = load_model(repository / MASKED.name)
    one, other_seed, other_mask = (
        restore_picture(model.network, MASKED, picture, STEPS, seed, mask=chosen)
        for seed, chosen in ((SEED, mask), (SEED + 1, mask), (SEED, 255 - mask))
    )
    assert (one != picture).mean() > 0.5
    assert (one != other_seed).mean() > 0.1
    assert (one != other_mask).mean() > 0.1
    assert Image.fromarray(one).size == (47, 71)
