"""CPU seconds (user and system, whole child processes) of commands that should feel instant, and of the server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.frame import Context, Missing

SUMMARY = "CPU of `mercat --help`, `mercat plugins`, `import mercat`, and of `mercat serve` until /healthz answers"
NEEDS: tuple[str, ...] = ()
TAKES = "1 minute"

_RUNS = 11
_GIVE_UP_S = 120
_MERCAT = [sys.executable, "-c", "from mercat.cli.app import main; main()"]
_COMMANDS = {
    "typer": [sys.executable, "-c", "import typer"],
    "import": [sys.executable, "-c", "import mercat"],
    "help": [*_MERCAT, "--help"],
    "plugins": [*_MERCAT, "plugins"],
}


def run(context: Context) -> None:
    runs = 2 if context.quick else _RUNS
    found: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs + 1):
            for name, command in _COMMANDS.items():  # in turns, so that a busy machine slows all alike
                seconds = _cpu(command, folder)
                if number:  # the first round writes byte code
                    found[name].append(seconds)
        for name, times in found.items():
            context.record_median(f"{name}.cpu_s", times)
        for name in ("help", "plugins", "import"):
            pairs = zip(found[name], found["typer"], strict=True)
            context.record_median(f"{name}.cpu_ratio_to_typer", [ours / bare for ours, bare in pairs])
        context.record_median("healthz.cpu_s", [_server(folder) for _ in range(runs)])


def _cpu(command: list[str], folder: str) -> float:
    """Return the CPU seconds of a command that must succeed."""
    before = os.times()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    after = os.times()
    if done.returncode:
        raise Missing(f"{' '.join(command[1:])} failed: {done.stderr.strip()[-500:]}")
    return after.children_user + after.children_system - before.children_user - before.children_system


def _server(folder: str) -> float:
    """Return the CPU seconds that the server and its children have used when /healthz first answers."""
    import psutil

    config = Path(folder) / "mercat.toml"
    config.touch()
    port = _free_port()
    with (Path(folder) / "serve.log").open("w+") as log:
        server = subprocess.Popen(
            [*_MERCAT, "serve", "--port", str(port), "--config", str(config)], cwd=folder, stdout=log, stderr=log
        )
        try:
            _until_healthy(server, port, Path(log.name))
            process = psutil.Process(server.pid)
            everyone = [process, *process.children(recursive=True)]
            return float(sum(sum(one.cpu_times()[:4]) for one in everyone))
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _until_healthy(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _GIVE_UP_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise Missing(f"mercat serve ended with {server.returncode}: {log.read_text()[-800:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise Missing(f"mercat serve did not answer /healthz within {_GIVE_UP_S} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
