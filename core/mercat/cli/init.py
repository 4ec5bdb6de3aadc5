"""`mercat init`: a configuration, a workspace, the tables, and the first key, which is shown once."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from mercat.cli.common import JsonOption, command_app, say, shown, to_json

app = command_app()
HEADER = """# mercat: every section is [kind.name]; `use` names a part, every other key is one of its parameters.
# Secrets are {{ env = "NAME" }}. `mercat config` shows each value and where it came from.

[mercat]
folder = "workspace"
plugins = [{plugins}]
"""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where mercat.toml is written.")] = Path(),
    plugin: Annotated[
        list[str] | None, typer.Option("--plugin", "-p", help="A plugin to start with; may be repeated.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write mercat.toml, set up the workspace, and make the first API key (scope admin)."""
    from mercat.errors import ConfigError
    from mercat.workspace import Workspace

    path = folder / "mercat.toml"
    if path.exists():
        raise ConfigError(f"{path} cannot be written", "It is there already", f"mercat config --config {path}")
    text = starting_config(plugin or [])
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    with Workspace.open(path) as workspace:
        workspace.store.upgrade()
        key, _ = workspace.store.accounts.create_key("first", ["ask", "operate", "admin"])
    if json:
        typer.echo(to_json({"config": path, "workspace": workspace.folder, "key": key}))
        return
    say(f"Wrote [bold]{shown(path)}[/bold] and set up {shown(workspace.folder)}")
    say(f"The first API key, shown only now: [bold green]{key}[/bold green]")
    say(f"Next: mercat doctor --config {shown(path)}")


def starting_config(plugins: list[str], *, first: Sequence[Path] = ()) -> str:
    """Return a first mercat.toml with the example sections of the named plugins.

    A section that stands twice is taken once, from where it stands first; the files in `first` stand before all.
    """
    seen: set[str] = set()
    parts = [HEADER.format(plugins=", ".join(f'"{name}"' for name in plugins))]
    for path in first:
        parts += _unseen(path.read_text(encoding="utf-8"), seen)
    for name in plugins:
        parts += _unseen(_example(name), seen)
    return "\n".join(parts)


def _example(name: str) -> str:
    from mercat.plugins import discover, not_installed

    installed = discover()
    if name not in installed:
        raise not_installed(name, installed)
    spec = find_spec(installed[name].module.partition(".")[0])  # found, not imported
    if spec is None or spec.origin is None:
        return ""
    example = Path(spec.origin).with_name("example.toml")
    return example.read_text(encoding="utf-8") if example.is_file() else ""


def _unseen(text: str, seen: set[str]) -> list[str]:
    kept: list[str] = []
    block: list[str] = []
    header = ""
    for line in [*text.splitlines(), "[end]"]:
        if line.startswith("[") and header not in seen:
            seen.add(header)
            kept += block
        if line.startswith("["):
            block, header = [], line
        block.append(line)
    return ["\n".join(kept)]
