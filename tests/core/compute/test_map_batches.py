import sys
import threading
from importlib import import_module
from itertools import count, islice

import pytest

from mercat.compute import map_batches
from mercat.errors import ConfigError, MissingExtra, WorkerLost


def double(batch):
    return [2 * item for item in batch]


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(map_batches(double, range(25), batch_size=4, workers=workers)) == [2 * n for n in range(25)]


def test_processes_give_the_same_results():
    assert list(map_batches(sorted, [3, 1, 2], batch_size=3, workers=1, backend="processes")) == [1, 2, 3]


def test_a_killed_process_is_told(tmp_path, monkeypatch):
    (tmp_path / "some_killer.py").write_text("import os\ndef kill(batch):\n    os._exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WorkerLost, match="was killed"):
        list(map_batches(import_module("some_killer").kill, [3], batch_size=1, backend="processes"))


def test_a_slow_first_batch_does_not_change_the_order():
    later = threading.Event()

    def wait_for_the_second(batch):
        if batch[0] == 0:
            assert later.wait(10)
        else:
            later.set()
        return batch

    assert list(map_batches(wait_for_the_second, range(4), batch_size=1, workers=2)) == [0, 1, 2, 3]


def test_endless_items_are_taken_only_as_needed():
    taken = []

    def items():
        for number in count():
            taken.append(number)
            yield number

    assert list(islice(map_batches(double, items(), batch_size=2, workers=2), 4)) == [0, 2, 4, 6]
    assert len(taken) <= 2 * (2 * 2 + 2)


def test_progress_counts_items():
    seen = []
    list(map_batches(double, range(5), batch_size=2, progress=seen.append))
    assert seen == [2, 4, 5]


def test_the_first_exception_is_raised():
    def fail_at_three(batch):
        if 3 in batch:
            raise KeyError("three")
        return batch

    results = map_batches(fail_at_three, range(10), batch_size=1, workers=2)
    with pytest.raises(KeyError, match="three"):
        list(results)


def test_a_function_that_loses_results_is_found_out():
    with pytest.raises(ValueError, match="returned 1 results for 2 items"):
        list(map_batches(lambda batch: batch[:1], range(4), batch_size=2))


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"batch_size": 1, "workers": 0}, {"batch_size": 1, "backend": "moon"}]
)
def test_wrong_settings_are_config_errors(wrong):
    with pytest.raises(ConfigError):
        map_batches(double, [1], **wrong)


def test_without_ray_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"mercat\[ray\]"):
        map_batches(double, [1], batch_size=1, backend="ray")
