"""What comes back from another system, as plain data, and the error when it is not what was hoped for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mercat.errors import ConnectError


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: header names in lower case, `content` unpacked, `url` the last address after redirects.

    `redirects` are the hops that led there, as (status, address).
    """

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    url: str = field(repr=False)  # its query may hold a secret
    redirects: tuple[tuple[int, str], ...] = field(default=(), repr=False)

    def header(self, name: str) -> str:
        """The value of a header, whatever its case; "" when absent."""
        return self.headers.get(name.lower(), "")

    @property
    def text(self) -> str:
        """The content as UTF-8; bytes that are not become U+FFFD."""
        return self.content.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """The content as JSON. Errors: ConnectError when it is something else."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            kind = self.header("content-type").split(";")[0] or "nothing"
            found = f"Status {self.status} with {len(self.content)} bytes of {kind}"
            raise ConnectError(
                "JSON was expected in the answer", found, "check that the URL is that of the API"
            ) from None


class RequestFailed(ConnectError):
    """A request that brought no usable answer.

    `status` is None when there was no answer at all. `maybe_done` tells that the other side may have acted on the
    request all the same (a timeout after sending, a 5xx), so that it must not simply be sent again. `passing` tells
    that the failure may go away by itself (no connection, a 429, a 503).
    `retry_after_s` is the pause that the other side asked for, if it did.
    """

    def __init__(
        self,
        asked: str,
        found: str = "",
        next: str = "",
        *,
        status: int | None = None,
        maybe_done: bool = False,
        passing: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(asked, found, next)
        self.status, self.maybe_done, self.passing, self.retry_after_s = status, maybe_done, passing, retry_after_s
