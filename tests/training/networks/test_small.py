"""The small network: shapes, size, locality, and where it starts."""

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from rddm.condition import restore_whole
from rddm.spec import ModelSpec
from training.networks import SmallConfig, make_network
from training.networks.small import Active, Door, Shuffle, Unchanged, Up, conv, over_pixels
from training.recipe import built_in_recipes, load_recipe
from training.sampling import as_graph

FINE = ("clean", "inpaint", "upscale")  # kinds of data


TINY = SmallConfig(widths=(8, 8, 8), depths=(1, 1, 1), time_width=16)


DARK = TINY.model_copy(update={"condition": ("image", "context"), "exposure": True})


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.08)
    return network.eval()


@pytest.mark.parametrize(("config", "channels"), [(TINY, 3), (DARK, 6)])
def test_outputs_have_the_shape_of_x_t(config: SmallConfig, channels: int) -> None:
    (out,) = make_network(config)(pictures(2, 3, 24, 40), pictures(2, channels, 24, 40), torch.full((2, 2), 999.0))
    assert out.shape == (2, 3, 24, 40)


def test_two_heads_without_condition() -> None:
    network = make_network(TINY.model_copy(update={"condition": (), "outputs": 2}))
    assert [out.shape for out in network(pictures(1, 3, 16, 16), None, torch.zeros(1, 2))] == [(1, 3, 16, 16)] * 2


def test_a_fresh_network_leaves_the_picture_as_it_is() -> None:
    (residual,) = make_network(TINY)(pictures(1, 3, 16, 16), pictures(1, 3, 16, 16, seed=1), torch.zeros(1, 2))
    assert residual.abs().max() == 0


def test_the_door_over_pixels_is_the_door_after_space_to_depth() -> None:
    door, picture = conv(4 * 5, 7), pictures(2, 5, 24, 40)
    folded = functional.conv2d(picture, over_pixels(door.weight), door.bias, stride=2, padding=2)
    assert torch.allclose(folded, door(functional.pixel_unshuffle(picture, 2)), atol=1e-5)


@pytest.mark.parametrize(("pieces", "convolutions"), [(1, 1), (2, 1), (3, 2), (4, 2)])
def test_the_door_that_is_exported_sees_few_channels_at_once_and_answers_alike(pieces: int, convolutions: int) -> None:
    door = Door(3 * pieces, 8)
    seen = [pictures(2, 3, 16, 24, seed=seed) for seed in range(pieces)]
    plain = door.plain()
    assert len(plain.pieces) == convolutions
    torch.testing.assert_close(plain(seen), door(seen), atol=1e-6, rtol=1e-5)


def test_the_shuffle_that_is_exported_moves_every_value_to_the_same_place() -> None:
    x = pictures(2, 20, 6, 10)
    assert torch.equal(Shuffle().plain()(x), Shuffle()(x))


@pytest.mark.parametrize("width", [32, 48, 8])
def test_layers_that_are_exported_answer_with_the_same_bytes(width: int) -> None:
    x = pictures(2, width, 6, 10)
    for layer in (Active(width), Up(width, width)):
        assert torch.equal(layer.plain()(x), layer(x))


def test_what_changes_nothing_is_a_convolution_where_its_groups_fill_blocks() -> None:
    assert [Unchanged(width).groups for width in (8, 16, 48, 120)] == [0, 1, 3, 0]


def test_as_served_what_depends_on_the_picture_alone_is_part_of_the_condition() -> None:
    dark = randomised(make_network(DARK))
    spec = ModelSpec(name="dark", task="dark", licence="Apache-2.0", condition=DARK.condition, size_multiple=8, most_pixels=96 * 96)
    network, served = dark.served(spec)
    assert (served.condition, network.exposure) == (("image", "exposed", "code"), None)
    assert network.config.condition == served.condition
    x_in = pictures(1, 3, 45, 70).numpy() ** 3 * 0.3 - 0.7
    before, after = (restore_whole(as_graph(one), of_one, x_in, 3) for one, of_one in ((dark, spec), (network, served)))
    assert abs(before - x_in).max() > 0.1
    assert abs(after - before).max() < 1e-5
    fine = randomised(make_network(TINY))
    assert fine.served(spec) == (fine, spec)


def test_a_far_pixel_changes_nothing() -> None:
    network, time = randomised(make_network(TINY)), torch.zeros(1, 2)
    whole, condition = pictures(1, 3, 192, 192), pictures(1, 3, 192, 192, seed=2)
    (before,) = network(whole, condition, time)
    condition[..., 160:, 160:] = 1
    (after,) = network(whole, condition, time)
    assert torch.equal(before[..., :64, :64], after[..., :64, :64])
    assert not torch.equal(before, after)


def test_a_tile_answers_like_the_whole_away_from_its_border() -> None:
    network, time = randomised(make_network(DARK)), torch.full((1, 2), 499.0)
    x_t, image = pictures(1, 3, 192, 192), pictures(1, 3, 192, 192, seed=3)
    tile = (..., slice(0, 128), slice(0, 128))
    uniform = torch.full_like(image, -0.8)
    (whole,) = network(x_t, torch.cat([image, uniform], 1), time)
    (part,) = network(x_t[tile], torch.cat([image[tile], uniform[tile]], 1), time)
    assert (whole[..., :48, :48] - part[..., :48, :48]).abs().max() < 1e-4


def test_shipped_recipes_stay_within_the_size_that_was_promised() -> None:
    for path in built_in_recipes().values():
        recipe = load_recipe(path)
        if recipe.network.kind != "small":
            continue
        side = 256 if recipe.spec.image_size is None else recipe.spec.image_size[0]
        channels = recipe.spec.condition_channels
        network = make_network(recipe.network)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, 3, side, side), torch.zeros(1, channels, side, side) if channels else None, torch.zeros(1, 2))
        assert sum(p.numel() for p in network.parameters()) <= 3.1e6, path
        # 65,536 pixels: 4.1 GFLOP are about 0.4 s a megapixel on one core; detail (noise, enlargement) takes three times as much
        assert counter.get_total_flops() <= (13.0e9 if recipe.data.kind in FINE else 4.8e9), path


@pytest.mark.parametrize(
    ("stages", "complaint"),
    [
        ({"fill": True}, r"fill needs image and mask in the condition, which is \('image',\)"),
        ({"levels": True}, "levels needs image and context"),
        ({"levels": True, "exposure": True, "condition": ("image", "context")}, "exposure and levels are both set"),
    ],
)
def test_a_first_stage_without_its_inputs_is_refused(stages: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SmallConfig(**stages)  # type: ignore[arg-type]
