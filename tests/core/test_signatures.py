import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from mercat.config import Section
from mercat.encoders.base import Encoder
from mercat.errors import ConfigError, UnknownKey
from mercat.registry import Registry
from mercat.retrieval.base import Retriever
from mercat.services import Service
from mercat.signatures import bind, dependencies
from mercat.values import Answer, TextRequest


class Desk(Service[TextRequest, Answer]):
    def answer_many(self, requests: Sequence[TextRequest]) -> list[Answer]:
        return [Answer(request.text, 1.0) for request in requests]


class Watcher(Protocol):
    def watch(self) -> None: ...


@dataclass
class Built:
    values: dict[str, Any]


def factory(
    encoder: Encoder,
    *,
    k: int = 3,
    legs: Sequence[Retriever] = (),
    folder: Path | None = None,
    name: str = "",
    other: Encoder | None = None,
) -> Built:
    return Built({"encoder": encoder, "k": k, "legs": legs, "folder": folder, "name": name, "other": other})


def router(service: Desk) -> Built:
    return Built({"service": service})


def call(target: Any, parameters: dict[str, Any], given: dict[Any, Any] | None = None) -> dict[str, Any]:
    section = Section("things", "one", "thing", parameters, {})
    built = bind(target, section, registry=Registry(), build=lambda kind, name: f"{kind}:{name}", given=given or {})
    return built.values


def test_a_protocol_takes_the_name_of_a_section() -> None:
    values = call(factory, {"encoder": "default", "legs": ["a", "b"], "other": "second"})
    assert values["encoder"] == "encoders:default"
    assert values["legs"] == ["retrievers:a", "retrievers:b"]
    assert values["other"] == "encoders:second"


def test_a_service_is_handed_to_a_router_by_its_class() -> None:
    assert call(router, {"service": "desk"}) == {"service": "services:desk"}


def test_values_are_converted_by_their_annotation() -> None:
    values = call(factory, {"encoder": "e", "k": "7", "folder": "a/b"})
    assert (values["k"], values["folder"]) == (7, Path("a/b"))


def test_an_unknown_key_gives_the_nearest_and_the_known() -> None:
    with pytest.raises(UnknownKey, match=r"\[things\.one\] has the key 'encodr'.*Did you mean 'encoder'"):
        call(factory, {"encodr": "default"})


def timed(
    *, k: int = 3, monotonic: Callable[[], float] = time.monotonic, watchers: Sequence[Watcher] = (), encoder: Encoder
) -> Built:
    return Built({"k": k, "monotonic": monotonic, "watchers": watchers})


@pytest.mark.parametrize("key", ["monotonic", "watchers"])
def test_what_only_python_can_give_is_no_key(key: str) -> None:
    with pytest.raises(UnknownKey) as caught:
        call(timed, {"encoder": "default", key: "x"})
    assert caught.value.found == "It takes: encoder, k"
    assert call(timed, {"encoder": "default"})["monotonic"] is time.monotonic


def test_a_wrong_value_names_its_place() -> None:
    with pytest.raises(ConfigError, match=r"\[things\.one\] k = 'many' cannot be used"):
        call(factory, {"encoder": "e", "k": "many"})


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ConfigError, match=r"\[things\.one\] needs 'encoder'"):
        call(factory, {"k": 2})


def test_what_the_workspace_hands_in_is_not_a_key() -> None:
    assert call(factory, {"encoder": "e"}, {"name": "given"})["name"] == "given"
    with pytest.raises(UnknownKey):
        call(factory, {"encoder": "e", "name": "mine"}, {"name": "given"})


def test_dependencies_of_a_section() -> None:
    section = Section("things", "one", "thing", {"encoder": "default", "legs": ["a"], "k": 2}, {})
    assert dependencies(factory, section, Registry()) == [("encoders", "default"), ("retrievers", "a")]


def test_a_secret_reaches_the_factory_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME_OF_IT", "hidden")
    assert call(factory, {"encoder": "e", "name": {"env": "NAME_OF_IT"}})["name"] == "hidden"
