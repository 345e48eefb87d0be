"""Pairs from disk: the authors' loader where it is sane, names that pair, and checks before training."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from rddm.image import equalized
from training.data.file_lists import check_sizes
from training.data.pairs import Fit, FolderSource, folder_sources, groups_of, read
from training.evaluation.metrics import psnr
from training.recipe import FolderData
from training.synthesis.draws import Dice


def dice(seed: int = 0) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


def draw_picture(path: Path, size: tuple[int, int] = (16, 16), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def pack(root: Path) -> Path:
    return root / "tests" / "fixtures" / "parity" / "data"


@pytest.mark.parametrize("equalize", [False, True])
@pytest.mark.parametrize("how", ["resize", "pad"])
def test_pictures_are_the_authors(pack: Path, equalize: bool, how: str) -> None:
    """Padding, histogram equalisation and resizing, pixel for pixel; their test loader, target, given and mask."""
    groups = groups_of(*(str(pack / f"{part}.flist") for part in ("gt", "input", "mask")), "name")
    with np.load(pack / "dataset.npz") as reference:
        for i, group in enumerate(groups):
            actual = Fit(how, 32, equalize)([read(path) for path in group])
            for k, picture in enumerate(actual):
                theirs = reference[f"cond2_flip0_eq{int(equalize)}_crop{int(how == 'pad')}_sample1_img{i}_{k}"]
                np.testing.assert_array_equal(picture.transpose(2, 0, 1), theirs)


def test_mirrored_pictures_are_the_authors_training_pictures(pack: Path) -> None:
    groups = groups_of(str(pack / "gt.flist"), str(pack / "input.flist"), None, "name")
    with np.load(pack / "dataset.npz") as reference:
        for i, group in enumerate(groups):
            for k, picture in enumerate(Fit("resize", 32)([read(path) for path in group], mirror=True)):
                np.testing.assert_array_equal(picture.transpose(2, 0, 1), reference[f"cond2_flip1_eq0_crop0_sample0_img{i}_{k}"])


def test_flip_is_random_and_the_same_for_the_pair(tmp_path: Path) -> None:
    for part in ("target", "given"):
        draw_picture(tmp_path / part / "a.png")
        draw_picture(tmp_path / part / "b.png")
    data = FolderData(kind="folder", target=str(tmp_path / "target"), given=str(tmp_path / "given"), side=16)
    drawn = FolderSource(data, groups_of(data.target, data.given, None, "name")).draw(200, dice())
    torch.testing.assert_close(drawn.target, drawn.given)
    share = float((drawn.target == drawn.target[:1]).flatten(1).all(1).float().mean())
    assert 0.35 < share < 0.65


def test_crops_of_a_pair_are_of_one_place(tmp_path: Path) -> None:
    picture = draw_picture(tmp_path / "target" / "a.png", (40, 32))
    draw_picture(tmp_path / "given" / "a.png", (40, 32))
    data = FolderData(kind="folder", target=str(tmp_path / "target"), given=str(tmp_path / "given"), side=16, flip=0)
    drawn = FolderSource(data, groups_of(data.target, data.given, None, "name")).draw(20, dice())
    torch.testing.assert_close(drawn.target, drawn.given)
    assert len({bytes(crop.numpy()) for crop in drawn.target}) > 10
    whole = read(picture).astype(np.float32) / 127.5 - 1
    views = np.lib.stride_tricks.sliding_window_view(whole, (16, 16), axis=(0, 1)).reshape(-1, 3, 16, 16)
    assert all(np.isclose(views, crop.numpy(), atol=1e-5).all(axis=(1, 2, 3)).any() for crop in drawn.target)


def test_equalizing_flattens_the_histogram() -> None:
    dark = np.random.default_rng(0).integers(0, 20, (64, 64, 3), dtype=np.uint8)
    flat = equalized(dark)
    assert (flat.min(), flat.max()) == (0, 255)
    assert flat.mean() == pytest.approx(127.5, abs=8)
    constant = np.full((4, 4, 3), 7, np.uint8)
    np.testing.assert_array_equal(equalized(constant), constant)


def test_a_truncated_picture_is_named_when_it_is_read(tmp_path: Path) -> None:
    broken = draw_picture(tmp_path / "a.png", (64, 64))
    broken.write_bytes(broken.read_bytes()[:2000])
    check_sizes([(broken,)])  # its header is whole
    with pytest.raises(ValueError, match=r"a\.png cannot be read as a picture: .*truncated"):
        read(broken)


def test_mask_is_between_0_and_1(pack: Path) -> None:
    data = FolderData(
        kind="folder",
        side=16,
        **{part: str(pack / f"{name}.flist") for part, name in (("target", "gt"), ("given", "input"), ("mask", "mask"))},
    )
    training, held_out = folder_sources(data)
    drawn = training.draw(4, dice())
    assert drawn.mask is not None
    assert drawn.mask.shape == drawn.given.shape
    assert (float(drawn.mask.min()), float(drawn.mask.max())) == (0, 1)
    assert len(training.groups) + len(held_out.groups) == 4


def test_target_alone_is_generation_and_a_hole_is_inpainting(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_picture(tmp_path / f"{name}.png", (32, 32))
    generated = folder_sources(FolderData(kind="folder", target=str(tmp_path), side=16))[0].draw(2, dice())
    assert float(generated.given.abs().max()) == 0
    holed = folder_sources(FolderData(kind="folder", target=str(tmp_path), side=16, fit="resize", hole=True))[0].draw(2, dice())
    assert float(holed.given[:, :, 4:12, 4:12].abs().max()) == 0
    torch.testing.assert_close(holed.given[:, :, :4], holed.target[:, :, :4])


def test_random_pairing_mixes_two_folders(tmp_path: Path) -> None:
    for i in range(4):
        draw_picture(tmp_path / "cat" / f"c{i}.png", seed=i)
        draw_picture(tmp_path / "dog" / f"d{i}.png", seed=10 + i)
    data = FolderData(kind="folder", target=str(tmp_path / "cat"), given=str(tmp_path / "dog"), pairing="random", side=16, flip=0)
    drawn = folder_sources(data)[0].draw(64, dice())
    pairs = {(bytes(a.numpy()), bytes(b.numpy())) for a, b in zip(drawn.target, drawn.given, strict=True)}
    assert len(pairs) > 4


@pytest.mark.parametrize("name", ["bicubic", "bilinear"])
def test_pictures_are_resized_by_the_filter_that_is_named(tmp_path: Path, name: str) -> None:
    """CelebA's and inpainting's loaders are torchvision's, which resize bilinearly; the authors' own is bicubic."""
    path = draw_picture(tmp_path / "a.png", (48, 40))
    actual = Fit("resize", 16, window=(4, 2, 32, 32), filter=name)([read(path)])[0]
    expected = Image.open(path).crop((2, 4, 34, 36)).resize((16, 16), Image.Resampling[name.upper()])
    np.testing.assert_array_equal(actual, np.asarray(expected))


def test_context_of_an_equalised_crop_is_equalised(tmp_path: Path) -> None:
    for part in ("gt", "in"):
        for name in ("a", "b"):
            dark = np.random.default_rng(1).integers(0, 20, (32, 32, 3), dtype=np.uint8)
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(dark).save(tmp_path / part / f"{name}.png")
    data = FolderData(kind="folder", target=str(tmp_path / "gt"), given=str(tmp_path / "in"), side=16, equalize=True)
    drawn = folder_sources(data)[0].draw(1, dice())
    assert drawn.context is not None
    assert float(drawn.context.mean()) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("kind", ["the case", "big-endian TIFF", "little-endian TIFF", "PGM"])
def test_grey_of_16_bits_is_scaled_and_not_cut(root: Path, tmp_path: Path, kind: str) -> None:
    case = root / "tests" / "fixtures" / "cases" / "training-grey16"
    levels = {part: np.asarray(Image.open(case / part / "1.png")).astype(np.uint16) for part in ("gt", "lq")}
    files = {part: case / part / "1.png" for part in levels}
    if kind != "the case":
        files = {part: tmp_path / f"{part}.{'pgm' if kind == 'PGM' else 'tif'}" for part in levels}
        for part, file in files.items():
            if kind == "PGM":
                height, width = levels[part].shape
                file.write_bytes(f"P5 {width} {height} 65535\n".encode() + levels[part].astype(">u2").tobytes())
            else:
                tifffile.imwrite(file, levels[part], byteorder=">" if kind.startswith("big") else "<")
    assert read(files["gt"]).mean() == pytest.approx(160.6, abs=0.1)
    assert read(files["lq"]).mean() == pytest.approx(40.2, abs=0.1)
    assert psnr(read(files["lq"]), read(files["gt"])) == pytest.approx(6, abs=1)


def test_samples_of_another_kind_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((8, 8), 0.5, np.float32))
    with pytest.raises(ValueError, match=r"a\.tif cannot be read as a picture: grey samples of Pillow's mode 'F'"):
        read(tmp_path / "a.tif")
