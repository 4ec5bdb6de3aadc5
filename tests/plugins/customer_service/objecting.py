"""A plugin that objects to every reply with a number in it."""

from __future__ import annotations

from typing import Any

from mercat.hooks import hookimpl
from mercat.values import Objection


@hookimpl
def mercat_review(request: Any, answer: Any) -> list[Objection]:
    return [Objection("it promises a number")] if any(letter.isdigit() for letter in str(answer.value)) else []
