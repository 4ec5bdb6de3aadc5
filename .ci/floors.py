"""Fail when a figure of the demo on public sets is below its floor, or when it took too long or too much memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

FLOORS = (
    ("intents", "metrics", "accuracy", "value", 0.925),
    ("polarity", "metrics", "accuracy", "value", 0.82),
    ("ranker", "differences", "ndcg@10", "low", 0.0),
)
CEILINGS = (("wall_s", 30 * 60.0), ("peak_memory_gb", 3.0))


def main(path: Path) -> int:
    """Return the number of figures below their floor or above their ceiling."""
    report = json.loads(path.read_text())
    wrong = 0
    for recipe, part, metric, end, floor in FLOORS:
        found = report["results"][recipe][part][metric][end]
        wrong += found < floor
        print(f"{'FAIL' if found < floor else 'ok  '} {recipe} {part} {metric} {end}: {found:.4f}, floor {floor}")
    for metric, ceiling in CEILINGS:
        found = report[metric]
        wrong += found > ceiling
        print(f"{'FAIL' if found > ceiling else 'ok  '} {metric}: {found}, ceiling {ceiling}")
    return wrong


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
