"""What `auto` makes of the speed that an export was measured to have, and how it is measured."""

import json

import numpy as np
import pytest

from mercat.encoders import backends, speed
from mercat.encoders.exported import DESCRIPTION
from mercat.encoders.transformer import Transformer

TEXTS = ["my card has not arrived", "refund"]


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """The tiny model with an export for ONNX Runtime: the folder of its workspace."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    folder = tmp_path_factory.mktemp("quick")
    Transformer(str(tiny), backend="onnx", workspace_folder=folder).export()
    return folder


@pytest.fixture
def encoder(tiny, made):
    """Return a function that gives the encoder once its export says something about its speed."""
    path = Transformer(str(tiny), backend="onnx", workspace_folder=made).export_folder / DESCRIPTION
    before = path.read_text()

    def told(**parameters):
        kept = json.loads(before)
        if "speed" in parameters:
            kept["speed"] = parameters.pop("speed")
        path.write_text(json.dumps(kept))
        return Transformer(str(tiny), workspace_folder=made, **({"device": "cpu"} | parameters))

    yield told
    path.write_text(before)


def figures(times, *, here=True, **changes):
    own = {"short": 100.0, "long": 10.0}
    machine = speed.machine("onnx") if here else {**speed.machine("onnx"), "cpu": "another"}
    export = {name: times * value for name, value in own.items()}
    return {"dtype": "float32", "machine": machine, "own": own, "export": export} | changes


def test_an_export_knows_how_fast_it_is_beside_torch_on_this_machine(encoder):
    kept = json.loads((encoder(backend="onnx").export_folder / DESCRIPTION).read_text())["speed"]
    assert kept["machine"] == speed.machine("onnx")
    assert kept["machine"]["packages"]["onnxruntime"]
    assert kept["machine"]["cores"] >= 1
    found = speed.speed_of(kept, backend="onnx", dtype="float32")
    assert found.here
    assert 0 < found.own["long"] < found.own["short"], "sixteen times as many tokens"
    assert 0 < found.export["long"] < found.export["short"]


def test_auto_takes_the_export_that_is_quicker_and_says_how_much(encoder):
    chosen = encoder(speed=figures(1.5))
    info = chosen.info()
    assert info.backend == "onnx"
    assert info.note.startswith(
        "onnx: the quicker one here, beside torch 1.50 times on short texts and 1.50 times on long"
    )
    assert "cosine to the original" in info.note
    own = chosen.on("torch")
    assert info.fingerprint == own.fingerprint
    assert np.sum(chosen.encode(TEXTS) * own.encode(TEXTS), axis=1).min() > 0.999


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (figures(0.7), "the export for onnx is not worth it, beside torch 0.70 times"),
        (figures(1.01), "not worth it"),
        (figures(2.0, here=False), "an export for onnx is there, not measured on this machine: mercat models export"),
        (figures(2.0, dtype="bfloat16"), "not measured on this machine"),
        (figures(2.0, own={"short": 0.0, "long": 1.0}), "not measured on this machine"),
        (figures(2.0, export="quick"), "not measured on this machine"),
        (None, "not measured on this machine"),
        ([1, 2], "not measured on this machine"),
    ],
)
def test_otherwise_it_stays_with_torch_and_says_why(encoder, kept, told):
    info = encoder(speed=kept).info()
    assert info.backend == "torch"
    assert told in info.note


@pytest.mark.parametrize("asked", [{"backend": "torch"}, {"backend": "packed"}, {"dtype": "float32"}])
def test_what_was_asked_for_by_name_is_what_runs(encoder, asked):
    assert encoder(speed=figures(3.0), **asked).info().backend == "torch"


def test_an_export_that_cannot_be_used_is_passed_over_and_named(encoder, monkeypatch):
    chosen = encoder(speed=figures(2.0))
    graph = chosen.export_folder / "model.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1] + b"!")
    try:
        info = chosen.info()
    finally:
        graph.write_bytes(whole)
    assert info.backend == "torch"
    assert "the export for onnx cannot be used: sha256" in info.note
    monkeypatch.setattr(backends, "installed", lambda module: module != "onnxruntime")
    info = encoder(speed=figures(2.0)).info()
    assert info.backend == "torch"
    assert "the export for onnx cannot be used:" in info.note


def test_rows_of_a_shape_are_made_of_those_that_are_there():
    assert speed.shaped([[1, 2], [3]], 2, 4) == [[1, 2, 3, 1], [2, 3, 1, 2]]
    assert [len(row) for row in speed.shaped([[1]], 3, 5)] == [5, 5, 5]
