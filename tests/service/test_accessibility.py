"""The page for everybody: axe-core's rules (WCAG 2.2 A and AA, best practice) in each state of the page, by day and by night."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys
from selenium_axe_python import Axe

from service.errors import EngineUnavailable
from tests.service.on_port import Live
from tests.service.test_page import PATIENCE, Page, closed, dark, driver, gateway, page, restored

__all__ = ["closed", "dark", "driver", "gateway", "page"]
pytestmark = pytest.mark.browser

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
SEEDS = itertools.count(600)
WIDE, PHONE = (1280, 860), (360, 780)


def start(page: Page, gateway: Live, dark: Path) -> None:
    """Nothing chosen yet."""


def running(page: Page, gateway: Live, dark: Path) -> None:
    gateway.engine.seconds = 2.0
    page.type("#seed", str(next(SEEDS)))  # one whose result is not kept from before
    page.pick(dark)
    page.click("#go")
    page.state("running")


def done(page: Page, gateway: Live, dark: Path) -> None:
    restored(page, dark)


def settings_open(page: Page, gateway: Live, dark: Path) -> None:
    page.run("document.querySelectorAll('details').forEach((one) => one.setAttribute('open', ''))")
    restored(page, dark)
    page.click("[data-view=steps]")


def failed(page: Page, gateway: Live, dark: Path) -> None:
    gateway.engine.fault = EngineUnavailable("no engine answers", retry_after=2)
    page.type("#seed", str(next(SEEDS)))
    page.pick(dark)
    page.click("#go")
    page.until(lambda: page.find("#restore .alert").is_displayed())


def curl(page: Page, gateway: Live, dark: Path) -> None:
    restored(page, dark)
    page.click("#curl")


def generated(page: Page, gateway: Live, dark: Path) -> None:
    page.open("#generate")
    page.click("#generate-go")
    page.state("done", "generate")


def reference(page: Page, gateway: Live, dark: Path) -> None:
    page.driver.get(page.url + "static/reference.html")
    page.until(lambda: page.all("#operations section"))


Scene = Callable[[Page, Live, Path], None]
SCENES: list[Scene] = [start, running, done, settings_open, failed, curl, generated, reference]


def broken_rules(page: Page) -> list[str]:
    """Each rule that is broken, and where."""
    page.driver.set_script_timeout(PATIENCE)
    axe = Axe(page.driver)
    axe.inject()
    report = axe.run(options=RULES)
    assert report["passes"], "axe has looked at something"
    return [
        f"{one['id']}: {node['html'][:120]} ({node['failureSummary']})" for one in report["violations"] for node in one["nodes"]
    ]


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide by day", "phone by night"])
@pytest.mark.parametrize("scene", SCENES)
def test_no_rule_is_broken(closed: Page, gateway: Live, dark: Path, scene: Scene, size: tuple[int, int], scheme: str) -> None:
    closed.size(*size)
    closed.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    page = closed.open()
    scene(page, gateway, dark)
    assert broken_rules(page) == []
    page.press(Keys.ESCAPE)
    page.driver.get(page.url + "static/favicon.svg")  # which leaves what runs
    assert gateway.until_idle()


def test_axe_finds_what_is_wrong(page: Page) -> None:
    page.run("document.querySelector('main').insertAdjacentHTML('beforeend', '<button></button><img src=\"/static/favicon.svg\">')")
    assert {broken.split(":")[0] for broken in broken_rules(page)} >= {"button-name", "image-alt"}
