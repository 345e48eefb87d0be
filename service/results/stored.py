"""Finished responses: one class for what a request is answered with, what a job leaves and what /results gives again."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from service.errors import NotFound
from service.results.cache import LruCache


@dataclass(frozen=True)
class StoredResponse:
    """A finished body, its media type, and the headers that tell how it was made.

    file: where the body lies, if not in memory.
    """

    body: bytes
    media_type: str
    headers: Mapping[str, str]
    file: str | None = None

    @cached_property
    def etag(self) -> str:
        """The strong entity tag, quoted as in the header: SHA-256 of the body."""
        return f'"{hashlib.sha256(self.body).hexdigest()}"'


class ResponseCache:
    """What `/results/{id}` answers: the latest bodies, each for the caller to whom it was given."""

    def __init__(self, limit_bytes: int) -> None:
        self.entries: LruCache[StoredResponse] = LruCache(limit_bytes)

    def put(self, caller: str, answer: StoredResponse) -> str:
        """Keeps an answer; its id is the same for the same caller and body, and tells nothing of either."""
        digest = hashlib.sha256("\0".join((caller, answer.media_type, answer.etag)).encode()).hexdigest()[:32]
        self.entries.put(self._key(caller, digest), answer, len(answer.body))
        return digest

    def get(self, caller: str, result: str) -> StoredResponse:
        """The caller's answer. Raises NotFound if there is none, if it was forgotten, or if it is another caller's."""
        answer = self.entries.get(self._key(caller, result))
        if answer is None:
            raise NotFound("there is no such result; results are kept for a while, for the key that they were made with")
        return answer

    @staticmethod
    def _key(caller: str, result: str) -> str:
        return f"{caller}\0{result}"
