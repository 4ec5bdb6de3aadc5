"""A small monitor with a real classifier, store and workspace, and the news that it is fed."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mercat.config import Config
from mercat.encoders.hashing import Hashing
from mercat.flow import run_task
from mercat.heads.linear import LinearHead
from mercat.values import Document
from mercat.workspace import Workspace

START = datetime(2026, 3, 2, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SURGE = START + 35 * DAY + 10 * HOUR
TOPICS = """
[acme]
title = { en = "Acme", zh = "顶点公司" }
names = ["Acme", "顶点公司"]
[globex]
title = { en = "Globex", zh = "环球" }
names = ["Globex"]
"""
SAID = {
    "negative": ["a heavy loss and a lawsuit", "shares collapse after the fraud", "a recall and a heavy fine", "losses and layoffs"],
    "neutral": ["the agenda of the annual meeting", "a new office address", "the meeting is on monday", "an agenda was sent"],
    "positive": ["record profit and growth", "strong growth wins praise", "profit rises to a record", "success and strong profit"],
}  # fmt: skip
SYLLABLES = ["ba", "de", "fi", "go", "lu", "ma", "ne", "pi", "ro", "su", "ta", "ve", "xi", "zo", "ka", "li"]


def config(folder: Path, *, store_url: str = "", **monitor: Any) -> Config:
    shared = {"polarity": "polarity", "topics": "topics.toml"}
    data: dict[str, Any] = {
        "encoders": {"small": {"use": "hashing", "dimensions": 512}},
        "classifiers": {"polarity": {"use": "trained", "artifact": "polarity", "encoder": "small"}},
        "tasks": {
            "news": {"use": "financial-sentiment/monitor", **shared, "collection": "news", "sink": "pager", **monitor}
        },
        "services": {"signals": {"use": "financial-sentiment", **shared, "monitor": "news"}},
        "routers": {"signals": {"use": "financial-sentiment", "service": "signals"}},
    }
    if store_url:
        data["store"] = {"url": store_url}
    return Config(data, folder=folder)


def open_monitor(folder: Path, **options: Any) -> Workspace:
    return Workspace(config(folder, **options), clock=lambda: NOW)


def prepare(folder: Path) -> None:
    """Train the classifier and write the topics; what is left can be copied."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "topics.toml").write_text(TOPICS, encoding="utf-8")
    forms = ("Acme: {}", "{} at Globex", "{}", "News of today: {}", "It is said: {}", "{} again")
    labelled = [(form.format(text), label) for label, texts in SAID.items() for text in texts for form in forms]
    encoder = Hashing(dimensions=512)
    vectors = encoder.encode([text for text, _ in labelled])
    head = LinearHead.fit(vectors, [label for _, label in labelled], fingerprint=encoder.fingerprint, strength=100.0)
    with open_monitor(folder) as workspace:
        made = {"kind": "classifier", "provider": "mercat", "recipe": "linear", "config": {}}
        with workspace.artifacts.create("polarity", **made) as writer:
            (writer.folder / "head").mkdir()
            head.save(writer.folder / "head")


def headline(chance: random.Random) -> str:
    """Return words that no other headline shares."""
    return " ".join("".join(chance.choices(SYLLABLES, k=4)) for _ in range(6))


def article(id: str, label: str, at: datetime, *, title: str = "", topic: str = "Acme", **more: Any) -> Document:
    chance = random.Random(id)
    text = f"{topic}: {chance.choice(SAID[label])}"
    return Document(
        id, text, title or f"{topic} {headline(chance)}", f"https://news.example/{id}", published_at=at, **more
    )


def calm(days: int = 35, *, topic: str = "Acme") -> list[Document]:
    """Three articles a day, about every seventh of them negative."""
    labels = ("positive", "neutral", "neutral", "negative", "positive", "neutral", "positive")
    return [
        article(f"{topic}-c{n:03d}", labels[n % 7], START + DAY * (n // 3) + HOUR * (8 + 3 * (n % 3)), topic=topic)
        for n in range(days * 3)
    ]


def burst(
    label: str, count: int, *, at: datetime = SURGE, name: str = "s", topic: str = "Acme", title: str = ""
) -> list[Document]:
    """Many articles within hours; with `title` they all tell the same story."""
    return [
        article(f"{topic}-{name}{n:02d}", label, at + timedelta(minutes=20 * n), topic=topic, title=title)
        for n in range(count)
    ]


def take_in(workspace: Workspace, articles: Sequence[Document], *, batch_size: int = 500) -> None:
    workspace.store.upsert(articles, collection="news")
    run_task(workspace.get("tasks", "news"), workspace.store, batch_size=batch_size)


def follow(folder: Path, tell: Any) -> None:
    """Bring the monitor up to date in small steps, telling each one; no step takes less than three milliseconds."""

    def step(*_: object) -> None:
        tell.send("step")
        time.sleep(0.003)

    with open_monitor(folder) as workspace:
        run_task(workspace.get("tasks", "news"), workspace.store, batch_size=3, progress=step)
    tell.send("done")
