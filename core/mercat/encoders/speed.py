"""How many texts a second an export encodes beside torch, measured when it is made, and what `auto` makes of that.

The figures hold for one kind of machine alone: its CPU, how many cores this process has, the versions of the runtimes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import chain, cycle, islice
from typing import Any

import numpy as np

from mercat.compute.device import cpu_flags, cpu_model
from mercat.compute.threads import cores
from mercat.encoders.batching import Ids

SHAPES = {"short": (64, 16), "long": (16, 256)}
"""The texts that are measured: how many, and of how many tokens each."""
WORTH = 1.05  # times as quick as torch, and less is noise
_ROUNDS = 5
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "sve")

Run = Callable[[Sequence[Ids]], Any]


@dataclass(frozen=True, slots=True)
class Speed:
    """Texts a second of torch's forward pass and of the export, by shape; `here` where this machine measured them."""

    own: Mapping[str, float]
    export: Mapping[str, float]
    here: bool

    @property
    def times(self) -> float:
        """How many times as quick as torch the export is: the geometric mean over the shapes."""
        return float(np.exp(np.mean([np.log(self.export[name] / self.own[name]) for name in SHAPES])))

    def __str__(self) -> str:
        parts = [f"{self.export[name] / self.own[name]:.2f} times on {name} texts" for name in SHAPES]
        return f"beside torch {' and '.join(parts)}"


def measured(own: Run, export: Run, rows: Sequence[Ids], *, most: int, dtype: str, backend: str) -> dict[str, Any]:
    """Return what an export keeps of its speed, for JSON: texts a second by shape, in turns, the median of some rounds.

    `own` and `export` take rows of token ids; `rows` are some of which those of a shape are made, `most` is how many
    tokens a text may have.
    """
    found: dict[str, Any] = {"dtype": dtype, "machine": machine(backend), "own": {}, "export": {}}
    for name, (texts, tokens) in SHAPES.items():
        asked = shaped(rows, texts, min(tokens, most))
        seconds = np.array([[_seconds(run, asked) for run in (own, export)] for _ in range(_ROUNDS + 1)])
        middle = np.median(seconds[1:], axis=0)  # the first round warms up
        found["own"][name], found["export"][name] = (round(texts / each, 2) for each in middle)
    return found


def shaped(rows: Sequence[Ids], texts: int, tokens: int) -> list[Ids]:
    """Return so many rows of so many token ids: those of `rows`, one after the other, again and again."""
    ids = cycle(chain.from_iterable(rows))
    return [list(islice(ids, tokens)) for _ in range(texts)]


def machine(backend: str) -> dict[str, Any]:
    """Return on what figures of speed depend: those of another machine say nothing here."""
    packages = ("torch", {"onnx": "onnxruntime"}.get(backend, backend))
    return {
        "cpu": cpu_model(),
        "flags": sorted(cpu_flags() & set(_FLAGS)),
        "cores": cores(),
        "packages": {name: _version(name) for name in packages},
    }


def speed_of(kept: Any, *, backend: str, dtype: str) -> Speed | None:
    """Return what an export kept, read from its description; None where nothing fit for use is there.

    Figures that were measured in another number format are not for this one.
    """
    if not isinstance(kept, Mapping) or kept.get("dtype") != dtype:
        return None
    sides = [kept.get(side) for side in ("own", "export")]
    if not all(isinstance(side, Mapping) and all(_positive(side.get(name)) for name in SHAPES) for side in sides):
        return None
    own, export = ({name: float(side[name]) for name in SHAPES} for side in sides if side is not None)
    return Speed(own, export, here=kept.get("machine") == machine(backend))


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _seconds(run: Run, rows: Sequence[Ids]) -> float:
    started = time.perf_counter()
    run(rows)
    return time.perf_counter() - started


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
