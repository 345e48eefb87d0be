"""What a database does for this service."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from service.errors import StoreUnavailable

T = TypeVar("T")
Row = tuple[Any, ...]


class Transaction(Protocol):
    """Statements that are kept all together or not at all. now: seconds of the epoch, on the database's clock."""

    now: float

    def execute(self, statement: str, *values: object) -> list[Row]:
        """The rows of a query or of a `returning` clause. `?` stands for a value, {blob} and {real} for the database's types."""
        ...


class Database(Protocol):
    """shared: other gateways may use it at the same time."""

    shared: bool

    async def run(self, act: Callable[[Transaction], T], *, exclusive: bool = False) -> T:
        """What `act` returns, which runs in another thread; what it raises undoes all that it wrote.

        exclusive: one after the other, over all gateways, as far as they ask for it too. Raises StoreUnavailable.
        """
        ...

    async def aclose(self) -> None:
        """Give the connections back."""
        ...


def unavailable(error: Exception) -> StoreUnavailable:
    """A database's own error in our words; the message could hold addresses or paths."""
    return StoreUnavailable(f"jobs cannot be kept now: {type(error).__name__}", retry_after=30)
