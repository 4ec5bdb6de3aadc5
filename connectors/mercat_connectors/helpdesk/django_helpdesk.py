"""`helpdesk/django-helpdesk`: opens tickets and adds follow-ups by the REST API, exactly once.

Written against django-helpdesk 2.6 with `HELPDESK_ACTIVATE_API_ENDPOINT = True`. Its API knows no idempotency keys and
no search, so every ticket carries a mark made from the message's key at the end of its description. Before a ticket is
opened, the newest tickets are looked through for that mark: the last page when it is the first attempt, because listing
tickets is slow work for this helpdesk, and `look_back` tickets when an earlier attempt may have arrived.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mercat.connect import Basic, Client, Message, Receipt, RequestFailed, Response
from mercat.errors import ConnectError

_PAGE_SIZE = 50
_TITLE_CHARS = 200
_DUPLICATE = 5  # django-helpdesk's status "duplicate"
_SETTLING = (0.1, 0.3, 0.6)  # shares of settle_s after which to look again
_NOT_DETAILS = frozenset({"title", "description", "text", "email", "priority", "transcript"})


class DjangoHelpdesk:
    """Delivers messages to a django-helpdesk.

    - `url`: where its pages begin, such as `https://help.example/helpdesk`; `queue`: the number of the queue.
    - `username`, `password`: of a staff account that may use the queue.
    - `look_back`: how many of the newest tickets are looked through for what an earlier attempt may have left.
    - `settle_s`: how long to look for the ticket after a request that may or may not have worked.

    A message of kind "followup" adds to the ticket that its payload names by `ticket` (the `external_id` of a receipt)
    or `ticket_key` (the key of the message that opened it), with `text`, `title` and `public`. Every other kind opens a
    ticket from `title`, `description` or `text`, `email`, `priority`; other plain values are listed below the text.

    Errors: ConnectError when the message did not arrive or nobody can tell yet; sending it again is safe.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str,
        password: str,
        queue: int,
        priority: int = 3,
        look_back: int = 1_000,
        settle_s: float = 3.0,
        timeout_s: float = 15.0,
        allow: Sequence[str] = (),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url, self._queue, self._priority = url.rstrip("/"), queue, priority
        self._look_back, self._settle_s, self._sleep = look_back, settle_s, sleep
        self._client = Client(auth=Basic(username, password), allow=allow, timeout_s=timeout_s, retries=2, sleep=sleep)

    def __repr__(self) -> str:
        return f"DjangoHelpdesk(queue={self._queue})"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(self, message: Message) -> Receipt:
        """Deliver a message unless it is there already."""
        if message.kind == "followup":
            return self._follow_up(message)
        mark = _mark(message.key)
        depth = self._look_back if message.attempt > 1 else _PAGE_SIZE
        fields = self._ticket_fields(message, mark)
        number = self._once("tickets", fields, message, lambda: self._ticket_with(mark, depth=depth))
        return Receipt(str(number), f"{self._url}/tickets/{number}/")

    def _follow_up(self, message: Message) -> Receipt:
        ticket, mark = self._ticket_of(message), _mark(message.key)
        fields = {
            "ticket": ticket,
            "title": str(message.payload.get("title") or "Follow-up")[:_TITLE_CHARS],
            "comment": f"{message.payload.get('text') or ''}\n\n{mark}",
            "public": bool(message.payload.get("public", False)),
        }
        number = self._once("followups", fields, message, lambda: self._follow_up_with(mark, ticket))
        return Receipt(str(number), f"{self._url}/tickets/{ticket}/")

    def _once(self, path: str, fields: Mapping[str, Any], message: Message, find: Callable[[], int | None]) -> int:
        """Create what `find` does not find, and find out when the answer does not tell."""
        if (found := find()) is not None:
            return found
        try:
            number = int(self._client.post(f"{self._url}/api/{path}/", json=dict(fields)).json()["id"])
        except RequestFailed as error:
            if error.maybe_done and (late := self._settled(find)) is not None:
                return late
            raise
        except (KeyError, TypeError, ValueError):
            found_text = "The answer carries no number"
            raise ConnectError(f"POST {path} was sent to the helpdesk", found_text, "check that url is right") from None
        return self._withdraw_twin(number, find) if path == "tickets" and message.attempt > 1 else number

    def _settled(self, find: Callable[[], int | None]) -> int | None:
        """Look for what a request of unknown fate may have left; the server may still be at it."""
        for share in _SETTLING:
            self._sleep(share * self._settle_s)
            try:
                if (found := find()) is not None:
                    return found
            except RequestFailed:
                continue
        return None

    def _withdraw_twin(self, number: int, find: Callable[[], int | None]) -> int:
        """When an earlier attempt arrived after all in the meantime, merge the younger ticket into the older."""
        older = find()
        if older is None or older == number:
            return number
        fields = {"status": _DUPLICATE, "merged_to": older}
        self._client.request("PATCH", f"{self._url}/api/tickets/{number}/", json=fields)
        return older

    def _ticket_of(self, message: Message) -> int:
        named = str(message.payload.get("ticket") or "")
        if named.isdigit():
            return int(named)
        key = str(message.payload.get("ticket_key") or "")
        if key and (found := self._ticket_with(_mark(key), depth=self._look_back)) is not None:
            return found
        asked = f"Follow-up '{message.key}' was sent to the helpdesk"
        raise ConnectError(asked, "Its ticket is not there (yet)", "ticket = the receipt's external_id, or ticket_key")

    def _ticket_with(self, mark: str, *, depth: int) -> int | None:
        """The oldest of the `depth` newest tickets that carries the mark."""
        found = None
        for ticket in self._newest(depth):
            if mark in (ticket.get("description") or "") and ticket.get("status") != _DUPLICATE:
                found = int(ticket["id"])
        return found

    def _follow_up_with(self, mark: str, ticket: int) -> int | None:
        response = self._client.get(f"{self._url}/api/tickets/{ticket}/")
        for entry in _list(response, "followup_set"):
            if mark in (entry.get("comment") or ""):
                return int(entry["id"])
        return None

    def _newest(self, left: int) -> Iterator[Mapping[str, Any]]:
        """The newest tickets, newest first, page by page from the last."""
        page: int | str = "last"
        while left > 0:
            response = self._client.get(f"{self._url}/api/tickets/", params={"page": page, "page_size": _PAGE_SIZE})
            tickets = _list(response, "results")
            yield from reversed(tickets)
            left -= len(tickets)
            if page == "last":
                page = -(-int(response.json().get("count", 0)) // _PAGE_SIZE)
            page = int(page) - 1
            if page < 1:
                return

    def _ticket_fields(self, message: Message, mark: str) -> dict[str, Any]:
        payload = message.payload
        text = str(payload.get("description") or payload.get("text") or "")
        details = [f"{name}: {value}" for name, value in payload.items() if _is_detail(name, value)]
        parts = [text, "\n".join(details), mark]
        fields = {
            "queue": self._queue,
            "title": " ".join(str(payload.get("title") or message.kind).split())[:_TITLE_CHARS],
            "description": "\n\n".join(part for part in parts if part),
            "priority": payload.get("priority") or self._priority,
        }
        return fields | ({"submitter_email": payload["email"]} if payload.get("email") else {})


def _mark(key: str) -> str:
    """A hash, because a key may name a person."""
    return f"[mercat:{hashlib.sha256(key.encode()).hexdigest()[:24]}]"


def _is_detail(name: str, value: Any) -> bool:
    return name not in _NOT_DETAILS and isinstance(value, str | int | float) and value != ""


def _list(response: Response, name: str) -> list[Any]:
    value = response.json()
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, list):
        asked = "The helpdesk's API was asked"
        raise ConnectError(asked, f"The answer has no '{name}'", "check that url leads to django-helpdesk 2.6")
    return found
