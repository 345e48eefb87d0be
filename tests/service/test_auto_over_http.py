"""task=auto by every door: what is wrong is done, what is fine comes back as it came, and the answer says why."""

import asyncio
import base64
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.analysis.plan import ORDER
from tests.service.conftest import RunningApp, file_of, pixels_of
from tests.service.test_pictures import opened

FINE = dict.fromkeys(("noise", "jpeg", "drops", "rain", "haze", "dark"), 0.01)
HALF = dict.fromkeys(FINE, 0.5)


@dataclass
class SaidBy:
    """A classifier that says what a test tells it."""

    probabilities_: dict[str, float]
    thresholds = HALF
    digest = "f" * 64

    def probabilities(self, *_: Any) -> dict[str, float]:
        return dict(self.probabilities_)


def say(gateway: RunningApp, **probabilities: float) -> None:
    gateway.state.restoration.classifier = SaidBy({**FINE, **probabilities})  # type: ignore[assignment]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_fine_picture_comes_back_in_its_own_bytes(gateway: RunningApp, kind: str) -> None:
    say(gateway)
    data = file_of(pixels_of(40, 50), kind)
    answer = await gateway.client.post("/restore?task=auto", content=data)
    assert answer.content == data
    assert answer.headers["x-changed"] == "false"
    assert "x-model" not in answer.headers
    assert gateway.engine.calls == 0


async def test_another_format_or_quality_writes_the_same_pixels_anew(gateway: RunningApp, png: bytes) -> None:
    say(gateway)
    answer = await gateway.client.post("/restore?task=auto&format=webp&lossless=true", content=png)
    assert answer.headers["content-type"] == "image/webp"
    np.testing.assert_array_equal(np.asarray(opened(answer.content)), np.asarray(opened(png)))


async def test_places_do_not_travel_with_a_fine_picture(gateway: RunningApp) -> None:
    say(gateway)
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 30.0)
    written = BytesIO()
    Image.fromarray(pixels_of(40, 50)).save(written, "JPEG", exif=exif, quality=95)
    data = written.getvalue()
    kept, whole = [await gateway.client.post(f"/restore?task=auto&metadata={policy}", content=data) for policy in ("keep", "all")]
    assert kept.headers["x-changed"] == "false"
    assert not opened(kept.content).getexif().get_ifd(0x8825)
    assert whole.content == data


async def test_what_is_wrong_is_mended_and_named(gateway: RunningApp, png: bytes) -> None:
    say(gateway, dark=0.9, rain=0.8)  # no model here takes rain out
    answer = await gateway.client.post("/restore?task=auto", content=png, headers={"Accept": "application/json"})
    envelope = answer.json()
    assert envelope["changed"] is True
    assert envelope["model"] == "lowlight"
    assert envelope["analysis"]["plan"] == ["lowlight"]
    assert envelope["analysis"]["probabilities"]["rain"] == 0.8
    assert answer.headers["x-changed"] == "true"


async def test_an_analysis_restores_nothing(gateway: RunningApp, png: bytes) -> None:
    say(gateway, dark=0.9)
    document = (await gateway.client.post("/analyse", files={"image": ("a.png", png)})).json()
    assert document["plan"] == ["lowlight"]
    assert document["facts"]["jpeg_quality"] is None
    assert gateway.engine.calls == 0


@pytest.mark.parametrize(
    "sent",
    [
        {"params": {"task": "auto"}, "files": {"image": ("a.png", b"x")}},
        {"files": {"image": ("a.png", b"x")}, "data": {"steps": "2"}},
        {"files": {"image": ("a.png", b"x"), "mask": ("m.png", b"x")}},
        {"json": {"image": "AAAA", "mask": "AAAA"}},
        {"json": {"image": "AAAA", "image_url": "https://a.example/b.png"}},
        {"json": {"output_url": "https://a.example/b.png", "image": "AAAA"}},
    ],
)
async def test_an_analysis_takes_a_picture_and_nothing_else(gateway: RunningApp, sent: dict[str, Any]) -> None:
    assert (await gateway.client.post("/analyse", **sent)).status_code == 422


async def test_an_analysis_takes_the_picture_in_every_way(gateway: RunningApp, png: bytes) -> None:
    text = base64.b64encode(png).decode()
    for sent in ({"content": png}, {"files": {"image": ("a.png", png)}}, {"json": {"image": text, "image_url": None}}):
        answer = await gateway.client.post("/analyse", **sent)
        assert (answer.status_code, set(answer.json())) == (200, {"facts", "probabilities", "plan"})


@pytest.mark.parametrize("query", ["task=auto,lowlight", "task=auto&steps=2", "task=auto&return=residual"])
async def test_what_auto_does_not_take_is_refused_in_words(gateway: RunningApp, png: bytes, query: str) -> None:
    answer = await gateway.client.post(f"/restore?{query}", content=png)
    assert answer.status_code == 422
    assert "task = auto stands alone" in answer.text


async def test_a_repository_without_such_models_says_so(gateway: RunningApp, png: bytes) -> None:
    del gateway.engine.loaded["lowlight"]
    answer = await gateway.client.post("/restore?task=auto", content=png)
    assert answer.status_code == 404
    assert str(list(ORDER)) in answer.json()["detail"]


async def test_a_job_plans_too(gateway: RunningApp, png: bytes) -> None:
    say(gateway)
    submitted = await gateway.client.post("/restore?task=auto", content=png, headers={"Prefer": "respond-async"})
    job = submitted.json()
    for _ in range(100):
        if job["status"] == "succeeded":
            break
        await asyncio.sleep(0.05)
        job = (await gateway.client.get(job["links"]["self"])).json()
    result = await gateway.client.get(job["links"]["result"])
    assert (result.content, result.headers["x-changed"]) == (png, "false")


async def test_openais_route_takes_auto_as_a_model(gateway: RunningApp, png: bytes) -> None:
    say(gateway, dark=0.9)
    answer = await gateway.client.post("/v1/images/edits", files={"image": ("a.png", png)}, data={"model": "auto", "prompt": ""})
    assert answer.status_code == 200, answer.text
    assert gateway.engine.calls > 0
