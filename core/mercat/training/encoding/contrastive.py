"""The recipe `contrastive`: an encoder learns from pairs of texts, or from labelled rows, what belongs together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder
from mercat.encoders.made import IN_ARTIFACT
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, missing_extra
from mercat.training.base import Evaluation, Report, Run
from mercat.training.contrast.before import beside_before, report_on
from mercat.training.contrast.material import (
    Material,
    Text,
    material_of,
    read_parts_for_contrast,
)
from mercat.training.contrast.search import Search
from mercat.training.data import Parts, Split, check_shares, save_rows, unseen_test_rows
from mercat.training.estimating import Estimate, Trial
from mercat.training.tracking import Tracker

try:
    from mercat.training.classifying.model import tunable
    from mercat.training.contrast.embedder import Ids
    from mercat.training.contrast.grouped import Grouped, Texts
    from mercat.training.contrast.judging import judge_of
    from mercat.training.contrast.losses import (
        Loss,
        check_loss,
        figure_of,
        is_divisible,
        library_loss,
        of_scored_pairs,
        require_rows,
    )
    from mercat.training.contrast.mining import Mining
    from mercat.training.contrast.ranked import grouped_by
    from mercat.training.contrast.scored import Scored, ScoredPairs, Side, read_scored_parts, scored_pairs_of
    from mercat.training.contrast.tuned import TunedBody
    from mercat.training.loop.checkpoint import Checkpoints
    from mercat.training.loop.loop import Outcome
    from mercat.training.loop.precision import Dtype
    from mercat.training.loop.rehearsal import loop_estimate
    from mercat.training.loop.running import Telling, details_of, digest_of, notes_of, run_loop, shape_of
    from mercat.training.loop.settings import LoopSettings
    from mercat.training.loop.weights import sizes
except ImportError as error:
    raise missing_extra("The recipe 'contrastive'", error.name or "torch", "train") from error


class Contrastive:
    """Fine-tunes an encoder so that a text is nearer to its partner than to all others of the batch (see `Grouped`).

    That is `loss` "grouped". The others are those of sentence-transformers, computed by it on vectors of length 1; each
    needs rows of its own. `margin` is that of triplets and of pairs with a label. Epochs are chosen by "mrr@10" on the
    validation part; where pairs have numbers by Spearman's correlation of their cosines, where labels by the "auroc".

    `collection` holds pairs (`text`, searched with, and `text_pair`, to be found) or labelled rows, of which two of one
    label are partners. Where pairs are labelled too, only those of `positive_label` count. Larger batches are harder
    and better. `hard_negatives` above 0 adds to each text so many of the nearest that do not belong to it, searched for
    by the encoder as it is and again after each epoch (`mine` "once": at the start alone); one nearer than
    `ceiling` times the nearest that does belong is passed over. Raises ConfigError for settings out
    of range.
    """

    kind = "encoder"

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        positive_label: str = "",
        validation_share: float = 0.1,
        test_share: float = 0.1,
        split: Split = "auto",
        loss: Loss = "grouped",
        temperature: float = 0.05,
        margin: float = 0.5,
        hard_negatives: int = 0,
        mine: Literal["epoch", "once"] = "epoch",
        ceiling: float = 0.95,
        max_tokens: int = 128,
        freeze_layers: int = 0,
        epochs: int = 3,
        batch_size: int = 64,
        learning_rate: float = 5e-5,
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
        check_shares(validation_share=validation_share, test_share=test_share)
        for name, found, least in (
            ("max_tokens", max_tokens, 1),
            ("freeze_layers", freeze_layers, 0),
            ("hard_negatives", hard_negatives, 0),
            ("batch_size", batch_size, 2),
        ):
            if found < least:
                raise ConfigError(f"{name} = {found}", f"It is at least {least}", f"{name} = {least}")
        for name, value, usual in (("temperature", temperature, 0.05), ("ceiling", ceiling, 0.95)):
            if not 0 < value < float("inf"):
                raise ConfigError(f"{name} = {value}", "It is a number above 0", f"{name} = {usual}")
        if mine not in ("epoch", "once"):
            raise ConfigError(f"mine = '{mine}'", "Known: epoch, once", "mine = 'epoch'")
        check_loss(loss, margin=margin, hard_negatives=hard_negatives, positive_label=positive_label)
        self.loss, self.margin = loss, margin
        self.encoder, self.collection, self.seed = encoder, collection, seed
        self.positive_label, self.split = positive_label, split
        self.validation_share, self.test_share = validation_share, test_share
        self.temperature, self.hard_negatives, self.mine, self.ceiling = temperature, hard_negatives, mine, ceiling
        self.max_tokens, self.freeze_layers, self.device = max_tokens, freeze_layers, device
        self.telling = Telling(tensorboard, trackers, monotonic)
        self.settings = LoopSettings(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            warmup=warmup,
            weight_decay=weight_decay,
            gradient_clip=gradient_clip,
            patience=patience,
            choose_by=figure_of(loss),
            checkpoint_every_s=checkpoint_every_s,
            dtype=dtype,
        )

    @property
    def shared(self) -> bool:
        """Whether several processes can train together: their loss compares no row of a batch with another one."""
        return is_divisible(self.loss)

    def shape(self) -> Mapping[str, Any]:
        """Return what shapes the result; a checkpoint of another shape is not used."""
        return {
            "recipe": type(self).__name__,
            "loop": shape_of(self.settings),
            "loss": [self.loss, self.margin],
            "temperature": self.temperature,
            "mining": [self.hard_negatives, self.mine, self.ceiling] if self.hard_negatives else [],
            "max_tokens": self.max_tokens,
            "freeze_layers": self.freeze_layers,
        }

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Learn from the train part, keep the best epoch, write the encoder; the report has what it was before too."""
        started, parts = self.telling.monotonic(), self._parts(run)
        material = self._material(parts)
        base = tunable(self.encoder, max_tokens=self.max_tokens)
        body = TunedBody(base, run, freeze_layers=self.freeze_layers, device=self.device)
        outcome = self._learned(run, body, material, parts.digest)
        run.world.leave_to_first()
        judge = judge_of(material, "validation")
        saved = body.saved(writer.folder / IN_ARTIFACT, like=judge.like, role="query")
        save_rows(writer.folder, parts)
        before, after = (judge.judged(each) for each in (base, saved))
        return report_on(
            writer,
            saved,
            before=before,
            after=after,
            digest=parts.digest,
            counts={
                **parts.counts,
                "texts": len(material.texts),
                "updates": outcome.updates,
                **sizes(body.embedder),
            },
            seconds=self.telling.monotonic() - started,
            notes=[*parts.notes, *notes_of(outcome, self.settings.epochs), *self.telling.boards(run)],
            details=details_of(outcome),
        )

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Judge by test rows that training never saw, beside the encoder as it was before."""
        parts = self._parts(run)
        rows = unseen_test_rows(parts, artifact)
        judge = judge_of(self._material(replace(parts, test=rows)), "test")
        tuned = Transformer.from_folder(artifact / IN_ARTIFACT)
        ours, theirs = (judge.judged(each) for each in (tuned, self.encoder))
        return beside_before(
            ours,
            theirs,
            counts={
                "test": len(rows),
                "left_out_as_seen": len(parts.test) - len(rows),
                **judge.counts,
            },
        )

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost: the loop, judging by the validation part, and what it mines."""
        trial, parts = Trial(self.telling.monotonic), self._parts(run)
        material = self._material(parts)
        base = tunable(self.encoder, max_tokens=self.max_tokens)
        body = TunedBody(base, run, freeze_layers=self.freeze_layers, device=self.device)
        objective = self._objective(body, material)
        trial.read()
        once = body.seconds(_judged_by(objective), clock=trial.clock)
        trial.stages["judge"] = (self.settings.epochs + 2) * once
        if self.hard_negatives and isinstance(objective, Grouped):
            texts = objective.texts.ids
            mined = [texts[number] for number in (*objective.anchors, *objective.partners)]
            times = 1 + (self.settings.epochs if self.mine == "epoch" else 0)
            trial.stages["mine"] = times * body.seconds(mined, clock=trial.clock)
            drawn = np.random.default_rng(run.seed)  # as many texts beside each anchor, whichever they are
            objective.mined = drawn.integers(len(texts), size=(len(objective.anchors), self.hard_negatives))
        return loop_estimate(trial, body.embedder, self.settings, objective=objective, seed=run.seed)

    def _parts(self, run: Run) -> Parts:
        shares: dict[str, Any] = {
            "validation_share": self.validation_share,
            "test_share": self.test_share,
            "split": self.split,
        }
        if of_scored_pairs(self.loss):
            return read_scored_parts(run.store, self.collection, loss=self.loss, **shares)
        parts = read_parts_for_contrast(run.store, self.collection, positive_label=self.positive_label, **shares)
        require_rows(self.loss, parts.train, self.collection)
        return parts

    def _material(self, parts: Parts) -> Material | ScoredPairs:
        if of_scored_pairs(self.loss):
            return scored_pairs_of(parts, self.collection, loss=self.loss, positive_label=self.positive_label)
        return material_of(parts, self.collection)

    def _learned(self, run: Run, body: TunedBody, material: Material | ScoredPairs, digest: str) -> Outcome:
        objective = self._objective(body, material)
        checkpoints = Checkpoints(run.scratch, digest_of(self.shape(), digest, body.base.fingerprint, run.seed))
        mining = None
        if self.hard_negatives and isinstance(objective, Grouped):
            per_epoch = self.settings.updates(len(objective.lengths)) // self.settings.epochs
            mining = Mining(
                objective,
                body.embedder,
                count=self.hard_negatives,
                ceiling=self.ceiling,
                every=per_epoch if self.mine == "epoch" else 0,
            )
            if not checkpoints.ready:
                mining.mine()
        return run_loop(
            run,
            body.embedder,
            self.settings,
            objective=objective,
            checkpoints=checkpoints,
            telling=self.telling,
            steering=mining,
        )

    def _objective(self, body: TunedBody, material: Material | ScoredPairs) -> Grouped | Scored:
        if isinstance(material, ScoredPairs):
            return self._scored(body, material)
        asked, answers = material.asked["train"], material.answers["train"]
        used = np.union1d(asked, answers)
        texts = Texts(_ids(body, [material.texts[number] for number in used]), material.groups[used])
        search = material.search("validation")
        return grouped_by(
            self.loss,
            texts,
            anchors=np.searchsorted(used, asked),
            partners=np.searchsorted(used, answers),
            search=Search(
                _ids(body, search.queries), search.query_groups, _ids(body, search.candidates), search.candidate_groups
            ),
            temperature=self.temperature,
            margin=self.margin,
        )

    def _scored(self, body: TunedBody, material: ScoredPairs) -> Scored:
        train, validation = (
            Side(
                _ids(body, [first for first, _ in material.pairs[part]]),
                _ids(body, [second for _, second in material.pairs[part]]),
                material.targets[part],
            )
            for part in ("train", "validation")
        )
        computed = library_loss(self.loss, temperature=self.temperature, margin=self.margin)
        divisible = is_divisible(self.loss)
        return Scored(train, validation, computed=computed, figure=material.figure, divisible=divisible)


def _judged_by(objective: Grouped | Scored) -> list[Ids]:
    """Return the token ids that are encoded to judge an epoch."""
    if isinstance(objective, Scored):
        return [*objective.validation.first, *objective.validation.second]
    return [*objective.search.queries, *objective.search.candidates]


def _ids(body: TunedBody, texts: Sequence[Text]) -> list[Ids]:
    found: list[Ids] = [()] * len(texts)
    for role in ("query", "document"):
        rows = [row for row, text in enumerate(texts) if text[0] == role]
        for row, ids in zip(rows, body.ids([texts[row][1] for row in rows], role=role), strict=True):
            found[row] = ids
    return found
