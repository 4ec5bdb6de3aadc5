from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sse_starlette import ServerSentEvent

from mercat.web import stream


def test_a_stream_sends_messages_and_named_events() -> None:
    app = FastAPI()

    async def pieces() -> AsyncIterator[Any]:
        yield "<p>one</p>\n<p>two</p>"
        yield ServerSentEvent(event="done", data="")

    @app.get("/events")
    def events() -> Any:
        return stream(pieces())

    answer = TestClient(app).get("/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.text.replace("\r\n", "\n") == "data: <p>one</p>\ndata: <p>two</p>\n\nevent: done\ndata: \n\n"
