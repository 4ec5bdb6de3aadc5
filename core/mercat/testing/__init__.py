"""Contracts and doubles for plugin authors. A plugin's whole test file may be two classes that inherit from here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mercat.testing.classifiers import ClassifierContract as ClassifierContract
    from mercat.testing.connect import SinkContract as SinkContract
    from mercat.testing.connect import SourceContract as SourceContract
    from mercat.testing.doubles import FakeRetriever as FakeRetriever
    from mercat.testing.encoders import EncoderContract as EncoderContract
    from mercat.testing.flow import TaskContract as TaskContract
    from mercat.testing.flow import TransformContract as TransformContract
    from mercat.testing.generators import GeneratorContract as GeneratorContract
    from mercat.testing.heads import HeadContract as HeadContract
    from mercat.testing.indexes import IndexContract as IndexContract
    from mercat.testing.plugins import PluginContract as PluginContract
    from mercat.testing.plugins import ServiceContract as ServiceContract
    from mercat.testing.predictors import LabellerContract as LabellerContract
    from mercat.testing.predictors import MatcherContract as MatcherContract
    from mercat.testing.predictors import RegressorContract as RegressorContract
    from mercat.testing.predictors import RerankerContract as RerankerContract
    from mercat.testing.predictors import TaggerContract as TaggerContract
    from mercat.testing.retrieval import RetrieverContract as RetrieverContract
    from mercat.testing.store import TableSetContract as TableSetContract
    from mercat.testing.training import RecipeContract as RecipeContract

_WHERE = {
    "ClassifierContract": "classifiers",
    "EncoderContract": "encoders",
    "FakeRetriever": "doubles",
    "GeneratorContract": "generators",
    "HeadContract": "heads",
    "IndexContract": "indexes",
    "LabellerContract": "predictors",
    "MatcherContract": "predictors",
    "PluginContract": "plugins",
    "RecipeContract": "training",
    "RegressorContract": "predictors",
    "RerankerContract": "predictors",
    "RetrieverContract": "retrieval",
    "ServiceContract": "plugins",
    "SinkContract": "connect",
    "SourceContract": "connect",
    "TableSetContract": "store",
    "TaggerContract": "predictors",
    "TaskContract": "flow",
    "TransformContract": "flow",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'mercat.testing' has no attribute '{name}'")
    return getattr(import_module(f"mercat.testing.{_WHERE[name]}"), name)
