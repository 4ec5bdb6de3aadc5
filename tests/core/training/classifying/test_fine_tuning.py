from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from itertools import count
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from mercat.artifacts import Artifacts
from mercat.classifiers.trained import TrainedClassifier
from mercat.encoders.cache import Cached
from mercat.encoders.hashing import Hashing
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, DataError, MissingExtra
from mercat.heads import load_head
from mercat.testing.training import RecipeContract, topic_examples, train_in
from mercat.training.classifying.full import Full
from mercat.training.report import load_report
from mercat.values import Example

QUICK = {"epochs": 3, "learning_rate": 3e-3, "head_learning_rate": 3e-2, "batch_size": 16}


class TestFullKeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        self.bert = tiny_bert

    def recipe(self):
        return Full(Transformer(str(self.bert)), collection="intents", **QUICK)

    def fill(self, store):
        store.upsert(topic_examples(150), collection="intents")


@pytest.fixture
def store(store):
    store.upsert(topic_examples(150), collection="intents")
    return store


def test_what_is_served_is_what_was_trained(store, tmp_path, tiny_bert):
    """Texts of all lengths, cut ones too: the saved encoder and head give the probabilities of the torch model."""
    from mercat.heads import softmax
    from mercat.training.classifying.model import token_ids
    from mercat.training.classifying.objective import predict
    from mercat.training.loop.batches import Encoded

    kept = {}

    class Watched(Full):
        def _saved(self, folder, base, tokenizer, model, parts):
            found = super()._saved(folder, base, tokenizer, model, parts)
            ids = token_ids(base, tokenizer, texts, role="query")
            part = Encoded(ids, np.zeros(len(texts), dtype=np.int64))
            kept["logits"] = predict(model, part, pad_id=base.checkpoint.pad_id)
            return found

    texts = ["card stolen", "refund " * 40, "卡 被 盗 了", "  IBAN transfer pending abroad  ", "how is it"]
    recipe = Watched(Transformer(str(tiny_bert)), collection="intents", max_tokens=12, **QUICK)
    artifact = train_in(tmp_path, recipe, store=store)
    head = load_head(artifact.folder / "head")
    body = artifact.folder / "encoder"
    vectors = Transformer.from_folder(body, device="cpu", dtype="float32").encode(texts, role="query")
    np.testing.assert_allclose(head.logits(vectors), kept["logits"], atol=1e-3)
    np.testing.assert_allclose(head.scores(vectors), softmax(kept["logits"] / head.temperature), atol=1e-3)
    assert load_report(artifact.folder).details["serving_difference"] < 1e-3
    classifier = TrainedClassifier(Artifacts(tmp_path / "artifacts"), artifact="intents")
    served = head.scores(Transformer.from_folder(body).encode(texts, role="query"))  # bfloat16 on CPUs that have it
    np.testing.assert_allclose(classifier.scores(texts), served, atol=1e-6)


def test_fine_tuning_beats_the_head_that_it_starts_from(store, tmp_path, tiny_bert):
    artifact = train_in(tmp_path, Full(Cached(Transformer(str(tiny_bert))), collection="intents", **QUICK), store=store)
    report = load_report(artifact.folder)
    assert report.metrics["accuracy"].value >= 0.8
    assert report.counts["trainable_parameters"] < report.counts["parameters"]  # the pooler does not learn
    history = report.details["history"]
    assert len(history) == 3
    assert history[-1]["train"]["loss"] < history[0]["train"]["loss"]


def test_progress_tells_loss_accuracy_and_time_left(store, tmp_path, tiny_bert):
    told = []
    recipe = Full(Transformer(str(tiny_bert)), collection="intents", **{**QUICK, "epochs": 1})
    train_in(
        tmp_path,
        recipe,
        store=store,
        progress=lambda stage, done, total, **figures: told.append((stage, done, figures)),
    )
    steps = [(done, figures) for stage, done, figures in told if stage == "train"]
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
    assert all({"loss", "accuracy", "eta_s"} <= figures.keys() for _, figures in steps)
    assert {"encode train", "encode validation", "train", "validate"} <= {stage for stage, _, _ in told}


def test_patience_stops_early_and_the_best_epoch_is_kept(store, tmp_path, tiny_bert):
    recipe = Full(
        Transformer(str(tiny_bert)),
        collection="intents",
        epochs=9,
        learning_rate=0.0,
        head_learning_rate=0.0,
        patience=2,
    )
    report = load_report(train_in(tmp_path, recipe, store=store).folder)
    assert len(report.details["history"]) == 3
    assert report.details["best_epoch"] == 0
    assert any("Stopped after epoch 3 of 9" in note for note in report.notes)


def test_frozen_layers_stay_as_they_were(store, tmp_path, tiny_bert):
    from mercat.artifacts import load_arrays

    recipe = Full(Transformer(str(tiny_bert)), collection="intents", freeze_layers=1, **QUICK)
    artifact = train_in(tmp_path, recipe, store=store)
    before, after = (
        load_arrays(tiny_bert / "model.safetensors"),
        load_arrays(artifact.folder / "encoder/model.safetensors"),
    )
    same = {name for name in before if np.array_equal(before[name], after[name])}
    assert "embeddings.word_embeddings.weight" in same
    assert "encoder.layer.0.output.dense.weight" in same
    assert "encoder.layer.1.output.dense.weight" not in same


def test_a_learning_rate_that_explodes_is_said(store, tmp_path, tiny_bert):
    recipe = Full(Transformer(str(tiny_bert)), collection="intents", epochs=1, learning_rate=1e30)
    with pytest.raises(DataError, match="learning_rate"):
        train_in(tmp_path, recipe, store=store)
    assert Artifacts(tmp_path / "artifacts").names() == []


def test_an_encoder_without_weights_is_refused(store, tmp_path):
    with pytest.raises(ConfigError, match="transformer"):
        train_in(tmp_path, Full(Hashing(), collection="intents"), store=store)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("warmup", 1.5),
        ("label_smoothing", -0.1),
        ("gradient_clip", 0),
        ("learning_rate", -1.0),
        ("weight_decay", float("inf")),
        ("max_tokens", 0),
        ("freeze_layers", -1),
        ("target_error", 7),
    ],
)
def test_settings_that_cannot_be_are_refused_before_weights_load(key, value):
    with pytest.raises(ConfigError, match=f"{key} = {value}"):
        Full(Transformer("no-such-model"), collection="intents", **{key: value})


def test_tensorboard_gets_the_curves_of_a_run_where_the_report_says(store, tmp_path, tiny_bert):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = Full(Transformer(str(tiny_bert)), collection="intents", **{**QUICK, "epochs": 1}, tensorboard=True)
    artifact = train_in(tmp_path, recipe, store=store)
    (note,) = [each for each in load_report(artifact.folder).notes if "tensorboard --logdir" in each]
    board = Path(note.partition("--logdir ")[2])
    assert board == tmp_path / "tensorboard"
    (events,) = (board / artifact.name).iterdir()
    assert events.name.startswith("events.")
    read = EventAccumulator(str(events))
    read.Reload()
    losses = [each.value for each in read.Scalars("train/loss")]
    assert losses
    assert np.isfinite(losses).all()
    assert not [path for path in tmp_path.rglob(".*") if path.is_dir()], "nothing is hidden"


class Ticks:
    """A second passes whenever somebody looks, so that checkpoints come every few updates."""

    now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_a_resumed_run_is_drawn_once(store, tmp_path, tiny_bert):
    """Killed at update 8 with a checkpoint some updates before: both files together have every point once."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def make():
        options = {**QUICK, "epochs": 2, "checkpoint_every_s": 9.0}
        return Full(Transformer(str(tiny_bert)), collection="intents", **options, tensorboard=True, monotonic=Ticks())

    interrupted(store, tmp_path, make(), at=8)
    report = load_report(train_in(tmp_path, make(), store=store).folder)
    assert 0 < report.details["resumed_at"] < 7, "else nothing could have been drawn twice"
    files = sorted((tmp_path / "tensorboard" / "intents").iterdir())
    assert len(files) == 2
    read = EventAccumulator(str(files[0].parent))
    read.Reload()
    first, second = (EventAccumulator(str(file)).Reload().Scalars("train/loss") for file in files)
    assert first[-1].step == report.details["resumed_at"]
    assert [each.step for each in [*first, *second]] == list(range(1, report.counts["updates"] + 1))
    assert [each.step for each in read.Scalars("train/loss")] == list(range(1, report.counts["updates"] + 1))
    assert [each.step for each in read.Scalars("validate/loss")] == [1, 2]


def test_tensorboard_that_is_not_installed_is_told_before_weights_load(monkeypatch):
    monkeypatch.setattr("mercat.training.tracking.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"mercat\[tensorboard\]"):
        Full(Transformer("no-such-model"), collection="intents", tensorboard=True)


def test_a_checkpoint_of_other_settings_is_not_used(store, tmp_path, tiny_bert):
    interrupted(store, tmp_path, Full(Transformer(str(tiny_bert)), collection="intents", **QUICK, **EACH_STEP), at=5)
    other = Full(Transformer(str(tiny_bert)), collection="intents", **{**QUICK, "batch_size": 8})
    report = load_report(train_in(tmp_path, other, store=store).folder)
    assert report.details["resumed_at"] == 0
    assert any("other settings" in note for note in report.notes)


EACH_STEP = {"checkpoint_every_s": 0.0}


class Interrupted(Exception):
    pass


def interrupted(store, tmp_path, recipe, *, at):
    def stop(stage, done, total, **figures):
        if stage == "train" and done == at:
            raise Interrupted

    with pytest.raises(Interrupted):
        train_in(tmp_path, recipe, store=store, progress=stop)


@pytest.mark.parametrize(("at", "every"), [(1, 0.0), (9, 5.0), (17, 0.0)])
def test_an_interrupted_run_gives_the_figures_of_a_whole_one(store, tmp_path, tiny_bert, at, every):
    """`at` is before the first checkpoint, between two of them, and in a later epoch."""

    def recipe():
        ticks = count()  # a clock that moves a second each time it is read
        return Full(
            Transformer(str(tiny_bert)),
            collection="intents",
            **QUICK,
            checkpoint_every_s=every,
            monotonic=lambda: next(ticks),
        )

    interrupted(store, tmp_path, recipe(), at=at)
    resumed = load_report(train_in(tmp_path, recipe(), store=store).folder)
    whole = load_report(train_in(tmp_path / "whole", recipe(), store=store).folder)
    assert whole.details["resumed_at"] == 0
    assert resumed.details["history"] == whole.details["history"]
    for name, metric in whole.metrics.items():
        assert resumed.metrics[name].value == pytest.approx(metric.value, abs=1e-6), name


def test_a_run_that_was_killed_goes_on_where_it_was(store, tmp_path, tiny_bert):
    """SIGKILL, no chance to tidy up: the next run starts at the last checkpoint and ends with the same figures."""
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from mercat.encoders.transformer import Transformer
        from mercat.store import Store
        from mercat.testing.training import train_in
        from mercat.training.classifying.full import Full

        def kill(stage, done, total, **figures):
            if stage == "train" and done == 13:
                os.kill(os.getpid(), signal.SIGKILL)

        folder = Path({str(tmp_path)!r})
        recipe = Full(Transformer({str(tiny_bert)!r}), collection="intents", **{ {**QUICK, **EACH_STEP} })
        train_in(folder, recipe, store=Store.open(f"sqlite:///{{folder}}/mercat.db"), progress=kill)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment())
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list((tmp_path / "artifacts" / "intents").glob(".new-*")), "it was killed in the middle of an artifact"
    recipe = Full(Transformer(str(tiny_bert)), collection="intents", **QUICK, **EACH_STEP)
    resumed = load_report(train_in(tmp_path, recipe, store=store).folder)
    whole = load_report(train_in(tmp_path / "whole", recipe, store=store).folder)
    assert resumed.details["resumed_at"] == 12
    assert any("Went on after an interruption at update 12" in note for note in resumed.notes)
    assert whole.details["resumed_at"] == 0
    for name, metric in whole.metrics.items():
        assert resumed.metrics[name].value == pytest.approx(metric.value, abs=1e-6), name
    assert not (tmp_path / "scratch" / "intents").exists()
    assert not list((tmp_path / "artifacts" / "intents").glob(".new-*"))


def environment():
    import torch

    core = str(Path(__file__).parents[3] / "core")
    path = os.pathsep.join([core, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def test_a_label_with_one_train_row_is_learned_and_served(store, tmp_path, tiny_bert):
    """The head that fine-tuning starts from drops such a label; the fine-tuned one must not."""
    rare = [Example(f"rare-{part}", f"please {part} again", "rare", split=part) for part in ("train", "validation")]
    store.upsert(
        [*topic_examples(90, split="train"), *topic_examples(30, seed=1, split="validation"), *rare], collection="odd"
    )
    recipe = Full(Transformer(str(tiny_bert)), collection="odd", **{**QUICK, "epochs": 1})
    artifact = train_in(tmp_path, recipe, store=store)
    assert load_head(artifact.folder / "head").labels == ("card", "rare", "refund", "transfer")
    assert artifact.metrics["accuracy"]["n"] == 31


def test_a_run_ends_in_the_number_format_that_it_began_in(store, tmp_path, tiny_bert, monkeypatch):
    """Killed on a CPU that computes bfloat16, gone on with on one that does not: as if it had stayed."""

    class Killed(Exception):
        pass

    def stop(stage, done, total, **figures):
        if stage == "train" and done == 5:
            raise Killed

    def on(flags, place, **more):
        monkeypatch.setattr("mercat.compute.device.cpu_flags", lambda: frozenset(flags))
        recipe = Full(
            Transformer(str(tiny_bert), dtype="float32"), collection="intents", checkpoint_every_s=0.0, **QUICK
        )
        return load_report(train_in(place, recipe, store=store, **more).folder)

    with pytest.raises(Killed):
        on({"avx512_bf16"}, tmp_path, progress=stop)
    gone_on, whole = on((), tmp_path), on({"avx512_bf16"}, tmp_path / "whole")
    assert gone_on.details["resumed_at"] > 0
    assert gone_on.details["dtype"] == whole.details["dtype"] == "bfloat16"
    assert gone_on.details["history"] == whole.details["history"]
    assert on((), tmp_path / "plain").details["dtype"] == "float32"
