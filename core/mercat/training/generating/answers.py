"""To learn answers: cross-entropy of the tokens of an answer, given its prompt; the prompt itself is not learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.training.loop.batches import length_batches, pad
from mercat.training.loop.objective import Step


@dataclass(frozen=True, slots=True)
class Turn:
    """A prompt and the answer to it as token ids, as the model will meet them; the answer ends with its mark."""

    prompt: Sequence[int]
    answer: Sequence[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, slots=True)
class Surprise:
    """How a model takes answers, by token: minus the log of its probability, whether it won, the row that it is of.

    Each has shape (tokens,).
    """

    losses: NDArray[np.float64]
    hits: NDArray[np.float64]
    rows: NDArray[np.int64]


class AnsweringModel(torch.nn.Module):
    """A language model, causal or sequence to sequence, that scores the tokens of answers.

    `start` is the token that an answer begins with in a sequence-to-sequence model; None: a causal one.
    """

    def __init__(self, body: Any, *, start: int | None) -> None:
        super().__init__()
        self.body, self.start = body, start

    def forward(self, turns: Sequence[Turn]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores of shape (answer tokens, vocabulary) and those tokens, turn after turn."""
        device = next(self.parameters()).device
        if self.start is None:
            ids, mask = (each.to(device) for each in pad([[*turn.prompt, *turn.answer] for turn in turns], 0))
            scores, targets = self.body(input_ids=ids, attention_mask=mask).logits[:, :-1], ids[:, 1:]
            before = torch.tensor([len(turn.prompt) - 1 for turn in turns], device=device)[:, None]
            place = torch.arange(targets.shape[1], device=device)
            asked = (mask[:, 1:] == 1) & (place >= before)
        else:
            ids, mask = (each.to(device) for each in pad([turn.prompt for turn in turns], 0))
            targets, asked = (each.to(device) for each in pad([turn.answer for turn in turns], 0))
            begun, _ = pad([[self.start, *turn.answer[:-1]] for turn in turns], 0)
            scores = self.body(input_ids=ids, attention_mask=mask, decoder_input_ids=begun.to(device)).logits
            asked = asked == 1
        return scores[asked], targets[asked]


class Answers:
    """The objective: the mean cross-entropy of the tokens of answers.

    Validates by "loss", "perplexity" and "accuracy", that of tokens.
    """

    divisible = True

    def __init__(self, train: Sequence[Turn], validation: Sequence[Turn], *, score_batch: int) -> None:
        self.train, self.validation, self._score_batch = train, validation, score_batch
        self._lengths = [len(turn) for turn in train]

    @property
    def lengths(self) -> Sequence[int]:
        """The tokens of each train row, prompt and answer."""
        return self._lengths

    def step(self, model: torch.nn.Module, rows: NDArray[np.int64]) -> Step:
        """Return the cross-entropy over the answers of these rows, and the share of their tokens guessed right."""
        scores, targets = model([self.train[row] for row in rows])
        loss = torch.nn.functional.cross_entropy(scores.float(), targets)
        return Step(
            loss, {"accuracy": float((scores.argmax(dim=1) == targets).float().mean())}, weight=float(len(targets))
        )

    def validate(self, model: torch.nn.Module) -> dict[str, float]:
        """Return the figures on the validation part."""
        found = surprise(model, self.validation, batch_size=self._score_batch)
        loss = float(found.losses.mean())
        return {"loss": loss, "perplexity": float(np.exp(loss)), "accuracy": float(found.hits.mean())}


def surprise(model: torch.nn.Module, turns: Sequence[Turn], *, batch_size: int = 16) -> Surprise:
    """Return how a model takes the answers of `turns`; it is left in the mode it came in."""
    was_training = model.training
    model.eval()
    losses, hits, of_rows = [], [], []
    with torch.inference_mode():
        for rows in length_batches([len(turn) for turn in turns], batch_size):
            scores, targets = model([turns[row] for row in rows])
            losses.append(torch.nn.functional.cross_entropy(scores.float(), targets, reduction="none").cpu())
            hits.append((scores.argmax(dim=1) == targets).cpu())
            of_rows.append(np.repeat(rows, [len(turns[row].answer) for row in rows]))
    model.train(was_training)
    return Surprise(torch.cat(losses).double().numpy(), torch.cat(hits).double().numpy(), np.concatenate(of_rows))
