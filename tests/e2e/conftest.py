"""A served workspace, a real browser, and an environment of wheels.

Tests that use `browser` are skipped where Chromium is missing.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-software-rasterizer"]


@dataclass
class Watched:
    """A browser page and everything that it complained about."""

    page: Any
    complaints: list[str] = field(default_factory=list)

    def shot(self, name: str) -> None:
        """Save a picture of the page when SCREENSHOTS names a folder."""
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)

    def wider_than_the_screen(self) -> int:
        """Return by how many pixels the page must be scrolled sideways."""
        found: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by playwright.

    Closed after each module: playwright's event loop runs in this thread, where later tests may want one of their own.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium: Any) -> Iterator[Callable[..., Watched]]:
    """Return a function that opens a fresh browser window: `browse(dark=True, phone=True, language="zh-CN")`."""
    contexts: list[Any] = []

    def open_window(*, dark: bool = False, phone: bool = False, language: str = "en-GB") -> Watched:
        context = chromium.new_context(
            viewport={"width": 390, "height": 780} if phone else {"width": 1280, "height": 820},
            color_scheme="dark" if dark else "light",
            locale=language,
            device_scale_factor=1,
        )
        contexts.append(context)
        watched = Watched(context.new_page())

        def on_console(message: Any) -> None:
            if message.type in ("error", "warning"):
                watched.complaints.append(message.text)

        watched.page.on("console", on_console)
        watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        watched.page.on("dialog", lambda dialog: (watched.complaints.append("dialog"), dialog.dismiss()))
        return watched

    yield open_window
    for context in contexts:
        context.close()


@pytest.fixture
def serve_app() -> Iterator[Callable[[Any], str]]:
    """Return a function that serves an ASGI app on a free port of this machine and returns its address."""
    import uvicorn

    running: list[tuple[Any, threading.Thread]] = []

    def start(app: Any) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        until = time.monotonic() + 20
        while not server.started and time.monotonic() < until:
            time.sleep(0.02)
        assert server.started
        running.append((server, thread))
        return f"http://127.0.0.1:{port}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(15)


ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = (
    "core",
    "connectors",
    "plugins/customer_service",
    "plugins/financial_sentiment",
    "plugins/recommendation",
)


@dataclass(frozen=True)
class Installed:
    """An environment of its own into which wheels were installed; what they need comes from the one that runs this."""

    folder: Path
    wheels: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def build(self, source: Path) -> Path:
        """Build the wheel of a distribution with its own build backend."""
        before = set(self.wheels.glob("*.whl"))
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(self.wheels)]
        built = subprocess.run(command, cwd=source, capture_output=True, text=True)
        assert built.returncode == 0, built.stdout + built.stderr
        (wheel,) = set(self.wheels.glob("*.whl")) - before
        return wheel

    def install(self, *wheels: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "-q", "--no-deps", "--no-index"]
        done = subprocess.run([*pip, *map(str, wheels)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def run(self, *arguments: str | Path, cwd: Path, code: int = 0) -> str:
        """Run a command of the environment and return what it printed."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
        environment = {**clean, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        first = self.folder / "bin" / str(arguments[0])
        command = [str(first), *map(str, arguments[1:])]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The five distributions as wheels in a fresh environment; the checkout is not on its path."""
    folder = tmp_path_factory.mktemp("installed")
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site / "zz_needed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")  # after the wheels; its own .pth rest
    (folder / "wheels").mkdir()
    found = Installed(folder / "env", folder / "wheels")
    found.install(*(found.build(ROOT / each) for each in DISTRIBUTIONS))
    return found
