"""The recipe `mlm`: an encoder learns a language, or that of a trade, from texts without labels."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder
from mercat.encoders.made import IN_ARTIFACT
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, DataError, missing_extra
from mercat.evaluation import splits
from mercat.evaluation.base import Metric
from mercat.evaluation.bootstrap import interval, paired
from mercat.training.base import Evaluation, Report, Run
from mercat.training.data import save_rows
from mercat.training.encoding.texts import counts_of_texts, digest_of_texts, read_texts, unseen_texts
from mercat.training.estimating import Estimate, Trial
from mercat.training.report import save_report
from mercat.training.tracking import Tracker
from mercat.values import Example

try:
    from mercat.compute.device import choose_device
    from mercat.training.classifying.model import freeze, tunable
    from mercat.training.encoding.masking import (
        Guesses,
        MaskedModel,
        MaskedWords,
        Masker,
        Window,
        frequencies,
        guessed,
        guessed_by_frequency,
        windows,
    )
    from mercat.training.encoding.scratch import Sizes, new_encoder
    from mercat.training.encoding.words import WordHead, load_words, mask_token
    from mercat.training.loop.checkpoint import Checkpoints
    from mercat.training.loop.precision import Dtype
    from mercat.training.loop.rehearsal import loop_estimate
    from mercat.training.loop.running import Telling, details_of, digest_of, notes_of, run_loop, shape_of
    from mercat.training.loop.settings import LoopSettings
    from mercat.training.loop.weights import sizes
except ImportError as error:
    raise missing_extra("The recipe 'mlm'", error.name or "torch", "train") from error

_RATE, _RATE_FROM_SCRATCH = 5e-5, 5e-4
_COMPARED = 1_000  # windows that a model is checked on
_LONGEST = 10**9  # an encoder's own limit counts
_NO_TEXT = "They hold nothing that its tokenizer knows as a token"


@dataclass(frozen=True, slots=True)
class _Ready:
    """The encoder that training starts from, its tokenizer, the model, what it learns, and the windows of each part."""

    base: Transformer
    tokenizer: Any
    model: MaskedModel
    objective: MaskedWords
    counts: Mapping[str, int]


class Mlm:
    """Trains an encoder to guess hidden words, on from where it is or from nothing, and a head that guesses them.

    `collection` holds texts, labelled or not; long ones are read in windows of `max_tokens`. A `mask_share` of the
    tokens is hidden, drawn anew each time, whole words together if `whole_words`; scripts without spaces are hidden by
    tokens. `from_scratch` takes no encoder: the tokenizer (WordPiece, `vocabulary` tokens at most) is learned from the
    train part too, and a BERT of `layers`, `heads`, `dimensions` and `inner` dimensions between starts at random.
    `learning_rate` is 5e-5, from scratch 5e-4. The new encoder's vectors are another space: what builds on it, such as
    `full` or `prompt`, comes afterwards. `mlm_head.safetensors` lies in its folder. Validation and evaluation look at
    1,000 windows at most. Raises ConfigError for settings out of range.
    """

    kind = "encoder"

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        collection: str,
        from_scratch: bool = False,
        dimensions: int = 128,
        layers: int = 2,
        heads: int = 2,
        inner: int = 512,
        vocabulary: int = 8_000,
        max_tokens: int = 128,
        mask_share: float = 0.15,
        whole_words: bool = True,
        validation_share: float = 0.1,
        test_share: float = 0.1,
        epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float | None = None,
        head_learning_rate: float = 2e-2,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        gradient_clip: float = 1.0,
        patience: int = 0,
        checkpoint_every_s: float = 60.0,
        device: str = "auto",
        dtype: Dtype = "auto",
        tensorboard: bool = False,
        trackers: Sequence[Tracker] = (),
        seed: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        _check(encoder, from_scratch, {"mask_share": mask_share, "v": validation_share, "t": test_share})
        self.encoder, self.collection, self.seed = encoder, collection, seed
        self.sizes = Sizes(
            dimensions=dimensions, layers=layers, heads=heads, inner=inner, vocabulary=vocabulary, max_tokens=max_tokens
        )
        self.mask_share, self.whole_words, self.max_tokens = mask_share, whole_words, max_tokens
        self.validation_share, self.test_share, self.device = validation_share, test_share, device
        self.telling = Telling(tensorboard, trackers, monotonic)
        self.settings = LoopSettings(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate or (_RATE_FROM_SCRATCH if from_scratch else _RATE),
            head_learning_rate=head_learning_rate,
            warmup=warmup,
            weight_decay=weight_decay,
            gradient_clip=gradient_clip,
            patience=patience,
            choose_by="loss",
            checkpoint_every_s=checkpoint_every_s,
            dtype=dtype,
        )

    def shape(self) -> Mapping[str, Any]:
        """Return what shapes the result; a checkpoint of another shape is not used."""
        return {
            "recipe": type(self).__name__,
            "loop": shape_of(self.settings),
            "new": None if self.encoder else asdict(self.sizes),
            "mask": [self.mask_share, self.whole_words, self.max_tokens],
        }

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Learn from the train part, keep the best epoch, write the encoder with its head into `encoder/`."""
        started, parts = self.telling.monotonic(), self._parts(run)
        ready, digest = self._ready(run, parts), digest_of_texts(parts)
        base, model, objective = ready.base, ready.model, ready.objective
        outcome = run_loop(
            run,
            model,
            self.settings,
            objective=objective,
            checkpoints=Checkpoints(run.scratch, digest_of(self.shape(), digest, base.fingerprint, run.seed)),
            telling=self.telling,
        )
        found = guessed(model, objective.validation, masker=objective.masker, batch_size=2 * self.settings.batch_size)
        saved = _saved(writer.folder / IN_ARTIFACT, base, ready.tokenizer, model)
        report = Report(
            metrics=_metrics(found),
            counts={**counts_of_texts(parts), **ready.counts, "updates": outcome.updates, **sizes(model)},
            seconds=self.telling.monotonic() - started,
            notes=[*notes_of(outcome, self.settings.epochs), *self.telling.boards(run)],
            details=details_of(outcome),
        )
        save_report(writer.folder, report)
        save_rows(writer.folder, parts)
        writer.metrics = dict(report.metrics)
        writer.encoder_fingerprint, writer.data_digest = saved.fingerprint, digest
        return report

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Let a finished encoder guess words hidden in test texts, beside guessing by how frequent they are."""
        encoder, parts = Transformer.from_folder(artifact / IN_ARTIFACT), self._parts(run)
        tested = unseen_texts(parts, artifact)
        parts = replace(parts, test=list(tested.rows))
        body, tokenizer = encoder.load_for_training()
        masker, rows = self._masker(encoder, tokenizer, body), self._windows(encoder, tokenizer, parts)
        test = _some(rows["test"], f"The test part of '{self.collection}'")
        head = load_words(artifact / IN_ARTIFACT, encoder=encoder)
        ours = guessed(MaskedModel(body, head).to(choose_device(self.device).name), test, masker=masker)
        theirs = guessed_by_frequency(test, frequencies(rows["train"], masker.words), masker=masker)
        return Evaluation(
            metrics=_metrics(ours),
            baseline="the frequency of each token",
            baseline_metrics=_metrics(theirs),
            differences={
                "loss": paired(ours.losses, theirs.losses),
                "accuracy": paired(ours.hits, theirs.hits),
            },
            counts={**tested.counts, "test_windows": len(test)},
            notes=tested.notes,
        )

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost, from some updates on a model that is thrown away."""
        trial, parts = Trial(self.telling.monotonic), self._parts(run)
        ready = self._ready(run, parts)
        trial.read()
        return loop_estimate(
            trial,
            ready.model,
            self.settings,
            objective=ready.objective,
            seed=run.seed,
            validation=[window.ids for window in ready.objective.validation],
        )

    def _ready(self, run: Run, parts: splits.Parts) -> _Ready:
        """Return what the loop begins with."""
        base = self._base(run, parts)
        body, tokenizer = base.load_for_training()
        masker, rows = self._masker(base, tokenizer, body), self._windows(base, tokenizer, parts)
        model = _model(base, body, frequencies(rows["train"], masker.words)).to(choose_device(self.device).name)
        batch = 2 * self.settings.batch_size
        objective = MaskedWords(rows["train"], rows["validation"], masker=masker, score_batch=batch)
        return _Ready(base, tokenizer, model, objective, {f"{name}_windows": len(each) for name, each in rows.items()})

    def _parts(self, run: Run) -> splits.Parts:
        return read_texts(
            run.store,
            self.collection,
            asked="The recipe 'mlm'",
            validation_share=self.validation_share,
            test_share=self.test_share,
        )

    def _base(self, run: Run, parts: splits.Parts) -> Transformer:
        """Return the encoder that training starts from; its own limit on tokens stays what it is."""
        if self.encoder is not None:
            return tunable(self.encoder, max_tokens=_LONGEST)
        return new_encoder(run.scratch / "start", [row.text for row in parts.train], self.sizes, seed=run.seed)

    def _masker(self, base: Transformer, tokenizer: Any, body: Any) -> Masker:
        words = int(body.get_input_embeddings().weight.shape[0])
        return Masker(self.mask_share, mask_token(tokenizer)[1], words, base.checkpoint.pad_id)

    def _windows(self, base: Transformer, tokenizer: Any, parts: splits.Parts) -> dict[str, list[Window]]:
        """Return the windows of each part. Raises DataError for nothing to learn from or to choose on."""
        tokenizer.enable_truncation(min(self.max_tokens, base.max_tokens))
        found = {}
        for name, rows in (("train", parts.train), ("validation", parts.validation), ("test", parts.test)):
            texts = [row.text for row in (rows if name == "train" else _the_same(rows))]
            lower = base.checkpoint.lower_case
            cut = windows(tokenizer, texts, whole_words=self.whole_words, lower_case=lower)
            found[name] = cut if name == "train" else cut[:_COMPARED]
        tokenizer.enable_truncation(base.max_tokens)
        for name in ("train", "validation"):
            _some(found[name], f"The {name} part of '{self.collection}'")
        return found


def _check(encoder: Encoder | None, from_scratch: bool, shares: Mapping[str, float]) -> None:
    names = {"mask_share": "mask_share", "v": "validation_share", "t": "test_share"}
    for name, share in shares.items():
        if not 0 < share < 0.9:
            raise ConfigError(f"{names[name]} = {share}", "It is a share", f"{names[name]} = 0.1")
    if (encoder is None) is not from_scratch:
        asked = f"from_scratch = {str(from_scratch).lower()}"
        found = "There is no encoder to go on from" if encoder is None else "There is an encoder as well"
        raise ConfigError(asked, found, "an encoder, or from_scratch = true")


def _model(base: Transformer, body: Any, frequency: NDArray[np.float64]) -> MaskedModel:
    width = int(body.get_input_embeddings().weight.shape[1])
    freeze(body, layers=0)
    return MaskedModel(body, WordHead(base.dimensions, width=width, frequencies=frequency))


def _saved(folder: Path, base: Transformer, tokenizer: Any, model: MaskedModel) -> Transformer:
    """Write body and head into a folder and return the encoder that is there now."""
    base.save_body(model.body.cpu(), tokenizer, folder)
    saved = Transformer.from_folder(folder)
    model.head.save(folder, fingerprint=saved.checkpoint.weights_sha256)
    return saved


def _some(rows: list[Window], what: str) -> list[Window]:
    if not rows:
        raise DataError(f"The recipe 'mlm' needs texts. {what}", "It is empty, or " + _NO_TEXT.lower(), "more texts")
    return rows


def _the_same(rows: Sequence[Example]) -> list[Example]:
    """Return the rows in an order that has nothing to do with what they say, the same each time."""
    return sorted(rows, key=lambda row: hashlib.sha256(row.id.encode("utf-8", "replace")).digest())


def _metrics(found: Guesses) -> dict[str, Metric]:
    loss = interval(found.losses)
    value, low, high = (float(np.exp(each)) for each in (loss.value, loss.low, loss.high))
    return {"loss": loss, "perplexity": Metric(value, low, high, loss.n), "accuracy": interval(found.hits)}
