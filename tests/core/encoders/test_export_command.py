"""`mercat models export`: what it makes, what it says, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mercat
from mercat.cli.app import main
from mercat.encoders import backends
from mercat.encoders.cache import unwrap
from mercat.encoders.transformer import Transformer
from mercat.heads import LinearHead

CONFIG = """
[mercat]
folder = "workspace"

[encoders.default]
use = "transformer"
model = "MODEL"
device = "cpu"
dtype = "float32"
max_tokens = 20

[encoders.words]
use = "hashing"
"""

LEARNED = """
[sources.questions]
use = "files/csv"
path = "questions.csv"
to = "examples"
collection = "intents"

[sources.articles]
use = "files/csv"
path = "articles.csv"
collection = "help"

[recipes.intents]
use = "linear"
encoder = "default"
collection = "intents"

[classifiers.intents]
use = "trained"
artifact = "intents"
encoder = "default"

[indexes.help]
use = "exact"

[retrievers.help]
use = "dense"
encoder = "default"
index = "help"
collection = "help"
"""
ANSWERING = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "sentence_transformers", "onnx", "peft", "sklearn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
import mercat
with mercat.open("mercat.toml") as app:
    (prediction,) = app.get("classifiers", "intents").predict_many(["where is my card"])
    (hits,) = app.get("retrievers", "help").search_many(["my card has not arrived"], k=1)
    print(prediction.label, hits[0].text, app.get("encoders", "default").info().note, sep="|")
"""


@pytest.fixture
def place(tiny, tmp_path, monkeypatch):
    for package in ("onnx", "onnxruntime"):
        if not backends.installed(package):
            pytest.skip(f"{package} is not installed")
    (tmp_path / "mercat.toml").write_text(CONFIG.replace("MODEL", str(tiny)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def said(capsys, *words):
    """Return the exit code, and what was printed on both streams."""
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_an_export_is_made_in_the_workspace_and_then_runs(place, capsys):
    code, out, err = said(capsys, "models", "export", "--json")
    assert (code, err) == (0, "")
    row = json.loads(out)
    assert (row["name"], row["backend"], row["dtype"]) == ("default", "onnx", "float32")
    assert 0.9999 < row["least_cosine"] <= row["mean_cosine"] < 1.0001
    assert Path(row["folder"]).parent == place / "workspace" / "exports"
    assert row["size_mb"] > 0
    on_onnx = ["--set", "encoders.default.backend=onnx"]
    code, out, err = said(capsys, "models", *on_onnx, "--json")
    shown = {each["name"]: each for each in json.loads(out)}
    assert (code, err) == (0, "")
    assert shown["default"]["backend"] == "onnx"
    assert shown["default"]["fingerprint"] == row["fingerprint"]
    assert "cosine to the original at least" in shown["default"]["note"]
    with mercat.open("mercat.toml") as app, mercat.open("mercat.toml", overrides=[on_onnx[1]]) as other:
        one, two = (unwrap(each.get("encoders", "default")).encode(["my card"]) for each in (app, other))
        assert (one * two).sum() == pytest.approx(1, abs=1e-5)


def test_int8_says_that_its_vectors_are_others(place, capsys):
    code, out, err = said(capsys, "models", "export", "default", "--int8")
    assert (code, err) == (0, "")
    assert 'Now name it: [encoders.default] backend = "onnx" and quantise = "int8"' in out
    assert "a space of their own" in out
    code, out, _ = said(
        capsys, "models", "--json", "--set", "encoders.default.backend=onnx", "--set", "encoders.default.quantise=int8"
    )
    assert code == 0
    assert json.loads(out)[0]["dtype"] == "int8"


def test_openvino(place, capsys):
    if not backends.installed("openvino"):
        pytest.skip("openvino is not installed")
    code, out, err = said(capsys, "models", "export", "--backend", "openvino", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["backend"] == "openvino"


@pytest.mark.parametrize(
    ("words", "told", "cure"),
    [
        (["models", "--set", "encoders.default.backend=onnx"], "has no mercat-export.json", "mercat models export"),
        (["models", "export", "defalt"], "Did you mean 'default'?", "add [encoders.defalt]"),
        (["models", "export", "words"], "It is made by 'hashing'", 'use = "transformer"'),
        (["models", "export", "--backend", "openvino", "--int8"], "It is for onnx", "backend = 'onnx'"),
    ],
)
def test_what_cannot_be_is_one_line_with_its_cure(place, capsys, words, told, cure):
    code, out, err = said(capsys, *words)
    assert code == 1
    assert not out or words[1] != "export"  # the other encoders may be shown
    assert told in err
    assert cure in err.partition("Try: ")[2]
    assert err.count("\n") == 1


def classifier_of(place, tiny, *, own=True):
    """Make the artifact "intents", with a body of its own or without, and a section that answers with it."""
    head_for = Transformer.from_folder(tiny, max_tokens=20).fingerprint if not own else ""
    with mercat.open("mercat.toml") as app, app.artifacts.create("intents", kind="classifier", recipe="full") as writer:
        if own:
            shutil.copytree(tiny, writer.folder / "encoder")
            head_for = Transformer.from_folder(writer.folder / "encoder").fingerprint
        weights = np.random.default_rng(0).normal(size=(2, 32)).astype(np.float32)
        (writer.folder / "head").mkdir()
        LinearHead(("card", "money"), weights, np.zeros(2, np.float32), head_for).save(writer.folder / "head")
    section = '\n[classifiers.intents]\nuse = "trained"\nartifact = "intents"\nencoder = "default"\n'
    (place / "mercat.toml").write_text((place / "mercat.toml").read_text() + section)


@pytest.mark.usefixtures("no_bfloat16")
def test_the_body_of_an_artifact_is_exported_and_answers(place, tiny, capsys):
    classifier_of(place, tiny)
    code, out, err = said(capsys, "models", "export", "intents")
    assert (code, err) == (0, "")
    assert '[classifiers] that has artifact = "intents": backend = "onnx"' in out
    answers = {}
    for backend in ("torch", "onnx"):
        with mercat.open("mercat.toml", overrides=[f"classifiers.intents.backend={backend}"]) as app:
            answers[backend] = app.get("classifiers", "intents").scores(["where is my card", "refund"])
            assert app.get("classifiers", "intents")._open().encoder.info().backend == backend
    assert np.allclose(answers["torch"], answers["onnx"], atol=1e-4)


def test_the_body_of_an_artifact_is_not_rounded_under_its_head(place, tiny, capsys):
    classifier_of(place, tiny)
    code, out, err = said(capsys, "models", "export", "intents", "--int8")
    assert (code, out) == (1, "")
    assert "fitted to the vectors of the body as it is" in err
    assert 'Try: use = "quantise"' in err


def test_an_artifact_without_a_body_has_nothing_to_export(place, tiny, capsys):
    classifier_of(place, tiny, own=False)
    code, out, err = said(capsys, "models", "export", "intents")
    assert (code, out) == (1, "")
    assert "Version 0001 by 'full' has no body of its own" in err


def test_one_that_cannot_say_does_not_hide_the_others(place, capsys):
    (place / "mercat.toml").write_text(
        (place / "mercat.toml").read_text()
        + '[encoders.broken]\nuse = "transformer"\nmodel = "no/such/folder"\n'
        + '[generators.writer]\nuse = "openai"\nurl = "http://127.0.0.1:9/v1"\nmodel = "some"\n'
    )
    code, out, err = said(capsys, "models", "--json")
    rows = {(row["kind"], row["name"]): row for row in json.loads(out)}
    assert list(rows) == [
        ("encoders", "default"),
        ("encoders", "words"),
        ("encoders", "broken"),
        ("generators", "writer"),
    ]
    assert code == 1
    assert "no/such/folder" in rows["encoders", "broken"]["error"]
    assert rows["encoders", "broken"]["error"] in err
    assert rows["encoders", "words"]["dimensions"] == 256
    assert rows["generators", "writer"]["model"] == "some"
    code, out, err = said(capsys, "models")
    assert code == 1
    assert "Generators writer" in out
    assert "no/such/folder" in out


def test_options_in_front_of_the_command_are_refused_rather_than_lost(place, capsys):
    code, out, err = said(capsys, "models", "--config", "other.toml", "export")
    assert (code, out) == (2, "")
    assert "--config belongs behind 'export'" in err
    assert said(capsys, "models", "export", "--backend", "torch")[0] == 2


def test_heads_and_indexes_made_with_torch_answer_without_it(place, capsys):
    """Nothing is named anew for it: where torch is not installed "auto" takes the export that is there."""
    pytest.importorskip("mercat_connectors", reason="the connectors are not installed")
    places = ("where is my card", "the card has not arrived", "my card is late", "where is the card, it is late")
    money = ("refund", "refund my parcel ?", "a refund, not the parcel", "is there no refund yet")
    rows = [
        f'"{text} {n}",{label}'
        for label, texts in (("card", places), ("money", money))
        for text in texts
        for n in "123456"
    ]
    (place / "questions.csv").write_text("\n".join(["text,label", *rows]))
    (place / "articles.csv").write_text("id,text\n1,my card has not arrived\n2,refund\n")
    (place / "mercat.toml").write_text((place / "mercat.toml").read_text() + LEARNED)
    for words in (["ingest"], ["train"], ["index", "build"], ["models", "export"]):
        code, _, err = said(capsys, *words, "--json")
        assert code == 0, err
    ran = subprocess.run([sys.executable, "-c", ANSWERING], capture_output=True, text=True, env=dict(os.environ))
    assert ran.returncode == 0, ran.stderr
    label, text, note = ran.stdout.strip().split("|")
    assert (label, text) == ("card", "my card has not arrived")
    assert note.startswith("onnx: torch is not installed, an export is there")
