"""Masked language modelling: which tokens are hidden, the head that guesses them, and how well it does.

Devlin et al. 2019, https://arxiv.org/abs/1810.04805; masks are drawn anew each time, as in Liu et al. 2019,
https://arxiv.org/abs/1907.11692.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.encoders.texts import readable
from mercat.training.encoding.words import WordHead
from mercat.training.loop.batches import length_batches, pad
from mercat.training.loop.objective import Step

_AT_ONCE = 256
_LONGEST_WORD = 8  # tokens; what is longer is a sentence in a script without spaces, and hidden token by token
_MASKED, _RANDOM = 0.8, 0.1  # of the tokens to guess; the rest stay as they are


@dataclass(frozen=True, slots=True)
class Window:
    """As many tokens of a text as the encoder takes. `units` numbers what is hidden together; -1: marks, never hidden.

    `units` has shape (tokens,).
    """

    ids: Sequence[int]
    units: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Guesses:
    """How each hidden token was guessed, shape (tokens,) each: minus the log of its probability, and whether it won."""

    losses: NDArray[np.float64]
    hits: NDArray[np.float64]


def windows(tokenizer: Any, texts: Sequence[str], *, whole_words: bool, lower_case: bool = False) -> list[Window]:
    """Return the tokens of each text, a long one in several windows; texts without any are left out."""
    found = []
    for start in range(0, len(texts), _AT_ONCE):
        clean = [readable(text, len(text)) for text in texts[start : start + _AT_ONCE]]
        clean = [text.lower() for text in clean] if lower_case else clean
        for encoding in tokenizer.encode_batch(clean):
            for part in (encoding, *encoding.overflowing):
                units = _units(part, whole_words=whole_words)
                if (units >= 0).any():
                    found.append(Window(part.ids, units))
    return found


def _units(encoding: Any, *, whole_words: bool) -> NDArray[np.int64]:
    marks = np.asarray(encoding.special_tokens_mask, dtype=bool)
    alone = np.where(marks, -1, np.cumsum(~marks) - 1)
    if not whole_words:
        return alone
    words = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
    sizes = np.bincount(words[words >= 0], minlength=1)
    together = ~marks & (words >= 0) & (sizes[words] <= _LONGEST_WORD)
    keys = np.where(together, words, len(encoding.ids) + alone)  # so that words and single tokens share no number
    found = np.unique(keys[~marks], return_inverse=True)[1]
    units = np.full(len(marks), -1, dtype=np.int64)
    units[~marks] = found
    return units


@dataclass(frozen=True, slots=True)
class Masker:
    """Hides a `share` of the units of each row, at least one: by the mask, a random token, or not at all, as BERT."""

    share: float
    mask_id: int
    words: int
    pad_id: int

    def __call__(
        self, rows: Sequence[Window], *, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (ids with tokens hidden, attention mask, places of the hidden ones, the tokens there).

        The first three have shape (rows, longest row), the last (hidden tokens,). Draws from torch's own generator
        unless another is given.
        """
        ids, mask = pad([row.ids for row in rows], self.pad_id)
        places = torch.zeros(ids.shape, dtype=torch.bool)
        for at, row in enumerate(rows):
            draws = torch.rand(int(row.units.max()) + 1, generator=generator)
            chosen = draws < self.share
            chosen[draws.argmin()] = True
            units = torch.from_numpy(row.units)
            places[at, : len(units)] = (units >= 0) & chosen[units]
        targets = ids[places]
        fate = torch.rand(len(targets), generator=generator)
        other = torch.randint(self.words, (len(targets),), generator=generator)
        shown = torch.where(fate < _MASKED + _RANDOM, other, targets)
        ids[places] = torch.where(fate < _MASKED, self.mask_id, shown)
        return ids, mask, places, targets


class MaskedModel(torch.nn.Module):
    """A body and a head that guesses hidden tokens."""

    def __init__(self, body: Any, head: WordHead) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return scores of shape (hidden tokens, vocabulary)."""
        hidden = self.body(input_ids=ids, attention_mask=mask).last_hidden_state[places]
        scores: torch.Tensor = self.head(hidden, self.body.get_input_embeddings().weight)
        return scores


class MaskedWords:
    """The objective: mean cross-entropy of hidden tokens, hidden anew in each epoch but the same in each validation.

    Validates by "loss", "perplexity" and "accuracy".
    """

    def __init__(
        self, train: Sequence[Window], validation: Sequence[Window], *, masker: Masker, score_batch: int
    ) -> None:
        self.train, self.validation, self.masker = train, validation, masker
        self._score_batch = score_batch
        self._lengths = [len(row.ids) for row in train]

    @property
    def lengths(self) -> Sequence[int]:
        """The tokens of each train window."""
        return self._lengths

    def step(self, model: torch.nn.Module, rows: NDArray[np.int64]) -> Step:
        """Return the cross-entropy over the tokens hidden in these windows, and the share of them guessed right."""
        device = next(model.parameters()).device
        ids, mask, places, targets = (each.to(device) for each in self.masker([self.train[row] for row in rows]))
        scores = model(ids, mask, places)
        loss = torch.nn.functional.cross_entropy(scores, targets)
        hits = float((scores.argmax(dim=1) == targets).float().mean())
        return Step(loss, {"accuracy": hits})

    def validate(self, model: torch.nn.Module) -> dict[str, float]:
        """Return the figures on the validation part."""
        found = guessed(model, self.validation, masker=self.masker, batch_size=self._score_batch)
        loss = float(found.losses.mean())
        return {"loss": loss, "perplexity": float(np.exp(loss)), "accuracy": float(found.hits.mean())}


def guessed(model: torch.nn.Module, rows: Sequence[Window], *, masker: Masker, batch_size: int = 64) -> Guesses:
    """Hide tokens of the rows, the same ones each time, and return how a model guesses them."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    losses, hits = [], []
    with torch.inference_mode():
        for ids, mask, places, targets in hidden_batches(rows, masker, batch_size=batch_size):
            scores = model(ids.to(device), mask.to(device), places.to(device)).float().cpu()
            losses.append(torch.nn.functional.cross_entropy(scores, targets, reduction="none"))
            hits.append(scores.argmax(dim=1) == targets)
    model.train(was_training)
    return Guesses(torch.cat(losses).double().numpy(), torch.cat(hits).double().numpy())


def hidden_batches(rows: Sequence[Window], masker: Masker, *, batch_size: int = 64) -> list[tuple[torch.Tensor, ...]]:
    """Return what `masker` makes of the rows in batches, the same each time."""
    generator = torch.Generator().manual_seed(0)
    order = length_batches([len(row.ids) for row in rows], batch_size)
    return [masker([rows[at] for at in batch], generator=generator) for batch in order]


def frequencies(rows: Sequence[Window], words: int) -> NDArray[np.float64]:
    """Return how probable each token is among those that may be hidden, unseen ones a little: shape (words,)."""
    seen = np.concatenate([np.asarray(row.ids)[row.units >= 0] for row in rows])
    counts = np.bincount(seen, minlength=words) + 1.0
    found: NDArray[np.float64] = counts / counts.sum()
    return found


def guessed_by_frequency(
    rows: Sequence[Window], frequency: NDArray[np.float64], *, masker: Masker, batch_size: int = 64
) -> Guesses:
    """Return how the same hidden tokens are guessed by how frequent they are, whatever stands around them."""
    targets = torch.cat([batch[3] for batch in hidden_batches(rows, masker, batch_size=batch_size)]).numpy()
    return Guesses(-np.log(frequency[targets]), (targets == frequency.argmax()).astype(np.float64))
