"""Encoders on ONNX Runtime and OpenVINO: as near as they say, without torch, and never on files that are not theirs."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mercat.encoders import backends, export, parity
from mercat.encoders.exported import DESCRIPTION, open_export
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, MissingExtra
from mercat.testing.encoders import TEXTS, EncoderContract

ENGLISH = ["my card has not arrived yet", "where is the parcel", "refund", "the card is late, where is my refund ?"]
LENGTHS = [*TEXTS, *ENGLISH, "card " * 100]
KINDS = [("onnx", ""), ("onnx", "int8"), ("openvino", "")]
PACKAGES = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
CORE = Path(__file__).parents[3] / "core"


def need(backend):
    for package in PACKAGES[backend]:
        if not backends.installed(package):
            pytest.skip(f"{package} is not installed")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("exporting")


@pytest.fixture(scope="session")
def exported(tiny, workspace):
    """Return a function that exports the tiny model once for a backend, and gives the encoder that runs on it."""

    def encoder(backend, quantise=""):
        need(backend)
        made = Transformer(str(tiny), dtype="auto", backend=backend, quantise=quantise, workspace_folder=workspace)
        if not made.export_folder.exists():
            made.export()
        return made

    return encoder


class TestOnnx(EncoderContract):
    kind = ("onnx", "")

    @pytest.fixture(autouse=True)
    def _exported(self, exported):
        type(self).make = staticmethod(exported)

    def encoder(self):
        return self.make(*self.kind)


class TestInt8(TestOnnx):
    kind = ("onnx", "int8")
    tolerance = 0.02  # what flows between the layers is rounded by the largest value of the whole batch


class TestOpenVino(TestOnnx):
    kind = ("openvino", "")


@pytest.mark.usefixtures("no_bfloat16")
@pytest.mark.parametrize(
    ("backend", "pooling"), [("onnx", "mean"), ("onnx", "cls"), ("onnx", "last"), ("openvino", "last")]
)
def test_vectors_are_those_of_the_original(tiny, tmp_path, backend, pooling):
    need(backend)
    original = Transformer(
        str(tiny), pooling=pooling, device="cpu", dtype="float32", backend="torch", workspace_folder=tmp_path
    )
    other = original.on(backend)
    made = other.export()
    np.testing.assert_allclose(other.encode(LENGTHS), original.encode(LENGTHS), atol=2e-5)
    assert other.fingerprint == original.fingerprint
    assert made.parity["float32"]["least"] > 0.99999
    assert sorted(path.name for path in (tmp_path / "exports").iterdir()) == [made.folder.name], "nothing is left over"


@pytest.mark.usefixtures("no_bfloat16")
def test_other_architectures_and_prefixes_are_exported(make_tiny, tmp_path):
    need("onnx")
    folder = make_tiny(tmp_path / "distil", "distilbert", dim=32, n_layers=1, n_heads=4, hidden_dim=64)
    original = Transformer(str(folder), device="cpu", query_prefix="query: ", max_tokens=12, workspace_folder=tmp_path)
    alone = Transformer(str(original.on("onnx").export().folder))
    assert (alone.max_tokens, alone.prefix("query"), alone.prefix("document")) == (12, "query: ", "")
    assert alone.fingerprint == original.fingerprint
    for role in ("query", "document"):
        np.testing.assert_allclose(alone.encode(LENGTHS, role=role), original.encode(LENGTHS, role=role), atol=2e-5)


@pytest.mark.parametrize(("backend", "quantise"), KINDS)
def test_info_states_what_runs_and_how_near_it_is(exported, backend, quantise):
    encoder = exported(backend, quantise)
    info = encoder.info()
    described = json.loads((encoder.export_folder / DESCRIPTION).read_text())
    assert (info.backend, info.device) == (backend, "cpu")
    assert info.dtype == quantise or info.dtype in ("float32", "bfloat16")
    assert described["parity"][info.dtype]["texts"] == len(parity.TEXTS)
    assert f"cosine to the original at least {described['parity'][info.dtype]['least']:.4f}" in info.note
    assert "as asked" in info.note
    assert {"torch", "mercat"} < set(described["made_by"])


def test_int8_is_smaller_near_and_a_space_of_its_own(tiny, exported):
    full, small = exported("onnx"), exported("onnx", "int8")
    original = Transformer(str(tiny), device="cpu", dtype="float32")
    found = small.encode(ENGLISH)
    assert (small.export_folder / "model.onnx").stat().st_size < (full.export_folder / "model.onnx").stat().st_size
    assert 0.98 < np.sum(found * original.encode(ENGLISH), axis=1).min() < 0.99999, "rounded, but not far"
    assert small.fingerprint != original.fingerprint == full.fingerprint


@pytest.mark.parametrize(("backend", "quantise"), KINDS)
def test_an_exported_folder_is_a_model_by_itself(exported, backend, quantise):
    encoder = exported(backend, quantise)
    alone = Transformer(str(encoder.export_folder))
    assert (alone.fingerprint, alone.dimensions, alone.quantise) == (encoder.fingerprint, 32, quantise)
    assert alone.checkpoint.parameters == encoder.checkpoint.parameters
    np.testing.assert_allclose(alone.encode(ENGLISH), encoder.encode(ENGLISH), atol=1e-6)
    assert "the model's folder is an export" in alone.info().note
    with pytest.raises(ArtifactError, match="without the weights"):
        alone.load_for_training()
    with pytest.raises(ConfigError, match="is an export for"):
        Transformer(str(encoder.export_folder), backend="packed").warm_up()


WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "sentence_transformers", "onnx", "peft", "sklearn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""


def run_without_torch(code, *arguments, **env):
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(CORE)} | env,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_an_export_encodes_where_torch_cannot_be_imported(exported, tmp_path, backend):
    encoder = exported(backend)
    folder = shutil.copytree(encoder.export_folder, tmp_path / "carried-elsewhere")
    code = (
        "import numpy\nfrom mercat.encoders.transformer import Transformer\n"
        "encoder = Transformer(sys.argv[1])\n"
        "numpy.save(sys.argv[2], encoder.encode(sys.argv[3:]))\n"
        "try:\n    import torch\nexcept ImportError:\n    print(encoder.fingerprint)\n"
    )
    told = run_without_torch(code, folder, tmp_path / "vectors.npy", *ENGLISH, HOME=str(tmp_path / "home"))
    assert told.strip() == encoder.fingerprint
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), encoder.encode(ENGLISH), atol=1e-6)
    assert not (tmp_path / "home").exists(), "a runtime kept something for reports to its makers"


def test_without_torch_auto_takes_an_onnx_export_and_says_so(tiny, exported, workspace, tmp_path):
    exported("onnx")
    code = (
        "from pathlib import Path\nfrom mercat.encoders.transformer import Transformer\n"
        "from mercat.errors import MissingExtra\n"
        "encoder = Transformer(sys.argv[1], workspace_folder=Path(sys.argv[2]))\n"
        "print(encoder.encode(['card']).shape, encoder.info().note)\n"
        "for other in (Transformer(sys.argv[1], workspace_folder=Path(sys.argv[3])),\n"
        "              Transformer(sys.argv[1], workspace_folder=Path(sys.argv[2]), backend='packed')):\n"
        "    try: other.warm_up()\n"
        "    except MissingExtra as error: print(error)\n"
    )
    chosen, missing, packed = run_without_torch(code, tiny, workspace, tmp_path / "empty").splitlines()
    assert chosen.startswith("(1, 32) onnx: torch is not installed, an export is there; cosine to the original")
    assert "needs the package 'torch'" in missing
    assert f"there is no export in '{tmp_path}/empty/exports/" in missing
    assert 'pip install "mercat[train]"' in missing
    assert "needs the package 'torch'" in packed


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_runtimes_are_imported_without_their_reports(runtime, tmp_path):
    """Both runtimes keep an identity in the home folder and open connections when they are imported as they come."""
    pytest.importorskip(runtime, reason=f"{runtime} is not installed")
    code = (
        "import os, sys; from mercat.encoders import runtimes; before = dict(os.environ);"
        f"assert runtimes.{runtime}() is sys.modules[{runtime!r}] is runtimes.{runtime}();"
        "assert dict(os.environ) == before and 'openvino_telemetry' not in sys.modules"
    )
    env = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    env |= {"PYTHONPATH": str(CORE), "HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    assert not (tmp_path / "home").exists()


def described(**changes):
    def damage(folder):
        path = folder / DESCRIPTION
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def changed_encoder(**changes):
    def damage(folder):
        path = folder / DESCRIPTION
        read = json.loads(path.read_text())
        path.write_text(json.dumps(read | {"encoder": read["encoder"] | changes}))

    return damage


def content(name, data, *, told=False):
    """Replace a file; if `told`, the description names its new sum, as that of a stranger would."""

    def damage(folder):
        (folder / name).write_bytes(data(folder) if callable(data) else data)
        if told:
            import hashlib

            files = json.loads((folder / DESCRIPTION).read_text())["files"]
            described(files=files | {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()})(folder)

    return damage


def link(folder):
    (folder / "model.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "elsewhere.onnx")


def outside(folder):
    """A graph whose weights lie in a file of its own, named by a path that leads out of the folder."""
    import onnx

    model = onnx.load(folder / "model.onnx")
    onnx.external_data_helper.convert_model_to_external_data(model, location="weights", size_threshold=0)
    onnx.save(model, folder.parent / "apart.onnx")
    return (folder.parent / "apart.onnx").read_bytes()


def other_size(folder):
    """A graph that runs, but is no encoder of this width."""
    import onnx

    model = onnx.load(folder / "model.onnx")
    (last,) = (node for node in model.graph.node if "vectors" in node.output)
    last.output[0] = "whole"
    model.graph.node.append(onnx.helper.make_node("Concat", ["whole", "whole"], ["vectors"], axis=1))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 64
    return model.SerializeToString()


BROKEN = {
    "nothing there": (shutil.rmtree, "has no mercat-export.json"),
    "no graph": (lambda folder: (folder / "model.onnx").unlink(), "has no model.onnx"),
    "another graph": (content("model.onnx", b"another"), "sha256 .* of model.onnx is not"),
    "another tokenizer": (content("tokenizer.json", b"{}"), "sha256 .* of tokenizer.json is not"),
    "a link": (link, "model.onnx is a link"),
    "no JSON": (content(DESCRIPTION, b"{"), "not JSON"),
    "a list": (content(DESCRIPTION, b"[]"), "no JSON dict"),
    "a newer schema": (described(schema=2), "has schema 2, this version reads 1"),
    "code to run": (described(auto_map={"AutoModel": "x.Y"}), "asks to run code"),
    "an unknown backend": (described(backend="../pickle"), "no usable 'backend'"),
    "another backend": (described(backend="openvino"), "It is for openvino"),
    "an unknown rounding": (described(quantise="int1"), "no usable 'quantise'"),
    "another's vectors": (described(fingerprint="0" * 64), "gives vectors of 000000000000…, this encoder those of"),
    "no sums": (described(files={}), "sha256 .* is not"),
    "sums of another type": (described(files={"model.onnx": 5}), "no usable 'files'"),
    "figures that are none": (described(parity={"float32": {"least": "1"}}), "no usable 'parity'"),
    "no encoder": (described(encoder=None), "no usable 'encoder'"),
    "a size that cannot be": (changed_encoder(dimensions=-1), r"no usable 'encoder.dimensions'"),
    "a truth that is none": (changed_encoder(lower_case="no"), r"no usable 'encoder.lower_case'"),
    "a graph that is none": (content("model.onnx", b"none at all", told=True), "ONNX Runtime cannot run it"),
    "an empty graph": (content("model.onnx", b"", told=True), "graph is empty"),
    "weights outside": (content("model.onnx", outside, told=True), "refers to data outside of it"),
    "another width": (content("model.onnx", other_size, told=True), r"shape \(1, 64\), .* 32 dimensions"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_and_foreign_exports_are_refused(tiny, exported, tmp_path, name):
    made = exported("onnx")
    folder = tmp_path / "exports" / made.export_folder.name
    shutil.copytree(made.export_folder, folder)
    damage, cause = BROKEN[name]
    damage(folder)
    encoder = Transformer(str(tiny), backend="onnx", workspace_folder=tmp_path)
    with pytest.raises(ArtifactError, match=cause) as told:
        encoder.encode(["card"])
    assert "mercat models export" in told.value.next or name in ("no JSON", "a list", "code to run")


def test_openvino_files_that_are_none_are_refused(exported, tmp_path):
    folder = shutil.copytree(exported("openvino").export_folder, tmp_path / "copy")
    content("model.xml", b"<net/>", told=True)(folder)
    with pytest.raises(ArtifactError, match="OpenVINO cannot run it"):
        Transformer(str(folder)).encode(["card"])


def test_an_export_of_other_settings_is_not_taken(exported):
    folder = exported("onnx").export_folder
    for changes in ({"pooling": "cls"}, {"max_tokens": 9}, {"query_prefix": "q"}):
        with pytest.raises(ArtifactError, match="gives vectors of"):
            Transformer(str(folder), **changes).info()
    with pytest.raises(ArtifactError, match="gives vectors of"):
        Transformer(str(folder), backend="onnx", quantise="int8").info()


@pytest.mark.parametrize("quantise", ["", "int8"])
def test_an_export_too_far_from_the_original_is_not_kept(tiny, tmp_path, monkeypatch, quantise):
    need("onnx")

    def shifted(rows):
        found = np.ones((len(rows), 32), dtype=np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    class Shifted:
        def __init__(self, *args, **options):
            self.vectors = shifted

    monkeypatch.setattr("mercat.encoders.onnx.OnnxModel", Shifted)
    encoder = Transformer(str(tiny), backend="onnx", quantise=quantise, workspace_folder=tmp_path)
    with pytest.raises(ArtifactError, match=r"at least 0\.9(99|8) is needed"):
        encoder.export()
    assert not list((tmp_path / "exports").iterdir())


def test_the_gate_counts_the_worst_text_and_what_is_no_number():
    rows = [[1], [2, 3], [4, 5, 6]]
    axis = {1: [1.0, 0.0], 2: [0.0, 1.0], 4: [1.0, 0.0]}
    bent = axis | {2: [0.6, 0.8]}

    def forward(table):
        return lambda some: np.array([table[row[0]] for row in some], dtype=np.float32)

    figures = parity.parity(rows, original=forward(axis), other=forward(bent))
    assert figures == {"least": pytest.approx(0.8), "mean": pytest.approx(2.8 / 3), "texts": 3}
    lost = parity.parity(rows, original=forward(axis), other=forward(axis | {4: [np.nan, 0.0]}))
    assert lost["least"] == -1
    mixed = lambda some: forward(bent if len(some) > 1 else axis)(some)  # noqa: E731
    assert parity.parity(rows, original=forward(axis), other=mixed)["least"] == pytest.approx(0.8), "batches count too"


def test_the_texts_of_the_gate_are_of_both_languages_and_of_many_lengths():
    chinese = [text for text in parity.TEXTS if any("一" <= letter <= "鿿" for letter in text)]
    assert 5 <= len(chinese) <= len(parity.TEXTS) - 5
    lengths = sorted(map(len, parity.TEXTS))
    assert lengths[0] < 10
    assert lengths[-1] > 1000
    assert parity.LEAST == {"": 0.999, "int8": 0.98}


def test_a_second_export_replaces_the_first(tiny, tmp_path):
    need("onnx")
    encoder = Transformer(str(tiny), backend="onnx", workspace_folder=tmp_path)
    folder = encoder.export().folder
    (folder / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(ArtifactError):
        encoder.warm_up()
    assert encoder.export().folder == folder
    assert encoder.encode(["card"]).shape == (1, 32)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_original_stays_in_evaluation(tiny, tmp_path, monkeypatch):
    """The exporter puts the module into the mode of what it traced: in training, dropout would bend every vector."""
    need("onnx")
    seen = []

    class Kept(export.PaddedModel):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            seen.append(self.module)

    monkeypatch.setattr(export, "PaddedModel", Kept)
    Transformer(str(tiny), backend="onnx", workspace_folder=tmp_path).export()
    assert len(seen) == 1
    assert not any(part.training for part in seen[0].modules())


def test_quantising_prints_nothing_and_sets_up_no_logging(tiny, tmp_path, monkeypatch, capfd):
    need("onnx")
    monkeypatch.setattr(logging.root, "handlers", [])
    capfd.readouterr()
    Transformer(str(tiny), backend="onnx", quantise="int8", workspace_folder=tmp_path).export()
    assert logging.root.handlers == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"backend": "packed", "quantise": "int8"}, "It is for onnx"),
        ({"quantise": "int8"}, "It is for onnx"),
        ({"backend": "openvino", "quantise": "int8"}, "It is for onnx"),
        ({"backend": "onnx", "quantise": "int4"}, "Known: int8"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_anything_loads(settings, cause):
    with pytest.raises(ConfigError, match=cause):
        Transformer("no-such-model", **settings)


@pytest.mark.parametrize(
    ("backend", "settings", "cause"),
    [
        ("onnx", {"device": "cuda:0"}, "for the CPU"),
        ("onnx", {"dtype": "bfloat16"}, "computes in float32"),
        ("openvino", {"device": "cuda"}, "for the CPU"),
        ("openvino", {"dtype": "float16"}, "float32 and bfloat16"),
    ],
)
def test_what_an_export_cannot_run_on_is_refused(tiny, exported, workspace, backend, settings, cause):
    exported(backend)
    with pytest.raises(ConfigError, match=cause):
        Transformer(str(tiny), backend=backend, workspace_folder=workspace, **settings).info()


def test_openvino_computes_bfloat16_only_where_the_cpu_does(tiny, exported, workspace):
    from mercat.compute.device import cpu_flags

    exported("openvino")
    native = bool(cpu_flags() & {"amx_bf16", "avx512_bf16"})
    auto = Transformer(str(tiny), backend="openvino", workspace_folder=workspace)
    assert auto.info().dtype == ("bfloat16" if native else "float32")
    asked = Transformer(str(tiny), backend="openvino", dtype="bfloat16", workspace_folder=workspace)
    if native:
        exact = Transformer(str(tiny), device="cpu", dtype="float32")
        assert np.sum(asked.encode(ENGLISH) * exact.encode(ENGLISH), axis=1).min() > 0.999
    else:
        assert "not measured in bfloat16" in asked.info().note
        with pytest.raises(ConfigError, match="computes in f32 on this CPU"):
            asked.encode(ENGLISH)


def test_only_what_can_be_exported_is(tiny, exported):
    with pytest.raises(ConfigError, match="Known: onnx, openvino"):
        Transformer(str(tiny), backend="packed").export()
    with pytest.raises(ArtifactError, match="without the weights"):
        Transformer(str(exported("onnx").export_folder), backend="onnx").export()


def test_a_missing_package_is_named_with_its_extra(tiny, exported, workspace, monkeypatch):
    exported("onnx")
    gone = {"onnxruntime"}
    monkeypatch.setattr(backends, "installed", lambda module: module not in gone)
    with pytest.raises(MissingExtra, match=r"mercat\[serve\]"):
        Transformer(str(tiny), backend="onnx", workspace_folder=workspace).info()


def test_without_a_workspace_exports_lie_in_the_cache_of_the_user(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    encoder = Transformer(str(tiny), backend="onnx")
    assert encoder.export_folder.parent == tmp_path / "mercat" / "exports"
    assert encoder.export_folder.name == f"{encoder.fingerprint[:16]}-onnx"
    with pytest.raises(ArtifactError, match="mercat models export"):
        open_export(encoder.export_folder, backend="onnx", fingerprint=encoder.fingerprint)


def test_several_lanes_give_the_same_vectors(tiny, exported, workspace, monkeypatch):
    exported("onnx")
    monkeypatch.setattr("mercat.encoders.running.cores", lambda: 3)
    encoder = Transformer(str(tiny), backend="onnx", batch_tokens=16, workspace_folder=workspace)
    np.testing.assert_allclose(encoder.encode(ENGLISH * 20), exported("onnx").encode(ENGLISH * 20), atol=1e-5)
    assert encoder._loaded.lanes == 3
    encoder.close()
