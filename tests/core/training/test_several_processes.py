"""Training by several processes: threads that exchange as processes do, then real ones, killed ones among them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.numpy import load_file

import mercat
from mercat.artifacts import Artifacts
from mercat.cli.app import main
from mercat.compute.world import World
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, DataError
from mercat.store import Store
from mercat.testing.training import NAME, topic_examples, train_in
from mercat.training.classifying.adalora import AdaLora
from mercat.training.classifying.full import Full
from mercat.training.classifying.linear import Linear
from mercat.training.loop.checkpoint import Checkpoints
from mercat.training.loop.loop import Loop
from mercat.training.loop.objective import Step
from mercat.training.loop.settings import LoopSettings
from mercat.training.progress import silent
from mercat.training.report import load_report
from mercat.training.train import train

QUICK = {"dtype": "float32", "epochs": 2, "learning_rate": 1e-3, "head_learning_rate": 3e-2, "batch_size": 16}
CONFIG = """
[mercat]
folder = "workspace"

[encoders.default]
use = "transformer"
model = "{model}"
device = "cpu"

[recipes.intents]
use = "full"
encoder = "default"
collection = "intents"
epochs = 6
batch_size = 16
learning_rate = 1e-3
head_learning_rate = 3e-2
init_head_from_linear = false
device = "cpu"
dtype = "float32"
checkpoint_every_s = 0.0
"""


class Circle:
    """The meeting point of threads that stand for processes."""

    def __init__(self, size: int) -> None:
        self.size, self.held, self.barrier = size, [None] * size, threading.Barrier(size, timeout=60)

    def exchange(self, rank, value):
        self.held[rank] = value
        self.barrier.wait()
        found = list(self.held)
        self.barrier.wait()
        return found

    def run(self, work):
        """Call work(world) in a thread per rank; return what each returned, or raise what the first one raised."""
        results = [None] * self.size

        def call(rank):
            try:
                results[rank] = work(Threaded(rank, self))
            except Exception as error:
                results[rank] = error
                self.barrier.abort()

        threads = [threading.Thread(target=call, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, threading.BrokenBarrierError):
                raise result
        return results


class Threaded(World):
    """A world whose processes are threads."""

    def __init__(self, rank, circle):
        super().__init__(rank=rank, size=circle.size)
        self._circle = circle

    def add(self, numbers):
        return numbers.copy_(sum(self._circle.exchange(self.rank, numbers.clone())))

    def spread(self, numbers):
        return numbers.copy_(self._circle.exchange(self.rank, numbers.clone())[0])

    def told(self, value):
        return json.loads(json.dumps(self._circle.exchange(self.rank, value)[0]))

    def agreed(self, value):
        return len({json.dumps(each) for each in self._circle.exchange(self.rank, value)}) == 1


@pytest.fixture(scope="session")
def calm_bert(tiny_bert, tmp_path_factory):
    """The tiny BERT without dropout: what is drawn in one process cannot be drawn the same by two."""
    folder = Path(shutil.copytree(tiny_bert, tmp_path_factory.mktemp("calm") / "bert"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def weights_of(artifact):
    return load_file(artifact.folder / "encoder" / "model.safetensors")


def assert_alike(ours, theirs, *, within=1e-5):
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert np.abs(ours[name] - weight).max() <= within, name


@pytest.fixture
def one_after_another(monkeypatch):
    """Let the threads make their models in turn: unlike processes, they share one random generator."""
    build, turn = Full._model, threading.Lock()

    def take_turns(self, run, *arguments, **options):
        with turn:
            model = build(self, run, *arguments, **options)
        run.world.told("made")
        return model

    monkeypatch.setattr("mercat.training.classifying.tuned.TunedRecipe._model", take_turns)


@pytest.mark.usefixtures("one_after_another")
@pytest.mark.parametrize(
    ("recipe", "size", "more"),
    [
        (Full, 2, {"class_weight": "balanced", "label_smoothing": 0.1}),
        (Full, 3, {"batch_size": 59, "adversarial": 0.01, "init_head_from_linear": True}),  # the last batch has 2 rows
        (Full, 2, {"unfreeze": "gradual", "average_epochs": 2}),
        (AdaLora, 2, {"dropout": 0.0}),
    ],
)
def test_several_give_the_weights_of_one(store, calm_bert, tmp_path, recipe, size, more):
    store.upsert(topic_examples(150), collection="intents")

    def make():
        encoder = Transformer.from_folder(calm_bert, device="cpu")
        return recipe(encoder, collection="intents", **{**QUICK, "init_head_from_linear": False, **more})

    alone = train_in(tmp_path / "alone", make(), store=store)
    artifacts = Circle(size).run(lambda world: train_in(tmp_path / "several", make(), store=store, world=world))
    together = artifacts[0]
    assert {artifact.version for artifact in artifacts} == {"0001"}
    assert_alike(weights_of(together), weights_of(alone))
    ours, theirs = load_report(together.folder), load_report(alone.folder)
    assert (ours.details["processes"], theirs.details["processes"]) == (size, 1)
    for mine, other in zip(ours.details["history"], theirs.details["history"], strict=True):
        assert mine["train"] == pytest.approx(other["train"], abs=1e-5)
        assert mine["validation"] == pytest.approx(other["validation"], abs=1e-5)


def test_what_shares_nothing_is_done_by_the_first(store, calm_bert, tmp_path, caplog):
    store.upsert(topic_examples(150), collection="intents")
    calls = []

    class Counted(Linear):
        def train(self, run, writer):
            calls.append(run.world)
            return super().train(run, writer)

    recipe = Counted(Transformer.from_folder(calm_bert, device="cpu"), collection="intents")
    first, second = Circle(2).run(lambda world: train_in(tmp_path, recipe, store=store, world=world))
    assert first.version == second.version == "0001"
    assert [world.size for world in calls] == [1]
    assert "one of 2 processes" in caplog.text


class Contrasting:
    """An objective that compares the rows of a batch with one another."""

    lengths = (1, 1, 1, 1)

    def step(self, model, rows):
        return Step(model(torch.ones(len(rows), 2)).std())

    def validate(self, model):
        return {"loss": 0.0}


def test_batches_that_cannot_be_parted_are_refused(tmp_path):
    def build(world):
        return Loop(
            torch.nn.Linear(2, 1),
            LoopSettings(),
            objective=Contrasting(),
            checkpoints=Checkpoints(tmp_path, "digest"),
            seed=0,
            progress=silent,
            clock=time.monotonic,
            world=world,
        )

    with pytest.raises(ConfigError, match=r"'Contrasting' compares the rows.*without --workers"):
        build(World(rank=0, size=2))
    build(World())


def test_processes_that_read_other_rows_stop(calm_bert, tmp_path):
    stores = [Store.open(f"sqlite:///{tmp_path}/{rank}.db") for rank in range(2)]
    for rank, store in enumerate(stores):
        store.upsert(topic_examples(120, seed=rank), collection="intents")

    def work(world):
        recipe = Full(Transformer.from_folder(calm_bert, device="cpu"), collection="intents", **QUICK)
        return train_in(tmp_path, recipe, store=stores[world.rank], world=world)

    with pytest.raises(DataError, match="same rows and the same checkpoint"):
        Circle(2).run(work)
    for store in stores:
        store.close()


@pytest.fixture
def place(calm_bert, tmp_path, monkeypatch):
    """A folder with a configuration and rows; the working folder of the test."""
    (tmp_path / "mercat.toml").write_text(CONFIG.format(model=calm_bert.as_posix()))
    with mercat.open(tmp_path / "mercat.toml") as app:
        app.store.upsert(topic_examples(150), collection="intents")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained_alone(place):
    """Train the same in this process, in folders of its own."""
    with mercat.open(place / "mercat.toml") as app:
        return train(
            app.get("recipes", "intents"),
            name=NAME,
            store=app.store,
            artifacts=Artifacts(place / "alone"),
            scratch_root=place / "alone-scratch",
            recipe_name="full",
            seed=0,
        )


def start(*command):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def children(process, word=""):
    """Return the process numbers of all that came from a process, whose command line has a word."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found, more = set(), {process.pid}
    while more:
        found |= more
        more = {child for child, parent in parents.items() if parent in more} - found
    return sorted(number for number in found - {process.pid} if word in _command(number))


def _command(number):
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def wait_for_updates(process, scratch, least):
    until = time.monotonic() + 250
    while time.monotonic() < until and process.poll() is None:
        pointer = scratch / "latest"
        if pointer.is_file() and int(pointer.read_text().split("-")[1]) >= least:
            return
        time.sleep(0.01)
    pytest.fail(f"no checkpoint after {least} updates: {process.communicate(timeout=10)}")


def test_a_search_is_for_one_process(capsys):
    assert main(["train", "--workers", "2", "--trials", "3"]) == 2
    assert "search first" in capsys.readouterr().err


@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_under_torchrun_outlives_a_kill_and_ends_as_one_process_would(place):
    command = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    broken = start(*command, "-m", "mercat", "train", "intents")
    wait_for_updates(broken, place / "workspace" / "training" / "intents", 5)
    os.kill(children(broken, "mercat train")[-1], signal.SIGKILL)
    _, told = broken.communicate(timeout=250)
    assert broken.returncode != 0
    assert "SIGKILL" in told or "One of them has ended" in told
    assert not (place / "workspace" / "artifacts" / "intents" / "current").exists()

    again = start("-m", "mercat", "train", "intents", "--workers", "2", "--json")
    said, told = again.communicate(timeout=250)
    assert again.returncode == 0, told
    (row,) = json.loads(said)
    alone = trained_alone(place)
    folder = place / "workspace" / "artifacts" / "intents" / row["version"]
    ours, theirs = load_report(folder), load_report(alone.folder)
    assert ours.details["resumed_at"] >= 5
    assert ours.details["processes"] == 2
    assert_alike(load_file(folder / "encoder" / "model.safetensors"), weights_of(alone), within=1e-4)
    for name, metric in theirs.metrics.items():
        assert ours.metrics[name].value == pytest.approx(metric.value, abs=1e-4), name


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_on_ray_a_killed_worker_does_not_lose_the_run(place):
    pytest.importorskip("ray", reason="ray is not installed")
    running = start("-m", "mercat", "train", "intents", "--workers", "2", "--on", "ray", "--json")
    wait_for_updates(running, place / "workspace" / "training" / "intents", 5)
    os.kill(children(running, "RayTrainWorker")[-1], signal.SIGKILL)
    said, told = running.communicate(timeout=500)
    assert running.returncode == 0, told
    (row,) = json.loads(said)
    alone = trained_alone(place)
    folder = place / "workspace" / "artifacts" / "intents" / row["version"]
    assert load_report(folder).details["resumed_at"] >= 5
    assert_alike(load_file(folder / "encoder" / "model.safetensors"), weights_of(alone), within=1e-4)
