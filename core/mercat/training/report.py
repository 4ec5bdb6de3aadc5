"""A report as JSON and as a short text that a person reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mercat.evaluation.base import Metric
from mercat.training.base import Evaluation, Report
from mercat.training.estimating import shown_time

REPORT = "report.json"


def save_report(folder: Path, report: Report) -> None:
    """Write `report.json` into an artifact's folder."""
    text = json.dumps(asdict(report), indent=2, ensure_ascii=False)
    (folder / REPORT).write_text(text, encoding="utf-8")


def load_report(folder: Path) -> Report:
    """Read what `save_report` wrote."""
    read: dict[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    metrics = {name: Metric(**figures) for name, figures in read.pop("metrics").items()}
    notes = tuple(read.pop("notes"))
    return Report(metrics=metrics, notes=notes, **read)


def report_text(report: Report) -> str:
    """Return Markdown: the validation figures, the counts, what a person should know."""
    return "\n".join(
        [
            "| validation | value | 95 % interval | rows |",
            "| --- | ---: | ---: | ---: |",
            *(_line(name, metric) for name, metric in sorted(report.metrics.items())),
            "",
            _counts(report.counts) + f"; {shown_time(report.seconds)}",
            *_list(report.notes),
        ]
    )


def evaluation_text(evaluation: Evaluation) -> str:
    """Return Markdown: the test figures beside the baseline's, with the paired difference."""
    rows = []
    for name, metric in sorted(evaluation.metrics.items()):
        other, difference = evaluation.baseline_metrics.get(name), evaluation.differences.get(name)
        rows.append(f"| {name} | {_shown(metric)} | {_shown(other)} | {_shown(difference, sign=True)} | {metric.n:,} |")
    return "\n".join(
        [
            f"| test | this model | {evaluation.baseline} | difference | rows |",
            "| --- | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            _counts(evaluation.counts),
            *_list(evaluation.notes),
        ]
    )


def _line(name: str, metric: Metric) -> str:
    return f"| {name} | {metric.value:.4f} | {metric.low:.4f} to {metric.high:.4f} | {metric.n:,} |"


def _shown(metric: Metric | None, *, sign: bool = False) -> str:
    if metric is None:
        return ""
    form = "+.4f" if sign else ".4f"
    return f"{metric.value:{form}} [{metric.low:{form}}, {metric.high:{form}}]"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items())


def _list(notes: Any) -> list[str]:
    return ["", *(f"- {note}" for note in notes)] if notes else []
