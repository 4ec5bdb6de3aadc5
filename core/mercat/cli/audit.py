"""`mercat audit`: what a classifier is worth beyond one figure, as a report to read and as data."""

from __future__ import annotations

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
def audit(
    artifact: Annotated[str, typer.Argument(help="The section of [recipes] whose current artifact is audited.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="A CSV file with text, label and more columns, not the test part.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The folder for report.html and audit.json; in the workspace otherwise."),
    ] = None,
    changed: Annotated[int, typer.Option(min=1, help="How many texts are written otherwise.")] = 300,
    explained: Annotated[
        int, typer.Option(min=1, help="How many texts are explained, a few hundred questions each.")
    ] = 16,
    seed: Annotated[int, typer.Option(min=0, help="The seed of everything random.")] = 0,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Calibration, fairness, robustness, explanations, leaks and suspect labels, on rows that training never saw."""
    from mercat.audit import Sizes, as_data, findings
    from mercat.cli.reports import bars
    from mercat.jobs import audit_artifact

    sizes = Sizes(changed=changed, explained=explained)
    with opened(config, set_) as workspace, bars(quiet=json) as progress:
        found, report = audit_artifact(
            workspace, artifact, data=data, folder=out, sizes=sizes, seed=seed, progress=progress
        )
    if json:
        typer.echo(to_json({**as_data(found), "report": str(report)}))
        return
    columns = ("name", "value", "level", "meaning")
    emit(findings(found), as_json=False, columns=columns, title=f"Audit of {found.name} version {found.version}")
    say(f"Report: {shown(report)}")
