"""Work on a real Ray of this machine: starting it takes up to a minute, so these tests are slow."""

from __future__ import annotations

import os
import signal
import sys
import time
from importlib.util import find_spec

import pytest

from mercat.compute import map_batches
from mercat.compute.fit import fit
from mercat.errors import DataError

pytestmark = pytest.mark.slow


if find_spec("ray") is None:
    pytest.skip("ray is not installed", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def ray():
    """Ray as mercat starts it, ended after the tests of this file."""
    assert list(map_batches(list, [0], batch_size=1, backend="ray")) == [0]
    library = sys.modules["ray"]
    library.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test file
    yield library
    library.shutdown()


class Counting:
    """Says which call of its process it is, and which process."""

    def __init__(self):
        self.calls = 0

    def __call__(self, batch):
        self.calls += 1
        time.sleep(0.2)
        return [(item, os.getpid(), self.calls) for item in batch]


class KilledOnce:
    """Kills its process at the item 7, the first time."""

    def __init__(self, mark):
        self.mark = mark

    def __call__(self, batch):
        if 7 in batch and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [2 * item for item in batch]


def fail(batch):
    if 3 in batch:
        raise KeyError("three")
    return batch


def test_results_keep_their_order_and_each_worker_its_function():
    found = list(map_batches(Counting(), range(24), batch_size=2, workers=2, backend="ray"))
    assert [item for item, _, _ in found] == list(range(24))
    assert len({process for _, process, _ in found}) == 2
    assert max(calls for _, _, calls in found) > 2


def test_a_killed_worker_loses_nothing(tmp_path):
    found = list(map_batches(KilledOnce(tmp_path / "mark"), range(20), batch_size=2, workers=2, backend="ray"))
    assert (tmp_path / "mark").exists()
    assert found == [2 * item for item in range(20)]


def test_the_first_exception_is_raised_as_it_was():
    with pytest.raises(KeyError, match="three"):
        list(map_batches(fail, range(10), batch_size=1, workers=2, backend="ray"))


def test_it_keeps_to_this_machine_and_reports_nothing(ray):
    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ
    from ray._common.usage.usage_lib import usage_stats_enabled

    seen = list(map_batches(lambda batch: [usage_stats_enabled()], [0], batch_size=1, backend="ray"))
    assert seen == [False]


def test_workers_form_one_world_and_what_they_raise_is_not_tried_again(tmp_path):
    pytest.importorskip("torch")
    mark = tmp_path / "mark"

    def talk(world):
        import torch

        return world.told({"size": world.size}), world.add(torch.ones(1)).tolist()

    def refuse(world):
        with mark.open("a") as file:
            file.write("x")
        raise DataError("asked", "found", "next")

    assert fit(talk, workers=2, on="ray", notes=tmp_path / "notes") == ({"size": 2}, [2.0])
    assert list((tmp_path / "notes").iterdir()) == []
    with pytest.raises(DataError):
        fit(refuse, workers=2, on="ray", notes=tmp_path / "notes")
    assert mark.read_text() == "xx"
