"""The drift report in a real browser: light, dark and on a phone, without anything from outside."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core" / "audit"))

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from audited import LABELS, artifact, rows, scores

    from mercat.audit.drift import Compare, drift, save
    from mercat.encoders.hashing import Hashing
    from mercat.training.classifying.classifier import Scorer

    old = rows(200)
    long = "我的行李 and a suitcase-with-a-very-long-name-that-no-line-holds-on-a-phone-and-must-be-broken-somewhere "
    new = [replace(row, id=f"n{row.id}", text=f"{long if at % 3 else ''}{row.text}") for at, row in enumerate(rows(90))]
    learned = [row.text for row in old]
    scorer = Scorer(LABELS, scores, 0.4)
    found = Compare(artifact(), scorer, Hashing(), learned, old, new, "90 rows of the collection 'tickets'", ())
    return save(drift(found, made_at=datetime(2026, 5, 1, tzinfo=UTC)), tmp_path_factory.mktemp("drift"))


@pytest.mark.parametrize(("look", "options"), [("light", {}), ("phone-dark", {"phone": True, "dark": True})])
def test_the_report_renders_without_a_complaint(
    report: Path, browse: Callable[..., Any], look: str, options: dict[str, Any]
) -> None:
    watched = browse(**options)
    asked: list[str] = []
    watched.page.on("request", lambda request: asked.append(request.url))
    watched.page.goto(report.as_uri(), wait_until="load")
    watched.shot(f"drift-{look}")
    assert watched.wider_than_the_screen() <= 0
    assert watched.complaints == []
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert watched.page.evaluate("document.querySelectorAll('figure svg.chart').length") == 2
    assert watched.page.evaluate("document.querySelectorAll('figure circle.dot').length") == 290, "a dot per text"
    targets = watched.page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(each => each.hash.slice(1))")
    assert all(watched.page.locator(f"section#{name}").count() == 1 for name in targets)
