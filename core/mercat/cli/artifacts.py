"""`mercat artifacts`: what training made, and which version the services use."""

from __future__ import annotations

from typing import Annotated

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, command_app, emit, opened, say

app = command_app(help="List, promote or roll back what training made.")


@app.command("list")
def list_(config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """List every version of every artifact."""
    with opened(config) as workspace:
        rows = workspace.artifacts.list()
        columns = ("name", "version", "current", "kind", "recipe", "created_at", "metrics")
        if any(row.cause for row in rows):  # in place of when a version was made: it is what matters then
            columns = (*columns[:5], "cause", "metrics")
        emit(rows, as_json=json, columns=columns, title="Artifacts")


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="The artifact.")],
    version: Annotated[str, typer.Argument(help="The version, such as 0002.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Make a version the one that services use."""
    with opened(config) as workspace:
        workspace.artifacts.promote(name, version)
    if json:
        emit({"name": name, "version": version}, as_json=True)
    else:
        say(f"{name} is now at version {version}. A running server takes it up within seconds.")


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="The artifact.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Go back to the version that was current before."""
    with opened(config) as workspace:
        version = workspace.artifacts.rollback(name)
    if json:
        emit({"name": name, "version": version}, as_json=True)
    else:
        say(f"{name} is back at version {version}.")
