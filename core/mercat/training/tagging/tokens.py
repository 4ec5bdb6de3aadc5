"""The recipe `tokens`: a tag for each word, learned from rows whose words have BIO tags; finds names and the like."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, missing_extra
from mercat.evaluation.spans import span_differences, tagging
from mercat.heads import softmax
from mercat.heads.tags import OUTSIDE, TagHead
from mercat.predictors.tagger import ENCODER, HEAD, TagScorer
from mercat.predictors.words import WordPieces
from mercat.training.base import Evaluation, Report, Run
from mercat.training.compare import defined
from mercat.training.data import Parts, check_shares, part_examples, read_examples, unseen_test_rows
from mercat.training.estimating import Estimate, Trial
from mercat.training.publishing import publish
from mercat.training.tagging.gazetteer import NAME, Gazetteer
from mercat.training.tagging.rows import Tagged, TagReader, digested
from mercat.training.tracking import Tracker
from mercat.values import Example

try:
    from mercat.training.classifying.model import tunable
    from mercat.training.loop.checkpoint import Checkpoints
    from mercat.training.loop.precision import Dtype
    from mercat.training.loop.running import Telling, details_of, digest_of, seeded
    from mercat.training.loop.settings import LoopSettings
    from mercat.training.loop.tuning import Adapt, Tuning
    from mercat.training.loop.weights import sizes
    from mercat.training.tagging.model import WordTagger
    from mercat.training.tagging.objective import UNKNOWN, Tagging, predict, stretches
except ImportError as error:
    raise missing_extra("Fine-tuning", error.name or "torch", "train") from error

_ALIKE = 0.02  # how far served probabilities may lie from those of training, in any number format


@dataclass(frozen=True, slots=True)
class Texts:
    """The rows of a collection in their parts, and what each says of its words."""

    parts: Parts
    tagged: Mapping[str, Tagged]  # by the row's id

    def of(self, rows: Sequence[Example]) -> list[Tagged]:
        """Return the words and tags of these rows."""
        return [self.tagged[row.id] for row in rows]


class Tokens:
    """Fine-tunes the encoder's body with a layer that gives each word a tag; the artifact brings its own body.

    `tokens`, `tags` and `entities` name the columns of a row's metadata: lists of words and of their tags (BIO; IOB1,
    BIOES and BILOU are read as well), or a list of {start, end, label} in characters. `constrained` takes the likeliest
    sequence of tags in which every I- follows its B- or I-. `shapes` lets the model see whether a word is lower, Title
    or UPPER case; "auto" does where the tokenizer does not. `adapt` "lora" learns matrices of `rank` beside frozen
    weights. Long texts are read in windows of `max_tokens`. Probabilities are calibrated by a temperature on validation
    words. `choose_by` says by which validation figure an epoch is the best. Raises ConfigError for settings out of
    range.
    """

    kind = "tagger"
    shared = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        tokens: str = "tokens",
        tags: str = "tags",
        entities: str = "entities",
        validation_share: float = 0.1,
        test_share: float = 0.1,
        split: Literal["auto", "group", "time"] = "auto",
        constrained: bool = True,
        shapes: bool | Literal["auto"] = "auto",
        adapt: Adapt = "full",
        rank: int = 16,
        max_tokens: int = 128,
        epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float = 3e-4,
        head_learning_rate: float = 2e-3,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        layer_decay: float = 1.0,
        label_smoothing: float = 0.0,
        gradient_clip: float = 1.0,
        adversarial: float = 0.0,
        average_epochs: int = 0,
        patience: int = 0,
        choose_by: Literal["f1", "accuracy", "loss"] = "f1",
        checkpoint_every_s: float = 60.0,
        device: str = "auto",
        dtype: Dtype = "auto",
        tensorboard: bool = False,
        trackers: Sequence[Tracker] = (),
        seed: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        check_shares(validation_share=validation_share, test_share=test_share)
        self.encoder, self.collection, self.seed = encoder, collection, seed
        self.columns = {"tokens": tokens, "tags": tags, "entities": entities}
        self.validation_share, self.test_share, self.split = validation_share, test_share, split
        self.constrained, self.shapes, self._monotonic = constrained, shapes, monotonic
        self.tuning = Tuning(
            settings=LoopSettings(
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                head_learning_rate=head_learning_rate,
                warmup=warmup,
                weight_decay=weight_decay,
                layer_decay=layer_decay,
                label_smoothing=label_smoothing,
                gradient_clip=gradient_clip,
                adversarial=adversarial,
                average_epochs=average_epochs,
                patience=patience,
                choose_by=choose_by,
                checkpoint_every_s=checkpoint_every_s,
                dtype=dtype,
            ),
            adapt=adapt,
            rank=rank,
            max_tokens=max_tokens,
            device=device,
            telling=Telling(tensorboard, trackers, monotonic),
        )

    def shape(self) -> Mapping[str, Any]:
        """Return what shapes the result; a checkpoint of another shape is not used."""
        own = {"recipe": "tokens", "constrained": self.constrained, "shapes": self.shapes}
        return {**self.tuning.shape(), **own}

    def texts(self, run: Run) -> Texts:
        """Read the collection in its parts. Raises DataError for rows without tags, or without any entity."""
        reader, rows, tagged = TagReader(**self.columns), [], {}
        for row in read_examples(run.store, self.collection):
            found = reader.read(row) if row.text.strip() else None
            if found and found.words:
                tagged[row.id] = found
                rows.append(digested(row, found))
        parts = part_examples(
            rows,
            self.collection,
            labels_of=lambda row: sorted({*tagged[row.id].tags} - {OUTSIDE}),
            by_label=False,
            validation_share=self.validation_share,
            test_share=self.test_share,
            split=self.split,
            least=1,
            notes=reader.notes(),
        )
        return Texts(parts, tagged)

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Fine-tune on the train part, keep the epoch that does best on validation, write body, head and report."""
        started, texts = self._monotonic(), self.texts(run)
        parts, validation = texts.parts, texts.of(texts.parts.validation)
        base, tokenizer, model, objective = self._ready(run, texts)
        untrained, judged = objective.judge, objective.validation
        checkpoints = Checkpoints(run.scratch, digest_of(self.shape(), parts.digest, base.fingerprint, run.seed))
        outcome = self.tuning.fit(run, model, objective, checkpoints)
        logits = predict(model, judged, validation, pad_id=base.checkpoint.pad_id, batch_size=64)
        counts = {"updates": outcome.updates, "windows": len(objective.train), **sizes(model)}
        scorer, difference = self._saved(writer.folder, base, tokenizer, model, untrained, validation, logits)
        metrics = defined(tagging([text.tags for text in validation], _tags(scorer, validation)))
        details = {**details_of(outcome), "temperature": scorer.head.temperature, "serving_difference": difference}
        report = Report(
            metrics=metrics,
            counts={**parts.counts, **counts, "words": sum(len(text.words) for text in texts.of(parts.train))},
            seconds=self._monotonic() - started,
            notes=[*parts.notes, *self.tuning.notes(run, outcome)],
            details=details,
        )
        return publish(writer, report, parts, fingerprint=scorer.head.fingerprint)

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost, from some updates on a model that is thrown away."""
        trial, texts = Trial(self._monotonic), self.texts(run)
        _, _, model, objective = self._ready(run, texts)
        trial.read()
        validation = [stretch.window.ids for stretch in objective.validation]
        return self.tuning.estimate(trial, model, objective, seed=run.seed, validation=validation)

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Score a finished artifact on test rows that training never saw, beside the entities of the train part."""
        texts, scorer = self.texts(run), TagScorer(artifact)
        rows = unseen_test_rows(texts.parts, artifact)
        tested = texts.of(rows)
        true = [text.tags for text in tested]
        run.progress("baseline", 0, 1)
        simple = Gazetteer(texts.of([*texts.parts.train, *texts.parts.validation]))
        theirs = [simple.tags(text) for text in tested]
        run.progress("baseline", 1, 1)
        ours = _tags(scorer, tested)
        seen = len(texts.parts.test) - len(rows)
        return Evaluation(
            metrics=defined(tagging(true, ours)),
            baseline=NAME,
            baseline_metrics=defined(tagging(true, theirs)),
            differences=span_differences(true, ours, theirs),
            counts={"test": len(rows), "words": sum(map(len, true)), "left_out_as_seen": seen},
            notes=[f"{seen} test rows were left out because training had seen them"] if seen else (),
        )

    def _ready(self, run: Run, texts: Texts) -> tuple[Transformer, Any, WordTagger, Tagging]:
        """Return the encoder to begin with, its tokenizer, the model on its device, and what it learns."""
        parts, validation = texts.parts, texts.of(texts.parts.validation)
        base = tunable(self.encoder, max_tokens=self.tuning.max_tokens)
        body, tokenizer = base.load_for_training()
        pieces = _pieces(base, tokenizer)
        untrained = self._untrained(parts, base)
        model = self._model(run, base, body, pieces, tags=len(untrained.tags))
        learned, judged = (stretches(pieces, each, untrained.tags) for each in (texts.of(parts.train), validation))
        objective = Tagging(
            learned,
            judged,
            texts=validation,
            judge=untrained,
            pad_id=base.checkpoint.pad_id,
            label_smoothing=self.tuning.settings.label_smoothing,
            score_batch=2 * self.tuning.settings.batch_size,
        )
        return base, tokenizer, model, objective

    def _untrained(self, parts: Parts, base: Transformer) -> TagHead:
        """Return a head without weights: the tags, and how a sequence of them is decoded."""
        labels = sorted({tag[2:] for tag in parts.labels})
        tags = (OUTSIDE, *(f"{kind}-{label}" for label in labels for kind in "BI"))
        weights = np.zeros((len(tags), base.dimensions), dtype=np.float32)
        return TagHead(tags, weights, weights[:, 0], "", constrained=self.constrained)

    def _model(self, run: Run, base: Transformer, body: Any, pieces: WordPieces, *, tags: int) -> WordTagger:
        shapes = pieces.blind_to_case() if self.shapes == "auto" else self.shapes
        adapted = self.tuning.adapted(body, seed=run.seed)
        with seeded(run.seed):
            model = WordTagger(adapted, dimensions=base.dimensions, tags=tags, shapes=shapes)
        self.tuning.place(run, model)
        return model

    def _saved(
        self,
        folder: Path,
        base: Transformer,
        tokenizer: Any,
        model: WordTagger,
        untrained: TagHead,
        validation: Sequence[Tagged],
        logits: Sequence[NDArray[np.float32]],
    ) -> tuple[TagScorer, float]:
        """Write body and head, calibrated on what they serve; return them with how far they are from training."""
        weights, bias, shapes = model.arrays()
        base.save_body(self.tuning.merged(model.body, folder).cpu(), tokenizer, folder / ENCODER)
        fingerprint = Transformer.from_folder(folder / ENCODER).fingerprint
        head = TagHead(untrained.tags, weights, bias, fingerprint, constrained=untrained.constrained, shapes=shapes)
        (folder / HEAD).mkdir()
        head.save(folder / HEAD)
        served = _logits(TagScorer(folder), validation)
        number = {tag: place for place, tag in enumerate(head.tags)}
        targets = np.array([number.get(tag, UNKNOWN) for text in validation for tag in text.tags])
        head.calibrated(served[targets >= 0], targets[targets >= 0]).save(folder / HEAD)
        return TagScorer(folder), _difference(served, np.concatenate(logits))


def _pieces(base: Transformer, tokenizer: Any) -> WordPieces:
    return WordPieces(tokenizer, max_tokens=base.max_tokens, lower_case=base.checkpoint.lower_case)


def _logits(scorer: TagScorer, texts: Sequence[Tagged]) -> NDArray[np.float32]:
    found = scorer.logits([text.text for text in texts], [text.words for text in texts])
    return np.concatenate(found)


def _tags(scorer: TagScorer, texts: Sequence[Tagged]) -> list[list[str]]:
    found = scorer.scores([text.text for text in texts], [text.words for text in texts])
    return [scorer.tags(scores) for scores in found]


def _difference(served: NDArray[np.float32], trained: NDArray[np.float32]) -> float:
    """Return how far served probabilities lie from those of training. Raises ArtifactError if they are others."""
    found = float(np.abs(softmax(served) - softmax(trained)).max())
    if not found <= _ALIKE:
        raise ArtifactError(
            "What was saved must answer as what was trained",
            f"Probabilities differ by up to {found:.3f}",
            "device = 'cpu', and report this model",
        )
    return found
