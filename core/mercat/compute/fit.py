"""One piece of work done by several processes together, on this machine or on Ray."""

from __future__ import annotations

import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, TypeVar

from mercat.compute.threads import share
from mercat.compute.world import World, joined
from mercat.errors import ConfigError, MercatError, WorkerLost

T = TypeVar("T")
Place = Literal["processes", "ray"]
_GRACE_S = 5.0  # after the first process failed, the others may still say what was wrong


def fit(work: Callable[[World], T], *, workers: int, on: Place = "processes", notes: Path | None = None) -> T:
    """Call `work(world)` in so many processes that form one world; return what the first of them returns.

    `work` is sent to them: a function of an installed module, with arguments by `functools.partial`; what it returns is
    made of lists, dicts, texts and numbers. "processes" are on this machine; when one ends early the others are ended.
    "ray" runs where Ray places them and starts all of them again when one is lost, three times at most; `notes` is a
    folder for Ray's own account, on a disk that all its machines see.

    Raises what `work` raised, WorkerLost for a process that was killed, ConfigError for sizes below 1 and another `on`,
    MissingExtra without ray.
    """
    if workers < 1:
        raise ConfigError(f"workers = {workers}", "It is at least 1", "--workers 2")
    if on == "ray":
        from mercat.compute.ray import fit_on_ray

        done: T = fit_on_ray(work, workers=workers, notes=notes)
        return done
    if on != "processes":
        raise ConfigError(f"on = '{on}'", "Known: processes, ray", "--on processes")
    return _in_processes(work, workers)


@dataclass(slots=True)
class _Started:
    process: BaseProcess
    answers: Connection
    rank: int
    said: tuple[bool, Any] | None = None  # whether it went well, and what it returned or raised

    def hear(self) -> None:
        """Take in what the process says at its end; one that was killed says nothing."""
        try:
            self.said = self.answers.recv()
        except (EOFError, OSError):
            self.process.join()
            self.said = False, _lost(self.rank, self.process.exitcode)


def _in_processes(work: Callable[[World], T], workers: int) -> T:
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    started = [_start(work, rank, workers, meeting) for rank in range(workers)]
    try:
        _wait(started)
    finally:
        for each in started:
            if each.process.is_alive():
                each.process.terminate()
            each.process.join()
    errors = [each.said[1] for each in started if each.said and not each.said[0]]
    if errors:  # that another one has ended is not the cause
        raise next((error for error in errors if not isinstance(error, WorkerLost)), errors[-1])
    assert started[0].said is not None
    result: T = started[0].said[1]
    return result


def _start(work: Callable[[World], Any], rank: int, size: int, meeting: dict[str, str]) -> _Started:
    context = get_context("spawn")  # a fork would copy locked thread pools
    ours, theirs = context.Pipe(duplex=False)
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    variables = {**meeting, **{name: str(value) for name, value in ranks.items()}}
    process = context.Process(target=_work, args=(work, variables, theirs), name=f"mercat-{rank}")
    process.start()
    theirs.close()  # so that a killed process closes the pipe
    return _Started(process, ours, rank)


def _work(work: Callable[[World], Any], variables: dict[str, str], answers: Connection) -> None:
    """Run in a process of its own, so its environment is its own too."""
    os.environ.update(variables)
    os.environ.setdefault("OMP_NUM_THREADS", str(share(int(variables["LOCAL_WORLD_SIZE"]))))
    if loopback := next((name for _, name in socket.if_nameindex() if name.startswith("lo")), ""):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)  # nobody outside this machine takes part
    try:
        with joined() as world:
            answers.send((True, work(world)))
    except MercatError as error:
        answers.send((False, error))
    except Exception as error:  # its type may be one that cannot be sent
        traceback.print_exc()
        answers.send((False, RuntimeError(f"{type(error).__name__}: {error}")))
    answers.close()


def _wait(started: Sequence[_Started]) -> None:
    """Return when all have ended, or a little after the first one that failed."""
    until: float | None = None
    while running := [each for each in started if each.said is None]:
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            return
        speaking = wait([each.answers for each in running], left)
        for each in running:
            if each.answers in speaking:
                each.hear()
                if each.said and not each.said[0] and until is None:
                    until = time.monotonic() + _GRACE_S


def _lost(rank: int, code: int | None) -> WorkerLost:
    how = f"was ended by {signal.Signals(-code).name}" if code and code < 0 else f"ended with code {code}"
    return WorkerLost(
        "Several processes computed together",
        f"Process {rank} {how}; the others were ended too",
        "the same command again: it goes on from the last checkpoint",
    )


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])
