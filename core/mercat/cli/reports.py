"""How the commands show progress and results to people."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mercat.cli.common import emit, say, shown

if TYPE_CHECKING:
    from mercat.artifacts import Artifact
    from mercat.flow import Round
    from mercat.training.base import Evaluation, Progress
    from mercat.training.estimating import Estimate
    from mercat.training.search import Search


@contextmanager
def bars(*, quiet: bool = False) -> Iterator[Progress]:
    """Draw one bar per stage while the block runs; nothing when `quiet`."""
    from mercat.training.progress import RichProgress, silent

    if quiet:
        yield silent
        return
    from rich.console import Console

    with RichProgress(Console(stderr=True)) as progress:
        yield progress


def show_estimate(name: str, estimate: Estimate | None) -> None:
    """Print in one line what a run will need."""
    said = "its recipe cannot say what it will need" if estimate is None else str(estimate)
    say(f"[bold]{shown(name)}[/bold]: {shown(said)}")


def show_report(artifact: Artifact) -> None:
    """Print what training made: the report of the validation part."""
    from mercat.training.report import load_report, report_text

    say(f"\n[bold]{artifact.name}[/bold] version {artifact.version}, recipe {artifact.recipe}")
    _markdown(report_text(load_report(artifact.folder)))


def show_search(name: str, search: Search) -> None:
    """Print what was tried, best first, and the lines that keep the best in mercat.toml."""
    order = sorted(search.trials, key=lambda trial: trial is not search.best)
    rows: list[dict[str, Any]] = [
        {"trial": trial.number + 1, search.metric: trial.value if trial.value is not None else trial.error}
        | {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in trial.parameters.items()}
        | {"seconds": round(trial.seconds, 1)}
        for trial in order
    ]
    emit(rows, as_json=False, title=f"{name}: {len(rows)} trials on the validation part, the best one first")
    say("To keep it, write into " + shown(f"[recipes.{name}]") + ":")
    for key, value in search.best.parameters.items():
        say("  " + shown(f"{key} = {json.dumps(value)}" if value is not None else f"# without {key}"))


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


def show_round(round_: Round) -> None:
    """Print what one round of following did, if it did anything."""
    for account in round_.accounts:
        if account.sent:
            say(str(account))
    for task in round_.tasks:
        if task.done:
            say(f"{task.name}: {task.done} changes")
    if round_.delivered.arrived or round_.delivered.dead:
        say(f"delivered {round_.delivered.arrived}, dead {round_.delivered.dead}")
    for what, why in round_.problems:
        say(f"[red]{shown(what)}[/red]: {shown(why)}")


def stopped_by_signal() -> threading.Event:
    """Return an event that an interrupt or a termination sets, so that the work at hand is finished first."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _markdown(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))
