"""What a customer-service desk is asked and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mercat.values import Answer, Request

Action = Literal["reply", "article", "ask", "hand_over", "silent"]


@dataclass(frozen=True, slots=True)
class Turn(Request):
    """One message of a customer. The same `id` asked twice gets the same reply and has no second effect."""

    text: str = ""
    conversation: str = ""
    customer: str = ""


@dataclass(frozen=True, slots=True)
class Reply(Answer):
    """What the desk says. `value` is the text; `intent` what it understood; `options` the choices when it asks back."""

    conversation: str = ""
    action: Action = "reply"
    intent: str = ""
    locale: str = ""
    options: Sequence[str] = ()
