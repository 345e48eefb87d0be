"""`rddm`: finds the verbs that service, training, export and benchmarks register as entry points, and runs one.

It imports none of them before it is asked to: a verb whose packages are missing says what to install.
"""

import ast
import importlib.util
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

GROUP = "rddm.verbs"


def verbs() -> dict[str, EntryPoint]:
    """The registered verbs by name."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


def summary(entry: EntryPoint) -> str:
    """First line of the verb's docstring, read from the source without importing it."""
    for parent in entry.module.split(".")[:1]:
        package = importlib.util.find_spec(parent)
        if package is None or not package.submodule_search_locations:
            return "(not installed)"
        path = Path(package.submodule_search_locations[0]).joinpath(*entry.module.split(".")[1:]).with_suffix(".py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == entry.attr:
                return (ast.get_docstring(node) or "").partition("\n")[0]
    return "(not installed)"


def usage() -> str:
    """The help text: every verb and what it does."""
    lines = [f"  {name:<10} {summary(entry)}" for name, entry in verbs().items()]
    return "\n".join(
        [
            "usage: rddm VERB [OPTIONS]",
            "",
            "Residual denoising diffusion: restore and generate pictures in a few steps.",
            "",
            *lines,
            "",
            "`rddm VERB --help` tells a verb's options.",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns its exit status, 2 for an unknown or uninstalled one, 130 after Ctrl-C, also while it is loaded."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(usage())
        return 0
    name, *rest = arguments
    entry = verbs().get(name)
    if entry is None:
        print(f"rddm: unknown verb {name!r}; expected one of {list(verbs())}", file=sys.stderr)
        return 2
    try:
        verb = entry.load()
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as missing:
        extra = ",".join(entry.extras)
        print(
            f"rddm: `{name}` needs the package {missing.name!r}: pip install 'rddm-serve[{extra}]'",
            file=sys.stderr,
        )
        return 2
    return int(verb(rest))


if __name__ == "__main__":
    sys.exit(main())
