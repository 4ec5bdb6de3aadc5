"""The report of an audit in a real browser: light, dark and on a phone, without anything from outside."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core" / "audit"))

pytestmark = pytest.mark.browser
LOOKS = [
    ("light", {}),
    ("dark", {"dark": True}),
    ("phone", {"phone": True}),
    ("phone-dark", {"phone": True, "dark": True}),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from audited import made_audit

    from mercat.audit import save

    return save(made_audit(), tmp_path_factory.mktemp("report"))


@pytest.mark.parametrize(("look", "options"), LOOKS, ids=[name for name, _ in LOOKS])
def test_the_report_renders_without_a_complaint(
    report: Path, browse: Callable[..., Any], look: str, options: dict[str, Any]
) -> None:
    watched = browse(**options)
    asked: list[str] = []
    watched.page.on("request", lambda request: asked.append(request.url))
    watched.page.goto(report.as_uri(), wait_until="load")
    watched.shot(f"audit-{look}")
    assert watched.wider_than_the_screen() <= 0
    watched.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    watched.shot(f"audit-{look}-open")
    assert watched.wider_than_the_screen() <= 0
    assert watched.complaints == []
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    paper = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 20, 18)" if "dark" in look else "rgb(247, 246, 243)")


def test_pictures_are_drawn_and_tiles_lead_to_their_sections(report: Path, browse: Callable[..., Any]) -> None:
    page = browse().page
    page.goto(report.as_uri())
    sizes = page.evaluate(
        "[...document.querySelectorAll('svg.chart')].map(each => each.getBoundingClientRect().height)"
    )
    assert len(sizes) >= 2
    assert min(sizes) > 150
    targets = page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(each => each.hash.slice(1))")
    assert targets
    assert all(page.evaluate("id => !!document.getElementById(id)", target) for target in targets)
