"""Approved replies: templates with variables and variants per intent and language. No other reply is ever given.

[card_arrival]
title = "When my card arrives"
en = ["Your card arrives within {days} working days.", "Cards take up to {days} working days."]
zh = ["您的卡会在{days}个工作日内送达。"]
"""

from __future__ import annotations

import hashlib
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mercat.errors import ConfigError

PHRASES: dict[str, dict[str, str]] = {
    "rephrase": {
        "en": "I am not sure that I understood. Could you say it in other words?",
        "zh": "抱歉，我没有完全理解。您可以换一种说法吗？",
    },
    "choose": {"en": "Which of these do you mean?", "zh": "您指的是下面哪一项？"},
    "hand_over": {
        "en": "I am passing this to a colleague, who will answer you here.",
        "zh": "我已把您的问题转给同事，他们会在这里答复您。",
    },
    "silent": {"en": "", "zh": ""},
}
_WANTS_PERSON = {
    "en": (
        "human", "real person", "speak to a person", "talk to a person", "speak to someone", "talk to someone",
        "an agent", "live agent", "representative", "customer support agent", "speak to an operator",
    ),
    "zh": ("人工", "真人", "转人工", "客服人员", "找人工", "和人说话"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Template:
    """One intent's approved wording per language."""

    intent: str
    titles: Mapping[str, str]
    variants: Mapping[str, tuple[str, ...]]


class Replies:
    """The approved replies of one desk."""

    def __init__(self, templates: Mapping[str, Template], variables: Mapping[str, str] | None = None) -> None:
        self._templates, self._variables = dict(templates), dict(variables or {})

    @classmethod
    def read(cls, path: Path) -> Replies:
        """Read a TOML file of replies. Raises ConfigError naming the intent whose wording cannot be used."""
        if not path.is_file():
            raise ConfigError(f"The replies {path} cannot be read", "The file is not there", 'replies = "replies.toml"')
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"The replies {path} cannot be read", str(error), f"an editor on {path}") from error
        variables = {str(key): str(value) for key, value in data.pop("variables", {}).items()}
        return cls({intent: _template(intent, body) for intent, body in data.items()}, variables)

    def intents(self) -> list[str]:
        """Return the intents that have an approved reply in any language."""
        return sorted(self._templates)

    def title(self, intent: str, locale: str) -> str:
        """Return what to call an intent in front of a customer."""
        template = self._templates.get(intent)
        fallback = intent.replace("_", " ").capitalize()
        return fallback if template is None else template.titles.get(locale, template.titles.get("en", fallback))

    def approved(self, intent: str, locale: str, variables: Mapping[str, Any]) -> bool:
        """Say whether a reply can be given in full: the wording exists and every variable is known."""
        return self.render(intent, locale, variables, seed="") is not None

    def render(self, intent: str, locale: str, variables: Mapping[str, Any], *, seed: str) -> str | None:
        """Return the wording with its variables, or None. `seed` picks the variant, the same one every time."""
        template = self._templates.get(intent)
        known = {**self._variables, **{key: str(value) for key, value in variables.items()}}
        usable = [
            text for text in (template.variants.get(locale, ()) if template else ()) if _names(text) <= known.keys()
        ]
        if not usable:
            return None
        number = int.from_bytes(hashlib.sha256(f"{intent}/{seed}".encode()).digest()[:4], "big")
        chosen = usable[number % len(usable)]
        return string.Formatter().vformat(chosen, (), {name: known[name] for name in _names(chosen)})


def wants_person(text: str) -> bool:
    """Say whether a customer asks for a human being, in English or Chinese."""
    lowered = f" {text.lower()} "
    return any(phrase in lowered for phrases in _WANTS_PERSON.values() for phrase in phrases)


def phrase(name: str, locale: str) -> str:
    """Return one of the desk's own sentences."""
    wording = PHRASES[name]
    return wording.get(locale, wording["en"])


def _template(intent: str, body: Any) -> Template:
    if not isinstance(body, dict):
        raise ConfigError(f"The reply '{intent}' cannot be used", "It is not a table", f'[{intent}] with en = ["…"]')
    titles = body.get("title", {})
    titles = {"en": titles} if isinstance(titles, str) else {str(key): str(value) for key, value in titles.items()}
    variants = {}
    for locale, texts in body.items():
        if locale == "title":
            continue
        listed = (texts,) if isinstance(texts, str) else tuple(texts)
        for text in listed:
            _check(intent, text)
        variants[locale] = listed
    return Template(intent, titles, variants)


def _check(intent: str, text: Any) -> None:
    try:
        names = _names(text)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"The reply '{intent}' cannot be used", f"{text!r}: {error}", "a text with {name} variables"
        ) from error
    for name in names:
        if not name.isidentifier():  # {a.b} and {a[0]} could reach into objects
            raise ConfigError(f"The reply '{intent}' cannot be used", f"'{{{name}}}' is not a plain name", "{days}")


def _names(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
