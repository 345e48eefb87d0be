"""Which model does what a request asks for, in how many steps."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from rddm.spec import ModelSpec
from service.analysis.plan import ORDER
from service.engines.contract import Choose, Model, Repository
from service.errors import InvalidValue, NotFound
from service.restoration.adjusting import takes_brightness
from service.restoration.parameters import AUTO, GenerateParameters, RestoreParameters
from service.settings import Settings

log = logging.getLogger("rddm.restoration")
Parameters = RestoreParameters | GenerateParameters
# Further names of tasks: requests may say either. Where a model of the alias's own name or task is there, it is that model's.
ALIASES: Mapping[str, str] = {"denoise": "clean", "dejpeg": "clean"}


class ModelNames:
    """Finds models by name or task. settings.default_model answers requests that name no task. models: those there are now."""

    def __init__(self, settings: Settings, models: Callable[[], Mapping[str, Model]]) -> None:
        self._settings = settings
        self._models = models
        self._had_default = False

    def check_single(self, parameters: Parameters) -> None:
        """Raises InvalidValue for several tasks, where one is done."""
        if isinstance(parameters, RestoreParameters) and (len(parameters.tasks) > 1 or parameters.is_auto):
            raise InvalidValue(f"task = {parameters.task!r}; expected one task here")

    def names_for(self, parameters: Parameters) -> tuple[str, ...]:
        """The models' names, one for each task; for auto, of all that may be planned. Raises NotFound with the models there are."""
        if isinstance(parameters, RestoreParameters) and parameters.is_auto:
            if not (names := self.plannable()):
                raise NotFound(f"no model for task auto; it plans with any of {list(ORDER)}")
            return names
        if isinstance(parameters, RestoreParameters):
            return tuple(self._name_for_task(task) for task in parameters.tasks)
        return (self._name_of_generator(parameters.model),)

    def resolve(self, parameters: Parameters) -> tuple[Model, ...]:
        """The model of each task, in order.

        Raises NotFound with the models there are, InvalidValue for what one of them does not take.
        """
        models = self._models()
        return checked(parameters, tuple(models[name] for name in self.names_for(parameters)))

    def default_model(self) -> str:
        """The setting. Where nobody set it and this repository never had such a model or task, the first model that restores.

        A default model that was there and is unloaded is missed: no request gets another model's picture instead.
        """
        wanted = self._settings.default_model
        self._had_default = self._had_default or self._restorer(wanted) is not None
        if self._had_default or "default_model" in self._settings.model_fields_set:
            return wanted
        return min(self._restorers(), default=wanted)

    def check_default(self) -> None:
        """Raises NotFound, with the models and tasks there are, for a default model that was set and is none of them."""
        if "default_model" in self._settings.model_fields_set and self._restorer(self._settings.default_model) is None:
            raise NotFound(f"default_model = {self._settings.default_model!r}; expected one of {self._known_tasks()}")

    def warn_of_default(self) -> None:
        """Logs a default model that was set and is not there."""
        wanted = self.default_model()
        if "default_model" in self._settings.model_fields_set and self._restorer(wanted) is None:
            log.warning("the default model %r is not loaded; those that restore are %s", wanted, sorted(self._restorers()))

    def plannable(self) -> tuple[str, ...]:
        """The models that auto may plan, in the order of repair."""
        return tuple(name for task in ORDER if (name := self._restorer(task)) is not None)

    def _name_for_task(self, task: str | None) -> str:
        wanted = task or self.default_model()
        if (name := self._restorer(wanted)) is not None:
            return name
        known = sorted([*([AUTO] if self.plannable() else []), *self._known_tasks()])
        wrong = (
            f"model {wanted} generates pictures and restores none" if wanted in self._models() else f"unknown task {wanted[:64]!r}"
        )
        raise NotFound(f"{wrong}; expected one of {known}" if known else wrong)

    def _known_tasks(self) -> list[str]:
        """Names, tasks and aliases of the models that restore."""
        models = self._restorers()
        tasks = {model.spec.task for model in models.values()}
        return sorted({*models, *tasks, *(alias for task in tasks for alias in aliases_of(task))})

    def _restorers(self) -> dict[str, Model]:
        return {name: model for name, model in self._models().items() if model.spec.start == "image"}

    def _restorer(self, wanted: str) -> str | None:
        """The model of that name, else the first one of that task, else of the task that it is an alias of."""
        models = self._restorers()
        if wanted in models:
            return wanted
        tasks = (wanted, ALIASES.get(wanted))
        return next((name for task in tasks for name, model in sorted(models.items()) if model.spec.task == task), None)

    def _name_of_generator(self, name: str | None) -> str:
        models = sorted(name for name, model in self._models().items() if model.spec.start == "noise")
        if name in models or (name is None and models):
            return name or models[0]
        wrong = (
            f"model {name} restores pictures and generates none"
            if name in self._models()
            else f"unknown model {(name or '')[:64]!r}"
        )
        raise NotFound(f"{wrong}; those that generate are {models}" if models else wrong)


class ModelChoice(ModelNames):
    """Finds models in a repository that serves, and holds them while they are used."""

    def __init__(self, settings: Settings, repository: Repository) -> None:
        super().__init__(settings, repository.models)
        self._repository = repository

    @contextmanager
    def lease(self, parameters: Parameters) -> Iterator[tuple[Model, ...]]:
        """What `resolve` gives; the versions stay loaded for the block."""
        with ExitStack() as leases:
            models = tuple(leases.enter_context(self._repository.lease(name)) for name in self.names_for(parameters))
            yield checked(parameters, models)


def aliases_of(task: str) -> list[str]:
    """Further names of a task."""
    return sorted(alias for alias, own in ALIASES.items() if own == task)


def named_by(parameters: Parameters) -> list[str]:
    """The models or tasks that the parameters name."""
    names = parameters.tasks if isinstance(parameters, RestoreParameters) else (parameters.model,)
    return [name for name in names if name is not None]


def choice_for(settings: Settings, parameters: Parameters) -> Choose:
    """What picks the models that such a request needs, before any is opened."""
    return lambda models: ModelNames(settings, lambda: models).names_for(parameters)


def steps_of(spec: ModelSpec, wanted: int | None) -> int:
    """The steps of a request, or the model's default. Raises InvalidValue outside the model's range."""
    steps = spec.default_steps if wanted is None else wanted
    if not spec.min_steps <= steps <= spec.max_steps:
        raise InvalidValue(f"steps = {steps}; model {spec.name} takes {spec.min_steps}..{spec.max_steps}")
    return steps


def checked(parameters: Parameters, models: tuple[Model, ...]) -> tuple[Model, ...]:
    """The models. Raises InvalidValue for steps that one does not take, and for a brightness where none decides of it."""
    for model in models:
        steps_of(model.spec, parameters.steps)
    wants_brightness = isinstance(parameters, RestoreParameters) and parameters.sets_brightness
    if wants_brightness and not any(takes_brightness(model.spec) for model in models):
        names = ", ".join(model.spec.name for model in models)
        raise InvalidValue(f"brightness is for models that brighten, such as lowlight; {names} does not")
    return models
