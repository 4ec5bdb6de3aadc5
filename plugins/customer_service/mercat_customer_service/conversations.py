"""Conversations in the store: every state is rows, so that a process may die between any two steps."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mercat.errors import DataError, unknown_name
from mercat.store import Store, Transaction
from mercat_customer_service import tables
from mercat_customer_service.tables import ConversationRow, TurnRow

if TYPE_CHECKING:
    from sqlmodel import Session

STATES = ("person", "bot", "closed")
MAX_CHARS = 8_000


class Conversation:
    """One conversation inside a transaction. Loading it takes its lock: one turn at a time."""

    def __init__(self, session: Session, row: ConversationRow, now: datetime) -> None:
        self._session, self.row, self._now = session, row, now

    @classmethod
    def load(cls, tx: Transaction, id: str, *, service: str, subject: str, locale: str, now: datetime) -> Conversation:
        """Return the conversation, begun now if it is new. Raises DataError when it is another customer's."""
        session = tx.session
        row = tables.locked(session, id)
        if row is None:
            row = ConversationRow(
                id=id, service=service, subject=subject, locale=locale, created_at=now, updated_at=now
            )
            session.add(row)
            session.flush()
        elif subject and subject != row.subject:
            if row.subject:
                raise DataError(
                    f"The conversation '{id}' cannot go on", "It is another customer's", "a new conversation"
                )
            row.subject = subject
            tables.give_to(session, id, subject)
        return cls(session, row, now)

    def answered(self, request_id: str) -> TurnRow | None:
        """Return the desk's turn that answered a request before, if it did."""
        return tables.answer_to(self._session, self.row.id, request_id)

    def add(self, speaker: str, text: str, **fields: Any) -> TurnRow:
        """Append a turn."""
        self.row.turns += 1
        self.row.updated_at = self._now
        turn = TurnRow(
            conversation=self.row.id,
            number=self.row.turns,
            speaker=speaker,
            text=text,
            subject=self.row.subject,
            at=self._now,
            **fields,
        )
        self._session.add(self.row)
        self._session.add(turn)
        self._session.flush()
        return turn

    def turns(self) -> Sequence[TurnRow]:
        """Return all turns in order."""
        return tables.turns_of(self._session, self.row.id)

    def transcript(self) -> list[dict[str, str]]:
        """Return the turns as a ticket carries them; those in which the desk kept silent are left out."""
        said = (turn for turn in self.turns() if turn.text)
        return [{"speaker": turn.speaker, "text": turn.text, "at": turn.at.isoformat()} for turn in said]


@dataclass(frozen=True, slots=True)
class Summary:
    """A conversation in a list. `waits` says that a person is wanted and the customer spoke last."""

    row: ConversationRow
    last: TurnRow | None

    @property
    def waits(self) -> bool:
        return self.row.state == "person" and (self.last is None or self.last.speaker != "person")


class Desk:
    """What a person at the desk of one service may do: look, take over, answer, give back, close."""

    def __init__(self, store: Store, clock: Callable[[], datetime], *, service: str) -> None:
        self._store, self._clock, self._service = store, clock, service

    def begin(self, *, customer: str = "", locale: str = "") -> str:
        """Begin a conversation, of a known customer for instance. Return its id."""
        name = uuid.uuid4().hex
        with self._store.transaction() as tx:
            Conversation.load(tx, name, service=self._service, subject=customer, locale=locale, now=self._clock())
        return name

    def latest(self, *, state: str = "", limit: int = 50) -> list[Summary]:
        """Return the latest conversations, those that wait for a person first."""
        with self._store.transaction() as tx:
            rows = tables.latest(tx.session, service=self._service, state=state, limit=limit)
            last = tables.last_turns(tx.session, [row.id for row in rows])
            tx.session.expunge_all()
        return sorted((Summary(row, last.get(row.id)) for row in rows), key=lambda one: not one.waits)

    def counts(self) -> dict[str, int]:
        """Return the number of conversations by state."""
        with self._store.transaction() as tx:
            return tables.by_state(tx.session, self._service)

    def read(self, id: str) -> tuple[ConversationRow, list[TurnRow]]:
        """Return a conversation and its turns. Raises UnknownName."""
        with self._store.transaction() as tx:
            conversation = self._load(tx, id)
            turns = list(conversation.turns())
            tx.session.expunge_all()
            return conversation.row, turns

    def set_state(self, id: str, state: str) -> None:
        """Take over ("person"), give back ("bot") or close ("closed"). Raises UnknownName."""
        if state not in STATES:
            raise unknown_name("state", state, STATES, next=f"one of {', '.join(STATES)}")
        with self._store.transaction() as tx:
            conversation = self._load(tx, id)
            conversation.row.state = state
            conversation.row.offered, conversation.row.questions_asked = [], 0
            tx.session.add(conversation.row)

    def answer(self, id: str, text: str, *, request_id: str = "") -> None:
        """Answer as a person; the desk stays silent until the conversation is given back.

        The same `request_id` sent twice is said once. Raises DataError for a text that is empty or too long.
        """
        if not text.strip() or len(text) > MAX_CHARS:
            found = f"It has {len(text)} characters" if text.strip() else "It is empty"
            raise DataError("This answer cannot be sent", found, f"a text of 1 to {MAX_CHARS} characters")
        with self._store.transaction() as tx:
            conversation = self._load(tx, id)
            if request_id and tables.answer_to(tx.session, id, request_id, speaker="person"):
                return
            conversation.row.state = "person"
            conversation.add("person", text.strip(), request_id=request_id)

    def _load(self, tx: Transaction, id: str) -> Conversation:
        row = tables.locked(tx.session, id)
        if row is None or row.service != self._service:
            raise unknown_name("conversation", id, [], next="the list of conversations")
        return Conversation(tx.session, row, self._clock())
