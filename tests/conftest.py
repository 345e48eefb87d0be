"""What every test may ask for, and the rule that a skip for want of a system package fails where skips are forbidden."""

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis  # noqa: F401  # before a test's server freezes what lives: trio's random numbers, registered then, would warn
import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_SKIP = {"gpu", "slow"}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What importing and collecting make stays: nothing looks for garbage in it, neither meanwhile nor at the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests run only when asked for with -m."""
    if config.option.markexpr:
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: run with -m slow"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    """With FORBID_SKIPS=1 a skipped test fails, unless it is marked gpu or slow."""
    report = yield
    if (
        report.skipped
        and os.environ.get("FORBID_SKIPS") == "1"
        and not hasattr(report, "wasxfail")
        and not MAY_SKIP & set(item.keywords)
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped where skips are forbidden: {report.longrepr}"
    return report


@pytest.fixture(scope="session", autouse=True)
def _own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What one run learns of models must not change the next one."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
