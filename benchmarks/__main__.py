"""`python -m benchmarks NAME --data DIR --json FILE` runs one benchmark; `--list` names them all."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.frame import Missing, benchmark_names, load, run

_DATA = Path(__file__).resolve().parents[1] / "../shared/data"


def main(words: list[str] | None = None) -> int:
    """Run what the command line asks for; 0 if the benchmark ran, whatever its figures are."""
    asked = _parser().parse_args(words)
    if asked.list:
        print("\n".join(_line(name) for name in benchmark_names()))
        return 0
    if not asked.name:
        print("Name a benchmark, or try: python -m benchmarks --list", file=sys.stderr)
        return 2
    if asked.name not in benchmark_names():
        print(f"No benchmark named '{asked.name}'. Known: {', '.join(benchmark_names())}", file=sys.stderr)
        return 2
    try:
        result = run(
            asked.name,
            data=asked.data,
            file=asked.json,
            rows=asked.rows,
            models=asked.models,
            peers=asked.peers,
            quick=asked.quick,
        )
    except Missing as error:
        print(f"{asked.name}: {error}", file=sys.stderr)
        return 3
    for metric, found in sorted(result["results"].items()):
        ends = [f"{end} {found[end]:.4g}" for end in ("low", "high") if end in found]
        spread = f"  ({', '.join(ends)})" if ends else ""
        print(f"{metric:48} {found['value']:.5g}{spread}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", help="which benchmark")
    parser.add_argument(
        "--list", action="store_true", help="name all benchmarks, what they need and how long they take"
    )
    parser.add_argument("--data", type=Path, default=_DATA, help="folder of the data sets")
    parser.add_argument("--models", type=Path, default=None, help="folder of the models; by default beside the data")
    parser.add_argument("--json", type=Path, default=None, help="write the result here")
    parser.add_argument(
        "--rows", type=Path, default=Path(".cache/benchmarks"), help="finished rows, so a stopped run goes on"
    )
    parser.add_argument("--peers", action="store_true", help="run the peers that take long as well")
    parser.add_argument("--quick", action="store_true", help="few rows, to see that it runs; the figures mean nothing")
    return parser


def _line(name: str) -> str:
    module = load(name)
    needs = ", ".join(module.NEEDS) or "nothing"
    return f"{name:18} {module.SUMMARY}\n{'':18} needs {needs}; takes {module.TAKES}"


if __name__ == "__main__":
    sys.exit(main())
