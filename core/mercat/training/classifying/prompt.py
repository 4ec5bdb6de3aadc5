"""The recipe `prompt`: labels are words that fit into a gap before the text; few rows are enough.

Pattern-exploiting training, Schick and Schütze 2021, https://arxiv.org/abs/2001.07676, with one pattern: the best of
those given. The gap comes first, so that no long text cuts it off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mercat.encoders.base import Encoder
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError
from mercat.heads import LinearHead
from mercat.training.base import Run
from mercat.training.classifying.classifier import ROLE, Calibration, labels_of, texts_of
from mercat.training.classifying.model import tunable
from mercat.training.classifying.tuned import TunedRecipe
from mercat.training.data import Parts, Split
from mercat.training.encoding.words import WordHead, load_words, mask_token
from mercat.training.loop.precision import Dtype
from mercat.training.loop.settings import Choice, LoopSettings
from mercat.training.tracking import Tracker

GAP = "[MASK]"
_SPACE = "▁"  # a token of its own before words in scripts without spaces
_SHOWN = 256  # train rows that templates are compared on


class Prompt(TunedRecipe):
    """Fine-tunes an encoder that guesses hidden words, made by the recipe `mlm`, to guess the word of a text's label.

    `words` says of each label which word stands for it, or which ones (their scores are averaged); each is one token of
    the encoder's vocabulary. `template` has the gap, written [MASK], and after it the text at its `{}`: "It was [MASK].
    {}" or "这是[MASK]事:{}". Of several templates that one is taken which answers most train rows right before anything
    is learned. The head starts as the word embeddings of those words, turned as for guessing, so even the first update
    begins with an answer; what comes out is a classifier with an encoder of its own, whose vectors are those of the
    gap. The other parameters are those of `full`. Raises ConfigError for templates or words that cannot be, and
    ArtifactError for an encoder without a masked-word head.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        words: Mapping[str, str | list[str]],
        template: str | list[str] = "It was [MASK]. {}",
        validation_share: float = 0.1,
        test_share: float = 0.1,
        split: Split = "auto",
        calibration: Calibration = "temperature",
        target_error: float | None = None,
        max_tokens: int = 128,
        epochs: int = 5,
        batch_size: int = 16,
        learning_rate: float = 1e-4,
        head_learning_rate: float = 5e-3,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        label_smoothing: float = 0.0,
        gradient_clip: float = 1.0,
        class_weight: Literal["balanced"] | None = None,
        freeze_layers: int = 0,
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
            settings=LoopSettings(
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                head_learning_rate=head_learning_rate,
                warmup=warmup,
                weight_decay=weight_decay,
                label_smoothing=label_smoothing,
                gradient_clip=gradient_clip,
                patience=patience,
                choose_by=choose_by,
                checkpoint_every_s=checkpoint_every_s,
                dtype=dtype,
            ),
            max_tokens=max_tokens,
            class_weight=class_weight,
            init_head_from_linear=True,
            freeze_layers=freeze_layers,
            device=device,
            tensorboard=tensorboard,
            trackers=trackers,
            monotonic=monotonic,
            collection=collection,
            validation_share=validation_share,
            test_share=test_share,
            split=split,
            calibration=calibration,
            target_error=target_error,
            seed=seed,
        )
        self.words = {label: [word] if isinstance(word, str) else list(word) for label, word in words.items()}
        self.templates = [template] if isinstance(template, str) else list(template)
        _check(self.words, self.templates)
        self._told: list[str] = []

    def shape(self) -> Mapping[str, Any]:
        return {**super().shape(), "words": self.words, "templates": self.templates}

    def begun(self, parts: Parts) -> tuple[Transformer, Any, Any]:
        """Return the encoder with the best template before each text, pooled at its gap.

        Raises ConfigError for an encoder that writes texts small by itself.
        """
        plain = tunable(self.encoder, max_tokens=self.max_tokens)
        if plain.checkpoint.lower_case:
            found = "It writes texts small before it reads them, marks too"
            raise ConfigError("The recipe 'prompt' on this encoder", found, "an encoder with a tokenizer that does it")
        rows = parts.train[:: max(1, len(parts.train) // _SHOWN)]
        asking = self._asking(plain)
        bases = {template: asking(template) for template in self.templates}
        right = {template: self._right(base, parts, rows) for template, base in bases.items()}
        chosen = max(right, key=lambda template: right[template])
        base, share = bases[chosen], right[chosen]
        self._told = [f"The template '{chosen}' answered {share:.1%} of {len(rows)} train rows before any was learned"]
        return base, *base.load_for_training()

    def told(self) -> list[str]:
        return self._told

    def _asking(self, plain: Transformer) -> Callable[[str], Transformer]:
        """Return what makes an encoder of a template. Raises ConfigError for a gap that would be cut off."""
        tokenizer = plain.load_tokenizer()
        mark, number = mask_token(tokenizer)

        def made(template: str) -> Transformer:
            before = template.replace(GAP, mark).removesuffix("{}")
            ids = tokenizer.encode(before).ids
            if number not in ids or ids.index(number) >= plain.max_tokens - 1:
                raise ConfigError(
                    f"template = '{template}'", f"Its gap lies beyond {plain.max_tokens} tokens", "shorter"
                )
            return Transformer(
                str(plain.checkpoint.folder),
                pooling=f"token-{ids.index(number)}",
                max_tokens=plain.max_tokens,
                query_prefix=before,
                document_prefix=before,
            )

        return made

    def _right(self, base: Transformer, parts: Parts, rows: Sequence[Any]) -> float:
        """Return which share of the rows is answered right by an encoder that has learned nothing of them."""
        scores = self._words_of(base, parts).logits(base.encode(texts_of(rows), role=ROLE))
        base.close()
        guessed = np.asarray(parts.labels)[scores.argmax(axis=1)]
        return float((guessed == np.asarray(labels_of(rows))).mean())

    def _linear_head(self, run: Run, base: Transformer, parts: Parts) -> LinearHead:
        """Return the head that guessing words comes with."""
        return self._words_of(base, parts)

    def _head_seconds(self, base: Transformer, parts: Parts, clock: Callable[[], float]) -> dict[str, float]:
        """Nothing is fitted: the words say what the head is."""
        return {}

    def _words_of(self, base: Transformer, parts: Parts) -> LinearHead:
        """Return a linear head that scores each label by its words. Raises ConfigError for a label without any."""
        head: WordHead = load_words(base.checkpoint.folder, encoder=base)
        tokenizer = base.load_tokenizer()
        embeddings = base.load_for_training()[0].get_input_embeddings().weight
        weights, bias = [], []
        for label in parts.labels:
            if label not in self.words:
                found = f"The collection '{self.collection}' has rows of it"
                raise ConfigError(f"words.{label} is missing", found, f'{label} = "a word for it"')
            rows, offsets = head.rows([_token(word, tokenizer) for word in self.words[label]], embeddings)
            weights.append(rows.mean(axis=0))
            bias.append(offsets.mean())
        return LinearHead(parts.labels, np.stack(weights), np.asarray(bias, dtype=np.float32), base.fingerprint)


def _check(words: Mapping[str, Sequence[str]], templates: Sequence[str]) -> None:
    for label, given in words.items():
        if not given or not all(isinstance(word, str) and word.strip() for word in given):
            raise ConfigError(f"words.{label}", "A word is empty", f'{label} = "a word for it"')
    if len(words) < 2:
        raise ConfigError("words of 'prompt'", f"It has {len(words)}", 'words = { good = "great", bad = "terrible" }')
    if not templates:
        raise ConfigError("template = []", "There is none", 'template = "It was [MASK]. {}"')
    for template in templates:
        if template.count(GAP) != 1 or template.count("{}") != 1 or not template.endswith("{}"):
            found = f"It has one gap {GAP}, and ends with {{}} for the text"
            raise ConfigError(f"template = '{template}'", found, 'template = "It was [MASK]. {}"')


def _token(word: str, tokenizer: Any) -> int:
    """Return the one token of a word. Raises ConfigError where the vocabulary has none."""
    encoding = tokenizer.encode(word, add_special_tokens=False)
    ids = [number for number, piece in zip(encoding.ids, encoding.tokens, strict=True) if piece != _SPACE]
    unknown = {tokenizer.token_to_id(mark) for mark in ("[UNK]", "<unk>")}
    if len(ids) != 1 or ids[0] in unknown:
        found = f"The encoder's vocabulary has it in pieces: {' '.join(encoding.tokens)}"
        raise ConfigError(f"words with '{word}'", found, "a more common word")
    return int(ids[0])
