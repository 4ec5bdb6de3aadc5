import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256 as digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mercat.encoders.checkpoint import read_checkpoint
from mercat.errors import ArtifactError, UnknownName
from mercat.pretrained import resolve as places
from mercat.pretrained.resolve import Packaged, packaged_folder, resolve
from mercat.pretrained.sums import sha256


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with weights, importable, that fails if anybody imports it."""
    (tmp_path / "shipped_weights" / "model").mkdir(parents=True)
    (tmp_path / "shipped_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    weights = tmp_path / "shipped_weights" / "model" / "model.safetensors"
    weights.write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    return Packaged("shipped_weights", "model", "model.safetensors", sha256(weights))


def test_a_folder_comes_first(tmp_path):
    assert resolve(str(tmp_path)) == tmp_path.resolve()


def test_a_folder_comes_before_a_package_of_the_same_name(package, tmp_path, monkeypatch):
    monkeypatch.setitem(places.PACKAGED, "some-model", (package,))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some-model").mkdir()
    assert resolve("some-model") == (tmp_path / "some-model").resolve()
    (tmp_path / "some-model").rmdir()
    assert resolve("some-model") == packaged_folder(package)


def test_a_package_is_found_without_importing_it(package, monkeypatch):
    monkeypatch.setitem(places.PACKAGED, "some-model", (package,))
    assert resolve("some-model").name == "model"


def test_changed_weights_of_a_package_are_refused(package):
    folder = packaged_folder(package)
    (folder / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ArtifactError, match="is not the pinned"):
        packaged_folder(package)


def test_a_package_that_is_not_installed_is_passed_over():
    assert packaged_folder(Packaged("not_installed_anywhere", "model", "model.safetensors", "0")) is None


def test_offline_an_unknown_name_says_what_to_type(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UnknownName) as caught:
        resolve("all-MiniLM-L6-v3")
    assert "No model named 'all-MiniLM-L6-v3'. Did you mean 'all-MiniLM-L6-v2'?" in str(caught.value)
    assert "HF_HUB_OFFLINE is set" in str(caught.value)


@pytest.mark.parametrize("name", ["/no/such/folder", "./model", "a b", "../../x"])
def test_what_can_only_be_a_path_is_not_asked_of_the_hub(name):
    with pytest.raises(ArtifactError, match="no such folder"):
        resolve(name)


def test_an_unfinished_folder_names_the_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match=r"It has no config\.json"):
        read_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{nonsense")
    with pytest.raises(ArtifactError, match="It is not JSON"):
        read_checkpoint(tmp_path)


def test_a_layer_that_would_be_left_out_is_an_error(tiny, copy_of):
    folder = copy_of(tiny)
    layers = [{"idx": 0, "path": "", "type": "x.Transformer"}, {"idx": 1, "path": "2_Dense", "type": "x.Dense"}]
    (folder / "modules.json").write_text(json.dumps(layers))
    with pytest.raises(ArtifactError, match="layer 'Dense', which mercat does not run"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({}, "mean"),
    ],
)
def test_pooling_is_read_from_the_folder(tiny, copy_of, config, pooling):
    assert read_checkpoint(copy_of(tiny, "1_Pooling/config.json", **config)).pooling == pooling


def test_pooling_that_is_not_known_is_an_error(tiny, copy_of):
    folder = copy_of(tiny, "1_Pooling/config.json", pooling_mode_max_tokens=True, pooling_mode_mean_tokens=True)
    with pytest.raises(ArtifactError, match=r"Pooling 'max_tokens\+mean_tokens'"):
        read_checkpoint(folder)


def test_the_length_is_the_smallest_that_any_file_names(tiny, copy_of):
    assert read_checkpoint(tiny).max_tokens == 48
    assert read_checkpoint(copy_of(tiny, "sentence_bert_config.json", max_seq_length=40)).max_tokens == 40
    assert read_checkpoint(copy_of(tiny, "tokenizer_config.json", model_max_length=10**30)).max_tokens == 48


def test_parameters_are_counted_from_the_header(tiny):
    from mercat.encoders.padded import load_module

    found = read_checkpoint(tiny)
    assert found.parameters == sum(weights.numel() for weights in load_module(found).parameters())


def test_a_changed_file_gets_a_new_hash(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    before = sha256(file)
    file.write_bytes(b"three")
    assert sha256(file) != before


def test_weights_in_parts_count_all_parts(tiny, copy_of):
    folder = copy_of(tiny)
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    half = {names[0]: tensors[names[0]]}
    rest = {name: tensors[name] for name in names[1:]}
    save_file(half, folder / "model-1.safetensors")
    save_file(rest, folder / "model-2.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: "model-1.safetensors" if name in half else "model-2.safetensors" for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert read_checkpoint(folder).parameters == read_checkpoint(tiny).parameters
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"no complete model\.safetensors"):
        read_checkpoint(folder)


COMMIT = "0123456789abcdef0123456789abcdef01234567"
KEPT = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "1_Pooling/config.json": b"{}",
    "model.safetensors": b"weights",
    "vocab.txt": b"a\nb\n",
    "merges.txt": b"a b\n",
    "sentencepiece.bpe.model": b"pieces",
}
LEFT = {
    "pytorch_model.bin": b"a pickle",
    "modeling_own.py": b"raise SystemExit",
    "README.md": b"# Read",
    "onnx/model.onnx": b"x",
}


class HubHandler(BaseHTTPRequestHandler):
    """Answers what the hub's client asks: which files there are, and each of them."""

    asked: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        files, head = {**KEPT, **LEFT}, {}
        if self.path.startswith("/api/models/shop/small/tree/"):
            rows = [{"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in files.items()]
            body = json.dumps(rows).encode()
        elif self.path.startswith("/api/models/shop/small/"):
            body = json.dumps(
                {"id": "shop/small", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            ).encode()
            head["Content-Type"] = "application/json"
        elif self.path.startswith("/shop/small/resolve/"):
            body = files[self.path.split("/", 5)[5]]
            head = {"ETag": f'"{digest(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
        else:
            body, head = b"{}", {"X-Error-Code": "RepoNotFound"}
        self.send_response(404 if "X-Error-Code" in head else 200)
        for key, value in {**head, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """A hub on loopback: its address, and what it was asked."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (HubHandler,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def resolved(model: str, hub: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Resolve in a process of its own: the hub's client reads its environment when it is imported."""
    code = "import sys; from mercat.pretrained.resolve import resolve; print(resolve(sys.argv[1]))"
    given = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    given |= {"HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    command = [sys.executable, "-c", code, model]
    return subprocess.run(command, env=given, cwd=home, capture_output=True, text=True, timeout=60)


def test_the_hub_comes_last_and_its_cache_serves_without_it(hub, tmp_path):
    pytest.importorskip("huggingface_hub")
    address, asked = hub
    fetched = resolved("shop/small", address, tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    folder = Path(fetched.stdout.strip())
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == KEPT
    assert not [each for each in asked for name in LEFT if each.endswith(name)], "never a pickle, never code"
    asked.clear()
    offline = resolved("shop/small", address, tmp_path, HF_HUB_OFFLINE="1")
    assert (offline.stdout, asked) == (fetched.stdout, []), offline.stderr


def test_a_local_folder_is_not_asked_of_the_hub(hub, tmp_path):
    address, asked = hub
    (tmp_path / "shop" / "small").mkdir(parents=True)
    found = resolved("shop/small", address, tmp_path)
    assert (found.stdout.strip(), asked) == (str(tmp_path / "shop" / "small"), [])


def test_a_name_that_the_hub_does_not_have_and_a_hub_that_is_not_there(hub, tmp_path):
    pytest.importorskip("huggingface_hub")
    lost = resolved("shop/none", hub[0], tmp_path)
    assert "UnknownName" in lost.stderr
    assert "No model named 'shop/none'" in lost.stderr
    unreachable = resolved("shop/small", "http://127.0.0.1:9", tmp_path)
    assert "ConnectError" in unreachable.stderr
    assert "Model 'shop/small' from the hub" in unreachable.stderr
