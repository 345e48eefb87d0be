"""Synthesis: the same seed gives the same picture, degradations do what their names say, fine pictures stay themselves."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.synthesis import clean as cleaning
from training.synthesis import drops, enlarged, haze, jpeg, outdoors, photographs, scenes, shadow, shake, sheet, streaks, strokes
from training.synthesis.draws import Dice, PairSource, quantise, to_linear, to_srgb
from training.synthesis.emoji import Emoji, find_font, render_all, split
from training.synthesis.lowlight import LowLight, darkened, lamps
from training.synthesis.pool import load_pool
from training.synthesis.rain import rained
from training.synthesis.registry import DEGRADATIONS

SIDE = 96


def dice(seed: int = 0) -> Dice:
    return Dice(torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    return sheet.pool_of(scenes.render, 0, 6, SIDE)


@pytest.fixture(scope="module")
def sources(clean: torch.Tensor) -> dict[str, PairSource]:
    maps = {"streaks": sheet.pool_of(streaks.render, 0, 6, SIDE), "drops": sheet.pool_of(drops.render, 0, 6, SIDE)}
    return {name: kind.make(clean, maps.get(kind.maps or ""), 32, 64) for name, kind in DEGRADATIONS.items()}


@pytest.mark.parametrize("maker", [scenes, outdoors, photographs, streaks, drops])
def test_a_seed_is_a_picture(maker: object) -> None:
    first, again, other = (maker.render(seed, SIDE) for seed in (7, 7, 8))  # type: ignore[attr-defined]
    assert first.dtype == np.uint8
    assert first.shape[:2] == (SIDE, SIDE)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_scenes_are_as_bright_as_photographs() -> None:
    means = [scenes.render(seed, 64).mean() / 255 for seed in range(30)]
    assert 0.38 < np.mean(means) < 0.48


def test_what_is_brightest_in_a_street_is_its_sky() -> None:
    streets = np.stack([outdoors.render(seed, 64) for seed in range(60)]).mean(3) > 240
    assert streets[:, :32].sum() > 1.3 * streets[:, 32:].sum() > 0


def test_unknown_photograph_is_refused() -> None:
    with pytest.raises(KeyError, match="expected one of"):
        photographs.photograph("lenna")


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_pairs_are_pictures_and_repeatable(sources: dict[str, PairSource], name: str) -> None:
    first, again = sources[name].draw(8, dice(3)), sources[name].draw(8, dice(3))
    for part in (first.target, first.given):
        assert part.shape == (8, 3, 32, 32)
        assert part.dtype == torch.float32
        assert part.abs().max() <= 1
    assert torch.equal(first.given, again.given)
    assert torch.equal(first.target, again.target)


@pytest.mark.parametrize("name", sorted(DEGRADATIONS.keys() - {"inpaint", "upscale"}))
def test_some_pictures_are_left_as_they_are(sources: dict[str, PairSource], name: str) -> None:
    pairs = sources[name].draw(64, dice(1))
    same = ((pairs.given - pairs.target).abs().amax((1, 2, 3)) < 0.01).float().mean()
    assert 0.02 < same < 0.5


def test_context_is_the_whole_dark_picture(clean: torch.Tensor) -> None:
    uncropped = LowLight(clean, crop=64, whole=64).draw(4, dice(2))
    cropped = LowLight(clean, crop=32, whole=64).draw(4, dice(2))
    assert cropped.context is not None
    assert torch.allclose(cropped.context, torch.nn.functional.avg_pool2d(uncropped.given, 2), atol=1e-5)


def test_dark_pictures_have_targets_of_the_stated_brightness(clean: torch.Tensor) -> None:
    pairs = LowLight(clean, crop=64, whole=64, nights=0).draw(256, dice(6))
    dark = (pairs.given - pairs.target).abs().amax((1, 2, 3)) > 0.1
    means = (pairs.target[dark].mean((1, 2, 3)) + 1) / 2
    assert abs(float(means.mean()) - 0.43) < 0.02
    assert float(means.std()) < 0.05


def test_what_is_unlit_at_night_stays_black_and_what_is_lit_has_the_stated_brightness(clean: torch.Tensor) -> None:
    pairs = LowLight(clean, crop=64, whole=64, nights=1).draw(128, dice(7))
    target = ((pairs.target + 1) / 2)[(pairs.given - pairs.target).abs().amax((1, 2, 3)) > 0.1].mean(1)
    unlit = target < 0.12
    shares = unlit.float().mean((1, 2))
    assert float(shares.min()) < 0.3
    assert float(shares.max()) > 0.9
    assert 0.3 < float(target[~unlit].mean()) < 0.6


def test_lamps_only_add_light_and_burn_on_in_the_dark(clean: torch.Tensor) -> None:
    scene = to_linear(clean[:4, :, :64, :64].float() / 255)
    lit = lamps(scene, torch.full((4, 1, 1, 1), 5.0), dice(8))
    assert float((lit - scene).min()) >= 0
    assert float(lit.max()) > 2**5


@pytest.mark.parametrize("level", [0, 255])
def test_pictures_of_one_colour_can_be_darkened(level: int) -> None:
    pool = torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8)
    pool[:, 0] = level
    pairs = LowLight(pool, crop=32, whole=64).draw(64, dice())
    assert all(bool(torch.isfinite(part).all()) for part in (pairs.target, pairs.given, pairs.context))


def test_more_stops_are_darker(clean: torch.Tensor) -> None:
    scene = to_linear(clean[:4, :, :64, :64].float() / 255)
    means = [float(darkened(scene, torch.full((4, 1, 1, 1), stops), dice(5)).mean()) for stops in (1.0, 3.0, 6.0)]
    assert means[0] > means[1] > means[2] > 0


def test_rain_never_darkens_what_it_adds_to(clean: torch.Tensor) -> None:
    picture, rain = clean[:4, :, :64, :64].float() / 255 * 0.5, torch.rand(4, 1, 64, 64)
    assert float((rained(picture, rain, dice(0)) - picture).min()) > -0.1
    assert torch.equal(rained(picture, 0 * rain, dice(4))[0], picture[0])


def correlation(noise: torch.Tensor, lag: int) -> torch.Tensor:
    """Of pixels so far apart in a row, per channel."""
    return (noise[..., lag:] * noise[..., :-lag]).mean((0, 2, 3)) / noise.square().mean((0, 2, 3))


def test_camera_noise_is_as_coarse_as_in_real_files_and_coarser_in_red_and_blue() -> None:
    red, green, blue = correlation(cleaning.camera_noise(torch.full((32, 3, 96, 96), 0.2), dice(1)), 1).tolist()
    assert 0.6 < red < 0.85
    assert 0.6 < blue < 0.85
    assert 0.35 < green < red - 0.1


def test_camera_noise_grows_with_the_light() -> None:
    light = torch.cat([torch.full((16, 3, 64, 32), 0.02), torch.full((16, 3, 64, 32), 0.9)], 3)
    noise = cleaning.camera_noise(light, dice(2))
    assert float(noise[..., 40:].std()) > 1.5 * float(noise[..., :24].std())


def test_demosaicing_keeps_what_was_measured() -> None:
    noise = torch.randn(1, 3, 16, 16)
    found = cleaning.demosaiced(noise)
    assert torch.allclose(found[0, 0, ::2, ::2], noise[0, 0, ::2, ::2])
    assert torch.allclose(found[0, 1, ::2, 1::2], noise[0, 1, ::2, 1::2])
    assert torch.allclose(found[0, 2, 1::2, 1::2], noise[0, 2, 1::2, 1::2])


def test_haze_takes_contrast_and_adds_light(clean: torch.Tensor) -> None:
    picture = clean[:6, :, :64, :64].float() / 255
    hazy = haze.hazed(picture, dice(3))
    assert float(hazy.std((2, 3)).mean()) < 0.8 * float(picture.std((2, 3)).mean())
    assert float(hazy.amin((1, 2, 3)).mean()) > float(picture.amin((1, 2, 3)).mean()) + 0.03


def test_what_a_mask_hides_is_of_one_colour_and_the_rest_is_kept(sources: dict[str, PairSource]) -> None:
    pairs = sources["inpaint"].draw(16, dice(4))
    assert pairs.mask is not None
    assert set(pairs.mask.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(pairs.given * (1 - pairs.mask), pairs.target * (1 - pairs.mask))
    hidden = pairs.given[0][pairs.mask[0] > 0].view(3, -1)
    assert float((hidden.amax(1) - hidden.amin(1)).max()) == 0


def test_masks_hide_a_part() -> None:
    shares = [strokes.mask(np.random.default_rng(seed), 128).mean() / 255 for seed in range(60)]
    assert max(shares) < 0.5
    assert 0.01 < np.mean(shares) < 0.2


def test_enlargement_has_the_pictures_means_and_not_its_detail(clean: torch.Tensor) -> None:
    pairs = enlarged.Enlarged(clean, 64).draw(8, dice(5))
    assert torch.allclose(pairs.given.mean((2, 3)), pairs.target.mean((2, 3)), atol=0.02)
    fine = [(part[..., 1:] - part[..., :-1]).square().mean() for part in (pairs.given, pairs.target)]
    assert fine[0] < 0.8 * fine[1]


def test_shadows_only_darken_and_leave_the_lit_part(clean: torch.Tensor) -> None:
    picture = clean[:6, :, :64, :64].float() / 255
    dark, where = shadow.shaded(picture, dice(6))
    assert float((dark - picture).max()) < 0.05
    lit = (where == 0).expand(-1, 3, -1, -1)
    assert float((dark - picture)[lit].abs().mean()) < 0.01
    deep = (where == 1).expand(-1, 3, -1, -1)
    assert float((picture - dark)[deep].mean()) > 0.03


def test_shake_keeps_the_light_and_a_still_camera_the_picture(clean: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    light = to_linear(clean[:4, :, :64, :64].float() / 255)
    assert abs(float(shake.shaken(light, dice(7)).mean() - light.mean())) < 0.02
    monkeypatch.setattr(shake, "LONGEST", 1e-6)
    monkeypatch.setattr(shake, "TURN", 0)
    assert torch.allclose(shake.shaken(light, dice(7)), light, atol=2e-3)


def collection(folder: Path, count: int = 3) -> photographs.Collection:
    """A folder of photographs, each of one grey, with its attribution."""
    rows = ["\t".join(photographs.COLUMNS)]
    for k in range(count):
        Image.new("RGB", (90, 70), (60 * k + 30,) * 3).save(folder / f"{k}.png")
        rows.append(f"{k}.png\tmade here\tCC0-1.0\tnobody\t90x70")
    (folder / photographs.ATTRIBUTION).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return photographs.Collection.read(folder)


def test_photographs_of_a_folder_come_in_turn(tmp_path: Path) -> None:
    found = collection(tmp_path)
    windows = [found.render(seed, 64) for seed in range(4)]
    assert [int(window[0, 0, 0]) for window in windows] == [30, 90, 150, 30]
    assert all(window.shape == (64, 64, 3) for window in windows)
    assert found.render(0, 128).shape == (128, 128, 3)


def test_a_pool_takes_the_folders_photographs_and_has_a_name_of_its_own(tmp_path: Path) -> None:
    found = collection(tmp_path)
    pool = load_pool("photographic", 4, 64, tmp_path / "cache", 1, found)
    assert [int(picture[0, 0, 0]) for picture in pool[:3]] == [30, 90, 150]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"photographic-{found.digest}-4x64.npy"]


@pytest.mark.parametrize(
    ("listed", "complaint"),
    [
        (None, "is missing; photographs are used only with"),
        ("file\tsource\tlicence\n0.png\there\t \n", "gives no licence for '0.png'"),
        ("file\tsource\tlicence\n9.png\there\tCC0-1.0\n", "lists '9.png', which is not in"),
        ("file\tsource\tlicence\n", "lists no photograph"),
    ],
)
def test_photographs_without_attribution_are_refused(tmp_path: Path, listed: str | None, complaint: str) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "0.png")
    if listed is not None:
        (tmp_path / photographs.ATTRIBUTION).write_text(listed, encoding="utf-8")
    with pytest.raises((FileNotFoundError, ValueError), match=complaint):
        photographs.Collection.read(tmp_path)


def test_colour_conversions_are_inverse() -> None:
    x = torch.linspace(0, 1, 256)
    assert (to_srgb(to_linear(x)) - x).abs().max() < 1e-4
    assert np.abs(scenes.to_srgb(scenes.to_linear(x.numpy())) - x.numpy()).max() < 1e-4


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_jpeg_arithmetic_is_pillows(clean: torch.Tensor, quality: int) -> None:
    picture = clean[0, :, :64, :64]
    file = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    theirs = torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1).float() / 255
    ours = quantise(jpeg.compress(picture[None].float() / 255, torch.tensor([float(quality)])))[0]
    lost = (theirs - picture / 255).square().mean()
    assert (ours - theirs).square().mean() < 0.35 * lost


def test_emoji_draws_keep_to_the_training_glyphs() -> None:
    glyphs = torch.arange(20, dtype=torch.uint8)[:, None, None, None].expand(20, 3, 16, 16).contiguous()
    training, held_out = split(glyphs)
    drawn = ((Emoji(training).draw(200, dice()).target[:, 0, 0, 0] + 1) * 127.5).round().unique()
    assert len(held_out) == 2
    assert not set(drawn.int().tolist()) & {0, 10}
    assert len(drawn) == 18


def test_glyphs_are_coloured_pictures_on_white() -> None:
    try:
        find_font()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    glyphs = render_all(32)
    assert len(glyphs) > 1000
    assert 100 < len(render_all(32, "faces")) < 200
    with pytest.raises(ValueError, match="unknown set of glyphs 'flags'"):
        render_all(32, "flags")
    assert bool((glyphs[:, :, 0] == 255).all())
    assert float((glyphs.amax(1) - glyphs.amin(1)).float().mean()) > 20


def test_a_pool_is_rendered_once_and_a_larger_one_begins_the_same(tmp_path: Path) -> None:
    cache = tmp_path
    three = load_pool("streaks", 3, 48, cache, workers=1)
    written = (cache / "streaks-3x48.npy").stat().st_mtime_ns
    assert torch.equal(load_pool("streaks", 3, 48, cache), three)
    assert (cache / "streaks-3x48.npy").stat().st_mtime_ns == written
    assert torch.equal(load_pool("streaks", 4, 48, cache, workers=1)[:3], three)
    with pytest.raises(ValueError, match="unknown pool 'snow'"):
        load_pool("snow", 1, 48, cache)


def test_the_sheet_command_writes_a_picture(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert sheet.main(["streaks", "-o", str(out), "--count", "3", "--columns", "2"]) == 0
    with Image.open(out) as picture:
        assert picture.size == (512, 512)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-o", "sheet.bmpp"], "ends in '.bmpp'; expected .jpg"),
        (["-o", "sheet.png", "--count", "0"], "--count 0: expected at least 1"),
        (["-o", "file/sheet.png", "--count", "1"], "cannot be written"),
    ],
)
def test_a_sheet_that_cannot_be_drawn_is_one_line(
    options: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"")
    with pytest.raises(SystemExit, match="2"):
        sheet.main(["scenes", *options])
    assert told in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]
