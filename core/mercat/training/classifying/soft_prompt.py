"""The recipe `soft-prompt`: a few vectors before the tokens learn, and nothing else of the encoder.

Lester et al. 2021, https://arxiv.org/abs/2104.08691. The vectors become tokens of their own in the saved encoder, so it
is served, exported and read by other libraries like any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from mercat.encoders.base import Encoder
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError
from mercat.heads import LinearHead
from mercat.training.base import Run
from mercat.training.classifying.classifier import Calibration
from mercat.training.classifying.model import tunable
from mercat.training.classifying.partial import PartialRecipe
from mercat.training.data import Parts, Split
from mercat.training.loop.precision import Dtype
from mercat.training.loop.settings import Choice
from mercat.training.tracking import Tracker


class SoftPrompt(PartialRecipe):
    """Fine-tunes `vectors` vectors that stand before the tokens of each text, together with a linear head.

    They start as the embeddings of words drawn from the vocabulary, and count among the tokens of a text: serving costs
    what `full` costs for texts that are longer by so many, and `max_tokens` has room for so many fewer of their own.
    Fewer weights learn than with any other recipe: 3,840 of a MiniLM by default. The other parameters are those of
    `full`. Raises ConfigError for no vectors, or more than the tokens have room for.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        validation_share: float = 0.1,
        test_share: float = 0.1,
        split: Split = "auto",
        calibration: Calibration = "temperature",
        target_error: float | None = None,
        vectors: int = 10,
        max_tokens: int = 128,
        epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float = 5e-3,
        head_learning_rate: float = 5e-3,
        warmup: float = 0.1,
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
        gradient_clip: float = 1.0,
        adversarial: float = 0.0,
        average_epochs: int = 0,
        class_weight: Literal["balanced"] | None = None,
        init_head_from_linear: bool = True,
        patience: int = 0,
        choose_by: Choice = "accuracy",
        checkpoint_every_s: float = 60.0,
        device: str = "auto",
        dtype: Dtype = "auto",
        tensorboard: bool = False,
        trackers: Sequence[Tracker] = (),
        seed: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            encoder,
            collection=collection,
            validation_share=validation_share,
            test_share=test_share,
            split=split,
            calibration=calibration,
            target_error=target_error,
            max_tokens=max_tokens,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            head_learning_rate=head_learning_rate,
            warmup=warmup,
            weight_decay=weight_decay,
            label_smoothing=label_smoothing,
            gradient_clip=gradient_clip,
            adversarial=adversarial,
            average_epochs=average_epochs,
            class_weight=class_weight,
            init_head_from_linear=init_head_from_linear,
            patience=patience,
            choose_by=choose_by,
            checkpoint_every_s=checkpoint_every_s,
            dtype=dtype,
            device=device,
            tensorboard=tensorboard,
            trackers=trackers,
            seed=seed,
            monotonic=monotonic,
        )
        if not 1 <= vectors < max_tokens:
            raise ConfigError(
                f"vectors = {vectors}", f"It is from 1 to below max_tokens = {max_tokens}", "vectors = 10"
            )
        self.vectors = vectors

    def shape(self) -> Mapping[str, Any]:
        return {**super().shape(), "vectors": self.vectors}

    def begun(self, parts: Parts) -> tuple[Transformer, Any, Any]:
        """Return the encoder with tokens of its own before each text. Raises ConfigError for one that has them."""
        plain = tunable(self.encoder, max_tokens=self.max_tokens)
        marks = [f"[soft-{number}]" for number in range(self.vectors)]
        body, tokenizer = plain.load_for_training()
        if tokenizer.token_to_id(marks[0]) is not None:
            raise ConfigError("A soft prompt for this encoder", "It has one already", "use = 'full', or the one before")
        if plain.max_tokens <= self.vectors + 2:
            found = f"The encoder takes {plain.max_tokens} tokens in all"
            raise ConfigError(f"vectors = {self.vectors}", found, "vectors = 10")
        tokenizer.add_special_tokens(marks)
        first = tokenizer.token_to_id(marks[0])
        body.set_input_embeddings(SoftWords(body.get_input_embeddings().weight, first=first, count=self.vectors))
        base = Transformer(
            str(plain.checkpoint.folder),
            pooling=plain.pooling,
            max_tokens=plain.max_tokens,
            query_prefix="".join(marks) + plain.prefix("query"),
            document_prefix="".join(marks) + plain.prefix("document"),
        )
        return base, body, tokenizer

    def adapted(self, body: Any) -> Any:
        """Return the body with all frozen but the vectors, which start as words of the vocabulary."""
        body.requires_grad_(False)
        body.get_input_embeddings().begin()
        return body

    def merged(self, body: Any, folder: Path) -> Any:
        """Return the body with the vectors as rows of its word embeddings."""
        table = body.get_input_embeddings().table()
        body.set_input_embeddings(table)
        body.config.vocab_size = table.num_embeddings
        return body

    def _linear_head(self, run: Run, base: Transformer, parts: Parts) -> LinearHead:
        """Fit a head on the body without the vectors, which mean nothing yet."""
        return super()._linear_head(run, tunable(self.encoder, max_tokens=self.max_tokens), parts)


class SoftWords(torch.nn.Module):
    """Word embeddings of which the rows from number `first` on learn, `count` of them; all others are frozen."""

    def __init__(self, weight: torch.Tensor, *, first: int, count: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight.detach(), requires_grad=False)
        self.soft = torch.nn.Parameter(torch.zeros(count, weight.shape[1]))
        self.first = first

    def begin(self) -> None:
        """Start with words drawn from the vocabulary by torch's generator, and learn."""
        drawn = torch.randperm(min(self.first, len(self.weight)))[: len(self.soft)]
        with torch.no_grad():
            self.soft.copy_(self.weight[drawn])
        self.soft.requires_grad_(True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return shape (…, dimensions) from ids of shape (…)."""
        number = ids - self.first
        soft = (number >= 0) & (number < len(self.soft))
        plain = torch.nn.functional.embedding(ids.masked_fill(soft, 0), self.weight)
        learned = torch.nn.functional.embedding(number.masked_fill(~soft, 0), self.soft)
        return torch.where(soft.unsqueeze(-1), learned, plain)

    def table(self) -> torch.nn.Embedding:
        """Return plain word embeddings with the learned rows in their places."""
        rows = max(len(self.weight), self.first + len(self.soft))
        table = torch.nn.Embedding(rows, self.weight.shape[1])
        with torch.no_grad():
            table.weight.zero_()
            table.weight[: len(self.weight)] = self.weight
            table.weight[self.first : self.first + len(self.soft)] = self.soft
        return table
