"""`mercat backup`: a consistent copy of the store, the artifacts and the configuration, while serving goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, command_app, emit, opened, say, shown

app = command_app()


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Copy the workspace. Indexes are left out: they are rebuilt from the store."""
    from mercat.backups import back_up

    with opened(config) as workspace:
        back_up(workspace, folder, config)
    if json:
        emit({"backup": folder}, as_json=True)
        return
    say(f"Backed up to [bold]{shown(folder)}[/bold]. Bring it back with: mercat restore {shown(folder)} NEW_FOLDER")
