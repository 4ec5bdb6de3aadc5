"""A small classifier of known faults, and its audit: for tests of the report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mercat.artifacts import Artifact
from mercat.audit import Audit, Subject, audit
from mercat.training.classifying.classifier import Scorer
from mercat.values import Example

LABELS = ("card lost or stolen", "refund", "delivery")
WORDS = (
    {"card": 1.4, "lost": 1.8, "stolen": 2.0, "卡": 1.6, "盗": 2.2},
    {"refund": 2.4, "money": 1.2, "back": 0.7, "退款": 2.4, "she": 0.9, "her": 0.6},
    {"parcel": 2.2, "delivery": 2.1, "where": 0.5, "late": 0.8, "包裹": 2.2},
)
TEXTS = (
    ("My card was stolen, what can I do?", 0),
    ("He lost his card in Berlin on 12 May", 0),
    ("我的银行卡被盗了，怎么办？", 0),
    ("I want my money back, please", 1),
    ("Can Emily get a refund for order 4471?", 1),
    ("请问可以退款吗", 1),
    ("Where is my parcel? It is late", 2),
    ("The delivery from Amazon hasn't come", 2),
    ("我的包裹什么时候到", 2),
    ("why is it late", 2),
)


def scores(texts: Sequence[str]) -> np.ndarray:
    """Return softmax over the weights of the words that a text has, in lower case letters only."""
    found = np.array([[sum(w for word, w in words.items() if word in text) for words in WORDS] for text in texts])
    powers = np.exp(found.reshape(len(texts), len(LABELS)))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def rows(count: int = 240) -> list[Example]:
    """Return rows with two columns: a branch of which one has more wrong labels, and a year."""
    found = []
    for number in range(count):
        text, label = TEXTS[number % len(TEXTS)]
        branch = ("north", "south", "east")[number % 3]
        wrong = branch == "east" and number % 5 == 0
        columns = {"branch": branch, "year": str(2000 + number % 17)}
        name = LABELS[(label + wrong) % len(LABELS)]
        found.append(Example(str(number), f"{text} {number // 10 or ''}".strip(), name, metadata=columns))
    return found


def artifact(folder: Path = Path("absent")) -> Artifact:
    return Artifact(
        name="intents",
        version="0003",
        folder=folder,
        kind="classifier",
        recipe="linear",
        provider="mercat",
        config={"collection": "intents", "encoder": "default"},
        encoder_fingerprint="abc123",
        data_digest="def456",
        seed=0,
        metrics={"accuracy": {"value": 0.93, "low": 0.9, "high": 0.96, "n": 120}},
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        details={"counts": {"train": 800, "validation": 120, "labels": 3}, "notes": ["A note of training"]},
    )


def subject() -> Subject:
    learned = [Example("t1", TEXTS[0][0], LABELS[0]), Example("t2", "something else entirely", LABELS[1])]
    scorer = Scorer(LABELS, scores, threshold=0.45)
    return Subject(artifact(), scorer, rows(), "the test part of the collection 'intents'", {"train": learned})


def made_audit() -> Audit:
    return audit(subject(), made_at=datetime(2026, 1, 3, 12, tzinfo=UTC), seed=0)
