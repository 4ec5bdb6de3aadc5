from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mercat.errors import ConfigError, StoreError, UnknownKey
from mercat.serve.settings import Settings


def ask(demo: Any, **body: Any) -> Any:
    return demo.client.post("/v1/services/echo", json=body, headers=demo.bearer("ask"))


def test_an_answer_is_the_dataclass_as_json(demo: Any) -> None:
    answer = demo.client.post(
        "/v1/services/echo",
        json={"text": "你好", "tone": "warm", "tags": ["a"], "at": "2026-01-02T03:04:05+08:00"},
        headers={**demo.bearer("ask"), "X-Request-ID": "r-1"},
    )
    hit = {"id": "h1", "score": None, "text": "你好", "title": "", "url": "", "label": "", "metadata": {}, "spans": []}
    assert answer.json() == {
        "value": {"said": "你好", "id": "r-1", "tags": ["a"], "tone": "warm"},
        "confidence": 0.9,
        "evidence": [hit],
        "abstained": False,
        "reasons": [],
    }
    assert answer.headers["x-request-id"] == "r-1"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "body.text"),
        ({"text": 5}, "body.text"),
        ({"text": "a", "unknown": 1}, "body.unknown"),
        ({"text": "a" * 8001}, "body.text"),
        ({"text": "a", "tone": "loud"}, "body.tone"),
        ({"text": "a", "tags": "x"}, "body.tags"),
        ({"text": "a", "tags": ["x"] * 257}, "body.tags"),
        ({"text": "a", "at": "2026-01-02T03:04:05"}, "body.at"),
        ([1], "body"),
    ],
)
def test_what_cannot_be_used_is_said_field_by_field(demo: Any, body: Any, where: str) -> None:
    answer = demo.client.post("/v1/services/echo", json=body, headers=demo.bearer("ask"))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["errors"][0]["where"] == where
    assert where in problem["found"]
    assert problem["asked"] == "POST /v1/services/echo"
    assert problem["next"]
    assert demo.echo.batches == []


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"text": "\\ud800"}', b"null", b""])
def test_broken_bodies_are_refused_not_failed(demo: Any, content: bytes) -> None:
    headers = {**demo.bearer("ask"), "Content-Type": "application/json"}
    answer = demo.client.post("/v1/services/echo", content=content, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text


def test_a_body_above_the_limit_is_refused_whether_announced_or_not(serve: Any) -> None:
    demo = serve(max_body_bytes=2000)
    announced = ask(demo, text="a", context={"b": "x" * 2000})
    assert announced.status_code == 413
    assert announced.json()["found"] == "It is above 2,000 bytes."[:-1]

    def pieces() -> Any:
        for _ in range(50):
            yield b" " * 100

    streamed = demo.client.post("/v1/services/echo", content=pieces(), headers=demo.bearer("ask"))
    assert streamed.status_code == 413
    assert ask(demo, text="a").status_code == 200


def test_requests_at_the_same_time_share_batches_and_keep_their_answers(serve: Any) -> None:
    demo = serve(max_wait_ms=30)
    with ThreadPoolExecutor(24) as threads:
        answers = list(threads.map(lambda n: ask(demo, text=f"line {n}").json()["value"]["said"], range(24)))
    assert answers == [f"line {n}" for n in range(24)]
    assert sum(demo.echo.batches) == 24
    assert len(demo.echo.batches) <= 12
    metrics = demo.client.get("/metrics", headers=demo.bearer("operate")).text
    assert f'mercat_batch_size_count{{service="echo"}} {len(demo.echo.batches)}.0' in metrics


def test_a_poisoned_request_fails_alone(serve: Any) -> None:
    demo = serve(max_wait_ms=60)
    texts = ["a", "poison", "b", "c"]
    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(lambda text: ask(demo, text=text).status_code, texts))
    assert statuses == [200, 500, 200, 200]


def test_a_full_queue_says_when_to_come_back(serve: Any) -> None:
    demo = serve(max_queue=2, max_wait_ms=0.1)
    demo.echo.gate.clear()
    with ThreadPoolExecutor(12) as threads:
        futures = [threads.submit(ask, demo, text="first")]
        assert demo.echo.entered.wait(10)
        futures += [threads.submit(ask, demo, text=str(n)) for n in range(11)]
        while sum(future.done() for future in futures) < 9:  # one is asked, two wait
            time.sleep(0.01)
        demo.echo.gate.set()
        statuses = sorted(future.result().status_code for future in futures)
        refused = next(future.result() for future in futures if future.result().status_code == 503)
    assert statuses.count(503) == 9
    assert statuses.count(200) == 3
    assert refused.headers["retry-after"] == "1"


def test_the_description_names_every_service_with_its_fields(demo: Any) -> None:
    described = demo.client.get("/openapi.json", headers=demo.bearer("ask")).json()
    operation = described["paths"]["/v1/services/echo"]["post"]
    assert operation["summary"] == "Says back what it is told"
    name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schema = described["components"]["schemas"][name]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["text"]
    assert sorted(schema["properties"]) == ["at", "context", "conversation", "id", "locale", "tags", "text", "tone"]
    assert schema["properties"]["text"]["maxLength"] == 8000
    answered = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert "confidence" in described["components"]["schemas"][answered]["properties"]
    assert {"401", "403", "413", "422", "429", "503"} <= set(operation["responses"])
    assert "/healthz" not in described["paths"]
    assert "/desk/series.json" in described["paths"]
    listed = demo.client.get("/v1/services", headers=demo.bearer("ask")).json()["services"]
    assert [(row["name"], row["url"]) for row in listed] == [("echo", "/v1/services/echo")]


def test_logs_are_json_lines_without_texts_keys_or_paths(demo: Any) -> None:
    hostile = 'a\r\n{"event": "forged"}\x1b[31m'
    ask(demo, text=hostile)
    demo.client.get("/desk/conversations/sesame-street?q=sesame", headers=demo.bearer("ask"))
    demo.client.get("/sesame%0d%0ax", headers={"X-Request-ID": "a b\tc"})
    lines = demo.lines()
    assert all(isinstance(line, dict) for line in lines)
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["route"] for line in requests] == [
        "/v1/services/echo",
        "/desk/conversations/{conversation}",
        "unmatched",
    ]
    text = demo.log.getvalue()
    assert "sesame" not in text
    assert "forged" not in text
    assert demo.keys["ask"] not in text
    assert " " not in requests[2]["request_id"]


def test_metrics_count_by_route_template(demo: Any) -> None:
    ask(demo, text="a")
    demo.client.get("/desk/conversations/c77", headers=demo.bearer("ask"))
    for path in ("/a", "/b"):
        demo.client.get(path)
    text = demo.client.get("/metrics", headers=demo.bearer("operate")).text
    assert 'mercat_requests_total{method="POST",route="/v1/services/echo",status="200"} 1.0' in text
    assert 'route="unmatched",status="404"} 2.0' in text
    assert "c77" not in text
    assert 'mercat_load_seconds{part="services.echo"}' in text
    assert 'mercat_queue_length{service="echo"} 0.0' in text
    assert 'mercat_outbox_backlog{state="dead"} 0.0' in text
    assert "mercat_ready 1.0" in text


def test_errors_of_the_house_keep_their_three_parts(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: Any) -> Any:
        raise StoreError("The store", "It is locked", "again")

    monkeypatch.setattr(demo.echo, "answer_many", locked)
    answer = ask(demo, text="a")
    assert answer.status_code == 503
    assert json.loads(answer.text)["detail"] == "The store. It is locked. Try: again"


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"max_txt": 1}, UnknownKey),
        ({"max_text": "many"}, ConfigError),
        ({"max_text": 0}, ConfigError),
        ({"frame_origins": ["https://a.example; script-src *"]}, ConfigError),
        ({"frame_origins": ["*"]}, ConfigError),
    ],
)
def test_settings_are_checked(values: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"\[mercat.serve\]"):
        Settings.read(values)
