"""Which https addresses an operator's list allows."""

import pytest

from service.errors import InvalidValue
from service.references.hosts import AllowedHosts

HOSTS = AllowedHosts(("pictures.example", "hooks.example:8443"))


@pytest.mark.parametrize(
    "address", ["https://pictures.example/a?b=c", "https://pictures.example:443/", "https://hooks.example:8443/jobs"]
)
def test_a_listed_host_is_allowed_at_its_port(address: str) -> None:
    HOSTS.check(address, "webhook")


@pytest.mark.parametrize(
    "address",
    [
        *("http://pictures.example/", "https://pictures.example:8443/", "https://hooks.example/", "https://evil.example/"),
        *(
            "https://u:p@pictures.example/",
            "https://pictures.example@evil.example/",
            "https://[::1",
            "https://x:port/",
            "webhook",
            "",
        ),
        *("https://pictures.example:0/", "https://pictures.example.evil.example/"),
    ],
)
def test_other_addresses_are_refused_by_the_members_name(address: str) -> None:
    with pytest.raises(InvalidValue, match=r"^webhook is"):
        HOSTS.check(address, "webhook")


def test_the_words_list_what_is_allowed() -> None:
    with pytest.raises(InvalidValue, match=r"expected an address at one of \['https://pictures\.example', .*'s3://in/'\]"):
        HOSTS.check("https://evil.example/", "image_url", "s3://in/")
    with pytest.raises(InvalidValue, match="expected none: the operator allows no addresses"):
        AllowedHosts(()).check("https://evil.example/", "image_url")
