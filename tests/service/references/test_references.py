"""What addresses may name, and what comes of them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from service.errors import InvalidValue, ReferenceFailed, TooLarge
from service.references import references
from service.references.references import References

HOST = "https://pictures.example"
Handler = Callable[[httpx2.Request], httpx2.Response]


def opened(handler: Handler, stores: tuple[str, ...] = (), most_bytes: int = 1000, seconds: float = 5) -> References:
    return References(("pictures.example", "other.example"), stores, most_bytes, seconds, httpx2.MockTransport(handler))


def never(request: httpx2.Request) -> httpx2.Response:
    raise AssertionError(f"{request.url} was asked")


@pytest.mark.parametrize(
    "address",
    [
        *(
            "http://pictures.example/a",
            "https://evil.example/a",
            "https://u:p@pictures.example/a",
            "https://pictures.example:8443/a",
        ),
        *("file:///etc/hosts", "//pictures.example/a", "https://[::1", "s3://bucket/in/a.png", "a.png", "https:///a"),
    ],
)
async def test_what_the_operator_did_not_allow_is_refused_before_anything_is_asked(address: str) -> None:
    with pytest.raises(InvalidValue, match="image_url"):
        await opened(never).read(address, "image_url")
    with pytest.raises(InvalidValue, match="output_url"):
        await opened(never).write(address, b"x", "image/png")


async def test_without_any_allowed_place_the_words_say_so() -> None:
    with pytest.raises(InvalidValue, match="the operator allows no addresses"):
        References((), (), 1, 1).check(f"{HOST}/a", "image_url")


async def test_a_picture_is_read_as_it_lies_there() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["accept-encoding"] == "identity"
        return httpx2.Response(200, content=b"picture")

    assert await opened(answer).read(f"{HOST}/a?signature=1", "image_url") == b"picture"


async def test_redirects_lead_to_allowed_hosts_only_and_not_for_ever() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        steps = {"/a": "https://other.example/b", "/b": "/c", "/evil": "https://evil.example/", "/round": "/round"}
        target = steps.get(request.url.path)
        return httpx2.Response(302, headers={"location": target}) if target else httpx2.Response(200, content=b"end")

    assert await opened(answer).read(f"{HOST}/a", "image_url") == b"end"
    with pytest.raises(InvalidValue, match=r"the redirect of image_url is at https://evil\.example"):
        await opened(answer).read(f"{HOST}/evil", "image_url")
    with pytest.raises(ReferenceFailed, match="more than 3 times"):
        await opened(answer).read(f"{HOST}/round", "image_url")


async def test_a_picture_over_the_limit_is_given_up_by_its_header_and_by_its_bytes() -> None:
    def announced(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-length": "1001"}, stream=Chunks(0))

    chunks = Chunks(1000)
    for handler in (announced, lambda _: httpx2.Response(200, stream=chunks)):
        with pytest.raises(TooLarge, match="1000 bytes"):
            await opened(handler).read(f"{HOST}/a", "image_url")
    assert chunks.given <= 12


class Chunks(httpx2.AsyncByteStream):
    """Chunks of 100 bytes; `given` of them were taken."""

    def __init__(self, count: int, seconds: float = 0) -> None:
        self.count, self.seconds, self.given = count, seconds, 0

    async def __aiter__(self):  # type: ignore[no-untyped-def]
        for _ in range(self.count):
            self.given += 1
            await asyncio.sleep(self.seconds)
            yield bytes(100)


async def test_a_coded_body_is_refused_instead_of_unpacked() -> None:
    coded = httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=Chunks(1))
    with pytest.raises(ReferenceFailed, match="content-encoding 'gzip'"):
        await opened(lambda _: coded).read(f"{HOST}/a", "image_url")


async def test_a_place_that_is_slow_or_down_or_empty_is_named_without_its_query() -> None:
    def down(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("no", request=request)

    slow = opened(lambda _: httpx2.Response(200, stream=Chunks(9, 0.1)), seconds=0.2)
    for place, words in (
        (slow, "took longer"),
        (opened(down), "cannot be reached: ConnectError"),
        (opened(lambda _: httpx2.Response(404)), "answered 404"),
    ):
        with pytest.raises(ReferenceFailed, match=words) as failed:
            await place.read(f"{HOST}/a?secret", "image_url")
        assert "secret" not in failed.value.detail


async def test_a_result_is_put_and_tried_again_where_that_may_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "PAUSE", 0.01)
    statuses = [503, 500, 201, 403]
    heard: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        heard.append(request)
        return httpx2.Response(statuses.pop(0))

    await opened(answer).write(f"{HOST}/out?signature=1", b"result", "image/webp")
    assert [(one.method, one.content, one.headers["content-type"]) for one in heard] == [("PUT", b"result", "image/webp")] * 3
    with pytest.raises(ReferenceFailed, match="answered 403 to PUT"):
        await opened(answer).write(f"{HOST}/out", b"result", "image/webp")
    assert statuses == []


async def test_keys_of_an_allowed_store_and_no_others(tmp_path: Path) -> None:
    inside, outside = tmp_path / "shop" / "in", tmp_path / "shop" / "secret"
    for folder in (inside, outside):
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(b"picture")
    place = opened(never, (str(inside),), most_bytes=7)
    assert await place.read(f"{inside}/a.png", "image_url") == b"picture"
    await place.write(f"{inside}/new/b.png", b"result", "image/png")
    await place.write(f"{inside}/new/b.png", b"result2", "image/png")
    assert (inside / "new" / "b.png").read_bytes() == b"result2"
    (inside / "large.png").write_bytes(bytes(8))
    with pytest.raises(TooLarge):
        await place.read(f"{inside}/large.png", "image_url")
    for address in (f"{inside}/../secret/a.png", f"{outside}/a.png", f"{inside}", f"{inside}//a.png", f"{inside}2/a.png"):
        with pytest.raises(InvalidValue):
            await place.read(address, "image_url")
    with pytest.raises(ReferenceFailed, match="the store refused it"):
        await place.read(f"{inside}/missing.png", "image_url")
