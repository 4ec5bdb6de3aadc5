from importlib import import_module
from typing import Protocol

import pytest

from mercat.encoders.base import Encoder
from mercat.errors import MissingExtra, PluginError, UnknownName
from mercat.parts import CORE, register_core
from mercat.plugins import EXTRAS, Plugins
from mercat.registry import Provider, Registry, singular

ACME = Provider("acme", "mercat-acme", "1.2")


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_part_is_found_by_name_and_loaded_late(registry: Registry) -> None:
    registry.encoders.add("lazy", "json:dumps", summary="a stand-in")
    part = registry.encoders.get("lazy")
    assert part.summary == "a stand-in"
    assert part.load()({"a": 1}) == '{"a": 1}'


def test_an_unknown_name_lists_what_there_is(registry: Registry) -> None:
    registry.encoders.add("minilm", dict)
    with pytest.raises(UnknownName, match=r"No encoder named 'minilmm'\. Did you mean 'minilm'\? Known: minilm"):
        registry.encoders.get("minilmm")


def test_an_unknown_name_of_a_failed_plugin_tells_its_cause(registry: Registry) -> None:
    registry.fail("acme", "ValueError: broken on purpose")
    with pytest.raises(UnknownName, match="Its plugin 'acme' is off: ValueError: broken on purpose"):
        registry.services.get("acme/thing")


def test_a_slip_in_a_name_of_the_core_is_told_as_a_slip(registry: Registry) -> None:
    registry.encoders.add("transformer", dict)
    registry.fail("transfomer", "No installed plugin named 'transfomer'", cure="mercat plugins", installed=False)
    with pytest.raises(UnknownName) as caught:
        registry.encoders.get("transfomer")
    assert str(caught.value) == (
        "No encoder named 'transfomer'. Did you mean 'transformer'? Known: transformer. Try: mercat plugins"
    )


def test_a_name_of_a_plugin_that_is_off_has_one_cure_that_of_the_plugin(registry: Registry) -> None:
    registry.fail("acme", "ValueError: broken on purpose.", cure="pip install --upgrade mercat-acme")
    with pytest.raises(UnknownName) as caught:
        registry.indexes.get("acme/thing")
    assert str(caught.value) == (
        "No index named 'acme/thing'. Known: none. Its plugin 'acme' is off: ValueError: broken on purpose. "
        "Try: pip install --upgrade mercat-acme"
    )


def test_every_kind_has_a_protocol_that_is_there(registry: Registry) -> None:
    for kind, path in registry.kinds().items():
        if path:  # a router is a function's result; whose, is said by what it returns
            module, _, name = path.partition(":")
            protocol = getattr(import_module(module), name)
            assert registry.kind_of(protocol) == kind
    assert [kind for kind, path in registry.kinds().items() if not path] == ["routers"]


def test_every_kind_has_a_part_in_the_core_or_in_an_own_distribution(registry: Registry) -> None:
    register_core(registry)
    plugins = Plugins(registry)
    plugins.enable(EXTRAS)
    assert [kind for kind in registry.kinds() if not registry.kind(kind).names()] == []


@pytest.mark.parametrize("kind", Registry().kinds())
def test_every_kind_has_a_word_for_one(kind: str) -> None:
    words = {"classifiers": "classifier", "indexes": "index", "services": "service", "tasks": "task"}
    assert singular(kind) == words.get(kind, kind[:-1])


def test_a_duplicate_names_both_distributions(registry: Registry) -> None:
    registry.acting_as(ACME).services.add("acme", dict)
    with pytest.raises(PluginError, match=r"mercat-acme.*mercat-acme 1\.2 has added it already"):
        registry.acting_as(ACME).services.add("acme", dict)


@pytest.mark.parametrize("name", ["other", "acme2/thing", "acmething"])
def test_a_plugin_may_only_use_its_own_names(registry: Registry, name: str) -> None:
    with pytest.raises(PluginError, match="A plugin's names are 'acme' or start with 'acme/'"):
        registry.acting_as(ACME).services.add(name, dict)


def test_the_core_uses_bare_names(registry: Registry) -> None:
    register_core(registry)
    assert sum(map(len, CORE.values())) == sum(len(registry.kind(kind).names()) for kind in registry.kinds())


@pytest.mark.parametrize(("kind", "name"), [(kind, part[0]) for kind, parts in CORE.items() for part in parts])
def test_every_part_of_the_core_can_be_loaded(registry: Registry, kind: str, name: str) -> None:
    register_core(registry)
    try:
        assert callable(registry.kind(kind).get(name).load())
    except MissingExtra as error:
        pytest.skip(str(error))


def test_a_missing_package_names_the_extra(registry: Registry) -> None:
    registry.indexes.add("other", "mercat_absent_package:Thing")
    with pytest.raises(PluginError):
        registry.indexes.get("other").load()


def test_a_plugin_opens_a_kind_of_its_own(registry: Registry) -> None:
    class Detector(Protocol): ...

    registry.acting_as(ACME).kind("acme/detectors", protocol=Detector).add("acme/cusum", dict)
    assert registry.kind("acme/detectors").names() == ["acme/cusum"]
    assert registry.kind_of(Detector) == "acme/detectors"
    with pytest.raises(UnknownName):
        registry.kind("acme/other")


def test_a_protocol_leads_to_its_kind(registry: Registry) -> None:
    assert registry.kind_of(Encoder) == "encoders"
    assert registry.kind_of(dict) is None


def test_forget_takes_back_all_parts_of_one_plugin(registry: Registry) -> None:
    view = registry.acting_as(ACME)
    view.services.add("acme", dict)
    view.tables.add("acme", "acme.tables:metadata", migrations="acme.migrations")
    registry.encoders.add("hashing", dict)
    registry.forget(ACME)
    assert registry.services.names() == []
    assert registry.tables.sets == []
    assert registry.encoders.names() == ["hashing"]


def test_two_registries_do_not_see_each_other() -> None:
    first, second = Registry(), Registry()
    first.encoders.add("one", dict)
    assert second.encoders.names() == []
