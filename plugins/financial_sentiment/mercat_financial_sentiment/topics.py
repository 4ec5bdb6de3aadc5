"""Which topics a text is about: a table of names, longest match first, whole words in Latin script.

[tidewater-energy]
title = { en = "Tidewater Energy", zh = "潮汐能源" }
names = ["Tidewater Energy", "潮汐能源"]
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mercat.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Topic:
    """Something that is watched."""

    id: str
    titles: Mapping[str, str]
    names: tuple[str, ...]
    description: str = ""


class Topics:
    """The topics of one monitor."""

    def __init__(self, topics: Mapping[str, Topic]) -> None:
        self._topics = dict(topics)
        self._by_name = {name.casefold(): topic.id for topic in topics.values() for name in topic.names}
        ordered = sorted(self._by_name, key=len, reverse=True)
        self._pattern = re.compile("|".join(_bounded(name) for name in ordered) or r"(?!)", re.IGNORECASE)

    @classmethod
    def read(cls, path: Path) -> Topics:
        """Read a TOML file. Raises ConfigError for a topic without names, or a name that two topics share."""
        if not path.is_file():
            raise ConfigError(f"The topics {path} cannot be read", "The file is not there", 'topics = "topics.toml"')
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"The topics {path} cannot be read", str(error), f"an editor on {path}") from error
        topics = {key: _topic(key, body) for key, body in data.items()}
        owners: dict[str, str] = {}
        for topic in topics.values():
            for name in topic.names:
                if (other := owners.setdefault(name.casefold(), topic.id)) != topic.id:
                    raise ConfigError(
                        f"The name '{name}' stands for two topics", f"{other} and {topic.id}", "a longer name"
                    )
        return cls(topics)

    def find(self, text: str) -> list[str]:
        """Return the ids of the topics named in a text, in order of appearance, each once."""
        found = (self._by_name[match.group().casefold()] for match in self._pattern.finditer(text))
        return list(dict.fromkeys(found))

    def ids(self) -> list[str]:
        return list(self._topics)

    def title(self, topic: str, locale: str = "en") -> str:
        """Return what to call a topic in a language."""
        if topic not in self._topics:
            return topic
        titles = self._topics[topic].titles
        return titles.get(locale) or titles.get("en") or topic


def _topic(key: str, body: object) -> Topic:
    if not isinstance(body, dict) or not body.get("names"):
        raise ConfigError(f"The topic '{key}' cannot be used", "It has no names", f'[{key}] with names = ["…"]')
    titles = body.get("title", key)
    titles = {"en": titles} if isinstance(titles, str) else dict(titles)
    return Topic(key, titles, tuple(str(name) for name in body["names"]), str(body.get("description", "")))


def _bounded(name: str) -> str:
    """A name in Latin script matches whole words only; Chinese has no spaces to go by."""
    escaped = re.escape(name)
    left = r"(?<![^\W_])" if name[0].isascii() and name[0].isalnum() else ""
    right = r"(?![^\W_])" if name[-1].isascii() and name[-1].isalnum() else ""
    return f"{left}{escaped}{right}"
