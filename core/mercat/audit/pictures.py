"""Pictures of a report as inline SVG. Colours are classes of the report's style sheet, so both themes fit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup, escape

from mercat.audit.calibration import Bin

WIDTH, HEIGHT = 400, 290
LEFT, RIGHT, TOP, BOTTOM = 46, 20, 14, 44
Point = tuple[float, float]


def reliability(bins: Sequence[Bin]) -> Markup:
    """Draw accuracy against confidence per bin, with intervals, over the diagonal of a perfect classifier."""
    chart = Chart(x=_span([each.confidence for each in bins], least=0.2), y=(0.0, 1.0))
    low, high = chart.x
    body = [chart.axes("confidence", "share that is right"), chart.line([(low, low), (high, high)], "ideal")]
    body += [chart.line([(each.confidence, each.low), (each.confidence, each.high)], "whisker") for each in bins]
    body.append(chart.line([(each.confidence, each.accuracy) for each in bins], "thin a"))
    body += [chart.dot((each.confidence, each.accuracy), "a") for each in bins]
    return chart.svg("Reliability: accuracy against confidence", body)


def risk_coverage(curve: Sequence[Point], *, at: Point | None = None) -> Markup:
    """Draw the error of the answered rows against the share that is answered; `at` marks where the threshold stands."""
    top = max([risk for _, risk in curve] + [0.02]) * 1.15
    chart = Chart(x=(0.0, 1.0), y=(0.0, min(top, 1.0)))
    body = [chart.axes("share of rows answered", "errors among them"), chart.area(curve, "a"), chart.line(curve, "a")]
    if at is not None:
        body += [chart.line([(at[0], 0.0), (at[0], chart.y[1])], "ideal"), chart.dot(at, "b")]
    return chart.svg("Risk against coverage", body)


def curves(lines: Mapping[str, Sequence[float]], *, x: str, y: str, title: str) -> Markup:
    """Draw one line per name over the shares 0 to 1, with a letter class a, b, c, … each, in the order given."""
    chart = Chart(x=(0.0, 1.0), y=(0.0, 1.0))
    body = [chart.axes(x, y)]
    for letter, values in zip("abcdefgh", lines.values(), strict=False):
        last = max(len(values) - 1, 1)
        body.append(chart.line([(at / last, value) for at, value in enumerate(values)], letter))
    return chart.svg(title, body)


def track(
    value: float, low: float, high: float, *, style: str = "a", top: float = 1.0, mark: float | None = None
) -> Markup:
    """Draw a value with its interval on a line from 0 to `top`; `mark` is a thin stroke to compare with."""
    at, start, end = (f"{100 * min(max(each / top, 0.0), 1.0):.2f}%" for each in (value, low, high))
    tick = (
        ""
        if mark is None
        else f'<line class="mark" x1="{100 * mark / top:.2f}%" x2="{100 * mark / top:.2f}%" y1="2" y2="20"/>'
    )
    return Markup(  # noqa: S704
        f'<svg class="track" width="100%" height="22" aria-hidden="true">'
        f'<line class="rail" x1="0" x2="100%" y1="11" y2="11"/>{tick}'
        f'<line class="interval {style}" x1="{start}" x2="{end}" y1="11" y2="11"/>'
        f'<circle class="dot {style}" cx="{at}" cy="11" r="5"/></svg>'
    )


class Chart:
    """A plane with axes: from the numbers of the data to the places of the picture."""

    def __init__(self, *, x: Point, y: Point) -> None:
        self.x, self.y = x, y

    def place(self, point: Point) -> Point:
        """Return where a point of the data lies in the picture, in its units."""
        across = (point[0] - self.x[0]) / (self.x[1] - self.x[0])
        up = (point[1] - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def line(self, points: Sequence[Point], style: str) -> str:
        """Return a line through the points."""
        return f'<polyline class="line {style}" points="{self._joined(points)}"/>'

    def area(self, points: Sequence[Point], style: str) -> str:
        """Return the ground below a line."""
        if not points:
            return ""
        closed = [(points[0][0], self.y[0]), *points, (points[-1][0], self.y[0])]
        return f'<polygon class="area {style}" points="{self._joined(closed)}"/>'

    def dot(self, point: Point, style: str) -> str:
        """Return a round mark."""
        x, y = self.place(point)
        return f'<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'

    def axes(self, across: str, up: str) -> str:
        """Return grid lines with their numbers and the names of both axes."""
        parts = []
        for tick in ticks(*self.y):
            x, y = self.place((self.x[0], tick))
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="tick" x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{shown(tick)}</text>')
        for tick in ticks(*self.x):
            x, y = self.place((tick, self.y[0]))
            parts.append(f'<text class="tick" x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{shown(tick)}</text>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>')
        turn = f"rotate(-90 12 {(TOP + HEIGHT - BOTTOM) / 2})"
        parts.append(
            f'<text class="axis" x="12" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" '
            f'transform="{turn}">{escape(up)}</text>'
        )
        return "".join(parts)

    def svg(self, title: str, body: Iterable[str]) -> Markup:
        """Return the whole picture; every text in it has been escaped."""
        return Markup(  # noqa: S704
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
            f"<title>{escape(title)}</title>{''.join(body)}</svg>"
        )

    def _joined(self, points: Sequence[Point]) -> str:
        return " ".join("{:.1f},{:.1f}".format(*self.place(point)) for point in points)


def ticks(low: float, high: float) -> list[float]:
    """Return three to seven round numbers between `low` and `high`, ends included where they are round."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= rough * 0.999)
    first = math.ceil((low - 1e-9) / step)
    found = []
    while (tick := first * step) <= high + 1e-9:
        found.append(round(tick, 10))
        first += 1
    return found


def shown(share: float) -> str:
    """Return a share in percent, with no more digits than it has."""
    return f"{100 * share + 0.0:.4g}%"


def _span(values: Sequence[float], *, least: float) -> Point:
    """Return a round span that holds the values and is at least so wide."""
    low = min([*values, 1.0 - least])
    return max(0.0, (low - 0.02) // 0.1 * 0.1), 1.0
