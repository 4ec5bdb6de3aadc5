"""`mercat db`: the tables of the core and of plugins."""

from __future__ import annotations

from typing import Annotated

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, command_app, emit, opened, say, shown

app = command_app(help="Upgrade the store, look at it, or drop a plugin's tables.")


@app.command()
def upgrade(config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Bring all tables to what the code needs."""
    with opened(config) as workspace:
        store = workspace.store
        done = "Made the store with the tables of" if store.is_new() else "Upgraded"
        behind = store.behind()
        store.upgrade()
        if json:
            emit({"store": store.url, "upgraded": behind}, as_json=True)
            return
        say(f"{done}: {', '.join(behind)}." if behind else "Nothing to do: the store is up to date.")


@app.command()
def status(config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Show the collections and cursors of the store, and whether it is up to date."""
    with opened(config) as workspace:
        store = workspace.store
        if store.is_new():  # nothing is wrong: whatever writes first makes it
            if json:
                emit({"store": store.url, "state": "new", "collections": [], "cursors": {}}, as_json=True)
            else:
                say(f"There is no store yet: {shown(store.url)} is made on first use. Try: mercat db upgrade")
            return
        if behind := store.behind():
            if json:
                emit(
                    {"store": store.url, "state": "behind", "behind": behind, "next": "mercat db upgrade"}, as_json=True
                )
            else:
                say(f"Behind the code: {', '.join(behind)}. Try: mercat db upgrade")
            raise typer.Exit(1)
        rows = [{"kind": kind, "collection": name, "rows": rows} for kind, name, rows in store.collections()]
        if json:
            found = {"store": store.url, "state": "current", "collections": rows, "cursors": store.cursors()}
            emit(found, as_json=True)
            return
        say(f"Store {shown(store.url)} is up to date.")
        emit(rows, as_json=False, title="Collections")
        emit(
            [{"cursor": key, "value": value} for key, value in store.cursors().items()], as_json=False, title="Cursors"
        )


@app.command()
def drop(
    plugin: Annotated[str, typer.Argument(help="The plugin whose tables go, installed or not.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Drop the tables of a plugin. Their rows are lost."""
    with opened(config) as workspace:
        if not yes:
            typer.confirm(f"Drop all tables of '{plugin}' in {workspace.store.url}?", abort=True)
        tables = workspace.store.drop(plugin.replace("-", "_"))
        if json:
            emit({"plugin": plugin, "dropped": tables}, as_json=True)
            return
        say(f"Dropped: {', '.join(tables) or 'nothing'}.")
