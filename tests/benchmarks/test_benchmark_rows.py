"""A benchmark that was stopped goes on: what it had measured is not measured again, and nothing else is taken for it."""

from __future__ import annotations

import csv
import gzip
import importlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mercat.encoders.hashing import Hashing

ROOT = Path(__file__).parents[2]
KILLED_IN_B = """
import os, signal, sys, types
from pathlib import Path
from benchmarks import frame

frame.code = lambda: None if sys.argv[1].endswith("+changes") else sys.argv[1]
log = Path("made")

def make(name):
    if name == "b" and not log.read_text().count("b"):
        log.write_text(log.read_text() + name)
        os.kill(os.getpid(), signal.SIGKILL)
    log.write_text((log.read_text() if log.exists() else "") + name)
    return {"value": ord(name)}

def run(context):
    for name in "abc":
        context.record(name, context.row([name], lambda: make(name), digest=sys.argv[2])["value"])

module = types.ModuleType("benchmarks.killed")
module.NEEDS, module.run = (), run
sys.modules["benchmarks.killed"] = module
print(sorted(frame.run("killed", data=Path(), rows=Path("rows"))["results"].items()))
"""


class Stopped(BaseException):
    """Somebody pressed Ctrl-C."""


@pytest.fixture
def frame(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    found = importlib.import_module("benchmarks.frame")
    monkeypatch.setattr(found, "code", lambda: "0123456789ab")
    monkeypatch.setattr(found, "commit", lambda: "0123456789ab")
    monkeypatch.setattr(found, "_gpu", lambda: "")
    return found


@pytest.fixture
def measure(frame: ModuleType, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    return lambda name: dict(frame.run(name, data=tmp_path / "data", rows=tmp_path / "rows"))


def write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_rows_survive_a_killed_process_and_are_those_of_one_commit_and_data(tmp_path: Path) -> None:
    def run(commit: str = "c1", digest: str = "d1") -> tuple[int, str]:
        command = [sys.executable, "-c", KILLED_IN_B, commit, digest]
        done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        made = (tmp_path / "made").read_text()
        (tmp_path / "made").write_text("b")  # the later ones are not killed
        return done.returncode, made if done.returncode == 0 else f"{made} {done.stderr}".strip()

    assert run() == (-signal.SIGKILL, "ab")
    assert run() == (0, "bbc"), "a is there already"
    assert run() == (0, "b"), "all are there"
    assert run(commit="c2") == (0, "babc")
    assert run(digest="d2") == (0, "babc")
    assert run(commit="c1+changes") == run(commit="c1+changes") == (0, "babc"), "nothing is kept of changed code"


@pytest.fixture
def timed(frame: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The benchmark `encode` with an encoder that is there at once; what is timed is written down."""
    texts = [{"text": f"question {n}", "split": "test"} for n in range(6)]
    write(tmp_path / "data" / "banking77" / "banking77.csv.gz", texts)
    write(tmp_path / "data" / "scifact" / "corpus.csv.gz", [{"title": f"title {n}", "text": "a b"} for n in range(4)])
    encode, seen = importlib.import_module("benchmarks.encode"), list[str]()
    one, other = Hashing(dimensions=64), Hashing(dimensions=64)
    seconds = encode._timed

    def timed(encoder: Any, texts: Sequence[str]) -> Any:
        seen.append(texts[0].partition(" ")[0])
        return seconds(encoder, texts)

    monkeypatch.setattr(encode, "_timed", timed)
    monkeypatch.setattr(encode, "_models", lambda *asked: (one.encode, other.encode, {"peer_version": "0"}))
    monkeypatch.setattr(encode, "EXPORTS", {})
    monkeypatch.setattr(encode, "measure_static", lambda *asked: None)
    return seen


def test_encoding_goes_on_with_the_texts_that_are_missing(
    frame: ModuleType, measure: Any, timed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = importlib.import_module("benchmarks.encode")
    texts = encode._long
    monkeypatch.setattr(encode, "_long", lambda context: (_ for _ in ()).throw(Stopped))
    with pytest.raises(Stopped):
        measure("encode")
    assert set(timed) == {"question"}
    timed.clear()
    monkeypatch.setattr(encode, "_long", texts)
    result = measure("encode")
    assert set(timed) == {"title"}
    assert result["results"]["short.texts_per_s"]["n"] == 15
    assert result["notes"] == {"peer_version": "0"}
    timed.clear()
    monkeypatch.setattr(encode, "_models", lambda *asked: pytest.fail("nothing is left to measure"))
    assert measure("encode")["results"] == result["results"]
    assert timed == []


def test_encoding_on_other_backends_is_recorded_under_their_names(
    frame: ModuleType, measure: Any, timed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = importlib.import_module("benchmarks.encode")
    plain, turned = Hashing(dimensions=64), Hashing(dimensions=64)

    def models(context: Any, kind: str, *rest: Any) -> Any:
        if kind == "absent":
            raise frame.Missing("needs the package 'absent'")
        encoded = (lambda texts: -turned.encode(texts)) if kind == "turned" else plain.encode
        return encoded, plain.encode, {"peer_version": kind}

    monkeypatch.setattr(encode, "EXPORTS", {"turned": ("onnx", ""), "absent": ("onnx", "int8")})
    monkeypatch.setattr(encode, "_models", models)
    result = measure("encode")
    found = result["results"]
    assert found["mean_cosine"]["value"] == pytest.approx(1)
    assert found["turned.mean_cosine"]["value"] == pytest.approx(-1)
    assert found["turned.short.texts_per_s"]["value"] > 0
    assert not [name for name in found if name.startswith("absent")]
    assert result["notes"] == {
        "peer_version": "",
        "turned.peer_version": "turned",
        "absent.left_out": "needs the package 'absent'",
    }


def test_an_interval_is_that_of_the_median_or_is_not_there(measure: Any, timed: list[str]) -> None:
    results = measure("encode")["results"]
    ratio = results["short.ratio_to_sentence_transformers"]
    assert 0 < ratio["low"] <= ratio["value"] <= ratio["high"]
    assert results["mean_cosine"]["low"] <= results["mean_cosine"]["value"] <= results["mean_cosine"]["high"]
    assert set(results["min_cosine"]) == {"value", "n"}


def test_the_interval_of_a_median_covers_it_in_95_of_100_samples(frame: ModuleType) -> None:
    import numpy as np

    assert frame.median_interval([3.0, 1.0, 2.0, 5.0, 4.0]) is None
    assert frame.median_interval([3.0, 1.0, 2.0, 6.0, 5.0, 4.0]) == (1.0, 6.0)
    assert frame.median_interval([float(n) for n in range(1, 16)]) == (4.0, 12.0)
    rng = np.random.default_rng(0)
    for n in (6, 7, 11, 15, 40):
        samples = np.exp(rng.normal(size=(2000, n)))  # skewed, the median is 1
        inside = np.mean([low <= 1.0 <= high for low, high in map(frame.median_interval, samples.tolist())])
        assert 0.94 < inside < 0.995, n


def test_the_demo_goes_on_with_the_verticals_that_are_missing(
    frame: ModuleType, measure: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = importlib.import_module("benchmarks.demo")
    figure = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 10}
    for name in demo.NEEDS:
        write(tmp_path / "data" / name / f"{name}.csv.gz", [{"text": "a"}])
    run, stop_at = list[str](), ["financial-sentiment"]

    def command(words: Sequence[str], **options: Any) -> Any:
        vertical = words[words.index("--only") + 1]
        run.append(vertical)
        if vertical in stop_at:
            raise Stopped
        recipes = {recipe: {} for recipe, _, _ in demo.METRICS[vertical].values()}
        for recipe, part, metric in demo.METRICS[vertical].values():
            recipes[recipe].setdefault(part, {})[metric] = figure
        said = {"workspace": "demo", "results": recipes, "wall_s": 1.5, "peak_memory_gb": 0.5}
        return subprocess.CompletedProcess(words, 0, json.dumps(said), "")

    monkeypatch.setattr(demo.subprocess, "run", command)
    with pytest.raises(Stopped):
        measure("demo")
    assert run == ["customer-service", "financial-sentiment"]
    run.clear()
    stop_at.clear()
    results = measure("demo")["results"]
    assert run == ["financial-sentiment", "recommendation"]
    assert results["banking77.accuracy"] == {**figure, "seeds": 1}
    assert results["movielens100k.ndcg10_minus_popular7_low"]["value"] == 0.8
    assert results["recommendation.peak_memory_gb"]["value"] == 0.5


def test_rows_are_kept_by_code_and_not_by_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(ROOT)
    found = importlib.import_module("benchmarks.frame")
    monkeypatch.setattr(found, "ROOT", tmp_path)

    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], cwd=tmp_path, check=True)

    def committed(path: str, text: str) -> str | None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        git("add", "-A")
        git("commit", "-qm", path)
        return found.code()

    git("init", "-q")
    first = committed("core/a.py", "1")
    assert first
    assert committed("README.md", "words") == first
    assert committed("benchmarks/results/a.json", "{}") == first
    (tmp_path / "benchmarks/results/a.json").write_text("{ }")
    assert found.code() == first
    assert committed("benchmarks/a.py", "2") != first
    (tmp_path / "core/a.py").write_text("3")
    assert found.code() is None


def test_a_static_table_is_held_against_the_encoder_and_against_the_peer(
    frame: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    static = importlib.import_module("benchmarks._static")
    row = {"rounds": [(3.0, 0.01), (2.0, 0.01)], "texts": 1, "accuracy": {"encoder": 0.9, "static": 0.81}}
    monkeypatch.setattr(static, "_measured", lambda *asked: {**row, "n": 10, "distil_s": 1.5})
    context = frame.Context("encode", data=tmp_path, rows=tmp_path / "rows")
    static.measure(context, lambda: (None, "0"), [])
    assert context.results["static.ratio_to_sentence_transformers"]["value"] == pytest.approx(250)
    assert context.results["static.accuracy_share"]["value"] == pytest.approx(0.9)
