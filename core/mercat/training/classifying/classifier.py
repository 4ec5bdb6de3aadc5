"""What the three classifier recipes share: parts, figures, files of the artifact, evaluation on test rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import ArtifactWriter, load_arrays, save_arrays
from mercat.encoders.base import Encoder, Role
from mercat.encoders.exported import is_export
from mercat.encoders.spread import texts_at_once
from mercat.errors import ConfigError
from mercat.heads import LinearHead, MemoryHead, load_head, require_fingerprint
from mercat.training.base import Evaluation, Progress, Report, Run
from mercat.training.data import Parts, Split, check_shares, read_parts, save_rows
from mercat.training.report import save_report
from mercat.values import Example

Calibration = Literal["temperature", "isotonic", "none"]
HEAD, ENCODER, ADAPTER = "head", "encoder", "adapter"
ROLE: Role = "query"  # a text that is classified is asked about, like one that is searched with: one vector for both
_CHUNK = 2048


class ClassifierRecipe:
    """A recipe that makes a classifier: an encoder (shared, or the artifact's own) and a calibrated linear head.

    `validation_share` and `test_share` count where rows do not say their split themselves. The parts do not depend on
    the seed, so runs with several seeds may be compared. `target_error` sets the threshold below which the classifier
    abstains: the most coverage whose errors on validation rows stay within it; None never abstains. Raises ConfigError
    for shares out of range.
    """

    kind = "classifier"

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
        seed: int = 0,
    ) -> None:
        check_shares(validation_share=validation_share, test_share=test_share)
        if target_error is not None and not 0 <= target_error < 1:
            raise ConfigError(f"target_error = {target_error}", "It is a share of the answers", "target_error = 0.05")
        self.encoder, self.collection, self.seed = encoder, collection, seed
        self.calibration, self.target_error = calibration, target_error
        self.validation_share, self.test_share, self.split = validation_share, test_share, split

    def parts(self, run: Run) -> Parts:
        """Read the collection in its parts; the same for every run on the same rows."""
        return read_parts(
            run.store,
            self.collection,
            validation_share=self.validation_share,
            test_share=self.test_share,
            split=self.split,
        )

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Score a finished artifact on test rows that training never saw, beside TF-IDF + logistic regression."""
        from mercat.training.classifying.evaluate import evaluate_classifier

        return evaluate_classifier(self.parts(run), artifact, self.scorer(artifact), progress=run.progress)

    def scorer(self, artifact: Path) -> Scorer:
        """Return what the artifact answers with: its own encoder where it has one, the shared one otherwise."""
        head = load_head(artifact / HEAD)
        encoder = own_encoder(artifact) or self.encoder
        require_fingerprint(encoder.fingerprint, head)
        return Scorer(tuple(head.labels), lambda texts: head.scores(encoder.encode(texts, role=ROLE)), head.threshold)


@dataclass(frozen=True, slots=True)
class Scorer:
    """Texts in, calibrated scores of shape (texts, labels) out."""

    labels: tuple[str, ...]
    scores: Callable[[Sequence[str]], NDArray[np.float32]]
    threshold: float = 0.0


def own_encoder(artifact: Path) -> Encoder | None:
    """Return the fine-tuned encoder that an artifact brings along, if it does."""
    folder = artifact / ENCODER
    if not (folder / "config.json").is_file() and not is_export(folder):
        return None
    from mercat.encoders.transformer import Transformer

    return Transformer.from_folder(folder)


def texts_of(rows: Sequence[Example]) -> list[str]:
    return [row.text for row in rows]


def labels_of(rows: Sequence[Example]) -> list[str]:
    return [row.label for row in rows]


def encode_kept(
    encoder: Encoder, texts: Sequence[str], *, folder: Path, name: str, progress: Progress
) -> NDArray[np.float32]:
    """Encode in chunks, each kept in `folder`, so that a run that was killed encodes only what is missing.

    The vectors have shape (texts, dimensions).
    """
    return kept_rows(
        lambda chunk: encoder.encode(chunk, role=ROLE),
        texts,
        width=encoder.dimensions,
        mark=encoder.fingerprint,
        folder=folder,
        name=f"vectors-{name}",
        stage=f"encode {name}",
        progress=progress,
        at_once=texts_at_once(encoder, _CHUNK),
    )


def kept_rows(
    compute: Callable[[Sequence[str]], NDArray[np.float32]],
    texts: Sequence[str],
    *,
    width: int,
    mark: str,
    folder: Path,
    name: str,
    stage: str,
    progress: Progress,
    at_once: int = _CHUNK,
) -> NDArray[np.float32]:
    """Compute a row of numbers for each text, in chunks that are each kept in `folder`; shape (texts, `width`).

    `mark` stands for what computes: rows of another mark are not used. `name` begins the names of the files, `stage` is
    what progress is told of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = [np.zeros((0, width), dtype=np.float32)]
    for start in range(0, len(texts), at_once):
        chunk = texts[start : start + at_once]
        kept = folder / f"{name}-{_name_of(mark, chunk)}.safetensors"
        if not kept.is_file():
            temporary = kept.with_name(f".{kept.name}")
            save_arrays(temporary, {"rows": compute(chunk)})
            temporary.replace(kept)
        found.append(load_arrays(kept)["rows"])
        progress(stage, start + len(chunk), len(texts))
    return np.concatenate(found)


def finish(
    writer: ArtifactWriter,
    head: LinearHead | MemoryHead,
    parts: Parts,
    *,
    validation_vectors: NDArray[np.float32],
    judged: LinearHead | MemoryHead | None = None,
    learned: Parts | None = None,
    seconds: float,
    counts: Mapping[str, int],
    notes: Sequence[str],
    details: Mapping[str, Any],
) -> Report:
    """Write head, report and the hashes of the rows that were seen; return the report on the validation part.

    `judged` is the head that the figures are of, and `learned` the parts as they were learned from at last, where the
    head that is written has learned from the validation rows too.
    """
    from mercat.evaluation.metrics import classification
    from mercat.training.compare import defined

    (writer.folder / HEAD).mkdir(exist_ok=True)
    head.save(writer.folder / HEAD)
    save_rows(writer.folder, learned or parts)
    writer.note("role", ROLE)  # serving must encode texts in the role that the head was fitted with
    shown = judged or head
    scores = shown.scores(validation_vectors)
    metrics = defined(classification(labels_of(parts.validation), scores, shown.labels, threshold=shown.threshold))
    report = Report(
        metrics=metrics,
        counts={**parts.counts, **counts},
        seconds=seconds,
        notes=(*parts.notes, *notes, *head.notes),
        details=details,
    )
    save_report(writer.folder, report)
    writer.metrics = dict(metrics)
    writer.encoder_fingerprint, writer.data_digest = head.fingerprint, parts.digest
    return report


def class_weights(labels: Sequence[str], names: Sequence[str]) -> NDArray[np.float32]:
    """Return a weight per label, inverse to its rows, with mean 1 over the rows. The shape is (names,)."""
    counts = Counter(labels)
    return np.array([len(labels) / (len(names) * counts[name]) for name in names], dtype=np.float32)


def _name_of(mark: str, texts: Sequence[str]) -> str:
    import hashlib
    import json

    return hashlib.sha256(json.dumps([mark, list(texts)]).encode()).hexdigest()[:16]
