"""Networks of one pass: what is understood, what is refused, and that the service answers what the network answers."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from export.command import main as export
from rddm.image import to_image, to_pixels
from rddm.spec import ModelSpec
from service.cli.restore import restore
from tests.one_pass import ffdnet, high_pass, scaled
from training.checkpoint import GRAPH, SPEC
from training.importing.command import main
from training.importing.one_pass import OnePass, Stated, read_network, spec_of, understand, wrapped

SIGMA = {"sigma": 0.1}
Pixels = np.ndarray


def picture(height: int, width: int) -> Pixels:
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).integers(0, 40, (height, width, 3))
    return (np.stack([x % 200, y % 200, (x + y) % 200], 2) + noise).clip(0, 255).astype(np.uint8)


def answer(path: Path, x_in: Pixels, **constants: float) -> Pixels:
    """ONNX Runtime's own answer of the network as it was published, x_in in [-1, 1] and back."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    further = {key: np.full((1, 1, 1, 1), value, np.float32) for key, value in constants.items()}
    y = session.run(None, {name: x_in * np.float32(0.5) + np.float32(0.5), **further})[0]
    return (y - np.float32(0.5)) / np.float32(0.5)


def test_ffdnets_shape_is_probed(tmp_path: Path) -> None:
    facts = understand(read_network(ffdnet(tmp_path / "net.onnx")), Stated(range="0..1", constants=SIGMA))
    assert (facts.image, facts.output, facts.multiple, facts.side, facts.scale) == ("x", "y", 2, None, 1)
    assert (facts.range, facts.order, facts.answer, facts.probed) == ("0..1", "rgb", "image", ("answer",))


@pytest.mark.parametrize(("factor", "kind"), [(1.0, "residual"), (-1.0, "correction")])
def test_an_answer_that_is_the_noise_is_what_is_to_be_removed(tmp_path: Path, factor: float, kind: str) -> None:
    assert understand(read_network(high_pass(tmp_path / "net.onnx", factor)), Stated(range="0..1")).answer == kind


def test_an_answer_near_nothing_could_be_either(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--answer must be said: probing does not tell"):
        understand(read_network(scaled(tmp_path / "net.onnx", factor=0.0)), Stated(range="0..1"))


def test_an_enlarging_network_is_understood(tmp_path: Path) -> None:
    facts = understand(read_network(scaled(tmp_path / "net.onnx", times=4)), Stated(range="0..1"))
    spec = spec_of(facts, "a", "upscale", "none")
    assert (facts.scale, spec.size_multiple, spec.preprocessing) == (4, 4, ("repeat_4",))


def test_a_network_of_one_size_is_served_in_tiles_of_it(tmp_path: Path) -> None:
    facts = understand(read_network(scaled(tmp_path / "net.onnx", size=48)), Stated(range="0..1", answer="image"))
    spec = spec_of(facts, "a", "restore", "none")
    assert (facts.side, spec.sizes, spec.reach) == (48, ((48, 48),), 0)


def test_probing_that_tells_nothing_asks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--range must be said: probing does not tell \(error of a picture with a little noise: "):
        understand(read_network(scaled(tmp_path / "net.onnx")), Stated(answer="image"))


@pytest.mark.parametrize("kind", ["image", "residual", "correction"])
@pytest.mark.parametrize("value_range", ["0..1", "-1..1", "0..255"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_wrapped_graph_is_the_network_between_its_conversions(tmp_path: Path, kind: str, value_range: str, order: str) -> None:
    network = read_network(ffdnet(tmp_path / "net.onnx"))
    facts = OnePass("x", "y", value_range, order, kind, 2, None, 1, SIGMA)
    session = onnxruntime.InferenceSession(wrapped(network, facts).SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).uniform(-1, 1, (2, 3, 12, 8)).astype(np.float32)
    [output] = session.run(None, {"x_t": x, "time": np.zeros((2, 2), np.float32)})
    factor, shift = {"0..1": (0.5, 0.5), "-1..1": (1, 0), "0..255": (127.5, 127.5)}[value_range]
    values = x * factor + shift
    values = values[:, ::-1] if order == "bgr" else values
    inner = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    y = inner.run(None, {"x": np.ascontiguousarray(values, np.float32), "sigma": np.full((2, 1, 1, 1), 0.1, np.float32)})[0]
    y = {"image": y, "residual": values - y, "correction": values + y}[kind]
    y = y[:, ::-1] if order == "bgr" else y
    np.testing.assert_allclose(output, (y - shift) / factor, atol=2e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network of FFDNet's shape, and the repository that it was imported and exported to."""
    folder = tmp_path_factory.mktemp("ffdnet")
    path, repository = ffdnet(folder / "ffdnet" / "net.onnx"), folder / "models"
    options = ["--one-pass", "--task", "denoise", "--constant", "sigma=0.1", "--range", "0..1", "--answer", "image"]
    assert main([str(path), *options, "-o", str(folder / "run")]) == 0
    assert export([str(folder / "run"), "-o", str(repository)]) == 0
    return path, repository


def served(repository: Path, pixels: Pixels, folder: Path, *options: str) -> Pixels:
    Image.fromarray(pixels).save(folder / "in.png")
    assert restore([str(folder / "in.png"), "-o", str(folder / "out.png"), "--model-repository", str(repository), *options]) == 0
    return np.asarray(Image.open(folder / "out.png"))


def test_served_whole_it_gives_the_networks_own_bytes(denoiser: tuple[Path, Path], tmp_path: Path) -> None:
    path, repository = denoiser
    pixels = picture(96, 130)
    actual = served(repository, pixels, tmp_path, "--task", "denoise")
    np.testing.assert_array_equal(actual, to_pixels(answer(path, to_image(pixels), sigma=0.1)))


def test_served_in_tiles_it_differs_by_less_than_a_level(denoiser: tuple[Path, Path], tmp_path: Path) -> None:
    path, repository = denoiser
    pixels = picture(560, 520)
    actual = served(repository, pixels, tmp_path).astype(int)
    whole = to_pixels(answer(path, to_image(pixels), sigma=0.1)).astype(int)
    assert np.abs(actual - whole).max() <= 1


def test_an_enlarging_network_gives_a_larger_picture(tmp_path: Path) -> None:
    path = scaled(tmp_path / "zoom" / "net.onnx", times=2)
    options = ["--one-pass", "--task", "upscale", "--range", "0..1", "--name", "zoom"]
    assert main([str(path), *options, "-o", str(tmp_path / "run")]) == 0
    assert export([str(tmp_path / "run"), "-o", str(tmp_path / "models")]) == 0
    pixels = picture(30, 41)
    np.testing.assert_array_equal(served(tmp_path / "models", pixels, tmp_path), pixels.repeat(2, 0).repeat(2, 1))
    Image.fromarray(np.dstack([pixels, pixels[..., 0]])).save(tmp_path / "in.png")
    assert restore([str(tmp_path / "in.png"), "-o", str(tmp_path / "a.png"), "--model-repository", str(tmp_path / "models")]) == 0
    assert np.asarray(Image.open(tmp_path / "a.png")).shape == (60, 82, 4)


def test_a_torch_program_is_read_as_its_graph(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Dim(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: "torch.Tensor") -> "torch.Tensor":
            return x - 0.1 * self.conv(x)

    height, width, batch = (torch.export.Dim(name, min=1, max=4096) for name in ("h", "w", "b"))
    program = torch.export.export(Dim(), (torch.zeros(2, 3, 16, 24),), dynamic_shapes=({0: batch, 2: height, 3: width},))
    torch.export.save(program, tmp_path / "net.pt2")
    assert main([str(tmp_path / "net.pt2"), "--one-pass", "--task", "dim", "--range", "0..1", "-o", str(tmp_path / "run")]) == 0
    graph = onnxruntime.InferenceSession(str(tmp_path / "run" / GRAPH), providers=["CPUExecutionProvider"])
    x = torch.rand(1, 3, 10, 14) * 2 - 1
    [output] = graph.run(None, {"x_t": x.numpy(), "time": np.zeros((1, 2), np.float32)})
    with torch.no_grad():
        expected = program.module()(x * 0.5 + 0.5) * 2 - 1
    np.testing.assert_allclose(output, expected.numpy(), atol=1e-5)
    assert ModelSpec.model_validate_json((tmp_path / "run" / SPEC).read_text()).max_steps == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "denoise"], "say --one-pass if its answer to a picture is the picture"),
        (["--one-pass"], "say what the network does: --task denoise, for one"),
        (["--one-pass", "--task", "denoise"], "has further inputs ['sigma']; give each a value: --constant sigma=0.1"),
        (
            ["--one-pass", "--task", "a", "--constant", "noise=1", "--constant", "sigma=1"],
            "has no input ['noise']; its further inputs are ['sigma']",
        ),
        (["--one-pass", "--task", "a", "--steps", "3"], "--steps cannot be used with net.onnx, a network of one pass"),
    ],
)
def test_what_is_missing_or_means_nothing_is_reported(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(ffdnet(tmp_path / "net.onnx")), *options, "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bytes_that_are_no_graph_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("net.onnx", "net.pt2"):
        (tmp_path / name).write_bytes(b"\xff\x01 no graph")
        assert main([str(tmp_path / name), "--one-pass", "--task", "a"]) == 2
        assert f"{tmp_path / name} is no" in capsys.readouterr().err


def test_a_network_of_other_inputs_is_refused(tmp_path: Path) -> None:
    grey = onnx.load(ffdnet(tmp_path / "net.onnx"))
    grey.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    with pytest.raises(ValueError, match="expected one picture b 3 h w of floats"):
        understand(grey, Stated())


def test_the_summary_and_the_card_say_what_was_probed(
    denoiser: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, repository = denoiser
    options = ["--one-pass", "--task", "denoise", "--constant", "sigma=0.1", "--range", "0..1", "-o", str(tmp_path / "run")]
    assert main([str(path), *options]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[1:5]] == ["name", "task", "licence", "source"]
    assert "value range        0..1" in shown
    assert "probed             ['answer', 'sides']" in shown
    [card] = repository.glob("*/README.md")
    assert "- Value range: 0..1" in card.read_text()
