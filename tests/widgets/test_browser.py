"""A reader's first minutes in a real browser: JupyterLab, 00_start_here, every cell, the area slider.

Screenshots stay in out/browser.  Needs Debian's chromium: `make chromium`, or apt-get install chromium.
"""

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "out" / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SETTINGS = {
    "notebook-extension/tracker": '{"windowingMode": "none"}',  # every cell is on the page, not only those in view
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}
FEWER = ("STEPS: int | None = None", "STEPS: int | None = 40")  # enough for a mask that grows
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: make chromium (apt-get install chromium, as root)"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A JupyterLab of its own, port, token and settings, on a copy of the notebook; yields the copy's address."""
    folder = tmp_path_factory.mktemp("lab")
    text = (ROOT / "notebooks" / "00_start_here.ipynb").read_text()
    assert FEWER[0] in text
    (folder / "00_start_here.ipynb").write_text(text.replace(*FEWER))
    for name, text in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {name: str(folder / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    own |= {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    own |= {"JUPYTER_DATA_DIR": str(folder / "data"), "INREXP_FIGURES": str(folder / "figures"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--port-retries=0", f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=reader"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | own, cwd=folder, stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api?token=reader", server, folder / "log")
        yield f"http://127.0.0.1:{port}/lab/tree/00_start_here.ipynb?token=reader&reset"
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def page(lab: str) -> Iterator[Page]:
    """The notebook in the browser, all of its cells run."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(60_000)
        try:
            page.goto(lab)
            page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
            page.screenshot(path=SCREENSHOTS / "1_opened.png")
            page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
            _until_idle(page)
            yield page
        finally:
            page.screenshot(path=SCREENSHOTS / "9_last.png")
            browser.close()


def _until_idle(page: Page) -> None:
    """Every code cell has a number: none waits, none was left out after an error."""
    cells = page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt")
    until = time.monotonic() + 240
    while time.monotonic() < until:
        prompts = cells.all_inner_texts()
        if len(prompts) > 5 and all(re.match(r"\[\d+\]", prompt) for prompt in prompts):
            return
        page.wait_for_timeout(500)
    page.screenshot(path=SCREENSHOTS / "8_not_all_run.png")
    pytest.fail(f"the cells did not all run: {cells.all_inner_texts()}")


def brightness(picture: Locator) -> float:
    """Mean grey of what the browser shows, 0 to 1: what a mask removes is dimmed, so a larger mask is brighter."""
    return float(np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("L")).mean()) / 255


class Explorer:
    """The first explorer on a page: its area slider, its outlined picture, what it says."""

    def __init__(self, page: Page, within: str = ""):
        self.root = page.locator(f"{within} .inrexp").first
        self.root.scroll_into_view_if_needed()
        self.page, self.slider = page, self.root.locator("input[data-key=area]")
        self.threshold = self.root.locator("input[data-key=threshold]")
        self.picture, self.sentence = self.root.locator("canvas").first, self.root.locator(".inrexp-sentence p").first

    def drawn(self) -> None:
        """Wait until what was moved is drawn: two frames."""
        self.page.wait_for_timeout(100)
        self.page.evaluate("() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")

    def seen(self) -> tuple[float, float]:
        """Percent of the area, brightness of the picture."""
        self.drawn()
        found = re.search(r"area ([\d.]+) %", self.sentence.inner_text())
        assert found, self.sentence.inner_text()
        return float(found[1]), brightness(self.picture)

    def star(self) -> str:
        self.drawn()
        return self.root.locator(".inrexp-readouts strong").nth(2).inner_text()

    def press(self, *keys: str) -> None:
        self.slider.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def drag(self, start: float, end: float, steps: int = 20) -> None:
        """With the mouse, from one share of the bar to another."""
        box = self.slider.bounding_box()
        assert box
        middle = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + start * box["width"], middle)
        self.page.mouse.down()
        for step in range(1, steps + 1):
            self.page.mouse.move(box["x"] + (start + (end - start) * step / steps) * box["width"], middle)
        self.page.mouse.up()


def test_every_cell_of_the_first_notebook_runs_without_an_error(page: Page):
    assert not page.locator(".jp-Notebook [data-mime-type='application/vnd.jupyter.error']").all_inner_texts()
    assert page.locator(".jp-Notebook .jp-RenderedImage img").count() >= 3
    page.screenshot(path=SCREENSHOTS / "2_all_run.png")


def test_the_keyboard_moves_the_area_and_the_mask_follows(page: Page):
    explorer = Explorer(page)
    explorer.press("Home")
    small = explorer.seen()
    page.screenshot(path=SCREENSHOTS / "3_smallest_area.png")
    explorer.press("ArrowRight")
    one_more = explorer.seen()
    explorer.press("End")
    large = explorer.seen()
    page.screenshot(path=SCREENSHOTS / "4_largest_area.png")
    assert (small[0], one_more[0], large[0]) == (2.5, 2.6, 20)
    assert large[1] > small[1]


def test_the_mouse_drags_the_area_and_the_mask_follows(page: Page):
    explorer = Explorer(page)
    explorer.press("End")
    large = explorer.seen()
    explorer.drag(1.0, 0.33)
    dragged = explorer.seen()
    page.screenshot(path=SCREENSHOTS / "5_dragged.png")
    assert 5 < dragged[0] < 12
    assert dragged[1] < large[1]


def test_a_perturbation_that_nobody_measured_is_measured_by_the_kernel(page: Page):
    explorer = Explorer(page)
    explorer.root.get_by_text("blur 5 px", exact=True).first.click()
    said = explorer.root.locator(".inrexp-readouts strong").nth(1)
    page.wait_for_timeout(8000)
    assert re.search(r"\d\.\d\d", said.inner_text())
    page.screenshot(path=SCREENSHOTS / "6_another_blur.png")
