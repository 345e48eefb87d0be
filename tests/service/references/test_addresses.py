"""Names that lead into a network are refused, and nothing is looked up twice."""

import httpx2
import pytest

from service.references.addresses import NotPublicError, PublicTransport, is_public, resolve

PRIVATE = [
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "240.0.0.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1"),
]
PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_within_a_network_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


class Names:
    """A resolver whose answer changes with every call."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def __call__(self, host: str) -> list[str]:
        return self.answers.pop(0)


def transport(*answers: list[str]) -> tuple[PublicTransport, list[httpx2.Request]]:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200)

    return PublicTransport(httpx2.MockTransport(answer), Names(*answers)), seen


async def test_the_connection_goes_to_the_address_that_was_looked_at() -> None:
    """A name that means a public address first and a private one then is asked for once."""
    public, seen = transport(["93.184.216.34"], ["127.0.0.1"])
    async with httpx2.AsyncClient(transport=public) as client:
        await client.get("https://pictures.example/a.png?b=1")
    [request] = seen
    assert str(request.url) == "https://93.184.216.34/a.png?b=1"
    assert request.headers["host"] == "pictures.example"
    assert request.extensions["sni_hostname"] == "pictures.example"


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], []])
async def test_a_name_with_any_address_within_a_network_is_refused(addresses: list[str]) -> None:
    public, seen = transport(addresses)
    async with httpx2.AsyncClient(transport=public) as client:
        with pytest.raises(NotPublicError, match=r"pictures\.example is not on the internet"):
            await client.get("https://pictures.example/")
    assert seen == []


async def test_a_name_without_an_address_is_a_connection_that_fails() -> None:
    async def unknown(host: str) -> list[str]:
        raise OSError(host)

    async with httpx2.AsyncClient(
        transport=PublicTransport(httpx2.MockTransport(lambda _: httpx2.Response(200)), unknown)
    ) as client:
        with pytest.raises(httpx2.ConnectError, match=r"pictures\.example has no address"):
            await client.get("https://pictures.example/")


async def test_loopback_is_looked_up_and_refused() -> None:
    assert not any(map(is_public, await resolve("localhost")))
