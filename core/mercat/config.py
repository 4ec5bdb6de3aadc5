"""Read `mercat.toml`: sections, overrides, secrets, and where each value came from.

A section is `[kind.name]`; `use = "registry-name"` names the factory and every other key is one of its parameters.
`{ env = "NAME" }` is a secret: resolved when the part is built, never shown.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mercat.errors import ConfigError, MissingSecret, UnknownKey, unknown_name

FLOW_KEYS = {"sources": {"collection", "transforms", "every_s"}, "services": {"review"}, "recipes": {"update"}}
"""Keys of a section that are for mercat itself, not for the factory."""


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _table(value: Any) -> bool:
    return isinstance(value, dict)


def _url(value: Any) -> bool:
    return isinstance(value, str) or is_secret(value)


_Fits = tuple[str, Callable[[Any], bool], str]
TOP: dict[str, dict[str, _Fits]] = {
    "mercat": {
        "folder": ("the path of a folder", _text, '"workspace"'),
        "plugins": ("a list of names", _texts, '["customer-service"]'),
        "serve": ("a table", _table, "{ max_batch = 64 }"),
    },
    "store": {"url": ("a text or a secret", _url, '{ env = "DATABASE_URL" }')},
}
"""The tables that are no kinds of parts, with what each value must be: in words, as a check, by example."""
FLOW_VALUES: dict[str, _Fits] = {
    "collection": ("the name of a collection", _text, '"help"'),
    "transforms": ("a list of names", _texts, '["redact"]'),
    "every_s": ("a number of seconds above 0", _seconds, "300"),
    "review": ("a list of plugins", _texts, '["customer-service"]'),
    "update": ("a table", _table, "{ max_drop = 0.01 }"),
}


@dataclass(frozen=True, slots=True)
class Section:
    """One `[kind.name]`: what to use and with which parameters. `flow` holds the keys that mercat itself reads."""

    kind: str
    name: str
    use: str
    parameters: Mapping[str, Any]
    flow: Mapping[str, Any]

    @property
    def path(self) -> str:
        return f"[{self.kind}.{self.name}]"


@dataclass(frozen=True, slots=True)
class Value:
    """One line of `mercat config`."""

    key: str
    value: Any
    origin: str  # "mercat.toml", "--set", "environment NAME"


class Config:
    """A read configuration."""

    def __init__(
        self, data: Mapping[str, Any], *, folder: Path, origin: str = "mercat.toml", overrides: Iterable[str] = ()
    ) -> None:
        self.folder = folder
        self._data: dict[str, Any] = json.loads(json.dumps(data, default=str))
        self._origins = {key: origin for key, _ in _flatten(self._data)}
        for override in overrides:
            self._override(override)
        self._check()

    @classmethod
    def read(cls, path: str | Path, *, overrides: Iterable[str] = ()) -> Config:
        """Read a file. Raises ConfigError when it is missing, a folder or not TOML."""
        path = Path(path)
        if path.is_dir():
            cure = f"--config {path / 'mercat.toml'}"
            raise ConfigError(f"No configuration at {path}", "It is a folder", cure)
        if not path.is_file():
            raise ConfigError(f"No configuration at {path}", "The file is not there", "mercat init")
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read as TOML", str(error), f"an editor on {path}") from error
        return cls(data, folder=path.resolve().parent, origin=path.name, overrides=overrides)

    @property
    def workspace(self) -> Path:
        """The folder of artifacts, indexes and the SQLite file: `folder` under `[mercat]`, relative to the config."""
        return (self.folder / str(self.get("mercat.folder", "workspace"))).resolve()

    @property
    def store_url(self) -> str:
        url = self.get("store.url", "")
        return str(resolve_secret(url, "store.url")) if url else f"sqlite:///{self.workspace / 'mercat.db'}"

    @property
    def plugins(self) -> list[str]:
        """The plugins that the config names: in `[mercat] plugins`, before the slash of a `use`, or in a `review`."""
        names = [str(name) for name in self.get("mercat.plugins", [])]
        for kind in self.kinds():
            for section in self.sections(kind).values():
                names.append(section.use.partition("/")[0])
                names += [str(name) for name in section.flow.get("review", [])]
        return list(dict.fromkeys(names))

    def kinds(self) -> list[str]:
        return [key for key, value in self._data.items() if key not in TOP and isinstance(value, dict)]

    def sections(self, kind: str) -> dict[str, Section]:
        """Return the sections of a kind by name, in the order of the file."""
        return {name: self.section(kind, name) for name in self._data.get(kind, {})}

    def section(self, kind: str, name: str) -> Section:
        """Return one section. Raises UnknownName with the nearest match.

        Raises ConfigError for a section without `use`.
        """
        sections = self._data.get(kind, {})
        if name not in sections:
            raise unknown_name(f"section in [{kind}]", name, sections, next=f"add [{kind}.{name}] to mercat.toml")
        body = dict(sections[name])
        use = body.pop("use", None)
        if not isinstance(use, str):
            raise ConfigError(
                f'[{kind}.{name}] needs use = "…"', f"It has {sorted(body) or 'no keys'}", "mercat plugins"
            )
        keys = FLOW_KEYS.get(kind, set())
        flow = {key: value for key, value in body.items() if key in keys}
        parameters = {key: value for key, value in body.items() if key not in keys}
        return Section(kind, name, use, parameters, flow)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value at a dotted key."""
        found: Any = self._data
        for step in key.split("."):
            if not isinstance(found, dict) or step not in found:
                return default
            found = found[step]
        return found

    def values(self) -> list[Value]:
        """Return every value with its origin; secrets are shown by the name of their variable only."""
        rows = []
        for key, value in _flatten(self._data):
            origin = self._origins.get(key, "mercat.toml")
            if is_secret(value):
                name = value["env"]
                state = "set" if name in os.environ else "not set"
                rows.append(Value(key, "***", f"environment {name} ({state})"))
            else:
                rows.append(Value(key, value, origin))
        return rows

    def _override(self, text: str) -> None:
        key, equals, raw = text.partition("=")
        steps = key.strip().split(".")
        if not equals or not all(steps):
            raise ConfigError(
                f"--set {text} cannot be read", "It has the form key.name=value", "--set encoders.default.device=cpu"
            )
        table = self._data
        for step in steps[:-1]:
            table = table.setdefault(step, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {text} cannot be read", f"'{step}' is a value, not a table", "mercat config")
        table[steps[-1]] = _parse(raw.strip())
        self._origins[key.strip()] = "--set"

    def _check(self) -> None:
        self._check_sections()
        for table, known in TOP.items():
            for key, value in self._data.get(table, {}).items():
                if key not in known:
                    near = difflib.get_close_matches(key, known, n=1)
                    found = f"Did you mean '{near[0]}'? " if near else ""
                    raise UnknownKey(
                        f"[{table}] has the key '{key}'", f"{found}It takes: {', '.join(known)}", "mercat config"
                    )
                _fit(f"[{table}] {key}", value, known[key])
        for kind, keys in FLOW_KEYS.items():
            for name, body in self._data.get(kind, {}).items():
                for key in keys & body.keys():
                    _fit(f"[{kind}.{name}] {key}", body[key], FLOW_VALUES[key])

    def _check_sections(self) -> None:
        for key, value in self._data.items():
            if not isinstance(value, dict):
                raise ConfigError(
                    f"'{key}' stands outside every table", "Values belong to a [kind.name]", "mercat config"
                )
        for kind in self.kinds():
            for name, body in self._data[kind].items():
                if not isinstance(body, dict):
                    raise ConfigError(
                        f"[{kind}] has the value '{name}'", "Its parts are tables", f'[{kind}.{name}] with use = "…"'
                    )


def is_secret(value: Any) -> bool:
    """Say whether a value is `{ env = "NAME" }`."""
    return isinstance(value, Mapping) and set(value) == {"env"}


def resolve_secret(value: Any, where: str) -> Any:
    """Return the value behind `{ env = "NAME" }`, or the value itself.

    Raises MissingSecret for a variable that is not set.
    """
    if not is_secret(value):
        return value
    name = value["env"]
    if name not in os.environ:
        raise MissingSecret(f"{where} reads the environment variable {name}", "It is not set", f"export {name}=…")
    return os.environ[name]


def _fit(where: str, value: Any, wanted: _Fits) -> None:
    words, fits, example = wanted
    if not fits(value):
        said = json.dumps(value, ensure_ascii=False)
        raise ConfigError(f"{where} = {said}", f"It is {words}", f"{where.rpartition(' ')[2]} = {example}")


def _parse(raw: str) -> Any:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw


def _flatten(data: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in data.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and not is_secret(value):
            yield from _flatten(value, path + ".")
        else:
            yield path, value
