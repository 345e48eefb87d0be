"""Measures that need published weights on disk: LPIPS (AlexNet), and Inception features for FID and IS. Nothing is fetched.

Weights are looked for in a folder (by default torch hub's). A missing file is named, with what it is.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Picture = NDArray[np.uint8]
ALEXNET, LPIPS_HEADS, INCEPTION = "alexnet-owt-7be5be79.pth", "alex.pth", "inception-2015-12-05.pt"
DESCRIPTIONS = {
    ALEXNET: "AlexNet trained on ImageNet, as torchvision publishes it",
    LPIPS_HEADS: "the linear heads of LPIPS v0.1 for AlexNet, in the lpips package under weights/v0.1",
    INCEPTION: "the Inception network of 2015 that FID is defined by, as TorchScript with a `return_features` argument",
}
# AlexNet's convolutions by their index in torchvision's `features`: index, in, out, kernel, stride, padding, pooled before or not.
CONVOLUTIONS = (
    (0, 3, 64, 11, 4, 2, False),
    (3, 64, 192, 5, 1, 2, True),
    (6, 192, 384, 3, 1, 1, True),
    (8, 384, 256, 3, 1, 1, False),
    (10, 256, 256, 3, 1, 1, False),
)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


def weights_folder() -> Path:
    """Where torch keeps what it was given."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def find_weights(name: str, folder: Path) -> Path:
    """The file in the folder, or in an installed lpips package. Raises FileNotFoundError saying what is missing, and where."""
    places = [folder / name]
    package = importlib.util.find_spec("lpips")
    if package is not None and package.submodule_search_locations:
        places.append(Path(package.submodule_search_locations[0]) / "weights" / "v0.1" / name)
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"{name} is missing ({DESCRIPTIONS[name]}); looked for {', '.join(map(str, places))}")


class Lpips(nn.Module):
    """LPIPS 0.1 with AlexNet: the distance of two pictures b 3 h w in [-1, 1], (b,). 0 for equal ones.

    Raises FileNotFoundError naming the weights that are missing.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        backbone = torch.load(find_weights(ALEXNET, folder), map_location="cpu", weights_only=True)
        heads = torch.load(find_weights(LPIPS_HEADS, folder), map_location="cpu", weights_only=True)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        self.convolutions, self.heads = nn.ModuleList(), nn.ParameterList()
        for layer, (index, channels_in, channels_out, kernel, stride, padding, _) in enumerate(CONVOLUTIONS):
            convolution = nn.Conv2d(channels_in, channels_out, kernel, stride, padding)
            convolution.load_state_dict({part: backbone[f"features.{index}.{part}"] for part in ("weight", "bias")})
            self.convolutions.append(convolution)
            self.heads.append(nn.Parameter(heads[f"lin{layer}.model.1.weight"]))
        self.requires_grad_(False)

    def features(self, x: Tensor) -> list[Tensor]:
        """Activations of the five convolutions, each pixel of length 1 over its channels."""
        x = (x - self.shift) / self.scale
        features = []
        for convolution, (*_, pooled) in zip(self.convolutions, CONVOLUTIONS, strict=True):
            x = functional.relu(convolution(functional.max_pool2d(x, 3, 2) if pooled else x))
            features.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return features

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The distance, (b,)."""
        pairs = zip(self.features(a), self.features(b), self.heads, strict=True)
        return torch.stack([functional.conv2d((x - y).square(), head).mean((1, 2, 3)) for x, y, head in pairs]).sum(0)

    @torch.inference_mode()
    def measure(self, answer: Picture, target: Picture) -> float:
        """The distance of two uint8 pictures h w 3."""
        return float(self(_to_tensor(answer), _to_tensor(target)))


def _to_tensor(picture: Picture) -> Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


class Inception:
    """Features (n, 2048) for FID, class probabilities (n, classes) for IS. Raises FileNotFoundError naming the missing weights."""

    def __init__(self, folder: Path) -> None:
        self.network = torch.jit.load(str(find_weights(INCEPTION, folder)), map_location="cpu").eval()

    @torch.inference_mode()
    def features(self, pictures: list[Picture]) -> NDArray[np.float64]:
        """Pool features, one row a picture."""
        return np.concatenate([self._ask(picture, return_features=True) for picture in pictures])

    @torch.inference_mode()
    def probabilities(self, pictures: list[Picture]) -> NDArray[np.float64]:
        """Softmax over classes, one row a picture."""
        return np.concatenate([self._ask(picture, return_features=False) for picture in pictures])

    def _ask(self, picture: Picture, *, return_features: bool) -> NDArray[np.float64]:
        x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
        out: Tensor = self.network(x, return_features=return_features)
        return out.double().numpy()
