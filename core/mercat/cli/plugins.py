"""`mercat plugins`: every installed plugin, on or off, and why."""

from __future__ import annotations

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, SetOption, command_app, emit

app = command_app()


@app.command()
def plugins(config: ConfigOption = DEFAULT_CONFIG, set_: SetOption = None, json: JsonOption = False) -> None:
    """List installed plugins: `on` (named by the config), `listed` (installed only) or `off` with the cause."""
    from mercat.config import Config
    from mercat.parts import register_core
    from mercat.plugins import Plugins
    from mercat.registry import Registry

    registry = Registry()
    register_core(registry)
    found = Plugins(registry)
    if config != DEFAULT_CONFIG or config.exists():  # a file that was named must be there
        core = {part.name for kind in registry.kinds() for part in registry.kind(kind).parts()}
        found.enable(name for name in Config.read(config, overrides=set_ or ()).plugins if name not in core)
    said = ("cause", "cure") if any(row.cause for row in found.rows()) else ("summary",)
    columns = ("name", "state", "distribution", "version", *said)
    emit(found.rows(), as_json=json, columns=columns, title="Plugins")
