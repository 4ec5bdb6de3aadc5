"""`mercat serve`: the HTTP interface and the pages."""

from __future__ import annotations

from typing import Annotated

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, SetOption, command_app, say

app = command_app()


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on; only this machine by default.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")] = 8765,
    deliver: Annotated[
        bool, typer.Option(help="Deliver the outbox and follow the sources in this process too.")
    ] = True,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
) -> None:
    """Serve. /healthz answers before any model is loaded, /readyz when all services are warm.

    With `replicas` above 1 in [mercat.serve] so many processes answer, under Ray Serve, once all are warm.
    """
    from mercat.config import Config
    from mercat.jobs import work_beside
    from mercat.serve.run import run
    from mercat.serve.settings import Settings
    from mercat.workspace import Workspace

    settings = Settings.read(Config.read(config, overrides=set_ or ()).get("mercat.serve", {}))
    if settings.replicas > 1:
        from mercat.serve.replicas import run_replicas

        run_replicas(
            config,
            overrides=set_ or (),
            settings=settings,
            host=host,
            port=port,
            on_first_account=_tell_account,
            background=work_beside if deliver else None,
            on_ready=lambda at: say(f"{settings.replicas} replicas answer on http://{host}:{at}"),
        )
        return
    run(
        lambda: Workspace.open(config, overrides=set_ or ()),
        host=host,
        port=port,
        on_first_account=_tell_account,
        background=work_beside if deliver else None,
    )


def _tell_account(name: str, password: str) -> None:
    say(f"Nobody could sign in yet. Account [bold]{name}[/bold], password shown only now: [green]{password}[/green]")
