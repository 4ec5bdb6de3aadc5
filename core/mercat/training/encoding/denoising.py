"""The recipe `denoising`: an encoder gets used to the texts of a trade, without labels (see `Views` for the papers)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder, Role
from mercat.encoders.made import IN_ARTIFACT
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, DataError, missing_extra
from mercat.evaluation import splits
from mercat.training.base import Evaluation, Report, Run
from mercat.training.contrast.before import PerQuery, beside_before, report_on
from mercat.training.contrast.search import Search, figures_per_query
from mercat.training.data import save_rows
from mercat.training.encoding.texts import counts_of_texts, digest_of_texts, read_texts, unseen_texts
from mercat.training.estimating import Estimate, Trial
from mercat.training.tracking import Tracker
from mercat.values import Example

try:
    from mercat.training.classifying.model import tunable
    from mercat.training.contrast.embedder import Ids
    from mercat.training.contrast.tuned import TunedBody
    from mercat.training.contrast.views import Views, thinned
    from mercat.training.loop.checkpoint import Checkpoints
    from mercat.training.loop.precision import Dtype
    from mercat.training.loop.rehearsal import loop_estimate
    from mercat.training.loop.running import Telling, details_of, digest_of, notes_of, run_loop, shape_of
    from mercat.training.loop.settings import LoopSettings
    from mercat.training.loop.weights import sizes
except ImportError as error:
    raise missing_extra("The recipe 'denoising'", error.name or "torch", "train") from error

ROLE: Role = "document"
_COMPARED = 1_000
_FEWEST = 2
_CHECKED = 0.6  # the share of tokens that are missing where a model is checked, whatever it has learned with


class Denoising:
    """Fine-tunes an encoder so that a text is known again when a share `deletion` of its tokens is missing.

    `collection` holds texts, labelled or not; labels are not looked at. `deletion` 0 leaves dropout as the only noise.
    What it gains is told by `recall@1` and "mrr@10" of a text among others, searched for with 40 % of its tokens: not
    by how well it serves your purpose, so hold both encoders against each other there. Raises ConfigError for settings
    out of range.
    """

    kind = "encoder"

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        deletion: float = 0.3,
        temperature: float = 0.05,
        validation_share: float = 0.1,
        test_share: float = 0.1,
        max_tokens: int = 128,
        freeze_layers: int = 0,
        epochs: int = 1,
        batch_size: int = 64,
        learning_rate: float = 1e-5,
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
        for name, share in (("validation_share", validation_share), ("test_share", test_share)):
            if not 0 < share < 0.5:
                raise ConfigError(f"{name} = {share}", "It is a share of the texts", f"{name} = 0.1")
        for name, found, least in (
            ("max_tokens", max_tokens, 4),
            ("freeze_layers", freeze_layers, 0),
            ("batch_size", batch_size, 2),
        ):
            if found < least:
                raise ConfigError(f"{name} = {found}", f"It is at least {least}", f"{name} = {least}")
        if not 0 <= deletion < 1:
            raise ConfigError(f"deletion = {deletion}", "It is a share of the tokens", "deletion = 0.3")
        if not 0 < temperature < float("inf"):
            raise ConfigError(f"temperature = {temperature}", "It is a number above 0", "temperature = 0.05")
        self.encoder, self.collection, self.seed = encoder, collection, seed
        self.deletion, self.temperature = deletion, temperature
        self.validation_share, self.test_share = validation_share, test_share
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
            choose_by="mrr@10",
            checkpoint_every_s=checkpoint_every_s,
            dtype=dtype,
        )

    def shape(self) -> Mapping[str, Any]:
        """Return what shapes the result; a checkpoint of another shape is not used."""
        return {
            "recipe": type(self).__name__,
            "loop": shape_of(self.settings),
            "noise": [self.deletion, self.temperature],
            "max_tokens": self.max_tokens,
            "freeze_layers": self.freeze_layers,
        }

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Learn from the train part, keep the best epoch, write the encoder; the report has what it was before too."""
        started, parts = self.telling.monotonic(), self._parts(run)
        base = tunable(self.encoder, max_tokens=self.max_tokens)
        body = TunedBody(base, run, freeze_layers=self.freeze_layers, device=self.device)
        learned, checked = _different(parts.train), _checked(parts.validation, "validation", self.collection)
        digest = digest_of_texts(parts)
        outcome = run_loop(
            run,
            body.embedder,
            self.settings,
            objective=self._objective(body, learned, checked),
            checkpoints=Checkpoints(run.scratch, digest_of(self.shape(), digest, base.fingerprint, run.seed)),
            telling=self.telling,
        )
        run.world.leave_to_first()
        asked = _thinned_texts(base, checked)
        saved = body.saved(writer.folder / IN_ARTIFACT, like=checked, role=ROLE)
        save_rows(writer.folder, parts)
        before, after = (_found(each, asked, checked) for each in (base, saved))
        return report_on(
            writer,
            saved,
            before=before,
            after=after,
            digest=digest,
            counts={**counts_of_texts(parts), "updates": outcome.updates, **sizes(body.embedder)},
            seconds=self.telling.monotonic() - started,
            notes=[*notes_of(outcome, self.settings.epochs), *self.telling.boards(run)],
            details=details_of(outcome),
        )

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Search for test texts with what is left of them, beside the encoder as it was before."""
        tested = unseen_texts(self._parts(run), artifact)
        texts = _checked(tested.rows, "test", self.collection)
        asked = _thinned_texts(tunable(self.encoder, max_tokens=self.max_tokens), texts)
        tuned = Transformer.from_folder(artifact / IN_ARTIFACT)
        ours, theirs = (_found(each, asked, texts) for each in (tuned, self.encoder))
        return beside_before(ours, theirs, counts={**tested.counts, "test": len(texts)}, notes=tested.notes)

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost: the loop, and the searches by which an epoch is judged."""
        trial, parts = Trial(self.telling.monotonic), self._parts(run)
        base = tunable(self.encoder, max_tokens=self.max_tokens)
        body = TunedBody(base, run, freeze_layers=self.freeze_layers, device=self.device)
        checked = _checked(parts.validation, "validation", self.collection)
        objective = self._objective(body, _different(parts.train), checked)
        trial.read()
        search = objective.search
        once = body.seconds([*search.queries, *search.candidates], clock=trial.clock)
        trial.stages["search"] = (self.settings.epochs + 2) * once
        return loop_estimate(trial, body.embedder, self.settings, objective=objective, seed=run.seed)

    def _parts(self, run: Run) -> splits.Parts:
        return read_texts(
            run.store,
            self.collection,
            asked="The recipe 'denoising'",
            validation_share=self.validation_share,
            test_share=self.test_share,
        )

    def _objective(self, body: TunedBody, learned: Sequence[str], checked: Sequence[str]) -> Views:
        if len(learned) < _FEWEST:
            asked = f"The recipe 'denoising' compares texts of the train part of '{self.collection}'"
            raise DataError(asked, f"It has {len(learned)} different text(s)", "more texts")
        whole, numbers = body.ids(checked, role=ROLE), np.arange(len(checked))
        first = _leading(body)
        return Views(
            body.ids(learned, role=ROLE),
            first=first,
            deletion=self.deletion,
            search=Search([_less(ids, first) for ids in whole], numbers, whole, numbers),
            temperature=self.temperature,
        )


def _different(rows: Sequence[Example]) -> list[str]:
    """Return different texts in an order that has nothing to do with what they say, the same each time."""
    return sorted({row.text for row in rows}, key=lambda text: hashlib.sha256(text.encode("utf-8", "replace")).digest())


def _checked(rows: Sequence[Example], part: str, collection: str) -> list[str]:
    texts = _different(rows)[:_COMPARED]
    if len(texts) < _FEWEST:
        asked = f"The recipe 'denoising' tells texts of the {part} part of '{collection}' apart"
        raise DataError(asked, f"It has {len(texts)} different text(s)", "more texts")
    return texts


def _leading(body: TunedBody) -> int:
    """Return how many tokens every text begins with: a mark, and the prefix of documents if the encoder has one."""
    blank, word = body.ids(["", "a"], role=ROLE)
    return next((at for at, pair in enumerate(zip(blank, word, strict=False)) if pair[0] != pair[1]), 0)


def _less(ids: Ids, first: int) -> list[int]:
    """Return what is left of a text where models are checked: the same each time."""
    chances = np.random.default_rng(list(ids)).random(len(ids), dtype=np.float32)
    return thinned(ids, chances, first=first, deletion=_CHECKED)


def _thinned_texts(base: Transformer, texts: Sequence[str]) -> list[str]:
    """Return what is left of each text, as text."""
    tokenizer = base.load_tokenizer()
    cased = [text.lower() if base.checkpoint.lower_case else text for text in texts]
    rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(cased, add_special_tokens=False)]
    left = [_less([*ids, 0], 0)[:-1] for ids in rows]
    return [str(text) for text in tokenizer.decode_batch(left)]


def _found(encoder: Encoder, asked: Sequence[str], texts: Sequence[str]) -> PerQuery:
    """Return recall and reciprocal rank of each text."""
    numbers = np.arange(len(texts))
    search = Search(asked, numbers, texts, numbers)
    vectors = (encoder.encode(each, role=ROLE) for each in (asked, texts))
    return PerQuery(figures_per_query(search.ranks(*vectors)))
