"""One configuration answered by several processes under a real Ray Serve; starting it takes a minute, so it is slow."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

import mercat
from mercat.errors import ConfigError
from mercat.serve.replicas import replica
from mercat.serve.settings import Settings

PLUGIN = """
import os
import time
from collections.abc import Sequence

from mercat.hooks import hookimpl
from mercat.services import Service
from mercat.values import Answer, Request


class Who(Service[Request, Answer]):
    '''Says which process answers.'''

    def answer_many(self, requests: Sequence[Request]) -> list[Answer]:
        time.sleep(0.05)
        return [Answer(os.getpid(), 1.0) for _ in requests]


@hookimpl
def mercat_register(registry):
    registry.services.add("who", Who, summary="Says which process answers")
"""
CONFIG = """
[mercat]
plugins = ["who"]

[mercat.serve]
replicas = 2
asks_per_minute = 100000
address_per_minute = 100000

[services.who]
use = "who"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration and an installed plugin that answers with the number of its process."""
    site = tmp_path / "site"
    (site / "who-1.dist-info").mkdir(parents=True)
    (site / "who_plugin.py").write_text(PLUGIN)
    (site / "who-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: who\nVersion: 1\n")
    (site / "who-1.dist-info" / "entry_points.txt").write_text("[mercat]\nwho = who_plugin\n")
    (tmp_path / "mercat.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(folder / "site")
    with mercat.open(folder / "mercat.toml") as app:
        return str(app.store.accounts.create_key("test", ["ask"])[0])


def test_a_replica_is_the_whole_app_loaded(folder: Path, key: str) -> None:
    with TestClient(replica(str(folder / "mercat.toml"), ()), base_url="http://localhost") as client:
        assert client.get("/readyz").status_code == 200
        answer = client.post("/v1/services/who", json={}, headers={"Authorization": f"Bearer {key}"})
        assert answer.json()["value"] == os.getpid()


def test_the_number_of_replicas_is_a_setting() -> None:
    assert Settings.read({}).replicas == 1
    assert Settings.read({"replicas": 2}).replicas == 2
    with pytest.raises(ConfigError, match=r"replicas = 0"):
        Settings.read({"replicas": 0})


@dataclass
class Asked:
    """What came back over HTTP: processes that answered, and the statuses of tries that gave no answer."""

    processes: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def ask(self, client: httpx.Client) -> None:
        """Ask until there is an answer, as a client that tries again does."""
        for _ in range(20):
            try:
                answer = client.post("/v1/services/who", json={})
            except httpx.TransportError as error:
                self.failures.append(type(error).__name__)
                continue
            if answer.status_code == 200:
                self.processes.append(answer.json()["value"])
                return
            self.failures.append(f"{answer.status_code} {answer.text[:200]}")
            time.sleep(0.2)
        raise AssertionError(self.failures)


@pytest.fixture
def server(folder: Path, key: str) -> Iterator[httpx.Client]:
    """`mercat serve` of the configuration, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = os.pathsep.join([str(folder / "site"), *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, "-m", "mercat", "serve", "--port", str(port)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        text=True,
    )
    headers = {"Authorization": f"Bearer {key}"}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
            assert process.stdout is not None
            assert any("2 replicas answer on" in line for line in process.stdout)  # or it has ended
            yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_replicas_answer_and_the_death_of_one_loses_no_more_than_what_it_was_answering(
    server: httpx.Client,
) -> None:
    if find_spec("ray") is None:
        pytest.skip("ray is not installed")
    before = Asked()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: before.ask(server), range(80)))
    assert len(set(before.processes)) == 2
    assert before.failures == []

    killed, asked, stop = before.processes[0], Asked(), threading.Event()

    def ask_on() -> None:
        while not stop.is_set():
            asked.ask(server)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(ask_on) for _ in range(4)]
        time.sleep(1)
        os.kill(killed, signal.SIGKILL)
        until = time.monotonic() + 90
        while time.monotonic() < until and len({*asked.processes} - {killed}) < 2:
            time.sleep(0.5)
        stop.set()
        for each in running:
            each.result()
    print(f"tries without an answer after the kill: {asked.failures}")
    assert len({*asked.processes} - {killed}) == 2  # the other one, and the one in the place of the killed
    assert len(asked.failures) <= 4  # so many were under way
    after = Asked()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: after.ask(server), range(80)))
    assert after.failures == []
    assert len(set(after.processes)) == 2
