"""What a drift report leaves behind: `drift.json` for programs, `drift.html` for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mercat.audit.drift.findings import findings, verdict
from mercat.audit.drift.page import page
from mercat.audit.drift.run import Drift
from mercat.audit.saving import plain

DATA, REPORT = "drift.json", "drift.html"
SCHEMA = 1


def save(drift: Drift, folder: Path) -> Path:
    """Write both files into `folder`, which is made if it is not there; return the path of the report."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_data(drift), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / DATA).write_text(text + "\n", encoding="utf-8")
    (folder / REPORT).write_text(page(drift), encoding="utf-8")
    return folder / REPORT


def as_data(drift: Drift) -> dict[str, Any]:
    """Return the report as JSON-able data; a figure that is not defined is null."""
    return {
        "schema": SCHEMA,
        "verdict": plain(verdict(drift)),
        "findings": plain(findings(drift)),
        **{key: value for key, value in plain(drift).items() if key != "plane"},
    }
