"""How the commands show progress and results to people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mercat.cli.common import emit, say

if TYPE_CHECKING:
    from mercat.artifacts import Artifact
    from mercat.training.base import Evaluation, Progress


@contextmanager
def bars(*, quiet: bool = False) -> Iterator[Progress]:
    """Draw one bar per stage while the block runs; nothing when `quiet`."""
    from mercat.training.progress import RichProgress, silent

    if quiet:
        yield silent
        return
    with RichProgress() as progress:
        yield progress


def show_report(artifact: Artifact) -> None:
    """Print what training made: the report of the validation part."""
    from mercat.training.report import load_report, report_text

    say(f"\n[bold]{artifact.name}[/bold] version {artifact.version}, recipe {artifact.recipe}")
    _markdown(report_text(load_report(artifact.folder)))


def show_evaluation(name: str, evaluation: Evaluation) -> None:
    """Print test figures beside those of the baseline."""
    from mercat.training.report import evaluation_text

    say(f"\n[bold]{name}[/bold], on rows that training never saw")
    _markdown(evaluation_text(evaluation))


def show_accounts(accounts: Mapping[str, Any]) -> None:
    """Print where every row of each source ended."""
    rows = []
    for name, account in accounts.items():
        why = {**account.rejected, **account.dropped}
        rows.append(
            {
                "source": name,
                "stored": account.stored,
                "duplicate": account.duplicate,
                "rejected": sum(account.rejected.values()),
                "dropped": sum(account.dropped.values()),
                "why": ", ".join(f"{reason} {count}" for reason, count in why.items()),
            }
        )
    emit(rows, as_json=False, title="Ingested")


def _markdown(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))
