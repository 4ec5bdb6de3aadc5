"""An encoder that counts what it is given."""

import pytest

from mercat.encoders.hashing import Hashing


class Counting(Hashing):
    """Keeps the texts and roles that it was asked for."""

    def __init__(self, **options):
        super().__init__(**options)
        self.texts: list[str] = []
        self.roles: set[str] = set()

    def encode(self, texts, *, role="document"):
        self.texts += texts
        self.roles.add(role)
        return super().encode(texts, role=role)


@pytest.fixture
def encoder():
    return Counting(dimensions=128)


@pytest.fixture
def store(tmp_path):
    from mercat.store import Store

    with Store.open(f"sqlite:///{tmp_path}/mercat.db") as store:
        yield store
