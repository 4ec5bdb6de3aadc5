"""The plain data that crosses every border in mercat: frozen dataclasses, nothing that holds a resource.

Times are aware `datetime` objects in UTC. Mappings hold JSON-able values only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """A text that came in from a source: an article, a help page, a ticket, a catalogue entry.

    `subject` names the person the text is about or from (a customer id); erasure looks for it.
    """

    id: str
    text: str
    title: str = ""
    url: str = ""
    source: str = ""
    locale: str = ""
    published_at: datetime | None = None
    updated_at: datetime | None = None
    subject: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a Document, small enough to be encoded and quoted. `start` and `end` are character offsets."""

    id: str
    document_id: str
    text: str
    start: int = 0
    end: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled text to learn from.

    `split` is "train", "validation", "test" or "" (mercat splits it); rows of one `group` never part ways.
    """

    id: str
    text: str
    label: str
    text_pair: str = ""
    split: str = ""
    group: str = ""
    at: datetime | None = None
    subject: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interaction:
    """Something a user did with an item at a time: `kind` is view, click, rate, buy, ..."""

    id: str
    user_id: str
    item_id: str
    kind: str
    at: datetime
    weight: float = 1.0
    session: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


Row = Document | Passage | Example | Interaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What every question to a service carries. `at` makes a service answer "as of" that moment."""

    id: str = ""
    at: datetime | None = None
    locale: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextRequest(Request):
    """A question that is one text."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """One retrieved row. `score` is comparable within one answer only; higher is nearer.

    `spans` says what in `text` was found, as character offsets (start, end), where a retriever highlights: the words of
    the question, or else the sentence that is nearest to it.
    """

    id: str
    score: float
    text: str = ""
    title: str = ""
    url: str = ""
    label: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    spans: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service says. `confidence` is a calibrated probability in [0, 1] that `value` is right.

    An answer may abstain: then `value` is what it would not commit to (or None) and `reasons` say why.
    """

    value: Any
    confidence: float
    evidence: Sequence[Hit] = field(default=(), kw_only=True)
    abstained: bool = field(default=False, kw_only=True)
    reasons: Sequence[str] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True)
class Objection:
    """A plugin's reason to withhold an answer. Any objection withholds it."""

    reason: str
    plugin: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened (`answered`, `ingested`, `trained`, `promoted`), told to `mercat_observe`."""

    kind: str
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """What `mercat doctor` reports: something that is or will be in the way, and the cure."""

    level: str  # "error", "warning", "ok"
    subject: str
    problem: str
    cure: str = ""
    plugin: str = ""
