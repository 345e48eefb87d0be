"""Pictures by reference, through the gateway: now, and as jobs."""

import hashlib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.references import References
from tests.service.conftest import file_of, pixels_of, running, settings_for
from tests.service.jobs.test_queue import LATER, ended

IMAGE, OUTPUT = "https://pictures.example/in.png", "https://pictures.example/out.png?signature=secret"


class Place:
    """Gives one picture, and keeps what is put."""

    def __init__(self) -> None:
        self.picture, self.put = file_of(pixels_of(24, 16)), b""
        self.status = 200

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "PUT":
            self.put = request.content
            return httpx2.Response(self.status)
        return httpx2.Response(200, content=self.picture) if request.url.path == "/in.png" else httpx2.Response(404)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    there = Place()
    made = References(("pictures.example",), (), 10_000, 5, httpx2.MockTransport(there))
    monkeypatch.setattr("service.api.parts.references_of", lambda _: made)
    return there


async def test_the_answer_is_that_of_the_picture_sent(tmp_path: Path, place: Place) -> None:
    async with running(settings_for(tmp_path)) as gateway:
        sent = await gateway.client.post("/restore", content=place.picture)
        named = await gateway.client.post("/restore", json={"image_url": IMAGE}, headers={"accept": "image/png"})
        assert (named.status_code, named.content) == (200, sent.content)


async def test_a_result_goes_where_the_request_says(tmp_path: Path, place: Place) -> None:
    async with running(settings_for(tmp_path)) as gateway:
        sent = await gateway.client.post("/restore", content=place.picture)
        answer = await gateway.client.post("/restore", json={"image_url": IMAGE, "output_url": OUTPUT})
        document = answer.json()
        assert place.put == sent.content
        assert document["output_url"] == "https://pictures.example/out.png"
        assert document["sha256"] == hashlib.sha256(sent.content).hexdigest()
        assert document["bytes"] == len(sent.content)
        assert "image" not in document
        assert "secret" not in answer.text


async def test_a_job_reads_and_writes_there_too(tmp_path: Path, place: Place) -> None:
    async with running(settings_for(tmp_path)) as gateway:
        accepted = await gateway.client.post("/restore", json={"image_url": IMAGE, "output_url": OUTPUT}, headers=LATER)
        assert accepted.status_code == 202
        job = await ended(gateway, accepted.json())
        assert job["status"] == "succeeded"
        result = (await gateway.client.get(job["links"]["result"])).json()
        assert (result["output_url"], result["bytes"]) == ("https://pictures.example/out.png", len(place.put))
        place.status = 403
        accepted = await gateway.client.post("/restore", json={"image_url": IMAGE, "output_url": OUTPUT}, headers=LATER)
        job = await ended(gateway, accepted.json())
        assert (job["status"], job["problem"]["status"]) == ("failed", 424)
        assert "secret" not in str(job)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"image_url": "https://pictures.example/missing.png"}, 424),
        ({"image_url": "https://evil.example/a.png"}, 422),
        ({"image_url": IMAGE, "output_url": "https://evil.example/a.png"}, 422),
        ({"image_url": IMAGE, "image": "AAAA"}, 422),
        ({}, 422),
        ({"image_url": IMAGE, "mask": "AAAA", "mask_url": IMAGE}, 422),
    ],
)
async def test_what_cannot_be_read_is_refused_in_words(tmp_path: Path, place: Place, body: dict[str, Any], status: int) -> None:
    async with running(settings_for(tmp_path)) as gateway:
        refused = await gateway.client.post("/restore", json=body)
        assert refused.status_code == status, refused.text
        assert refused.headers["content-type"] == "application/problem+json"


async def test_addresses_are_off_unless_the_operator_allows_places(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path)) as gateway:
        refused = await gateway.client.post("/restore", json={"image_url": IMAGE})
        assert refused.status_code == 422
        assert "the operator allows no addresses" in refused.json()["detail"]
        unknown = await gateway.client.post("/restore", params={"output_url": OUTPUT}, content=file_of(pixels_of(8, 8)))
        assert unknown.status_code == 422


async def test_an_output_elsewhere_leaves_no_picture_to_answer(tmp_path: Path, place: Place) -> None:
    async with running(settings_for(tmp_path)) as gateway:
        refused = await gateway.client.post(
            "/restore", json={"image_url": IMAGE, "output_url": OUTPUT}, headers={"accept": "image/png"}
        )
        assert refused.status_code == 406
        assert place.put == b""
