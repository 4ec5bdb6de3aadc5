"""What all benchmarks share: the JSON shape, the machine, the commit, and rows that survive a stopped run.

A benchmark is a module `benchmarks/<name>.py` with

    SUMMARY = "what it measures, in one line"
    NEEDS = ("banking77",)            # data sets: folders below --data
    TAKES = "10 minutes"
    def run(context: Context) -> None: context.record("set.setting.metric", 0.94, low=0.93, high=0.95, n=3080, seeds=3)
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "avx_vnni", "asimd", "bf16")
_CODE = ("core", "plugins", "connectors", "benchmarks")
_RESULTS = "benchmarks/results/"
_FRAME = ("__init__", "__main__", "frame", "readme")


class Missing(Exception):
    """A benchmark cannot run here: a data set or a package is not there."""


class Context:
    """What a benchmark is given: data in, figures out."""

    def __init__(
        self,
        name: str,
        *,
        data: Path,
        rows: Path,
        models: Path | None = None,
        peers: bool = False,
        quick: bool = False,
    ) -> None:
        self.name, self.data, self.peers, self.quick = name, data, peers, quick
        self.models = models or data.parent / "models"
        self.results: dict[str, dict[str, Any]] = {}
        self.peer_results: dict[str, dict[str, dict[str, Any]]] = {}
        self.notes: dict[str, Any] = {}
        self._rows = rows

    def record(
        self,
        metric: str,
        value: float,
        *,
        low: float | None = None,
        high: float | None = None,
        n: int | None = None,
        seeds: int | None = None,
        peer: str = "",
    ) -> None:
        """Keep a figure of ours, or of a named peer. `low` and `high` are the ends of its 95 % interval."""
        given = {"value": value, "low": low, "high": high, "n": n, "seeds": seeds}
        entry = {key: _plain(item) for key, item in given.items() if item is not None}
        (self.peer_results.setdefault(peer, {}) if peer else self.results)[metric] = entry

    def record_median(self, metric: str, values: Sequence[float], *, peer: str = "") -> None:
        """Keep the median of what each round measured, with its 95 % interval where there are rounds enough for one."""
        low, high = median_interval(values) or (None, None)
        self.record(metric, median(values), low=low, high=high, n=len(values), peer=peer)

    def note(self, key: str, value: Any) -> None:
        """Keep something a reader must know beside the figures: versions, settings, what was left out."""
        self.notes[key] = value

    def read(self, name: str, file: str | None = None) -> list[dict[str, str]]:
        """Return the rows of `DATA/name/file` (its only `.csv.gz` without `file`)."""
        path = self.path(name, file or f"{name}.csv.gz")
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def path(self, name: str, file: str) -> Path:
        """Return a file of a data set. Raises Missing."""
        if not (path := self.data / name / file).is_file():
            raise Missing(f"there is no {path}; name the folder of the data sets with --data")
        return path

    def digest(self, *names: str) -> str:
        """Return a hash of all files of these data sets."""
        found = hashlib.sha256()
        for name in names:
            for path in sorted((self.data / name).glob("*.gz")):
                found.update(path.read_bytes())
        return found.hexdigest()[:16]

    def row(self, key: Sequence[Any], make: Callable[[], Any], *, digest: str = "") -> Any:
        """Return what `make` returns (JSON-able), remembered by the code of the commit, machine, data digest and key.

        A run that was stopped takes finished rows from here. With changes that are not committed nothing is remembered.
        """
        version = code()
        if version is None:
            return make()
        where = {part: value for part, value in machine().items() if part != "load"}
        name = json.dumps([self.name, version, where, digest, self.quick, *map(str, key)])
        path = self._rows / self.name / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"
        if path.is_file():
            return json.loads(path.read_text())
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        unfinished.write_text(json.dumps(made))
        unfinished.replace(path)
        return made


def run(
    name: str,
    *,
    data: Path,
    rows: Path,
    file: Path | None = None,
    models: Path | None = None,
    peers: bool = False,
    quick: bool = False,
) -> dict[str, Any]:
    """Run one benchmark, return its result and write it to `file`."""
    module = load(name)
    if absent := [need for need in module.NEEDS if not (data / need).is_dir()]:
        raise Missing(f"needs the data sets {', '.join(absent)} in {data}; name their folder with --data")
    context = Context(name, data=data, rows=rows, models=models, peers=peers, quick=quick)
    started = time.perf_counter()
    module.run(context)
    result = {
        "name": name,
        "commit": commit(),
        "machine": machine(),
        "seconds": round(time.perf_counter() - started, 1),
        "results": context.results,
        "peers": context.peer_results,
    }
    result |= {"notes": context.notes} if context.notes else {}
    result |= {"quick": True} if quick else {}
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def benchmark_names() -> list[str]:
    """Return all benchmarks; a module `search_while_writing` is the benchmark `search-while-writing`."""
    folder = Path(__file__).parent
    found = (path.stem for path in folder.glob("*.py") if path.stem not in _FRAME and not path.stem.startswith("_"))
    return sorted(name.replace("_", "-") for name in found)


def load(name: str) -> ModuleType:
    """Import the module of a benchmark."""
    return importlib.import_module(f"benchmarks.{name.replace('-', '_')}")


def commit() -> str:
    """Return the commit of this checkout, with "+changes" where tracked files differ from it."""
    found = _git("rev-parse", "--short=12", "HEAD")
    if not found:
        return "unknown+changes"
    return (
        f"{found}+changes"
        if _git("status", "--porcelain", "--untracked-files=no", "--", *_CODE, f":(exclude){_RESULTS}")
        else found
    )


def code() -> str | None:
    """Return a hash of the code in the commit; None where tracked files differ from it.

    A commit that changes nothing but pages, tests or results keeps finished rows.
    """
    if commit().endswith("+changes"):
        return None
    files = [line for line in _git("ls-tree", "-r", "HEAD", "--", *_CODE).splitlines() if _RESULTS not in line]
    return hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]


def machine() -> dict[str, Any]:
    """Describe the hardware: model, cores of this process, memory, the CPU flags that matter, the load before."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    fields = dict(_fields(text))
    flags = fields.get("flags", fields.get("Features", "")).split()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": fields.get("model name", platform.processor()),
        "cores": cores,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "gpu": _gpu(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _gpu() -> str:
    """Return the name of the first NVIDIA GPU, or ""; asked of the driver, so that torch need not be loaded."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip().split("\n")[0] if done.returncode == 0 else ""


def median(values: Sequence[float]) -> float:
    """Return the middle value, or the mean of the two in the middle."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the ends of the 95 % interval of the median; None for fewer than six values, which have none.

    By order statistics, with no assumption about the distribution: the k-th value from below and from above, with the
    largest k for which both miss the median in at most 5 % of samples (Thompson 1936, "On confidence ranges for the
    median and other expectation distributions for populations of unknown distribution form").
    """
    ordered, n = sorted(values), len(values)
    k, missed = 0, 1 / 2**n  # a binomial with p = 1/2: the chance that at most k values lie below the median
    while missed <= 0.025:
        k += 1
        missed += math.comb(n, k) / 2**n
    return (ordered[k - 1], ordered[n - k]) if k else None


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of the first processor."""
    for line in text.split("\n\n", 1)[0].splitlines():
        key, _, value = line.partition(":")
        yield key.strip(), value.strip()


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
