"""The authors' U-Net: sizes and arrangements."""

import pytest
import torch

from training.networks import UNetConfig, make_network
from training.networks.unet import UnetRes


def parameters(**config: object) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in make_network(UNetConfig.model_validate(config)).parameters())


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"condition": ()}, 36_251_779),
        ({}, 36_261_187),
        ({"condition": ("image", "mask")}, 36_270_595),
        ({"share_encoder": 0, "outputs": 2}, 72_522_374),
        ({"share_encoder": 1, "outputs": 2}, 51_980_614),
        ({"condition": (), "share_encoder": 0, "outputs": 2}, 72_503_558),
        ({"dim_mults": (1, 2, 2, 2)}, 7_748_675),
    ],
)
def test_parameters_are_as_many_as_the_authors(config: dict[str, object], expected: int) -> None:
    assert parameters(**config) == expected


@pytest.mark.parametrize(("share_encoder", "outputs"), [(-1, 1), (-1, 2), (0, 2), (1, 2)])
@pytest.mark.parametrize("condition", [(), ("image",), ("image", "mask")])
def test_every_arrangement_gives_its_outputs(share_encoder: int, outputs: int, condition: tuple[str, ...]) -> None:
    config = UNetConfig.model_validate(
        {"dim": 8, "dim_mults": (1, 2), "condition": condition, "share_encoder": share_encoder, "outputs": outputs}
    )
    extra = torch.randn(2, 3 * len(condition), 8, 12) if condition else None
    actual = make_network(config)(torch.randn(2, 3, 8, 12), extra, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert [out.shape for out in actual] == [torch.Size([2, 3, 8, 12])] * outputs


def test_two_networks_are_given_different_times() -> None:
    network = make_network(UNetConfig(dim=8, dim_mults=(1, 2), share_encoder=0, outputs=2)).eval()
    x, condition = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8)
    base = network(x, condition, torch.tensor([[10.0, 20.0]]))
    for column in (0, 1):
        time = torch.tensor([[10.0, 20.0]])
        time[0, column] = 700
        changed = network(x, condition, time)
        assert [bool(torch.equal(a, b)) for a, b in zip(base, changed, strict=True)] == [column == 1, column == 0]


def test_arrangement_that_cannot_give_the_outputs_is_refused() -> None:
    with pytest.raises(ValueError, match="share_encoder 0 gives 2 outputs; the objective needs 1"):
        UnetRes(UNetConfig(dim=8, dim_mults=(1, 2), share_encoder=0, outputs=1))


@torch.no_grad()
def test_other_precisions_use_the_authors_larger_stabiliser() -> None:
    """1e-5 in float32, 1e-3 elsewhere: the same weights in float64 give visibly other outputs."""
    torch.manual_seed(0)
    network = make_network(UNetConfig(dim=8, dim_mults=(1, 2))).eval()
    x, condition, time = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8), torch.tensor([[5.0, 5.0]])
    single = network(x, condition, time)[0]
    double = network.double()(x.double(), condition.double(), time.double())[0]
    assert 1e-4 < float((single - double).abs().max()) < 1
