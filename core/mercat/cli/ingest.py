"""`mercat ingest`: take in what sources have, once or as a service; then tasks, indexes and deliveries follow."""

from __future__ import annotations

from typing import Annotated

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, SetOption, command_app, emit, opened, say

app = command_app()


@app.command()
def ingest(
    source: Annotated[list[str] | None, typer.Argument(help="Sections of [sources]; all of them by default.")] = None,
    follow_: Annotated[
        bool, typer.Option("--follow", help="Go on as a service, each source every `every_s` seconds.")
    ] = False,
    index: Annotated[bool, typer.Option(help="Bring the search indexes up to date afterwards.")] = True,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Pull new rows, redact and store them. Each ends as stored, duplicate, rejected or dropped, and is counted."""
    from mercat.cli.reports import bars, show_accounts, show_round, stopped_by_signal
    from mercat.jobs import follow, ingest_source, refresh_all, run_tasks, waits_for

    with opened(config, set_) as workspace:
        names = source or list(workspace.config.sections("sources"))
        if follow_:
            follow(workspace, sources=names, tell=show_round).run(stopped_by_signal())
            return
        with bars(quiet=json) as progress:
            accounts = {name: ingest_source(workspace, name, progress=progress) for name in names}
            run_tasks(workspace, progress=progress)
            if index:
                refresh_all(workspace, progress=progress)
        waiting = {name: waits_for(workspace, "tasks", name) for name in workspace.config.sections("tasks")}
    if json:
        emit(accounts, as_json=True)
    else:
        show_accounts(accounts)
        for task, artifact in waiting.items():
            if artifact:
                say(f"Task {task} waits for the artifact '{artifact}'. Try: mercat train, then mercat ingest")
