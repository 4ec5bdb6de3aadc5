"""What the commands share: the options, the opened workspace, tables or JSON, progress bars."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mercat.workspace import Workspace

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override a value: encoders.default.device=cpu")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
DEFAULT_CONFIG = Path("mercat.toml")
MOST_COLUMNS = 7
"""Rows with more are shown one below the other."""


def command_app(**options: Any) -> typer.Typer:
    """Return a Typer application as all commands use it: errors are told in one line, by `app.main`."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=False, **options)


@contextmanager
def opened(config: Path, overrides: Sequence[str] | None = None) -> Iterator[Workspace]:
    """Open the workspace of a configuration file."""
    from mercat.workspace import Workspace

    with Workspace.open(config, overrides=overrides or ()) as workspace:
        yield workspace


def emit(
    rows: Sequence[Any] | Mapping[str, Any], *, as_json: bool, columns: Sequence[str] = (), title: str = ""
) -> None:
    """Print rows (dataclasses or mappings) as a table, or as JSON."""
    if as_json:
        typer.echo(to_json(rows))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    listed = [rows] if isinstance(rows, Mapping) else list(rows)
    plain = [plain_data(row) for row in listed]
    names = list(columns) or (list(plain[0]) if plain else [])
    if len(names) > MOST_COLUMNS:
        _emit_cards(plain, names, title)
        return
    table = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left")
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in plain:
        table.add_row(*(Text(_cell(row.get(name))) for name in names))
    Console().print(table if plain else f"{title or 'Nothing'}: none")


def _emit_cards(rows: Sequence[Mapping[str, Any]], names: Sequence[str], title: str) -> None:
    """Print rows with many columns one below the other."""
    for row in rows:
        say(f"\n[bold]{title}[/bold] {shown(row.get(names[0], ''))}")
        for name in names[1:]:
            if cell := _cell(row.get(name)):
                say(f"  {name.replace('_', ' '):<14} {shown(cell)}")
    if not rows:
        say(f"{title}: none")


def to_json(value: Any) -> str:
    """Return JSON of dataclasses, times, paths and mappings."""
    return json.dumps(plain_data(value), indent=2, ensure_ascii=False)


def plain_data(value: Any) -> Any:
    """Return dataclasses, times and paths as plain data."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_data(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_data(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") and not isinstance(value, str) else value


def say(text: str = "") -> None:
    """Print a line for people, with rich's marks. What was not written here goes through `shown` first."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(text)


def shown(value: Any) -> str:
    """Return a value as it is, for `say`: its brackets are no marks."""
    from rich.markup import escape

    return escape(str(value))


def _cell(value: Any) -> str:
    if isinstance(value, Mapping) and "value" in value and "low" in value:
        return f"{value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_cell(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_cell(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
