"""What every plugin and every service keeps. Inherit, fill in the attributes, and pytest runs the checks."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from mercat.errors import MissingExtra
from mercat.parts import register_core
from mercat.plugins import Plugins, discover
from mercat.registry import Registry
from mercat.services import answer_type, request_type
from mercat.testing.contract import Contract
from mercat.values import Answer, Request

HEAVY = ("torch", "transformers", "faiss", "sqlmodel", "httpx", "fastapi", "sklearn", "pandas")


class PluginContract(Contract):
    """Set `plugin` to the entry-point name. The plugin must be installed."""

    plugin: ClassVar[str]

    @pytest.fixture
    def registry(self) -> Registry:
        registry = Registry()
        register_core(registry)
        plugins = Plugins(registry)
        plugins.enable([self.plugin])
        (row,) = (row for row in plugins.rows() if row.name == self.plugin)
        assert row.state == "on", row.cause
        return registry

    def test_it_is_installed_and_can_be_enabled(self, registry: Registry) -> None:
        point = discover()[self.plugin]
        assert point.dist is not None
        assert point.dist.version

    def test_it_adds_at_least_one_part(self, registry: Registry) -> None:
        assert self._parts(registry), "mercat_register adds nothing"

    def test_its_parts_have_summaries(self, registry: Registry) -> None:
        bare = [part.name for part in self._parts(registry) if not part.summary]
        assert not bare, f"no summary: {bare}"

    def test_its_parts_load(self, registry: Registry) -> None:
        missing = []
        for part in self._parts(registry):
            try:
                assert callable(part.load()), part.name
            except MissingExtra as error:
                missing.append(str(error))
        if missing:
            pytest.skip("; ".join(missing))

    def test_importing_it_loads_nothing_heavy(self) -> None:
        module = discover()[self.plugin].module
        code = f"import {module}, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
        assert run.stdout.strip() == "[]", f"importing {module} loads {run.stdout.strip()}"

    def _parts(self, registry: Registry) -> list[Any]:
        kinds = registry.kinds()
        return [part for kind in kinds for part in registry.kind(kind).parts() if part.provider.name == self.plugin]


class ServiceContract(Contract):
    """Set `requests` to at least two different requests and `make` to build the service."""

    requests: ClassVar[Sequence[Request]]

    @abstractmethod
    def make(self) -> Any:
        """Return a service, ready to answer."""

    @pytest.fixture
    def service(self) -> Any:
        return self.make()

    def test_it_says_its_types(self, service: Any) -> None:
        assert all(isinstance(request, request_type(service)) for request in self.requests)
        assert issubclass(answer_type(service), Answer)

    def test_one_answer_per_request_in_order(self, service: Any) -> None:
        answers = service.answer_many(self.requests)
        assert len(answers) == len(self.requests)
        alone = [self.make().answer(request) for request in self.requests]
        assert [answer.value for answer in answers] == [answer.value for answer in alone]

    def test_no_requests_no_answers(self, service: Any) -> None:
        assert service.answer_many([]) == []

    def test_answers_are_what_they_promise(self, service: Any) -> None:
        for answer in service.answer_many(self.requests):
            assert isinstance(answer, answer_type(service))
            assert 0.0 <= answer.confidence <= 1.0
            assert isinstance(answer.abstained, bool)
            assert answer.value is not None or answer.abstained, "no value and no abstention"

    def test_answers_are_plain_data(self, service: Any) -> None:
        for answer in service.answer_many(self.requests):
            assert json.dumps(dataclasses.asdict(answer), default=str)
