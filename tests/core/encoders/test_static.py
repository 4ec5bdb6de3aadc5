import json
import shutil

import numpy as np
import pytest

from mercat.artifacts import Artifacts, load_arrays, save_arrays
from mercat.encoders.static import Static
from mercat.encoders.static_tables import save_static
from mercat.errors import ArtifactError, ConfigError, UnknownName
from mercat.testing.encoders import TEXTS, EncoderContract

WORDS = ["where", "is", "my", "card", "has", "not", "arrived", "refund", "银", "卡", "到", "mi", "?", "."]
LETTERS = [mark + chr(code) for mark in ("", "##") for code in range(97, 123)]
ODD = [*TEXTS, "", "   ", "☃ ☃", "card " * 700, "a\x00b", "refund my card . " * 40, "  where is", "x" * 5000]


def word_pieces():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {token: at for at, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *LETTERS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def unigram():
    from tokenizers import Tokenizer, models, pre_tokenizers

    pieces = [("<unk>", 0.0), ("▁", -2.0), *[("▁" + word, -3.0) for word in WORDS], *[(c, -6.0) for c in "abcdeimrstw"]]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def tables(rows, dimensions=24, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal((rows, dimensions)).astype(dtype)


def made(folder, *, tokenizer=None, **options):
    tokenizer = tokenizer or word_pieces()
    return save_static(folder, **({"embeddings": tables(tokenizer.get_vocab_size()), "tokenizer": tokenizer} | options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    return made(tmp_path_factory.mktemp("static") / "model")


class TestStatic(EncoderContract):
    @pytest.fixture(autouse=True)
    def _folder(self, folder):
        type(self).folder = folder

    def encoder(self):
        return Static(str(self.folder))


def parity(folder, tolerance=5e-6):
    """Compare with model2vec on the same folder; texts of which it knows no token are zero there."""
    model2vec = pytest.importorskip("model2vec", reason="model2vec is not installed")
    peer = model2vec.StaticModel.from_pretrained(folder)
    wanted = peer.encode(ODD, normalize=True).astype(np.float32)
    found = Static(str(folder)).encode(ODD)
    known = np.linalg.norm(wanted, axis=1) > 0
    assert 8 < known.sum() < len(ODD)
    np.testing.assert_allclose(found[known], wanted[known], atol=tolerance)
    nothing = np.eye(found.shape[1], dtype=np.float32)[-1]
    np.testing.assert_array_equal(found[~known], np.broadcast_to(nothing, (int((~known).sum()), len(nothing))))


@pytest.mark.parametrize("tokenizer", [word_pieces, unigram])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_vectors_are_those_of_model2vec(tmp_path, tokenizer, dtype):
    rows = tables(tokenizer().get_vocab_size(), dtype=dtype)
    parity(made(tmp_path / "m", tokenizer=tokenizer(), embeddings=rows), 2e-3 if dtype == "float16" else 5e-6)


def test_weights_and_mapping_are_those_of_model2vec(tmp_path):
    tokens = word_pieces().get_vocab_size()
    random = np.random.default_rng(1)
    weights, mapping = random.random(tokens).astype(np.float32), random.integers(0, 9, tokens)
    parity(made(tmp_path / "both", embeddings=tables(9), weights=weights, mapping=mapping))
    parity(made(tmp_path / "weights", weights=weights))


@pytest.mark.parametrize("limit", [1, 3, 0])
def test_the_limit_of_the_folder_is_that_of_model2vec(tmp_path, limit):
    parity(made(tmp_path / "m", max_tokens=limit))
    wanted = 0 if limit == 0 else limit
    assert Static(str(tmp_path / "m")).max_tokens == wanted


def test_what_model2vec_writes_is_read_and_the_other_way_round(tmp_path):
    model2vec = pytest.importorskip("model2vec", reason="model2vec is not installed")
    tokenizer = word_pieces()
    peer = model2vec.StaticModel(tables(tokenizer.get_vocab_size()), tokenizer, normalize=True)
    peer.save_pretrained(tmp_path / "theirs")
    parity(tmp_path / "theirs")
    again = model2vec.StaticModel.from_pretrained(made(tmp_path / "ours"))
    assert (again.normalize, again.max_length, again.dim) == (True, 512, 24)


def test_many_texts_and_long_ones_are_means_of_their_tokens(folder):
    texts = [" ".join(WORDS[: 1 + at % 7]) for at in range(2500)] + [
        "refund " + "card " * (200 + at) for at in range(20)
    ]
    rows = tables(word_pieces().get_vocab_size())
    found = Static(str(folder)).encode(texts)
    tokenizer = word_pieces()
    for at in (0, 6, 1023, 1024, 2499, 2519):
        mean = rows[tokenizer.encode(texts[at], add_special_tokens=False).ids].mean(axis=0)
        np.testing.assert_allclose(found[at], mean / np.linalg.norm(mean), atol=1e-5)


def test_texts_are_cut_and_the_length_is_part_of_the_space(folder):
    short = Static(str(folder), max_tokens=2)
    found = short.encode(["my card refund", "my card arrived"])
    np.testing.assert_array_equal(found[0], found[1])
    assert short.fingerprint != Static(str(folder)).fingerprint


def test_other_tables_are_another_space(folder, tmp_path):
    other = made(tmp_path / "m", embeddings=tables(word_pieces().get_vocab_size(), seed=5))
    assert Static(str(other)).fingerprint != Static(str(folder)).fingerprint
    assert Static(str(shutil.copytree(folder, tmp_path / "copy"))).fingerprint == Static(str(folder)).fingerprint


def test_an_artifact_is_loaded_by_name(folder, tmp_path):
    artifacts = Artifacts(tmp_path / "artifacts")
    with artifacts.create("small", kind="encoder", recipe="distill-static") as writer:
        shutil.copytree(folder, writer.folder / "encoder")
    encoder = Static(artifact="small", artifacts=artifacts)
    np.testing.assert_array_equal(encoder.encode(TEXTS), Static(str(folder)).encode(TEXTS))
    assert encoder.info().model == "small"
    with pytest.raises(UnknownName, match="Did you mean 'small'"):
        Static(artifact="smal", artifacts=artifacts).warm_up()


@pytest.mark.parametrize("wrong", [{}, {"model": "a", "artifact": "b"}, {"artifact": "b"}])
def test_a_model_or_an_artifact_is_needed(wrong):
    with pytest.raises(ConfigError):
        Static(**wrong)


def test_a_length_below_one_is_refused(folder):
    with pytest.raises(ConfigError, match="max_tokens = 0"):
        Static(str(folder), max_tokens=0)


def test_closing_lets_go_and_the_next_call_loads_again(folder):
    encoder = Static(str(folder))
    before = encoder.encode(TEXTS)
    encoder.close()
    np.testing.assert_array_equal(encoder.encode(TEXTS), before)


def spoil_arrays(folder, **changes):
    path = folder / "model.safetensors"
    arrays = load_arrays(path) | changes
    save_arrays(path, {name: array for name, array in arrays.items() if array is not None})


TOKENS = 4 + len(WORDS) + len(LETTERS)
WRONG = {
    "no embeddings": ({"embeddings": None, "other": tables(3)}, "no tensor 'embeddings'"),
    "one axis": ({"embeddings": tables(TOKENS)[:, 0]}, r"of shape \[70\]"),
    "no rows": ({"embeddings": tables(0)}, r"of shape \[0, 24\]"),
    "whole numbers": ({"embeddings": np.ones((TOKENS, 4), dtype=np.int64)}, "is I64"),
    "fewer rows": ({"embeddings": tables(TOKENS - 1)}, "70 tokens, the embeddings 69 rows"),
    "fewer weights": ({"weights": np.ones(3, dtype=np.float32)}, "'weights' 3 values"),
    "mapping beyond": ({"mapping": np.full(TOKENS, TOKENS)}, "beyond the 70"),
    "mapping below": ({"mapping": np.full(TOKENS, -1)}, "beyond the 70"),
    "not a number": ({"embeddings": np.full((TOKENS, 4), np.nan, dtype=np.float32)}, "not finite"),
    "endless weights": ({"weights": np.full(TOKENS, np.inf, dtype=np.float32)}, "not finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_tables_that_do_not_fit_are_refused(folder, tmp_path, name):
    changes, message = WRONG[name]
    spoilt = shutil.copytree(folder, tmp_path / "m")
    spoil_arrays(spoilt, **changes)
    with pytest.raises(ArtifactError, match=message) as caught:
        Static(str(spoilt)).warm_up()
    assert caught.value.next


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": -1}, "max_length = -1"),
        ({"max_length": "all"}, "max_length = all"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "asks to run code"),
    ],
)
def test_a_config_that_claims_too_much_is_refused(folder, tmp_path, changes, message):
    spoilt = shutil.copytree(folder, tmp_path / "m")
    config = json.loads((spoilt / "config.json").read_text())
    (spoilt / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ArtifactError, match=message):
        _ = Static(str(spoilt)).fingerprint


def test_files_that_are_missing_or_broken_are_named(folder, tmp_path):
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        spoilt = shutil.copytree(folder, tmp_path / name)
        (spoilt / name).unlink()
        with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
            _ = Static(str(spoilt)).fingerprint
    spoilt = shutil.copytree(folder, tmp_path / "broken")
    (spoilt / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json cannot be read"):
        Static(str(spoilt)).warm_up()
    (spoilt / "tokenizer.json").unlink()
    (spoilt / "tokenizer.json").symlink_to(folder / "tokenizer.json")
    with pytest.raises(ArtifactError, match="is a link"):
        _ = Static(str(spoilt)).fingerprint
