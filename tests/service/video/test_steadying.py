"""Cuts, shared exposure, and the blend along the motion."""

from pathlib import Path

import numpy as np
import pytest

from service.video.steadying.cuts import CutDetector, thumbnail
from service.video.steadying.motion import Calm, MotionBlend
from service.video.steadying.windows import REACH, window_context
from tests.service.video.clips import Recipe, scene, write_clip
from tests.service.video.fakes import IdentitySampler, psnr, restorer_of, work_on


def test_a_cut_is_seen_and_motion_is_none() -> None:
    cuts = CutDetector()
    moving = [cuts.is_cut(thumbnail(scene(k, 160, 96))) for k in range(20)]
    other = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    assert not any(moving)
    assert cuts.is_cut(thumbnail(other))
    assert not cuts.is_cut(thumbnail(other))


def test_a_fast_pan_is_no_cut_and_a_cut_after_it_is_seen() -> None:
    draw = np.random.default_rng(3)
    wide = np.kron(draw.integers(0, 256, (12, 60, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    cuts = CutDetector()
    panned = [cuts.is_cut(thumbnail(np.ascontiguousarray(wide[:, 12 * k : 12 * k + 160]))) for k in range(20)]
    assert not any(panned)
    assert cuts.is_cut(thumbnail(np.full((96, 160, 3), 30, np.uint8)))


def test_a_shared_context_has_the_mean_and_histogram_of_the_window() -> None:
    contexts = [np.full((1, 3, 96, 128), level, np.float32) for level in (-0.5, 0.0, 0.5)]
    mixed = window_context(contexts, 1)
    assert set(np.unique(mixed)) == {-0.5, 0.0, 0.5}
    shares = [float((mixed == level).mean()) for level in (-0.5, 0.0, 0.5)]
    weights = np.array([REACH, REACH + 1, REACH]) / (3 * REACH + 1)
    assert np.allclose(shares, weights, atol=0.01)
    assert all(abs(float(mixed[0, 0, y : y + 48, x : x + 64].mean())) < 0.02 for y in (0, 48) for x in (0, 64))


def test_contexts_change_by_a_little_from_frame_to_frame() -> None:
    """A jump of one frame's brightness moves its neighbours' exposure by a ninth at most."""
    contexts = [np.full((1, 3, 192, 256), 1.0 if k == 10 else 0.0, np.float32) for k in range(21)]
    means = [float(window_context(contexts[max(0, k - REACH) : k + REACH + 1], min(k, REACH)).mean()) for k in range(21)]
    assert max(means) < 0.13
    assert max(np.abs(np.diff(means))) < 0.03


def drifting(count: int) -> list[np.ndarray]:
    """Windows onto one large picture, moving by (3, 1) pixels a frame."""
    draw = np.random.default_rng(1)
    coarse = draw.uniform(20, 235, (40, 60, 3))
    blocks = np.kron(coarse, np.ones((6, 6, 1)))
    large = np.mean([np.roll(blocks, (y, x), (0, 1)) for y in range(4) for x in range(4)], 0)
    return [large[k : k + 144, 3 * k : 3 * k + 240].astype(np.uint8) for k in range(count)]


def test_noise_that_changes_from_frame_to_frame_is_calmed_and_the_picture_stays() -> None:
    truth = drifting(8)
    draw = np.random.default_rng(2)
    noisy = [(frame + draw.normal(0, 6, frame.shape)).clip(0, 255).astype(np.uint8) for frame in truth]
    blend = MotionBlend()
    calm = [blend.blend(frame, prediction) for frame, prediction in zip(truth, noisy, strict=True)]
    gains = [psnr(a, t, 255) - psnr(n, t, 255) for a, n, t in zip(calm, noisy, truth, strict=True)]
    assert np.mean(gains[3:]) > 2


def test_grain_that_came_with_the_clip_stays_where_the_network_changes_nothing() -> None:
    draw = np.random.default_rng(2)
    grainy = [(frame + draw.normal(0, 6, frame.shape)).clip(0, 255).astype(np.uint8) for frame in drifting(8)]
    left, made = MotionBlend(), MotionBlend()
    as_it_came = [left.blend(frame, frame) for frame in grainy]
    changed = [made.blend(frame, grain) for frame, grain in zip(drifting(8), grainy, strict=True)]
    moved, calmed = (np.mean(np.abs(np.subtract(calm[3:], grainy[3:], dtype=int))) for calm in (as_it_came, changed))
    assert moved < 0.6 * calmed


def test_what_only_one_frame_shows_is_outvoted_by_its_neighbours() -> None:
    """A streak that the network left: the frames before and after agree, so that nothing of it stays."""
    frames = drifting(3)
    streaked = frames[1].copy()
    streaked[20:60, 100:103] = 255
    blend = MotionBlend()
    blend.blend(frames[0], frames[0])
    calm = blend.blend(streaked, streaked, frames[2])
    left = np.abs(calm.astype(int) - frames[1])[20:60, 100:103].mean()
    assert left < 0.1 * np.abs(streaked.astype(int) - frames[1])[20:60, 100:103].mean()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_calming_keeps_the_depth(kind: type) -> None:
    frames: list[np.ndarray] = [frame.astype(kind) * (257 if kind is np.uint16 else 1) for frame in drifting(3)]
    blend = MotionBlend()
    calm = [blend.blend(frame, frame, frames[min(2, k + 1)]) for k, frame in enumerate(frames)]
    top = np.iinfo(kind).max
    assert all(one.dtype == kind and psnr(one, frame, top) > 35 for one, frame in zip(calm, frames, strict=True))


def test_what_the_network_made_up_gives_way_to_what_was_seen_before() -> None:
    """A drop clings to the pane while the scene moves behind it; what the network puts there is wrong by 30 levels."""
    frames = drifting(9)
    blend, left = MotionBlend(), []
    for k, frame in enumerate(frames):
        came, prediction = frame.copy(), frame.copy()
        if k > 0:
            came[60:76, 120:136] = 250
            prediction[60:76, 120:136] = (frame[60:76, 120:136].astype(int) + 30).clip(0, 255)
        calm = blend.blend(came, prediction)
        left.append(np.abs(calm[60:76, 120:136].astype(int) - frame[60:76, 120:136]).mean())
    assert left[1] < 10
    assert left[2] < 15
    assert max(left) < 27


def test_what_clings_to_the_pane_gives_way_once_the_scene_has_moved_from_behind_it() -> None:
    """A drop of 16 x 16 pixels that the network pales and leaves, from the first frame on; the scene moves 3 pixels a frame."""
    frames = drifting(20)
    predictions = [frame.copy() for frame in frames]
    for prediction in predictions:
        prediction[60:76, 120:136] = 150 + 0.3 * prediction[60:76, 120:136]
    blend, left = MotionBlend(), []
    for k, frame in enumerate(frames):
        came = frame.copy()
        came[60:76, 120:136] = 250
        calm = blend.blend(came, predictions[k], predictions[k + 1] if k < 19 else None)
        left.append(np.abs(calm[60:76, 120:136].astype(int) - frame[60:76, 120:136]).mean())
    assert left[0] > 60
    assert max(left[14:]) < 15


def test_what_stands_still_and_is_not_changed_stays() -> None:
    """A sign on the pane, such as the time of day that a camera writes into its pictures."""
    frames = drifting(10)
    for frame in frames:
        frame[60:76, 120:136] = 250
    blend = MotionBlend()
    calm = [blend.blend(frame, frame, frames[min(9, k + 1)]) for k, frame in enumerate(frames)]
    assert np.abs(calm[-1][62:74, 122:134].astype(int) - 250).mean() < 8


def test_a_first_frame_is_calmed_by_those_that_follow() -> None:
    truth = drifting(8)
    draw = np.random.default_rng(2)
    noisy = [(frame + draw.normal(0, 6, frame.shape)).clip(0, 255).astype(np.uint8) for frame in truth]
    blend = MotionBlend()
    blend.begin(list(zip(truth, noisy, strict=True)))
    calm = blend.blend(truth[0], noisy[0], noisy[1])
    assert psnr(calm, truth[0], 255) > psnr(noisy[0], truth[0], 255) + 2


def test_one_frame_alone_outvotes_no_first_frame() -> None:
    """Of a shot of two frames each has one other, which is before it and after it at once."""
    first, second = drifting(2)
    first[60:76, 120:136] = (first[60:76, 120:136].astype(int) + 60).clip(0, 255)
    blend = MotionBlend()
    blend.begin([(first, first), (second, second)])
    assert np.abs(blend.blend(first, first, second)[62:74, 122:134].astype(int) - first[62:74, 122:134]).mean() < 6


def test_frames_that_agree_are_averaged_and_the_scene_stays() -> None:
    """A smooth scene that stands still, with noise: a running mean."""
    truth = scene(0, 240, 144)
    draw = np.random.default_rng(2)
    blend, errors = MotionBlend(), []
    for _ in range(12):
        noisy = (truth + draw.normal(0, 8, truth.shape)).clip(0, 255).astype(np.uint8)
        errors.append(float(np.abs(blend.blend(noisy // 2, noisy).astype(int) - truth).mean()))
    assert errors[3] < 0.4 * errors[0]
    assert errors[11] < 1.1 * errors[3]  # as far as it is worth: the scene is not smoothed away


def test_frames_that_hardly_differ_are_left_as_they_are() -> None:
    truth = drifting(6)
    draw = np.random.default_rng(2)
    fine = [(frame + draw.integers(-1, 2, frame.shape)).clip(0, 255).astype(np.uint8) for frame in truth]
    blend = MotionBlend()
    calm = [blend.blend(frame, frame, fine[min(5, k + 1)]) for k, frame in enumerate(fine)]
    assert all(np.abs(a.astype(int) - b).mean() < 0.3 for a, b in zip(calm, fine, strict=True))


def test_a_state_that_was_kept_goes_on_alike() -> None:
    frames = drifting(6)
    whole, broken = MotionBlend(), MotionBlend()
    calm = [whole.blend(frame // 2, frame, frames[min(5, k + 1)]) for k, frame in enumerate(frames)]
    for k in range(3):
        broken.blend(frames[k] // 2, frames[k], frames[k + 1])
    assert broken.previous is not None
    resumed = MotionBlend()
    resumed.previous = Calm.from_state(broken.previous.state())
    assert all(np.array_equal(resumed.blend(frames[k] // 2, frames[k], frames[min(5, k + 1)]), calm[k]) for k in range(3, 6))


def test_what_disagrees_with_the_frame_before_is_left_as_it_is() -> None:
    blend = MotionBlend()
    blend.blend(drifting(1)[0], drifting(1)[0])
    other = np.random.default_rng(5).integers(0, 256, (144, 240, 3)).astype(np.uint8)
    assert np.abs(blend.blend(other, other).astype(int) - other).mean() < 3


async def test_every_frame_of_a_shot_shares_context_and_seed_and_a_cut_ends_the_window(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Recipe(width=64, height=48))
    sampler = IdentitySampler()
    await restorer_of(sampler).restore(work_on(source, tmp_path / "a.mp4", "exposure", ("image", "context")))
    assert {work.seed for work in sampler.works} == {0}
    assert all(work.context is not None for work in sampler.works)
    plain = IdentitySampler()
    await restorer_of(plain).restore(work_on(source, tmp_path / "b.mp4", "off", ("image", "context")))
    assert all(work.context is None for work in plain.works)
