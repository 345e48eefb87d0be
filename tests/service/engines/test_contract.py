"""An engine must say what only it knows; everything else has a default."""

import pytest

from service.engines.contract import ServingEngine


class Plain(ServingEngine):
    async def predict(self, x_t, condition, time, ticket):
        return (x_t,)

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def models(self):
        return {}

    def lease(self, name: str): ...

    async def check(self, name: str) -> None: ...

    async def load(self, name: str): ...

    async def unload(self, name: str) -> None: ...


def test_an_engine_that_has_nothing_to_say_of_its_state_has_defaults() -> None:
    assert (Plain().instances, dict(Plain().events), dict(Plain().broken)) == (1, {}, {})


def test_an_engine_without_its_one_method_cannot_be_made() -> None:
    class Silent(Plain):
        predict = ServingEngine.predict

    with pytest.raises(TypeError, match="predict"):
        Silent()
