"""Links to results that need no key for a while: what plays a clip in a page sends none.

A link names the job and the second at which it ends, with an HMAC-SHA256 of both (RFC 2104) by a secret of the database. So every
gateway of that database takes it, also after a restart. It opens one result and nothing else.
"""

import hashlib
import hmac
import time

from service.errors import Unauthorised

LINK_SECONDS = 3600


class ResultLinks:
    """Signs links and checks them. secret: kept by the job store."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def query(self, job: str, now: float | None = None) -> tuple[str, int]:
        """The query that a link to the job's result ends with, and the second of the epoch from which on it is worth nothing."""
        until = int(time.time() if now is None else now) + LINK_SECONDS
        return f"until={until}&signature={self._signature(job, until)}", until

    def check(self, job: str, until: int, signature: str, now: float | None = None) -> None:
        """Raises Unauthorised for a link that was not made here, or is over."""
        if not hmac.compare_digest(self._signature(job, until).encode(), signature.encode("utf-8", "surrogateescape")):
            raise Unauthorised(
                "the link's signature is not of this job and time; expected one of POST /jobs/ID/link, or an API key"
            )
        if until <= (time.time() if now is None else now):
            raise Unauthorised("the link is over; ask POST /jobs/ID/link for another one")

    def _signature(self, job: str, until: int) -> str:
        return hmac.new(self._secret, f"{job} {until}".encode(), hashlib.sha256).hexdigest()
