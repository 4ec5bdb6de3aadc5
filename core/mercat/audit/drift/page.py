"""The drift report as one HTML page, in the style of the audit's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from mercat.audit import pictures
from mercat.audit.drift.findings import findings, verdict
from mercat.audit.page import environment
from mercat.audit.pictures import Chart, Point

if TYPE_CHECKING:
    from mercat.audit.drift.run import Drift, Share

SECTIONS = (("answers", "Answers"), ("texts", "Texts"), ("form", "Form"), ("how", "How to read it"))
_MOST_SHARES = 12


def page(drift: Drift) -> str:
    """Return the whole report. Every text of the data is escaped."""
    made = environment()
    shown = made.get_template("drift.html").render(
        drift=drift,
        sections=SECTIONS,
        style=Markup(made.get_template("report.css").render()),  # noqa: S704
        verdict=verdict(drift),
        findings=findings(drift),
        confidences=confidences(drift),
        plane=plane(drift),
        track=shares_track,
        most=_MOST_SHARES,
    )
    return shown.replace(" %", "\u00a0%")


def confidences(drift: Drift) -> Markup:
    """Draw the share of texts that are at most so confident, for both sides."""
    chart = Chart(x=(0.0, 1.0), y=(0.0, 1.0))
    body = [chart.axes("confidence", "texts with at most that")]
    for side, letter in ((drift.before, "e"), (drift.now, "b")):
        last = len(side.confidences) - 1
        points = [(value, at / last) for at, value in enumerate(side.confidences)]
        body.append(chart.line([(0.0, 0.0), (points[0][0], 0.0), *points, (1.0, 1.0)], letter))
    return chart.svg("Confidence then and now", body)


def plane(drift: Drift) -> Markup:
    """Draw the texts of both sides on the plane along which their meanings spread most."""
    before, now = drift.plane
    chart = Chart(x=_ends([x for x, _ in (*before, *now)]), y=_ends([y for _, y in (*before, *now)]))
    body = [_dots(chart, before, "e"), _dots(chart, now, "b")]
    return chart.svg("Texts then and now, by meaning", body)


def shares_track(share: Share, top: float) -> Markup:
    """Draw a share on a line from 0 to `top`: a dot where it is, a stroke where it was, and the way between."""
    ends = sorted((share.before, share.now))
    return pictures.track(share.now, *ends, style="b", top=top, mark=min(share.before, top))


def _dots(chart: Chart, points: Sequence[Point], style: str) -> str:
    drawn = []
    for point in points:
        x, y = chart.place(point)
        drawn.append(f'<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill-opacity="0.6"/>')
    return "".join(drawn)


def _ends(values: Sequence[float]) -> Point:
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room
