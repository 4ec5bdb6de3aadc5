"""`mercat new`: a working third-party plugin with its tests, to change into what you need."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from mercat.cli.common import JsonOption, command_app, emit, say, shown

app = command_app()


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The name of the plugin, such as legal-intake.")],
    folder: Annotated[Path, typer.Option(help="Where its folder is written.")] = Path(),
    json: JsonOption = False,
) -> None:
    """Write a plugin: a service, its registration and two contract tests. It installs and answers as it is."""
    written = write_plugin(name, folder)
    if json:
        emit({"plugin": written}, as_json=True)
        return
    say(f"Wrote [bold]{shown(written)}[/bold]. Next:")
    say(f"  pip install -e {shown(written)} && python -m pytest {shown(written)}")


def write_plugin(name: str, folder: Path) -> Path:
    """Write the plugin `name` into `folder/mercat-NAME` and return that path. Raises ConfigError for a bad name."""
    from mercat import __version__
    from mercat.errors import ConfigError

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(name):
        found = "Names are lower-case words joined by hyphens"
        raise ConfigError(f"'{name}' cannot be the name of a plugin", found, "mercat new legal-intake")
    target = folder / f"mercat-{name}"
    if target.exists():
        raise ConfigError(f"{target} cannot be written", "It is there already", "another name, or --folder")
    major, minor = __version__.split(".")[:2]
    values = {
        "NAME": name,
        "PACKAGE": f"mercat_{name.replace('-', '_')}",
        "CLASS": "".join(word.capitalize() for word in name.split("-")),
        "FLOOR": f"{major}.{minor}",
        "CEILING": f"{major}.{int(minor) + 1}",
    }
    templates = files("mercat.cli") / "plugin_template"
    for source in ("pyproject.toml", "README.md", "package.py", "example.toml", "test_plugin.py"):
        place = {"package.py": "@PACKAGE@/__init__.py", "example.toml": "@PACKAGE@/example.toml"}
        place["test_plugin.py"] = "tests/test_@PACKAGE@.py"
        path = target / _filled(place.get(source, source), values)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (templates / f"{source}.txt").read_text(encoding="utf-8")
        path.write_text(_filled(text, values), encoding="utf-8")
    return target


def _filled(text: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text
