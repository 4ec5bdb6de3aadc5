"""What an audit leaves behind: `audit.json` for programs, `report.html` for people, `model_card.md` for both."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mercat.audit.card import card, markdown
from mercat.audit.findings import findings
from mercat.audit.page import page
from mercat.audit.run import Audit

DATA, REPORT, CARD = "audit.json", "report.html", "model_card.md"
SCHEMA = 1


def save(audit: Audit, folder: Path) -> Path:
    """Write the three files into `folder`, which is made if it is not there; return the path of the report."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_data(audit), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / DATA).write_text(text + "\n", encoding="utf-8")
    (folder / REPORT).write_text(page(audit), encoding="utf-8")
    (folder / CARD).write_text(markdown(audit), encoding="utf-8")
    return folder / REPORT


def as_data(audit: Audit) -> dict[str, Any]:
    """Return the audit as JSON-able data; a figure that is not defined is null."""
    return {"schema": SCHEMA, **plain(audit), "findings": plain(findings(audit)), "card": plain(card(audit))}


def plain(value: Any) -> Any:
    """Return dataclasses, times and sequences as JSON-able data; a number that is not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
