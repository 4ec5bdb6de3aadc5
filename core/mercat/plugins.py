"""Find plugins, load the enabled ones one by one, isolate what is broken, and report.

A plugin is an entry point of the group `mercat`. Installed plugins are listed; only those that the config names are
imported. One that fails becomes a row with its distribution, version and cause; everything else goes on working.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from mercat.errors import MercatError, PluginError, UnknownName, unknown_name
from mercat.hooks import PLUGIN_API, Hooks
from mercat.registry import Opened, Provider, Registry
from mercat.values import Answer, Event, Finding, Objection, Request

GROUP = "mercat"
EXTRAS = {
    "customer-service": "customer-service",
    "financial-sentiment": "financial-sentiment",
    "recommendation": "recommendation",
    "files": "connectors",
    "feeds": "connectors",
    "helpdesk": "connectors",
}
"""The extra of `mercat` that installs a plugin. Nobody is told to install a name that is not here: it may be a typo,
and somebody else's package."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PluginRow:
    """One line of `mercat plugins`. `state` is "listed", "on" or "off".

    `cause` says why a plugin is off, `cure` what to type. Where several distributions have a plugin
    of one name, `distribution` and `version` list them all.
    """

    name: str
    distribution: str
    version: str
    state: str = "listed"
    cause: str = ""
    summary: str = ""
    cure: str = ""


def discover() -> dict[str, EntryPoint]:
    """Return the installed plugins by name without importing any of them; of a repeated name, one."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def repeated(group: str = GROUP) -> dict[str, list[EntryPoint]]:
    """Return the names that more than one entry point of a group has. Which of them is meant nobody can say."""
    named: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        named.setdefault(point.name, []).append(point)
    return {name: points for name, points in named.items() if len(points) > 1}


def repeated_name(what: str, name: str, points: Iterable[EntryPoint]) -> PluginError:
    """Build the error for a name that several entry points have: it names every distribution and version."""
    providers = _providers(points)
    found = "It is installed by " + " and by ".join(f"{each} {version}".strip() for each, version in providers)
    cure = "pip uninstall one of " + ", ".join(each for each, _ in providers)
    return PluginError(f"More than one {what} is named '{name}'", found, cure)


def not_installed(name: str, installed: Iterable[str]) -> UnknownName:
    """Build the error for a plugin that is not installed; the cure is a package only where mercat knows it."""
    cure = f'pip install "mercat[{EXTRAS[name]}]"' if name in EXTRAS else "mercat plugins"
    return unknown_name("installed plugin", name, installed, next=cure)


class Plugins:
    """The plugins of one workspace."""

    def __init__(self, registry: Registry, *, installed: dict[str, EntryPoint] | None = None) -> None:
        self._registry = registry
        self._installed = discover() if installed is None else installed
        self._manager = pluggy.PluginManager("mercat")
        self._manager.add_hookspecs(Hooks)
        self._rows = {name: _row(point) for name, point in self._installed.items()}
        for name, points in (repeated() if installed is None else {}).items():
            distributions, versions = zip(*_providers(points), strict=True)
            row = PluginRow(name, ", ".join(distributions), ", ".join(versions))
            self._off(row, repeated_name("plugin", name, points))

    def enable(self, names: Iterable[str]) -> None:
        """Import and register the named plugins. A failure turns that plugin off and is kept; nothing is raised."""
        for name in dict.fromkeys(names):
            if name not in self._installed:
                self._off(PluginRow(name, "", ""), not_installed(name, self._installed))
            elif self._rows[name].state == "listed":
                self._enable(self._installed[name])
            if (row := self._rows[name]).state == "off":
                log.warning("Plugin %s is off: %s", row.name, row.cause)

    def rows(self) -> list[PluginRow]:
        """Return a row per installed or configured plugin."""
        return [self._rows[name] for name in sorted(self._rows)]

    def review(self, request: Request, answer: Answer, *, by: Iterable[str]) -> list[Objection]:
        """Ask the named plugins for objections. A plugin that raises, or that is off, objects: fail closed."""
        objections: list[Objection] = []
        wanted = set(by)
        for name in sorted(wanted):
            row = self._rows.get(name)
            if row is None or row.state != "on":
                objections.append(Objection(f"The reviewing plugin '{name}' is not on", name))
        for plugin, call in self._implementations("mercat_review"):
            if plugin not in wanted:
                continue
            try:
                for objection in call(request=request, answer=answer) or ():
                    objections.append(replace(objection, plugin=plugin))
            except Exception as error:
                log.exception("mercat_review of plugin %s raised", plugin)
                objections.append(Objection(f"The review raised {type(error).__name__}: {error}", plugin))
        return objections

    def observe(self, event: Event) -> None:
        """Tell every plugin what happened; one that raises is logged."""
        for plugin, call in self._implementations("mercat_observe"):
            try:
                call(event=event)
            except Exception:
                log.exception("mercat_observe of plugin %s raised", plugin)

    def doctor(self, opened: Opened) -> list[Finding]:
        """Collect every plugin's findings; one that raises becomes a finding."""
        findings: list[Finding] = []
        for plugin, call in self._implementations("mercat_doctor"):
            try:
                findings += [replace(finding, plugin=plugin) for finding in call(opened=opened) or ()]
            except Exception as error:
                findings.append(Finding("error", plugin, f"Its doctor raised {error!r}", "report it", plugin))
        return findings

    def _enable(self, point: EntryPoint) -> None:
        row = self._rows[point.name]
        provider = Provider(point.name, row.distribution, row.version)
        module: Any = None
        try:
            module = importlib.import_module(point.module)
            self._check_api(point.name, module)
            self._manager.register(module, name=point.name)
            self._manager.check_pending()
            for plugin, call in self._implementations("mercat_register"):
                if plugin == point.name:
                    call(registry=self._registry.acting_as(provider))
        except (Exception, SystemExit) as error:
            if module is not None and self._manager.has_plugin(point.name):
                self._manager.unregister(name=point.name)
            self._registry.forget(provider)
            self._off(row, error)
        else:
            self._rows[point.name] = replace(row, state="on")

    def _check_api(self, name: str, module: Any) -> None:
        wanted = getattr(module, "PLUGIN_API", PLUGIN_API)
        if wanted != PLUGIN_API:
            raise PluginError(
                f"Plugin '{name}' is written for PLUGIN_API {wanted}",
                f"This mercat has PLUGIN_API {PLUGIN_API}",
                "pip install --upgrade mercat and the plugin together",
            )

    def _off(self, row: PluginRow, error: BaseException) -> None:
        cause = _cause(error)
        cure = error.next if isinstance(error, MercatError) else f"pip install --upgrade {row.distribution}"
        self._rows[row.name] = replace(row, state="off", cause=cause, cure=cure)
        self._registry.fail(row.name, cause, cure=cure, installed=bool(row.distribution))

    def _implementations(self, hook: str) -> Iterator[tuple[str, Callable[..., Any]]]:
        """Yield (plugin, call) for one hook: pluggy itself would stop at the first exception."""
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            yield implementation.plugin_name, _partial(implementation.function, implementation.argnames)


def _partial(function: Callable[..., Any], names: Iterable[str]) -> Callable[..., Any]:
    wanted = tuple(names)
    return lambda **arguments: function(**{name: arguments[name] for name in wanted})


def _cause(error: BaseException) -> str:
    if isinstance(error, MercatError):
        told = str(error)
        return told.rpartition(" Try: ")[0] or told  # the cure is told once, by who shows the cause
    return " ".join(f"{type(error).__name__}: {error}".split())


def _providers(points: Iterable[EntryPoint]) -> list[tuple[str, str]]:
    """Return (distribution, version) of each, once."""
    return sorted({(row.distribution, row.version) for row in map(_row, points)})


def _row(point: EntryPoint) -> PluginRow:
    distribution = point.dist
    if distribution is None:
        return PluginRow(point.name, "unknown", "")
    return PluginRow(
        point.name, distribution.name, distribution.version, summary=distribution.metadata["Summary"] or ""
    )
