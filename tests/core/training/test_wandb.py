"""Figures for Weights & Biases: two real runs offline, read back from the files that they left."""

from __future__ import annotations

import json
import os
import struct
from itertools import count

import pytest

from mercat.errors import ConfigError
from mercat.testing.training import topic_examples, train_in
from mercat.training.report import load_report
from mercat.training.tracking import Wandb

CONFIG = """
[mercat]
folder = "{folder}"

[encoders.tiny]
use = "transformer"
model = "{model}"

[recipes.intents]
use = "full"
encoder = "tiny"
collection = "intents"
epochs = 1
init_head_from_linear = false
trackers = ["runs"]

[recipes.again]
use = "bitfit"
encoder = "tiny"
collection = "intents"
epochs = 1
init_head_from_linear = false
trackers = ["runs"]

[trackers.runs]
use = "wandb"
project = "desk"
"""


def records(path):
    """Return (name of the run, its project, every figure by name, its id) of a run's file."""
    from wandb.proto import wandb_internal_pb2

    name, project, figures, run_id = "", "", {}, ""
    for data in chunks(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("run"):
            name, project, run_id = record.run.display_name, record.run.project, record.run.run_id
        for item in record.history.item if record.HasField("history") else ():
            key = item.key or "/".join(item.nested_key)
            figures.setdefault(key, []).append(json.loads(item.value_json))
    return name, project, figures, run_id


def chunks(data):
    """Yield the records of a file in LevelDB's log format, none of which is split: 32 KiB would be one block."""
    assert data[:4] == b":W&B"
    assert len(data) < 32768
    at = 7
    while at + 7 <= len(data):
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        assert kind == 1
        yield data[at + 7 : at + 7 + length]
        at += 7 + length


def test_each_training_is_a_run_of_its_own(tmp_path, tiny_bert):
    pytest.importorskip("wandb")
    import mercat
    from mercat.jobs import train_recipe

    before, file = dict(os.environ), tmp_path / "mercat.toml"
    file.write_text(CONFIG.format(folder=tmp_path / "workspace", model=tiny_bert))
    with mercat.open(file) as workspace:
        workspace.store.upsert(topic_examples(60), collection="intents")
        for name in ("intents", "again"):
            train_recipe(workspace, name)
    written = sorted((tmp_path / "workspace" / "wandb").glob("offline-run-*/run-*.wandb"))
    found = [records(path) for path in written]
    assert sorted((name, project) for name, project, *_ in found) == [("again", "desk"), ("intents", "desk")]
    assert len({key for *_, key in found}) == 2
    for _, _, figures, _ in found:
        assert len(figures["train/loss"]) == len(figures["train/step"]) >= 2
        assert 0 <= figures["validate/accuracy"][-1] <= 1
    changed = {key for key in {*before, *os.environ} if before.get(key) != os.environ.get(key)}
    assert not {key for key in changed if not key.startswith(("WANDB", "_WANDB"))}


def test_a_resumed_run_goes_on_in_the_same_run(tmp_path, tiny_bert, store):
    """Killed at the last update with a checkpoint before it: both files have one id, and every step once."""
    pytest.importorskip("wandb")
    from mercat.encoders.transformer import Transformer
    from mercat.training.classifying.full import Full

    class Killed(Exception):
        pass

    def stop(stage, done, total, **figures):
        if stage == "train" and done == 5:
            raise Killed

    def make():
        return Full(
            Transformer(str(tiny_bert)),
            collection="intents",
            epochs=2,
            batch_size=16,
            init_head_from_linear=False,
            checkpoint_every_s=7.0,
            trackers=[Wandb(tmp_path)],
            monotonic=count(1.0).__next__,
        )

    store.upsert(topic_examples(60), collection="intents")
    with pytest.raises(Killed):
        train_in(tmp_path, make(), store=store, progress=stop)
    report = load_report(train_in(tmp_path, make(), store=store).folder)
    assert 0 < report.details["resumed_at"] < 4
    written = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    found = [records(path) for path in written]
    assert len(found) == 2
    assert len({key for *_, key in found}) == 1
    steps = [step for _, _, figures, _ in found for step in figures.get("train/step", ())]
    assert steps == list(range(1, report.counts["updates"] + 1))
    whole = [step for _, _, figures, _ in found for step in figures["_step"]]
    assert whole == sorted(set(whole)), "the second file goes on where the first one ended"
    assert [step for _, _, figures, _ in found for step in figures.get("validate/step", ())] == [1, 2]


def test_another_mode_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="mode = 'somewhere'"):
        Wandb(tmp_path, mode="somewhere")
