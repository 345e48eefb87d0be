"""Messages of webhooks, kept until they were delivered: at least once, whatever ends in between."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.storage import Database, Transaction

SCHEMA = """
create table if not exists rddm_deliveries (
    id text primary key, url text not null, body text not null, created {real} not null, attempts integer not null,
    due {real} not null)
"""
AT_ONCE = 8
LEASE_SECONDS = 60.0  # after which another gateway tries, since this one may have died


@dataclass(frozen=True)
class Delivery:
    """One message. id: the same at every attempt, by which receivers know a repetition; body: JSON; attempts: so far."""

    id: str
    url: str
    body: str
    attempts: int = 0


def add_deliveries(tx: Transaction, deliveries: Sequence[Delivery]) -> None:
    """In the transaction of what they tell of, so that neither is there without the other."""
    for one in deliveries:
        tx.execute(
            "insert into rddm_deliveries (id, url, body, created, attempts, due) values (?, ?, ?, ?, 0, 0) "
            "on conflict (id) do nothing",
            *(one.id, one.url, one.body, tx.now),
        )


class DeliveryStore:
    """Every method raises StoreUnavailable when the database is full or gone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self) -> None:
        """Make the table. Where no other gateway can be at work, what an earlier process was sending is sent again now."""

        def act(tx: Transaction) -> None:
            tx.execute(SCHEMA)
            if not self._database.shared:
                tx.execute("update rddm_deliveries set due = 0")

        await self._database.run(act, exclusive=True)

    async def claim(self) -> list[Delivery]:
        """Some that are due, the oldest first; nobody else has them for LEASE_SECONDS."""

        def act(tx: Transaction) -> list[Delivery]:
            rows = tx.execute(
                "select id, url, body, attempts from rddm_deliveries where due <= ? order by created limit ?", tx.now, AT_ONCE
            )
            for identity, *_ in rows:
                statement = "update rddm_deliveries set attempts = attempts + 1, due = ? where id = ?"
                tx.execute(statement, tx.now + LEASE_SECONDS, identity)
            return [Delivery(identity, url, body, attempts + 1) for identity, url, body, attempts in rows]

        return await self._database.run(act, exclusive=True)

    async def remove(self, delivery: Delivery) -> None:
        """Forgets a message that arrived, or never will."""
        await self._database.run(lambda tx: tx.execute("delete from rddm_deliveries where id = ?", delivery.id))

    async def postpone(self, delivery: Delivery, seconds: float) -> None:
        """Try again later."""
        await self._database.run(
            lambda tx: tx.execute("update rddm_deliveries set due = ? where id = ?", tx.now + seconds, delivery.id)
        )

    async def count(self) -> int:
        """Messages that nobody has confirmed."""
        [(number,)] = await self._database.run(lambda tx: tx.execute("select count(*) from rddm_deliveries"))
        return int(number)
