"""The recipe `few-shot`: the encoder learns by contrast what tells labels apart, then a head is fitted on its vectors.

Tunstall et al. 2022, https://arxiv.org/abs/2209.11055 (contrast first, a head afterwards), with supervised contrast
over whole batches (Khosla et al. 2020, https://arxiv.org/abs/2004.11362) and the names of the labels among the texts.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder, Vectors
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, missing_extra
from mercat.heads import Remembered
from mercat.training.base import Report, Run
from mercat.training.classifying.classifier import (
    ENCODER,
    ROLE,
    Calibration,
    ClassifierRecipe,
    finish,
    labels_of,
    texts_of,
)
from mercat.training.classifying.remembering import HeadSettings, with_fingerprint
from mercat.training.data import Parts, Split
from mercat.training.estimating import Estimate, Trial, fitting_seconds
from mercat.training.tracking import Tracker
from mercat.values import Example

try:
    from mercat.training.classifying.model import tunable
    from mercat.training.contrast.embedder import Ids
    from mercat.training.contrast.grouped import Grouped, Texts
    from mercat.training.contrast.search import Search
    from mercat.training.contrast.tuned import TunedBody
    from mercat.training.loop.checkpoint import Checkpoints
    from mercat.training.loop.loop import Outcome
    from mercat.training.loop.precision import Dtype
    from mercat.training.loop.rehearsal import loop_estimate
    from mercat.training.loop.running import Telling, details_of, digest_of, notes_of, run_loop, shape_of
    from mercat.training.loop.settings import LoopSettings
    from mercat.training.loop.weights import sizes
except ImportError as error:
    raise missing_extra("The recipe 'few-shot'", error.name or "torch", "train") from error

CHOOSE_BY = "loss"  # a handful of rows held out rank alike after every epoch; their loss tells them apart
_BYTES = 4  # of a weight
_SEPARATORS = re.compile(r"[_\-/.:]+")


class FewShot(ClassifierRecipe):
    """Fine-tunes the body by contrast on rows of the same and of other labels, then fits logistic regression on it.

    Made for some 3 to 30 rows a label. With `label_texts` the name of each label ("card_arrival" as "card arrival")
    stands beside its rows, or what `descriptions` says of it; a name without letters does not. `freeze_layers` keeps
    the embeddings and that many of the lowest layers as they are. Everything is chosen and judged with the validation
    part held out; with `refit` body and head then learn from both parts together, in as much time again, and the
    report's figures stay those of before. `memory`, `neighbours` and `remember` are those of `linear`. `strength` is C
    of the head. Raises ConfigError for settings out of range.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        validation_share: float = 0.2,
        test_share: float = 0.1,
        split: Split = "auto",
        calibration: Literal["temperature", "none"] = "temperature",
        target_error: float | None = None,
        label_texts: bool = True,
        descriptions: Mapping[str, str] | None = None,
        temperature: float = 0.07,
        refit: bool = True,
        strength: float = 100.0,
        memory: float | Literal["auto"] = 0.3,
        neighbours: int = 20,
        remember: Remembered = "rows",
        max_tokens: int = 128,
        freeze_layers: int = 3,
        epochs: int = 4,
        batch_size: int = 32,
        learning_rate: float = 1e-4,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        gradient_clip: float = 1.0,
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
            calibration=_plain(calibration),
            target_error=target_error,
            seed=seed,
        )
        for name, found, least in (("max_tokens", max_tokens, 1), ("freeze_layers", freeze_layers, 0)):
            if found < least:
                raise ConfigError(f"{name} = {found}", f"It is at least {least}", f"{name} = {least}")
        for name, value in (("temperature", temperature), ("strength", strength)):
            if not 0 < value < float("inf"):
                raise ConfigError(f"{name} = {value}", "It is a number above 0", f"{name} = 1.0")
        self.label_texts, self.descriptions = label_texts, dict(descriptions or {})
        self.temperature, self.refit = temperature, refit
        self.head = HeadSettings(self.calibration, target_error, strength, None, memory, neighbours, remember)
        self.max_tokens, self.freeze_layers, self.device = max_tokens, freeze_layers, device
        self.telling = Telling(tensorboard, trackers, monotonic)
        self.settings = LoopSettings(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            warmup=warmup,
            weight_decay=weight_decay,
            gradient_clip=gradient_clip,
            choose_by=CHOOSE_BY,
            checkpoint_every_s=checkpoint_every_s,
            dtype=dtype,
        )

    def shape(self) -> Mapping[str, Any]:
        """Return what shapes the body; a checkpoint of another shape is not used."""
        return {
            "recipe": type(self).__name__,
            "loop": shape_of(self.settings),
            "names": [self.label_texts, self.descriptions],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "freeze_layers": self.freeze_layers,
        }

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Learn and choose with the validation part held out, then from both; write encoder, head and report."""
        started, parts = self.telling.monotonic(), self.parts(run)
        base = tunable(self.encoder, max_tokens=self.max_tokens)
        names = self._names(parts.labels)
        held_out = _known(parts)
        body, outcome = self._tuned(run, base, parts, parts.train, held_out, names)
        run.world.leave_to_first()
        vectors = body.encode(texts_of(parts.validation), role=ROLE)
        judged, details = self.head.fit(
            _rows(body, parts.train, names),
            validation=(vectors, labels_of(parts.validation)),
            fingerprint=base.fingerprint,
            seed=run.seed,
        )
        head, notes, learned = judged, notes_of(outcome, self.settings.epochs), parts
        if self.refit:
            rows = [*parts.train, *held_out]
            body, _ = self._tuned(run, base, parts, rows, (), names)
            learned = replace(parts, train=rows, validation=[row for row in parts.validation if row not in held_out])
            head = self.head.refit(judged, _rows(body, rows, names), seed=run.seed)
            notes.append(f"The figures are those before the {len(held_out)} validation rows were learned from too")
        saved = body.saved(writer.folder / ENCODER, like=texts_of(parts.validation), role=ROLE)
        return finish(
            writer,
            with_fingerprint(head, saved.fingerprint),
            parts,
            judged=judged,
            learned=learned,
            validation_vectors=vectors,
            seconds=self.telling.monotonic() - started,
            counts={"updates": outcome.updates, "label_texts": len(names), **sizes(body.embedder)},
            notes=[*notes, *self.telling.boards(run)],
            details={**details_of(outcome), **details},
        )

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost: both runs of the loop, and what is encoded to choose and to fit the head."""
        trial, parts = Trial(self.telling.monotonic), self.parts(run)
        base = tunable(self.encoder, max_tokens=self.max_tokens)
        names, held_out = self._names(parts.labels), _known(parts)
        body = TunedBody(base, run, freeze_layers=self.freeze_layers, device=self.device)
        objective = self._objective(body, parts.labels, parts.train, held_out, names)
        trial.read()
        again = 1 if self.refit else 0
        once = body.seconds([*objective.texts.ids, *objective.search.queries], clock=trial.clock)
        trial.stages["search"] = (
            self.settings.epochs * (1 + 2 * again) * once
        )  # without rows held out, rows search rows
        trial.stages["encode"] = (1 + again) * once
        rows, labels = len(parts.train), len(parts.labels)
        fitted = fitting_seconds(rows, base.dimensions, labels, grid=False, clock=trial.clock)
        trial.stages["fit"] = (1 + again) * fitted
        return loop_estimate(
            trial,
            body.embedder,
            self.settings,
            objective=objective,
            seed=run.seed,
            runs=1 + again * (rows + len(held_out)) / rows,
            beside_mb=again * _BYTES * sizes(body.embedder)["parameters"] / 2**20,  # the first body, until the end
        )

    def _names(self, labels: Sequence[str]) -> dict[str, str]:
        """Return what each label is called in words, for those that are."""
        strange = sorted(set(self.descriptions) - set(labels))
        if strange:
            known = ", ".join(labels[:10])
            raise ConfigError(f"descriptions of {', '.join(strange[:10])}", f"The labels are {known}", "one of them")
        read = {label: _SEPARATORS.sub(" ", label).strip().lower() for label in labels if self.label_texts}
        spoken = {label: text for label, text in read.items() if any(each.isalpha() for each in text)}
        return {**spoken, **self.descriptions}

    def _tuned(
        self,
        run: Run,
        base: Transformer,
        parts: Parts,
        rows: Sequence[Example],
        held_out: Sequence[Example],
        names: Mapping[str, str],
    ) -> tuple[TunedBody, Outcome]:
        """Return the body after contrast over these rows, at its best epoch by those held out, or by the rows."""
        body = TunedBody(base, run, freeze_layers=self.freeze_layers, device=self.device)
        digest = digest_of(self.shape(), parts.digest, base.fingerprint, run.seed, len(held_out))
        folder = run.scratch / ("held-out" if held_out else "refit")
        outcome = run_loop(
            run,
            body.embedder,
            self.settings,
            objective=self._objective(body, parts.labels, rows, held_out, names),
            checkpoints=Checkpoints(folder, digest),
            # the curves are those of what was judged; a second run would draw over them
            telling=self.telling if held_out else replace(self.telling, tensorboard=False, trackers=()),
        )
        return body, outcome

    def _objective(
        self,
        body: TunedBody,
        labels: Sequence[str],
        rows: Sequence[Example],
        held_out: Sequence[Example],
        names: Mapping[str, str],
    ) -> Grouped:
        number = {label: place for place, label in enumerate(labels)}
        spoken = [*labels_of(rows), *names]
        texts = Texts(
            body.ids([*texts_of(rows), *names.values()], role=ROLE), np.array([number[label] for label in spoken])
        )
        always = np.full(len(labels), -1, dtype=np.int64)
        always[[number[label] for label in names]] = len(rows) + np.arange(len(names))
        asked = texts.groups[: len(rows)]
        queries: Sequence[Ids] = texts.ids[: len(rows)]
        if held_out:
            asked = np.array([number[row.label] for row in held_out])
            queries = body.ids(texts_of(held_out), role=ROLE)
        return Grouped(
            texts,
            anchors=np.arange(len(rows)),
            partners=np.arange(len(rows)),
            always=always,
            search=Search(queries, asked, texts.ids, texts.groups, itself=not held_out),
            temperature=self.temperature,
        )


def _plain(calibration: Literal["temperature", "none"]) -> Calibration:
    if calibration not in ("temperature", "none"):
        found = "Tables want far more rows of each label"
        raise ConfigError(f"calibration = '{calibration}'", found, "calibration = 'temperature'")
    return calibration


def _known(parts: Parts) -> list[Example]:
    """Validation rows whose label can be learned; the others count in the report, as errors."""
    return [row for row in parts.validation if row.label in set(parts.labels)]


def _rows(body: TunedBody, rows: Sequence[Example], names: Mapping[str, str]) -> tuple[Vectors, list[str]]:
    """Return what a head is fitted on: the rows, and the names of the labels as rows of theirs."""
    return body.encode([*texts_of(rows), *names.values()], role=ROLE), [*labels_of(rows), *names]
