"""How a page puts a question to a service of the workspace: batched, reviewed and observed like any other."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from mercat.services import Request as Question


async def ask(request: Request, service: str, question: Question) -> Any:
    """Return the answer of the service in section `[services.SERVICE]`; an answer that is withheld stays withheld.

    Raises what the service raises, and Overloaded (HTTP 503) when too much waits already.
    """
    return await request.app.state.ask(service, question)
