"""`mercat config`: every value and where it came from; secrets by the name of their variable only."""

from __future__ import annotations

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, SetOption, command_app, emit

app = command_app()


@app.command()
def config(config: ConfigOption = DEFAULT_CONFIG, set_: SetOption = None, json: JsonOption = False) -> None:
    """Show every setting with its origin."""
    from mercat.config import Config

    emit(Config.read(config, overrides=set_ or ()).values(), as_json=json, columns=("key", "value", "origin"))
