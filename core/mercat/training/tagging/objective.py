"""To learn a tag per word: mean cross-entropy over the words of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.evaluation.spans import entity_f1
from mercat.heads.tags import TagHead
from mercat.predictors.words import Window, WordPieces
from mercat.training.loop.batches import length_batches, pad
from mercat.training.loop.objective import Step
from mercat.training.tagging.rows import Tagged

UNKNOWN = -100  # the number of a tag that the train part lacks; torch leaves such words out of the loss


@dataclass(frozen=True, slots=True)
class Stretch:
    """A window, the number of the text that it is of, and the tags of its words, shape (words,)."""

    window: Window
    text: int
    targets: NDArray[np.int64]


def stretches(pieces: WordPieces, texts: Sequence[Tagged], tags: Sequence[str]) -> list[Stretch]:
    """Return the windows of all texts with the numbers of their tags."""
    number, found = {tag: place for place, tag in enumerate(tags)}, []
    for text, tagged in enumerate(texts):
        targets = np.array([number.get(tag, UNKNOWN) for tag in tagged.tags], dtype=np.int64)
        for window in pieces.windows(tagged.text, tagged.words):
            found.append(Stretch(window, text, targets[window.first : window.first + len(window.places)]))
    return found


class Tagging:
    """The objective of `WordTagger`. Validates by "loss", "accuracy" of words and "f1" of entities.

    `judge` decodes validation texts as serving will; its own weights do not matter here.
    """

    divisible = True

    def __init__(
        self,
        train: Sequence[Stretch],
        validation: Sequence[Stretch],
        *,
        texts: Sequence[Tagged],
        judge: TagHead,
        pad_id: int,
        label_smoothing: float,
        score_batch: int,
    ) -> None:
        self.train, self.validation, self._texts, self.judge = train, validation, texts, judge
        self._pad_id, self._smoothing, self._score_batch = pad_id, label_smoothing, score_batch
        self._lengths = [len(each.window.ids) for each in train]

    @property
    def lengths(self) -> Sequence[int]:
        """The tokens of each window of the train part."""
        return self._lengths

    def step(self, model: torch.nn.Module, rows: NDArray[np.int64]) -> Step:
        """Return the cross-entropy over the words of these windows, and the share of them that is tagged right."""
        batch = [self.train[row] for row in rows]
        logits = forward(model, batch, self._pad_id)
        targets = torch.from_numpy(np.concatenate([each.targets for each in batch])).to(logits.device)
        loss = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=self._smoothing)
        right = float((logits.argmax(dim=1) == targets).float().mean())
        return Step(loss, {"accuracy": right}, weight=float(len(targets)))

    def validate(self, model: torch.nn.Module) -> Mapping[str, float]:
        """Return cross-entropy and accuracy over words, and F1 over entities, on the validation part."""
        logits = predict(model, self.validation, self._texts, pad_id=self._pad_id, batch_size=self._score_batch)
        number = {tag: place for place, tag in enumerate(self.judge.tags)}
        targets = np.array([number.get(tag, UNKNOWN) for text in self._texts for tag in text.tags])
        together = np.concatenate(logits)
        loss = torch.nn.functional.cross_entropy(torch.from_numpy(together), torch.from_numpy(targets)).item()
        found = [self.judge.decode(self.judge.probabilities(each)) for each in logits]
        names = [[self.judge.tags[number] for number in each] for each in found]
        return {
            "loss": loss,
            "accuracy": float((np.concatenate(found) == targets).mean()),
            "f1": entity_f1([text.tags for text in self._texts], names),
        }


def forward(model: torch.nn.Module, batch: Sequence[Stretch], pad_id: int) -> torch.Tensor:
    """Return the logits of all words of these windows, one window after the other, shape (words, tags)."""
    device = next(model.parameters()).device
    ids, mask = pad([each.window.ids for each in batch], pad_id)
    kinds, _ = pad([each.window.kinds for each in batch], 0)
    rows = np.repeat(np.arange(len(batch)), [len(each.window.places) for each in batch])
    places = np.concatenate([np.asarray(each.window.places, dtype=np.int64) for each in batch])
    given = (ids, mask, kinds, torch.from_numpy(rows), torch.from_numpy(places))
    logits: torch.Tensor = model(*(each.to(device) for each in given))
    return logits


def predict(
    model: torch.nn.Module, part: Sequence[Stretch], texts: Sequence[Tagged], *, pad_id: int, batch_size: int
) -> list[NDArray[np.float32]]:
    """Return the logits of each text's words, each of shape (words, tags), with the model in evaluation mode."""
    was_training = model.training
    model.eval()
    found: list[list[tuple[int, NDArray[np.float32]]]] = [[] for _ in texts]
    with torch.inference_mode():
        for rows in length_batches([len(each.window.ids) for each in part], batch_size):
            batch = [part[row] for row in rows]
            logits = forward(model, batch, pad_id).float().cpu().numpy()
            ends = np.cumsum([len(each.window.places) for each in batch])[:-1]
            for each, some in zip(batch, np.split(logits, ends), strict=True):
                found[each.text].append((each.window.first, some))
    model.train(was_training)
    return [np.concatenate([some for _, some in sorted(each, key=lambda one: one[0])]) for each in found]
