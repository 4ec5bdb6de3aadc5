"""The recipe `generate`: a language model learns to answer as the pairs of a collection do."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import ArtifactWriter
from mercat.errors import ConfigError, DataError, missing_extra
from mercat.evaluation.base import Metric
from mercat.evaluation.bootstrap import interval, paired
from mercat.evaluation.chrf import chrf
from mercat.generators.base import Generator, Sampling
from mercat.generators.decoding import Decoder, load_module, load_tokenizer
from mercat.generators.folder import GeneratorFolder, read_generator
from mercat.generators.local import IN_ARTIFACT
from mercat.pretrained.folder import weight_files
from mercat.pretrained.sums import sha256
from mercat.training.base import Evaluation, Progress, Report, Run
from mercat.training.data import Parts, Split, check_shares, save_rows, unseen_test_rows
from mercat.training.estimating import Estimate, Trial
from mercat.training.report import save_report
from mercat.training.tracking import Tracker
from mercat.values import Example

try:
    from mercat.compute.device import choose_device
    from mercat.training.generating.answers import AnsweringModel, Answers, Surprise, Turn, surprise
    from mercat.training.generating.turns import read_pairs, save_generator, source_of, turns_of
    from mercat.training.loop.checkpoint import Checkpoints
    from mercat.training.loop.precision import Dtype
    from mercat.training.loop.running import Telling, details_of, digest_of
    from mercat.training.loop.settings import LoopSettings
    from mercat.training.loop.tuning import Tuning
    from mercat.training.loop.weights import sizes
except ImportError as error:
    raise missing_extra("The recipe 'generate'", error.name or "torch", "train") from error

_RATE, _RATE_OF_LORA = 5e-5, 5e-4
_ROWS = 8  # answered at once
_TRIED = 8  # tokens that are decoded for an estimate


@dataclass(frozen=True, slots=True)
class Judged:
    """How a model does on rows: by the tokens of the wanted answers, and by chrF of its own, shape (compared rows,)."""

    surprise: Surprise
    likeness: NDArray[np.float64]

    def metrics(self) -> dict[str, Metric]:
        """Return loss, perplexity and accuracy per token, drawn by rows, and chrF per row."""
        found = self.surprise
        loss = interval(found.losses, groups=found.rows.tolist())
        value, low, high = (float(np.exp(each)) for each in (loss.value, loss.low, loss.high))
        return {
            "loss": loss,
            "perplexity": Metric(value, low, high, loss.n),
            "accuracy": interval(found.hits, groups=found.rows.tolist()),
            "chrf": interval(self.likeness),
        }


class Generate:
    """Fine-tunes a generator of the kind `local`, causal or sequence to sequence, on texts and the answers to them.

    A row is an example with a `text` and its answer as `text_pair`; rows of one conversation share a `group`, and a
    text may hold what was said before. Only answers are learned, not prompts. A model with a chat template is trained
    by it, with `system` before each text; a causal one without gets a template of one line per turn, which the artifact
    keeps. `lora` lets matrices of `rank` learn beside the linear layers, merged at the end. Rows of more than
    `max_tokens`, prompt and answer together, are left out, and said. `learning_rate` is 5e-5, with `lora` 5e-4.
    `compared` rows of validation and test are answered too, in up to `answer_tokens`, and held against the wanted
    answers by chrF. Raises ConfigError for settings out of range.
    """

    kind = "generator"
    shared = True

    def __init__(
        self,
        generator: Generator,
        *,
        collection: str,
        system: str = "",
        lora: bool = False,
        rank: int = 16,
        max_tokens: int = 256,
        answer_tokens: int = 64,
        compared: int = 50,
        validation_share: float = 0.1,
        test_share: float = 0.1,
        split: Split = "auto",
        epochs: int = 3,
        batch_size: int = 8,
        learning_rate: float | None = None,
        warmup: float = 0.1,
        weight_decay: float = 0.0,
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
        check_shares(validation_share=validation_share, test_share=test_share)
        for name, found in (("answer_tokens", answer_tokens), ("compared", compared)):
            if found < 1:
                raise ConfigError(f"{name} = {found}", "It is at least 1", f"{name} = 50")
        self.generator, self.collection, self.system, self.seed = generator, collection, system, seed
        self.answer_tokens, self.compared = answer_tokens, compared
        self.validation_share, self.test_share, self.split = validation_share, test_share, split
        settings = LoopSettings(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate or (_RATE_OF_LORA if lora else _RATE),
            warmup=warmup,
            weight_decay=weight_decay,
            gradient_clip=gradient_clip,
            patience=patience,
            choose_by="loss",
            checkpoint_every_s=checkpoint_every_s,
            dtype=dtype,
        )
        self.tuning = Tuning(
            settings=settings,
            adapt="lora" if lora else "full",
            rank=rank,
            max_tokens=max_tokens,
            device=device,
            telling=Telling(tensorboard, trackers, monotonic),
        )

    def shape(self) -> Mapping[str, Any]:
        """Return what shapes the result; a checkpoint of another shape is not used."""
        return {"recipe": type(self).__name__, "system": self.system, **self.tuning.shape()}

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Learn from the train part, keep the best epoch, write the model into `generator/`, judge what was written."""
        clock = self.tuning.telling.monotonic
        started, parts, read = clock(), self._parts(run), source_of(self.generator)
        tokenizer = load_tokenizer(read)
        rows, notes = self._fitting(read, tokenizer, parts)
        model, objective = self._ready(run, read, tokenizer, rows)
        digest = digest_of(self.shape(), parts.digest, _fingerprint(read), run.seed)
        outcome = self.tuning.fit(run, model, objective, Checkpoints(run.scratch, digest))
        counts = sizes(model)
        save_generator(
            self.tuning.merged(model.body, writer.folder).cpu(), tokenizer, read, writer.folder / IN_ARTIFACT
        )
        judged = self._judged(read_generator(writer.folder / IN_ARTIFACT), rows["validation"], run.progress)
        report = Report(
            metrics=judged.metrics(),
            counts={**parts.counts, **{f"{name}_used": len(each) for name, each in rows.items()}, **counts}
            | {"updates": outcome.updates},
            seconds=clock() - started,
            notes=[*parts.notes, *notes, *self.tuning.notes(run, outcome)],
            details=details_of(outcome),
        )
        save_report(writer.folder, report)
        save_rows(writer.folder, parts)
        writer.metrics, writer.data_digest = dict(report.metrics), parts.digest
        return report

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Judge a finished generator on test rows that training never saw, beside the model before it was trained."""
        rows, read = unseen_test_rows(self._parts(run), artifact), source_of(self.generator)
        fitting = self._within(rows, read, load_tokenizer(read))
        if not fitting:
            raise _nothing_fits("test", self.tuning.max_tokens)
        ours, theirs = (
            self._judged(each, fitting, run.progress) for each in (read_generator(artifact / IN_ARTIFACT), read)
        )
        left, right = ours.surprise, theirs.surprise
        groups = left.rows.tolist()
        return Evaluation(
            metrics=ours.metrics(),
            baseline="the model before training",
            baseline_metrics=theirs.metrics(),
            differences={
                "loss": paired(left.losses, right.losses, groups=groups),
                "accuracy": paired(left.hits, right.hits, groups=groups),
                "chrf": paired(ours.likeness, theirs.likeness),
            },
            counts={"test": len(rows), "used": len(fitting), "compared": len(ours.likeness)},
        )

    def _parts(self, run: Run) -> Parts:
        return read_pairs(
            run.store,
            self.collection,
            validation_share=self.validation_share,
            test_share=self.test_share,
            split=self.split,
        )

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost: the loop, and the answers that the trained model is judged by."""
        trial, parts, read = Trial(self.tuning.telling.monotonic), self._parts(run), source_of(self.generator)
        tokenizer = load_tokenizer(read)
        rows, _ = self._fitting(read, tokenizer, parts)
        model, objective = self._ready(run, read, tokenizer, rows)
        trial.read()
        trial.stages["answer"] = self._answering_seconds(read, objective.validation[: self.compared], trial.clock)
        validation = [[*turn.prompt, *turn.answer] for turn in objective.validation]
        return self.tuning.estimate(trial, model, objective, seed=run.seed, validation=validation)

    def _answering_seconds(self, read: GeneratorFolder, turns: Sequence[Turn], clock: Callable[[], float]) -> float:
        """Return about how long the answers to these prompts take, from the first tokens of some."""
        decoder = Decoder(read, device=choose_device(self.tuning.device).name, dtype="float32")
        some, tried = [turn.prompt for turn in turns[:_ROWS]], min(_TRIED, self.answer_tokens)
        stops = []
        started = clock()
        for _ in decoder.answers(some, Sampling(tried, 0.0, 0, ())):
            stops.append(clock() - started)
        first, each = stops[0], (stops[-1] - stops[0]) / max(len(stops) - 1, 1)
        return math.ceil(len(turns) / _ROWS) * (first + each * (self.answer_tokens - 1))

    def _ready(
        self, run: Run, read: GeneratorFolder, tokenizer: Any, rows: Mapping[str, Sequence[Example]]
    ) -> tuple[AnsweringModel, Answers]:
        """Return the model as it learns, on its device, and what it learns."""
        turns = {name: self._turns(each, read, tokenizer) for name, each in rows.items()}
        body = self.tuning.adapted(load_module(read, dtype="float32"), seed=run.seed)
        model = AnsweringModel(body, start=read.start)
        self.tuning.place(run, model)
        batch = 2 * self.tuning.settings.batch_size
        return model, Answers(turns["train"], turns["validation"], score_batch=batch)

    def _fitting(
        self, read: GeneratorFolder, tokenizer: Any, parts: Parts
    ) -> tuple[dict[str, list[Example]], list[str]]:
        """Return the rows that are short enough, and what to say of the others. Raises DataError if none are."""
        found, notes = {}, []
        for name, rows in (("train", parts.train), ("validation", parts.validation)):
            found[name] = self._within(rows, read, tokenizer)
            if not found[name]:
                raise _nothing_fits(name, self.tuning.max_tokens)
            if left := len(rows) - len(found[name]):
                notes.append(f"{left} {name} rows have more than max_tokens = {self.tuning.max_tokens}: left out")
        return found, notes

    def _within(self, rows: Sequence[Example], read: GeneratorFolder, tokenizer: Any) -> list[Example]:
        most = min(self.tuning.max_tokens, read.max_tokens)
        turns = turns_of(rows, read, tokenizer, system=self.system, max_tokens=most)
        return [row for row, turn in zip(rows, turns, strict=True) if turn]

    def _turns(self, rows: Sequence[Example], read: GeneratorFolder, tokenizer: Any) -> list[Turn]:
        turns = turns_of(rows, read, tokenizer, system=self.system, max_tokens=read.max_tokens)
        return [turn for turn in turns if turn]

    def _judged(self, read: GeneratorFolder, rows: Sequence[Example], progress: Progress) -> Judged:
        """Return how the model in a folder does on rows that all fit."""
        decoder = Decoder(read, device=choose_device(self.tuning.device).name, dtype="float32")
        turns = self._turns(rows, read, decoder.tokenizer)
        found = surprise(AnsweringModel(decoder.module, start=read.start).eval(), turns)
        sampling, likeness = Sampling(self.answer_tokens, 0.0, 0, ()), []
        for start in range(0, min(len(turns), self.compared), _ROWS):
            batch = slice(start, min(start + _ROWS, self.compared))
            *_, growing = decoder.answers([turn.prompt for turn in turns[batch]], sampling)
            wanted = [row.text_pair for row in rows[batch]]
            likeness += [chrf(each.text, text) for each, text in zip(growing, wanted, strict=True)]
            progress("answer", len(likeness), min(len(turns), self.compared))
        return Judged(found, np.array(likeness))


def _nothing_fits(part: str, most: int) -> DataError:
    asked = f"The recipe 'generate' needs {part} rows of at most {most} tokens, prompt and answer together"
    return DataError(asked, "All are longer", f"max_tokens = {2 * most}")


def _fingerprint(read: GeneratorFolder) -> str:
    return " ".join(sha256(file) for file in (*weight_files(read.folder), read.folder / "tokenizer.json"))
