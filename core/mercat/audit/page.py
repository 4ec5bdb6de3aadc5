"""The report as one HTML page that needs nothing else: style and pictures are inside, in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from mercat.audit import pictures
from mercat.audit.card import card
from mercat.audit.findings import findings, percent

if TYPE_CHECKING:
    from mercat.audit.faithful import Explanation, Faithfulness
    from mercat.audit.run import Audit
    from mercat.evaluation import Metric

SECTIONS = (
    ("calibration", "Calibration"),
    ("fairness", "Fairness"),
    ("robustness", "Robustness"),
    ("explanations", "Explanations"),
    ("labels", "Labels"),
    ("leaks", "Leaks"),
    ("card", "Model card"),
)
_MOST_SHADE = 0.55


def page(audit: Audit) -> str:
    """Return the whole report. Every text of the data is escaped."""
    made = environment()
    style = Markup(made.get_template("report.css").render())  # noqa: S704
    covered = audit.calibration.coverage.value, 1.0 - audit.calibration.covered_accuracy.value
    abstains = audit.calibration.threshold > 0 and covered[1] == covered[1]
    found = findings(audit)
    shown = made.get_template("report.html").render(
        audit=audit,
        sections=SECTIONS,
        style=style,
        findings=found,
        card=card(audit),
        concerns=[each for each in found if each.level in ("warn", "bad")],
        pictures=pictures,
        letters="abcde",
        lines=_lines,
        threshold_at=covered if abstains else None,
    )
    return shown.replace(" %", "\u00a0%")  # a figure and its sign stay on one line


def _span(metric: Metric) -> str:
    """Return the interval of a share in percent."""
    return "" if metric.low != metric.low else f"{percent(metric.low)} to {percent(metric.high)}"


def _points(drop: float) -> str:
    """Return a loss of accuracy as a change in points, "±0" for none."""
    return "±0" if abs(drop) < 0.0005 else f"{-100 * drop:+.1f}"


def _around(pair: tuple[str, str]) -> tuple[str, str, str]:
    """Return (start that both texts share, what only the second has, end that both share)."""
    before, after = pair
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return after[:start], after[start : len(after) - end], after[len(after) - end :]


def _lines(methods: Sequence[Faithfulness], curve: str) -> dict[str, tuple[float, ...]]:
    """Return the named curve of every method."""
    return {each.method: getattr(each, curve) for each in methods}


def _shaded(text: Explanation, method: str) -> list[tuple[str, str]]:
    """Return (piece of the text, CSS of its background): words for the label green, words against it orange."""
    weights = text.weights[method]
    top = max(map(abs, weights)) or 1.0
    found, at = [], 0
    for (start, end), weight in zip(text.spans, weights, strict=True):
        tone = "for" if weight > 0 else "against"
        style = f"background:rgb(var(--{tone}) / {_MOST_SHADE * abs(weight) / top:.2f})"
        found += [(text.text[at:start], ""), (text.text[start:end], style)]
        at = end
    return [*found, (text.text[at:], "")]


@cache
def environment() -> jinja2.Environment:
    """Return the templates of all reports, with the filters that they write figures with."""
    loader = jinja2.PackageLoader("mercat.audit", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    more: dict[str, Any] = {"percent": percent, "span": _span, "around": _around, "points": _points, "shaded": _shaded}
    environment.filters.update(more)
    return environment
