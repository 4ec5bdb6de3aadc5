"""mercat: business applications of pretrained language models, from your own data, on your own machine.

    import mercat

    with mercat.open("mercat.toml") as app:
        answer = app.ask("desk", text="my card has not arrived")

Names are loaded when they are first used, so `import mercat` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mercat.artifacts import Artifact as Artifact
    from mercat.artifacts import Artifacts as Artifacts
    from mercat.classifiers.base import Classifier as Classifier
    from mercat.classifiers.base import Prediction as Prediction
    from mercat.connect.base import Batch as Batch
    from mercat.connect.base import Message as Message
    from mercat.connect.base import Receipt as Receipt
    from mercat.connect.base import Sink as Sink
    from mercat.connect.base import Source as Source
    from mercat.encoders.base import Encoder as Encoder
    from mercat.errors import MercatError as MercatError
    from mercat.generators.base import Generated as Generated
    from mercat.generators.base import Generator as Generator
    from mercat.generators.base import Prompt as Prompt
    from mercat.heads.base import Head as Head
    from mercat.hooks import PLUGIN_API as PLUGIN_API
    from mercat.hooks import hookimpl as hookimpl
    from mercat.indexes.base import Index as Index
    from mercat.predictors.base import Estimate as Estimate
    from mercat.predictors.base import Labeller as Labeller
    from mercat.predictors.base import Match as Match
    from mercat.predictors.base import Matcher as Matcher
    from mercat.predictors.base import Regressor as Regressor
    from mercat.predictors.base import Scored as Scored
    from mercat.predictors.base import Span as Span
    from mercat.predictors.base import Tagger as Tagger
    from mercat.registry import Opened as Opened
    from mercat.registry import Registry as Registry
    from mercat.retrieval.base import Reranker as Reranker
    from mercat.retrieval.base import Retriever as Retriever
    from mercat.services import Service as Service
    from mercat.store import Store as Store
    from mercat.training.base import Recipe as Recipe
    from mercat.values import Answer as Answer
    from mercat.values import Document as Document
    from mercat.values import Event as Event
    from mercat.values import Example as Example
    from mercat.values import Finding as Finding
    from mercat.values import Hit as Hit
    from mercat.values import Interaction as Interaction
    from mercat.values import Objection as Objection
    from mercat.values import Passage as Passage
    from mercat.values import Request as Request
    from mercat.values import TextRequest as TextRequest
    from mercat.workspace import Workspace as Workspace

__version__ = "0.1.0"

_WHERE = {
    "Artifact": "artifacts",
    "Artifacts": "artifacts",
    "Classifier": "classifiers.base",
    "Prediction": "classifiers.base",
    "Batch": "connect.base",
    "Message": "connect.base",
    "Receipt": "connect.base",
    "Sink": "connect.base",
    "Source": "connect.base",
    "Encoder": "encoders.base",
    "MercatError": "errors",
    "Generated": "generators.base",
    "Generator": "generators.base",
    "Prompt": "generators.base",
    "Head": "heads.base",
    "PLUGIN_API": "hooks",
    "hookimpl": "hooks",
    "Index": "indexes.base",
    "Estimate": "predictors.base",
    "Labeller": "predictors.base",
    "Regressor": "predictors.base",
    "Scored": "predictors.base",
    "Match": "predictors.base",
    "Matcher": "predictors.base",
    "Span": "predictors.base",
    "Tagger": "predictors.base",
    "Opened": "registry",
    "Registry": "registry",
    "Reranker": "retrieval.base",
    "Retriever": "retrieval.base",
    "Service": "services",
    "Store": "store",
    "Recipe": "training.base",
    "Answer": "values",
    "Document": "values",
    "Event": "values",
    "Example": "values",
    "Finding": "values",
    "Hit": "values",
    "Interaction": "values",
    "Objection": "values",
    "Passage": "values",
    "Request": "values",
    "TextRequest": "values",
    "Workspace": "workspace",
}

__all__ = ["__version__", "open", *_WHERE]


def open(path: Any = "mercat.toml", *, overrides: Any = ()) -> Workspace:
    """Open a workspace by its configuration file; use it in a `with` block."""
    from mercat.workspace import Workspace

    return Workspace.open(path, overrides=overrides)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'mercat' has no attribute '{name}'")
    return getattr(import_module(f"mercat.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
