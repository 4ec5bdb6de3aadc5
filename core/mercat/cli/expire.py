"""`mercat expire`: what is older than it may be kept goes; run it every night by a timer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, command_app, emit, opened

app = command_app()


@app.command()
def expire(
    names: Annotated[list[str], typer.Argument(help="Collections, or tables such as outbox.")],
    days: Annotated[float, typer.Option(min=0, help="How old a row may be, by the time of its event.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Remove rows older than DAYS from the named collections and tables, and from the search indexes."""
    from mercat.jobs import drop_deleted

    before = datetime.now(UTC) - timedelta(days=days)
    with opened(config) as workspace:
        if not yes:
            typer.confirm(f"Remove what is older than {before:%Y-%m-%d %H:%M} UTC from {', '.join(names)}?", abort=True)
        counts = workspace.store.expire(names, before=before)
        drop_deleted(workspace)
    if json:
        emit(counts, as_json=True)
        return
    emit([{"from": name, "rows": rows} for name, rows in counts.items()], as_json=False, title="Expired")
