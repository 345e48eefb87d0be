"""Callers: API keys, kept as SHA-256 only, and what a key may spend.

A line of the keys file is `name sha256-of-the-key [megapixel-steps per minute] [admin]`; `#` begins a comment. Keys are long and
random (`openssl rand -hex 32`), so a fast hash protects them.
"""

import hashlib
import hmac
import logging
import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from service.errors import Forbidden, QuotaSpent, StoreUnavailable, TooLarge, Unauthorised
from service.storage import Database, Transaction

log = logging.getLogger(__name__)
WINDOW_SECONDS = 60
POLICY = "megapixel-steps"
DIGEST = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
SCHEMA = "create table if not exists rddm_quotas (name text primary key, units {real} not null, at {real} not null)"


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

    def set(self, left: float, at: float | None = None) -> None:
        """What was left then, or is now."""
        self._left, self._at = left, self.now() if at is None else at

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


class Quota:
    """A key's bucket in this process: quotas of a gateway by itself."""

    def __init__(self, rate: float) -> None:
        self._bucket = Bucket(rate)

    async def spend(self, cost: float) -> None:
        """See `Bucket`."""
        self._bucket.spend(cost)

    async def give_back(self, cost: float) -> None:
        """See `Bucket`."""
        self._bucket.give_back(cost)

    def left(self) -> float:
        """See `Bucket`; of a shared one, what was left when this process last spent of it, refilled since."""
        return self._bucket.left()

    def headers(self) -> dict[str, str]:
        """See `Bucket`."""
        return self._bucket.headers()


class SharedQuota(Quota):
    """One bucket for all gateways, in their database. While that does not answer, each gateway goes on with what it last knew."""

    def __init__(self, rate: float, name: str, database: Database) -> None:
        super().__init__(rate)
        self._rate, self._name, self._database = rate, name, database

    async def spend(self, cost: float) -> None:
        """See `Bucket`."""
        await self._apply(lambda bucket: bucket.spend(cost))

    async def give_back(self, cost: float) -> None:
        """See `Bucket`."""
        await self._apply(lambda bucket: bucket.give_back(cost))

    async def _apply(self, change: Callable[[Bucket], None]) -> None:
        def act(tx: Transaction) -> float:
            tx.execute(
                "insert into rddm_quotas (name, units, at) values (?, ?, ?) on conflict (name) do nothing",
                *(self._name, self._rate, tx.now),
            )
            # An update, so that the row is locked.
            [(units, at)] = tx.execute("update rddm_quotas set at = at where name = ? returning units, at", self._name)
            bucket = Bucket(self._rate, lambda: tx.now)
            bucket.set(units, at)
            change(bucket)
            tx.execute("update rddm_quotas set units = ?, at = ? where name = ?", bucket.left(), tx.now, self._name)
            return bucket.left()

        try:
            self._bucket.set(await self._database.run(act))
        except StoreUnavailable as error:
            log.warning("quotas are counted by this gateway alone: %s", error.detail)
            change(self._bucket)


@dataclass(frozen=True, eq=False)
class RequestContext:
    """A request and its caller.

    request: its id. caller: the key's name, else the address. arrived, deadline: on the clock of time.monotonic; no deadline is
    known before the parameters are. admin: whether models may be loaded and unloaded. quota: None where nothing is counted.
    """

    request: str
    caller: str
    arrived: float
    deadline: float = math.inf
    admin: bool = False
    quota: Quota | None = None

    def headers(self) -> dict[str, str]:
        """The quota, as headers of an answer."""
        return {} if self.quota is None else self.quota.headers()


class Keyring:
    """The keys that open this service; without any, every caller is admitted, and those of this machine may administer.

    Where gateways share a database, a key's quota is one for all of them.
    """

    def __init__(self, keys: Iterable[Key], database: Database | None = None) -> None:
        self._keys = tuple(keys)
        self.is_open = not self._keys
        self._database = database if database is not None and database.shared else None
        self._quotas = {key.name: self._quota(key.name, key.quota) for key in self._keys if key.quota is not None}

    def _quota(self, name: str, rate: float) -> Quota:
        return Quota(rate) if self._database is None else SharedQuota(rate, name, self._database)

    async def open(self) -> None:
        """Make the table of quotas, if there is to be one. Raises StoreUnavailable."""
        if self._database is not None and self._quotas:
            await self._database.run(lambda tx: tx.execute(SCHEMA), exclusive=True)

    def context(self, request: str, presented: str | None, address: str, loopback: bool) -> RequestContext:
        """The context of a request that has just come with this key, or none, from this address. Raises Unauthorised.

        Every key is compared, each in constant time, so that the time it takes says nothing.
        """
        if not self._keys:
            return RequestContext(request, address, time.monotonic(), admin=loopback)
        if presented is None:
            raise _unauthorised("no API key was sent; expected `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).hexdigest()
        matching = [key for key in self._keys if hmac.compare_digest(key.digest, digest)]
        if not matching:
            raise _unauthorised("the API key is not one that is known here")
        return self.named(request, matching[0].name, matching[0].admin)

    def named(self, request: str, caller: str, admin: bool = False) -> RequestContext:
        """The context of a request that begins now, of a caller that was let in under that name before."""
        return RequestContext(request, caller, time.monotonic(), admin=admin, quota=self._quotas.get(caller))


def _unauthorised(detail: str) -> Unauthorised:
    error = Unauthorised(detail)
    error.headers = {"WWW-Authenticate": 'Bearer realm="rddm"'}
    return error


def check_admin(context: RequestContext) -> None:
    """Raises Forbidden for whoever may not load and unload models."""
    if not context.admin:
        raise Forbidden("only a key marked admin, or without keys a caller on this machine, may do this")
