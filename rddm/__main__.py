"""`rddm`: finds the verbs that service, training, export and benchmarks register as entry points, and runs one.

It imports none of them before it is asked to: a verb whose packages are missing, when it is loaded or later, says what to install.
"""

import ast
import gc
import importlib.util
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import EntryPoint, distribution, requires
from pathlib import Path

DISTRIBUTION, GROUP = "rddm-serve", "rddm.verbs"
REQUIREMENT = re.compile(r"(?P<package>[\w.-]+).*extra == ['\"](?P<extra>[\w-]+)['\"]")
SUPPLIERS = {"cv2": "opencv-python-headless", "grpc": "tritonclient", "google": "tritonclient", "skimage": "scikit-image"}


def verbs() -> dict[str, EntryPoint]:
    """The registered verbs by name, whose code is there: a wheel leaves out what needs the repository.

    Other distributions are not looked at: with 140 of them that takes 10 ms.
    """
    registered = sorted(distribution(DISTRIBUTION).entry_points.select(group=GROUP), key=lambda entry: entry.name)
    return {entry.name: entry for entry in registered if importlib.util.find_spec(_package(entry)) is not None}


def _package(entry: EntryPoint) -> str:
    return entry.module.partition(".")[0]


def extras_of(module: str, entry: EntryPoint) -> list[str]:
    """The extras that make a verb run: its own, and the smallest one that installs the module if none of them does."""
    package = _plain(SUPPLIERS.get(module.partition(".")[0], module.partition(".")[0]))
    packages = defaultdict(set)
    for match in filter(None, map(REQUIREMENT.match, requires(DISTRIBUTION) or ())):
        packages[match["extra"]].add(_plain(match["package"]))
    suppliers = sorted((extra for extra in packages if package in packages[extra]), key=lambda extra: len(packages[extra]))
    return [*entry.extras, *([] if set(suppliers) & set(entry.extras) else suppliers[:1])]


def _plain(name: str) -> str:
    """A distribution's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def missing_package(error: ModuleNotFoundError, entry: EntryPoint) -> str:
    """A line that says what to install. Raises the error itself where the module is the project's own: that is a fault."""
    if error.name is None or error.name.partition(".")[0] in {_package(verb) for verb in verbs().values()} | {"rddm"}:
        raise error
    extras = ",".join(extras_of(error.name, entry))
    return f"rddm: `{entry.name}` needs the package {error.name!r}: pip install 'rddm-serve[{extras}]'"


def summary(entry: EntryPoint) -> str:
    """First line of the verb's docstring, read from the source without importing it."""
    package = importlib.util.find_spec(_package(entry))
    assert package is not None
    assert package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]).joinpath(*entry.module.split(".")[1:]).with_suffix(".py")
    functions = (node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef))
    verb = next(node for node in functions if node.name == entry.attr)
    return (ast.get_docstring(verb) or "").partition("\n")[0]


def usage() -> str:
    """The help text: every verb and what it does."""
    lines = "\n".join(f"  {name:<10} {summary(entry)}" for name, entry in verbs().items())
    what = "Residual denoising diffusion: restore and generate pictures in a few steps."
    return f"usage: rddm VERB [OPTIONS]\n\n{what}\n\n{lines}\n\n`rddm VERB --help` tells a verb's options."


def load(entry: EntryPoint) -> Callable[[list[str]], int]:
    """The verb. What importing it makes stays, so no garbage collection looks at it, then or later: 0.1 s of 1.3 for `serve`."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else it looks through all distributions for some: 15 ms of 1,200
    gc.disable()
    try:
        verb: Callable[[list[str]], int] = entry.load()
    finally:
        gc.freeze()
        gc.enable()
    return verb


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns its exit status, 2 for an unknown or uninstalled one, 130 after Ctrl-C, 141 for a pipe nobody reads."""
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return 141
    return status


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(usage())
        return 0
    name, *rest = arguments
    entry = verbs().get(name)
    if entry is None:
        print(f"rddm: unknown verb {name!r}; expected one of {list(verbs())}", file=sys.stderr)
        return 2
    try:
        return int(load(entry)(rest))
    except ModuleNotFoundError as missing:
        print(missing_package(missing, entry), file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
