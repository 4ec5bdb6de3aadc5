"""`mercat db`: the tables of the core and of plugins."""

from __future__ import annotations

from typing import Annotated

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, command_app, emit, opened, say

app = command_app(help="Upgrade the store, look at it, or drop a plugin's tables.")


@app.command()
def upgrade(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Bring all tables to what the code needs."""
    with opened(config) as workspace:
        behind = workspace.store.behind()
        workspace.store.upgrade()
        say(f"Upgraded: {', '.join(behind)}." if behind else "Nothing to do: the store is up to date.")


@app.command()
def status(config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Show the collections and cursors of the store, and whether it is up to date."""
    with opened(config) as workspace:
        store = workspace.store
        if behind := store.behind():
            say(f"Behind the code: {', '.join(behind)}. Try: mercat db upgrade")
            raise typer.Exit(1)
        rows = [{"kind": kind, "collection": name, "rows": rows} for kind, name, rows in store.collections()]
        if json:
            emit({"store": store.url, "collections": rows, "cursors": store.cursors()}, as_json=True)
            return
        say(f"Store {store.url} is up to date.")
        emit(rows, as_json=False, title="Collections")
        emit(
            [{"cursor": key, "value": value} for key, value in store.cursors().items()], as_json=False, title="Cursors"
        )


@app.command()
def drop(
    plugin: Annotated[str, typer.Argument(help="The plugin whose tables go, installed or not.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Drop the tables of a plugin. Their rows are lost."""
    with opened(config) as workspace:
        if not yes:
            typer.confirm(f"Drop all tables of '{plugin}' in {workspace.store.url}?", abort=True)
        tables = workspace.store.drop(plugin.replace("-", "_"))
        say(f"Dropped: {', '.join(tables) or 'nothing'}.")
