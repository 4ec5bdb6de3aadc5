"""The losses that an encoder can learn pairs and groups by: mercat's own, and those of sentence-transformers.

The library computes its losses, so the numbers are the library's. It is imported when such a loss is asked for, not
before: that takes seconds.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch

from mercat.errors import ConfigError, DataError, missing_extra
from mercat.values import Example

Loss = Literal[
    "grouped",
    "multiple-negatives",
    "multiple-negatives-symmetric",
    "triplet",
    "batch-hard-triplet",
    "batch-hard-soft-margin-triplet",
    "batch-semi-hard-triplet",
    "batch-all-triplet",
    "cosent",
    "angle",
    "cosine",
    "contrastive",
    "online-contrastive",
]
Needs = Literal["groups", "pairs", "labels", "numbers", "answers"]
Computed = Callable[[Sequence[torch.Tensor], torch.Tensor | None], torch.Tensor]
"""Returns the loss of columns of vectors, each of shape (rows, dimensions), and of what is known of each row."""

_LIBRARY = "sentence_transformers"
_ROWS: Mapping[Needs, str] = {
    "groups": "pairs of texts or labelled rows",
    "pairs": "pairs of texts that belong together",
    "labels": "labelled rows of one text each",
    "numbers": "pairs of texts with a number as label, which says how alike they are",
    "answers": "pairs of texts with a label that says whether they belong together",
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """A class of the library, the rows that it needs, and what it is made with.

    `divisible`: its value over a batch is the mean of one value per row.
    """

    needs: Needs
    made_of: str = ""
    scaled: bool = False
    margin: str = ""
    divisible: bool = False
    more: tuple[tuple[str, Any], ...] = ()


_BOTH_WAYS = (("directions", ("query_to_doc", "doc_to_query")), ("partition_mode", "per_direction"))
_KINDS: Mapping[str, _Kind] = {
    "grouped": _Kind("groups"),
    "multiple-negatives": _Kind("pairs", "MultipleNegativesRankingLoss", scaled=True),
    "multiple-negatives-symmetric": _Kind("pairs", "MultipleNegativesRankingLoss", scaled=True, more=_BOTH_WAYS),
    "triplet": _Kind("groups", "TripletLoss", margin="triplet_margin"),
    "batch-hard-triplet": _Kind("labels", "BatchHardTripletLoss", margin="margin"),
    "batch-hard-soft-margin-triplet": _Kind("labels", "BatchHardSoftMarginTripletLoss"),
    "batch-semi-hard-triplet": _Kind("labels", "BatchSemiHardTripletLoss", margin="margin"),
    "batch-all-triplet": _Kind("labels", "BatchAllTripletLoss", margin="margin"),
    "cosent": _Kind("numbers", "CoSENTLoss", scaled=True),
    "angle": _Kind("numbers", "AnglELoss", scaled=True),
    "cosine": _Kind("numbers", "CosineSimilarityLoss", divisible=True),
    "contrastive": _Kind("answers", "ContrastiveLoss", margin="margin", divisible=True),
    "online-contrastive": _Kind("answers", "OnlineContrastiveLoss", margin="margin"),
}


def needs_of(loss: str) -> Needs:
    """Return which rows a loss learns from."""
    return _KINDS[loss].needs


def of_scored_pairs(loss: str) -> bool:
    """Return whether a loss learns from what is said of given pairs, and looks for no others."""
    return needs_of(loss) in ("numbers", "answers")


def figure_of(loss: str) -> str:
    """Return by which figure of the validation part an epoch is chosen."""
    return {"numbers": "spearman", "answers": "auroc"}.get(needs_of(loss), "mrr@10")


def is_divisible(loss: str) -> bool:
    """Return whether several processes may share a batch of this loss: it compares no row with another one."""
    return _KINDS[loss].divisible


def check_loss(loss: str, *, margin: float, hard_negatives: int, positive_label: str) -> None:
    """Raise ConfigError for a loss that is not there or cannot use what else is set, MissingExtra without the library.

    The library is looked for, and not yet imported.
    """
    known = get_args(Loss)
    if loss not in known:
        raise ConfigError(f"loss = '{loss}'", f"Known: {', '.join(known)}", "loss = 'grouped'")
    if not 0 < margin < float("inf"):
        raise ConfigError(f"margin = {margin}", "It is a number above 0", "margin = 0.5")
    if hard_negatives and of_scored_pairs(loss):
        found = f"loss = '{loss}' compares the pairs that are given, and searches for no others"
        raise ConfigError(f"hard_negatives = {hard_negatives}", found, "hard_negatives = 0, or loss = 'grouped'")
    if positive_label and needs_of(loss) == "numbers":
        found = f"loss = '{loss}' learns from numbers, which have no positive label"
        raise ConfigError(f"positive_label = '{positive_label}'", found, "loss = 'online-contrastive'")
    if _KINDS[loss].made_of and find_spec(_LIBRARY) is None:
        raise missing_extra(f"loss = '{loss}'", "sentence-transformers", "train")


def require_rows(loss: str, rows: Sequence[Example], collection: str) -> None:
    """Raise DataError where these are not the rows that a loss learns from."""
    needs, pairs = needs_of(loss), sum(bool(row.text_pair.strip()) for row in rows)
    if needs == "groups" or pairs == (0 if needs == "labels" else len(rows)):
        return
    other = "online-contrastive" if needs == "labels" else "batch-hard-triplet"
    raise DataError(
        f"loss = '{loss}' learns from {_ROWS[needs]}, in the collection '{collection}'",
        f"{pairs} of {len(rows)} rows are pairs",
        f"another collection, or loss = 'grouped' or '{other}'",
    )


def library_loss(loss: str, *, temperature: float, margin: float) -> Computed:
    """Return what computes a loss of the library on vectors. Raises MissingExtra where the library cannot be imported.

    `temperature` divides cosines, so it is 1 over the library's scale.
    """
    kind = _KINDS[loss]
    try:
        library = importlib.import_module(f"{_LIBRARY}.sentence_transformer.losses")
    except ImportError as error:
        raise missing_extra(f"loss = '{loss}'", error.name or "sentence-transformers", "train") from error
    options = dict(kind.more)
    if kind.scaled:
        options["scale"] = 1 / temperature
    if kind.margin:
        options[kind.margin] = margin
    found: Computed = getattr(library, kind.made_of)(model=None, **options).compute_loss_from_embeddings
    return found
