"""Hold the figures of the demo on public sets against their floors.

Training on another number of cores moves an accuracy by a few rows, so a figure that is below its floor by less than
NOISE is told and does not fail; more than that is a regression and fails.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

NOISE = 0.005
FLOORS = (
    ("intents", "metrics", "accuracy", "value", 0.925),
    ("polarity", "metrics", "accuracy", "value", 0.82),
    ("ranker", "differences", "ndcg@10", "low", 0.0),
)


def main(path: Path) -> int:
    """Return the number of figures below their floor by more than noise."""
    report = json.loads(path.read_text())
    failed = 0
    for recipe, part, metric, end, floor in FLOORS:
        found = report[recipe][part][metric][end]
        failed += found < floor - NOISE
        word = "ok  " if found >= floor else "low " if found >= floor - NOISE else "FAIL"
        print(f"{word} {recipe} {part} {metric} {end}: {found:.4f}, floor {floor}")
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
