"""`mercat restore`: a backup becomes a workspace again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mercat.cli.common import JsonOption, command_app, emit, say, shown

app = command_app()


@app.command()
def restore(
    backup: Annotated[Path, typer.Argument(help="The folder that `mercat backup` wrote.")],
    folder: Annotated[Path, typer.Argument(help="Where the configuration and the workspace go; must be empty.")],
    json: JsonOption = False,
) -> None:
    """Check a backup and restore it. Search indexes are not part of it: they are built from the store."""
    from mercat.backups import bring_back

    config = bring_back(backup, folder)
    if json:
        emit({"config": config}, as_json=True)
        return
    say(f"Restored to [bold]{shown(folder)}[/bold]. Next: mercat index build --config {shown(config)}")
