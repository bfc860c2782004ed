"""A real JupyterLab and a headless Chromium to look at it: what the browser tests and the pictures of the docs are made with.

>>> with running(folder) as address, browser() as page:
...     open_notebook(page, address, "finetune.ipynb")
...     set_parameters(page, {"output": "run", "base": "offline"})
...     run_all(page)
"""

from __future__ import annotations

import contextlib
import json
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
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# The file's cells are all there, whether they are in sight or not, and no question comes up about news.
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {
        "windowingMode": "none",
        "codeCellConfig": {"lineNumbers": False},
    },
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@contextlib.contextmanager
def running(
    folder: Path, *, startup: str = "", environment: dict[str, str] | None = None
) -> Iterator[str]:
    """JupyterLab of this environment in `folder`, its settings and logs under `folder/.lab`; gives its address.

    Args:
        folder: what it serves.
        startup: Python that every kernel runs before its first cell.
        environment: variables for the server and its kernels.
    """
    own = folder / ".lab"
    for name, values in SETTINGS.items():
        path = own / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    profile = own / "ipython" / "profile_default" / "startup"
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "00-test.py").write_text(startup, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(own / "ipython"),
        "JUPYTER_CONFIG_DIR": str(own / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(own / "settings"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
        "HF_HUB_OFFLINE": "1",
    }
    kept = {
        key: value for key, value in os.environ.items() if key not in ("HF_TOKEN", "FGKIT_PROGRESS")
    }
    with open(own / "log", "wb") as log:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                "--no-browser",
                "--allow-root",
                f"--ServerApp.root_dir={folder}",
                "--IdentityProvider.token=test",
                f"--ServerApp.port={port}",
                "--ServerApp.port_retries=0",
            ],
            cwd=folder,
            env=kept | variables | (environment or {}),
            stdout=log,
            stderr=log,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(f"{address}/api/status?token=test", server, own / "log")
            yield address
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


@contextlib.contextmanager
def browser(*, dark: bool = False, width: int = 1180, height: int = 900) -> Iterator[Any]:
    """A page of Debian's Chromium, which Playwright drives."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            page = chromium.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
            )
            page.set_default_timeout(60_000)
            yield page
        finally:
            chromium.close()


def open_notebook(page: Any, address: str, name: str) -> None:
    """Open a notebook alone on the page and wait for its kernel."""
    page.goto(f"{address}/doc/tree/{name}?token=test&reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_selector(
        '.jp-NotebookPanel-toolbar [data-status="idle"], .jp-Notebook-ExecutionIndicator[data-status="idle"]'
    )


def set_parameters(page: Any, values: dict[str, Any]) -> None:
    """Type values into the parameters cell, as a user does."""
    cell = page.locator(".jp-CodeCell", has_text="#@param").first
    source = cell.locator(".cm-content").evaluate(
        "one => [...one.querySelectorAll('.cm-line')].map(l => l.innerText).join('\\n')"
    )
    for name, value in values.items():
        source, count = re.subn(
            rf"(?m)^{name} = .*?(  #@param)", lambda found: f"{name} = {value!r}{found[1]}", source
        )
        assert count == 1, f"the parameters cell has no line for {name}"
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(source)


def run_all(page: Any, seconds: float = 120) -> None:
    """Run > Run All Cells, and wait until every code cell has been run."""
    prompts = before = page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
    page.locator(".lm-MenuBar-item", has_text="Run").first.click()
    page.locator(".lm-Menu-item", has_text=re.compile("^Run All Cells$")).click()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        prompts = page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
        if (
            prompts[-1] != before[-1]
            and all(re.fullmatch(r"\[\d+\]:", text.strip()) for text in prompts)
            or errors(page)
        ):
            page.wait_for_timeout(500)  # widgets that arrive last are drawn
            return
        page.wait_for_timeout(300)
    raise TimeoutError(f"still running after {seconds} s: {prompts}")


def errors(page: Any) -> list[str]:
    """Tracebacks that stand in the notebook."""
    return [
        text
        for text in page.locator(".jp-OutputArea-output").all_inner_texts()
        if "Traceback (most recent" in text
    ]


def panel(page: Any, marker: str) -> Any:
    """The one panel that holds an element or text."""
    return page.locator(".fgkit-panel", has=page.locator(marker)).first


def choose(panel_: Any, description: str, option: str) -> None:
    """Pick an option of the dropdown with this description."""
    panel_.locator(".widget-dropdown", has_text=description).locator("select").first.select_option(
        label=option
    )


def shot(element: Any, path: Path) -> Path:
    """A picture of an element, as a PNG file of the docs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    element.scroll_into_view_if_needed()
    element.screenshot(path=str(path))
    return path


def _wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(240):
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=2).close()
            return
        time.sleep(0.25)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
