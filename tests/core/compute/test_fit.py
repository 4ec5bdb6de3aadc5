"""Several processes do one piece of work: real processes, killed and failing ones among them."""

from __future__ import annotations

import textwrap
from functools import partial
from importlib import import_module

import numpy as np
import pytest

from mercat.compute.device import choose_device
from mercat.compute.fit import fit
from mercat.compute.world import ALONE, Left, joined
from mercat.errors import ConfigError, DataError, WorkerLost

WORK = """
    import os, signal, time

    def talk(world, factor):
        import torch
        mine = torch.tensor([float(world.rank), 1.0])
        return {
            "sum": world.add(mine).tolist(),
            "spread": world.spread(torch.tensor([factor * (1 + world.rank)])).tolist(),
            "told": world.told({"rank": world.rank}),
            "agreed": [world.agreed("same"), world.agreed(world.rank)],
            "where": [world.rank, world.size, world.local_rank],
        }

    def killed(world):
        if world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    def fail(world):
        from mercat.errors import DataError
        if world.rank == 1:
            raise DataError("asked", "found", "next")
        world.told("waits for the other one")
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A module that other processes can import."""
    (tmp_path / "some_work.py").write_text(textwrap.dedent(WORK))
    monkeypatch.syspath_prepend(tmp_path)
    return import_module("some_work")


def test_two_processes_tell_one_another(work):
    pytest.importorskip("torch")
    assert fit(partial(work.talk, factor=3.0), workers=2) == {
        "sum": [1.0, 2.0],
        "spread": [3.0],
        "told": {"rank": 0},
        "agreed": [True, False],
        "where": [0, 2, 0],
    }


def test_what_one_process_raises_is_raised_and_not_that_the_others_lost_it(work):
    pytest.importorskip("torch")
    with pytest.raises(DataError, match="asked"):
        fit(work.fail, workers=2)


def test_a_killed_process_ends_all_and_is_told(work):
    pytest.importorskip("torch")
    with pytest.raises(WorkerLost, match=r"Process 1 was ended by SIGKILL.*same command again"):
        fit(work.killed, workers=2)


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"workers": 2, "on": "moon"}])
def test_wrong_settings_are_config_errors(wrong):
    with pytest.raises(ConfigError):
        fit(print, **wrong)


def test_one_process_alone_gets_back_what_it_puts_in():
    rows = np.arange(5)
    assert ALONE.first
    assert (ALONE.share(rows) == rows).all()
    assert ALONE.told(7) == 7
    assert ALONE.agreed("anything")
    assert ALONE.device("cpu") == choose_device("cpu")
    ALONE.leave_to_first()
    with joined() as world:
        assert world is ALONE


def test_the_rows_of_a_batch_are_shared_without_loss():
    from mercat.compute.world import World

    rows = np.array([9, 7, 5, 3, 1])
    shares = [World(rank=rank, size=3).share(rows) for rank in range(3)]
    assert [list(share) for share in shares] == [[9, 3], [7, 1], [5]]
    assert list(World(rank=2, size=3).share(rows[:2])) == []


def test_others_leave_what_follows_to_the_first():
    from mercat.compute.world import World

    with pytest.raises(Left):
        World(rank=1, size=2).leave_to_first()


def test_variables_without_a_place_to_meet_are_a_config_error(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr("torch.set_num_threads", lambda threads: None)
    with pytest.raises(ConfigError, match=r"RANK.*torchrun --nproc-per-node 2"), joined():
        pass
