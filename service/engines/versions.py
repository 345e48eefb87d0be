"""Which version of each model takes new traffic, and which older ones requests still hold."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

from service.engines.contract import Model, Weights
from service.errors import UnknownModel

Handle = TypeVar("Handle")


class ModelVersions(Generic[Handle]):
    """Handle is what the engine keeps per version (a session, say); release is called when the last request has left it."""

    def __init__(self, release: Callable[[Model, Handle], None]) -> None:
        self._release = release
        self._current: dict[str, Weights] = {}
        self._all: dict[Weights, tuple[Model, Handle]] = {}
        self._leases: Counter[Weights] = Counter()

    def models(self) -> Mapping[str, Model]:
        """The version that takes new traffic, by name."""
        return {name: self._all[weights][0] for name, weights in sorted(self._current.items())}

    def activate(self, model: Model, handle: Handle) -> None:
        """New traffic goes to this version; the one before is let go of once no request holds it."""
        earlier = self._current.get(model.spec.name)
        self._all[model.weights] = (model, handle)
        self._current[model.spec.name] = model.weights
        if earlier is not None and earlier != model.weights:
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

    def find(self, weights: Weights) -> tuple[Model, Handle]:
        """What is kept of just these weights, current or held. Raises UnknownModel."""
        if weights in self._all:
            return self._all[weights]
        self.current(weights.name)
        raise UnknownModel(
            f"version {weights.version} of model {weights.name!r} is no longer loaded with the digest {weights.digest[:8]}"
        )

    @contextmanager
    def lease(self, name: str) -> Iterator[Model]:
        """Hold the current version. Raises UnknownModel."""
        model = self.current(name)
        self._leases[model.weights] += 1
        try:
            yield model
        finally:
            self._leases[model.weights] -= 1
            self._drop_if_free(model.weights)

    def older(self, name: str) -> list[int]:
        """Versions of the model that take no new traffic and that requests still hold."""
        return sorted(weights.version for weights in self._all if weights.name == name and self._current.get(name) != weights)

    def clear(self) -> None:
        """Let go of everything, held or not."""
        self._current.clear()
        self._leases.clear()
        for weights in list(self._all):
            self._drop_if_free(weights)

    def _drop_if_free(self, weights: Weights) -> None:
        if weights in self._all and not self._leases[weights] and self._current.get(weights.name) != weights:
            self._release(*self._all.pop(weights))
            del self._leases[weights]
