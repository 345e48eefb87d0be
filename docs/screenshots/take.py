"""Take the screenshots of this folder in a real Chromium, from a running service.

    make run &
    python docs/screenshots/take.py [http://127.0.0.1:8000] [--only start phone]

Shows nothing but the project's own still life and what its generator draws. Needs chromium, chromedriver and the `test` extra.
"""

import argparse
import io
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from selenium import webdriver

from tests.service.test_page import FLAGS, Page

FOLDER = Path(__file__).parent
SETTLE = 0.5  # seconds for fonts and decoded pictures


def start(page: Page) -> None:
    """Before: nothing chosen yet."""


def running(page: Page) -> None:
    """A picture on its way."""
    page.run("arguments[0].value = arguments[1]", page.find("#seed"), str(time.time_ns() % 100_000))
    page.run("arguments[0].value = 5; arguments[0].dispatchEvent(new Event('input'))", page.find("#steps"))
    page.click("#sample")
    page.until(lambda: page.run("return document.querySelector('#restore .pill').textContent") == "Step 3 of 5")


def done(page: Page) -> None:
    """Before and after; a seed of its own, so that the time is not that of a result kept from before."""
    page.run("arguments[0].value = arguments[1]", page.find("#seed"), str(time.time_ns() % 100_000))
    page.click("#sample")
    page.state("done")


def rain(page: Page) -> None:
    """The garden, before and after."""
    page.run("arguments[0].value = 'derain'; arguments[0].dispatchEvent(new Event('change'))", page.find("#task"))
    done(page)


def residual(page: Page) -> None:
    """What the model took away."""
    done(page)
    page.click("[data-view=residual]")
    page.until(lambda: page.text(".tag-after") == "Residual" and not page.find("#restore .pill").is_displayed())


def problem(page: Page) -> None:
    """What is not a picture is named in words."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes.txt"
        notes.write_text("not a picture")
        page.pick(notes)
        page.click("#go")
        page.state("error")


def generate(page: Page) -> None:
    """Pictures out of noise."""
    page.open("#generate")
    page.type("#generate-seed", "7")
    page.click("#generate-go")
    page.state("done", "generate")


def reference(page: Page) -> None:
    """The API."""
    page.driver.get(page.url + "static/reference.html")
    page.until(lambda: page.all("#operations section"))


def slide(page: Page, selector: str, value: float) -> None:
    """A slider, moved and let go."""
    script = "arguments[0].value = arguments[1]; for (const n of ['input', 'change']) arguments[0].dispatchEvent(new Event(n))"
    page.run(script, page.find(selector), value)


def adjusted(page: Page) -> None:
    """Half the strength, a stop darker, and a second task."""
    page.run("arguments[0].value = 'dehaze'; arguments[0].dispatchEvent(new Event('change'))", page.find("#thens select"))
    done(page)
    slide(page, "#strength", 80)
    slide(page, "#brightness", -0.7)
    page.until(lambda: page.text("#download") == "Download" and page.find("#download").get_attribute("href"))
    page.run("window.scrollTo(0, document.querySelector('#strength').getBoundingClientRect().top - 420)")


def automatic(page: Page) -> None:
    """What the page begins with: it looks what is wrong, does it, and says so."""
    page.open(task=None)
    done(page)


Scene = tuple[Callable[[Page], None], int, int, str]
DESK, PHONE = (1280, 860), (360, 780)
SCENES: dict[str, Scene] = {
    "start": (start, *DESK, "light"),
    "running": (running, *DESK, "light"),
    "done": (done, *DESK, "light"),
    "rain": (rain, *DESK, "light"),
    "residual": (residual, *DESK, "light"),
    "problem": (problem, *DESK, "light"),
    "generate": (generate, *DESK, "light"),
    "reference": (reference, *DESK, "light"),
    "dark": (done, *DESK, "dark"),
    "automatic": (automatic, *DESK, "light"),
    "phone-automatic": (automatic, *PHONE, "light"),
    "adjusted": (adjusted, *DESK, "light"),
    "phone-adjusted": (adjusted, *PHONE, "light"),
    "phone-start": (start, *PHONE, "light"),
    "phone-done": (done, *PHONE, "light"),
    "phone-problem": (problem, *PHONE, "light"),
}


def take(driver: webdriver.Chrome, url: str, name: str, folder: Path) -> None:
    scene, width, height, scheme = SCENES[name]
    page = Page(driver, url)
    page.size(width, height)
    page.prefer(prefers_color_scheme=scheme)
    scene(page.open())
    page.run("document.activeElement.blur()")
    time.sleep(SETTLE)
    with Image.open(io.BytesIO(driver.get_screenshot_as_png())) as picture:
        target = folder / f"{name}.webp"
        picture.convert("RGB").save(target, quality=86, method=6)
    print(f"{target}  {target.stat().st_size / 1000:.0f} KB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the screenshots of this folder.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000")
    parser.add_argument("--only", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, "--hide-scrollbars", f"--user-data-dir={tempfile.mkdtemp()}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        for name in arguments.only:
            take(driver, arguments.url.rstrip("/") + "/", name, arguments.folder)
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
