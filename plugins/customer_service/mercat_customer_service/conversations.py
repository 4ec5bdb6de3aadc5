"""Conversations in the store: every state is rows, so that a process may die between any two steps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mercat.errors import unknown_name
from mercat.store import Store, Transaction
from mercat_customer_service.tables import ConversationRow, TurnRow, answer_to, latest, locked, turns_of

if TYPE_CHECKING:
    from sqlmodel import Session


class Conversation:
    """One conversation inside a transaction. Loading it takes its lock: one turn at a time."""

    def __init__(self, session: Session, row: ConversationRow, now: datetime) -> None:
        self._session, self.row, self._now = session, row, now

    @classmethod
    def load(cls, tx: Transaction, id: str, *, service: str, subject: str, locale: str, now: datetime) -> Conversation:
        """Return the conversation, begun now if it is new."""
        session = tx.session
        row = locked(session, id)
        if row is None:
            row = ConversationRow(
                id=id, service=service, subject=subject, locale=locale, created_at=now, updated_at=now
            )
            session.add(row)
            session.flush()
        return cls(session, row, now)

    def answered(self, request_id: str) -> TurnRow | None:
        """Return the desk's turn that answered a request before, if it did."""
        return answer_to(self._session, self.row.id, request_id)

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
        return turns_of(self._session, self.row.id)

    def transcript(self) -> list[dict[str, str]]:
        """Return the turns as a ticket carries them."""
        return [{"speaker": turn.speaker, "text": turn.text, "at": turn.at.isoformat()} for turn in self.turns()]


class Desk:
    """What a person at the desk may do: look, take over, answer, give back."""

    def __init__(self, store: Store, clock: Any) -> None:
        self._store, self._clock = store, clock

    def latest(self, *, state: str = "", limit: int = 50) -> list[ConversationRow]:
        """Return the latest conversations, those that wait for a person first."""
        with self._store.transaction() as tx:
            rows = list(latest(tx.session, state=state, limit=limit))
            tx.session.expunge_all()
            return rows

    def read(self, id: str) -> tuple[ConversationRow, list[TurnRow]]:
        """Return a conversation and its turns. Raises UnknownName."""
        with self._store.transaction() as tx:
            conversation = self._load(tx, id)
            turns = list(conversation.turns())
            tx.session.expunge_all()
            return conversation.row, turns

    def set_state(self, id: str, state: str) -> None:
        """Take over ("person"), give back ("bot") or close."""
        with self._store.transaction() as tx:
            conversation = self._load(tx, id)
            conversation.row.state = state
            conversation.row.offered, conversation.row.questions_asked = [], 0
            tx.session.add(conversation.row)

    def answer(self, id: str, text: str) -> None:
        """Answer as a person; the desk stays silent until the conversation is given back."""
        with self._store.transaction() as tx:
            conversation = self._load(tx, id)
            conversation.row.state = "person"
            conversation.add("person", text)

    def _load(self, tx: Transaction, id: str) -> Conversation:
        row = locked(tx.session, id)
        if row is None:
            raise unknown_name("conversation", id, [], next="the list of conversations")
        return Conversation(tx.session, row, self._clock())
