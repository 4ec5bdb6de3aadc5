"""The recipe `distill-static`: any encoder becomes a table of token vectors, in model2vec's own format."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder, Vectors
from mercat.encoders.cache import unwrap
from mercat.encoders.hashing import Hashing
from mercat.encoders.made import IN_ARTIFACT
from mercat.encoders.static import Static
from mercat.encoders.static_tables import save_static
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, DataError
from mercat.evaluation import splits
from mercat.evaluation.bootstrap import interval, paired
from mercat.training.base import Evaluation, Progress, Report, Run
from mercat.training.classifying.classifier import ROLE, encode_kept
from mercat.training.data import save_rows
from mercat.training.encoding.texts import counts_of_texts, digest_of_texts, read_texts, unseen_texts
from mercat.training.encoding.token_tables import Vocabulary, counted, own_vocabulary, project, sif, words_of, zipf
from mercat.training.estimating import Estimate, Trial, encoding_seconds, sampled_seconds, vectors_mb
from mercat.training.report import save_report
from mercat.values import Example

_COMPARED = 1_000  # texts that teacher and student are compared on
_NEAREST = 10
_FEWEST = 12
_CHUNK = 256
_PROJECTED = 2_000  # vectors that are projected for an estimate


class DistillStatic:
    """Encodes every token of a vocabulary, keeps the principal `dimensions`, and weights by SIF (see `token_tables`).

    The artifact is loaded by `use = "static"` and by model2vec. `collection` holds texts, labelled or not: teacher and
    student are compared on parts of them. `vocabulary` is the transformer's own "tokenizer", or the `most_words` words
    of the "collection", which any encoder can be asked for; "auto" takes the tokenizer where there is one, and says so.
    `smoothing` is SIF's a; `frequencies` are guessed by rank ("zipf") or counted in the "collection". Words that an
    encoder wants before its texts are not put before tokens. Raises ConfigError for values out of range.
    """

    kind = "encoder"

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        dimensions: int = 256,
        vocabulary: Literal["auto", "tokenizer", "collection"] = "auto",
        most_words: int = 30_000,
        smoothing: float = 1e-4,
        frequencies: Literal["zipf", "collection"] = "zipf",
        dtype: Literal["float16", "float32"] = "float16",
        validation_share: float = 0.1,
        test_share: float = 0.1,
        seed: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if dimensions < 1 or most_words < 2:
            found = f"dimensions {dimensions}, most_words {most_words}"
            raise ConfigError("The recipe 'distill-static'", found, "dimensions >= 1 and most_words >= 2")
        if not 0 < smoothing < 1:
            raise ConfigError(f"smoothing = {smoothing}", "It lies between 0 and 1", "smoothing = 0.0001")
        for name, share in (("validation_share", validation_share), ("test_share", test_share)):
            if not 0 < share < 0.5:
                raise ConfigError(f"{name} = {share}", "It is a share of the texts", f"{name} = 0.1")
        self.encoder, self.collection, self.seed = encoder, collection, seed
        self.dimensions, self.vocabulary, self.most_words = dimensions, vocabulary, most_words
        self.smoothing, self.frequencies, self.dtype = smoothing, frequencies, dtype
        self.validation_share, self.test_share, self._monotonic = validation_share, test_share, monotonic

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Encode the vocabulary, write the table into `encoder/`, compare it with its teacher on validation texts."""
        started, parts = self._monotonic(), self._parts(run)
        texts = [row.text for row in parts.train]
        vocabulary, notes = self._vocabulary(texts)
        table, kept = self._table(vocabulary, texts, run)
        folder = save_static(
            writer.folder / IN_ARTIFACT,
            embeddings=table.astype(self.dtype),
            tokenizer=vocabulary.tokenizer,
            details={"apply_pca": self.dimensions, "sif_coefficient": self.smoothing},
        )
        student = Static(str(folder))
        rows = _compared(parts.validation, self.collection, "validation")
        likeness = _likeness(self._teach(rows, run.progress), student.encode(rows, role=ROLE))
        report = Report(
            metrics={name: interval(values) for name, values in likeness.items()},
            counts={
                **counts_of_texts(parts),
                "compared": len(rows),
                "tokens": len(table),
                "parameters": table.size,
            },
            seconds=self._monotonic() - started,
            notes=notes,
            details={"variance_kept": kept, "teacher": self.encoder.fingerprint},
        )
        save_report(writer.folder, report)
        save_rows(writer.folder, parts)
        writer.metrics = dict(report.metrics)
        writer.note("teacher", self.encoder.fingerprint)
        writer.encoder_fingerprint, writer.data_digest = student.fingerprint, digest_of_texts(parts)
        return report

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Compare a finished model with its teacher on test texts, beside hashed n-grams that learned nothing."""
        tested = unseen_texts(self._parts(run), artifact)
        rows = _compared(tested.rows, self.collection, "test")
        teacher = self._teach(rows, run.progress)
        student, simple = Static(str(artifact / IN_ARTIFACT)), Hashing()
        ours, theirs = (_likeness(teacher, each.encode(rows, role=ROLE)) for each in (student, simple))
        return Evaluation(
            metrics={name: interval(values) for name, values in ours.items()},
            baseline="hashed character n-grams",
            baseline_metrics={name: interval(values) for name, values in theirs.items()},
            differences={name: paired(values, theirs[name]) for name, values in ours.items()},
            counts={**tested.counts, "test": len(rows)},
            notes=tested.notes,
        )

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost, nearly all of which is encoding each token. Nothing is learned."""
        trial, parts = Trial(self._monotonic), self._parts(run)
        clock = trial.clock
        vocabulary, _ = self._vocabulary([row.text for row in parts.train])
        tokens = [vocabulary.tokens[int(at)] for at in np.flatnonzero(vocabulary.meant)]
        rows = _compared(parts.validation, self.collection, "validation")
        trial.read()
        trial.stages["encode"] = sampled_seconds(vocabulary.teacher.encode, tokens, clock=clock)
        trial.stages["project"] = self._projecting_seconds(len(tokens), clock)
        trial.stages["compare"] = encoding_seconds(self.encoder, rows, role=ROLE, clock=clock, budget_s=1.0)
        return trial.done(
            parameters=len(vocabulary.tokens) * self.dimensions,
            further_mb=vectors_mb(len(vocabulary.tokens), self.encoder.dimensions),
        )

    def _projecting_seconds(self, tokens: int, clock: Callable[[], float]) -> float:
        """Return how long it takes to find the principal axes of so many vectors, from fewer of them."""
        tried = min(tokens, max(_PROJECTED, self.dimensions + 1))
        vectors = np.random.default_rng(0).standard_normal((tried, self.encoder.dimensions))
        started = clock()
        project(vectors, self.dimensions)
        return (clock() - started) * tokens / tried

    def _vocabulary(self, texts: Sequence[str]) -> tuple[Vocabulary, tuple[str, ...]]:
        body = unwrap(self.encoder)
        if isinstance(body, Transformer) and self.vocabulary != "collection":
            return own_vocabulary(body), ("The vocabulary is that of the encoder's tokenizer",)
        if self.vocabulary == "tokenizer":
            found = f"The encoder runs as {self.encoder.info().backend} and shows no tokenizer"
            raise ConfigError("vocabulary = 'tokenizer'", found, "vocabulary = 'collection'")
        words = words_of(texts, self.encoder, most=self.most_words)
        return words, (f"The vocabulary is {len(words.tokens) - 1} words of the collection; others count for nothing",)

    def _table(self, vocabulary: Vocabulary, texts: Sequence[str], run: Run) -> tuple[NDArray[Any], float]:
        """Return the weighted vector of each token, zero for one that means nothing, and the share of variance kept."""
        meant = np.flatnonzero(vocabulary.meant)
        tokens = [vocabulary.tokens[int(at)] for at in meant]
        teacher: Any = vocabulary.teacher
        vectors = encode_kept(teacher, tokens, folder=run.scratch, name="tokens", progress=run.progress)
        projected, kept = project(vectors, self.dimensions)
        if self.frequencies == "zipf":
            probable = zipf(len(meant))
        else:
            probable = counted(texts, vocabulary.tokenizer, len(vocabulary.tokens))[meant]
        table = np.zeros((len(vocabulary.tokens), self.dimensions))
        table[meant] = projected * sif(probable, self.smoothing)[:, None]
        return table, kept

    def _teach(self, texts: Sequence[str], progress: Progress) -> Vectors:
        found = []
        for start in range(0, len(texts), _CHUNK):
            found.append(self.encoder.encode(texts[start : start + _CHUNK], role=ROLE))
            progress("compare", min(start + _CHUNK, len(texts)), len(texts))
        return np.concatenate(found)

    def _parts(self, run: Run) -> splits.Parts:
        return read_texts(
            run.store,
            self.collection,
            asked="Distilling",
            validation_share=self.validation_share,
            test_share=self.test_share,
        )


def _compared(rows: Sequence[Example], collection: str, part: str) -> list[str]:
    """Return different texts of a part, at most so many, the same ones each time."""
    texts = sorted(
        {row.text for row in rows}, key=lambda text: hashlib.sha256(text.encode("utf-8", "replace")).digest()
    )
    if len(texts) < _FEWEST:
        asked = f"Teacher and student are compared on the {part} part of the collection '{collection}'"
        raise DataError(asked, f"It has {len(texts)} different texts, {_FEWEST} are needed", "more texts")
    return texts[:_COMPARED]


def _likeness(teacher: Vectors, student: Vectors) -> dict[str, NDArray[np.float64]]:
    """Return per text how far both encoders order all others alike: shapes (texts,).

    `similarity` is Spearman's correlation of the cosines, `neighbours` the share of the teacher's ten nearest texts
    among the student's.
    """
    theirs, ours = (_cosines(vectors) for vectors in (teacher, student))
    ranks = [each.argsort(axis=1).argsort(axis=1).astype(np.float64) for each in (theirs, ours)]
    centred = [each - each.mean(axis=1, keepdims=True) for each in ranks]
    lengths = [np.linalg.norm(each, axis=1) for each in centred]
    nearest = [np.argsort(-each, axis=1)[:, :_NEAREST] for each in (theirs, ours)]
    shared = [len(np.intersect1d(left, right)) / _NEAREST for left, right in zip(*nearest, strict=True)]
    return {
        "similarity": (centred[0] * centred[1]).sum(axis=1) / (lengths[0] * lengths[1]),
        "neighbours": np.array(shared),
    }


def _cosines(vectors: Vectors) -> NDArray[np.float32]:
    """Return the cosine of each row with every other one: shape (rows, rows - 1)."""
    count = len(vectors)
    found: NDArray[np.float32] = (vectors @ vectors.T)[~np.eye(count, dtype=bool)].reshape(count, count - 1)
    return found
