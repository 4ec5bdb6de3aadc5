"""The four hooks of mercat. Read them in one minute, implement those you need with `@hookimpl`.

| hook              | results combine by                          | if a plugin raises                    |
| ----------------- | ------------------------------------------- | ------------------------------------- |
| `mercat_register` | union; a duplicate name is an error         | that plugin is off, its error is kept |
| `mercat_review`   | any objection withholds the answer          | counts as an objection: fail closed   |
| `mercat_observe`  | ignored                                     | logged; the answer is untouched       |
| `mercat_doctor`   | union                                       | becomes a finding                     |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from mercat.registry import Opened, Registry
    from mercat.values import Answer, Event, Finding, Objection, Request

PLUGIN_API = 1
"""Changes only when a hook or protocol loses something. A plugin may state the one it was written for."""

hookspec = pluggy.HookspecMarker("mercat")
hookimpl = pluggy.HookimplMarker("mercat")


class Hooks:
    """The hookspecs."""

    @hookspec
    def mercat_register(self, registry: Registry) -> None:
        """Add named parts. Import nothing heavy: give "package.module:attribute" strings."""

    @hookspec
    def mercat_review(self, request: Request, answer: Answer) -> Iterable[Objection] | None:
        """Object to an answer before it leaves.

        Called for the services of the same plugin, and for those that list the plugin in `review = [...]`. Any
        objection withholds the answer; it is stored, and the request goes the hand-off way.
        """
        return None

    @hookspec
    def mercat_observe(self, event: Event) -> None:
        """Learn that something happened. Never the way data is processed."""

    @hookspec
    def mercat_doctor(self, opened: Opened) -> Iterable[Finding] | None:
        """Report what would stop this plugin here, and the cure."""
        return None
