"""How many rooms, stations and repeated facts the code has, of any checkouts, side by side.

    python -m benchmarks.house [-o benchmarks/results/house.json] [NAME=CHECKOUT ...]

Without arguments this checkout is measured. Every checkout is measured by this very file, in a process of its own that imports the
checkout's packages; it needs the installed dependencies of both.

- *fullest folder*: modules (without `__init__`) that lie directly in one folder of `service/`.
- *station*: a function or method of `service/` in whose course the work of one `/restore` is done, counted once, by name. The work:
  a message to or from a codec process, a call of the network, the deflating of pixels, and the sending of the answer; in its
  course: on the stack of the thread that does it, or awaiting it in a task that the request began. The request is a 64x64 PNG as
  multipart, `lowlight` in its default steps by the embedded engine, a PNG back, in a gateway that has answered one before and
  looks for no jobs meanwhile; what counts is what each of three such requests has.
  *Functions entered from another module* are all others of service/ as well, that some other module called on the way. Neither
  counts properties, lambdas and special methods, nor what codec processes do.
- *type*: a public class of `service/` of which that request makes an instance to be passed on. Not those that only measure
  (MEASURING), nor those in which a file format takes its own bytes apart and together (FORMAT_MODULES). So counted, commit e52b7ca
  has the 43 stations and 28 types of the review that set the aims.
- *scheduler cluster*: `service/scheduling/`, or the flat modules that it was made of. Code lines are neither blank nor comment nor
  docstring; constants are names in capitals with a numeric value, numeric defaults of frozen dataclasses, public attributes that
  begin as a number other than 0, and those of the engines' contract.
- *places of the graph's names*: modules outside the tests that spell `x_t` or `out_0` as text, docstrings aside.
- *modules with a test of their name*: of rddm, training, export and service, `x.py` with a `test_x.py` somewhere under tests.
- *upward imports*: imports against a layers contract of the checkout's own pyproject.toml. *circles*: groups of modules that
  import one another, and of rooms (the folders in a package, and the modules beside them), imports for type checking aside.
"""

import argparse
import ast
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterator
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import FrameType
from typing import Any

import httpx2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

PACKAGES = ("rddm", "training", "export", "service")
FOLDED = ("fullest folder", "scheduler cluster", "modules with a test of their name")
CLUSTER = ("scheduler", "admission", "fairness", "batch", "occupancy", "costs", "ladder", "calibration", "turns")
MAKERS = {"__init__", "__new__"}
TASK, SIDE = "lowlight", 64
RECORDED = 3  # requests: what is not in each of them belongs to something else that ran, such as the search for jobs
OF_REQUEST: ContextVar[bool] = ContextVar("of_request", default=False)
MEASURING = {"Call", "CallClock", "RequestRecord", "Stopwatch"}
FORMAT_MODULES = ("service.pictures.files.", "service.pictures.png", "service.pictures.exif", "service.pictures.directories")
# Where a request's work is done: files by their ends, and functions in them.
WORK = {
    "onnxruntime_inference_collection.py": {"run", "run_with_iobinding", "run_with_ort_values"},
    "/framing.py": {"pack", "unpack"},
    "/png.py": {"_deflated", "deflated", "_deflate"},
    "httpx2/_transports/asgi.py": {"send"},
}


def modules_of(root: Path, *packages: str) -> list[Path]:
    """Modules of the packages, without `__init__`."""
    paths = (path for package in packages or PACKAGES for path in (root / package).rglob("*.py"))
    return sorted(path for path in paths if path.name != "__init__.py")


def fullest_folder(root: Path) -> dict[str, Any]:
    """The folder of service/ with the most modules."""
    counts: dict[str, int] = {}
    for path in modules_of(root, "service"):
        folder = path.parent.relative_to(root).as_posix()
        counts[folder] = counts.get(folder, 0) + 1
    name = max(counts, key=lambda folder: counts[folder])
    return {"folder": name, "modules": counts[name], "folders": dict(sorted(counts.items()))}


def docstrings(tree: ast.AST) -> list[ast.Constant]:
    """The nodes of a module's docstrings."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = (node.body for node in ast.walk(tree) if isinstance(node, owners))
    first = (body[0].value for body in bodies if body and isinstance(body[0], ast.Expr))
    return [node for node in first if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def code_lines(path: Path) -> int:
    """Lines that are neither blank nor comment nor docstring."""
    text = path.read_text(encoding="utf-8")
    skipped = {line for node in docstrings(ast.parse(text)) for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    lines = enumerate(text.splitlines(), start=1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and number not in skipped for number, line in lines)


def is_numeric(node: ast.expr | None) -> bool:
    """Whether an expression is made of numbers alone: 3, 1 << 20, (1, 2, 4), 2.5 * 60."""
    if node is None:
        return False
    leaves = [leaf for leaf in ast.walk(node) if isinstance(leaf, ast.expr) and not list(ast.iter_child_nodes(leaf))]
    inner = (ast.BinOp, ast.UnaryOp, ast.Tuple, ast.Constant, ast.operator, ast.unaryop, ast.expr_context)
    numbers = [leaf for leaf in leaves if isinstance(leaf, ast.Constant) and type(leaf.value) in (int, float)]
    return len(numbers) == len(leaves) > 0 and all(isinstance(each, inner) for each in ast.walk(node))


def constants_of(path: Path) -> list[str]:
    """Names in capitals with a numeric value, numeric defaults of frozen dataclasses, and public attributes that begin as a number.

    A 0 that an attribute begins as is a counter's.
    """
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and is_numeric(node.value):
            names += [name.id for target in node.targets for name in ast.walk(target) if is_capital(name)]
            attributes = [
                target
                for target in node.targets
                if isinstance(target, ast.Attribute) and ast.unparse(node.value) not in {"0", "0.0"}
            ]
            names += [target.attr for target in attributes if not target.attr.startswith("_")]
        elif isinstance(node, ast.AnnAssign) and is_numeric(node.value) and is_capital(node.target):
            names.append(node.target.id)  # type: ignore[union-attr]
        elif isinstance(node, ast.ClassDef) and is_frozen(node):
            fields = (each for each in node.body if isinstance(each, ast.AnnAssign) and is_numeric(each.value))
            names += [f"{node.name}.{each.target.id}" for each in fields if isinstance(each.target, ast.Name)]
    return names


def is_capital(node: ast.AST) -> bool:
    """Whether a name is written in capitals."""
    return isinstance(node, ast.Name) and node.id.isupper()


def is_frozen(node: ast.ClassDef) -> bool:
    """Whether a class is a frozen dataclass."""
    words = [keyword for call in node.decorator_list if isinstance(call, ast.Call) for keyword in call.keywords]
    return any(word.arg == "frozen" and isinstance(word.value, ast.Constant) and word.value.value is True for word in words)


def scheduler_cluster(root: Path) -> dict[str, Any]:
    """Code lines and constants of what schedules."""
    folder = root / "service" / "scheduling"
    paths = modules_of(root, "service/scheduling") if folder.is_dir() else [root / "service" / f"{name}.py" for name in CLUSTER]
    contract = constants_of(root / "service" / "engines" / "contract.py")
    constants = {path.stem: names for path in paths if (names := constants_of(path))} | {"contract": contract}
    lines = {path.stem: code_lines(path) for path in paths}
    return {"code lines": sum(lines.values()), "constants": sum(map(len, constants.values())), "lines": lines, "names": constants}


def graph_name_places(root: Path) -> list[str]:
    """Modules that spell the exported graph's names."""
    return [path.relative_to(root).as_posix() for path in modules_of(root, *PACKAGES, "benchmarks") if spells_graph(path)]


def spells_graph(path: Path) -> bool:
    """Whether a module holds `x_t`, `out_0` or `out_{...}` as text that is no docstring."""
    if path.resolve() == Path(__file__).resolve() or path.name == "house.py":
        return False
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set(map(id, docstrings(tree)))
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in skipped)
    return any(node.value in {"x_t", "out_0", "out_1", "out_"} for node in texts)


def own_tests(root: Path) -> dict[str, Any]:
    """How many modules have a test of their name, and which have none."""
    tests = {path.stem.removeprefix("test_") for path in (root / "tests").rglob("test_*.py")}
    modules = modules_of(root)
    without = [path.relative_to(root).as_posix() for path in modules if path.stem.strip("_") not in tests]
    return {"share": round(1 - len(without) / len(modules), 3), "modules": len(modules), "without": without}


def imports_of(root: Path, path: Path) -> Iterator[str]:
    """Modules of this project that a module imports, by name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    skipped = {id(each) for node in hidden for each in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in PACKAGES)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            for alias in node.names:
                inner = root / node.module.replace(".", "/") / f"{alias.name}.py"
                yield f"{node.module}.{alias.name}" if inner.is_file() else node.module


def import_graph(root: Path) -> dict[str, set[str]]:
    """Each module's imports; a package's `__init__` has the package's name."""
    graph = {}
    for package in PACKAGES:
        for path in (root / package).rglob("*.py"):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            graph[name] = set(imports_of(root, path)) - {name}
    return {name: targets & graph.keys() for name, targets in graph.items()}


def by_room(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The graph between rooms: the folders in a package, with all below them, and the modules beside them."""
    inner = {name.rpartition(".")[0] for name in graph if name.count(".") > 1}
    inner |= {".".join(name.split(".")[:2]) for name in inner}

    def room(name: str) -> str:
        short = ".".join(name.split(".")[:2])
        return short if short in inner else name

    rooms: dict[str, set[str]] = {}
    for name, targets in graph.items():
        rooms.setdefault(room(name), set()).update(map(room, targets))
    return {name: targets - {name} for name, targets in rooms.items()}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of names that reach one another."""
    reach = {name: reachable(graph, name) for name in graph}
    groups = {frozenset({name, *(other for other in reach[name] if name in reach[other])}) for name in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """All names to which the arrows lead."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def upward_imports(root: Path, graph: dict[str, set[str]]) -> list[str]:
    """Imports from a lower layer into a higher one, by the checkout's own contracts."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    wrong: set[str] = set()
    for contract in (each for each in contracts if each["type"] == "layers"):
        places = layers_of(contract)
        for name, targets in graph.items():
            low = layer(name, places)
            wrong |= {f"{name} -> {target}" for target in targets if low is not None and (layer(target, places) or low) < low}
    return sorted(wrong)


def layers_of(contract: dict[str, Any]) -> dict[str, int]:
    """Each module's layer: 1 is the highest."""
    container = (contract.get("containers") or [""])[0]
    rows = [row.replace("|", ":").replace("(", "").replace(")", "").split(":") for row in contract["layers"]]
    return {f"{container}.{name.strip()}".strip("."): k for k, row in enumerate(rows, start=1) for name in row}


def layer(name: str, places: dict[str, int]) -> int | None:
    """The layer of a module, or of the package that it lies in."""
    while name:
        if name in places:
            return places[name]
        name = name.rpartition(".")[0]
    return None


def is_passed_on(kind: type) -> bool:
    """Whether a class counts as a type."""
    is_ours = kind.__module__.startswith("service.") and not kind.__module__.startswith(FORMAT_MODULES)
    return is_ours and kind.__name__ not in MEASURING and not kind.__name__.startswith("_")


class Recorder:
    """What a request enters and makes, noted by Python's profiling hook in every thread while `on`."""

    def __init__(self, root: Path) -> None:
        self.root = str(root / "service") + os.sep
        self.on = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.stations: set[str] = set()
        self.entered: set[str] = set()
        self.types: set[str] = set()
        self.kept: list[tuple[set[str], set[str], set[str]]] = []

    def start(self) -> None:
        """Note from now on; what runs already belongs to no request."""
        self.loop = asyncio.get_running_loop()
        self.loop.set_task_factory(self._new_task)
        self.tasks = {asyncio.current_task()}  # type: ignore[arg-type]
        OF_REQUEST.set(True)
        self.on = True

    def _new_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **named: Any) -> asyncio.Task[Any]:
        """A task, noted if the request began it, by itself or by a callback."""
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **named)
        if OF_REQUEST.get():
            self.tasks.add(task)
        return task

    def stop(self) -> None:
        """Keep what every recorded request has."""
        self.on = False
        OF_REQUEST.set(False)
        self.kept.append((self.stations, self.entered, self.types))
        self.stations, self.entered, self.types = set(), set(), set()

    def result(self) -> tuple[set[str], set[str], set[str]]:
        """Stations, functions entered and types of every recorded request."""
        stations, entered, types = (set.intersection(*sets) for sets in zip(*self.kept[-RECORDED:], strict=True))
        return stations, entered, types

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if not self.on or event != "call":
            return
        code = frame.f_code
        if code.co_name in MAKERS and code.co_varnames:
            self._note_type(frame.f_locals.get(code.co_varnames[0]))
        caller = frame.f_back
        if self._is_ours(frame) and (caller is None or caller.f_code.co_filename != code.co_filename):
            self.entered.add(name_of(frame))
        if any(code.co_filename.endswith(file) and code.co_name in names for file, names in WORK.items()):
            self._note_way(frame)

    def _is_ours(self, frame: FrameType) -> bool:
        """A function of service/ that is no property, no lambda and no special method."""
        code = frame.f_code
        if not code.co_filename.startswith(self.root) or code.co_name.startswith(("<", "__")):
            return False
        module = sys.modules.get(frame.f_globals.get("__name__", ""))
        owner = getattr(module, code.co_qualname.partition(".")[0], None)
        return not isinstance(getattr(owner, code.co_name, None), property)

    def _note_type(self, made: object) -> None:
        kind = made if isinstance(made, type) else type(made)
        if is_passed_on(kind):
            self.types.add(f"{kind.__module__}.{kind.__qualname__}")

    def _note_way(self, frame: FrameType | None) -> None:
        """All functions that wait for this work: on this thread's stack, and in the tasks that the request began."""
        while frame is not None:
            self._note_station(frame)
            frame = frame.f_back
        for task in asyncio.all_tasks(self.loop) & self.tasks:
            awaited: Any = task.get_coro()
            while awaited is not None:
                self._note_station(getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None))
                awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)

    def _note_station(self, frame: FrameType | None) -> None:
        if frame is not None and self._is_ours(frame):
            self.stations.add(name_of(frame))


def name_of(frame: FrameType) -> str:
    """A frame's function by module and qualified name."""
    return f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_qualname}".replace(".<locals>", "")


def let_jobs_rest(root: Path) -> None:
    """Looks for jobs and messages come twice a second, on a busy machine in the course of every request: here hardly ever."""
    for name in ("queue", "webhooks") if (root / "service" / "jobs").is_dir() else ():
        import_module(f"service.jobs.{name}").POLL_SECONDS = 3600.0  # type: ignore[attr-defined]


async def send_requests(root: Path, recorder: Recorder) -> None:
    """A restoration that warms up the gateway in this process, and those that are recorded."""
    app_module = import_module("service.api.app" if find_spec("service.api") else "service.app")
    settings = import_module("service.settings").Settings
    let_jobs_rest(root)
    file = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 99, (SIDE, SIDE, 3), dtype=np.uint8)).save(file, "PNG")
    with tempfile.TemporaryDirectory() as scratch:
        app = app_module.create_app(settings(model_repository=root / "model_repository", jobs_file=Path(scratch) / "jobs"))
        transport = httpx2.ASGITransport(app, client=("127.0.0.1", 50000))
        client = httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=120)
        async with app.router.lifespan_context(app), client:
            for seed in range(1 + RECORDED):
                if seed:
                    recorder.start()
                parts = {"image": ("x.png", file.getvalue(), "image/png")}
                answer = await client.post("/restore", params={"task": TASK, "seed": seed, "format": "png"}, files=parts)
                recorder.stop()
                answer.raise_for_status()


def trace_request(root: Path) -> Recorder:
    """The stations and types of one restoration."""
    recorder = Recorder(root)
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        asyncio.run(send_requests(root, recorder))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return recorder


def measure(root: Path) -> dict[str, Any]:
    """All figures of one checkout, whose packages this process imports."""
    graph, (stations, entered, types) = import_graph(root), trace_request(root).result()
    return {
        "fullest folder": fullest_folder(root),
        "stations": sorted(stations),
        "types": sorted(types),
        "functions entered from another module": sorted(entered),
        "scheduler cluster": scheduler_cluster(root),
        "places of the graph's names": graph_name_places(root),
        "modules with a test of their name": own_tests(root),
        "upward imports": upward_imports(root, graph),
        "circles of modules": circles(graph),
        "circles of rooms": circles(by_room(graph)),
    }


def measured_in_own_process(root: Path) -> dict[str, Any]:
    """The figures of a checkout. Raises CalledProcessError, with what it said on the terminal, where it cannot be measured."""
    environment = os.environ | {"PYTHONPATH": str(root), "OTEL_SDK_DISABLED": "true"}
    command = [sys.executable, str(Path(__file__).resolve()), "--here", str(root)]
    done = subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def summary(figures: dict[str, Any]) -> dict[str, str]:
    """One line a figure."""
    folder, cluster, tests = (
        figures[name] for name in ("fullest folder", "scheduler cluster", "modules with a test of their name")
    )
    counted = (
        "stations",
        "types",
        "functions entered from another module",
        "places of the graph's names",
        "upward imports",
        "circles of modules",
        "circles of rooms",
    )
    return {
        "modules in the fullest folder": f"{folder['modules']} ({folder['folder']})",
        "scheduler cluster: code lines, constants": f"{cluster['code lines']}, {cluster['constants']}",
        "modules with a test of their name": f"{tests['share']:.0%} of {tests['modules']}",
        **{name: str(len(figures[name])) for name in counted},
    }


def show(results: dict[str, dict[str, Any]]) -> None:
    """The table: a column for each checkout."""
    table = Table("", *results)
    columns = {name: summary(figures) for name, figures in results.items()}
    for row in next(iter(columns.values())):
        table.add_row(row, *(column[row] for column in columns.values()))
    Console().print(table)


def checkout(text: str) -> tuple[str, Path]:
    """NAME=PATH, or PATH alone. Raises ArgumentTypeError for a folder without service/."""
    name, separator, path = text.rpartition("=")
    root = Path(path).resolve()
    if not (root / "service").is_dir():
        raise argparse.ArgumentTypeError(f"{path} is no checkout: it has no folder service/")
    return (name if separator else root.name), root


def main(argv: list[str] | None = None) -> int:
    """Measure the checkouts, print a table, and write what was counted, by name."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.house", description=(__doc__ or "").splitlines()[0])
    p.add_argument("checkouts", nargs="*", type=checkout, metavar="NAME=CHECKOUT", default=[("here", Path.cwd())])
    p.add_argument("-o", "--output", type=Path, help="a JSON file for all names")
    p.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    given = p.parse_args(argv)
    if given.here:
        print(json.dumps(measure(given.here)))
        return 0
    results = {name: measured_in_own_process(root) for name, root in given.checkouts}
    show(results)
    if given.output:
        given.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
