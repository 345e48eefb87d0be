"""OpenAI's own Python package against the gateway."""

import base64
from io import BytesIO

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from tests.service.conftest import RunningApp, file_of, pixels_of


@pytest.fixture
def sdk(gateway: RunningApp) -> openai.AsyncOpenAI:
    http = httpx.AsyncClient(transport=httpx.ASGITransport(gateway.app), base_url="http://gateway/v1")
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


async def test_an_edit_that_is_no_form_is_told_what_is_expected(gateway: RunningApp) -> None:
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
