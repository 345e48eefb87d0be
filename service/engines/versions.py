"""Which version of each model takes new traffic, and which older ones requests still hold."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

from service.engines.contract import Model, Ticket
from service.errors import UnknownModel

Handle = TypeVar("Handle")
Key = tuple[str, int, str]  # name, version, digest: a version that was exported anew is another one


class ModelVersions(Generic[Handle]):
    """Handle is what the engine keeps per version (a session, say); release is told when the last request has left it."""

    def __init__(self, release: Callable[[Model, Handle], None]) -> None:
        self._release = release
        self._current: dict[str, Key] = {}
        self._all: dict[Key, tuple[Model, Handle]] = {}
        self._leases: Counter[Key] = Counter()

    def models(self) -> Mapping[str, Model]:
        """The version that takes new traffic, by name."""
        return {name: self._all[key][0] for name, key in sorted(self._current.items())}

    def activate(self, model: Model, handle: Handle) -> None:
        """New traffic goes to this version; the one before is let go of once no request holds it."""
        key = (model.spec.name, model.version, model.digest)
        earlier = self._current.get(model.spec.name)
        self._all[key] = (model, handle)
        self._current[model.spec.name] = key
        if earlier is not None and earlier != key:
            self._drop_if_free(earlier)

    def deactivate(self, name: str) -> None:
        """No new traffic for the model. Raises UnknownModel."""
        self.current(name)
        self._drop_if_free(self._current.pop(name))

    def current(self, name: str) -> Model:
        """The version that takes new traffic. Raises UnknownModel with the names there are."""
        if name not in self._current:
            raise UnknownModel(f"model {name!r} is not loaded; expected one of {sorted(self._current)}")
        return self._all[self._current[name]][0]

    def find(self, ticket: Ticket) -> tuple[Model, Handle]:
        """The version that the ticket names, current or held. Raises UnknownModel."""
        current = self._current.get(ticket.model)
        if current is not None and current[1] == ticket.version:
            return self._all[current]
        for key, kept in self._all.items():
            if key[:2] == (ticket.model, ticket.version):
                return kept
        self.current(ticket.model)
        raise UnknownModel(f"version {ticket.version} of model {ticket.model!r} is no longer loaded")

    @contextmanager
    def lease(self, name: str) -> Iterator[Model]:
        """Hold the current version. Raises UnknownModel."""
        model = self.current(name)
        key = self._current[name]
        self._leases[key] += 1
        try:
            yield model
        finally:
            self._leases[key] -= 1
            self._drop_if_free(key)

    def older(self, name: str) -> list[int]:
        """Versions of the model that take no new traffic and that requests still hold."""
        return sorted(key[1] for key in self._all if key[0] == name and self._current.get(name) != key)

    def clear(self) -> None:
        """Let go of everything, held or not."""
        self._current.clear()
        self._leases.clear()
        for key in list(self._all):
            self._drop_if_free(key)

    def _drop_if_free(self, key: Key) -> None:
        if key in self._all and not self._leases[key] and self._current.get(key[0]) != key:
            self._release(*self._all.pop(key))
            del self._leases[key]
