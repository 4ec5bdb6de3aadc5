"""The one stateful object: builds parts once, wires them by name, asks services, closes what it opened."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from mercat.artifacts import Artifacts
from mercat.config import Config, Section
from mercat.errors import ConfigError
from mercat.parts import register_core
from mercat.plugins import Plugins
from mercat.registry import Part, Registry
from mercat.retrieval.serving import Pair, Serving
from mercat.services import HandsOver, request_type
from mercat.signatures import bind, check, dependencies, request_from
from mercat.store import Store
from mercat.values import Answer, Event, Objection, Request

Clock = Callable[[], datetime]
_ADDED_LATER = ("encoders", "indexes")


def utc_now() -> datetime:
    """The default clock."""
    return datetime.now(UTC)


class Workspace:
    """An opened configuration.

    `get(kind, name)` builds the part that `[kind.name]` describes, once, and shares it: three services that name the
    encoder `default` share one set of weights. Two workspaces in one process do not see each other.
    """

    def __init__(self, config: Config, *, clock: Clock = utc_now) -> None:
        self.config, self.clock = config, clock
        self.folder: Path = config.workspace
        self.registry = Registry()
        register_core(self.registry)
        self.plugins = Plugins(self.registry)
        self.plugins.enable(name for name in config.plugins if self._may_be_plugin(name))
        self.artifacts = Artifacts(self.folder / "artifacts", clock=clock)
        self._lock = threading.RLock()
        self._built: dict[tuple[str, str], Any] = {}
        self._building: list[tuple[str, str]] = []
        self._store: Store | None = None
        self._read_again: Callable[[], Config] = lambda: config

    @classmethod
    def open(
        cls, path: str | Path = "mercat.toml", *, overrides: Iterable[str] = (), clock: Clock = utc_now
    ) -> Workspace:
        """Open a configuration file. Cheap: no model is loaded and no database touched until a part needs it."""
        given = list(overrides)
        opened = cls(Config.read(path, overrides=given), clock=clock)
        opened._read_again = lambda: Config.read(path, overrides=given)
        return opened

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def store(self) -> Store:
        """The store. A new one is set up at once; one that is behind the code is refused with the cure."""
        with self._lock:
            if self._store is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._store = Store.open(self.config.store_url, tables=self.registry.tables.sets, clock=self.clock)
            return self._store

    def get(self, kind: str, name: str) -> Any:
        """Return the part of section `[kind.name]`, built once and shared.

        Raises ConfigError for a section that needs itself.
        """
        key = (kind, name)
        with self._lock:
            if key not in self._built:
                if key in self._building:
                    circle = " → ".join(f"[{k}.{n}]" for k, n in [*self._building, key])
                    raise ConfigError(f"[{kind}.{name}] needs itself", circle, "another section for one of them")
                self._building.append(key)
                try:
                    self._built[key] = self.build(self._section(kind, name))
                finally:
                    self._building.pop()
            return self._built[key]

    def built(self, kind: str, name: str) -> Any:
        """Return the part if it has been built already, else None."""
        return self._built.get((kind, name))

    def build(self, section: Section) -> Any:
        """Build a new part from a section; `get` is what shares it."""
        factory = self.part(section).load()
        given = _Given(self, section)
        built = bind(factory, section, registry=self.registry, build=self.get, given=given, folder=self.config.folder)
        if section.kind != "encoders":
            return built
        from mercat.encoders.cache import Cached

        return built if isinstance(built, Cached) else Cached(built)

    def _section(self, kind: str, name: str) -> Section:
        """Return a section; an index "NAME@ENCODER" is one like NAME, in a place of its own.

        Encoders and indexes that came into the file after it was opened are found there: a running server takes up a
        switch to them.
        """
        named = name.partition("@")[0] if kind == "indexes" and name not in self.config.sections(kind) else name
        later = kind in _ADDED_LATER and named not in self.config.sections(kind)
        section = (self._read_again() if later else self.config).section(kind, named)
        return section if named == name else dataclasses.replace(section, name=name)

    def part(self, section: Section) -> Part:
        """Return the registered part that a section uses."""
        return self.registry.kind(section.kind).get(section.use)

    def check(self, kind: str, name: str) -> None:
        """Check a section without building it: its part loads, its keys fit, the sections that it names are there."""
        section = self.config.section(kind, name)
        factory = self.part(section).load()
        check(factory, section, registry=self.registry, given=_Given(self, section))
        for other_kind, other in dependencies(factory, section, self.registry):
            self.config.section(other_kind, other)

    def ask(self, service: str, /, **fields: Any) -> Any:
        """Ask a service by keyword: `app.ask("desk", text="…")`.

        Raises UnknownKey for a field that it does not take, DataError for a value that does not fit or is lacking.
        """
        wanted = request_type(self.get("services", service))
        return self.answer_many(service, [request_from(wanted, fields, service=service)])[0]

    def answer_many(self, service: str, requests: Sequence[Request]) -> list[Answer]:
        """Answer a batch: service, then review by plugins, then observation.

        An answer that a plugin objects to is withheld: the objections are stored, and the asker gets what the service's
        `hand_over` says, or an abstention with the reasons.
        """
        part = self.get("services", service)
        asked = [request if request.id else dataclasses.replace(request, id=uuid.uuid4().hex) for request in requests]
        answers = [
            self._reviewed(service, part, request, answer)
            for request, answer in zip(asked, part.answer_many(asked), strict=True)
        ]
        for request, answer in zip(asked, answers, strict=True):
            data = {
                "service": service,
                "request": request.id,
                "abstained": answer.abstained,
                "confidence": answer.confidence,
            }
            self.plugins.observe(Event("answered", self.clock(), data))
        return answers

    def close(self) -> None:
        """Close every part that can be closed, last built first, then the store. May be called twice.

        One that cannot be closed keeps nothing else open; its exception is raised at the end.
        """
        with self._lock, ExitStack() as closings:
            if self._store is not None:
                closings.callback(self._store.close)
            for part in self._built.values():
                if callable(closing := getattr(part, "close", None)):
                    closings.callback(closing)
            self._built.clear()
            self._store = None

    def _reviewed(self, name: str, service: Any, request: Request, answer: Answer) -> Answer:
        section = self.config.section("services", name)
        reviewers = [*section.flow.get("review", [])]
        provider = self.part(section).provider
        if not provider.is_core:
            reviewers.append(provider.name)
        objections = self.plugins.review(request, answer, by=reviewers)
        if not objections:
            return answer
        self.store.object(name, request, answer, objections)
        if isinstance(service, HandsOver):
            return service.hand_over(request, answer, objections)
        return _withheld(answer, objections)

    def _may_be_plugin(self, name: str) -> bool:
        core = {part.name for kind in self.registry.kinds() for part in self.registry.kind(kind).parts()}
        return name not in core


class _Given(dict[Any, Any]):
    """What a factory is handed by the name or the type of a parameter."""

    def __init__(self, workspace: Workspace, section: Section) -> None:
        super().__init__(
            {
                Artifacts: workspace.artifacts,
                "workspace_folder": workspace.folder,
                "section_name": section.name,
                "config_folder": workspace.config.folder,
                "clock": workspace.clock,
                Serving: Serving(workspace.get, workspace.folder, section.name, _configured(section)),
                Store: None,
            }
        )
        self._workspace = workspace

    def __getitem__(self, key: Any) -> Any:
        return self._workspace.store if key is Store else super().__getitem__(key)


def _configured(section: Section) -> Pair:
    """Return the encoder and the index that a section names."""
    return Pair(*(str(section.parameters.get(name, "")) for name in ("encoder", "index")))


def _withheld(answer: Answer, objections: Sequence[Objection]) -> Answer:
    reasons = tuple(f"withheld: {objection.reason}" for objection in objections)
    try:  # the same type, none of its contents
        return type(answer)(None, 0.0, abstained=True, reasons=reasons)
    except TypeError:
        return Answer(None, 0.0, abstained=True, reasons=reasons)
