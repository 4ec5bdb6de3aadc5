"""The language of a page, and its texts: one JSON catalogue per package and language, such as `messages/zh.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from fastapi import Request

LANGUAGES = {"en": "English", "zh": "中文"}
LANGUAGE_COOKIE = "mercat_language"
CORE = "mercat.web"

Translate = Callable[..., str]
"""t(key, **values): the text of a key in the page's language, English where it is missing there, else the key."""


def language_of(request: Request) -> str:
    """Return the language chosen by cookie, else the first known one of Accept-Language, else English."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    for code in _accepted(request.headers.get("accept-language", "")):
        if code in LANGUAGES:
            return code
    return "en"


def translator(package: str, language: str) -> Translate:
    """Return `t` for the texts of a package, with those of the core behind them."""
    shelves = [_messages(name, code) for code in (language, "en") for name in (package, CORE)]

    def t(key: str, **values: Any) -> str:
        text = next((shelf[key] for shelf in shelves if key in shelf), key)
        return text.format(**values) if values else text

    return t


@lru_cache(maxsize=64)
def _messages(package: str, language: str) -> Mapping[str, str]:
    path = resources.files(package) / "messages" / f"{language}.json"
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _accepted(header: str) -> list[str]:
    """Return primary language codes in order of preference, as in RFC 9110 section 12.5.4."""
    weighted: list[tuple[float, int, str]] = []
    for position, item in enumerate(header.split(",")[:20]):
        code, _, weight = item.strip().partition(";q=")
        try:
            quality = float(weight or 1)
        except ValueError:
            quality = 0.0
        if quality > 0:
            weighted.append((-quality, position, code.partition("-")[0].lower()))
    return [code for _, _, code in sorted(weighted)]
