"""Strength, brightness and several tasks: in linear light, from the kept result, with each model's headers."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from service.restoration.adjusting import adjusted, blended, stops_to
from service.restoration.parameters import RestoreParameters
from tests.service.conftest import RunningApp, file_of, pixels_of

PIXELS = pixels_of(24, 40)
PNG = file_of(PIXELS)


def pixels_in(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)))


def to_light(levels: np.ndarray, top: int = 255) -> np.ndarray:
    """IEC 61966-2-1, in float64."""
    values = levels.astype(np.float64) / top
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_levels(light: np.ndarray, top: int = 255) -> np.ndarray:
    light = light.clip(0, 1)
    return np.rint(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * top)


@pytest.mark.parametrize(("kind", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_a_blend_is_the_standards_linear_light(kind: type, top: int) -> None:
    draw = np.random.default_rng(0)
    before, after = (draw.integers(0, top + 1, (30, 20, 3)).astype(kind) for _ in range(2))
    expected = to_levels(to_light(after, top) * 0.3 + to_light(before, top) * 0.7, top)
    assert np.abs(blended(before, after, 0.3).astype(float) - expected).max() <= max(1, top // 20_000)


def test_full_strength_is_the_result_itself_and_none_is_the_picture() -> None:
    before, after = PIXELS, 255 - PIXELS
    assert adjusted(before, after) is after
    assert np.array_equal(adjusted(before, after, strength=0), before)


def test_a_result_that_is_larger_or_deeper_than_the_picture_is_blended_too() -> None:
    large = np.full((48, 80, 3), 60_000, np.uint16)
    mixed = adjusted(PIXELS, large, strength=0.5)
    assert (mixed.shape, mixed.dtype) == (large.shape, np.uint16)
    assert PIXELS.mean() * 257 < mixed.mean() < 60_000


@pytest.mark.parametrize("stops", [-3.0, -0.5, 1.0, 3.0])
def test_a_stop_is_twice_the_light(stops: float) -> None:
    bright = adjusted(PIXELS, PIXELS, stops=stops)
    assert np.abs(bright - to_levels(to_light(PIXELS) * 2**stops)).max() <= 1


@pytest.mark.parametrize("mean", [0.15, 0.4, 0.65])
def test_a_mean_is_reached(mean: float) -> None:
    assert adjusted(PIXELS, PIXELS, mean=mean).mean() / 255 == pytest.approx(mean, abs=0.005)


def test_black_stays_black() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    assert not adjusted(black, black, mean=0.4).any()
    assert -8 <= stops_to(0.4, black) <= 8


async def test_another_strength_or_brightness_needs_no_network_call(gateway: RunningApp) -> None:
    """The first request alone calls the network."""
    first = await gateway.client.post("/restore?task=lowlight", content=PNG)
    calls = gateway.engine.calls
    assert calls == 2
    restored = pixels_in(first.content)
    half = pixels_in((await gateway.client.post("/restore?task=lowlight&strength=0.5", content=PNG)).content)
    assert np.array_equal(half, blended(PIXELS, restored, 0.5))
    none = pixels_in((await gateway.client.post("/restore?task=lowlight&strength=0", content=PNG)).content)
    assert np.array_equal(none, PIXELS)
    for query in ("brightness=+1", "brightness=-1.5", "brightness_mean=0.3", "brightness=auto", "brightness=1&strength=.25"):
        answer = await gateway.client.post(f"/restore?task=lowlight&{query}", content=PNG)
        assert answer.status_code == 200, answer.text
    assert pixels_in(answer.content).mean() != restored.mean()
    assert gateway.engine.calls == calls


async def test_brightness_is_of_the_light_and_of_the_mean(gateway: RunningApp) -> None:
    async def restored(query: str) -> np.ndarray:
        return pixels_in((await gateway.client.post(f"/restore?task=lowlight&{query}", content=PNG)).content)

    auto = await restored("brightness=auto")
    assert np.abs((await restored("brightness=-1")) - to_levels(to_light(auto) / 2)).max() <= 1
    assert (await restored("brightness_mean=0.62")).mean() / 255 == pytest.approx(0.62, abs=0.005)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("task=keeper&brightness=1", "keeper does not"),
        ("task=keeper&brightness_mean=0.3", "keeper does not"),
        ("strength=1.01", "strength"),
        ("strength=-0.1", "strength"),
        ("strength=nan", "expected a number"),
        ("strength=true", "expected a number"),
        ("brightness=3.1", "brightness"),
        ("brightness=bright", "expected auto, or a number from -3 to 3"),
        ("brightness_mean=0.1", "brightness_mean"),
        ("brightness_mean=0.7", "brightness_mean"),
        ("brightness=1&brightness_mean=0.3", "not both"),
        ("strength=0.5&return=residual", "strength goes with return = image"),
        ("task=keeper,lowlight&return=steps", "several tasks goes with return = image"),
        ("task=keeper,,lowlight", "expected 1 to 5 names"),
        ("task=" + ",".join(["keeper"] * 6), "expected 1 to 5 names"),
    ],
)
async def test_what_cannot_be_turned_is_refused_in_words(gateway: RunningApp, query: str, words: str) -> None:
    answer = await gateway.client.post(f"/restore?{query}", content=PNG)
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]


async def test_tasks_are_done_in_their_order_and_each_model_is_named(gateway: RunningApp) -> None:
    answer = await gateway.client.post("/restore?task=nothing,%20lowlight&steps=2", content=PNG)
    assert answer.headers["x-model"] == "keeper, lowlight"
    assert answer.headers["x-steps"] == "2, 2"
    assert len(set(answer.headers["x-model-digest"].split(", "))) == 2
    alone = await gateway.client.post("/restore?task=lowlight&steps=2", content=PNG)
    assert np.abs(pixels_in(answer.content).astype(int) - pixels_in(alone.content)).max() <= 1
    calls = gateway.engine.calls
    envelope = (
        await gateway.client.post("/restore", json={"image": base64.b64encode(PNG).decode(), "task": "keeper,lowlight"})
    ).json()
    assert (envelope["model"], envelope["steps"]) == ("keeper, lowlight", 4)
    assert [(stage["model"], stage["steps"]) for stage in envelope["stages"]] == [("keeper", 2), ("lowlight", 2)]
    assert gateway.engine.calls == calls


async def test_a_picture_of_several_tasks_is_decoded_and_encoded_once(gateway: RunningApp, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"decode": 0, "encode": 0}
    for name in counts:
        original = getattr(gateway.state.codecs, name)

        async def counted(*arguments: object, name: str = name, original: object = original) -> object:
            counts[name] += 1
            return await original(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(gateway.state.codecs, name, counted)
    assert (await gateway.client.post("/restore?task=lowlight,keeper,lowlight", content=PNG)).status_code == 200
    assert counts == {"decode": 1, "encode": 1}


async def test_the_steps_of_several_tasks_count_on(gateway: RunningApp) -> None:
    stream = await gateway.client.post("/restore?task=keeper,lowlight", content=PNG, headers={"accept": "text/event-stream"})
    lines = [line for line in stream.text.splitlines() if line.startswith('data: {"step":')]
    assert [line[: len('data: {"step":1,"steps":4')] for line in lines] == [f'data: {{"step":{k},"steps":4' for k in (1, 2, 3, 4)]


async def test_a_mask_goes_to_the_tasks_that_take_one(gateway: RunningApp) -> None:
    files = {"image": ("a.png", PNG), "mask": ("m.png", PNG)}
    answer = await gateway.client.post("/restore?task=keeper,shadow", files=files)
    assert (answer.status_code, answer.headers["x-model"]) == (200, "keeper, unshadow")
    refused = await gateway.client.post("/restore?task=keeper,lowlight", files=files)
    assert (refused.status_code, "takes no mask" in refused.json()["detail"]) == (422, True)
    missing = await gateway.client.post("/restore?task=keeper,shadow", content=PNG)
    assert (missing.status_code, "needs a mask" in missing.json()["detail"]) == (422, True)


async def test_tasks_that_cost_too_much_together_are_refused_before_any_is_done(gateway: RunningApp) -> None:
    large = file_of(pixels_of(400, 400))
    assert (await gateway.client.post("/restore?task=keeper&steps=7", content=large)).status_code == 200
    calls = gateway.engine.calls
    answer = await gateway.client.post("/restore?task=lowlight,keeper,lowlight&steps=7", content=large)
    assert (answer.status_code, "together" in answer.json()["detail"]) == (413, True)
    assert gateway.engine.calls == calls


async def test_an_unknown_task_among_several_is_named(gateway: RunningApp) -> None:
    answer = await gateway.client.post("/restore?task=keeper,sharpen", content=PNG)
    assert (answer.status_code, "'sharpen'" in answer.json()["detail"]) == (404, True)


async def test_a_job_of_several_tasks_is_the_same_picture(gateway: RunningApp) -> None:
    query = "/restore?task=keeper,lowlight&strength=0.5&brightness=-1"
    now = await gateway.client.post(query, content=PNG)
    job = (await gateway.client.post(query, content=PNG, headers={"prefer": "respond-async"})).json()
    assert job["model"] == "keeper, lowlight"
    await gateway.client.get(job["links"]["events"])
    later = await gateway.client.get(job["links"]["result"])
    assert (later.content, later.headers["x-steps"]) == (now.content, "2, 2")


def test_parameters_are_the_same_by_every_door() -> None:
    assert RestoreParameters(strength="0.50") == RestoreParameters(strength=0.5)
    assert RestoreParameters(brightness=" 1") == RestoreParameters(brightness=1)
    assert RestoreParameters(task=" derain , lowlight ").tasks == ("derain", "lowlight")
