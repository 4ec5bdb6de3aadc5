"""`mercat drift`: whether what comes in is still what an artifact learned from, as a report to read and as data."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mercat.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    SetOption,
    command_app,
    emit,
    opened,
    say,
    shown,
    to_json,
)

app = command_app()


@app.command()
def drift(
    artifact: Annotated[str, typer.Argument(help="The section of [recipes] whose current artifact is looked at.")],
    data: Annotated[str, typer.Option("--data", help="The collection of incoming texts; the recipe's own one.")] = "",
    since: Annotated[
        datetime | None, typer.Option(help="Only texts from this time on, UTC: 2026-05-01 or 2026-05-01T12:00:00.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(help="Only texts before this time, UTC.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The folder for drift.html and drift.json; in the workspace otherwise.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of everything random.")] = 0,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Hold answers, confidence, meaning, words and form of incoming texts against those of training; say what to do."""
    from mercat.audit.drift import as_data, findings, verdict
    from mercat.cli.reports import bars
    from mercat.jobs import drift_of

    window = {name: at and at.replace(tzinfo=UTC) for name, at in (("since", since), ("until", until))}
    with opened(config, set_) as workspace, bars(quiet=json) as progress:
        found, report = drift_of(
            workspace, artifact, collection=data, folder=out, seed=seed, progress=progress, **window
        )
    if json:
        typer.echo(to_json({**as_data(found), "report": str(report)}))
        return
    columns = ("name", "value", "level", "meaning")
    emit(findings(found), as_json=False, columns=columns, title=f"Drift of {found.name} version {found.version}")
    said = verdict(found)
    say(f"[bold]{said.word}[/bold]: {shown(said.why)} {shown(said.next)}")
    say(f"Report: {shown(report)}")
