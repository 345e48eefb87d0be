"""Who calls: API keys, kept as SHA-256 only, and what a key may spend.

A line of the keys file is `name sha256-of-the-key [megapixel-steps per minute] [admin]`; `#` begins a comment. Keys are long and
random (`openssl rand -hex 32`), so a fast hash protects them.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from service.errors import Forbidden, QuotaSpent, TooLarge, Unauthorised

WINDOW_SECONDS = 60
POLICY = "megapixel-steps"
DIGEST = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Key:
    """quota: megapixel-steps per minute, None for no bound; admin: may load and unload models."""

    name: str
    digest: str
    quota: float | None = None
    admin: bool = False


def parse_keys(text: str) -> list[Key]:
    """The keys file's lines. Raises ValueError with the number of the line that is wrong; it never repeats the line."""
    keys = [
        _parse_line(words, number) for number, line in enumerate(text.splitlines(), 1) if (words := line.partition("#")[0].split())
    ]
    names = [key.name for key in keys]
    if len(set(names)) != len(names):
        raise ValueError("two keys have the same name")
    return keys


def _parse_line(words: list[str], number: int) -> Key:
    admin = words[-1] == "admin"
    rest = words[:-1] if admin else words
    expected = "expected `name sha256 [megapixel-steps per minute] [admin]`"
    if len(rest) not in {2, 3} or not NAME.fullmatch(rest[0]) or not DIGEST.fullmatch(rest[1]):
        raise ValueError(f"line {number} of the keys is wrong; {expected}")
    try:
        quota = float(rest[2]) if len(rest) == 3 else None
    except ValueError as wrong:
        raise ValueError(f"line {number} of the keys has no number as its quota; {expected}") from wrong
    if quota is not None and not 0 < quota < 1e9:
        raise ValueError(f"line {number} of the keys has a quota outside 0..1e9")
    return Key(rest[0], rest[1], quota, admin)


@dataclass(eq=False)
class Bucket:
    """A quota that refills evenly: `rate` megapixel-steps a minute, at most a minute's worth at once."""

    rate: float
    now: Callable[[], float] = time.monotonic
    _left: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._left, self._at = self.rate, self.now()

    def left(self) -> float:
        """What can be spent now."""
        now = self.now()
        self._left = min(self.rate, self._left + (now - self._at) * self.rate / WINDOW_SECONDS)
        self._at = now
        return self._left

    def spend(self, cost: float) -> None:
        """Raises QuotaSpent, with the seconds after which it would do, or TooLarge where it never would; spends nothing then."""
        left = self.left()
        if cost > self.rate:
            raise TooLarge(f"the request costs {cost:.2f} megapixel-steps; this key may spend at most {self.rate:g} a minute")
        if cost > left:
            wait = (cost - left) * WINDOW_SECONDS / self.rate
            enough = f"the request costs {cost:.2f} megapixel-steps and {left:.2f} of {self.rate:g} a minute are left"
            spent = QuotaSpent(enough, retry_after=wait)
            spent.headers = self.headers()
            raise spent
        self._left = left - cost

    def give_back(self, cost: float) -> None:
        """Return what was spent on work that was not done."""
        self._left = min(self.rate, self.left() + cost)

    def headers(self) -> dict[str, str]:
        """RateLimit-Policy and RateLimit (IETF draft ratelimit-headers)."""
        left = self.left()
        full = (self.rate - left) * WINDOW_SECONDS / self.rate
        return {
            "RateLimit-Policy": f'"{POLICY}";q={self.rate:g};w={WINDOW_SECONDS}',
            "RateLimit": f'"{POLICY}";r={left:.2f};t={max(0, round(full))}',
        }


@dataclass(frozen=True, eq=False)
class Caller:
    """Who calls: the key's name, else the address; bucket is None where nothing is counted."""

    name: str
    admin: bool
    bucket: Bucket | None = None

    def headers(self) -> dict[str, str]:
        """What the caller is told of the quota."""
        return {} if self.bucket is None else self.bucket.headers()


class Keyring:
    """The keys that open this service; without any, everybody is let in, and who comes from this machine may administer."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)
        self.is_open = not self._keys
        self._buckets = {key.name: Bucket(key.quota) for key in self._keys if key.quota is not None}

    def caller(self, presented: str | None, address: str, loopback: bool) -> Caller:
        """Raises Unauthorised. Every key is compared, each in constant time, so that nothing is told by how long it takes."""
        if not self._keys:
            return Caller(address, admin=loopback)
        if presented is None:
            raise _unauthorised("no API key was sent; expected `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).hexdigest()
        found = [key for key in self._keys if hmac.compare_digest(key.digest, digest)]
        if not found:
            raise _unauthorised("the API key is not one that is known here")
        return self.named(found[0].name, found[0].admin)

    def named(self, name: str, admin: bool = False) -> Caller:
        """Whoever has been let in under that name before."""
        return Caller(name, admin, self._buckets.get(name))


def _unauthorised(detail: str) -> Unauthorised:
    error = Unauthorised(detail)
    error.headers = {"WWW-Authenticate": 'Bearer realm="rddm"'}
    return error


def check_admin(caller: Caller) -> None:
    """Raises Forbidden for whoever may not load and unload models."""
    if not caller.admin:
        raise Forbidden("only a key marked admin, or without keys a caller on this machine, may do this")
