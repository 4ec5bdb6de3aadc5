"""What a run will cost, from trying a little of it on its own rows; and then how far off that was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mercat.compute.memory import Peak
from mercat.encoders.base import Encoder, Role
from mercat.encoders.cache import unwrap
from mercat.training.base import Report, Run

BUDGET_S = 3.0
"""For how long batches are tried; a single one may take longer."""
_FIRST = 32  # texts that are encoded as a trial; more of them while there is time
_MOST = 2048
_PASSES = {"one": 60, "grid": 100}  # over the rows, until logistic regression stands still
_TRIED_ROWS = 2000

Item = TypeVar("Item", bound=Sized)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run is expected to cost: `stages` are seconds by name, of which `seconds` is the sum.

    `memory_mb` is the most that the process, or on CUDA the device, will hold at once; None where that cannot be known.
    It cannot see what other processes will do to this machine.
    """

    stages: Mapping[str, float]
    memory_mb: float | None
    parameters: int
    trainable_parameters: int
    updates: int = 0
    device: str = "cpu"
    tried_s: float = 0.0
    notes: Sequence[str] = field(default=())

    @property
    def seconds(self) -> float:
        """The whole run."""
        return sum(self.stages.values())

    def __str__(self) -> str:
        memory = "" if self.memory_mb is None else f" and {shown_memory(self.memory_mb)} of memory"
        work = f", {self.updates:,} updates" if self.updates else ""
        learns = f"none of {shown_count(self.parameters)} parameters learns"
        if self.trainable_parameters:
            learns = f"{shown_count(self.trainable_parameters)} of {shown_count(self.parameters)} parameters learn"
        line = f"About {shown_time(self.seconds)}{memory}: {learns}{work} (tried for {self.tried_s:.1f} s)"
        return ". ".join([line, *self.notes])


@runtime_checkable
class Estimable(Protocol):
    """A recipe that can say beforehand what `train` would cost."""

    def estimate(self, run: Run) -> Estimate:
        """Return what a run would cost. Takes seconds; `run.scratch` is a place of its own, thrown away afterwards."""
        ...


class Trial:
    """A little of a run, tried for an estimate: `stages` has seconds by name, memory is watched from the beginning on.

    `clock` gives seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.stages = clock, dict[str, float]()
        self._peak, self._started = Peak(), clock()

    def read(self) -> None:
        """Say that all so far was to read the rows and to load what learns from them."""
        self.stages["read"] = self.clock() - self._started

    def done(
        self,
        *,
        parameters: int,
        trainable_parameters: int = 0,
        updates: int = 0,
        device: str = "cpu",
        further_mb: float = 0.0,
        growth: float = 1.0,
    ) -> Estimate:
        """Return the estimate of the whole run from what was tried.

        The run holds `further_mb` beside what the trial held, or what the trial needed `growth` times.
        """
        held = self._peak.mb(device)
        if held is not None:
            began = (self._peak.began_mb or 0.0) if device == "cpu" else 0.0
            held += further_mb + (growth - 1) * max(held - began, 0.0)
        return Estimate(
            self.stages,
            held,
            parameters,
            trainable_parameters,
            updates=updates,
            device=device,
            tried_s=self.clock() - self._started,
            notes=[note] if (note := self._peak.note()) else (),
        )


def held_against(estimate: Estimate, report: Report, peak: Peak) -> Report:
    """Return the report with the estimate, what was measured, and the share of estimated in measured seconds.

    `peak` was watched from the beginning of the run. A run that went on after an interruption has measured only its
    rest: it has no share.
    """
    whole = not report.details.get("resumed_at")
    memory = peak.mb(estimate.device)
    measured = {
        "seconds": report.seconds,
        "memory_mb": memory,
        "memory_since": "the process began" if peak.whole else "the run began",
        "seconds_estimated_per_measured": estimate.seconds / report.seconds if whole and report.seconds > 0 else None,
    }
    said = {**asdict(estimate), "seconds": estimate.seconds}
    note = f"Estimated {shown_time(estimate.seconds)}, took {shown_time(report.seconds)}"
    if not whole:
        note += " after the interruption"
    if memory is not None and estimate.memory_mb is not None:
        note += f"; memory estimated {shown_memory(estimate.memory_mb)}, at most {shown_memory(memory)} was held"
    details = {**report.details, "estimate": said, "measured": measured}
    return replace(report, notes=[*report.notes, note, *estimate.notes], details=details)


def encoding_seconds(
    encoder: Encoder, texts: Sequence[str], *, role: Role, clock: Callable[[], float], budget_s: float = BUDGET_S
) -> float:
    """Return how long all texts would take, from encoding some of all lengths; the vectors are thrown away."""
    inner = unwrap(encoder)
    return sampled_seconds(lambda some: inner.encode(some, role=role), texts, clock=clock, budget_s=budget_s)


def sampled_seconds(
    compute: Callable[[list[Item]], object],
    items: Sequence[Item],
    *,
    clock: Callable[[], float],
    budget_s: float = BUDGET_S,
) -> float:
    """Return how long all items would take, texts or their tokens, from some of all lengths."""
    if not items:
        return 0.0
    by_length = sorted(items, key=len)
    compute(by_length[-1:])  # loads the weights
    tried, took = _FIRST, 0.0
    started = clock()
    while True:
        some = [by_length[at] for at in spread(len(by_length), tried)]
        before = clock()
        compute(some)
        took = (clock() - before) / len(some)
        if len(some) == len(items) or tried >= _MOST or clock() - started + 4 * took * len(some) > budget_s:
            return took * len(items)
        tried *= 4


def fitting_seconds(rows: int, dimensions: int, labels: int, *, grid: bool, clock: Callable[[], float]) -> float:
    """Return about how long logistic regression takes, from the time of one pass over the rows."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((max(1, min(rows, _TRIED_ROWS)), dimensions)).astype(np.float32)
    weights = random.standard_normal((dimensions, labels)).astype(np.float32)
    _ = vectors[:10] @ weights  # the first product starts threads
    started = clock()
    scores = np.exp(vectors @ weights / dimensions)
    _ = vectors.T @ (scores / scores.sum(axis=1, keepdims=True))
    return (clock() - started) * rows / len(vectors) * _PASSES["grid" if grid else "one"]


def vectors_mb(texts: int, dimensions: int) -> float:
    """Return what vectors of texts take in MB, as they are and as what is fitted on them wants them."""
    return 2 * texts * dimensions * 8 / 2**20


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """Return up to `wanted` places below `count`, evenly spread. The shape is (places,)."""
    wanted = min(count, wanted)
    return ((np.arange(wanted) + 0.5) * count / max(wanted, 1)).astype(np.int64)


def extrapolated(sizes: Iterable[float], tried: Mapping[float, float]) -> float:
    """Return the seconds of pieces of these sizes, from the seconds of some sizes that were tried.

    Between two that were tried it goes straight, beyond them in proportion.
    """
    known = np.array(sorted(tried), dtype=np.float64)
    took = np.array([tried[size] for size in known])
    asked = np.asarray(list(sizes), dtype=np.float64)
    found = np.interp(asked, known, took)
    below, above = asked < known[0], asked > known[-1]
    found[below] = took[0] * asked[below] / known[0]
    found[above] = took[-1] * asked[above] / known[-1]
    return float(found.sum())


def shown_time(seconds: float) -> str:
    """Return seconds as a person says them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60} s"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60} min"


def shown_memory(megabytes: float) -> str:
    """Return megabytes as a person says them."""
    return f"{megabytes / 1024:.1f} GB" if megabytes >= 1024 else f"{megabytes:.0f} MB"


def shown_count(numbers: int) -> str:
    """Return a number of parameters as a person says it."""
    return f"{numbers / 1e6:.1f} M" if numbers >= 1e6 else f"{numbers / 1e3:.1f} k" if numbers >= 1e3 else str(numbers)
