"""The recipe `update`: an artifact goes on learning from the rows that came in since it was made.

Old rows are learned again beside the new ones (replay: Robins 1995, "Catastrophic Forgetting, Rehearsal and
Pseudorehearsal"), and the new version is held against a fixed regression set before services use it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mercat.artifacts import Artifact, Artifacts, ArtifactWriter
from mercat.artifacts.files import plain
from mercat.encoders.base import Encoder
from mercat.errors import ConfigError
from mercat.evaluation.leaks import find_leaks
from mercat.heads import MemoryHead, load_head, require_fingerprint
from mercat.training.base import Evaluation, Report, Run
from mercat.training.classifying.classifier import HEAD, Calibration, ClassifierRecipe, own_encoder
from mercat.training.data import Parts, Split, content_hashes, read_examples, row_hashes, save_rows
from mercat.training.estimating import Estimate
from mercat.training.loop.precision import Dtype
from mercat.training.report import save_report
from mercat.training.tracking import Tracker
from mercat.training.updating.gate import Compared, Gate, Standing, best_of, compared, holders
from mercat.training.updating.rows import Since, read_since, regression_rows, save_regression, seen_by, to_learn
from mercat.values import Example

if TYPE_CHECKING:
    from mercat.training.updating.continued import Continued
    from mercat.training.updating.refit import Refit

_NAMES = {"regression": "regression set", "old": "old rows", "new": "new rows"}


class Update(ClassifierRecipe):
    """Makes the next version of the classifier of the same name, from its current version and what came in since.

    A fine-tuned artifact goes on from its own weights at small rates, on new and corrected rows and `replay` old ones
    for each of them; `epochs`, `batch_size`, `max_tokens`, `checkpoint_every_s`, `device`, `dtype`, `tensorboard` are
    those of `full`. One with a head on the shared encoder is fitted anew on old and new rows, with `strength` as in
    `linear`.
    Rows keep the parts that they had; labels that are new are learned too.

    The version becomes current only if its accuracy on the regression set lies no more than `max_drop` below the best
    promoted version's, and of no label more than `max_label_drop` and more than one row fewer are found than the best
    of them found. Those are the versions that led to the current one and are still there. The set is the collection
    `regression`, or rows frozen from the first version's validation part. Raises ConfigError for settings out of range,
    and for an artifact that is no text classifier.
    """

    def __init__(
        self,
        encoder: Encoder,
        artifacts: Artifacts,
        *,
        collection: str,
        validation_share: float = 0.1,
        test_share: float = 0.1,
        split: Split = "auto",
        calibration: Calibration = "temperature",
        target_error: float | None = None,
        replay: float = 1.0,
        regression: str = "",
        max_drop: float = 0.01,
        max_label_drop: float = 0.1,
        strength: float | Literal["auto"] = "auto",
        class_weight: Literal["balanced"] | None = None,
        max_tokens: int = 512,
        epochs: int = 2,
        batch_size: int = 32,
        learning_rate: float = 5e-5,
        head_learning_rate: float = 1e-3,
        checkpoint_every_s: float = 60.0,
        device: str = "auto",
        dtype: Dtype = "auto",
        tensorboard: bool = False,
        trackers: Sequence[Tracker] = (),
        seed: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._common: dict[str, Any] = {
            "collection": collection,
            "validation_share": validation_share,
            "test_share": test_share,
            "split": split,
            "calibration": calibration,
            "target_error": target_error,
            "seed": seed,
        }
        super().__init__(encoder, **self._common)
        for name, share in (("max_drop", max_drop), ("max_label_drop", max_label_drop)):
            if not 0 <= share <= 1:
                raise ConfigError(f"{name} = {share}", "It is a share of the rows", f"{name} = 0.01")
        if not 0 <= replay < float("inf"):
            raise ConfigError(f"replay = {replay}", "It counts old rows for each new one", "replay = 1.0")
        if regression == collection:
            found = "The rows to learn from cannot be what the result is held against"
            raise ConfigError(f"regression = '{regression}'", found, "a collection of its own, or no regression")
        self.artifacts, self.replay, self.regression = artifacts, replay, regression
        self.gate = Gate(max_drop, max_label_drop)
        self._linear: dict[str, Any] = {"strength": strength, "class_weight": class_weight, "monotonic": monotonic}
        self._tuned: dict[str, Any] = {
            "class_weight": class_weight,
            "max_tokens": max_tokens,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "head_learning_rate": head_learning_rate,
            "checkpoint_every_s": checkpoint_every_s,
            "device": device,
            "dtype": dtype,
            "tensorboard": tensorboard,
            "trackers": trackers,
            "monotonic": monotonic,
        }

    def parts(self, run: Run) -> Parts:
        """Return all rows in their parts: known ones where the current version had them, those since in theirs."""
        return self._since(run, self._current(run.name)).whole

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Score an artifact on test rows that no version has seen, beside TF-IDF + logistic regression."""
        read_examples(run.store, self.collection)
        return super().evaluate(run, artifact)

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Learn, write what the routine writes, hold both versions against each other; withhold one that fell."""
        read_examples(run.store, self.collection)  # an empty collection is told before a missing artifact
        old = self._current(run.name)
        since = self._since(run, old)
        regression = regression_rows(run.store, self.regression, old, since)
        inner = self._inner(old, since, regression, run.seed)
        report = inner.train(run, writer)
        save_rows(writer.folder, since.whole, before=old.folder)
        if not self.regression:
            save_regression(writer.folder, regression)
        writer.data_digest = since.whole.digest
        report = self._judged(run, writer, report, old, inner, since, regression)
        save_report(writer.folder, report)
        return report

    def estimate(self, run: Run) -> Estimate:
        """Return what the learning would cost; holding both versions against each other comes on top."""
        old = self._current(run.name)
        since = self._since(run, old)
        regression = regression_rows(run.store, self.regression, old, since)
        return self._inner(old, since, regression, run.seed).estimate(run)

    def _current(self, name: str) -> Artifact:
        artifact = self.artifacts.open(name)
        if artifact.kind != self.kind or not (artifact.folder / HEAD).is_dir():
            raise ConfigError(
                f"An update of '{name}'",
                f"Version {artifact.version} is of kind '{artifact.kind}', made by '{artifact.recipe}'",
                f"mercat train {name}, which learns from all rows",
            )
        return artifact

    def _since(self, run: Run, old: Artifact) -> Since:
        return read_since(
            run.store,
            self.collection,
            seen_by(old),
            validation_share=self.validation_share,
            test_share=self.test_share,
            split=self.split,
        )

    def _inner(self, old: Artifact, since: Since, regression: Sequence[Example], seed: int) -> Refit | Continued:
        """Return the routine that goes on from `old`: fine-tuning where it has its own weights, a new fit otherwise."""
        own = own_encoder(old.folder)
        if own is None:
            from mercat.training.updating.refit import Refit

            head = load_head(old.folder / HEAD)
            require_fingerprint(self.encoder.fingerprint, head)
            learn = to_learn(since, regression, replay=None, seed=seed)
            return Refit(self.encoder, learn, head=head, **self._common, **self._linear)
        from mercat.training.updating.continued import Continued

        learn = to_learn(since, regression, replay=self.replay, seed=seed)
        return Continued(own, learn, head=load_head(old.folder / HEAD), **self._common, **self._tuned)

    def _judged(
        self,
        run: Run,
        writer: ArtifactWriter,
        report: Report,
        old: Artifact,
        inner: Refit | Continued,
        since: Since,
        regression: Sequence[Example],
    ) -> Report:
        """Say in report and writer what both versions give on the same rows, and what follows from it."""
        before, now = self.scorer(old.folder), inner.scorer(writer.folder)
        sets = {"regression": regression, **_held_out(since, regression)}
        found = {name: compared(rows, before, now, seed=run.seed) for name, rows in sets.items() if rows}
        frozen = found["regression"]
        standing = Standing(frozen.before["accuracy"].value, {each.label: each.before for each in frozen.labels})
        versions = _versions(old, self.artifacts.versions(old.name), regression, standing)
        best = best_of(versions.values())
        reasons = self.gate.reasons(frozen, best=best, lost=sorted(set(before.labels) - set(now.labels)))
        writer.withheld = "; ".join(reasons)
        accuracy = best.accuracy if reasons else max(best.accuracy, frozen.now["accuracy"].value)
        kept = {name: plain(each) for name, each in holders(versions).items()}
        writer.note("regression", {"accuracy": accuracy, "rows": _digest(regression), "versions": kept})
        added = sorted(set(now.labels) - set(before.labels))
        details = {
            "from": old.version,
            "withheld": reasons,
            "new_labels": added,
            "compared": {_NAMES[name]: plain(each) for name, each in found.items()},
        }
        return replace(
            report,
            notes=[*report.notes, *self._notes(old, found, added, since, regression), *reasons],
            details={**report.details, "update": details},
        )

    def _notes(
        self,
        old: Artifact,
        found: Mapping[str, Compared],
        added: Sequence[str],
        since: Since,
        regression: Sequence[Example],
    ) -> list[str]:
        notes = [f"Went on from version {old.version}"]
        notes += [f"{_NAMES[name].capitalize()}: {each}" for name, each in found.items()]
        notes += [f"No {_NAMES[name]} were held out to compare the versions on" for name in _NAMES if name not in found]
        if own_encoder(old.folder) and isinstance(load_head(old.folder / HEAD), MemoryHead):
            notes.append("The memory beside the head was of other vectors, and is not there any more")
        if added:
            notes.append(f"Learned for the first time: {', '.join(added)}")
        if 1 / len(regression) > self.gate.max_drop:
            notes.append(f"The regression set has {len(regression)} rows: one more error than before is too many")
        if self.regression:
            leaks = find_leaks({"train": since.whole.train, self.regression: regression})
            notes += [str(leak) for leak in leaks if leak.kind != "time"]
        return notes


def _held_out(since: Since, regression: Sequence[Example]) -> dict[str, list[Example]]:
    """Return validation rows that no version learned from: those known before, and those that came in since."""
    kept = {row.id for row in regression}
    rows = [row for row in since.whole.validation if row.id not in kept]
    return {
        "old": [row for row in rows if row.id not in since.new],
        "new": [row for row in rows if row.id in since.new],
    }


def _versions(
    old: Artifact, there: Sequence[str], regression: Sequence[Example], standing: Standing
) -> dict[str, Standing]:
    """Return what the versions that led to this one found of these rows: many small falls must not become a deep one.

    `standing` is that of `old`. Versions that are not there any more are no bar: nobody could go back to them.
    """
    kept: Mapping[str, Any] = old.details.get("regression", {})
    if kept.get("rows") != _digest(regression):
        return {old.version: standing}
    if "versions" not in kept:  # it was made when only the best accuracy was noted
        standing = replace(standing, accuracy=max(standing.accuracy, float(kept["accuracy"])))
    earlier = {name: Standing(**each) for name, each in kept.get("versions", {}).items() if name in there}
    return {**earlier, old.version: standing}


def _digest(rows: Sequence[Example]) -> str:
    return hashlib.sha256(row_hashes(rows).tobytes() + content_hashes(rows).tobytes()).hexdigest()
