"""Links to results: of one job, until one moment, by one secret."""

import pytest

from service.errors import Unauthorised
from service.jobs.links import LINK_SECONDS, ResultLinks


def taken(links: ResultLinks, job: str, query: str, now: float) -> None:
    until, signature = (part.partition("=")[2] for part in query.split("&"))
    links.check(job, int(until), signature, now)


def test_a_link_is_taken_by_every_gateway_of_its_secret_until_it_ends() -> None:
    query, until = ResultLinks(b"secret").query("job", now=1000.5)
    assert until == 1000 + LINK_SECONDS
    taken(ResultLinks(b"secret"), "job", query, until - 1)
    with pytest.raises(Unauthorised, match="is over"):
        taken(ResultLinks(b"secret"), "job", query, until)


@pytest.mark.parametrize(("secret", "job", "later"), [(b"other", "job", 0), (b"secret", "jobs", 0), (b"secret", "job", 1)])
def test_a_link_of_another_secret_job_or_time_is_refused(secret: bytes, job: str, later: int) -> None:
    query, until = ResultLinks(b"secret").query("job", now=1000)
    with pytest.raises(Unauthorised, match="signature"):
        taken(ResultLinks(secret), job, query.replace(str(until), str(until + later)), 1000)


@pytest.mark.parametrize("signature", ["", "x", "\u00fc", "\udc80"])
def test_any_text_is_compared(signature: str) -> None:
    with pytest.raises(Unauthorised):
        ResultLinks(b"secret").check("job", 2000, signature, now=1000)
