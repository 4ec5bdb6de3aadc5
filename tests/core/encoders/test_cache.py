import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mercat.encoders.cache import Cached, unwrap
from mercat.encoders.hashing import Hashing
from mercat.errors import ConfigError
from mercat.testing.encoders import EncoderContract

CORE = Path(__file__).parents[3] / "core"


class Counting(Hashing):
    """Says what it was really asked."""

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self.asked = []

    def encode(self, texts, *, role="document"):
        self.asked.extend((text, role) for text in texts)
        return super().encode(texts, role=role)


class TestInMemory(EncoderContract):
    def encoder(self):
        return Cached(Hashing())


class TestWithoutMemory(EncoderContract):
    def encoder(self):
        return Cached(Hashing(), memory_mb=0)


def test_same_texts_of_one_call_are_encoded_once():
    encoder = Cached(Counting())
    found = encoder.encode(["a", "b", "a", "a"])
    assert encoder.encoder.asked == [("a", "document"), ("b", "document")]
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found, Hashing().encode(["a", "b", "a", "a"]))


def test_a_known_text_is_not_encoded_again_but_roles_differ():
    encoder = Cached(Counting())
    encoder.encode(["a"])
    encoder.encode(["a", "b"])
    encoder.encode(["a"], role="query")
    assert encoder.encoder.asked == [("a", "document"), ("b", "document"), ("a", "query")]
    assert (encoder.hits, encoder.misses) == (1, 3)


def test_memory_is_bounded_and_the_least_used_goes_first():
    encoder = Cached(Counting(dimensions=100), memory_mb=0.0014)  # two vectors of 700 bytes
    encoder.encode(["a", "b"])
    encoder.encode(["a"])
    encoder.encode(["c"])
    encoder.encoder.asked.clear()
    encoder.encode(["a"])
    assert encoder.encoder.asked == []
    encoder.encode(["b"])
    assert encoder.encoder.asked == [("b", "document")]
    assert len(encoder._vectors) == 2


def test_the_size_is_that_of_the_encoder():
    assert Cached(Hashing(cache_mb=3))._limit == 3_000_000


def test_changing_a_result_does_not_change_the_memory():
    encoder = Cached(Hashing())
    encoder.encode(["a"])[:] = 7
    first = encoder.encode(["a"])
    first[:] = 7
    np.testing.assert_array_equal(encoder.encode(["a"]), Hashing().encode(["a"]))


def test_vectors_survive_the_process_that_is_killed(tmp_path):
    file = tmp_path / "vectors.db"
    code = (
        "import os, signal; from mercat.encoders.cache import Cached; from mercat.encoders.hashing import Hashing;"
        f"Cached(Hashing(), file={str(file)!r}).encode(['a', 'b']); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(CORE)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    encoder = Cached(Counting(), file=file)
    np.testing.assert_array_equal(encoder.encode(["b", "a"]), Hashing().encode(["b", "a"]))
    assert encoder.encoder.asked == []
    encoder.close()


def test_the_file_keeps_spaces_apart(tmp_path):
    Cached(Hashing(longest=2), file=tmp_path / "v.db").encode(["a"])
    other = Cached(Counting(longest=3), file=tmp_path / "v.db")
    other.encode(["a"])
    assert other.encoder.asked == [("a", "document")]


def test_more_texts_than_sqlite_takes_at_once(tmp_path):
    texts = [f"text {number}" for number in range(1200)]
    Cached(Hashing(), file=tmp_path / "v.db").encode(texts)
    again = Cached(Counting(), file=tmp_path / "v.db", memory_mb=0)
    np.testing.assert_array_equal(again.encode(texts), Hashing().encode(texts))
    assert again.encoder.asked == []


def test_a_file_that_is_something_else_is_an_error(tmp_path):
    (tmp_path / "v.db").write_text("this is a letter, not a database; " * 100)
    with pytest.raises(ConfigError, match="It is not a vector cache"):
        Cached(Hashing(), file=tmp_path / "v.db")


def test_unwrap_finds_the_encoder_below():
    bare = Hashing()
    assert unwrap(Cached(Cached(bare))) is bare
    assert unwrap(bare) is bare
