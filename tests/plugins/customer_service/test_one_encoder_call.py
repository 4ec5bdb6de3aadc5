"""Customers who write at the same moment are understood by one call of the encoder that everything shares."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import uvicorn

from mercat.encoders.base import Encoder, Role, Vectors
from mercat.serve import create_app
from mercat.serve.middleware import json_log
from mercat.workspace import Workspace

ENGLISH = (
    "when will my new card arrive",
    "please refund this payment",
    "are you open on sunday",
    "wire transfers abroad",
)
CHINESE = ("储蓄罐的年利率是多少", "我的银行卡什么时候到", "你们几点开门", "我要退款")
MIXED = ("my card 什么时候到 please", "refund 退款 payment")


class Counting:
    """Passes everything on, keeps the texts of each call, and answers none while `open` is not set."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self.calls, self.open = encoder, list[list[str]](), threading.Event()
        self.open.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode(self, texts: Sequence[str], *, role: Role = "document") -> Vectors:
        self.calls.append(list(texts))
        assert self.open.wait(30)
        return self._encoder.encode(texts, role=role)


class Served:
    """A desk behind a real port, its encoder counted below its cache, and the sizes of its batches."""

    def __init__(self, workspace: Workspace) -> None:
        shared = workspace.get("encoders", "small")
        self.encoder = shared.encoder = Counting(shared.encoder)
        self.app = create_app(lambda: workspace, preload=True, log=json_log(io.StringIO()))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.server = uvicorn.Server(uvicorn.Config(self.app, port=port, log_config=None, access_log=False))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started)
        key, _ = workspace.store.accounts.create_key("ask", ["ask"])
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}, timeout=60)  # fmt: skip
        self.sizes: list[int] = []
        (service,) = self.app.state.host.services
        self.batcher = service.batcher
        answer_many = self.batcher._answer_many
        self.batcher._answer_many = lambda asked: (self.sizes.append(len(asked)), answer_many(asked))[1]

    def say(self, text: str, conversation: str) -> dict[str, Any]:
        answer = self.client.post("/v1/services/desk", json={"text": text, "conversation": conversation})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def all_at_once(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Say all of them while the server is still busy with an earlier turn, so that they wait together."""
        self.encoder.open.clear()
        with ThreadPoolExecutor(len(texts) + 1) as people:
            busy = people.submit(self.say, "somebody is before all of you", "first")
            wait_until(lambda: len(self.encoder.calls) == 1)
            said = [people.submit(self.say, text, f"c{number}") for number, text in enumerate(texts)]
            wait_until(lambda: self.batcher.waiting == len(texts))
            self.encoder.open.set()
            busy.result(60)
            return [each.result(60) for each in said]

    def close(self) -> None:
        self.client.close()
        self.server.should_exit = True
        self.thread.join(20)


def wait_until(reached: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def serve(open_desk: Callable[..., Workspace]) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(**options: Any) -> Served:
        started.append(Served(open_desk(**options)))
        started[-1].encoder.calls.clear()  # what warming up encoded
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.mark.parametrize(
    "texts",
    [ENGLISH, CHINESE, (*ENGLISH, *CHINESE, *MIXED), (CHINESE[0], ENGLISH[0], CHINESE[0], ENGLISH[0])],
    ids=["english", "chinese", "both", "the same ones twice"],
)
def test_turns_of_one_moment_are_one_batch_and_one_encoder_call(
    serve: Callable[..., Served], texts: Sequence[str]
) -> None:
    served = serve()
    answers = served.all_at_once(texts)
    assert served.sizes == [1, len(texts)]
    assert len(served.encoder.calls) == 2, "one call for the turn before, one for all of the batch"
    assert sorted(served.encoder.calls[1]) == sorted(set(texts)), "no text twice, whoever asks for it"
    assert [answer["conversation"] for answer in answers] == [f"c{number}" for number in range(len(texts))]


def test_each_gets_the_answer_that_it_gets_alone(serve: Callable[..., Served]) -> None:
    texts = (*ENGLISH, *CHINESE, *MIXED)
    alone, together = serve(), serve()
    one_by_one = [alone.say(text, f"c{number}") for number, text in enumerate(texts)]
    at_once = together.all_at_once(texts)
    assert len(alone.encoder.calls) == len(texts), "a single turn is one call as well"
    for one, other in zip(one_by_one, at_once, strict=True):
        assert {name: other[name] for name in ("value", "action", "intent", "locale", "reasons")} == {
            name: one[name] for name in ("value", "action", "intent", "locale", "reasons")
        }
    assert {answer["locale"] for answer in at_once} == {"en", "zh"}
