"""`mercat update`: let artifacts learn what came in, and use the new versions where they forget nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, SetOption, command_app, emit, opened, say, shown

if TYPE_CHECKING:
    from mercat.artifacts import Artifact
    from mercat.training.base import Report

app = command_app()


@app.command()
def update(
    name: Annotated[list[str], typer.Argument(help="Sections of [recipes] whose current artifacts learn more.")],
    seed: Annotated[
        int | None, typer.Option(min=0, help="The seed of everything random, instead of the section's.")
    ] = None,
    promote: Annotated[bool, typer.Option(help="Let services use a version that passes at once.")] = True,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Learn from rows that came in since, beside old ones; a version that falls on the regression set is only kept.

    [recipes.NAME.update] holds the parameters, such as max_drop.
    """
    from mercat.cli.reports import bars, show_estimate, show_report
    from mercat.jobs import update_artifact
    from mercat.training.report import load_report

    artifacts = []
    with opened(config, set_) as workspace:
        for section in name:
            with bars(quiet=json) as progress:
                artifact = update_artifact(
                    workspace,
                    section,
                    seed=seed,
                    promote=promote,
                    progress=progress,
                    expect=None if json else partial(show_estimate, section),
                )
            artifacts.append(artifact)
            if not json:
                show_report(artifact)
                _show_versions(artifact, load_report(artifact.folder))
                _show_verdict(artifact, current=workspace.artifacts.current(section))
    if json:
        emit(artifacts, as_json=True)


def _show_versions(artifact: Artifact, report: Report) -> None:
    """Print both versions side by side."""
    compared: dict[str, Any] = report.details["update"]["compared"]
    before, now = f"version {report.details['update']['from']}", f"version {artifact.version}"
    rows = [
        {"rows": name, "count": each["rows"], "figure": figure.replace("_", " ")}
        | {before: each["before"][figure], now: each["now"][figure], "change": each["differences"][figure]}
        for name, each in compared.items()
        for figure in each["now"]
    ]
    emit(rows, as_json=False, title="Side by side, with 95 % intervals")


def _show_verdict(artifact: Artifact, *, current: str) -> None:
    name, version, withheld = artifact.name, artifact.version, artifact.details.get("withheld")
    if withheld:
        say(f"[bold]Version {version} is kept and not promoted.[/bold] {shown(withheld)}.")
        say(f"Services stay at {current}. To use it all the same: mercat artifacts promote {name} {version}")
    elif current == version:
        say(f"[bold]Version {version} is promoted.[/bold] To go back: mercat artifacts rollback {name}")
    else:
        say(f"Version {version} passes. To use it: mercat artifacts promote {name} {version}")
