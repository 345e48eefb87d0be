"""Which models a clip's frames go through, how bright they become, and that a resumed run decides the same."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.errors import TooLarge
from service.video.parameters import ClipParameters
from service.video.restoration import ClipResult, ClipWork
from tests.service.video.clips import Recipe, read_clip, scene, write_clip
from tests.service.video.fakes import NamedSampler, in_kept_processes, models_of, restorer_of, work_on

SHOTS = (60, 45)  # frames: a dark shot, and a light one


def two_shots(number: int, width: int, height: int) -> np.ndarray:
    """The light flickers by a third from frame to frame."""
    if number < SHOTS[0]:
        return (scene(number, width, height) * (0.2 + 0.07 * (number % 2))).astype(np.uint8)
    draw = np.random.default_rng(1).integers(60, 200, (6, 8, 3)).repeat(height // 6, 0).repeat(width // 8, 1)
    return np.roll(draw, number, 1).astype(np.uint8)


def plain_light(number: int, width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 200, np.uint8) + scene(number, width, height) // 8


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_of(sum(SHOTS), tmp_path_factory.mktemp("clip") / "in.mp4")


@pytest.fixture(scope="module")
def dark_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dark shot, and a little of the light one."""
    return clip_of(SHOTS[0] + 12, tmp_path_factory.mktemp("clip") / "dark.mp4")


def clip_of(frames: int, path: Path) -> Path:
    return write_clip(path, Recipe(times=range(0, frames * 3750, 3750), picture=two_shots))


def asked(source: Path, target: Path, *tasks: str, **members: object) -> ClipWork:
    work = work_on(source, target)
    return replace(work, models=models_of(*tasks), parameters=ClipParameters.model_validate(members))


async def restored(work: ClipWork) -> tuple[ClipResult, list[np.ndarray], NamedSampler]:
    sampler = NamedSampler()
    result = await restorer_of(sampler).restore(work)
    return result, [frame.pixels for frame in read_clip(work.target)[1]], sampler


def names(result: ClipResult) -> list[tuple[int, list[str]]]:
    return [(frame, [model.spec.name for model in models]) for frame, models in result.plans]


@in_kept_processes
async def test_auto_plans_each_shot_and_all_its_frames_alike(clip: Path, tmp_path: Path) -> None:
    result, _, sampler = await restored(asked(clip, tmp_path / "a.mp4", "derain", "lowlight", task="auto"))
    assert names(result) == [(0, ["lowlight"]), (SHOTS[0], ["derain"])]
    assert [work.model.spec.name for work in sampler.works] == ["lowlight"] * SHOTS[0] + ["derain"] * SHOTS[1]
    assert {model.spec.name for model in result.models} == {"derain", "lowlight"}


@in_kept_processes
async def test_a_clip_without_fault_comes_back_frame_by_frame(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Recipe(picture=plain_light))
    result, frames, sampler = await restored(asked(source, tmp_path / "a.mkv", "derain", "lowlight", task="auto", codec="ffv1"))
    assert (names(result), result.models, sampler.works) == ([(0, [])], (), [])
    before = [frame.pixels for frame in read_clip(source)[1]]
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(frames, before, strict=True)) <= 2


@in_kept_processes
async def test_several_models_follow_one_another_in_sixteen_bits(clip: Path, tmp_path: Path) -> None:
    result, _, sampler = await restored(asked(clip, tmp_path / "a.mp4", "derain", "lowlight", task="derain,lowlight"))
    assert names(result) == [(0, ["derain", "lowlight"])]
    assert {(work.model.spec.name, work.depth) for work in sampler.works} == {("derain", 16), ("lowlight", 8)}
    assert len(sampler.works) == 2 * sum(SHOTS)
    assert all(work.context is not None for work in sampler.works)


@in_kept_processes
async def test_brightness_is_stops_of_light(dark_clip: Path, tmp_path: Path) -> None:
    _, plain, _ = await restored(asked(dark_clip, tmp_path / "a.mkv", "lowlight", task="lowlight", steady="off", codec="ffv1"))
    brighter = asked(dark_clip, tmp_path / "b.mkv", "lowlight", task="lowlight", steady="off", codec="ffv1", brightness=1)
    _, more, _ = await restored(brighter)
    assert more[3].mean() > 1.2 * plain[3].mean()


@in_kept_processes
async def test_a_wanted_mean_is_reached_evenly_over_a_shot(dark_clip: Path, tmp_path: Path) -> None:
    """The light of the dark shot flickers; the gain follows the window, so that it adds no flicker of its own."""
    gains = {}
    for steady in ("off", "exposure"):
        wanted = {"task": "lowlight", "steady": steady, "codec": "ffv1"}
        _, plain, _ = await restored(asked(dark_clip, tmp_path / f"{steady}-a.mkv", "lowlight", **wanted))
        _, meant, _ = await restored(asked(dark_clip, tmp_path / f"{steady}-b.mkv", "lowlight", brightness_mean=0.6, **wanted))
        assert abs(np.mean([frame.mean() for frame in meant[: SHOTS[0]]]) / 255 - 0.6) < 0.05
        pairs = zip(meant[: SHOTS[0]], plain, strict=False)
        gains[steady] = np.abs(np.diff([np.log2(a.mean() / b.mean()) for a, b in pairs])).mean()
    assert gains["exposure"] < 0.2 * gains["off"]


@pytest.mark.parametrize(
    ("tasks", "members"),
    [
        (("derain", "lowlight"), {"task": "auto"}),
        (("derain", "lowlight"), {"task": "derain,lowlight", "strength": 0.7}),
        (("lowlight",), {"task": "lowlight", "brightness_mean": 0.5}),
    ],
)
@pytest.mark.parametrize("calls", [90])
@in_kept_processes
async def test_a_run_that_broke_off_decides_the_same_when_it_goes_on(
    clip: Path, tmp_path: Path, tasks: tuple[str, ...], members: dict[str, object], calls: int
) -> None:
    whole, broken = asked(clip, tmp_path / "a.mp4", *tasks, **members), asked(clip, tmp_path / "b.mp4", *tasks, **members)
    await restorer_of(NamedSampler()).restore(whole)
    with pytest.raises(RuntimeError, match="broke"):
        await restorer_of(NamedSampler(fails_at=calls * (len(tasks) if members["task"] != "auto" else 1))).restore(broken)
    result = await restorer_of(NamedSampler()).restore(broken)
    assert result.resumed in {48, 60, 108}
    assert hashlib.sha256(broken.target.read_bytes()).digest() == hashlib.sha256(whole.target.read_bytes()).digest()


@in_kept_processes
async def test_a_model_that_enlarges_makes_a_larger_clip(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Recipe(rotation=90))
    work = replace(asked(source, tmp_path / "a.mp4", "upscale"), models=models_of("upscale", scale=2), scale=2)
    result, frames, _ = await restored(work)
    assert (result.facts.width, result.facts.height) == (128, 96)
    assert {frame.shape for frame in frames} == {(128, 96, 3)}


@in_kept_processes
async def test_a_result_that_would_be_too_large_is_refused(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Recipe(width=2048))
    work = replace(asked(source, tmp_path / "a.mp4", "upscale"), scale=4)
    with pytest.raises(TooLarge, match="a frame of the result is 8192 x 192 pixels"):
        await restorer_of().restore(work)
