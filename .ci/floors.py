"""Fail when a figure of the demo on public sets is below its floor."""

from __future__ import annotations

import json
import sys
from pathlib import Path

FLOORS = (
    ("intents", "metrics", "accuracy", "value", 0.925),
    ("polarity", "metrics", "accuracy", "value", 0.82),
    ("ranker", "differences", "ndcg@10", "low", 0.0),
)


def main(path: Path) -> int:
    """Return the number of figures below their floor."""
    report = json.loads(path.read_text())
    below = 0
    for recipe, part, metric, end, floor in FLOORS:
        found = report[recipe][part][metric][end]
        below += found < floor
        print(f"{'FAIL' if found < floor else 'ok  '} {recipe} {part} {metric} {end}: {found:.4f}, floor {floor}")
    return below


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
