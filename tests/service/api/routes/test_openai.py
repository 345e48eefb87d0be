"""OpenAI's own Python package against the gateway."""

import base64
from io import BytesIO

import httpx2
import numpy as np
import openai
import pytest
from PIL import Image

from service.errors import BadAnswer
from tests.service.conftest import RunningApp, file_of, pixels_of


@pytest.fixture
def sdk(gateway: RunningApp) -> openai.AsyncOpenAI:
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(gateway.app), base_url="http://gateway/v1")
    return openai.AsyncOpenAI(api_key="unused", base_url="http://gateway/v1", http_client=http, max_retries=0)


async def test_edit_restores_with_the_same_pixels_as_restore(gateway: RunningApp, sdk: openai.AsyncOpenAI) -> None:
    sent = file_of(pixels_of(24, 40))
    answer = await sdk.images.edit(
        image=("dark.png", sent), prompt="brighter", model="lowlight", extra_body={"steps": 3, "seed": 5}
    )
    [one] = answer.data
    got = np.asarray(Image.open(BytesIO(base64.b64decode(one.b64_json))))
    ours = await gateway.client.post("/restore?steps=3&seed=5", content=sent)
    assert np.array_equal(got, np.asarray(Image.open(BytesIO(ours.content))))


async def test_edit_takes_a_list_of_one_and_an_output_format(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.images.edit(
        image=[("dark.png", file_of(pixels_of(8, 8)))], prompt="-", model="lowlight", output_format="webp"
    )
    assert Image.open(BytesIO(base64.b64decode(answer.data[0].b64_json))).format == "WEBP"
    assert answer.output_format == "webp"


async def test_generate_gives_n_pictures_which_the_seed_decides(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.images.generate(prompt="-", model="emoji", n=2, size="32x32", extra_body={"seed": 7})
    again = await sdk.images.generate(prompt="-", model="emoji", n=1, extra_body={"seed": 8})
    assert len(first.data) == 2
    assert first.data[1].b64_json == again.data[0].b64_json


async def test_models_are_listed(sdk: openai.AsyncOpenAI) -> None:
    assert {model.id async for model in await sdk.models.list()} >= {"lowlight", "emoji"}
    assert (await sdk.models.retrieve("emoji")).owned_by == "rddm-serve"


async def test_a_part_that_comes_twice_is_refused(gateway: RunningApp) -> None:
    parts = [("image", ("dark.png", file_of(pixels_of(8, 8)))), ("model", (None, "lowlight")), ("model", (None, "keeper"))]
    answer = await gateway.client.post("/v1/images/edits", files=parts)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "the part `model` came 2 times; expected one"


async def test_a_member_that_is_null_is_one_that_is_not_set(gateway: RunningApp) -> None:
    said = {"prompt": "-", "model": None, "n": None, "size": None, "response_format": None, "output_format": None, "seed": 7}
    answer = await gateway.client.post("/v1/images/generations", json=said)
    assert (answer.status_code, len(answer.json()["data"])) == (200, 1)


async def test_an_edit_that_is_no_form_is_refused_with_what_is_expected(gateway: RunningApp) -> None:
    answer = await gateway.client.post("/v1/images/edits", json={"image": "AAAA"})
    assert answer.status_code == 415
    assert answer.json()["error"]["message"] == "a body of 'application/json' is not read here; expected multipart/form-data"


async def test_errors_arrive_as_the_packages_own(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt-image-1"):
        await sdk.images.generate(prompt="-", model="gpt-image-1")
    with pytest.raises(openai.UnprocessableEntityError, match="1024x1024"):
        await sdk.images.generate(prompt="-", size="1024x1024")
    with pytest.raises(openai.APIStatusError) as refused:
        await sdk.images.edit(image=("words.png", b"words"), prompt="-")
    assert refused.value.status_code == 415
    assert refused.value.code == "unsupported-media"


async def test_defaults_that_are_said_aloud_are_accepted(sdk: openai.AsyncOpenAI) -> None:
    said = {"n": 1, "stream": False, "size": "40x24", "output_compression": 100, "partial_images": 0, "quality": "auto"}
    words = {"background": "auto", "input_fidelity": "low", "user": "u", "extra_body": {"safety_identifier": "s"}}
    answer = await sdk.images.edit(image=("a.png", file_of(pixels_of(24, 40))), prompt="-", **said, **words)
    assert answer.size == "40x24"
    made = await sdk.images.generate(prompt="-", stream=False, moderation="auto", style="vivid", response_format="b64_json")
    assert len(made.data) == 1


async def test_compression_is_the_quality_of_jpeg_and_webp(gateway: RunningApp, sdk: openai.AsyncOpenAI) -> None:
    async def size(**said: object) -> int:
        answer = await sdk.images.edit(image=("a.png", file_of(pixels_of(64, 64))), prompt="-", **said)
        return len(answer.data[0].b64_json)

    for kind in ("jpeg", "webp"):
        assert await size(output_format=kind, output_compression=10) < await size(output_format=kind, output_compression=95)
    with pytest.raises(openai.UnprocessableEntityError, match="output_compression = 50 with png"):
        await size(output_format="png", output_compression=50)


async def test_an_edit_is_streamed_in_the_packages_own_events(sdk: openai.AsyncOpenAI) -> None:
    sent = ("a.png", file_of(pixels_of(24, 40)))
    stream = await sdk.images.edit(image=sent, prompt="-", stream=True, partial_images=2, extra_body={"steps": 4})
    events = [event async for event in stream]
    assert [event.type for event in events] == ["image_edit.partial_image"] * 2 + ["image_edit.completed"]
    assert [event.partial_image_index for event in events[:2]] == [0, 1]
    whole = await sdk.images.edit(image=sent, prompt="-", extra_body={"steps": 4})
    assert events[-1].b64_json == whole.data[0].b64_json
    for event in events:
        assert Image.open(BytesIO(base64.b64decode(event.b64_json))).size == (40, 24)
        assert (event.size, event.output_format, event.background, event.quality) == ("40x24", "png", "auto", "auto")
    assert events[-1].usage.total_tokens == 0


async def test_a_generation_is_streamed_without_partial_images_unless_asked_for(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.images.generate(prompt="-", stream=True)
    assert [event.type async for event in stream] == ["image_generation.completed"]
    more = await sdk.images.generate(prompt="-", stream=True, partial_images=3, output_format="webp")
    kinds = [event.type async for event in more]
    assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]  # three steps have two before the last


async def test_a_stream_that_fails_raises_in_the_package(gateway: RunningApp, sdk: openai.AsyncOpenAI) -> None:
    gateway.engine.fault = BadAnswer("broken")
    stream = await sdk.images.edit(image=("a.png", file_of(pixels_of(8, 8))), prompt="-", stream=True)
    with pytest.raises(openai.APIError, match="broken"):
        _ = [event async for event in stream]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"size": "1024x1024"}, "size = '1024x1024'"),
        ({"partial_images": 2}, "partial_images = 2"),
        ({"n": 2}, "n = 2"),
        ({"n": 2, "stream": True}, "stream = true with n = 2"),
        ({"response_format": "url"}, "response_format: 'url'"),
        ({"extra_body": {"complexity": "high"}}, "unknown key 'complexity'"),
        ({"output_format": "gif"}, "output_format: 'gif'"),
    ],
)
async def test_what_is_not_supported_is_named(sdk: openai.AsyncOpenAI, said: dict[str, object], named: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=named):
        await sdk.images.edit(image=("a.png", file_of(pixels_of(8, 8))), prompt="-", **said)


async def test_strength_brightness_and_several_tasks_are_of_the_extra_body(gateway: RunningApp, sdk: openai.AsyncOpenAI) -> None:
    sent, turned = file_of(pixels_of(24, 40)), {"strength": 0.5, "brightness": -1}
    answer = await sdk.images.edit(image=("a.png", sent), prompt="-", model="keeper,lowlight", extra_body=turned)
    ours = await gateway.client.post("/restore?task=keeper,lowlight&strength=0.5&brightness=-1&format=png", content=sent)
    assert base64.b64decode(answer.data[0].b64_json) == ours.content
    with pytest.raises(openai.UnprocessableEntityError, match="not both"):
        await sdk.images.edit(image=("a.png", sent), prompt="-", extra_body={"brightness": 1, "brightness_mean": 0.3})
    with pytest.raises(openai.UnprocessableEntityError, match="strength is for edits"):
        await sdk.images.generate(prompt="-", extra_body={"strength": 0.5})
