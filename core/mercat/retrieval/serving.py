"""Which encoder and which index a retriever answers with: those of its section, or what a switch put in their place.

A switch is one small file per retriever, replaced in one step, so that a kill leaves the old pair or the new one.
Encoder and index are switched together: a question is never encoded by one and searched in vectors of another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mercat.artifacts.files import write_durably
from mercat.encoders.base import Encoder
from mercat.errors import ArtifactError, ConfigError, MercatError, UnknownName
from mercat.indexes.base import IndexFactory
from mercat.indexes.storage import writing

SCHEMA = 1
FILE = "serving.json"


@dataclass(frozen=True, slots=True)
class Pair:
    """The sections of an encoder and of an index that belong together."""

    encoder: str
    index: str

    def __str__(self) -> str:
        return f"encoder '{self.encoder}' and index '{self.index}'"


@dataclass(frozen=True, slots=True)
class Record:
    """What was switched to last, what answered before it (the latest last), and what the section said then."""

    now: Pair
    before: tuple[Pair, ...]
    configured: Pair


class Serving:
    """What one retriever of a workspace answers with.

    `get` returns the part of a kind and a section, `configured` is what the section of the retriever names. A switch
    holds while the section says what it said then: whoever names another index there has the last word.
    """

    def __init__(self, get: Callable[[str, str], Any], folder: Path, name: str, configured: Pair) -> None:
        self._get, self._folder, self.name, self.configured = get, folder, name, configured

    @property
    def path(self) -> Path:
        """The file of the record."""
        return self._folder / "retrievers" / self.name / FILE

    def now(self) -> Pair:
        """Return the pair that answers. Raises ArtifactError for a record that cannot be read."""
        record = self.record()
        return record.now if record else self.configured

    def record(self) -> Record | None:
        """Return the switch that holds; None for none, or if the section has been changed since."""
        try:
            read = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._unreadable(str(error)) from error
        try:
            if read["schema"] != SCHEMA:
                raise self._unreadable(f"it has schema {read['schema']}, this version reads {SCHEMA}")
            before = tuple(_pair(each) for each in read["before"])
            found = Record(_pair(read["now"]), before, _pair(read["configured"]))
        except (KeyError, TypeError) as error:
            raise self._unreadable(f"it lacks {error}") from error
        return found if found.configured == self.configured else None

    def parts(self, pair: Pair) -> tuple[Encoder, IndexFactory]:
        """Return the encoder and the index of a pair. Raises UnknownName for a section that is not there."""
        return self._get("encoders", pair.encoder), self._get("indexes", pair.index)

    def parts_now(self) -> tuple[Encoder, IndexFactory]:
        """Return those of the pair that answers. Raises ConfigError if it was switched to what is gone."""
        pair = self.now()
        try:
            return self.parts(pair)
        except UnknownName as error:
            if pair == self.configured:
                raise
            found = f"It was switched to {pair}: {error.asked}"
            cure = f"put the section back, or: mercat index back {self.name}"
            raise ConfigError(f"[retrievers.{self.name}] cannot answer", found, cure) from error

    def switch(self, to: Pair) -> Record:
        """Let another pair answer from now on, here and in every running server. Raises ConfigError if it does."""
        with self._alone():
            now, record = self.now(), self.record()
            if to == now:
                asked = f"[retrievers.{self.name}] is to answer with {to}"
                raise ConfigError(asked, "It does already", "mercat index info")
            return self._write(Record(to, (*(record.before if record else ()), now), self.configured))

    def back(self) -> Record:
        """Let the pair before the last switch answer again. Raises ConfigError if there was none."""
        with self._alone():
            record = self.record()
            if record is None or not record.before:
                asked = f"[retrievers.{self.name}] is to go back"
                raise ConfigError(asked, "Nothing was switched", f"mercat index move {self.name} INDEX --switch")
            return self._write(Record(record.before[-1], record.before[:-1], self.configured))

    def _write(self, record: Record) -> Record:
        write_durably(self.path, json.dumps({"schema": SCHEMA, **asdict(record)}, indent=2))
        return record

    def _alone(self) -> AbstractContextManager[None]:
        return writing(self.path.parent)

    def _unreadable(self, why: str) -> MercatError:
        asked = f"What [retrievers.{self.name}] answers with"
        return ArtifactError(asked, f"'{self.path}' cannot be read: {why}", "remove the file: the section counts then")


def _pair(read: Mapping[str, Any]) -> Pair:
    encoder, index = read["encoder"], read["index"]
    if not (isinstance(encoder, str) and isinstance(index, str)):
        raise TypeError("names")
    return Pair(encoder, index)
