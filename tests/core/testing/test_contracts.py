"""A forgotten method of a contract is an error that names it; pytest alone would leave the whole class out."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import mercat.testing
from mercat.testing.contract import Contract

CONTRACTS = [getattr(mercat.testing, name) for name in mercat.testing.__all__ if name.endswith("Contract")]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
def test_every_contract_tells_of_a_method_that_was_forgotten(contract: type) -> None:
    assert issubclass(contract, Contract)
    assert not contract.__name__.startswith("Test"), "pytest would collect the contract itself"
    for name in contract.__abstractmethods__:
        others = {each: lambda self: None for each in contract.__abstractmethods__ if each != name}
        with pytest.raises(TypeError, match=rf"TestMine inherits {contract.__name__} and must define {name}\(\): \w"):
            type(contract)("TestMine", (contract,), others)


def test_the_methods_may_come_in_steps() -> None:
    class Half(mercat.testing.SinkContract):
        def make_sink(self): ...

    assert inspect.isabstract(Half)
    with pytest.raises(TypeError, match=r"make_message\(\).*; effects\(\)"):
        type(Half)("TestHalf", (Half,), {})

    class TestWhole(Half):
        def make_message(self, number): ...
        def effects(self): ...

    assert not inspect.isabstract(TestWhole)


def test_pytest_shows_it_and_collects_no_contract(tmp_path: Path) -> None:
    head = "from mercat.encoders.hashing import Hashing\nfrom mercat.testing.encoders import EncoderContract\n"
    (tmp_path / "test_forgot.py").write_text(head + "class TestMine(EncoderContract): pass\n")
    (tmp_path / "test_right.py").write_text(
        head + "class TestMine(EncoderContract):\n    def encoder(self): return Hashing()\n"
    )
    forgot, right = (_collect(tmp_path, name) for name in ("test_forgot.py", "test_right.py"))
    assert forgot.returncode != 0
    assert "TestMine inherits EncoderContract and must define encoder(): Return a new encoder" in forgot.stdout
    assert right.returncode == 0, right.stdout
    assert "test_right.py::TestMine::test_it_is_an_encoder" in right.stdout
    assert "EncoderContract" not in right.stdout


def _collect(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", name]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
