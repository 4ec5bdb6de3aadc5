from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file

from mercat.encoders.adapters import adapters_of, insert
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError

pytestmark = pytest.mark.usefixtures("no_bfloat16")

TEXTS = ["my card has not arrived yet", "where is my parcel ?", "refund", "我 的 卡 没 有 到"]


def saved(base: Transformer, folder, placement="houlsby"):
    """Save the body of `base` with adapters that are far from doing nothing; return its vectors in training."""
    body, tokenizer = base.load_for_training()
    torch.manual_seed(0)
    for weight in insert(body, placement=placement, reduction=4):
        torch.nn.init.normal_(weight, std=0.5)
    base.save_body(body, tokenizer, folder)
    return body.eval()


def vectors(base: Transformer, body):
    from mercat.encoders.padded import pool

    _, tokenizer = base.load_for_training()
    found = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer.encode(text).ids])
        mask = torch.ones_like(ids)
        with torch.inference_mode():
            hidden = body(input_ids=ids, attention_mask=mask).last_hidden_state
        found.append(torch.nn.functional.normalize(pool(hidden, mask, base.pooling), dim=1)[0].numpy())
    return np.array(found)


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
@pytest.mark.parametrize("backend", ["packed", "torch"])
def test_what_is_saved_is_served(tiny, tmp_path, placement, backend):
    base = Transformer(str(tiny), max_tokens=32)
    body = saved(base, tmp_path / "model", placement)
    served = Transformer.from_folder(tmp_path / "model", backend=backend)
    np.testing.assert_allclose(served.encode(TEXTS), vectors(base, body), atol=1e-5)
    assert np.abs(served.encode(TEXTS) - base.encode(TEXTS)).max() > 0.05, "the adapters do something"
    assert served.checkpoint.parameters == sum(weight.numel() for weight in body.parameters())


def test_an_export_has_the_adapters(tiny, tmp_path):
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package)
    base = Transformer(str(tiny), max_tokens=32)
    body = saved(base, tmp_path / "model")
    exported = Transformer.from_folder(tmp_path / "model", backend="onnx", workspace_folder=tmp_path)
    exported.export()
    np.testing.assert_allclose(exported.encode(TEXTS), vectors(base, body), atol=1e-5)


@pytest.mark.parametrize("kind", ["distilbert", "mpnet", "roberta", "xlm-roberta"])
def test_bodies_of_other_families_take_adapters(make_tiny, tmp_path, kind):
    names = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64} if kind == "distilbert" else {}
    base = Transformer(str(make_tiny(tmp_path / "base", kind, **names)), max_tokens=32)
    body = saved(base, tmp_path / "model")
    assert len(adapters_of(body)) == 2 * 2 * 4
    np.testing.assert_allclose(
        Transformer.from_folder(tmp_path / "model").encode(TEXTS), vectors(base, body), atol=1e-5
    )


def test_new_adapters_change_nothing(tiny):
    base = Transformer(str(tiny), max_tokens=32)
    body, _ = base.load_for_training()
    insert(body, placement="houlsby", reduction=4)
    np.testing.assert_allclose(vectors(base, body.eval()), base.encode(TEXTS), atol=1e-5)


def test_adapters_are_part_of_the_fingerprint(tiny, tmp_path):
    base = Transformer(str(tiny))
    saved(base, tmp_path / "model")
    path = tmp_path / "model" / "adapters.safetensors"
    before = Transformer.from_folder(tmp_path / "model").fingerprint
    tensors = load_file(path)
    next(iter(tensors.values())).add_(0.5)
    save_file(tensors, path)
    assert len({before, Transformer.from_folder(tmp_path / "model").fingerprint, base.fingerprint}) == 3


def test_another_library_refuses_the_body_without_its_adapters(tiny, tmp_path):
    """The body alone would answer, but not as it was trained."""
    from transformers import AutoModel

    saved(Transformer(str(tiny)), tmp_path / "model")
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        AutoModel.from_pretrained(tmp_path / "model")


def test_a_body_with_adapters_can_be_trained_on_and_saved_again(tiny, tmp_path):
    saved(Transformer(str(tiny)), tmp_path / "model")
    first = Transformer.from_folder(tmp_path / "model")
    body, tokenizer = first.load_for_training()
    assert body.encoder.layer[0].output.dense.adapter.training
    first.save_body(body, tokenizer, tmp_path / "again")
    assert Transformer.from_folder(tmp_path / "again").fingerprint == first.fingerprint
    with pytest.raises(ConfigError, match="It has adapters already"):
        insert(body, placement="pfeiffer", reduction=4)


def test_a_body_of_an_unknown_family_is_refused():
    with pytest.raises(ConfigError, match="A Linear has no layers named like"):
        insert(torch.nn.Linear(2, 2), placement="pfeiffer", reduction=2)


def renamed(old, new):
    return lambda tensors: tensors.__setitem__(new, tensors.pop(old))


AT = "encoder.layer.0.output.dense"
HARMS = {
    "part of one is missing": lambda tensors: tensors.pop(f"{AT}.adapter.up.bias"),
    "another width": lambda tensors: tensors.__setitem__(f"{AT}.adapter.down.bias", torch.zeros(3)),
    "a place without adapters": renamed(f"{AT}.adapter.up.bias", "encoder.layer.0.intermediate.dense.adapter.up.bias"),
    "a layer that is not there": renamed(f"{AT}.adapter.up.bias", "encoder.layer.7.output.dense.adapter.up.bias"),
}


@pytest.mark.parametrize("backend", ["packed", "torch"])
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_adapters_of_another_body_are_refused(tiny, tmp_path, harm, backend):
    saved(Transformer(str(tiny)), tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "adapters.safetensors")
    harm(tensors)
    save_file(tensors, tmp_path / "model" / "adapters.safetensors")
    with pytest.raises(ArtifactError):
        Transformer.from_folder(tmp_path / "model", backend=backend).encode(TEXTS)


def test_a_body_whose_adapters_are_gone_is_refused(tiny, tmp_path):
    saved(Transformer(str(tiny)), tmp_path / "model")
    (tmp_path / "model" / "adapters.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"It has model\.adapted\.safetensors without adapters\.safetensors"):
        Transformer.from_folder(tmp_path / "model").encode(TEXTS)
