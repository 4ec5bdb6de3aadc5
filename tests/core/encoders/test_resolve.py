import json

import pytest

from mercat.encoders import resolve as places
from mercat.encoders.checkpoint import read_checkpoint, sha256
from mercat.encoders.resolve import Packaged, packaged_folder, resolve
from mercat.errors import ArtifactError, UnknownName


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
