"""A whole small desk: real classifier, retriever, store and workspace, made in a second; and what is done to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mercat.config import Config
from mercat.encoders.hashing import Hashing
from mercat.heads.linear import LinearHead
from mercat.training.classifying.classifier import ROLE
from mercat.values import Document
from mercat.workspace import Workspace
from mercat_customer_service.values import Turn

INTENTS = {
    "card_arrival": ["my card has not arrived", "when will my new card arrive", "card delivery", "where is my card"],
    "refund": ["i want my money back", "please refund this payment", "refund request", "pay me back my money"],
    "opening_hours": ["when are you open", "opening hours on sunday", "what are your hours", "is the branch open"],
    "complaint": ["this is a complaint", "i complain about bad service", "terrible service", "file a complaint"],
}
POLITE = ("{}", "hello, {}", "{} please", "excuse me, {}", "{}?", "{}, thank you")
REPLIES = """
[variables]
days = "5"
[card_arrival]
title = { en = "My card", zh = "我的银行卡" }
en = "Cards arrive within {days} days."
zh = "卡会在{days}天内送达。"
[refund]
title = { en = "Refund", zh = "退款" }
en = "We pay back within {days} days."
zh = "我们会在{days}天内退款。"
[opening_hours]
title = { en = "Opening hours", zh = "营业时间" }
en = "We are open from nine to five."
zh = "我们九点到五点营业。"
"""
ARTICLES = [
    Document(
        "a1", "Wire transfers abroad take two days. Fees are low.", "Wire transfers abroad", "https://help.example/1"
    ),
    Document("a2", "储蓄罐的年利率是百分之二。按月付息。", "储蓄罐的利率", "javascript:alert(1)", locale="zh"),
]
START = datetime(2026, 5, 4, 9, tzinfo=UTC)
TURNS = "customer_service_turns"


def config(folder: Path, *, store_url: str = "", routers: dict[str, Any] | None = None, **service: Any) -> Config:
    data: dict[str, Any] = {
        "encoders": {"small": {"use": "hashing", "dimensions": 512}},
        "indexes": {"help": {"use": "exact"}},
        "retrievers": {"help": {"use": "dense", "encoder": "small", "index": "help", "collection": "help"}},
        "classifiers": {"intents": {"use": "trained", "artifact": "intents", "encoder": "small"}},
        "services": {
            "desk": {
                "use": "customer-service", "intents": "intents", "help": "help", "replies": "replies.toml",
                "sink": "tickets", "answer": 0.6, "article": 0.5, **service,
            }
        },
        "routers": {"desk": {"use": "customer-service", "service": "desk", **(routers or {})}},
    }  # fmt: skip
    if store_url:
        data["store"] = {"url": store_url}
    return Config(data, folder=folder)


def ticking() -> Callable[[], datetime]:
    """Return a clock that is a second later each time."""
    seconds = itertools.count()
    return lambda: START + timedelta(seconds=next(seconds))


def open_desk(folder: Path, **options: Any) -> Workspace:
    return Workspace(config(folder, **options), clock=ticking())


def prepare(folder: Path) -> None:
    """Train the classifier and write the replies; what is left can be copied."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "replies.toml").write_text(REPLIES, encoding="utf-8")
    labelled = [(form.format(text), intent) for intent, texts in INTENTS.items() for text in texts for form in POLITE]
    encoder = Hashing(dimensions=512)
    vectors = encoder.encode([text for text, _ in labelled])
    head = LinearHead.fit(vectors, [label for _, label in labelled], fingerprint=encoder.fingerprint, strength=100.0)
    with open_desk(folder) as workspace:
        made = {"kind": "classifier", "provider": "mercat", "recipe": "linear", "config": {}}
        with workspace.artifacts.create("intents", **made) as writer:
            (writer.folder / "head").mkdir()
            head.save(writer.folder / "head")
            writer.note("role", ROLE)


def fill(workspace: Workspace) -> None:
    workspace.store.upsert(ARTICLES, collection="help")
    workspace.get("retrievers", "help").refresh()


def talk_for_ever(folder: Path, first: int, said: Any) -> None:
    """Say one turn after the other and tell the number of each that was acknowledged, until the process is killed."""
    with open_desk(folder) as workspace:
        service = workspace.get("services", "desk")
        for number in itertools.count(first):
            service.answer(Turn(id=f"r{number}", conversation="c", text="when will my new card arrive"))
            said.send(number)
