"""A server that runs takes up another index and another encoder, and goes back, while it is asked all the time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

MERCAT = [sys.executable, "-m", "mercat.cli.app"]
ROWS = 400
PLUGIN = '''
from collections.abc import Sequence

from mercat import Answer, Retriever, Service, TextRequest, hookimpl

class Finder(Service[TextRequest, Answer]):
    """Says which row is nearest."""
    def __init__(self, rows: Retriever):
        self.rows = rows
    def answer_many(self, requests: Sequence[TextRequest]) -> list[Answer]:
        found = self.rows.search_many([request.text for request in requests], k=1)
        return [Answer(hits[0].id, max(0.0, min(1.0, hits[0].score)), evidence=hits) for hits in found]

@hookimpl
def mercat_register(registry):
    registry.services.add("finder", Finder, summary="Says which row is nearest")
'''
CONFIG = """
[mercat]
folder = "workspace"
serve = { asks_per_minute = 1000000, address_per_minute = 1000000, public_per_minute = 1000000 }

[encoders.default]
use = "hashing"
dimensions = 256

[sources.rows]
use = "files/csv"
path = "rows.csv"
collection = "help"

[indexes.help]
use = "auto"

[retrievers.help]
use = "dense"
encoder = "default"
index = "help"
collection = "help"

[services.finder]
use = "finder"
rows = "help"
"""
LATER = """
[indexes.moved]
use = "exact"

[encoders.other]
use = "hashing"
dimensions = 320
longest = 4

[indexes.swapped]
use = "exact"
"""
pytestmark = pytest.mark.timeout(300)


class Shop:
    """A workspace in a folder, its plugin, and the server that runs on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        paths = [str(folder / "packages"), os.environ.get("PYTHONPATH", "")]
        self.environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        self.write_files()
        self.key = self.run("keys", "create", "mine")["key"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def write_files(self) -> None:
        described = self.folder / "packages" / "finder_demo-1.0.dist-info"
        described.mkdir(parents=True)
        (described / "METADATA").write_text("Metadata-Version: 2.1\nName: finder-demo\nVersion: 1.0\n")
        (described / "entry_points.txt").write_text("[mercat]\nfinder = finder_demo\n")
        (self.folder / "packages" / "finder_demo.py").write_text(PLUGIN)
        rows = "".join(f"n{n},{text_of(n)}\n" for n in range(ROWS))
        (self.folder / "rows.csv").write_text("id,text\n" + rows)
        (self.folder / "mercat.toml").write_text(CONFIG)

    def run(self, *words: str) -> Any:
        done = subprocess.run(
            [*MERCAT, *words, "--json"], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def ask(self, client: httpx.Client, text: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}/v1/services/finder"
        return client.post(url, json={"text": text}, headers={"Authorization": f"Bearer {self.key}"})

    def confidence(self) -> float:
        """Return how near the server finds a row to a question: each encoder has a figure of its own."""
        with httpx.Client(timeout=60) as client:
            return round(self.ask(client, "note about clouds").json()["confidence"], 4)

    def wait_until(self, holds: Callable[[float], bool]) -> float:
        until = time.monotonic() + 30
        while not holds(seen := self.confidence()):
            assert time.monotonic() < until, f"{seen}: {(self.folder / 'server.log').read_text()[-2000:]}"
            time.sleep(0.2)
        return seen


def text_of(number: int) -> str:
    return f"note {number} about clouds {number * number * 7919:x}"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    assert made.run("ingest")["rows"]["stored"] == ROWS
    with (tmp_path / "server.log").open("w") as log:
        words = [*MERCAT, "serve", "--port", str(made.port)]
        server = subprocess.Popen(words, cwd=tmp_path, env=made.environment, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 90
        while True:
            assert server.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < until, (tmp_path / "server.log").read_text()
            try:
                if httpx.get(f"http://127.0.0.1:{made.port}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield made
    finally:
        server.terminate()
        server.wait(30)


def test_no_request_fails_while_index_and_encoder_change(shop: Shop) -> None:
    problems: list[str] = []
    asked, stop = [0, 0], threading.Event()

    def asking(lane: int) -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                asked[lane] += 1
                number = (asked[lane] * 37 + lane) % ROWS
                answer = shop.ask(client, text_of(number))
                told = answer.json() if answer.status_code == 200 else {}
                if told.get("value") != f"n{number}" or told["confidence"] < 0.999:
                    problems.append(f"{number}: {answer.status_code} {answer.text[:200]}")

    lanes = [threading.Thread(target=asking, args=(lane,)) for lane in range(2)]
    first = shop.confidence()
    for lane in lanes:
        lane.start()
    try:
        with (shop.folder / "mercat.toml").open("a") as config:
            config.write(LATER)  # the server has not read these sections
        moved = shop.run("index", "move", "help", "moved", "--switch")
        assert (moved["index"], moved["upserted"], moved["filtered_recall"]) == ("moved", ROWS, 1.0)
        swapped = shop.run("index", "swap", "help", "other", "--index", "swapped", "--switch")
        assert (swapped["index"], swapped["encoder"], swapped["encoded"]) == ("swapped", "other", ROWS)
        second = shop.wait_until(lambda seen: seen != first)
        assert shop.run("index", "back", "help")["index"] == "moved"
        assert shop.wait_until(lambda seen: seen != second) == first
        assert shop.run("index", "back", "help")["index"] == "help"
        time.sleep(2)
    finally:
        stop.set()
        for lane in lanes:
            lane.join()
    assert not problems, problems[:3]
    assert sum(asked) > 50
    said = (shop.folder / "server.log").read_text()
    assert "goes on as before" not in said, said[-2000:]
