"""A folder that is looked at again and again: its files as entries, each once it is whole, and again when it has changed.

By looking, not by notifications of the system: those do not come from network drives, differ between systems and are lost when
too many come at once. A look at 10,000 files takes tens of milliseconds.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import PurePosixPath

from service.bulk.stores import Entry, Store

UNFINISHED = {".part", ".partial", ".tmp", ".crdownload", ".download", ".filepart"}  # names of copies that are under way


def is_unfinished(key: str) -> bool:
    """Whether programs give such names to files that they have not finished, or that are no one's pictures: hidden ones."""
    path = PurePosixPath(key)
    return path.suffix.lower() in UNFINISHED or any(part.startswith(".") for part in path.parts)


async def settled(store: Store, seconds: float) -> AsyncIterator[Entry]:
    """Every object, for ever: when two looks, so many seconds apart, see it in the same state, and once for each state.

    An object that is empty is still to be written.
    """
    seen: dict[str, str] = {}
    given: dict[str, str] = {}
    while True:
        there = {entry.key: entry async for entry in store.entries() if not is_unfinished(entry.key)}
        for key, entry in there.items():
            state = entry.problem or entry.tag
            if seen.get(key) == state != given.get(key) and entry.size != 0:
                given[key] = state
                yield entry
        seen = {key: entry.problem or entry.tag for key, entry in there.items()}
        given = {key: state for key, state in given.items() if key in there}
        await asyncio.sleep(seconds)
