"""Restoration from threads: the service on an event loop of its own, in a thread of its own."""

import itertools
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from rddm.image import Pixels
from service.analysis.analysis import Analysis
from service.engines.contract import Model, ServingEngine
from service.keys import RequestContext
from service.pictures.formats import FORMATS
from service.restoration.opening import open_service
from service.restoration.parameters import GenerateParameters, RestoreParameters
from service.restoration.service import RequestResult, RestorationService
from service.settings import Settings

T = TypeVar("T")
CALLER = "restorer"
AHEAD = 2  # requests beyond the engine's instances: one is decoded and one encoded while the engine works


class Restorer:
    """Restores and generates, from any number of threads at once; made by `open_restorer`.

    At most `at_once` requests are in work; a further thread waits for its turn. Every method raises the errors of service.errors.
    An exception in the waiting thread, such as KeyboardInterrupt, cancels the request.
    """

    def __init__(self, portal: BlockingPortal, service: RestorationService, at_once: int) -> None:
        self._portal = portal
        self._service = service
        self._places = BoundedSemaphore(at_once)
        self._numbers = itertools.count(1)
        self.at_once = at_once

    def models(self) -> Mapping[str, Model]:
        """The models that can be asked for, by name."""
        return self._service.repository.models()

    def restore(self, image: bytes, parameters: RestoreParameters | None = None, mask: bytes | None = None) -> bytes:
        """A picture file for a picture file: in parameters.format, or in the format that came."""
        return self.restore_request(image, parameters, mask).images[0]

    def restore_request(
        self, image: bytes, parameters: RestoreParameters | None = None, mask: bytes | None = None
    ) -> RequestResult:
        """Restores a picture file; the result names the model, steps, seed and timings."""
        wanted = parameters or RestoreParameters()
        kind = FORMATS.get(wanted.format or "")
        return self._run(lambda context: self._service.restore(wanted, image, mask, kind, context))

    def restore_pixels(self, pixels: Pixels, parameters: RestoreParameters | None = None, mask: Pixels | None = None) -> Pixels:
        """sRGB pixels h w 3 of uint8 or uint16 for such pixels, without files; the depth stays."""
        wanted = parameters or RestoreParameters()
        return self._run(lambda context: self._service.restore_pixels(pixels, wanted, context, mask))

    def analyse(self, image: bytes) -> Analysis:
        """What is wrong with a picture, and what the task auto would do about it."""
        return self._run(lambda context: self._service.analyse(image, context))

    def generate(self, parameters: GenerateParameters | None = None) -> RequestResult:
        """Pictures out of noise."""
        wanted = parameters or GenerateParameters()
        return self._run(lambda context: self._service.generate(wanted, FORMATS.get(wanted.format or ""), context))

    def _run(self, start: Callable[[RequestContext], Coroutine[Any, Any, T]]) -> T:
        """Runs a request on the event loop and waits for it."""
        with self._places:
            context = RequestContext(f"restorer-{next(self._numbers)}", CALLER, time.monotonic())
            future = self._portal.start_task_soon(start, context)
            try:
                result: T = future.result()
                return result
            except BaseException:
                future.cancel()
                raise


@contextmanager
def open_restorer(
    settings: Settings | None = None, at_once: int | None = None, engine: ServingEngine | None = None
) -> Iterator[Restorer]:
    """Opens models and codecs as the settings say, for as long as the block runs.

    at_once: requests in work at the same time; None for two more than the engine runs calls side by side. The settings' bounds of
    the queue and of held pictures, which refuse work, do not apply: threads wait instead. Raises ValueError for at_once under 1,
    EngineUnavailable where no model can be used, ModuleNotFoundError where the engine's packages are not installed.
    """
    if at_once is not None and at_once < 1:
        raise ValueError(f"at_once = {at_once}; expected at least 1")
    unbounded = {"queue_megapixel_steps": float("inf"), "max_held_megapixels": float("inf")}
    opened = open_service((settings or Settings()).model_copy(update=unbounded), engine)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(opened) as service:
        yield Restorer(portal, service, at_once or service.scheduler.instances + AHEAD)
