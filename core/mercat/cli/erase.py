"""`mercat erase`: everything about one person goes, and a later training does not see it."""

from __future__ import annotations

from typing import Annotated

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, command_app, emit, opened, say

app = command_app()


@app.command()
def erase(
    subject: Annotated[str, typer.Argument(help="The person's id, as in the column `subject` or `user`.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Remove a person's rows from the store and the search indexes, and remember that it was done (as a hash)."""
    from mercat.jobs import drop_deleted

    with opened(config) as workspace:
        if not yes:
            typer.confirm(f"Erase everything about '{subject}'?", abort=True)
        counts = workspace.store.erase(subject)
        drop_deleted(workspace)
    if json:
        emit(counts, as_json=True)
        return
    emit([{"table": table, "rows": rows} for table, rows in counts.items() if rows], as_json=False, title="Erased")
    say("Artifacts keep what they learned until they are trained again: mercat train")
